"""Training and scoring forecasters of trajectories on simulated drives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agents.objects.examples import DriveExamples, Futures
from models.objects.forecasts import Modes, constant_turn, constant_velocity, forecast_scores
from models.objects.motion import Motions, joined_motions
from models.objects.onnx_models import ForecastModel
from models.objects.surroundings import pooled_from
from stream.config import Config
from stream.progress import Progress

SPAN = 4
"""Steps over which the simple forecasts take the speed: of 4, 6, 8 and 10, what served straight on best where
objects turn, on the drives that nothing was tested on."""

PATHS = (
    "sim:city?seed=110&sweeps=300&robots=6",
    "sim:city?seed=111&sweeps=300&robots=6",
    "sim:highway?seed=110&sweeps=100",
    "sim:yard?seed=110&sweeps=600",
    "sim:yard?seed=111&sweeps=600",
)
"""Drives whose objects are followed without rays, to learn from."""
DRIVES = (
    "sim:city?seed=101&sweeps=120&robots=2&azimuths=512",
    "sim:yard?seed=101&sweeps=120&azimuths=512",
    "sim:city?seed=102&sweeps=120&robots=2&azimuths=512",
    "sim:city?seed=103&sweeps=120&robots=2&azimuths=512",
    "sim:city?seed=104&sweeps=120&robots=2&azimuths=512",
)
"""Drives with rays, to learn from."""
SEEN_WEIGHT = 3
"""How often a moment seen by rays is learnt from, for one without: forecasts are made of such tracks, whose
objects are near the sensor, go otherwise there, and are blurred otherwise."""
HELD_OUT = ("sim:city?seed=301&sweeps=120&robots=2&azimuths=512", "sim:yard?seed=301&sweeps=120&azimuths=512")
"""Drives that nothing was learnt from or chosen on."""

Scores = dict[str, dict[str, dict[str, float | None]]]


def gathered(parts: Sequence[tuple[Motions, Futures]]) -> tuple[Motions, Futures]:
    """Examples of several drives. parts : at least one"""
    futures = [futures for _, futures in parts]
    return joined_motions([motions for motions, _ in parts]), Futures(
        path=np.concatenate([part.path for part in futures]),
        turns=np.concatenate([part.turns for part in futures]),
        kind=np.concatenate([part.kind for part in futures]),
    )


def examples(
    paths: Sequence[tuple[Motions, Futures]], drives: Sequence[DriveExamples]
) -> tuple[Motions, Futures]:
    """What a forecaster learns from: drives without rays, and those with them, which count for more."""
    return gathered([*paths, *[(drive.motions, drive.futures) for drive in drives] * SEEN_WEIGHT])


def train(
    motions: Motions, futures: Futures, config: Config, encoder: str, seed: int, progress: Progress
) -> bytes:
    """An ONNX model that has learnt from what objects did. Deterministic on one machine type and one thread

    config : of the drives
    Raises ValueError for an encoder that does not exist, or without examples
    """
    from models.nets.trajectory import Encoder
    from models.object_export import export_forecaster
    from models.training.forecasting import train_forecaster

    if encoder not in ("gru", "transformer"):
        raise ValueError(f"encoder: {encoder!r} must be gru or transformer")
    kind: Encoder = "gru" if encoder == "gru" else "transformer"
    net = train_forecaster(motions, futures.path, futures.turns, encoder=kind, seed=seed, progress=progress)
    return export_forecaster(net, pooled_from(config))


def score(motions: Motions, futures: Futures, models: dict[str, ForecastModel]) -> Scores:
    """Scores by predictor, for objects that turn and for those that go straight.

    Beside the models ``constant_velocity`` and ``constant_turn``
    """
    told: dict[str, Modes] = {
        "constant_velocity": constant_velocity(motions, SPAN),
        "constant_turn": constant_turn(motions, SPAN),
    } | {name: model.forecast(motions) for name, model in models.items()}
    groups: dict[str, Any] = {"turning": futures.turns, "straight": ~futures.turns}
    return {
        name: {
            group: forecast_scores(modes.take(chosen), futures.path[chosen])
            for group, chosen in groups.items()
        }
        for name, modes in told.items()
    }
