"""Conducts a study: replays, measures, writes study.json and study.html."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.replay import VERSIONED
from agents.studies import ablation, delay, drift, horizon, online, poison
from agents.studies.drives import StudyError, StudyOptions
from agents.studies.page import page_of
from agents.studies.result import StudyResult
from agents.studies.track import Runner, scratch_folder
from stream.progress import Progress

if TYPE_CHECKING:
    from agents.studies.lattice import LatticeOptions
    from agents.studies.segmentation import SegmentationOptions

RESULT, PAGE = "study.json", "study.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One study. sweeps, begin : its defaults; replays : how many it makes of a log"""

    run: Callable[[StudyOptions, Runner], StudyResult]
    replays: Callable[[StudyOptions], int]
    sweeps: int
    begin: int


STUDIES = {
    "online": Study(run=online.run, replays=online.replays, sweeps=120, begin=30),
    "drift": Study(run=drift.run, replays=drift.replays, sweeps=120, begin=50),
    "ablation": Study(run=ablation.run, replays=ablation.replays, sweeps=80, begin=40),
    "delay": Study(run=delay.run, replays=delay.replays, sweeps=120, begin=30),
    "horizon": Study(run=horizon.run, replays=horizon.replays, sweeps=120, begin=50),
    "poison": Study(run=poison.run, replays=poison.replays, sweeps=150, begin=50),
}


def conduct(name: str, options: StudyOptions, out: Path, progress: Progress) -> StudyResult:
    """Conduct a study and write ``out/study.json`` and ``out/study.html``.

    Deterministic: the same options give the same files, on one machine type with the same library versions
    Raises StudyError, ConfigError, SourceError, OSError (disk full)
    """
    study = STUDIES[name]
    with scratch_folder(out) as scratch:
        runner = Runner(options.settings, scratch, progress, study.replays(options), options.sweeps)
        result = study.run(options, runner)
        runner.note("writing the page")
    values = dataclasses.asdict(options)
    values["settings"] = list(options.settings)
    return _written(result, values, out)


def conduct_lattice(options: LatticeOptions, out: Path, progress: Progress) -> StudyResult:
    """Conduct the study of lattices, which replays no log, and write the same files.

    Deterministic and raises as ``conduct``
    """
    from agents.studies import lattice  # needs torch

    return _written(lattice.run(options, progress), dataclasses.asdict(options), out)


def conduct_segmentation(options: SegmentationOptions, out: Path, progress: Progress) -> StudyResult:
    """Conduct the study of what cells lie on, and write the same files.

    Deterministic and raises as ``conduct``
    """
    from agents.studies import segmentation  # needs torch

    values = {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(options).items()}
    return _written(segmentation.run(options, progress), values, out)


def _written(result: StudyResult, options: dict[str, Any], out: Path) -> StudyResult:
    result = dataclasses.replace(result, settings=options | {"versions": _versions()})
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result.to_dict(), indent=1, allow_nan=False, ensure_ascii=False)
    (out / RESULT).write_text(text + "\n", encoding="utf-8")
    (out / PAGE).write_text(page_of(result), encoding="utf-8")
    return result


def claim_study(out: Path, *, force: bool) -> None:
    """Raises StudyError where the folder holds anything but a study that may be replaced."""
    if not out.exists():
        return
    if not out.is_dir():
        raise StudyError(f"--out {out}: is a file; name a folder")
    others = {path.name for path in out.iterdir()} - {RESULT, PAGE}
    if others:
        raise StudyError(f"--out {out}: holds {min(others)}, which is of no study; name another folder")
    if any(out.iterdir()) and not force:
        raise StudyError(f"--out {out}: holds a study; name another folder or add --force")


def _versions() -> str:
    """What decides the figures, beside the logs and the options."""
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for name in VERSIONED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return ", ".join(f"{name} {text}" for name, text in versions.items())
