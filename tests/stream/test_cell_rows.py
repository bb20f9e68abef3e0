"""Cells are found among ascending ones, or said not to be there."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.cell_rows import locate

IDS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=30)


@given(IDS, IDS)
def test_it_finds_what_a_search_one_by_one_finds(held: list[int], wanted: list[int]) -> None:
    ids = np.array(sorted(set(held)), np.uint64)
    row, known = locate(ids, np.array(wanted, np.uint64))
    assert known.tolist() == [cell in held for cell in wanted]
    assert ids[row[known]].tolist() == [cell for cell in wanted if cell in held]
