"""Bugs planted on purpose, one at a time: each must be caught, or the checker that should is no checker."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.in_order import EPOCH_RECORDS, epoch_of
from agents.journal import Order, Place
from agents.newest import Newest
from agents.operations import Mark, Memory, Snapshot, Store
from agents.protocol import Agent, Step, StoreModel, Train
from agents.simulation.cast import Cast, make_archive, make_judge, make_learn, make_perceive
from agents.simulation.driver import Driver
from agents.simulation.faults import RATES, SendFailed
from agents.simulation.log import PARTITIONS
from agents.simulation.outside import Outside
from agents.task import Entry, Steps, Task
from stream.codecs.state import pack, unpack
from stream.config import Config
from stream.records import Binned, ModelActivated, Outcome, Prediction, SweepRejected
from stream.sweep import Sweep


class Wrapped:
    """Passes everything on to an agent; a bug changes one thing."""

    def __init__(self, agent: Agent) -> None:
        self._agent: Any = agent

    def handle(self, record: Any) -> Step:
        step: Step = self._agent.handle(record)
        return step

    def state(self) -> Mapping[str, Any]:
        state: Mapping[str, Any] = self._agent.state()
        return state

    def snapshot(self) -> bytes:
        return pack(self.state())

    def restore(self, data: bytes) -> None:
        self._agent.restore(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agent, name)


# ---- in agents -----------------------------------------------------------------------------------------


class SkipsARemoval(Wrapped):
    """Cells that have left the window are reported as if they were still in it."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self._ever: dict[str, Any] = {}

    def handle(self, record: Any) -> Step:
        step = super().handle(record)
        return dataclasses.replace(step, outputs=tuple(self._with_old_cells(item) for item in step.outputs))

    def _with_old_cells(self, record: Any) -> Any:
        if not isinstance(record, Binned):
            return record
        ever = np.union1d(self._ever.get(record.robot_id, record.cell_id), record.cell_id)
        self._ever[record.robot_id] = ever
        row = np.searchsorted(ever, record.cell_id)
        hits, passes = np.zeros(len(ever), np.uint32), np.zeros(len(ever), np.uint32)
        hits[row], passes[row] = record.hits, record.passes
        return dataclasses.replace(record, cell_id=ever, hits=hits, passes=passes)


class DedupesByStampWithoutPart(Wrapped):
    """The second part of a sweep is taken for the first one again."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self._seen: set[tuple[str, int]] = set()

    def handle(self, record: Any) -> Step:
        if not isinstance(record, Sweep):
            return super().handle(record)
        name = (record.stream_id, record.stamp_ns)
        if name in self._seen:
            return Step(released=(("sweep", *name, record.part),))
        self._seen.add(name)
        return super().handle(record)


class ReplaysWithoutDedupe(Wrapped):
    """After a restart it has forgotten which sweeps it has seen."""

    def restore(self, data: bytes) -> None:
        tree = unpack(data)
        for _, robot in tree["robots"]:
            robot["seen"] = []
        super().restore(pack(tree))


class AcknowledgesAHeldSweep(Wrapped):
    """A sweep is released as soon as it has come, whether or not its pose has."""

    def handle(self, record: Any) -> Step:
        step = super().handle(record)
        if not isinstance(record, Sweep):
            return step
        key = ("sweep", record.stream_id, record.stamp_ns, record.part)
        return dataclasses.replace(step, released=(*step.released, key))


class DropsWithoutALetter(Wrapped):
    """A sweep that cannot be used is acknowledged, and nobody is told."""

    def handle(self, record: Any) -> Step:
        step = super().handle(record)
        outputs = tuple(output for output in step.outputs if not isinstance(output, SweepRejected))
        return dataclasses.replace(step, outputs=outputs)


class NeverReleasesARejectedSweep(Wrapped):
    """A dead letter is written, and its sweep stays unacknowledged for ever."""

    def handle(self, record: Any) -> Step:
        step = super().handle(record)
        if any(isinstance(output, SweepRejected) for output in step.outputs):
            return dataclasses.replace(step, released=())
        return step


class LabelsTheUnobserved(Wrapped):
    """A cell that no ray reached counts as free."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self._predictions: dict[str, Prediction] = {}

    def handle(self, record: Any) -> Step:
        if isinstance(record, Prediction):
            self._predictions[record.prediction_id] = record
        step = super().handle(record)
        return dataclasses.replace(step, outputs=tuple(self._all_cells(item) for item in step.outputs))

    def _all_cells(self, record: Any) -> Any:
        if not isinstance(record, Outcome):
            return record
        prediction = self._predictions.get(record.prediction_id)
        if prediction is None:
            return record
        occupied = np.zeros(len(prediction.cell_id), bool)
        occupied[record.row] = record.occupied
        return dataclasses.replace(
            record,
            row=np.arange(len(occupied), dtype=np.int32),
            cell_id=prediction.cell_id,
            occupied=occupied,
            before=prediction.before,
        )


