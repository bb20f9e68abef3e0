"""What ``octastream dataset info`` shows."""

from __future__ import annotations

from collections import Counter

from models.datasets.window import said_of
from models.training_sets.columns import feature_schemas
from models.training_sets.read import TrainingSet

SHOWN = 8


def info_rows(stored: TrainingSet) -> list[tuple[str, str]]:
    """A training set, as names and values."""
    manifest, said = stored.manifest, said_of(stored.schema)
    rows_of: dict[str, Counter[str]] = {"date": Counter(), "region": Counter(), "lod": Counter()}
    for part in manifest.parts:
        for text in part.file.split("/")[:-1]:
            name, _, value = text.partition("=")
            rows_of[name][value] += part.rows
    size = sum(part.bytes for part in manifest.parts)
    rows = [("rows", f"{manifest.rows:,} in {len(manifest.parts):,} files, {size / 1e6:.1f} MB")]
    rows += [
        ("cells", f"frame {said['frame']}, LOD {said['lod']}, half edge {float(said['half_edge_m']):g} m")
    ]
    rows += [(f"{name}s", _most(counts)) for name, counts in rows_of.items()]
    rows += [("region LOD", str(manifest.region_lod))]
    for build in manifest.builds:
        sweeps = sum(map(len, build.sweeps.values()))
        where = f", where {build.where}" if build.where else ""
        rows.append(("build", f"{build.source}: {sweeps:,} sweeps{where}"))
    schemas = feature_schemas(stored.schema)
    for prefix, schema in schemas.items():
        rows.append(
            ("features", f"{prefix or '(no prefix)'}: {len(schema['names'])}, schema {schema['sha256'][:12]}")
        )
    features = {f"{prefix}{name}" for prefix, schema in schemas.items() for name in schema["names"]}
    others = [f"{field.name} {field.type}" for field in stored.schema if field.name not in features]
    return [*rows, ("other columns", ", ".join(others))]


def _most(counts: Counter[str]) -> str:
    """The names with the most rows."""
    shown = ", ".join(f"{name} ({n:,})" for name, n in counts.most_common(SHOWN))
    return f"{shown} and {len(counts) - SHOWN} more" if len(counts) > SHOWN else shown
