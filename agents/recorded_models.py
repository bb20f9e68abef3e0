"""The models that an earlier run activated, and from which sweep on: what a replay follows to its bits."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from agents.protocol import LoadModel, ModelLoaded
from models.manifest import ModelRefused, ModelRequirements, sha256_of
from models.model import Model
from models.online.builtin import MODEL_ID as BUILTIN
from models.registry import ModelRegistry
from stream.records import ModelActivated, ModelPublished

BUILTIN_SHA256 = "builtin"
EVENTS_FILE = "events.jsonl"

MAX_DIGITS = 20
"""No 64-bit number has more."""

HELD_MODELS = 64
"""Loaded at a time, about 1 MB each: a stream needs one, and an earlier one again only after a rollback."""


class ActivationsError(ValueError):
    """Recorded activations that cannot be followed: names where they are, what is wrong and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationLog:
    """The activations in one file of events.

    path : of the file; sha256 : of its bytes; activated : in the order of the file, each once
    """

    path: Path
    sha256: str
    activated: tuple[ModelActivated, ...]

    @property
    def models(self) -> Path:
        """The registry of the run that wrote the file."""
        return self.path.parent / "models"


class RecordedModels:
    """As ServedModels, but which model serves was decided before: newest activation up to a sweep's stamp.

    builtin : serves a stream before its first activation, and a sweep at which the recorded model fails
    activated : of any streams, in any order, each once or several times
    load : a model by its id; the same bytes at every call. Called for activated models only
    Raises ActivationsError when one stream was given two models at one stamp

    What is published or loaded meanwhile changes nothing, so there is no state but the records.
    """

    def __init__(
        self, builtin: Model, activated: Iterable[ModelActivated], load: Callable[[str], Model]
    ) -> None:
        self.builtin = builtin.model_id
        self._builtin, self._load = builtin, load
        self._sha256 = {self.builtin: BUILTIN_SHA256}
        by_stream: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for record in activated:
            by_stream[record.stream_id][record.first_stamp_ns].add(record.model_id)
            self._sha256[record.model_id] = record.sha256
        self._stamps = {stream_id: sorted(models) for stream_id, models in by_stream.items()}
        self._activated = {
            stream_id: [self._in_order(stream_id, stamp, models[stamp]) for stamp in sorted(models)]
            for stream_id, models in by_stream.items()
        }

    def _in_order(self, stream_id: str, stamp_ns: int, model_ids: set[str]) -> tuple[str, ...]:
        """Activations at one stamp: of two, the built-in model came second, since the other one failed."""
        others = sorted(model_ids - {self.builtin})
        if len(others) > 1:
            raise ActivationsError(
                f"activations: {stream_id} has several models at stamp {stamp_ns}: {', '.join(others)}; "
                "follow the activations of one run only"
            )
        return (*others, *(model_ids & {self.builtin}))

    def __getitem__(self, model_id: str) -> Model:
        """The built-in model, or one that was activated."""
        return self._builtin if model_id == self.builtin else self._load(model_id)

    def sha256(self, model_id: str) -> str:
        """Digest of a model's file, as recorded."""
        return self._sha256[model_id]

    def next_for(self, stream_id: str, stamp_ns: int) -> tuple[str, ...]:
        """Models to activate before a prediction, in order; the last one makes it.

        Two where the run activated a model and fell back from it at this very sweep
        """
        stamps = self._stamps.get(stream_id, [])
        place = bisect_right(stamps, stamp_ns) - 1
        if place < 0:
            return (self.builtin,)
        models = self._activated[stream_id][place]
        return models if stamps[place] == stamp_ns else models[-1:]

    def request(self, published: ModelPublished) -> LoadModel | None:
        """Nothing to ask for."""
        return None

    def add(self, loaded: ModelLoaded, model: Model, used: set[str]) -> None:
        """Changes nothing."""

    def fall_back(self) -> str:
        """The built-in model, for this sweep; the next one has the recorded model again."""
        return self.builtin

    def missing(self) -> set[str]:
        """None is ever missing."""
        return set()

    def state(self) -> dict[str, Any]:
        """None: everything follows from the records."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


# ---- files ---------------------------------------------------------------------------------------------


def read_activations(path: Path) -> ActivationLog:
    """The activations in a file of events, one JSON object a line; other events are passed over.

    path : the file, or a run folder that has it
    Raises ActivationsError naming file and line, OSError when the file cannot be read
    """
    file = path / EVENTS_FILE if path.is_dir() else path
    data = file.read_bytes()
    activated: dict[ModelActivated, None] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            event = _parse(line, f"{file}, line {number}")
            if event.get("event") == "activated":
                activated[_activated(event, f"{file}, line {number}")] = None
    if not activated:
        raise ActivationsError(f"{file}: holds no activation; name the {EVENTS_FILE} of a run that predicted")
    return ActivationLog(path=file, sha256=sha256_of(data), activated=tuple(activated))


def load_activated(
    logs: Sequence[ActivationLog], models: Path | None, requirements: ModelRequirements
) -> Callable[[str], Model]:
    """Check every model that was activated, and return what loads them, by id, when they serve.

    models : the registry; None takes the one beside the file that names a model first
    Raises ActivationsError naming model, stream and stamp for one that is missing, damaged, made for another
    configuration, or not the one that was activated (sha256)
    """
    registries: dict[str, ModelRegistry] = {}
    sha256 = {BUILTIN: BUILTIN_SHA256}

    @lru_cache(maxsize=HELD_MODELS)
    def load(model_id: str) -> Model:
        return registries[model_id].load_published(model_id, sha256[model_id], requirements)[0]

    def check(record: ModelActivated, folder: Path) -> None:
        model_id = record.model_id
        if model_id not in sha256:
            registries[model_id], sha256[model_id] = _open(folder), record.sha256
            load(model_id)
        if sha256[model_id] != record.sha256:
            raise ModelRefused(f"its sha256 is {sha256[model_id]}, the activation says {record.sha256}")

    for log in logs:
        for record in sorted(log.activated, key=lambda record: record.first_stamp_ns):
            try:
                check(record, models or log.models)
            except ModelRefused as error:
                raise ActivationsError(
                    f"{log.path}: model {record.model_id}, activated for {record.stream_id} at stamp "
                    f"{record.first_stamp_ns}, cannot serve: {error}; octastream replay takes the registry "
                    "that holds it by --models DIR, with the configuration of the run"
                ) from error
    return load


def _open(folder: Path) -> ModelRegistry:
    if not folder.is_dir():  # a registry would make it
        raise ModelRefused(f"there is no folder {folder}")
    return ModelRegistry(folder)


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise ActivationsError(f"{where}: not JSON ({error}); remove the line if it was cut off") from error
    if not isinstance(event, dict):
        raise ActivationsError(f"{where}: {event!r:.60} is no event; expected a JSON object on each line")
    return event


def _activated(event: dict[str, Any], where: str) -> ModelActivated:
    return ModelActivated(
        robot_id=_text(event, "robot_id", where),
        stream_id=_text(event, "stream_id", where),
        first_stamp_ns=_stamp(event.get("stamp_ns"), where),
        model_id=_text(event, "model_id", where),
        sha256=_text(event, "sha256", where),
    )


def _text(event: dict[str, Any], name: str, where: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise ActivationsError(f"{where}: {name}: {value!r:.60} must be a text that is not empty")
    return value


def _stamp(value: Any, where: str) -> int:
    """A stamp: a number, or a text of digits as 64-bit numbers are where JSON numbers are doubles."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return value
    raise ActivationsError(f"{where}: stamp_ns: {value!r:.60} must be a whole number of nanoseconds, >= 0")