class NeverForgets(Wrapped):
    """Something is kept of every record, for ever."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self._kept: list[str] = []

    def handle(self, record: Any) -> Step:
        self._kept.append(type(record).__name__)
        return super().handle(record)

    def state(self) -> Mapping[str, Any]:
        return {"agent": super().state(), "kept": self._kept}

    def restore(self, data: bytes) -> None:
        tree = unpack(data)
        self._kept = tree["kept"]
        super().restore(pack(tree["agent"]))


class DropsATraining(Wrapped):
    """Of every two trainings one is never asked for, and its labels are gone."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self._drop = False

    def handle(self, record: Any) -> Step:
        step = super().handle(record)
        if not any(isinstance(effect, Train) for effect in step.effects):
            return step
        self._drop = not self._drop
        return dataclasses.replace(step, effects=() if self._drop else step.effects)


class NumbersChunksAnew(Wrapped):
    """An Archive that comes back begins with the first file again."""

    def restore(self, data: bytes) -> None:
        super().restore(pack(unpack(data) | {"chunks": {}}))


class ArchivesWhatComesAgain(Wrapped):
    """A record that comes twice is archived twice."""

    def handle(self, record: Any) -> Step:
        self._agent._newest = Newest(1)
        return super().handle(record)


# ---- in the runtime ------------------------------------------------------------------------------------


class AcknowledgesBeforeSending(Task):
    """What was released is acknowledged first, and its outputs are sent then."""

    def deliver(self, step: Step, number: int) -> Steps[None]:
        self.release(step)
        yield from super().deliver(step, number)


class AcknowledgesWhatIsNotReleased(Task):
    """Offsets are committed as far as inputs have been read."""

    def acknowledged(self) -> dict[Place, int]:
        return {place: self.positions[place] for place in self.identity.inputs}


class ActivatesBeforeTheRecord(Task):
    """The first prediction under a model is sent before the record that says so."""

    def deliver(self, step: Step, number: int) -> Steps[None]:
        late = sorted(step.outputs, key=lambda record: isinstance(record, ModelActivated))
        yield from super().deliver(dataclasses.replace(step, outputs=tuple(late)), number)


class PublishesBeforeStoring(Task):
    """A model is announced before it is in the store."""

    def deliver(self, step: Step, number: int) -> Steps[None]:
        yield from super().deliver(dataclasses.replace(step, effects=()), number)
        stored = tuple(effect for effect in step.effects if isinstance(effect, StoreModel))
        for place, effect in enumerate(stored):
            for _ in range(200):
                yield Mark("stored")
            yield Store(f"{self.identity}/{number}/{place}", effect)


class RestoresANewerSnapshotThanItsOffset(Task):
    """The state in a snapshot is newer than the offsets beside it."""

    _earlier: Memory | None = None

    def memory(self) -> Memory:
        now = super().memory()
        earlier, self._earlier = self._earlier or now, now
        return earlier


class AcceptsATornSnapshot(Driver):
    """The newest snapshot is used, whole or not."""

    def newest(self) -> Snapshot | None:
        kept = self.host.snapshots.kept[self.task.identity]
        return kept[-1] if kept else None


