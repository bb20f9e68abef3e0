"""The queue of regions to label: reasons take turns, what is done goes, draws make up for the choice."""

from __future__ import annotations

import numpy as np
import pytest

from models.online.label_queue import REASONS, Standing, label_queue, measures
from models.probability import GRID
from models.scores.region_errors import Course, ErrorTable, Pixels, RegionErrors
from models.scores.tally import Tally


def region(name: int, p: float, share: float, *, rows=1_000, sweeps=50, flips=0.0) -> RegionErrors:
    """A region of 100 cells whose forecasts are all ``p``, of which ``share`` came true."""
    hits = np.array([round(share * rows)])
    tally = Tally(k=np.array([round(p * GRID)]), positives=hits, negatives=rows - hits)
    course = Course(place=np.arange(1, sweeps + 1), rows=np.full(sweeps, 20), loss=np.full(sweeps, 0.1))
    return RegionErrors(
        region=name, x=0.0, y=0.0, z=0.0, cells=100, due=rows, first=1, last=sweeps, tally=tally,
        course=course, flips=flips,
    )  # fmt: skip


def table_of(*regions: RegionErrors) -> ErrorTable:
    none, empty = np.zeros(0), np.zeros(0, np.int64)
    pixels = Pixels(
        side_m=1, x=none, y=none, due=empty, observed=empty, occupied=empty, loss=none, forecast=none
    )
    return ErrorTable(
        horizon_ns=1, lod=3, half_edge_m=6.4, stamp_ns=np.arange(50), unjudged=0, regions=list(regions),
        pixels=pixels,
    )  # fmt: skip


SURE = 0.05
WORLD = table_of(
    region(1, SURE, SURE),  # right, and knows it
    region(2, SURE, 0.6),  # sure, and wrong
    region(3, 0.5, 0.5),  # does not know
    region(4, SURE, SURE, flips=0.4),  # observations contradict each other
    region(5, SURE, SURE, sweeps=2),  # hardly seen
)


def picked(table: ErrorTable = WORLD, standings=None, **options) -> list[tuple[int, str]]:
    options = {"count": 4, "least": 30, **options}
    return [(r.region.region, r.reason) for r in label_queue(table, standings or {}, **options)]


def test_reasons_take_turns_and_each_names_its_region() -> None:
    assert picked() == [(2, "wrong"), (3, "uncertain"), (4, "contradicted"), (5, "novel")]
    assert picked(count=2) == [(2, "wrong"), (3, "uncertain")]


def test_measures_are_what_they_say() -> None:
    wrong = measures(WORLD.regions[1], Standing())
    entropy = -(SURE * np.log(SURE) + (1 - SURE) * np.log(1 - SURE))
    loss = -(0.6 * np.log(SURE) + 0.4 * np.log(1 - SURE))
    assert wrong["uncertain"] == pytest.approx(entropy, rel=1e-3)
    assert wrong["wrong"] == pytest.approx(loss - entropy, rel=1e-3)
    assert measures(WORLD.regions[4], Standing())["novel"] == pytest.approx(1 / 3)
    assert measures(WORLD.regions[3], Standing())["contradicted"] == 0.4
    told = measures(WORLD.regions[3], Standing(labelled=8, contradicted=2))
    assert told["contradicted"] == 0.25, "people who contradict each other count before observations"
    assert tuple(told) == REASONS or set(told) == set(REASONS)


def test_what_is_labelled_goes_unless_words_contradict() -> None:
    done = {2: Standing(labelled=50), 3: Standing(labelled=49), 4: Standing(labelled=90, contradicted=3)}
    names = [name for name, _ in picked(standings=done)]
    assert 2 not in names
    assert {3, 4} <= set(names)


def test_regions_with_few_forecasts_are_left_out() -> None:
    table = table_of(*WORLD.regions, region(6, SURE, 0.9, rows=20))
    assert 6 not in [name for name, _ in picked(table)]
    assert 6 in [name for name, _ in picked(table, least=10)]


def test_the_same_seed_draws_the_same_regions_and_none_twice() -> None:
    table = table_of(*(region(name, SURE, SURE + 0.01 * name) for name in range(1, 40)))
    one = label_queue(table, {}, count=5, least=30, drawn=6, seed=3)
    names = [request.region.region for request in one]
    assert names == [r.region.region for r in label_queue(table, {}, count=5, least=30, drawn=6, seed=3)]
    assert len(set(names)) == 11
    assert [request.reason for request in one[5:]] == ["drawn"] * 6
    assert {request.inclusion for request in one[5:]} == {6 / 34}
    assert {request.inclusion for request in one[:5]} == {1.0}


@pytest.mark.long
def test_weights_take_out_the_bias_of_the_choice() -> None:
    """What the queue picks is hard; weighted by 1 / inclusion its mean loss is that of all regions."""
    shares = np.random.default_rng(0).uniform(0.02, 0.5, 60)
    table = table_of(*(region(name, SURE, share) for name, share in enumerate(shares, 1)))
    true = np.mean([r.loss for r in table.regions])
    plain, weighted = [], []
    for seed in range(400):
        requests = label_queue(table, {}, count=10, least=30, drawn=8, seed=seed)
        losses = np.array([request.region.loss for request in requests])
        weights = np.array([1 / request.inclusion for request in requests])
        plain.append(losses.mean())
        weighted.append(np.sum(losses * weights) / weights.sum())
    error = np.std(weighted) / np.sqrt(len(weighted))
    assert abs(np.mean(weighted) - true) < 4 * error
    assert np.mean(plain) > true + 0.05
