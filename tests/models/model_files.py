"""Model files and manifests for tests of what stores and loads them."""

from __future__ import annotations

from models import canary
from models.export import export_graph
from models.manifest import (
    FeatureSchemaId,
    Manifest,
    ModelRequirements,
    TrainingRange,
    model_id_of,
    sha256_of,
)
from models.nets.bcc_conv import BccNet
from models.runtime import OnnxModel
from stream.config import NetworkConfig

FEATURES = 5
HORIZONS_NS = (200_000_000, 500_000_000)
SCHEMA = FeatureSchemaId(name="octa-features", version=1, hash="ab" * 32)
REQUIREMENTS = ModelRequirements(
    lod=7,
    half_edge_m=0.4,
    map_frame="odom",
    feature_schema=SCHEMA,
    feature_count=FEATURES,
    horizons_ns=HORIZONS_NS,
)


def model_data(seed: int = 0) -> bytes:
    """A small model file."""
    return export_graph(BccNet(NetworkConfig(width=4, layers=1), FEATURES, len(HORIZONS_NS), seed=seed))


def manifest_for(data: bytes, last_stamp_ns: int = 2, kind: str = "update") -> Manifest:
    """The manifest of a model file made by ``model_data``."""
    return Manifest(
        model_id=model_id_of(data),
        sha256=sha256_of(data),
        architecture="bcc-conv-f5-c4-l1-h2",
        lod=7,
        half_edge_m=0.4,
        map_frame="odom",
        feature_schema=SCHEMA,
        feature_count=FEATURES,
        horizons_ns=HORIZONS_NS,
        parent_id="frequency",
        kind=kind,
        training=TrainingRange(first_stamp_ns=1, last_stamp_ns=last_stamp_ns, steps=16, examples=1),
        metrics={"log_loss": 0.4, "average_precision": None},
        canary=canary.record(OnnxModel("m", data), FEATURES),
    )
