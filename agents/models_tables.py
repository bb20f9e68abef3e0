"""Models as the command line shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from agents.origin import Checked
from models.manifest import Manifest
from models.split import Split

SHOWN_ANCESTORS = 8


def models_table(manifests: Sequence[Manifest], aliases: Mapping[str, str], kept: Sequence[str]) -> Table:
    """One row a model, with its aliases, and whether it is kept."""
    table = Table()
    for name in ("model", "kind", "parent", "trained up to (s)", "steps", "sweeps", "loss", ""):
        table.add_column(name, justify="left" if name in ("model", "kind", "parent", "") else "right")
    for manifest in manifests:
        training, loss = manifest.training, manifest.metrics.get("training_loss")
        marks = [alias for alias, model_id in aliases.items() if model_id == manifest.model_id]
        marks += ["kept"] if manifest.model_id in kept else []
        table.add_row(
            escape(manifest.model_id), escape(manifest.kind), escape(manifest.parent_id),
            f"{training.last_stamp_ns / 1e9:.3f}", f"{training.steps:,}", f"{training.examples:,}",
            "-" if loss is None else f"{loss:.4f}", ", ".join(marks),
        )  # fmt: skip
    return table


def model_rows(manifest: Manifest, ancestors: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values."""
    training = manifest.training
    shown = list(ancestors[:SHOWN_ANCESTORS])
    rest = len(ancestors) - len(shown)
    return [
        ("model", manifest.model_id),
        ("kind", manifest.kind),
        ("sha256", manifest.sha256),
        ("architecture", manifest.architecture),
        ("ancestors", " ← ".join(shown) + (f" and {rest:,} more" if rest else "") or "none"),
        ("stamps", f"{training.first_stamp_ns} to {training.last_stamp_ns}"),
        ("training", f"{training.steps:,} steps, {training.examples:,} sweeps held"),
    ]


def source_rows(checked: Sequence[Checked]) -> list[tuple[str, str]]:
    """What a model has learnt from, by robot, and whether that is what is stored."""
    if not checked:
        return [("sources", "none stated")]
    rows = []
    for item in checked:
        source = item.source
        verdict = "as stored" if item.matches else f"NOT as stored: {item.sweeps:,} sweeps, {item.digest}"
        rows += [
            (source.robot_id, f"{source.sweeps:,} sweeps, records {source.first_seq} to {source.last_seq}"),
            ("", f"stamps {source.first_stamp_ns} to {source.last_stamp_ns}"),
            ("", f"digest {source.digest}: {verdict}"),
        ]
    return rows


def split_table(split: Split, aliases: Mapping[str, str]) -> Table:
    """One row an arm: its model, its weight, and its share of all keys."""
    table = Table()
    for name in ("alias", "model", "weight", "share"):
        table.add_column(name, justify="right" if name in ("weight", "share") else "left")
    for arm in split.arms:
        share = 100 * float(split.share_of(arm.name))
        table.add_row(escape(arm.name), escape(aliases.get(arm.name, "-")), str(arm.weight), f"{share:.4g} %")
    return table
