"""Feeds foreign bytes to the decoders in Python, with atheris: ``make fuzz-decoders``.

Every target runs for so many seconds, from whole inputs and what earlier runs left in build/decoders. An
input that ends a run, by an error that is not written for people, is kept there, and shown with the command
that runs it again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from tests.data import ROOT
from tests.decoders.seeds import seeds_of
from tests.decoders.targets import TARGETS
from tests.fuzz.__main__ import number

WORK = ROOT / "build" / "decoders"
MAX_BYTES = 16_384
"""Of an input at least; libFuzzer cuts seeds that are longer, and a file that is cut is seldom decoded."""
LIMITS = ("-rss_limit_mb=4096", "-timeout=60", "-print_final_stats=1")
SHOWN = 30
"""Last lines of a run that failed."""


def limits_of(target: str, seconds: int, runs: int) -> list[str]:
    """Arguments of libFuzzer; no seed is longer than an input may be."""
    longest = max(MAX_BYTES, *(len(seed) for seed in seeds_of(target)))
    return [f"-max_total_time={seconds}", f"-runs={runs}", f"-max_len={longest}", *LIMITS]


def fuzz(target: str, seconds: int, runs: int) -> bool:
    """Run a target, print a line; whether nothing failed."""
    folder = WORK / target
    corpus, seeds = folder / "corpus", folder / "seeds"
    for place in (corpus, seeds):
        place.mkdir(parents=True, exist_ok=True)
    for at, data in enumerate(seeds_of(target)):
        (seeds / f"{at:03d}").write_bytes(data)
    limits = [*limits_of(target, seconds, runs), f"-artifact_prefix={folder}/failed-"]
    command = [sys.executable, "-m", "tests.decoders.one", target, str(corpus), str(seeds), *limits]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    log = ran.stdout + ran.stderr
    (folder / "log.txt").write_text(log)
    executions, edges = number(r"number_of_executed_units: +(\d+)", log), number(r"cov: (\d+)", log)
    print(f"{target:20} {executions:>10,} {edges:>7} {'failed' if ran.returncode else 'passed'}", flush=True)
    if ran.returncode:
        print("\n".join(log.splitlines()[-SHOWN:]))
        for path in sorted(folder.glob("failed-*"), key=lambda path: path.stat().st_mtime)[-1:]:
            print(f"run it again: {sys.executable} -m tests.decoders.one {target} {path}", flush=True)
    return ran.returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; 1 if anything failed, 2 without atheris."""
    parser = argparse.ArgumentParser(prog="python -m tests.decoders", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"all without any: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=60, help="of each target; 0 is without end")
    parser.add_argument("--executions", type=int, default=-1, help="of each target at most")
    options = parser.parse_args(arguments)
    chosen = options.targets or list(TARGETS)
    if unknown := sorted(set(chosen) - set(TARGETS)):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if find_spec("atheris") is None:
        print("no atheris, which has packages for CPython on Linux: pip install 'octastream[fuzz]'")
        return 2
    print(f"{'target':20} {'executions':>10} {'edges':>7}", flush=True)
    held = [fuzz(target, options.seconds, options.executions) for target in chosen]
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
