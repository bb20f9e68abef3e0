"""Many seeds, one after the other or on several cores."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from agents.simulation.run import Result, simulate
from agents.simulation.trace import Tally
from stream.progress import Progress

CHUNK = 8
"""Seeds that a process is given at a time."""


def run_many(
    seeds: Sequence[int],
    jobs: int = 1,
    progress: Progress = lambda done, total, note: None,
) -> Tally:
    """Simulate every seed; the tally does not depend on the number of jobs.

    jobs : processes, >= 1; progress : called after each seed with done, total and a note
    Raises ValueError for jobs < 1
    """
    if jobs < 1:
        raise ValueError(f"jobs: must be >= 1, got {jobs}")
    tally = Tally()
    for result in _results(seeds, jobs):
        tally.add(result)
        progress(tally.seeds, len(seeds), f"{len(tally.failed)} failed" if tally.failed else "")
    return tally


def _results(seeds: Sequence[int], jobs: int) -> Iterator[Result]:
    if jobs == 1:
        yield from map(brief, seeds)
        return
    with ProcessPoolExecutor(jobs, initializer=os.nice, initargs=(5,)) as pool:
        yield from pool.map(brief, seeds, chunksize=CHUNK)


def brief(seed: int) -> Result:
    """A result without its history, which would be the largest part of it."""
    collects = gc.isenabled()
    gc.disable()  # a seed holds little, and looking through it again and again costs a tenth of the time
    try:
        result = simulate(seed)
    finally:
        if collects:
            gc.enable()
    result.history.clear()
    return result
