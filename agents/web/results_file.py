"""What came of an A/B in a file, so that a server that is started again goes on from there."""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.web.experiment import Experiment
from stream.config import ConfigError
from stream.files import replacing

LOGGER = logging.getLogger(__name__)


@contextmanager
def results_kept(experiment: Experiment, path: Path) -> Iterator[None]:
    """Have an experiment go on from a file, if it is there, and write it after each block while this lasts.

    Raises ConfigError where another server does so, or for a file that holds something else
    """

    def write(state: dict[str, Any]) -> None:
        try:
            with replacing(path) as place:
                place.write_text(json.dumps(state))
        except OSError as error:  # what is written after the next block holds it all
            LOGGER.warning("--ab-results %s: %s", path, error.strerror)

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            experiment.restore(json.loads(path.read_text()))
        except BlockingIOError as error:
            raise ConfigError(
                f"--ab-results {path}: another server writes it; give each one its own"
            ) from error
        except FileNotFoundError:
            pass
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"--ab-results {path}: no results to go on from: {error}") from error
        experiment.on_block = write
        try:
            yield
        finally:
            experiment.on_block = None
