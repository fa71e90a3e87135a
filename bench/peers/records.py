"""Figures of the inference benchmark: records in a JSON file, medians and ratios."""

import json
import math
import os
import statistics
from pathlib import Path

CASE = ("kind", "network", "threads", "batch")


def is_peer(engine):
    """Whether fastconv is compared with it; fastconv-... is a variant of fastconv."""
    return not engine.startswith("fastconv")


def case(record):
    return tuple(record[key] for key in CASE)


def read(path):
    path = Path(path)
    return json.loads(path.read_text()) if path.exists() else {"machine": {}, "records": []}


def merge(old, new):
    """Return the records together; a case that is new replaces the old one, all engines of it."""
    cases = {case(r) for r in new}
    return [r for r in old if case(r) not in cases] + new


def write(path, machine, records):
    """Add records to a file."""
    data = {"machine": machine, "records": merge(read(path)["records"], records)}
    temporary = Path(f"{path}.{os.getpid()}")
    temporary.write_text(json.dumps(data, indent=1) + "\n")
    os.replace(temporary, path)


def rounds(records, figure="median"):
    """Return {engine: [figure of each round]} of one case, in the order of the rounds."""
    result = {}
    for record in sorted(records, key=lambda r: r["round"]):
        result.setdefault(record["engine"], []).append(record[figure])
    return result


def ratios(times, engine="fastconv"):
    """Return, for each round, the best peer's time over the engine's, and their median.

    Times are {engine: [time of each round]}. Without peers or the engine: [], None.
    """
    peers = [name for name in times if is_peer(name)]
    if not peers or engine not in times:
        return [], None
    each = [
        min(times[name][i] for name in peers if i < len(times[name])) / own
        for i, own in enumerate(times[engine])
        if any(i < len(times[name]) for name in peers)
    ]
    return each, statistics.median(each) if each else None


def relative(times):
    """Return {engine: time over fastconv's}, medians of the rounds; empty without fastconv."""
    own = times.get("fastconv", [])
    return {
        engine: statistics.median(a / b for a, b in zip(each, own, strict=False))
        for engine, each in times.items()
        if own
    }


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values))


def error(output, reference):
    """Return max |output - reference| / max |reference|; infinite where shapes or NaN differ."""
    import numpy as np

    output = np.asarray(output, np.float64)
    if output.shape != reference.shape or not np.isfinite(output).all():
        return float("inf")
    return float(np.abs(output - reference).max() / np.abs(reference).max())
