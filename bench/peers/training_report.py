"""Tables of the training benchmark, in Markdown."""

import statistics

from . import records, report
from .training_networks import NETWORKS

NAMES = {
    "course": "course's network, s an epoch",
    "lenet5": "LeNet-5",
    "vgg11_bn": "VGG-11 with batch-norm",
    "resnet18": "ResNet-18",
    "mobilenet_v2": "MobileNetV2",
    "resnet50": "ResNet-50",
}
REFERENCE = "torch"  # whose losses the others are compared with


def is_torch(engine):
    return engine == "torch" or engine.startswith("torch-")


def title(network):
    case = NETWORKS[network]
    size = "x".join(str(n) for n in case.shape)
    return f"{NAMES[network]} ({size}, batch {case.batch})"


def medians(found, figure):
    return {e: statistics.median(v) for e, v in records.rounds(found, figure).items()}


def ratio(found, figure="median", peer=records.is_peer):
    """Return the best peer's figure over fastconv's: of each round, and the median."""
    figures = records.rounds(found, figure)
    return records.ratios({e: v for e, v in figures.items() if e == "fastconv" or peer(e)})


def ratio_text(each, middle):
    if middle is None:
        return ""
    return f"{middle:.2f}" + (f" ({min(each):.2f} to {max(each):.2f})" if len(each) > 1 else "")


def loss_errors(found):
    """Return {engine: (over the steps that have to agree, over all steps)}.

    Each is the largest relative difference of a loss from PyTorch's in NCHW, in any round.
    """
    reference = next((r["losses"] for r in found if r["engine"] == REFERENCE), None)
    if reference is None:
        return {}
    compared, errors = NETWORKS[found[0]["network"]].compared, {}
    for record in found:
        each = [
            abs(a - b) / abs(b) if a == a else float("inf")
            for a, b in zip(record["losses"], reference, strict=True)
        ]
        old = errors.get(record["engine"], (0, 0))
        errors[record["engine"]] = (max(old[0], *each[:compared]), max(old[1], *each))
    return errors


def by_network(found):
    cases = {}
    for record in found:
        cases.setdefault(record["network"], []).append(record)
    return {network: cases[network] for network in NETWORKS if network in cases}


def speed_table(cases, engines):
    header = ["ms a step", *[report.LABELS.get(e, e) for e in engines]]
    header += ["best PyTorch / fastconv", "best peer / fastconv", "bar"]
    rows = []
    for network, found in cases.items():
        times = medians(found, "median")
        if NETWORKS[network].epoch:
            shown = {e: f"{t:.2f} s" for e, t in times.items()}
        else:
            shown = {e: report.milliseconds(t) for e, t in times.items()}
        ratios = [ratio_text(*ratio(found, peer=peer)) for peer in (is_torch, records.is_peer)]
        cells = [shown.get(e, "") for e in engines]
        rows.append([title(network), *cells, *ratios, f"{NETWORKS[network].bar:g}"])
    return report.table(header, rows)


def memory_table(cases, engines):
    header = ["peak memory, MB (growth)", *[report.LABELS.get(e, e) for e in engines]]
    header += ["fastconv / least PyTorch, peak", "growth"]
    rows = []
    for network, found in cases.items():
        peak, growth = (medians(found, figure) for figure in ("memory", "growth"))
        cells = [
            f"{peak[e] / 1e6:.0f} ({growth[e] / 1e6:.0f})" if e in peak else "" for e in engines
        ]
        for figure in (peak, growth):
            least = min((v for e, v in figure.items() if is_torch(e)), default=None)
            known = least is not None and "fastconv" in figure
            cells.append(f"{figure['fastconv'] / least:.2f}" if known else "")
        rows.append([title(network), *cells])
    return report.table(header, rows)


def loss_table(cases, engines):
    engines = [e for e in engines if e != REFERENCE]
    header = ["loss against PyTorch", "steps", *[report.LABELS.get(e, e) for e in engines]]
    rows = []
    for network, found in cases.items():
        case, errors = NETWORKS[network], loss_errors(found)
        kinds = [(case.compared, 0)]
        if case.losses != case.compared:
            kinds.append((case.losses, 1))
        for steps, kind in kinds:
            cells = [f"{errors[e][kind]:.1e}" if e in errors else "" for e in engines]
            rows.append([title(network), str(steps), *cells])
    return report.table(header, rows)


def section(data):
    """Return the Markdown of all records of kind "train"."""
    every = [r for r in data["records"] if r["kind"] == "train"]
    machine = data["machine"]
    dates = sorted({r["date"] for r in every})
    versions = {r["engine"]: r["version"] for r in every}
    engines = report.ordered(set(versions), report.LABELS)
    shown = ", ".join(f"{report.LABELS.get(e, e)} {versions[e]}" for e in engines)
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores; {machine['system']}; "
        f"{' to '.join(dict.fromkeys([dates[0], dates[-1]]))}. {shown}.",
        "",
    ]
    for threads in sorted({r["threads"] for r in every}):
        cases = by_network([r for r in every if r["threads"] == threads])
        numbers = sorted({max(r["round"] for r in found) + 1 for found in cases.values()})
        lines += [f"#### {report.threads_text(threads).capitalize()}", ""]
        for table in (speed_table, memory_table, loss_table):
            lines += [*table(cases, engines), ""]
        rounds = " to ".join(str(n) for n in dict.fromkeys([numbers[0], numbers[-1]]))
        lines += [f"Rounds: {rounds}.", ""]
    return "\n".join(lines)
