"""Exported networks against torch, and their bytes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from models.manifest import ModelRefused
from models.net_export import export_net
from models.nets.catalogue import NETS, build_net
from models.nets.graph_net import Standardised
from models.probability import quantise
from models.runtime import OnnxModel
from tests.data import ROOT
from tests.models.made_graphs import arguments, random_batch
from tests.models.test_export import GRID_STEP

pytestmark = pytest.mark.learn

FEATURES, OUTPUTS = 5, 2


def net_of(name: str) -> Standardised:
    """Every weight away from its start, so that none is left out of a comparison."""
    shape = {"feature_count": FEATURES, "output_count": OUTPUTS, "hidden_dim": 16, "num_layers": 2}
    net = build_net({"name": name, **shape, "dropout": 0.5}, seed=1)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for tensor in [*net.parameters(), net.mean]:
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
        net.inv_std.mul_(0.5 + torch.rand(net.inv_std.shape, generator=generator))
    return net.eval()


@lru_cache
def exported(name: str) -> bytes:
    return export_net(net_of(name))


@pytest.mark.parametrize("name", NETS)
def test_equals_torch_at_any_number_of_rows(name: str) -> None:
    session, net = onnxruntime.InferenceSession(exported(name)), net_of(name)
    for rows in (0, 1, 2, 15, 1000):
        batch = random_batch(rows, rows, FEATURES)
        feed: dict[str, Any] = {key: value.numpy() for key, value in batch.items()}
        feed |= {"X": feed["features"], "neighbor_index": feed["neighbor_index"].astype(np.int32)}
        (actual,) = session.run(
            ["probability"], {item.name: feed[item.name] for item in session.get_inputs()}
        )
        with torch.no_grad():
            expected = torch.sigmoid(net(**arguments(net, batch))).numpy()
        assert actual.shape == (rows, OUTPUTS)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6)
    assert actual.std() > 0.05  # the comparison is not one of saturated outputs


@pytest.mark.parametrize("name", NETS)
def test_bytes_follow_from_the_network_and_name_no_place(name: str) -> None:
    data = exported(name)
    assert export_net(net_of(name)) == data
    for word in (str(ROOT), str(Path(torch.__file__).parent), "site-packages", ".py"):
        assert word.encode() not in data
    model = onnx.load_from_string(data)
    assert (model.producer_name, model.producer_version, model.doc_string) == ("octastream", "", "")
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)


@pytest.mark.parametrize(("name", "lod"), [("convolution", None), ("attention", None), ("transformer", 7)])
def test_served_by_the_runtime_of_the_loop(name: str, lod: int | None) -> None:
    net = net_of(name)
    model = OnnxModel("m", export_net(net, lod=lod))
    assert (model.feature_count, model.horizon_count) == (FEATURES, OUTPUTS)
    batch = random_batch(1, 300, FEATURES)
    given = arguments(net, batch | {"lod": lod})
    with torch.no_grad():
        expected = quantise(torch.sigmoid(net(**given)).numpy())
    actual = model.predict(batch["features"].numpy(), batch["neighbor_index"].numpy().astype(np.int32))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=GRID_STEP)


def test_what_needs_more_is_refused_by_the_runtime_of_the_loop() -> None:
    with pytest.raises(ModelRefused, match="lod"):
        OnnxModel("m", exported("transformer"))


def test_levels_that_are_not_read_cannot_be_filled_in() -> None:
    for name in ("attention", "cross_lod"):
        with pytest.raises(ValueError, match=r"lod: .* leave it out"):
            export_net(net_of(name), lod=7)


def test_classes_and_numbers() -> None:
    net, batch = net_of("attention").train(), random_batch(0, 50, FEATURES)
    feed = {
        "X": batch["features"].numpy(),
        "neighbor_index": batch["neighbor_index"].numpy().astype(np.int32),
    }
    for activation in ("softmax", "identity"):
        session = onnxruntime.InferenceSession(export_net(net, activation=activation))
        assert net.training
        with torch.no_grad():
            logits = net.eval()(batch["features"], batch["neighbor_index"])
        expected = logits.softmax(1) if activation == "softmax" else logits
        np.testing.assert_allclose(session.run(None, feed)[0], expected, rtol=0, atol=1e-5)
        net.train()
