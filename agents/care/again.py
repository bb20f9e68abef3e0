"""Files of a run folder, made again by running its logs again."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from agents.care.repair import beside
from agents.explain import run_config
from agents.recorded_models import ActivationsError
from agents.replay import ReplayOptions, replay
from stream.config import Config, ConfigError, read_values
from stream.files import replacing
from stream.progress import Progress
from stream.run_folder import RunFolder
from stream.sources.base import Source, SourceError
from stream.sweep_rows import SWEEPS, whole_file

FOLLOWING = frozenset({"containers", "predictions", "outcomes", "sweeps.parquet", SWEEPS})
"""What a run that follows recorded activations writes to the same rows, however learning went."""

ANOTHER = "these logs, options and library versions give another run (run_digest); name those of the run"


def rebuild_from(
    run: Path, names: Sequence[str], sources: Sequence[Source], sweeps: int | None, progress: Progress
) -> Mapping[str, str]:
    """Run the logs again in a folder beside, and take from there what the run lacks.

    Models are those that the run activated, where that is enough; else learning is done again, too.
    sweeps : where the run had stopped, None for the end of the logs
    Nothing is taken from a run that is not the same one: its digest and its other files must agree.
    """
    folder = RunFolder(run)
    config, digest = run_config(folder), _digest(folder)
    if not digest:
        return dict.fromkeys(
            names, "the run did not end: there is no summary.json to compare with; run it again"
        )
    learnt = [name for name in names if _dataset(name) not in FOLLOWING]
    if learnt and (why := _unrepeatable(folder, config)):
        rest = [name for name in names if name not in learnt]
        found = rebuild_from(run, rest, sources, sweeps, progress) if rest else {}
        return {**dict.fromkeys(learnt, why), **found}
    follow = config.learn.enabled and not learnt
    options = ReplayOptions(max_sweeps=sweeps, report=False, activations=(run,) if follow else ())
    if follow:
        config = dataclasses.replace(config, learn=dataclasses.replace(config.learn, enabled=False))
    with _fresh(beside(run)) as again:
        try:
            replay(sources, config, again, options, progress)
        except (SourceError, ActivationsError, ConfigError) as error:
            return dict.fromkeys(names, str(error))
        if _digest(RunFolder(again)) != digest:
            return dict.fromkeys(names, ANOTHER)
        return {name: why for name in names if (why := _take(run, again, name))}


@contextmanager
def _fresh(folder: Path) -> Iterator[Path]:
    """A folder for as long as it is needed, without what a killed process left there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)  # a run may be private
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _digest(folder: RunFolder) -> str:
    if not (folder.path / "summary.json").is_file():
        return ""
    return str(folder.read_json("summary.json").get("run_digest", ""))


def _dataset(name: str) -> str:
    return name.partition("/")[0]


def _unrepeatable(folder: RunFolder, config: Config) -> str:
    """Why learning of the run cannot be done again; empty where it can."""
    versions = read_values(folder.path / "config.yaml").get("versions", {})
    if config.learn.enabled and config.learn.budget_ms is not None:
        return "learning had a budget of time (learn.budget_ms), so it cannot be repeated"
    other = [name for name in ("pin", "freeze_after", "activations") if name in versions]
    return f"learning was steered by {' and '.join(other)}, which is not repeated here" if other else ""


def _take(run: Path, again: Path, name: str) -> str:
    """Copy one file where its neighbours are the same in both; else say why not."""
    if _dataset(name) == SWEEPS:  # a part that was damaged before the run had joined them
        name = whole_file(again).name
    made = again / name
    if not made.is_file():
        return "the run made again has no such file"
    for path in sorted((run / name).parent.glob("part-*")):
        if not (again / path.relative_to(run)).is_file() or _rows(path) != _rows(
            again / path.relative_to(run)
        ):
            return f"{path.relative_to(run)} holds other rows than in the run made again"
    with replacing(run / name, durable=True) as temporary:
        shutil.copyfile(made, temporary)
    return ""


def _rows(path: Path) -> int:
    if path.suffix == ".arrow":
        with pa.memory_map(str(path)) as source:
            return int(pa.ipc.open_file(source).num_record_batches)
    return int(pq.read_metadata(path).num_rows)
