"""Replays one contestant after another, each as anybody would with ``octastream replay``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.learn import Learn
from agents.replay import ReplayOptions, replay, with_map_frame
from agents.studies.measure import Series
from stream.config import Config, load_config
from stream.progress import Progress
from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.sweep_rows import read_sweeps


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Track:
    """One finished replay.

    stamp_ns : int64 (S,), of every predicted sweep, ascending
    scores : predictor to metric (``log_loss``, ``average_precision``) to float64 (S,), NaN where unsupported
    events : lines of events.jsonl
    """

    stamp_ns: NDArray[np.int64]
    scores: Mapping[str, Mapping[str, Series]]
    summary: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]

    def losses(self, name: str = "online") -> Series:
        """Log loss by sweep of one predictor."""
        return self.scores[name]["log_loss"]

    def named(self, *kinds: str) -> list[Mapping[str, Any]]:
        """Events of these kinds."""
        return [event for event in self.events if event["event"] in kinds]

    def sweep_of(self, stamp_ns: int) -> int:
        """Number of the first sweep at or after a stamp."""
        return int(np.searchsorted(self.stamp_ns, stamp_ns))


class Runner:
    """Replays for one study, and counts their sweeps for one progress bar.

    settings : ``key=value``, of all contestants; a contestant's own win
    total : replays that the study will make, of ``sweeps`` each
    """

    def __init__(
        self, settings: Sequence[str], scratch: Path, progress: Progress, total: int, sweeps: int
    ) -> None:
        self._settings, self._scratch, self._progress = tuple(settings), scratch, progress
        self._total, self._sweeps = total * sweeps, sweeps
        self._done = 0
        self.logs: dict[str, None] = {}

    def config(self, log: str, *settings: str) -> Config:
        """The configuration of a contestant, with the map frame of its log."""
        config = load_config(None, [*self._settings, *settings])
        return with_map_frame(config, [open_source(log, SourceOptions()).info().root_frame])

    def run(
        self,
        log: str,
        label: str,
        *settings: str,
        learn: Callable[..., Learn] = Learn,
        freeze_after: int | None = None,
        pin: Path | None = None,
    ) -> Track:
        """Replay a log for one contestant. learn : Learn, or what a study puts in its place"""
        self.logs[log] = None
        config = load_config(None, [*self._settings, *settings])
        source = open_source(log, SourceOptions())
        folder = self._scratch / "run"
        options = ReplayOptions(
            max_sweeps=self._sweeps, report=False, learn=learn, freeze_after=freeze_after, pin=pin
        )
        begun = self._done

        def count(done: int, total: int | None, note: str) -> None:
            self._done = begun + min(done, self._sweeps)
            self._progress(self._done, self._total, label)

        try:
            result = replay([source], config, folder, options, count)
            return _track(folder, result.summary, result.series)
        finally:
            self._done = begun + self._sweeps
            shutil.rmtree(folder, ignore_errors=True)

    def note(self, text: str) -> None:
        """Say what is done beside replays."""
        self._progress(self._done, self._total, text)


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """A folder for replays, on the disk that the study is written to, gone afterwards."""
    beside.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".study-", dir=beside.parent) as name:
        yield Path(name)


def _track(folder: Path, summary: Mapping[str, Any], series: Mapping[str, Any]) -> Track:
    stamps = np.unique(read_sweeps(folder, ["stamp_ns"])["stamp_ns"].to_numpy())
    row = np.searchsorted(stamps, series["stamp_ns"])
    scores: dict[str, dict[str, Series]] = {}
    for name, metrics in series.items():
        if name == "stamp_ns":
            continue
        scores[name] = {}
        for metric in ("log_loss", "average_precision"):
            values = np.full(len(stamps), np.nan)
            values[row] = metrics[metric]
            scores[name][metric] = values
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return Track(stamp_ns=stamps, scores=scores, summary=summary, events=[json.loads(text) for text in lines])
