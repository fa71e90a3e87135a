"""Runs an engine in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BENCH = Path(__file__).parents[1]


class Failed(Exception):
    """The process of an engine failed; the message is the last line it wrote."""


def environment(engine, threads):
    env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if engine.startswith("fastconv-") and engine.split("-")[1] in ("scalar", "avx2", "avx512"):
        env["FASTCONV_ISA"] = engine.split("-")[1]
    if engine.startswith("keras-"):
        env |= {"KERAS_BACKEND": engine.split("-")[1], "TF_CPP_MIN_LOG_LEVEL": "3"}
    return env


def python_of(options, engine):
    """Return the interpreter of an engine; options are strings ENGINE=PYTHON."""
    for option in options:
        name, _, python = option.partition("=")
        if name == engine:
            return str(Path(python).absolute())
    return sys.executable


def run(command, engine, threads, decode=True):
    """Run a command to its end and return its last line of output, decoded from JSON."""
    env = environment(engine, threads)
    result = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, env=env, cwd=BENCH, check=False
    )
    if result.returncode:
        last = result.stderr.strip().splitlines()[-1:] or [f"status {result.returncode}"]
        raise Failed(last[0])
    return json.loads(result.stdout.strip().splitlines()[-1]) if decode else None


def worker_command(python, task, module="peers.worker"):
    files = {kind: str(Path(path).absolute()) for kind, path in task["files"].items()}
    return [str(python), "-m", module, json.dumps({**task, "files": files})]


def measure(python, task, module="peers.worker"):
    """Return what the worker measured."""
    return run(worker_command(python, task, module), task["engine"], task["threads"])


def first_result(python, task):
    """Return the seconds from the start of the process to its first result, and its memory."""
    command = worker_command(python, {**task, "first": True})
    env = environment(task["engine"], task["threads"])
    with tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env, cwd=BENCH
        ) as child:
            line = child.stdout.readline()
            seconds = time.perf_counter() - start
            rest = child.stdout.read()
        if child.returncode:
            errors.seek(0)
            raise Failed((errors.read().strip().splitlines() or [f"status {child.returncode}"])[-1])
    return {"seconds": seconds, **json.loads(line), **json.loads(rest.strip().splitlines()[-1])}
