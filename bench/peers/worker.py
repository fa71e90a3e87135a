"""The process of one engine: python -m peers.worker JSON   (from bench/; see `process.run`)

Prints one line of JSON. With "first": a line as soon as the first result is there, then its memory.
"""

import importlib
import json
import sys
import time

VARIANTS = {  # engine -> module and options; the environment of a process is in `process`
    "fastconv-strict": ("fastconv", {"precision": "strict"}),
    "torch-channels-last": ("torch", {"order": "channels_last"}),
}
WARM_UP_SECONDS, WARM_UP_RUNS, FEWEST_RUNS = 1.0, 2, 5


def open_engine(name, files, x, threads):
    module, options = VARIANTS.get(name, (name, {}))
    if module.startswith("fastconv-"):  # another build of fastconv, or another instruction set
        module = "fastconv"
    engine = importlib.import_module(f".engines.{module}", __package__)
    return engine, engine.open(files, x, threads, **options)


def memory(kind):
    """Return bytes: VmRSS is the memory now, VmHWM its peak.

    getrusage would also count the process that started this one.
    """
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(f"{kind}:"))


def repeat(run, seconds, fewest):
    times, end = [], time.perf_counter() + seconds
    while len(times) < fewest or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def measure(task, files):
    import statistics
    from importlib.metadata import version

    import numpy as np

    from . import networks

    x = networks.batch_input(task["network"], task["batch"])
    engine, run = open_engine(task["engine"], files, x, task["threads"])
    np.save(task["output"], np.array(run()))
    repeat(run, WARM_UP_SECONDS, WARM_UP_RUNS)
    times = repeat(run, task["seconds"], FEWEST_RUNS)
    return {
        "median": statistics.median(times),
        "minimum": min(times),
        "runs": len(times),
        "duration": task["seconds"],
        "version": version(engine.PACKAGE),
    }


def first_result(task, files):
    import numpy as np

    from . import networks

    shape = (task["batch"], *networks.NETWORKS[task["network"]])
    x = np.full(shape, 0.5, np.float32)  # numpy.random is not part of what is measured
    _, run = open_engine(task["engine"], files, x, task["threads"])
    result = float(np.asarray(run()).flat[0])
    print(json.dumps({"result": result}), flush=True)
    first = memory("VmHWM")
    for _ in range(task["runs"]):
        run()
    return {"memory_first": first, "memory": memory("VmHWM"), "runs": task["runs"]}


def main():
    task = json.loads(sys.argv[1])
    from pathlib import Path

    files = {kind: Path(path) for kind, path in task["files"].items()}
    print(json.dumps((first_result if task.get("first") else measure)(task, files)), flush=True)


if __name__ == "__main__":
    main()
