"""Feeds foreign bytes to the C core under the sanitizers, with clang's libFuzzer: ``make fuzz``.

Every target runs for so many seconds, from the inputs kept in the repository and those that earlier runs left
in build/fuzz. An input that ends a run is kept there too, and shown with the command that runs it again.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import WORK, build_core, build_fuzzer, pack, targets, unpack
from tests.native.programs import STRICT, BuildError

MAX_BYTES = 1024
"""Of an input: enough for every list that a target reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run of a target came to."""

    target: str
    executions: int
    per_second: int
    edges: int
    corpus: int
    failure: Path | None


def find_clang() -> str:
    """``FUZZ_CC``, else clang; raises BuildError where there is none."""
    cc = os.environ.get("FUZZ_CC", "clang")
    if shutil.which(cc) is None:
        raise BuildError(f"no {cc!r}: fuzzing needs clang (Debian: apt-get install clang); or set FUZZ_CC")
    return cc


def environment() -> dict[str, str]:
    """Strict sanitizers, but no look at every stack frame after it has gone: that halves the speed."""
    return os.environ | STRICT | {"ASAN_OPTIONS": "detect_leaks=1"}


def prepare(target: str, library: Path, cc: str) -> Path:
    """Build a target; its folder."""
    folder = WORK / target
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    unpack(target, folder / "kept")
    build_fuzzer(target, folder, library, cc)
    return folder


def number(pattern: str, text: str) -> int:
    """The last number that a pattern finds, 0 for none."""
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def fuzz(target: str, folder: Path, limits: Sequence[str]) -> Outcome:
    """Run a target once."""
    command = [f"./fuzz_{target}", "corpus", "kept", *limits, f"-max_len={MAX_BYTES}",
               "-print_final_stats=1", "-rss_limit_mb=2048", "-timeout=120",
               f"-artifact_prefix={folder}/failed-"]  # fmt: skip
    result = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    log = result.stderr
    (folder / "log.txt").write_text(log)
    failure = None
    if result.returncode:
        written = re.findall(r"Test unit written to (\S+)", log)
        failure = Path(written[-1]) if written else folder / "log.txt"
    return Outcome(
        target=target,
        executions=number(r"stat::number_of_executed_units: +(\d+)", log),
        per_second=number(r"stat::average_exec_per_sec: +(\d+)", log),
        edges=number(r"cov: (\d+)", log),
        corpus=number(r"corp: (\d+)", log),
        failure=failure,
    )


def minimise(target: str, folder: Path) -> None:
    """Replace the kept inputs of a target by the fewest that reach what they and all found ones reach."""
    fewest = folder / "fewest"
    shutil.rmtree(fewest, ignore_errors=True)
    fewest.mkdir()
    command = [f"./fuzz_{target}", "-merge=1", f"-max_len={MAX_BYTES}", "fewest", "kept", "corpus"]
    subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)
    print(f"{target}: {pack(target, fewest)} inputs kept", flush=True)


def show(outcome: Outcome) -> None:
    """One line; more for a failure."""
    print(f"{outcome.target:12} {outcome.executions:>12,} {outcome.per_second:>10,} {outcome.edges:>7} "
          f"{outcome.corpus:>7}  {'failed' if outcome.failure else 'passed'}", flush=True)  # fmt: skip
    if outcome.failure:
        program = WORK / outcome.target / f"fuzz_{outcome.target}"
        tail = (WORK / outcome.target / "log.txt").read_text().splitlines()[-60:]
        print("\n".join(tail), f"\nrun it again: {program} {outcome.failure}", sep="\n", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"all without any: {', '.join(targets())}"
    )
    parser.add_argument("--seconds", type=int, default=60, help="of each target; 0 is without end")
    parser.add_argument("--executions", type=int, default=-1, help="of each target at most")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations; 0 is another one each time")
    parser.add_argument(
        "--minimise", action="store_true", help="then keep the fewest inputs that reach as much"
    )
    options = parser.parse_args(arguments)
    unknown = set(options.targets) - set(targets())
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(targets())}")
    limits = [f"-max_total_time={options.seconds}", f"-runs={options.executions}", f"-seed={options.seed}"]
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        cc = find_clang()
        library = build_core(WORK, cc)
        folders = {target: prepare(target, library, cc) for target in options.targets or targets()}
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{'target':12} {'executions':>12} {'a second':>10} {'edges':>7} {'corpus':>7}", flush=True)
    failed = 0
    for target, folder in folders.items():
        outcome = fuzz(target, folder, limits)
        show(outcome)
        failed |= outcome.failure is not None
        if options.minimise and outcome.failure is None:
            minimise(target, folder)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
