"""The replay buffer: bounded bytes, what is dropped, what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training.replay import CANDIDATES, Example, ReplayBuffer

ROWS = 4
PARTS = 4
BYTES = ROWS * (2 * 3 + 4 * 14 + 4 + 2) + 4 * PARTS


def example(name: str, stamp_ns: int, rows: int = ROWS) -> Example:
    return Example(
        prediction_id=name,
        stamp_ns=stamp_ns,
        X=np.zeros((rows, 3), np.float16),
        neighbor_index=np.full((rows, 14), rows, np.int32),
        azimuth=np.zeros(rows, np.float32),
        label=np.full((rows, 2), -1, np.int8),
        loss=np.full(PARTS, np.nan, np.float32),
    )


def drawn(buffer: ReplayBuffer, newest_share: float) -> Example:
    found, part = buffer.draw(newest_share)
    assert part is None
    return found


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
    assert not label(buffer, "p5")
    assert all(label(buffer, f"p{stamp}") for stamp in (3, 4, 6))


@pytest.mark.parametrize("ahead", [10**12, -(10**12)])
def test_a_clock_that_is_ahead_or_behind_holds_nothing(ahead: int) -> None:
    """Two robots by turns, one of them long since silent: the newest is what was labelled last."""
    buffer = buffer_of(8)
    for stamp in range(60):
        buffer.add(example(f"p{stamp}", stamp + (ahead if stamp % 2 and stamp < 20 else 0)))
        if stamp >= 3:
            assert label(buffer, f"p{stamp - 3}"), "none is dropped before its labels came"
            assert drawn(buffer, 1.0).prediction_id == f"p{stamp - 3}"


def test_the_newest_trainable_stays_where_it_was_the_first_to_come() -> None:
    buffer = buffer_of(3)
    for name in ("p0", "p1", "p2"):
        buffer.add(example(name, 1))
    for name in ("p1", "p2", "p0"):
        assert label(buffer, name)
    buffer.add(example("p3", 2))
    assert drawn(buffer, 1.0).prediction_id == "p0"


def test_a_buffer_that_holds_hardly_more_than_waits_for_labels_goes_on() -> None:
    buffer = buffer_of(4)
    for stamp in range(60):
        buffer.add(example(f"p{stamp}", stamp))
        if stamp >= 3:
            assert label(buffer, f"p{stamp - 3}"), stamp
            assert drawn(buffer, 1.0).prediction_id == f"p{stamp - 3}"


def test_the_newest_trainable_and_the_pending_stay() -> None:
    buffer = buffer_of(4)
    for stamp in range(40):
        buffer.add(example(f"p{stamp}", stamp))
        if stamp >= 2:
            assert label(buffer, f"p{stamp - 2}"), stamp
        assert buffer.nbytes <= 4 * BYTES
    assert buffer.evicted == 36
    assert drawn(buffer, 1.0).prediction_id == "p37"


def test_eviction_is_random_but_seeded() -> None:
    def survivors(seed: int) -> list[str]:
        buffer = buffer_of(10, seed)
        for stamp in range(60):
            buffer.add(example(f"p{stamp}", stamp))
            label(buffer, f"p{stamp}")
        return sorted({drawn(buffer, 0.0).prediction_id for _ in range(300)})

    assert survivors(1) == survivors(1)
    assert survivors(1) != survivors(2)
    assert len(survivors(1)) == 9  # all but the newest
    assert any(int(name[1:]) < 49 for name in survivors(1))  # not simply the last ten


def test_draws_newest_with_its_share_and_the_others_evenly() -> None:
    buffer = buffer_of(10)
    for stamp in (1, 2, 0, 3):
        buffer.add(example(f"p{stamp}", stamp))
        label(buffer, f"p{stamp}")
    names = [drawn(buffer, 0.5).prediction_id for _ in range(6000)]
    share = {name: names.count(name) / len(names) for name in set(names)}
    assert share["p3"] == pytest.approx(0.5, abs=0.03)
    for name in ("p0", "p1", "p2"):
        assert share[name] == pytest.approx(1 / 6, abs=0.03)


def test_a_single_example_is_always_drawn() -> None:
    buffer = buffer_of(10)
    buffer.add(example("a", 1))
    label(buffer, "a")
    assert {drawn(buffer, 0.0).prediction_id for _ in range(20)} == {"a"}


def with_losses(seed: int = 0) -> ReplayBuffer:
    """Sweeps 0 to 9, of which all but the newest were trained on: their sectors' losses are 0.0 to 1.1."""
    buffer = buffer_of(10, seed)
    for stamp in range(10):
        some = example(f"p{stamp}", stamp)
        if stamp < 9:
            some.loss[:] = (stamp + np.arange(PARTS)) / 10
        buffer.add(some)
        label(buffer, f"p{stamp}")
    return buffer


def test_hard_sectors_are_drawn_more_often_than_easy_ones() -> None:
    buffer = with_losses()
    found = [buffer.draw(0.25, 1.0) for _ in range(4000)]
    newest = [some for some, part in found if part is None]
    assert {some.prediction_id for some in newest} == {"p9"}
    assert len(newest) / len(found) == pytest.approx(0.25, abs=0.03)
    losses = np.array([some.loss[part] for some, part in found if part is not None])
    every = np.sort(np.add.outer(np.arange(9), np.arange(PARTS)).ravel() / 10)
    expected = np.mean(
        [every[places].max() for places in np.random.default_rng(1).integers(36, size=(4000, CANDIDATES))]
    )
    assert losses.mean() == pytest.approx(expected, abs=0.02)
    assert expected > every.mean() + 0.2


def test_sectors_that_were_not_trained_on_are_no_harder_than_known_ones() -> None:
    buffer = buffer_of(10)
    for stamp in range(5):
        some = example(f"p{stamp}", stamp)
        if stamp == 2:
            some.loss[3] = 0.1
        buffer.add(some)
        label(buffer, f"p{stamp}")
    found = [buffer.draw(0.0, 1.0) for _ in range(2000)]
    known = sum((some.prediction_id, part) == ("p2", 3) for some, part in found)
    assert known / len(found) == pytest.approx(1 - (15 / 16) ** CANDIDATES, abs=0.03)


def test_hard_draws_repeat_with_their_seed() -> None:
    def names(seed: int) -> list[tuple[str, int | None]]:
        buffer = with_losses(seed)
        return [(some.prediction_id, part) for some, part in (buffer.draw(0.3, 0.5) for _ in range(50))]

    assert names(1) == names(1)
    assert names(1) != names(2)


def test_without_a_hard_share_draws_are_what_they_were() -> None:
    plain, losses = buffer_of(10), with_losses()
    for stamp in range(10):
        plain.add(example(f"p{stamp}", stamp))
        label(plain, f"p{stamp}")
    for _ in range(50):
        assert drawn(plain, 0.5).prediction_id == drawn(losses, 0.5).prediction_id


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
            assert drawn(buffer, 0.3).label[0, 1] == 1


def test_capacity_is_checked() -> None:
    with pytest.raises(ValueError, match="capacity_bytes"):
        ReplayBuffer(0, primary=0, generator=np.random.default_rng(0))
