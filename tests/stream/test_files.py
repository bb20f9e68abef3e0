"""Files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.files import replacing


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
