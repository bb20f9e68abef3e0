"""The replay buffer: bounded bytes, what is dropped, what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training.replay import Example, ReplayBuffer

ROWS = 4
BYTES = ROWS * (2 * 3 + 4 * 14 + 4 + 2)


def example(name: str, stamp_ns: int, rows: int = ROWS) -> Example:
    return Example(
        prediction_id=name,
        stamp_ns=stamp_ns,
        X=np.zeros((rows, 3), np.float16),
        neighbor_index=np.full((rows, 14), rows, np.int32),
        azimuth=np.zeros(rows, np.float32),
        label=np.full((rows, 2), -1, np.int8),
    )


def buffer_of(examples: int, seed: int = 0) -> ReplayBuffer:
    return ReplayBuffer(examples * BYTES, primary=1, generator=np.random.default_rng(seed))


def label(buffer: ReplayBuffer, name: str, column: int = 1) -> bool:
    return buffer.label(name, column, np.int32([0, 2]), np.array([True, False]))


def test_bytes_of_an_example() -> None:
    assert example("a", 1).nbytes == BYTES


def test_labels_land_where_they_belong() -> None:
    buffer, item = buffer_of(2), example("a", 1)
    buffer.add(item)
    assert label(buffer, "a")
    assert label(buffer, "a")
    assert item.label.tolist() == [[-1, 1], [-1, -1], [-1, 0], [-1, -1]]
    assert buffer.trainable == 1
    assert not label(buffer, "unknown")
    assert buffer.unmatched == 1


def test_only_the_primary_horizon_makes_trainable() -> None:
    buffer = buffer_of(2)
    buffer.add(example("a", 1))
    label(buffer, "a", column=0)
    buffer.label("a", 1, np.empty(0, np.int32), np.empty(0, np.bool_))
    assert buffer.trainable == 0
    with pytest.raises(LookupError, match="no example"):
        buffer.draw(0.5)


@pytest.mark.parametrize(
    ("column", "row", "message"),
    [(2, [0, 1], "column: 2"), (1, [0, 4], "row"), (1, [-1, 0], "row"), (1, [0], "row")],
)
def test_refuses_labels_outside(column: int, row: list[int], message: str) -> None:
    buffer = buffer_of(2)
    buffer.add(example("a", 1))
    with pytest.raises(ValueError, match=message):
        buffer.label("a", column, np.int32(row), np.array([True, False]))


def test_a_known_id_and_a_giant_are_not_added() -> None:
    buffer = buffer_of(2)
    assert buffer.add(example("a", 1))
    assert not buffer.add(example("a", 1))
    assert not buffer.add(example("b", 2, rows=3 * ROWS))
    assert (len(buffer), buffer.nbytes, buffer.refused, buffer.evicted) == (1, BYTES, 1, 0)


def test_without_labels_the_oldest_goes() -> None:
    buffer = buffer_of(3)
    for stamp in (5, 3, 4, 6):
        buffer.add(example(f"p{stamp}", stamp))
    assert buffer.evicted == 1
    assert not label(buffer, "p3")
    assert all(label(buffer, f"p{stamp}") for stamp in (4, 5, 6))


def test_the_newest_trainable_and_the_pending_stay() -> None:
    buffer = buffer_of(4)
    for stamp in range(40):
        buffer.add(example(f"p{stamp}", stamp))
        if stamp >= 2:
            assert label(buffer, f"p{stamp - 2}"), stamp
        assert buffer.nbytes <= 4 * BYTES
    assert buffer.evicted == 36
    assert buffer.draw(1.0).prediction_id == "p37"


def test_eviction_is_random_but_seeded() -> None:
    def survivors(seed: int) -> list[str]:
        buffer = buffer_of(10, seed)
        for stamp in range(60):
            buffer.add(example(f"p{stamp}", stamp))
            label(buffer, f"p{stamp}")
        return sorted({buffer.draw(0.0).prediction_id for _ in range(300)})

    assert survivors(1) == survivors(1)
    assert survivors(1) != survivors(2)
    assert len(survivors(1)) == 9  # all but the newest
    assert any(int(name[1:]) < 49 for name in survivors(1))  # not simply the last ten


def test_draws_newest_with_its_share_and_the_others_evenly() -> None:
    buffer = buffer_of(10)
    for stamp in (3, 1, 2, 0):
        buffer.add(example(f"p{stamp}", stamp))
        label(buffer, f"p{stamp}")
    names = [buffer.draw(0.5).prediction_id for _ in range(6000)]
    share = {name: names.count(name) / len(names) for name in set(names)}
    assert share["p3"] == pytest.approx(0.5, abs=0.03)
    for name in ("p0", "p1", "p2"):
        assert share[name] == pytest.approx(1 / 6, abs=0.03)


def test_a_single_example_is_always_drawn() -> None:
    buffer = buffer_of(10)
    buffer.add(example("a", 1))
    label(buffer, "a")
    assert {buffer.draw(0.0).prediction_id for _ in range(20)} == {"a"}


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6), st.booleans()), max_size=40))
def test_never_above_the_cap(actions: list[tuple[int, int, bool]]) -> None:
    buffer = buffer_of(3)
    for stamp, rows, labelled in actions:
        buffer.add(example(f"p{stamp}", stamp, rows))
        if labelled:
            buffer.label(f"p{stamp}", 1, np.int32([0]), np.array([True]))
        assert 0 <= buffer.nbytes <= 3 * BYTES
        assert buffer.trainable <= len(buffer)
        if buffer.trainable:
            assert buffer.draw(0.3).label[0, 1] == 1


def test_capacity_is_checked() -> None:
    with pytest.raises(ValueError, match="capacity_bytes"):
        ReplayBuffer(0, primary=0, generator=np.random.default_rng(0))
