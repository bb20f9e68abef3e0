"""Every fault of the table has tests that name it; the table says how they ended."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.data import ROOT
from tests.faults import FAULTS, UNTESTED, Rows, chosen_of, table_of

NAMED = re.compile(r"pytest\.mark\.fault\(([\d, ]+)\)")


def test_every_fault_has_a_test_or_a_reason_and_no_other_number_is_named() -> None:
    texts = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    named = {int(row) for text in texts for found in NAMED.findall(text) for row in found.split(",")}
    assert sorted(FAULTS) == list(range(1, 45))
    assert named == set(FAULTS) - set(UNTESTED)


def test_a_command_line_names_rows_or_means_all() -> None:
    assert chosen_of([]) == set(FAULTS)
    assert chosen_of(["7", "42", "7"]) == {7, 42}
    for wrong in ("45", "0", "x"):
        with pytest.raises(SystemExit):
            chosen_of([wrong])


TESTS = """
import pytest

@pytest.mark.fault(1, 2)
def test_that_holds():
    pass

@pytest.mark.fault(2)
def test_that_fails():
    assert False

@pytest.mark.fault(3)
def test_that_cannot_run():
    pytest.skip("no chip")

@pytest.mark.kafka
@pytest.mark.fault(4)
def test_on_a_broker():
    assert False

@pytest.fixture
def broken():
    raise RuntimeError

@pytest.mark.fault(5)
def test_of_which_the_fixture_fails(broken):
    pass

@pytest.mark.fault(6)
def test_of_another_fault():
    assert False
"""


def test_the_table_says_how_tests_ended(tmp_path: Path) -> None:
    (tmp_path / "test_of_faults.py").write_text(TESTS)
    rows = Rows(frozenset({1, 2, 3, 4, 5, 7}), without_kafka="no broker")
    pytest.main(["-q", "-c", str(ROOT / "pyproject.toml"), str(tmp_path)], plugins=[rows])
    assert {row: rows.result(row) for row in rows.chosen} == {
        1: (1, "holds"),
        2: (2, "1 failed"),
        3: (0, "1 skipped; no chip"),
        4: (0, "1 skipped; no broker"),
        5: (1, "1 failed"),
        7: (0, "not shown: no test was found"),
    }
    assert not rows.whole()
    assert rows.holding() == 1
    assert table_of(rows).row_count == 6
    assert "test_of_another_fault" not in " ".join(rows.ended)


LEFT_OUT = """
import pytest

@pytest.mark.fault(1, 2)
def test_that_holds():
    pass

@pytest.mark.fault(2, 3)
def test_that_cannot_run():
    pytest.skip("no chip")

@pytest.mark.fault(4)
@pytest.mark.skip
def test_of_which_nobody_says_why():
    pass

@pytest.mark.fault(5)
@pytest.mark.xfail(reason="not mended")
def test_that_is_known_to_fail():
    assert False
"""


@pytest.mark.parametrize(
    ("chosen", "whole", "holding"),
    [
        ({1}, True, 1),
        ({1, 2, 3}, True, 1),  # 3 cannot be tried here, and says why; 2 was tried in part
        ({3}, False, 0),  # nothing was tried at all
        ({1, 4}, False, 1),
        ({1, 5}, False, 1),
    ],
)
def test_what_was_not_tried_is_excused_by_a_reason_only_and_beside_something_that_was(
    chosen: set[int], whole: bool, holding: int, tmp_path: Path
) -> None:
    (tmp_path / f"test_of_{tmp_path.name}.py").write_text(LEFT_OUT)
    rows = Rows(frozenset(chosen))
    pytest.main(["-q", "-c", str(ROOT / "pyproject.toml"), str(tmp_path)], plugins=[rows])
    assert (rows.whole(), rows.holding()) == (whole, holding)


def test_a_run_that_ended_before_a_test_began_is_not_whole() -> None:
    rows = Rows(frozenset({1}), tests={1: ["one", "two"]}, ended={"one": "passed"})
    assert rows.result(1) == (1, "1 not run")
    assert not rows.whole()
