"""Writes the results of the inference benchmark into docs/benchmarks.md, with a chart."""

import statistics

from . import chart, records

LABELS = {
    "fastconv": "fastconv",
    "onnxruntime": "onnxruntime",
    "openvino": "OpenVINO",
    "ncnn": "ncnn",
    "mnn": "MNN",
    "torch": "PyTorch",
    "torch-channels-last": "PyTorch, channels last",
    "torch-compile": "PyTorch, compiled",
    "keras-tensorflow": "Keras on TensorFlow",
    "keras-jax": "Keras on JAX",
    "fastconv-avx2": "fastconv, AVX2",
    "fastconv-strict": "fastconv, strict",
}
NAMES = {
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "vgg16": "VGG-16",
    "alexnet": "AlexNet",
    "googlenet": "GoogLeNet",
    "squeezenet1_1": "SqueezeNet 1.1",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_small": "MobileNetV3-small",
    "efficientnet_b0": "EfficientNet-B0",
    "densenet121": "DenseNet-121",
    "seresnet50": "SE-ResNet-50",
    "lenet5": "LeNet-5",
}
BEGIN, END = "<!-- inference: begin (bench/inference.py report) -->", "<!-- inference: end -->"
CHART = "images/inference.svg"


def ordered(found, order):
    return [name for name in order if name in found] + sorted(found - order.keys())


def threads_text(threads):
    return {1: "one thread", 2: "two threads"}.get(threads, f"{threads} threads")


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def milliseconds(seconds):
    value = 1e3 * seconds
    return f"{value:.4f}" if value < 0.1 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def group(found):
    """Return {(batch, threads): {network: [records]}}."""
    result = {}
    for record in found:
        key = (record["batch"], record["threads"])
        result.setdefault(key, {}).setdefault(record["network"], []).append(record)
    return result


def latency_table(cases):
    """Return the lines of a table; cases are {network: [records]}."""
    engines = ordered({r["engine"] for found in cases.values() for r in found}, LABELS)
    variants = [e for e in engines if not records.is_peer(e)]
    header = ["ms"] + [LABELS.get(e, e) for e in engines]
    header += [f"best peer / {LABELS.get(e, e)}" for e in variants]
    rows, ratios = [], {e: [] for e in variants}
    for network in ordered(set(cases), NAMES):
        times = records.rounds(cases[network])
        row = [NAMES.get(network, network)]
        row += [milliseconds(statistics.median(times[e])) if e in times else "" for e in engines]
        for engine in variants:
            ratio = records.ratios(times, engine)[1]
            row.append("" if ratio is None else f"{ratio:.2f}")
            if ratio is not None and network != "lenet5":
                ratios[engine].append(ratio)
        rows.append(row)
    if any(ratios.values()):
        mean = [f"**{records.geometric_mean(r):.2f}**" if r else "" for r in ratios.values()]
        name = "geometric mean" + (", without LeNet-5" if "lenet5" in cases else "")
        rows.append([name] + [""] * len(engines) + mean)
    return table(header, rows)


def effort_text(found):
    last = {}
    for record in found:
        last[records.case(record)] = max(last.get(records.case(record), 0), record["round"] + 1)
    rounds = " to ".join(str(n) for n in sorted({min(last.values()), max(last.values())}))
    durations = " to ".join(f"{d:g}" for d in sorted({r["duration"] for r in found}))
    return f"Rounds: {rounds}, of {durations} s for each engine."


def error_text(found):
    worst = {}
    for record in found:
        worst.setdefault(record["engine"], []).append((record["error"], record["network"]))
    parts = []
    for engine in ordered(set(worst), LABELS):
        error, network = max(worst[engine])
        parts.append(f"{LABELS.get(engine, engine)} {error:.1e} ({NAMES.get(network, network)})")
    return (
        "Largest error of an output against PyTorch in float64, over the reference's largest "
        f"value: {'; '.join(parts)}."
    )


def version_text(found):
    versions = {}
    for record in found:
        if "version" in record:
            versions.setdefault(record["engine"], set()).add(record["version"])
    shown = [
        f"{LABELS[e]} {', '.join(sorted(versions[e]))}"
        for e in ordered(set(versions), LABELS)
        if e in LABELS and "-" not in e
    ]
    dates = sorted({record["date"] for record in found})
    return ", ".join(shown), " to ".join(dict.fromkeys([dates[0], dates[-1]]))


def start_table(network, batch, threads, found):
    """Return the lines of the table of one network's starts."""
    seconds, first, later = (
        records.rounds(found, key) for key in ("seconds", "memory_first", "memory")
    )
    relative = records.relative(seconds)
    header = [
        f"{NAMES.get(network, network)}, batch {batch}, {threads_text(threads)}",
        *["first result, s", "time / fastconv", "peak memory then, MB"],
        f"after {found[0]['runs']} more runs, MB",
    ]
    rows = [
        [
            LABELS.get(engine, engine),
            f"{statistics.median(seconds[engine]):.3f}",
            f"{relative[engine]:.2f}" if engine in relative else "",
            *[f"{statistics.median(memory[engine]) / 1e6:.0f}" for memory in (first, later)],
        ]
        for engine in ordered(set(seconds), LABELS)
    ]
    return table(header, rows)


def section(data):
    """Return the text between the markers."""
    found = [r for r in data["records"] if r["kind"] == "run"]
    starts = [r for r in data["records"] if r["kind"] == "start"]
    machine = data["machine"]
    versions, dates = version_text([*found, *starts])
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores; {machine['system']}; {dates}. {versions}.",
        "",
    ]
    grouped = sorted(group(found).items())
    for (batch, threads), cases in grouped:
        lines += [f"### Batch {batch}, {threads_text(threads)}", "", *latency_table(cases), ""]
    if found:
        lines += [f"{effort_text(found)} {error_text(found)}", ""]
    if charted(grouped):
        lines += [f"![Time of each peer over fastconv's, batch 1]({CHART})", ""]
    if starts:
        lines += ["### From process start to first result", ""]
    for (batch, threads), cases in sorted(group(starts).items()):
        for network, these in cases.items():
            lines += [*start_table(network, batch, threads, these), ""]
    return "\n".join(lines)


def charted(grouped):
    return [(threads, cases) for (batch, threads), cases in grouped if batch == 1]


def picture(data):
    """Return the chart of batch 1 as SVG, or None without such records."""
    grouped = sorted(group(r for r in data["records"] if r["kind"] == "run").items())
    panels, engines = [], set()
    shown = {n for _, cases in charted(grouped) for n in cases}
    for threads, cases in charted(grouped):
        rows = []
        for network in ordered(shown, NAMES):
            times = records.relative(records.rounds(cases.get(network, [])))
            each = {engine: t for engine, t in times.items() if records.is_peer(engine)}
            engines |= each.keys()
            rows.append((NAMES.get(network, network), each))
        panels.append((threads_text(threads), rows))
    if not engines:
        return None
    return chart.svg(panels, {e: LABELS.get(e, e) for e in ordered(engines, LABELS)})


def put(document, text):
    """Return the document with the text between its markers.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"expected one line {BEGIN!r} and, after it, one line {END!r}")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"


def write(data, docs):
    path = docs / "benchmarks.md"
    path.write_text(put(path.read_text(), section(data)))
    image = picture(data)
    if image:
        (docs / CHART).write_text(image)
