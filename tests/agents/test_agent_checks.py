"""Every agent passes every check; and agents made to break them do not."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from agents.archive import Archive
from agents.judge import Judge
from agents.perceive import sweep_key
from agents.protocol import ModelLoaded, Step
from agents.replay import linear_baseline
from stream.codecs.state import StateError
from stream.config import NetworkConfig
from stream.features import schema_of
from stream.records import Binned, EndOfLog, ModelActivated, Outcome, Prediction, Shadow
from stream.sweep import Sweep
from tests.agents import agent_checks
from tests.agents.agent_checks import CHECKS, Case
from tests.agents.loops import ScriptedModel, learn_of, scripted_loop, scripted_prior
from tests.agents.worlds import config_of, drive, interleave, parts_of, perceive_of, sweep_of

CONFIG = config_of("learn.gate_sweeps=3", "learn.guard_sweeps=4", "log_features=0.1")
NETWORKS = {"network": NetworkConfig(width=4, layers=1)}


def perceive_key(record: Any) -> Any:
    """A sweep is acknowledged, nothing else is an input to acknowledge."""
    return sweep_key(record) if isinstance(record, Sweep) else None


def record_key(record: Any) -> Any:
    """What Judge and Learn call a record."""
    if not isinstance(record, Binned | Prediction | Shadow | Outcome | ModelActivated):
        return None
    stamp = record.first_stamp_ns if isinstance(record, ModelActivated) else record.stamp_ns
    return (type(record).__name__.lower(), record.stream_id, stamp, getattr(record, "part", 0))


def learn_key(record: Any) -> Any:
    """As Judge's, with the horizon of an outcome."""
    key = record_key(record)
    return key and (*key, getattr(record, "horizon_ns", 0))


def reload_models(agent: Any, seen: Sequence[Any]) -> None:
    """Load again what the restored state serves."""
    loaded = {record.model_id: record for record in seen if isinstance(record, ModelLoaded)}
    for model_id in agent.missing_models():
        agent.handle(loaded[model_id])


def perceive_case() -> Case:
    """Two robots, parts, late and repeated sweeps, dead letters, and models that come in between."""
    trouble = [
        *parts_of(10, 3), sweep_of(11), sweep_of(9.5), *parts_of(12, 2)[:1], sweep_of(3), sweep_of(3),
        sweep_of(0, stamp_ns=-4), sweep_of(12.5, points=np.full((3, 3), np.nan, np.float32)),
        sweep_of(13, points=np.zeros((0, 3), np.float32)), sweep_of(13.2, frame="ghost"), *parts_of(14, 2),
    ]  # fmt: skip
    models = [
        ModelLoaded(model_id=model.model_id, stamp_ns=1, sha256="ab", model=model)
        for model in (ScriptedModel(CONFIG, skill) for skill in (1.5, 2.0, 0.5))
    ]
    refused = ModelLoaded(model_id="bad", stamp_ns=1, sha256="", model=None, reason="canary")
    first = [
        item for item in drive(16) if not isinstance(item, Sweep) or item.stamp_ns <= sweep_of(8).stamp_ns
    ]
    records = interleave(4, first, drive(9, robot_id="other"), [*models, refused])
    return Case(
        name="perceive",
        make=lambda: perceive_of(CONFIG),
        records=[*records, *trouble, EndOfLog()],
        key=perceive_key,
        after_restore=reload_models,
    )


@cache
def recorded() -> dict[str, list[Any]]:
    """What the agents of a run with promotions, updates and a rollback were fed."""
    with TemporaryDirectory() as path:
        loop, _ = scripted_loop(
            CONFIG, Path(path), lambda request, number: 1.5 if number < 14 or number > 19 else -1.0
        )
        loop.run(drive(34))
    return {
        name: [record for record in getattr(loop, name).inputs if not isinstance(record, EndOfLog)]
        for name in ("judge", "learn", "archive")
    }


def judge_case() -> Case:
    """Judge in a whole run."""
    return Case(
        name="judge", make=lambda: Judge(CONFIG), records=[*recorded()["judge"], EndOfLog()], key=record_key
    )


