"""Rounds A B C A B C of engines, each in a process of its own, and options of the command line."""

import datetime
import os
import platform
from pathlib import Path

from . import process, records


def numbers(text):
    return [int(item) for item in text.split(",")]


def names(text):
    return text.split(",")


def in_rounds(args, kind, task, engines, measure):
    """Measure each engine in turn, A B C A B C; a peer that fails is left out. Return records."""
    engines, found = list(engines), []
    for number in range(args.rounds):
        for engine in list(engines):
            python = process.python_of(args.python, engine)
            try:
                result = measure(python, {**task, "engine": engine})
            except process.Failed as failure:
                if not records.is_peer(engine):
                    raise SystemExit(f"{engine} failed on {task['network']}: {failure}") from None
                print(f"  {engine}: LEFT OUT ({failure})", flush=True)
                engines.remove(engine)
                continue
            case = {key: task[key] for key in ("network", "threads", "batch")}
            date = datetime.date.today().isoformat()
            found.append(
                {"kind": kind, **case, "engine": engine, "round": number, "date": date, **result}
            )
    return found


def machine():
    cpu = "unknown CPU"
    for text in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if text.startswith("model name"):
            cpu = text.partition(":")[2].strip()
            break
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()}, Python {platform.python_version()}",
    }
