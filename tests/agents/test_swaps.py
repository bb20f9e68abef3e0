"""Model after model goes live in one Perceive while sweeps come; by ``make bench-swap`` on a recorded log."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from agents.protocol import ModelLoaded
from models.export import export_graph, with_weights
from models.manifest import model_id_of
from models.nets.bcc_conv import BccNet
from models.runtime import OnnxModel
from stream.config import NetworkConfig
from stream.features import schema_of
from stream.records import ModelActivated, Prediction
from tests.agents.worlds import (
    PERIOD_NS,
    config_of,
    feed,
    of_type,
    perceive_of,
    points_at,
    stamp_of,
    sweep_of,
    transform_at,
    transforms_to,
)
from tests.models.test_runtime import resident_bytes

pytestmark = [pytest.mark.learn, pytest.mark.slow, pytest.mark.long]

SWAPS, SETTLED = 500, 100
GROWTH_BYTES = 24 << 20
"""One model's arena is some megabytes: 400 that stay would be gigabytes."""


@pytest.mark.fault(33)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_five_hundred_models_serve_one_sweep_each_and_leave_no_memory() -> None:
    config = config_of()
    net = BccNet(NetworkConfig(), schema_of(config).count, len(config.task.horizons_ns))
    template = export_graph(net)
    weights = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    agent = perceive_of(config)
    feed(agent, transforms_to(0))
    wanted, outputs, settled = [], [], 0
    for number in range(SWAPS):
        weights["output.bias"][:] = np.float32(number) / SWAPS
        data = with_weights(template, weights)
        model = OnnxModel(model_id_of(data), data)
        wanted.append(model.model_id)
        answer = ModelLoaded(model_id=model.model_id, stamp_ns=0, sha256="ab", model=model)
        sweep = sweep_of(number, points=points_at(number % 20))
        outputs += feed(agent, [answer, transform_at(stamp_of(number) + PERIOD_NS // 2), sweep])
        if number == SETTLED:
            gc.collect()
            settled = resident_bytes()
    gc.collect()
    assert resident_bytes() - settled < GROWTH_BYTES
    assert [record.model_id for record in of_type(outputs, ModelActivated)] == wanted
    assert [record.model_id for record in of_type(outputs, Prediction)] == wanted
