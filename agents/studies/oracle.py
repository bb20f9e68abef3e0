"""The oracle: the same network, trained on the very sweeps that it is scored on. Optimistic by design."""

from __future__ import annotations

import dataclasses

import numpy as np

from agents.comparison import score
from agents.effects import Trainer
from agents.protocol import Example, Train, Trained
from agents.replay import priors_of
from agents.studies.doubles import Capture
from agents.studies.measure import Series
from agents.studies.track import Runner, Track
from models.model import Model
from stream.config import Config
from stream.config_sections import CHAMPION_LINEAGE
from stream.features import schema_of

STEPS = 2000
"""Optimiser steps; with 50 sweeps each is seen 40 times, a sector at a time."""

AT_ONCE = 100
MANY = 1_000_000


def oracle_losses(
    config: Config, capture: Capture, track: Track, begin: int, steps: int, runner: Runner
) -> Series:
    """Log loss by sweep, float64 (S,), of a network trained on the outcomes of the sweeps from ``begin`` on.

    It begins where learning begins, at the prior, or from random weights; NaN before ``begin``
    """
    learn = dataclasses.replace(config.learn, newest_share=0.0, averaging=0.998, standard_sweeps=MANY)
    config = dataclasses.replace(config, learn=learn)
    schema = schema_of(config)
    prior = priors_of(config, schema)[0].get(CHAMPION_LINEAGE)
    trainer = Trainer(config, schema, config.network, config.seed, prior)
    scored = {
        name: example
        for name, example in capture.examples.items()
        if track.sweep_of(example.stamp_ns) >= begin and name in capture.labels
    }
    losses = np.full(len(track.stamp_ns), np.nan)
    answer = None
    for done in range(0, steps, AT_ONCE):
        runner.note(f"training the oracle, step {done:,} of {steps:,}")
        first = done == 0
        request = Train(
            lineage="oracle",
            stamp_ns=done,
            examples=tuple(scored.values()) if first else (),
            labels=tuple(labels for name in scored for labels in capture.labels[name]) if first else (),
            steps=min(AT_ONCE, steps - done),
        )
        answer = trainer.train(request) or answer
    if not isinstance(answer, Trained):
        return losses
    for example in scored.values():
        losses[track.sweep_of(example.stamp_ns)] = loss_of(answer.model, example, capture, config)
    return losses


def loss_of(model: Model, example: Example, capture: Capture, config: Config) -> float:
    """Log loss of a model on one sweep, primary horizon, by what trainers were told; NaN without."""
    for labels in capture.labels.get(example.prediction_id, ()):
        if labels.horizon == config.task.primary and len(labels.row):
            probability = model.predict(example.x, example.neighbor_index)
            found = score(
                np.ascontiguousarray(probability[labels.row, labels.horizon]), labels.occupied
            ).log_loss
            return float("nan") if found is None else found
    return float("nan")
