"""What a study does to Learn: keeps, delays, falsifies, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agents.learn import Learn
from agents.protocol import Labels, Train
from agents.studies.doubles import Capture, CapturedLearn, DelayedLearn, Poison, PoisonedLearn, made_of
from native.index64 import ancestor
from stream.config import NetworkConfig
from stream.features import schema_of
from stream.records import Event, Outcome, Shadow
from tests.agents.loops import Loop, ScriptedEffects, load_scripted, loop_of
from tests.agents.worlds import FIRST_NS, PERIOD_NS, builtin_of, config_of, drive, plain

CONFIG = config_of("learn.gate_sweeps=3")
SWEEPS = 24


def run(path: Path, make: Callable[..., Learn]) -> Loop:
    """A drive on which a network trains by a script, under a Learn of some kind."""
    learn = make(
        CONFIG, schema_of(CONFIG), builtin_of(CONFIG), networks={"network": NetworkConfig(width=4, layers=1)},
        priors={}, linear=None, load=load_scripted(CONFIG),
    )  # fmt: skip

    def effects(config: object, schema: object, folder: object, *_: object) -> ScriptedEffects:
        return ScriptedEffects(config, schema, folder, lambda request, number: 1.5)  # type: ignore[arg-type]

    return loop_of(CONFIG, path, learn=learn, effects=effects).run(drive(SWEEPS))


def requests(loop: Loop) -> list[Train]:
    return [effect for step in loop.learn.steps for effect in step.effects if isinstance(effect, Train)]


def given(loop: Loop) -> dict[tuple[str, int], Labels]:
    return {(part.prediction_id, part.horizon): part for request in requests(loop) for part in request.labels}


@pytest.fixture(scope="module")
def true(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """The same drive under Learn itself."""
    return run(tmp_path_factory.mktemp("true"), Learn)


def test_a_capture_is_what_trainers_were_given(tmp_path: Path, true: Loop) -> None:
    capture = Capture()
    loop = run(tmp_path, made_of(CapturedLearn, capture=capture))
    assert plain(requests(loop)) == plain(requests(true))
    assert set(capture.examples) == {e.prediction_id for request in requests(true) for e in request.examples}
    kept = {(part.prediction_id, part.horizon): part for parts in capture.labels.values() for part in parts}
    assert {k: plain(v) for k, v in kept.items()} == {k: plain(v) for k, v in given(true).items()}


@pytest.mark.parametrize("delay", [0, 1, 5])
def test_delayed_labels_come_so_many_trainings_later_and_examples_at_once(
    tmp_path: Path, true: Loop, delay: int
) -> None:
    late, now = requests(run(tmp_path, made_of(DelayedLearn, delay=delay))), requests(true)
    assert plain([request.examples for request in late]) == plain([request.examples for request in now])
    assert [plain(request.labels) for request in late[delay:]] == [
        plain(request.labels) for request in now[: len(now) - delay]
    ]
    assert all(request.labels == () for request in late[:delay])


def poisoned(path: Path, *poisons: Poison, at_source: bool = False) -> Loop:
    return run(path, made_of(PoisonedLearn, poisons=poisons, at_source=at_source, seed=7))


def stamp(sweep: int) -> int:
    return FIRST_NS + sweep * PERIOD_NS


def test_a_share_of_the_labels_is_turned_round_from_its_beginning_on(tmp_path: Path, true: Loop) -> None:
    loop = poisoned(tmp_path, Poison(share=0.2, begin_ns=stamp(8), end_ns=stamp(14)))
    before, after = given(true), given(loop)
    assert set(before) == set(after)
    turned = total = 0
    for key, part in before.items():
        assert np.array_equal(part.row, after[key].row)
        wrong = part.occupied != after[key].occupied
        inside = stamp(8) <= int(key[0].rsplit("/", 1)[1]) < stamp(14)
        assert inside or not wrong.any()
        turned += int(wrong.sum())
        total += len(wrong) if inside else 0
    assert turned / total == pytest.approx(0.2, abs=0.02)
    assert loop.learn.agent.flipped == turned


def test_gate_and_guard_see_what_happened_unless_the_outcomes_are_false(tmp_path: Path, true: Loop) -> None:
    everywhere = Poison(share=0.5, begin_ns=stamp(4))
    labels = poisoned(tmp_path / "labels", everywhere)
    source = poisoned(tmp_path / "source", everywhere, at_source=True)

    def promoted(loop: Loop) -> object:
        return plain([event for event in loop.learn.outputs(Event) if event.kind == "promoted"])

    assert promoted(labels) == promoted(true) != promoted(source)
    assert plain(labels.learn.outputs(Shadow)) == plain(true.learn.outputs(Shadow))
    assert plain(source.judge.outputs(Outcome)) == plain(true.judge.outputs(Outcome))
    assert {k: plain(v) for k, v in given(labels).items()} == {k: plain(v) for k, v in given(source).items()}


def test_one_region_is_the_one_with_the_most_outcomes_at_the_beginning(tmp_path: Path, true: Loop) -> None:
    lod = 3
    loop = poisoned(tmp_path, Poison(share=1.0, begin_ns=stamp(6), lod=lod))
    outcomes = {
        (o.prediction_id, CONFIG.task.horizons_ns.index(o.horizon_ns)): o for o in true.judge.outputs(Outcome)
    }
    regions = set()
    before, after = given(true), given(loop)
    for key, part in before.items():
        wrong = part.occupied != after[key].occupied
        regions |= set(ancestor(outcomes[key].cell_id[wrong], lod).tolist())
    (region,) = regions
    first = next(o for o in true.judge.outputs(Outcome) if o.stamp_ns >= stamp(6))
    names, count = np.unique(ancestor(first.cell_id, lod), return_counts=True)
    assert region == names[count.argmax()]


def test_a_double_is_restored_as_learn_is(tmp_path: Path, true: Loop) -> None:
    loop = poisoned(tmp_path, Poison(share=0.0, begin_ns=0))
    assert loop.learn.agent.snapshot() == true.learn.agent.snapshot()
