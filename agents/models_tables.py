"""Models as the command line shows them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from agents.origin import Checked
from models.manifest import Manifest

SHOWN_ANCESTORS = 8


def models_table(manifests: Sequence[Manifest], champion: str | None, kept: Sequence[str]) -> Table:
    """One row a model; the one that serves, and those that are kept, are marked."""
    table = Table()
    for name in ("model", "kind", "parent", "trained up to (s)", "steps", "sweeps", "loss", ""):
        table.add_column(name, justify="left" if name in ("model", "kind", "parent", "") else "right")
    for manifest in manifests:
        training, loss = manifest.training, manifest.metrics.get("training_loss")
        marks = [
            word
            for word, holds in (
                ("champion", manifest.model_id == champion),
                ("kept", manifest.model_id in kept),
            )
            if holds
        ]
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
