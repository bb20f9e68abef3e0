"""The manifest of a model that Learn publishes, and what a run requires of one."""

from __future__ import annotations

from agents.lineage import Version
from models import canary
from models.manifest import (
    FeatureSchemaId,
    Manifest,
    ModelRequirements,
    SourceRange,
    TrainingRange,
    model_id_of,
    sha256_of,
)
from stream.config import Config, NetworkConfig
from stream.features import FeatureSchema


def architecture_of(network: NetworkConfig) -> str:
    """Names the graph: models of one architecture differ in their weights only."""
    return f"bcc-conv-{network.width}x{network.layers}"


def _schema_id(schema: FeatureSchema) -> FeatureSchemaId:
    return FeatureSchemaId(name="octa-features", version=schema.version, hash=schema.hash)


def requirements_of(config: Config, schema: FeatureSchema) -> ModelRequirements:
    """What a model must say of itself to serve in a run with this configuration."""
    return ModelRequirements(
        lod=config.grid.lod,
        half_edge_m=config.grid.half_edge_m,
        map_frame=config.grid.map_frame,
        feature_schema=_schema_id(schema),
        feature_count=schema.count,
        horizons_ns=config.task.horizons_ns,
    )


def manifest_of(
    config: Config,
    schema: FeatureSchema,
    version: Version,
    *,
    architecture: str,
    kind: str,
    parent_id: str,
) -> Manifest:
    """The identity card of an ONNX file that this run made."""
    report = version.report
    return Manifest(
        model_id=model_id_of(version.data),
        sha256=sha256_of(version.data),
        architecture=architecture,
        lod=config.grid.lod,
        half_edge_m=config.grid.half_edge_m,
        map_frame=config.grid.map_frame,
        feature_schema=_schema_id(schema),
        feature_count=schema.count,
        horizons_ns=config.task.horizons_ns,
        parent_id=parent_id,
        kind=kind,
        training=TrainingRange(
            first_stamp_ns=report["first_stamp_ns"],
            last_stamp_ns=report["last_stamp_ns"],
            steps=report["total_steps"],
            examples=report["examples"],
            sources=tuple(SourceRange(**source) for source in report.get("sources", ())),
        ),
        metrics={"training_loss": report["loss"]},
        canary=canary.record(version.model, schema.count),
    )
