"""Files that are whole or not there."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from stream.files import append_lines, replacing


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_once_all_is_written(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "scores.json"
    path.write_text("old")
    with replacing(path, durable=durable) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), replacing(path) as temporary:
        temporary.write_text("ne")
        raise OSError("full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# ---- lines ---------------------------------------------------------------------------------------------


def test_lines_of_a_full_disk_are_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    append_lines(path, "first\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9, hard))  # SIGXFSZ is ignored by Python
    try:
        with pytest.raises(OSError, match="File too large"):
            append_lines(path, "second\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "first\n"
    append_lines(path, "third\n")
    assert path.read_text() == "first\nthird\n"


def test_half_a_line_of_a_killed_process_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("first\nsec")
    append_lines(path, "third\n")
    assert path.read_text() == "first\nsec\nthird\n"
