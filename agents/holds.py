"""Which model may serve, by a person's word: pinned, frozen, released."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from agents.manifests import architecture_of, requirements_of
from models.manifest import Manifest, ModelRefused
from models.online.builtin import MODEL_ID as BUILTIN
from models.prior import Prior, load_prior
from stream.config import Config, ConfigError
from stream.features import schema_of
from stream.records import FREEZE, PIN, RELEASE, ModelPublished


def pin(manifest: Manifest | None, stamp_ns: int) -> ModelPublished:
    """Serve this model and no other, from the next sweep on; the built-in one where there is no manifest."""
    return ModelPublished(
        model_id=manifest.model_id if manifest else BUILTIN,
        sha256=manifest.sha256 if manifest else "builtin",
        kind=PIN,
        parent_id=manifest.parent_id if manifest else "",
        stamp_ns=stamp_ns,
    )


def freeze(stamp_ns: int) -> ModelPublished:
    """Activate no other model: each Perceive goes on with what it has staged."""
    return ModelPublished(model_id="", sha256="", kind=FREEZE, parent_id="", stamp_ns=stamp_ns)


def release(stamp_ns: int) -> ModelPublished:
    """Follow again what is published, beginning with what was published last."""
    return ModelPublished(model_id="", sha256="", kind=RELEASE, parent_id="", stamp_ns=stamp_ns)


def load_pinned(folder: Path, config: Config) -> Prior:
    """A model folder, checked as one that is to serve; like a prior it knows no map, so any map frame does.

    Raises ConfigError naming what does not fit
    """
    try:
        requirements = requirements_of(config, schema_of(config))
        found = load_prior(folder, requirements, architecture_of(config.network))
        manifest = dataclasses.replace(found.manifest, map_frame=config.grid.map_frame)
        return dataclasses.replace(found, manifest=manifest)
    except ModelRefused as error:
        raise ConfigError(
            f"--pin {folder}: {error}; name a folder of a registry, as RUN/models/ID"
        ) from error
