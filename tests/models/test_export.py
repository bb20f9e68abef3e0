"""The exported graph against torch, and its bytes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from models.export import BLOCK_ROWS, export_graph, with_weights
from models.nets.bcc_conv import BccNet
from models.probability import GRID, quantise
from models.runtime import OnnxModel
from stream.config import NetworkConfig
from tests.models.sweeps import random_inputs
from tests.models.test_bcc_conv import randomised

pytestmark = pytest.mark.learn

FEATURES, HORIZONS = 7, 3
GRID_STEP = 1.001 / GRID
"""A last-bit difference may fall on either side of a boundary between two steps."""


def net_of(seed: int, width: int = 32, layers: int = 2) -> BccNet:
    return randomised(BccNet(NetworkConfig(width=width, layers=layers), FEATURES, HORIZONS, seed=seed))


def weights_of(net: BccNet) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in net.state_dict().items()}


def torch_probability(net: BccNet, X: np.ndarray, neighbor_index: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return quantise(torch.sigmoid(net(torch.from_numpy(X), torch.from_numpy(neighbor_index))).numpy())


@pytest.mark.parametrize("rows", [0, 1, 15, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 10_000])
def test_equals_torch(rows: int) -> None:
    net = net_of(1)
    model = OnnxModel("m", export_graph(net))
    X, neighbor_index = random_inputs(np.random.default_rng(rows), rows, FEATURES)
    actual = model.predict(X, neighbor_index)
    assert actual.shape == (rows, HORIZONS)
    np.testing.assert_allclose(actual, torch_probability(net, X, neighbor_index), rtol=0, atol=GRID_STEP)
    if rows > 1:
        assert actual.std() > 0.05  # the comparison is not one of saturated outputs


@pytest.mark.parametrize(("width", "layers"), [(1, 1), (16, 1), (24, 3)])
def test_other_shapes(width: int, layers: int) -> None:
    net = net_of(2, width, layers)
    X, neighbor_index = random_inputs(np.random.default_rng(0), 300, FEATURES)
    actual = OnnxModel("m", export_graph(net)).predict(X, neighbor_index)
    np.testing.assert_allclose(actual, torch_probability(net, X, neighbor_index), rtol=0, atol=GRID_STEP)


def test_a_model_answers_any_number_of_rows_in_any_order() -> None:
    net = net_of(1)
    model = OnnxModel("m", export_graph(net))
    for rows in (300, 0, 7, 1000, 300):
        X, neighbor_index = random_inputs(np.random.default_rng(rows), rows, FEATURES)
        expected = torch_probability(net, X, neighbor_index)
        np.testing.assert_allclose(model.predict(X, neighbor_index), expected, rtol=0, atol=GRID_STEP)


def test_cells_do_not_see_beyond_their_neighborhood() -> None:
    model = OnnxModel("m", export_graph(net_of(1)))
    X, neighbor_index = random_inputs(np.random.default_rng(5), 600, FEATURES)
    neighbor_index[:300] = np.where(neighbor_index[:300] < 300, neighbor_index[:300], 600)
    neighbor_index[300:] = np.where((neighbor_index[300:] >= 300), neighbor_index[300:], 600)
    whole = model.predict(X, neighbor_index)
    first = np.where(neighbor_index[:300] == 600, 300, neighbor_index[:300]).astype(np.int32)
    second = np.where(neighbor_index[300:] == 600, 300, neighbor_index[300:] - 300).astype(np.int32)
    parts = np.concatenate([model.predict(X[:300], first), model.predict(X[300:], second)])
    np.testing.assert_allclose(whole, parts, rtol=0, atol=GRID_STEP)


def test_new_weights_are_a_new_export() -> None:
    first, second = net_of(1), net_of(2)
    template = export_graph(first)
    assert with_weights(template, weights_of(second)) == export_graph(second)
    assert with_weights(template, weights_of(first)) == template
    assert export_graph(second) != template


def test_bytes_hold_no_noise() -> None:
    data = export_graph(net_of(1))
    assert data == export_graph(net_of(1))
    model = onnx.load_from_string(data)
    assert (model.producer_name, model.producer_version, model.doc_string) == ("octastream", "", "")
    assert not model.metadata_props
    assert not any(node.doc_string for node in model.graph.node)
    for text in (b"/home", b"/tmp", b"site-packages", b".py"):
        assert text not in data


def test_initializers_are_the_weights_by_name() -> None:
    net = net_of(1)
    model = onnx.load_from_string(export_graph(net))
    assert [tensor.name for tensor in model.graph.initializer] == list(net.state_dict())


def test_refuses_weights_that_do_not_fit() -> None:
    template, weights = export_graph(net_of(1)), weights_of(net_of(1))
    with pytest.raises(ValueError, match=r"missing \['mean'\]"):
        with_weights(template, {name: value for name, value in weights.items() if name != "mean"})
    with pytest.raises(ValueError, match=r"unknown \['other'\]"):
        with_weights(template, weights | {"other": weights["mean"]})
    with pytest.raises(ValueError, match=r"weights\[mean\]: expected float32 \(7,\), got float32 \(8,\)"):
        with_weights(template, weights | {"mean": np.zeros(8, np.float32)})
    with pytest.raises(ValueError, match=r"weights\[mean\]: expected float32"):
        with_weights(template, weights | {"mean": np.zeros(7)})
    with pytest.raises(ValueError, match=r"weights\[mean\]: holds values that are not finite"):
        with_weights(template, weights | {"mean": np.full(7, np.nan, np.float32)})
