"""Models by id: one folder each, names that point at them, and traffic that is split between these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import canary
from models.aliases import CHAMPION, FOLDER, HISTORY_FILE, SPLIT_FILE, Aliases, Change, is_alias
from models.arms import Arms
from models.manifest import Manifest, ModelRefused, ModelRequirements, is_model_id, sha256_of
from models.runtime import OnnxModel
from models.split import Split, Weight, arms_of
from models.store import Store, store_of
from native.window import CellFeatures

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
CHAMPION_FILE = CHAMPION
KEPT_FILE = "kept"
"""Beside a manifest: the model is never deleted to make room."""
RESERVED = frozenset({CHAMPION, FOLDER, HISTORY_FILE, SPLIT_FILE})


class ModelRegistry:
    """``<model_id>/{model.onnx, manifest.json}`` in a folder, ``champion`` and other aliases, ``split.json``.

    place : folder, made when missing, or a URI of ``pyarrow.fs``; max_models : more than this many and the
    oldest go, >= 1
    sync : wait until files are on disk, so that a model survives a loss of power once ``put`` returns

    A reader sees a whole model or none, whatever is killed when. Folders without a readable manifest are
    ignored. Any number of readers; writers of all processes wait for one another in a folder, and do no harm
    to one another behind a URI, since equal ids are equal bytes.
    """

    def __init__(self, place: Path | str, max_models: int = 256, sync: bool = True) -> None:
        if max_models < 1:
            raise ValueError(f"max_models: {max_models} must be >= 1")
        self._store: Store = store_of(place, sync=sync)
        self._max_models = max_models
        self._aliases = Aliases(self._store)
        self._pinned: set[str] = set()
        self._known: dict[str, int] = {}  # model id to the stamp it was trained up to
        self._arms: Arms | None = None

    def put(self, data: bytes, manifest: Manifest) -> None:
        """Store a model; a whole copy that is there stays, with its manifest; a damaged one is replaced.

        Raises ModelRefused when the manifest's sha256 is not that of the data; OSError when the disk fails,
        and then nothing has changed. May delete the oldest models: never this one, the champion, a pinned one
        """
        if sha256_of(data) != manifest.sha256:
            raise ModelRefused(
                f"{manifest.model_id}: data has sha256 {sha256_of(data)}, manifest {manifest.sha256}"
            )
        if manifest.model_id in RESERVED:
            raise ModelRefused(f"{manifest.model_id}: not a model id that can be stored")
        with self._store.writing():
            if not self._holds(manifest):
                files = {MODEL_FILE: data, MANIFEST_FILE: manifest.to_json().encode()}
                self._store.add(manifest.model_id, files)
            self.collect(self._max_models, keep=manifest.model_id)

    def get(self, model_id: str, sha256: str | None = None) -> tuple[bytes, Manifest]:
        """A model's bytes and manifest, whose sha256 is theirs.

        sha256 : what it was published with, where that is known: who writes here may change file and manifest
        Raises ModelRefused when it is not there, its manifest is unreadable, or the bytes are not those that
        were put, or published (sha256)
        """
        manifest = self.manifest(model_id)
        try:
            data = self._store.read(f"{model_id}/{MODEL_FILE}")
        except OSError as error:
            why = error.strerror or error
            raise ModelRefused(f"{model_id}: {MODEL_FILE} cannot be read: {why}") from error
        if sha256_of(data) != manifest.sha256:
            raise ModelRefused(
                f"{model_id}: sha256 of {MODEL_FILE} is {sha256_of(data)}, manifest says {manifest.sha256}"
            )
        if sha256 not in (None, manifest.sha256):
            raise ModelRefused(
                f"{model_id}: sha256 of {MODEL_FILE} is {manifest.sha256}, {sha256:.64} was published; "
                "put back the model that was published"
            )
        return data, manifest

    def manifest(self, model_id: str) -> Manifest:
        """A model's manifest alone. Raises ModelRefused when it is missing, unreadable or another model's"""
        if not is_model_id(model_id):
            raise ModelRefused(f"{model_id!r}: not a model id")
        try:
            text = self._store.read(f"{model_id}/{MANIFEST_FILE}")
        except OSError as error:
            raise ModelRefused(f"{model_id}: not in the registry {self._store}") from error
        try:
            manifest = Manifest.from_json(text)
        except ModelRefused as error:
            raise ModelRefused(f"{model_id}: {error}") from error
        if manifest.model_id != model_id:
            raise ModelRefused(f"{model_id}: manifest.model_id: is {manifest.model_id}")
        return manifest

    def load(
        self,
        model_id: str,
        requirements: ModelRequirements,
        make: Callable[[str, bytes], OnnxModel] = OnnxModel,
    ) -> OnnxModel:
        """A model ready to serve: sha256, manifest, graph and canary all checked, in this order.

        make : a model of its id and the bytes read; for callers that hold one of the very same bytes
        Raises ModelRefused saying which check failed
        """
        return self.load_published(model_id, None, requirements, make)[0]

    def load_published(
        self,
        model_id: str,
        sha256: str | None,
        requirements: ModelRequirements,
        make: Callable[[str, bytes], OnnxModel] = OnnxModel,
    ) -> tuple[OnnxModel, str]:
        """As ``load``, of a model that was published with this sha256, and the sha256 of what was loaded.

        sha256 : None where it is not known. Raises ModelRefused saying which check failed
        """
        data, manifest = self.get(model_id, sha256)
        manifest.check(requirements)
        model = make(model_id, data)
        if model.feature_count != manifest.feature_count:
            raise ModelRefused(
                f"{model_id}: graph has {model.feature_count} features, manifest {manifest.feature_count}"
            )
        canary.verify(model, manifest)
        return model, manifest.sha256

    def verify(self, model_id: str) -> None:
        """Whether a model is whole, and answers its canary batch as it did.  Raises ModelRefused where not"""
        data, manifest = self.get(model_id)
        canary.verify(OnnxModel(model_id, data), manifest)

    def list(self) -> tuple[str, ...]:
        """Ids of all whole models, the ones trained up to the earliest stamp first."""
        found = {name for name in self._store.holding(MODEL_FILE) if is_model_id(name)}
        for model_id in found - set(self._known):
            try:
                self._known[model_id] = self.manifest(model_id).training.last_stamp_ns
            except ModelRefused:
                continue
        self._known = {model_id: stamp for model_id, stamp in self._known.items() if model_id in found}
        return tuple(sorted(self._known, key=lambda model_id: (self._known[model_id], model_id)))

    def collect(self, most: int, keep: str = "") -> tuple[str, ...]:
        """Delete the oldest models until so many are left, and return their ids.

        Never one that is pinned, kept, or named: by ``keep``, an alias, or as what a promotion goes back to
        """
        with self._store.writing():
            stored = self.list()
            if len(stored) <= most:
                return ()
            spared = {keep, *self._pinned, *self.aliases().values(), *self.kept()}
            spared |= {change.before for change in {item.alias: item for item in self.changes()}.values()}
            gone = [model_id for model_id in stored if model_id not in spared][: len(stored) - most]
            for model_id in gone:
                self._take_away(model_id)
            return tuple(gone)

    def remove(self, model_id: str) -> None:
        """Take a model away. Raises ModelRefused for one that is not there, is kept, or has an alias"""
        self.manifest(model_id)
        with self._store.writing():
            if model_id in self.kept():
                raise ModelRefused(f"{model_id}: a person holds it; release it first")
            for alias, named in self.aliases().items():
                if named == model_id:
                    why = "serves; set another champion first" if alias == CHAMPION else f"is {alias}"
                    raise ModelRefused(f"{model_id}: {why}")
            self._take_away(model_id)

    def pin(self, model_id: str) -> None:
        """Keep a model in this process until ``unpin``, whatever its age."""
        self._pinned.add(model_id)

    def unpin(self, model_id: str) -> None:
        """Let a model go when its time comes."""
        self._pinned.discard(model_id)

    def keep(self, model_id: str) -> None:
        """Keep a model in every process until ``let_go``. Raises ModelRefused when it is not there"""
        with self._store.writing():
            self.manifest(model_id)
            self._store.write(f"{model_id}/{KEPT_FILE}", b"")

    def kept(self) -> tuple[str, ...]:
        """Models that ``keep`` keeps, by name."""
        return tuple(sorted(self._store.holding(KEPT_FILE)))

    def let_go(self, *model_ids: str) -> None:
        """Keep these no longer, none of them where none is named."""
        with self._store.writing():
            for model_id in model_ids or self.kept():
                self._store.delete(f"{model_id}/{KEPT_FILE}")

    # ---- names -----------------------------------------------------------------------------------------

    def aliases(self) -> dict[str, str]:
        """Names of models, as ``champion`` and ``challenger``, with the ids that they stand for."""
        return self._aliases.all()

    def resolve(self, name: str) -> str:
        """The id that an alias stands for, and an id for itself. Raises ModelRefused for what is neither"""
        found = self._aliases.get(name) if is_alias(name) else None
        return found or self.manifest(name).model_id

    def champion(self) -> str | None:
        """Id of the model that serves; None before the first one.

        Raises ModelRefused when the pointer names no model id
        """
        return self._aliases.get(CHAMPION)

    def set_champion(self, model_id: str) -> None:
        """Point at another model, atomically. Raises ModelRefused when it is not there"""
        self.manifest(model_id)
        with self._store.writing():
            self._aliases.point(CHAMPION, model_id)

    def promote(self, model_id: str, alias: str = CHAMPION, at_ns: int = 0) -> Change:
        """Let an alias stand for a model that is there and whole, so that ``rollback`` can undo it.

        at_ns : when, Unix time. Raises ModelRefused
        """
        self.get(model_id)
        with self._store.writing():
            return self._aliases.promote(alias, model_id, at_ns)

    def rollback(self, alias: str = CHAMPION) -> Change:
        """Undo the newest promotion of an alias.  Raises ModelRefused for none, or whose model is gone"""
        with self._store.writing():
            change = self._aliases.rollback(alias)
            try:
                self.get(change.before)
            except ModelRefused:
                self._aliases.promote(alias, change.model_id, change.at_ns)
                raise
            return change

    def changes(self) -> tuple[Change, ...]:
        """Promotions that were not undone, the oldest first."""
        return tuple(self._aliases.changes())

    # ---- traffic ---------------------------------------------------------------------------------------

    def split(self) -> Split | None:
        """How keys are split between aliases; None where they are not."""
        return self._aliases.split()

    def set_split(self, weights: Mapping[str, Weight], salt: str = "") -> Split | None:
        """Split keys between aliases that are there, in this order; none at all for no weights.

        Raises ModelRefused
        """
        with self._store.writing():
            if not weights:
                self._aliases.set_split(None)
                return None
            for name in weights:
                if self._aliases.get(name) is None:
                    raise ModelRefused(f"{name}: no alias; octastream models promote MODEL --alias {name}")
            try:
                split = Split(arms_of(weights), salt)
            except ValueError as error:
                raise ModelRefused(str(error)) from error
            self._aliases.set_split(split)
            return split

    def register_model(self, name: str, path: Path | str, weight: Weight) -> str:
        """Store a model, let a name stand for it, and give it its part of the traffic.

        path : a folder with ``model.onnx`` and ``manifest.json``; weight : 0 for no traffic, other names keep
        theirs
        Returns the model's id. Raises ModelRefused for what is no model, no name or no weight
        """
        folder = Path(path)
        try:
            data = (folder / MODEL_FILE).read_bytes()
            manifest = Manifest.from_json((folder / MANIFEST_FILE).read_bytes())
        except OSError as error:
            raise ModelRefused(
                f"{folder}: {error.strerror}: needs {MODEL_FILE} and {MANIFEST_FILE}"
            ) from error
        with self._store.writing():
            before = self.split()
            self.pin(manifest.model_id)
            try:
                self.put(data, manifest)
                self._aliases.promote(name, manifest.model_id, 0)
            finally:
                self.unpin(manifest.model_id)
            weights: dict[str, Weight] = {arm.name: arm.weight for arm in before.arms} if before else {}
            weights[name] = weight
            if any(arm.weight for arm in arms_of(weights)):
                self.set_split(weights, before.salt if before else "")
        return manifest.model_id

    def route(self, key: str) -> tuple[str, str]:
        """The name and id of the model that answers a key. Raises ModelRefused where traffic is not split"""
        split = self.split()
        if split is None:
            raise ModelRefused("traffic is not split; octastream models split FOLDER NAME=WEIGHT ...")
        name = split.name_of(key)
        return name, self.resolve(name)

    def serve_from(
        self,
        features: Callable[[], CellFeatures],
        requirements: ModelRequirements,
        make: Callable[[str, bytes], OnnxModel] = OnnxModel,
    ) -> None:
        """Where ``predict_ab`` has the features of cells from: a container that is live."""
        self._arms = Arms(self.load, features, requirements, make)

    def predict_ab(self, indices: NDArray[np.uint64], user_id: str) -> tuple[NDArray[np.float32], str]:
        """What the model that answers a key says of cells.

        indices : cell ids, uint64 (N,); user_id : any key; it has the same model until the split changes
        Returns float32 (N, H), NaN for cells that the container does not hold, and the model's name
        Raises ModelRefused where traffic is not split, a model does not fit, or ``serve_from`` was not called
        """
        if self._arms is None:
            raise ModelRefused("predict_ab: no features to predict from; call serve_from first")
        name, model_id = self.route(user_id)
        return self._arms.predict(model_id, indices), name

    # ---- files -----------------------------------------------------------------------------------------

    def _holds(self, manifest: Manifest) -> bool:
        try:
            return self.get(manifest.model_id)[1].sha256 == manifest.sha256
        except ModelRefused:
            return False

    def _take_away(self, model_id: str) -> None:
        self._store.remove(model_id)
        self._known.pop(model_id, None)
