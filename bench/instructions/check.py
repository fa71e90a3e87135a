"""Counts the instructions of kernels on fixed shapes and compares them with counts.json.

    cmake -S . -B build -DFASTCONV_TESTS=ON && cmake --build build --target fastconv_counted
    python bench/instructions/check.py build/fastconv_counted            fails at +3 % of any case
    python bench/instructions/check.py build/fastconv_counted --write    stores what was counted

Counts are callgrind's, of one run of a plan on one thread with AVX2: they do not depend on how busy
the machine is, so a change that makes a kernel longer is seen where a timing would be noise. Nor on
its processor: valgrind shows every program the same one, with the same caches. They depend on the
compiler; those of another one are not compared.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STORED = Path(__file__).with_name("counts.json")
WORST = 0.03


def compiler_of(program: Path) -> str:
    """What the program's own comment section says that compiled it."""
    command = ["readelf", "--string-dump=.comment", str(program)]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return ", ".join(sorted(set(re.findall(r"\]\s+(.*\S)", dump))))


def count(program: Path, case: str) -> int:
    """Return the instructions of one run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "callgrind")
        command = [
            *(
                "valgrind",
                "--tool=callgrind",
                "--collect-atstart=no",
                "--toggle-collect=counted_run*",
            ),
            *("--toggle-collect=counted_run*", f"--callgrind-out-file={out}", str(program), case),
        ]
        environment = {**os.environ, "FASTCONV_ISA": "avx2", "FASTCONV_NUM_THREADS": "1"}
        run = subprocess.run(command, capture_output=True, text=True, env=environment)
        if run.returncode:
            raise SystemExit(f"{' '.join(command)}:\n{run.stderr}")
        total = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    if total is None or int(total[1]) == 0:
        raise SystemExit(f"'{case}': callgrind counted nothing; was counted_run inlined?")
    return int(total[1])


def report(counts: dict, stored: dict) -> list[str]:
    """Print every case that moved; return what is wrong."""
    wrong = [f"'{case}' is stored and was not counted" for case in stored if case not in counts]
    for case, n in counts.items():
        if case not in stored:
            wrong.append(f"'{case}' is not stored: --write")
            continue
        change = n / stored[case] - 1
        if abs(change) >= 0.005:
            print(f"{case:55} {stored[case]:>12,} -> {n:>12,}  {change:+.1%}")
        if change > WORST:
            wrong.append(f"'{case}' takes {change:.1%} more instructions than stored")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", type=Path)
    parser.add_argument("--write", action="store_true", help="store the counts")
    parser.add_argument(
        "--if-comparable", action="store_true", help="succeed where another compiler was used"
    )
    parser.add_argument("--only", default="", help="cases with this in their name")
    arguments = parser.parse_args()
    program = arguments.program.resolve()
    compiler = f"{compiler_of(program)}, {platform.machine()}"
    stored = json.loads(STORED.read_text())
    if not arguments.write and stored["compiler"] != compiler:
        why = (
            f"{STORED.name} was made by {stored['compiler']}, the program by {compiler}: their "
            "counts cannot be compared. Build both commits here, --write for the one before"
        )
        if arguments.if_comparable:
            print(why)
            return
        sys.exit(why)
    listed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    cases = [c for c in listed.splitlines() if arguments.only in c]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = dict(zip(cases, pool.map(lambda c: count(program, c), cases), strict=True))
    known = {k: v for k, v in stored["counts"].items() if arguments.only in k}
    if arguments.write:
        kept = {k: v for k, v in stored["counts"].items() if k not in known}
        new = {"compiler": compiler, "counts": {**kept, **counts}}
        STORED.write_text(json.dumps(new, indent=1) + "\n")
        return
    if wrong := report(counts, known):
        sys.exit("\n".join(wrong))
    print(f"{len(counts)} cases, none of more than {WORST:.0%} more instructions than stored")


if __name__ == "__main__":
    main()
