"""Forecasts for stored containers by a model of a registry, or by those that a run served."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from agents.explain import run_config
from agents.manifests import requirements_of
from agents.outfolder import holds_run
from agents.recorded_models import RecordedModels, load_activated, read_activations
from models.inference import Served
from models.manifest import Manifest, ModelRefused
from models.model import Model
from models.online.builtin import builtin_of
from models.registry import MANIFEST_FILE, ModelRegistry
from models.runtime import OnnxModel
from native.schema import MismatchError
from stream.features import schema_of
from stream.framed import source_of
from stream.run_folder import RunFolder


def open_served(path: Path) -> Served:
    """The model in a folder of a registry, as RUN/models/ID, or those that a run served.

    Each is checked: sha256, manifest, canary. Raises ModelRefused, ActivationsError, ConfigError, OSError
    """
    if holds_run(path):
        return RunModels(path)
    if not (path / MANIFEST_FILE).is_file():
        raise ModelRefused(
            f"{path}: is no run, and no model: a folder with {MANIFEST_FILE}, as RUN/models/ID"
        )
    registry = ModelRegistry(path.resolve().parent)
    registry.verify(path.resolve().name)
    data, manifest = registry.get(path.resolve().name)
    return OneModel(OnnxModel(manifest.model_id, data), manifest)


@dataclass(frozen=True, slots=True)
class OneModel:
    """One model for every window."""

    model: OnnxModel
    manifest: Manifest

    @property
    def model_ids(self) -> tuple[str, ...]:
        return (self.model.model_id,)

    @property
    def digest(self) -> str:
        return self.manifest.sha256

    @property
    def half_edge_m(self) -> float:
        return self.manifest.half_edge_m

    @property
    def lod(self) -> int:
        return self.manifest.lod

    @property
    def schema_hash(self) -> str:
        return self.manifest.feature_schema.hash

    @property
    def horizons_ns(self) -> tuple[int, ...]:
        return self.manifest.horizons_ns

    def model_of(self, stamp_ns: int, source: int | None) -> Model:
        return self.model


class RunModels:
    """The models that a run activated: for a window that which served at its sweep.

    Raises ActivationsError for one that is missing, damaged or another one
    """

    def __init__(self, run: Path) -> None:
        config = run_config(RunFolder(run))
        schema, log = schema_of(config), read_activations(run)
        load = load_activated([log], None, requirements_of(config, schema))
        builtin = builtin_of(config)
        self._run, self._models = run, RecordedModels(builtin, log.activated, load)
        self._streams = {source_of(record.stream_id): record.stream_id for record in log.activated}
        self.model_ids = tuple(sorted({builtin.model_id, *(record.model_id for record in log.activated)}))
        files = [f"{model_id} {self._models.sha256(model_id)}" for model_id in self.model_ids]
        self.digest = hashlib.sha256("\n".join([log.sha256, *files]).encode()).hexdigest()
        self.half_edge_m, self.lod = config.grid.half_edge_m, config.grid.lod
        self.schema_hash, self.horizons_ns = schema.hash, config.task.horizons_ns

    def model_of(self, stamp_ns: int, source: int | None) -> Model:
        """Raises MismatchError for a window of a stream that the run did not predict."""
        if source is None and len(self._streams) == 1:
            (source,) = self._streams
        if source not in self._streams:
            raise MismatchError(
                f"{self._run}: served {', '.join(sorted(self._streams.values()))}; that at {stamp_ns} is "
                f"of {'no stream that it names' if source is None else f'another stream, {source}'}"
            )
        return self._models[self._models.next_for(self._streams[source], stamp_ns)[-1]]