class DropsOutputOnRebalance(Task):
    """Recovery brings back the state, and takes it that all outputs had been sent."""

    def deliver(self, step: Step, number: int) -> Steps[None]:
        if not self.recovering:
            yield from super().deliver(step, number)


class ReplaysInAnyOrder(Task):
    """The journal says what was folded; partition by partition will do."""

    def valid_orders(self, entries: Iterable[Entry]) -> list[Any]:
        found = super().valid_orders(entries)
        receipts = sorted(receipt for entry in found for receipt in entry.record.inputs)
        cut = 0
        for place, entry in enumerate(found):
            taken = receipts[cut : cut + len(entry.record.inputs)]
            cut += len(taken)
            found[place] = dataclasses.replace(entry, record=Order(entry.record.claim, tuple(taken)))
        return found


class NeverFenced(Task):
    """A process that was taken for dead goes on, and so does its journal."""

    def valid_orders(self, entries: Iterable[Entry]) -> list[Any]:
        return [entry for entry in entries if isinstance(entry.record, Order)]

    def taken_over(self, entries: Any) -> bool:
        return False


class NoJournal(Task):
    """What was folded is not written down; after a crash it is folded as it comes."""

    def valid_orders(self, entries: Iterable[Entry]) -> list[Any]:
        return []


class SendsAndForgets(Driver):
    """A send that fails is logged and forgotten."""

    def send(self, records: tuple[Any, ...]) -> None:
        try:
            super().send(records)
        except SendFailed:
            return


class SendsToTheWrongPartition(Driver):
    """Outcomes are spread by stream and not by robot."""

    def route(self, record: Any) -> Place:
        topic, partition = super().route(record)
        if isinstance(record, Outcome):
            partition = zlib.crc32(record.prediction_id.encode()) % PARTITIONS
        return topic, partition


class LosesRequests(Task):
    """A request that was under way when the process died is not made again."""

    def ask_again(self) -> Steps[None]:
        yield from ()


class TrainsFromNothing(Task):
    """A new process has new trainers, and they begin anew."""

    def resume(self) -> Steps[None]:
        yield from ()


class ReplaysAnEntryTwice(Task):
    """The first journal entry behind a snapshot is folded, although the snapshot holds it."""

    def replayed_from(self, first: int) -> int:
        return max(first - 1, 0)


def without_bounds(config: Config) -> Agent:
    """A Perceive that takes whatever it is told for motion."""
    pose = dataclasses.replace(config.pose, jump_m=None, jump_deg=None)
    return make_perceive(dataclasses.replace(config, pose=pose))


class JoinsAcrossMaps(Wrapped):
    """A Judge that is not told of epochs: their records are counted on."""

    def handle(self, record: Any) -> Step:
        if isinstance(record, Binned | Prediction):
            place = 1000 * epoch_of(record.seq) + record.seq % EPOCH_RECORDS
            record = dataclasses.replace(record, seq=place)
        return super().handle(record)


class SwapsWithoutCanary(Outside):
    """A model file is served as it is read."""

    def verify(self, *_: Any) -> None:
        return


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Bug:
    """One planted bug: who plays, which rules may break, and the faults that bring it out."""

    cast: Cast
    breaks: frozenset[str]
    faults: Mapping[str, float]

    @property
    def focused(self) -> Cast:
        """The cast in a world where nothing goes wrong but what brings the bug out."""
        return dataclasses.replace(self.cast, rates=self._rates, enabled_share=1.0)

    @property
    def healthy(self) -> Cast:
        """The real cast in the same world."""
        return Cast(rates=self._rates, enabled_share=1.0)

    @property
    def _rates(self) -> dict[str, float]:
        assert set(self.faults) <= set(RATES)
        return dict.fromkeys(RATES, 0.0) | dict(self.faults)


RESTORES = {"killed when saved": 0.15}


def _bug(*breaks: str, faults: Mapping[str, float] | None = None, **cast: Any) -> Bug:
    return Bug(cast=Cast(**cast), breaks=frozenset(breaks), faults=faults or {})


def _in(make: Callable[[Config], Agent], wrap: Callable[[Agent], Agent]) -> Callable[[Config], Agent]:
    return lambda config: wrap(make(config))


