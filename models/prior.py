"""The prior: weights learnt in simulation, from which a run starts to learn."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from models import canary
from models.manifest import Manifest, ModelRefused, ModelRequirements, sha256_of
from models.model import Model
from models.runtime import OnnxModel

SHIPPED = Path(__file__).parent / "prior"
"""Folder of the prior that ships with the package."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Prior:
    """A verified prior: its ONNX file, what it says of itself, and the loaded model."""

    data: bytes
    manifest: Manifest
    model: Model


def load_prior(folder: Path, requirements: ModelRequirements, architecture: str) -> Prior:
    """Read a prior and check that it fits a run; a prior knows no map, so any map frame does.

    Raises ModelRefused naming what does not fit, or the file that is missing
    """
    try:
        data = (folder / "model.onnx").read_bytes()
        manifest = Manifest.from_json((folder / "manifest.json").read_bytes())
    except OSError as error:
        raise ModelRefused(f"prior: {error.filename}: {error.strerror}") from error
    if sha256_of(data) != manifest.sha256:
        raise ModelRefused(
            f"prior: {folder / 'model.onnx'}: sha256 is not the manifest's; the file is damaged"
        )
    if manifest.architecture != architecture:
        raise ModelRefused(
            f"prior: architecture: prior has {manifest.architecture!r}, this run needs {architecture!r}"
        )
    manifest.check(dataclasses.replace(requirements, map_frame=manifest.map_frame))
    model = OnnxModel(manifest.model_id, data)
    canary.verify(model, manifest)
    return Prior(data=data, manifest=manifest, model=model)
