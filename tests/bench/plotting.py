"""The command line that every plot has."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(about: str | None, plot: Callable[[dict[str, Any], Path], None], results: Path) -> None:
    """Read results, write the image beside them.

    about : what the plot says of itself; results : where they usually lie
    """
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("results", type=Path, nargs="?", default=results, help=f"default: {results.name}")
    parser.add_argument("--out", type=Path, help="image to write (default: beside the results, .png)")
    options = parser.parse_args()
    plot(json.loads(options.results.read_text()), options.out or options.results.with_suffix(".png"))