def learn_case() -> Case:
    """Learn in a whole run with training."""
    return Case(
        name="learn",
        make=lambda: learn_of(CONFIG, NETWORKS),
        records=[*recorded()["learn"], EndOfLog()],
        key=learn_key,
    )


def prior_case() -> Case:
    """The same, with a prior, which is served at once."""
    priors = {"network": scripted_prior(CONFIG, 1.5)}
    return dataclasses.replace(
        learn_case(), name="prior", make=lambda: learn_of(CONFIG, NETWORKS, priors=priors)
    )


def no_learning_case() -> Case:
    """Learn with nothing to train."""
    kinds = (Binned, Prediction, Outcome, ModelActivated)
    records = [record for record in recorded()["learn"] if isinstance(record, kinds)]
    return Case(
        name="no-learning", make=lambda: learn_of(CONFIG), records=[*records, EndOfLog()], key=learn_key
    )


def linear_case() -> Case:
    """Learn with the online linear baseline."""
    case = no_learning_case()
    schema = schema_of(CONFIG)
    return Case(
        name="linear",
        make=lambda: learn_of(CONFIG, linear=linear_baseline(CONFIG, schema)),
        records=[*case.records[:60], EndOfLog()],
        key=learn_key,
    )


def archive_case() -> Case:
    """Archive in a whole run; it acknowledges nothing, its files do."""
    return Case(name="archive", make=Archive, records=[*recorded()["archive"], EndOfLog()])


CASES = (perceive_case, judge_case, learn_case, prior_case, no_learning_case, archive_case)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.removesuffix("_case"))
def test_every_agent_passes_every_check(case: Callable[[], Case], check: Callable[[Case], None]) -> None:
    check(case())


@pytest.mark.learn
@pytest.mark.parametrize(
    "check",
    [agent_checks.check_deterministic, agent_checks.check_survives_a_restart],
    ids=lambda c: c.__name__,
)
def test_the_linear_baseline_passes_too(check: Callable[[Case], None]) -> None:
    pytest.importorskip("river")
    check(linear_case())


# ---- the checks can fail -------------------------------------------------------------------------------


class Broken:
    """A small agent that does everything right but one thing."""

    numbers = itertools.count()

    def __init__(self, fault: str) -> None:
        self._fault, self._seen = fault, 0

    def handle(self, record: Any) -> Step:
        """Echo a sweep."""
        if isinstance(record, EndOfLog):
            return Step()
        if not isinstance(record, Sweep):
            if self._fault == "knows everything":
                return Step()
            raise TypeError(f"Broken does not handle {type(record).__name__}")
        self._seen += 1
        if self._fault == "writes":
            record.points[0, 0] += 1
        chance = next(self.numbers) if self._fault == "chance" else 0
        keys = (sweep_key(record),) * {"twice": 2, "never": 0}.get(self._fault, 1)
        return Step(outputs=((self._seen, chance),), released=keys)

    def snapshot(self) -> bytes:
        """The count in five digits."""
        number = next(self.numbers) if self._fault == "odd" else 0 if self._fault == "forgets" else self._seen
        return f"{number:05d}".encode()

    def restore(self, data: bytes) -> None:
        """From the count."""
        if len(data) == 5:
            self._seen = int(data)
        elif self._fault != "trusts":
            raise StateError("state: foreign")


FAULTS = {
    "chance": agent_checks.check_deterministic,
    "odd": agent_checks.check_snapshots_are_deterministic,
    "forgets": agent_checks.check_survives_a_restart,
    "knows everything": agent_checks.check_refuses_unknown_records,
    "trusts": agent_checks.check_refuses_foreign_state,
    "twice": agent_checks.check_releases_every_input_once,
    "never": agent_checks.check_releases_every_input_once,
    "writes": agent_checks.check_leaves_its_inputs_alone,
}


def broken_case(fault: str) -> Case:
    """The small agent with a fault."""
    sweeps = [sweep_of(index, points=np.zeros((1, 3), np.float32)) for index in range(30)]
    return Case(name=fault, make=lambda: Broken(fault), records=[*sweeps, EndOfLog()], key=perceive_key)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_small_agent_without_fault_passes(check: Callable[[Case], None]) -> None:
    check(broken_case("none"))


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found(fault: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        FAULTS[fault](broken_case(fault))