BUGS: dict[str, Bug] = {
    "skip a removal": _bug("wrong value", perceive=_in(make_perceive, SkipsARemoval)),
    "dedupe by stamp without part": _bug(
        "lost", perceive=_in(make_perceive, DedupesByStampWithoutPart), faults={"sweep in parts": 0.5}
    ),
    "replay without dedupe": _bug(
        "duplicate",
        perceive=_in(make_perceive, ReplaysWithoutDedupe),
        faults=RESTORES | {"sweep sent twice": 0.5},
    ),
    "acknowledge a held sweep": _bug(
        "early acknowledgement",
        perceive=_in(make_perceive, AcknowledgesAHeldSweep),
        faults={"transform delayed": 0.5},
    ),
    "drop without a dead letter": _bug(
        "lost", perceive=_in(make_perceive, DropsWithoutALetter), faults={"points not finite": 0.3}
    ),
    "never release a rejected sweep": _bug(
        "unreleased",
        perceive=_in(make_perceive, NeverReleasesARejectedSweep),
        faults={"points not finite": 0.3},
    ),
    "label the unobserved": _bug("outcome without observation", judge=_in(make_judge, LabelsTheUnobserved)),
    "never forget": _bug("unbounded memory", judge=_in(make_judge, NeverForgets)),
    "drop a training": _bug("unlearned", learn=_in(make_learn, DropsATraining)),
    "number chunks anew": _bug("unarchived", archive=_in(make_archive, NumbersChunksAnew), faults=RESTORES),
    "archive what comes again": _bug(
        "unarchived",
        archive=_in(make_archive, ArchivesWhatComesAgain),
        faults={"send not confirmed": 0.02},
    ),
    "train from nothing": _bug(
        "unlearned", task=TrainsFromNothing, faults={"killed when acknowledged": 0.005}
    ),
    "acknowledge before send": _bug("early acknowledgement", task=AcknowledgesBeforeSending),
    "acknowledge what is not released": _bug("early acknowledgement", task=AcknowledgesWhatIsNotReleased),
    "activate before the durable record": _bug("unannounced activation", task=ActivatesBeforeTheRecord),
    "publish before the model is stored": _bug("stale model", task=PublishesBeforeStoring),
    "restore a newer snapshot than the offset": _bug(
        "state digest", task=RestoresANewerSnapshotThanItsOffset, faults=RESTORES
    ),
    "accept a torn snapshot": _bug(
        "crash", driver=AcceptsATornSnapshot, faults=RESTORES | {"snapshot torn": 0.5}
    ),
    "take a jump for motion": _bug("smeared", perceive=without_bounds, faults={"world frame jumps": 1.0}),
    "join across maps": _bug(
        "smeared", judge=_in(make_judge, JoinsAcrossMaps), faults={"world frame jumps": 1.0}
    ),
    "drop output on rebalance": _bug(
        "lost", "state digest", task=DropsOutputOnRebalance, faults={"killed when journaled": 0.1}
    ),
    "replay in any order": _bug("state digest", task=ReplaysInAnyOrder, faults=RESTORES),
    "replay an entry twice": _bug("state digest", task=ReplaysAnEntryTwice, faults=RESTORES),
    "no journal": _bug(
        "duplicate", "state digest", task=NoJournal, faults={"killed when acknowledged": 0.005}
    ),
    "never fenced": _bug(
        "duplicate", "out of order", "state digest", task=NeverFenced, faults={"process paused": 0.02}
    ),
    "send and forget": _bug("lost", "state digest", driver=SendsAndForgets, faults={"send refused": 0.02}),
    "wrong partition": _bug("out of order", driver=SendsToTheWrongPartition),
    "lose a request": _bug(
        "unseen", task=LosesRequests, faults={"killed when asked": 0.1, "effect slow": 1.0}
    ),
    "swap without canary": _bug(
        "wrong value",
        "stale model",
        outside=SwapsWithoutCanary,
        faults={"model published by hand": 1.0, "model file damaged": 0.5},
    ),
}
"""At least one of the rules named must break."""
