"""How much of the C core its C tests reach: ``python -m tests.native.coverage``, ``make coverage``.

Builds the C tests once for each instruction set, with allocations that fail, runs them, and lets gcovr count.
Prints a line a file and what no test reached; ends with 1 below the floors.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.data import ROOT
from tests.native.programs import (
    FAILING,
    FLAGS,
    INCLUDES,
    PATHS,
    SOURCES,
    BuildError,
    c_tests,
    call,
    compiler,
    core,
    require,
    run,
)

LINE_FLOOR, BRANCH_FLOOR = 95.0, 90.0
"""Per cent of the lines and of the branches of native/src."""


def measure(folder: Path) -> dict[str, Any]:
    """gcovr's summary of all runs; raises BuildError."""
    for name, define in PATHS.items():
        place = folder / name
        place.mkdir()
        includes = [f"-I{folder}" for folder in INCLUDES]
        flags = [*FLAGS, "-O0", "--coverage", define, FAILING, *includes]
        call([require(compiler()), *flags, *map(str, [*core(), *c_tests()]), "-lm", "-o", "tests"], place)
        result = run(["./tests"], place)
        if result.returncode:
            raise BuildError(f"C tests failed ({name}):\n{result.stdout}{result.stderr}")
    report = folder / "report.json"
    gcov = os.environ.get("GCOV", "gcov")
    command = [sys.executable, "-m", "gcovr", "--root", str(ROOT), "--filter", f"{SOURCES}/",
               "--gcov-executable", gcov, "--json", str(folder / "lines.json"),
               "--json-summary", str(report), *(str(folder / name) for name in PATHS)]  # fmt: skip
    result = run(command, folder)
    if result.returncode:
        raise BuildError(f"gcovr: {result.stderr}")
    summary: dict[str, Any] = json.loads(report.read_text())
    summary["missed"] = missed(json.loads((folder / "lines.json").read_text()))
    return summary


def missed(report: dict[str, Any]) -> dict[str, str]:
    """Line numbers of each file that no test ran, or of which one branch was never taken (with a ``b``)."""
    found = {}
    for file in report["files"]:
        lines: dict[int, str] = {}
        for line in file["lines"]:
            number = line["line_number"]
            if line["count"] == 0:
                lines[number] = str(number)
            elif any(branch["count"] == 0 for branch in line["branches"]):
                lines.setdefault(number, f"{number}b")
        found[file["file"]] = " ".join(lines[number] for number in sorted(lines))
    return found


def show(summary: dict[str, Any]) -> None:
    """One line a file."""
    print(f"{'file':24} {'lines':>6} {'%':>6} {'branches':>9} {'%':>6}  missed")
    for file in [*summary["files"], summary | {"filename": "total"}]:
        name = Path(file["filename"]).name
        if not file["line_total"]:
            continue
        branches = f"{file['branch_percent']:6.1f}" if file["branch_total"] else f"{'-':>6}"
        rest = summary["missed"].get(file["filename"], "")
        print(f"{name:24} {file['line_total']:6} {file['line_percent']:6.1f} "
              f"{file['branch_total']:9} {branches}  {rest}".rstrip())  # fmt: skip


def main() -> int:
    """Measure, show, compare with the floors."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            summary = measure(Path(folder))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    show(summary)
    failed = 0
    for what, floor in (("line", LINE_FLOOR), ("branch", BRANCH_FLOOR)):
        reached = summary[f"{what}_percent"]
        if reached < floor:
            print(f"{what} coverage is {reached} %, expected at least {floor} %", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
