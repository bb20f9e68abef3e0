"""The built core needs nothing newer than its wheel promises."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from native import _octa

OLDEST_GLIBC = (2, 17)
"""Of manylinux_2_17, the platform of the wheel (PEP 600)."""


@pytest.mark.skipif(sys.platform != "linux", reason="ELF")
def test_it_runs_where_glibc_is_old() -> None:
    with Path(_octa.__file__).open("rb") as file:
        needed = [
            version.name
            for _, versions in ELFFile(file).get_section_by_name(".gnu.version_r").iter_versions()
            for version in versions
        ]
    glibc = [tuple(map(int, name[6:].split("."))) for name in needed if name.startswith("GLIBC_")]
    assert glibc
    assert max(version[:2] for version in glibc) <= OLDEST_GLIBC
