"""The models that Perceive holds, and which of them serves next."""

from __future__ import annotations

from typing import Any

from agents.protocol import LoadModel, ModelLoaded
from models.manifest import ModelRefused
from models.model import Model
from stream.records import FREEZE, PIN, RELEASE, ModelPublished


class ServedModels:
    """Models by id with their sha256, and the one that is staged for the next sweep.

    builtin : serves until another one is staged, and when one fails

    While a person holds a model (``pin``, ``freeze``), what is published is not even loaded; what was being
    loaded before stays behind. After ``release`` the newest of all is loaded. A pinned model that is refused
    leaves what is staged, held.

    A model serves with the file that it was published with, and after a restart with the one it served with:
    what is asked for has its sha256.
    """

    def __init__(self, builtin: Model) -> None:
        self.builtin = self.staged = self._newest = builtin.model_id
        self._newest_sha256: str | None = None  # None: not known
        self._missing_sha256: str | None = None  # of what was staged before a restart, None: not known
        self._hold = ""  # PIN or FREEZE
        self._models: dict[str, tuple[Model, str]] = {builtin.model_id: (builtin, "builtin")}
        self._published = 0
        self._staged_number = 0

    def __getitem__(self, model_id: str) -> Model:
        """A model that is held; raises KeyError."""
        return self._models[model_id][0]

    def sha256(self, model_id: str) -> str:
        """Digest of a model's file."""
        return self._models[model_id][1]

    def next_for(self, stream_id: str, stamp_ns: int) -> tuple[str, ...]:
        """Models to activate before a prediction, in order; the last one makes it: here, what is staged."""
        return (self.staged,)

    def request(self, published: ModelPublished) -> LoadModel | None:
        """What to ask for when a model is published; None for the built-in one, which is staged at once, and
        where a model is held."""
        self._published += 1
        model_id, kind, sha256 = published.model_id, published.kind, published.sha256 or None
        if kind in (PIN, FREEZE):
            self._hold, self._staged_number = kind, self._published  # of loads under way, none is staged
            return self._ask(model_id, sha256, published.stamp_ns) if kind == PIN else None
        if kind == RELEASE:
            held, self._hold = self._hold, ""
            return self._ask(self._newest, self._newest_sha256, published.stamp_ns) if held else None
        self._newest, self._newest_sha256 = model_id, sha256
        return None if self._hold else self._ask(model_id, sha256, published.stamp_ns)

    def _ask(self, model_id: str, sha256: str | None, stamp_ns: int) -> LoadModel | None:
        if model_id == self.builtin:
            self.staged, self._staged_number = self.builtin, self._published
            return None
        return LoadModel(model_id=model_id, stamp_ns=stamp_ns, number=self._published, sha256=sha256)

    def add(self, loaded: ModelLoaded, model: Model, used: set[str]) -> None:
        """Hold a model, and stage it unless one that was published later is staged; drop what is not used.

        used : models that serve a stream. Loads come back in any order, so the order of publication decides.
        Dropped here and not when a model stops serving, as ending a session takes longer than a swap.
        Raises ModelRefused for what is missing after a restart and is not the file that served before it
        """
        reloaded = loaded.model_id in self.missing()  # then it is known already which serves next
        if reloaded and self._missing_sha256 not in (None, loaded.sha256):
            raise ModelRefused(
                f"{loaded.model_id}: served before with sha256 {self._missing_sha256}, its file has "
                f"{loaded.sha256:.64} now; put back the model that was published"
            )
        self._models[loaded.model_id] = (model, loaded.sha256)
        if not reloaded and loaded.number >= self._staged_number:
            self.staged, self._staged_number = loaded.model_id, loaded.number
        for model_id in set(self._models) - used - {self.builtin, self.staged}:
            del self._models[model_id]

    def fall_back(self) -> str:
        """Stage the built-in model, which cannot fail; returns its id."""
        self.staged = self.builtin
        return self.builtin

    def missing(self) -> set[str]:
        """What is staged and not held: after a restart, before it is loaded.

        What served a stream last is not needed any more: what is staged predicts the next sweep of each.
        """
        return {self.staged} - set(self._models)

    def state(self) -> dict[str, Any]:
        """Plain values, without the models themselves."""
        return {
            "staged": self.staged,
            "staged_sha256": self._missing_sha256 if self.missing() else self.sha256(self.staged),
            "staged_number": self._staged_number,
            "published": self._published,
            "newest": self._newest,
            "newest_sha256": self._newest_sha256,
            "hold": self._hold,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``; that of an earlier release knows no sha256. Raises KeyError"""
        self.staged, self._newest, self._hold = state["staged"], state["newest"], state["hold"]
        self._missing_sha256, self._newest_sha256 = state.get("staged_sha256"), state.get("newest_sha256")
        self._staged_number, self._published = state["staged_number"], state["published"]
