"""Models whose training may have seen deleted data: found by their manifests, marked, or taken away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from agents.care.receipt import Left, Receipt
from models.manifest import Manifest, ModelRefused, TrainingRange
from models.registry import ModelRegistry
from stream.run_folder import RunFolder

Mode = Literal["list", "mark", "remove"]
MARK = "deletion.json"
"""Beside a model's manifest: receipts of deletions of what it may have learnt from."""


def models_that_saw(registry: ModelRegistry, first_ns: int, last_ns: int) -> list[str]:
    """Ids of models trained on examples of a span of event time, and of those trained on from one of these.

    They are chosen by time and not by robot, so a model may be among them for the sake of another robot's
    data of the same time: too many rather than too few. The shipped prior has its own stamps, of simulated
    worlds, and is none of a registry's.
    """
    manifests: dict[str, Manifest] = {}
    for model_id in registry.list():
        manifests[model_id] = registry.manifest(model_id)
    saw: set[str] = set()
    for model_id, manifest in manifests.items():
        first, last = _learnt_from(manifest.training)
        if first <= last_ns and last >= first_ns:
            saw.add(model_id)
    found = True
    while found:  # children of children; a registry is small
        heirs = {name for name, manifest in manifests.items() if manifest.parent_id in saw} - saw
        found = bool(heirs)
        saw |= heirs
    return [model_id for model_id in manifests if model_id in saw]


def _learnt_from(training: TrainingRange) -> tuple[int, int]:
    """First and last stamp of what went into a model's weights.

    A trainer says from which of its own examples; one that went on from another process's weights had none of
    those before, but the sources have.
    """
    firsts = [source.first_stamp_ns for source in training.sources]
    lasts = [source.last_stamp_ns for source in training.sources]
    return min([training.first_stamp_ns, *firsts]), max([training.last_stamp_ns, *lasts])


def treat_models(folder: Path, receipt: Receipt, mode: Mode) -> tuple[dict[str, str], list[Left]]:
    """List, mark or remove the models of a registry that may have seen what a receipt is about.

    Returns what became of each, and what is left. The champion is marked where others are removed
    """
    if receipt.first_ns is None or receipt.last_ns is None or not folder.is_dir():
        return {}, []
    registry = ModelRegistry(folder)
    treated: dict[str, str] = dict(receipt.models)
    for model_id in models_that_saw(registry, receipt.first_ns, receipt.last_ns):
        treated[model_id] = _treat(registry, folder, model_id, receipt, mode)
    kept = [model_id for model_id, what in treated.items() if what != "removed"]
    if not kept:
        return treated, []
    left = Left(
        what=f"{len(kept)} models in {folder.name}/ that may have learnt from the data",
        why="weights cannot forget a part of what they were trained on, and manifests name whose that was; "
        "--registry remove takes those away that neither serve nor are held, and learning from scratch "
        "replaces the others",
    )
    return treated, [left]


def _treat(registry: ModelRegistry, folder: Path, model_id: str, receipt: Receipt, mode: Mode) -> str:
    if mode == "list":
        return "listed"
    if mode == "remove":
        try:
            registry.remove(model_id)
        except ModelRefused as error:  # it has an alias, or a person holds it
            _mark(folder / model_id, receipt)
            return f"marked: {str(error).removeprefix(f'{model_id}: ')}"
        return "removed"
    _mark(folder / model_id, receipt)
    return "marked"


def _mark(folder: Path, receipt: Receipt) -> None:
    path = folder / MARK
    names: list[str] = json.loads(path.read_text(encoding="utf-8"))["receipts"] if path.is_file() else []
    if receipt.receipt not in names:
        text = json.dumps({"receipts": [*names, receipt.receipt]}, indent=1) + "\n"
        RunFolder(folder).write_text(MARK, text, durable=True)
