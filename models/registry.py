"""Models on disk: one folder each, and a pointer to the one that serves."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models import canary
from models.manifest import Manifest, ModelRefused, ModelRequirements, is_model_id, sha256_of
from models.runtime import OnnxModel

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
CHAMPION_FILE = "champion"
KEPT_FILE = "kept"
"""Beside a manifest: the model is never deleted to make room."""
_TEMPORARY = ".writing-"


class ModelRegistry:
    """``folder/<model_id>/{model.onnx, manifest.json}`` and ``folder/champion``.

    folder : made when missing; max_models : more than this many and the oldest go, >= 1
    sync : wait until files are on disk, so that a model survives a loss of power once ``put`` returns

    Every change is one atomic rename: a reader sees a whole model or none, whatever is killed when. Folders
    without a readable manifest are ignored. One writer at a time; any number of readers.
    """

    def __init__(self, folder: Path, max_models: int = 256, sync: bool = True) -> None:
        if max_models < 1:
            raise ValueError(f"max_models: {max_models} must be >= 1")
        self._folder, self._max_models, self._sync = folder, max_models, sync
        self._pinned: set[str] = set()
        self._known: dict[str, int] = {}  # model id to the stamp it was trained up to
        self._listed = False
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes, manifest: Manifest) -> None:
        """Store a model; a whole copy that is there stays, with its manifest; a damaged one is replaced.

        Raises ModelRefused when the manifest's sha256 is not that of the data; OSError when the disk fails,
        and then nothing has changed. May delete the oldest models: never this one, the champion, a pinned one
        """
        if sha256_of(data) != manifest.sha256:
            raise ModelRefused(
                f"{manifest.model_id}: data has sha256 {sha256_of(data)}, manifest {manifest.sha256}"
            )
        if not self._holds(manifest):
            self._add(data, manifest)
        self._known.setdefault(manifest.model_id, manifest.training.last_stamp_ns)
        self._prune(keep=manifest.model_id)

    def get(self, model_id: str) -> tuple[bytes, Manifest]:
        """A model's bytes and manifest.

        Raises ModelRefused when it is not there, its manifest is unreadable, or the bytes are not those that
        were put (sha256)
        """
        manifest = self.manifest(model_id)
        path = self._folder / model_id / MODEL_FILE
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelRefused(f"{model_id}: {MODEL_FILE} cannot be read: {error.strerror}") from error
        if sha256_of(data) != manifest.sha256:
            raise ModelRefused(
                f"{model_id}: sha256 of {MODEL_FILE} is {sha256_of(data)}, manifest says {manifest.sha256}"
            )
        return data, manifest

    def manifest(self, model_id: str) -> Manifest:
        """A model's manifest alone. Raises ModelRefused when it is missing, unreadable or another model's"""
        if not is_model_id(model_id):
            raise ModelRefused(f"{model_id!r}: not a model id")
        path = self._folder / model_id / MANIFEST_FILE
        try:
            text = path.read_bytes()
        except OSError as error:
            raise ModelRefused(f"{model_id}: not in the registry {self._folder}") from error
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
        data, manifest = self.get(model_id)
        manifest.check(requirements)
        model = make(model_id, data)
        if model.feature_count != manifest.feature_count:
            raise ModelRefused(
                f"{model_id}: graph has {model.feature_count} features, manifest {manifest.feature_count}"
            )
        canary.verify(model, manifest)
        return model

    def list(self) -> tuple[str, ...]:
        """Ids of all whole models, the ones trained up to the earliest stamp first."""
        names = {path.name for path in self._folder.iterdir() if is_model_id(path.name)}
        found = {name for name in names if (self._folder / name / MODEL_FILE).is_file()}
        for model_id in found - set(self._known):
            try:
                self._known[model_id] = self.manifest(model_id).training.last_stamp_ns
            except ModelRefused:
                continue
        self._known = {model_id: stamp for model_id, stamp in self._known.items() if model_id in found}
        self._listed = True
        return tuple(sorted(self._known, key=lambda model_id: (self._known[model_id], model_id)))

    def champion(self) -> str | None:
        """Id of the model that serves; None before the first one.

        Raises ModelRefused when the pointer names no model id
        """
        try:
            text = (self._folder / CHAMPION_FILE).read_text().strip()
        except FileNotFoundError:
            return None
        if not is_model_id(text):
            raise ModelRefused(f"{self._folder / CHAMPION_FILE}: {text!r} is not a model id; delete the file")
        return text

    def set_champion(self, model_id: str) -> None:
        """Point at another model, atomically. Raises ModelRefused when it is not there"""
        self.manifest(model_id)
        with self._staging() as staging:
            self._write(staging / CHAMPION_FILE, f"{model_id}\n".encode())
            (staging / CHAMPION_FILE).replace(self._folder / CHAMPION_FILE)
        self._sync_folder(self._folder)

    def remove(self, model_id: str) -> None:
        """Take a model away. Raises ModelRefused for one that is not there, and for the champion"""
        self.manifest(model_id)
        if model_id == self.champion():
            raise ModelRefused(f"{model_id}: serves; set another champion first")
        self._take_away(model_id)

    def pin(self, model_id: str) -> None:
        """Keep a model in this process until ``unpin``, whatever its age."""
        self._pinned.add(model_id)

    def unpin(self, model_id: str) -> None:
        """Let a model go when its time comes."""
        self._pinned.discard(model_id)

    def keep(self, model_id: str) -> None:
        """Keep a model in every process until ``let_go``. Raises ModelRefused when it is not there"""
        self.manifest(model_id)
        (self._folder / model_id / KEPT_FILE).touch()

    def kept(self) -> tuple[str, ...]:
        """Models that ``keep`` keeps, by name."""
        return tuple(sorted(path.parent.name for path in self._folder.glob(f"*/{KEPT_FILE}")))

    def let_go(self, *model_ids: str) -> None:
        """Keep these no longer, none of them where none is named."""
        for model_id in model_ids or self.kept():
            (self._folder / model_id / KEPT_FILE).unlink(missing_ok=True)

    def _holds(self, manifest: Manifest) -> bool:
        try:
            return self.get(manifest.model_id)[1].sha256 == manifest.sha256
        except ModelRefused:
            return False

    def _add(self, data: bytes, manifest: Manifest) -> None:
        for left_over in self._folder.glob(f"{_TEMPORARY}*"):  # of a writer that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        target = self._folder / manifest.model_id
        with self._staging() as staging, self._staging() as damaged:
            self._write(staging / MODEL_FILE, data)
            self._write(staging / MANIFEST_FILE, manifest.to_json().encode())
            self._sync_folder(staging)
            if target.exists():
                target.replace(damaged)
            staging.replace(target)
        self._sync_folder(self._folder)

    def _prune(self, keep: str) -> None:
        if self._listed and len(self._known) <= self._max_models:
            return  # one writer: no other model can have come
        stored = self.list()
        spare = max(0, len(stored) - self._max_models)
        kept = self._pinned | {keep, self.champion(), *self.kept()}
        for model_id in [model_id for model_id in stored if model_id not in kept][:spare]:
            self._take_away(model_id)

    def _take_away(self, model_id: str) -> None:
        with self._staging() as staging:  # out of sight first, so that no reader sees half of it
            (self._folder / model_id).replace(staging / model_id)
        self._sync_folder(self._folder)
        self._known.pop(model_id, None)

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """A folder beside the models, gone afterwards, whatever happens."""
        path = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self._folder))
        path.chmod(self._folder.stat().st_mode & 0o777)  # mkdtemp makes it private
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _write(self, path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data)
            if self._sync:
                file.flush()
                os.fsync(file.fileno())

    def _sync_folder(self, path: Path) -> None:
        if not self._sync:
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
