"""Names that point at models, what each pointed at before, and how traffic is split between them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from models.manifest import ModelRefused, is_model_id
from models.split import NAME, Split, arms_of
from models.store import Store

CHAMPION = "champion"
FOLDER = "aliases"
HISTORY_FILE = "aliases.json"
SPLIT_FILE = "split.json"
MOST_CHANGES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An alias that was moved.  before : "" for an alias that was new; at_ns : Unix time, 0 for unknown"""

    alias: str
    model_id: str
    before: str
    at_ns: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"alias": self.alias, "model_id": self.model_id, "before": self.before, "at_ns": self.at_ns}


def is_alias(text: str) -> bool:
    """Whether a text may be an alias."""
    return NAME.fullmatch(text) is not None


class Aliases:
    """Pointers in a store: ``champion`` in a file of its own, others in ``aliases/``, changes in a list."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, alias: str) -> str | None:
        """Id of the model that an alias names; None for an alias that is not there.

        Raises ModelRefused when it is no alias, or the pointer names no model id
        """
        name = _file(alias)
        try:
            text = self._store.read(name).decode(errors="replace").strip()
        except FileNotFoundError:
            return None
        if not is_model_id(text):
            raise ModelRefused(f"{self._store}/{name}: {text!r} is not a model id; delete the file")
        return text

    def all(self) -> dict[str, str]:
        """Every alias with its model."""
        names = [CHAMPION, *sorted(self._store.files(FOLDER))]
        found = {name: self.get(name) for name in names}
        return {name: model_id for name, model_id in found.items() if model_id is not None}

    def point(self, alias: str, model_id: str) -> None:
        """Move a pointer, and remember nothing."""
        self._store.write(_file(alias), f"{model_id}\n".encode())

    def promote(self, alias: str, model_id: str, at_ns: int) -> Change:
        """Move a pointer, so that ``rollback`` can move it back."""
        change = Change(alias=alias, model_id=model_id, before=self.get(alias) or "", at_ns=at_ns)
        self._write_changes([*self.changes(), change])
        self.point(alias, model_id)
        return change

    def rollback(self, alias: str) -> Change:
        """Undo the newest ``promote`` of an alias. Raises ModelRefused where there is none to undo"""
        changes = self.changes()
        place = next((k for k in reversed(range(len(changes))) if changes[k].alias == alias), None)
        if place is None or not changes[place].before:
            raise ModelRefused(f"{alias}: was never promoted from another model; nothing to go back to")
        undone = changes.pop(place)
        self._write_changes(changes)
        self.point(alias, undone.before)
        return undone

    def changes(self) -> list[Change]:
        """What was promoted and not undone, the oldest first."""
        return [Change(**values) for values in self._json(HISTORY_FILE, [])]

    def split(self) -> Split | None:
        """How traffic is split; None where it is not. Raises ModelRefused for a file that is damaged"""
        values = self._json(SPLIT_FILE, None)
        if values is None:
            return None
        try:
            return Split(arms_of(values["arms"]), values["salt"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelRefused(f"{self._store}/{SPLIT_FILE}: {error}; delete the file") from error

    def set_split(self, split: Split | None) -> None:
        """Split traffic so from now on; None for not at all."""
        if split is None:
            self._store.delete(SPLIT_FILE)
            return
        arms = {arm.name: str(arm.weight) for arm in split.arms}
        text = json.dumps({"salt": split.salt, "arms": arms}, indent=1)
        self._store.write(SPLIT_FILE, text.encode())

    def _write_changes(self, changes: list[Change]) -> None:
        text = json.dumps([change.to_dict() for change in changes[-MOST_CHANGES:]], indent=1)
        self._store.write(HISTORY_FILE, text.encode())

    def _json(self, name: str, absent: Any) -> Any:
        try:
            return json.loads(self._store.read(name))
        except FileNotFoundError:
            return absent
        except ValueError as error:
            raise ModelRefused(f"{self._store}/{name}: {error}; delete the file") from error


def _file(alias: str) -> str:
    if not is_alias(alias):
        raise ModelRefused(f"{alias[:80]!r}: no alias; names match {NAME.pattern}")
    return alias if alias == CHAMPION else f"{FOLDER}/{alias}"
