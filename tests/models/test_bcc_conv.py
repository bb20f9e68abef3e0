"""The network against a loop that reads as the formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.nets.bcc_conv import BccNet, architecture
from stream.config import NetworkConfig
from tests.models.sweeps import random_inputs

pytestmark = pytest.mark.learn


def slow_forward(net: BccNet, X: np.ndarray, neighbor_index: np.ndarray) -> np.ndarray:
    """Cell by cell, neighbour by neighbour, in float64."""
    weights = {name: value.numpy().astype(np.float64) for name, value in net.state_dict().items()}
    standard = np.clip((X.astype(np.float64) - weights["mean"]) * weights["inv_std"], -5, 5)
    y = np.maximum(standard @ weights["input.weight"].T + weights["input.bias"], 0)
    states = [y]
    for layer in range(len(net.blocks)):
        prefix = f"blocks.{layer}."
        centred = y - y.mean(axis=1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        normed = normed * weights[prefix + "norm.weight"] + weights[prefix + "norm.bias"]
        rows = []
        for cell, near in enumerate(neighbor_index):
            taps = [normed[cell], *(normed[n] if n < len(X) else np.zeros(y.shape[1]) for n in near)]
            rows.append(weights[prefix + "linear.weight"] @ np.concatenate(taps))
        y = y + np.maximum(np.array(rows) + weights[prefix + "linear.bias"], 0)
        states.append(y)
    return np.concatenate(states, axis=1) @ weights["output.weight"].T + weights["output.bias"]


def randomised(net: BccNet) -> BccNet:
    """Every weight and buffer away from its start, so that none is left out of a comparison."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for tensor in [*net.parameters(), net.mean]:
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
        net.inv_std.mul_(0.5 + torch.rand(net.inv_std.shape, generator=generator))
    return net


@pytest.mark.parametrize(("width", "layers"), [(4, 1), (8, 2), (5, 3)])
def test_equals_the_formula(width: int, layers: int) -> None:
    net = randomised(BccNet(NetworkConfig(width=width, layers=layers), 6, 3, seed=1))
    X, neighbor_index = random_inputs(np.random.default_rng(0), 40, 6)
    with torch.no_grad():
        logits = net(torch.from_numpy(X), torch.from_numpy(neighbor_index)).numpy()
    np.testing.assert_allclose(logits, slow_forward(net, X, neighbor_index), rtol=1e-4, atol=1e-4)


def test_gradient_by_finite_differences() -> None:
    net = randomised(BccNet(NetworkConfig(width=4, layers=2), 3, 2, seed=1)).double()
    X, neighbor_index = random_inputs(np.random.default_rng(0), 12, 3)
    inputs = torch.from_numpy(X).double(), torch.from_numpy(neighbor_index)
    weight = torch.from_numpy(np.random.default_rng(1).normal(size=(12, 2)))

    def loss() -> torch.Tensor:
        return (net(*inputs) * weight).sum()

    loss().backward()
    for name, parameter in net.named_parameters():
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for place in {0, len(flat) // 2, len(flat) - 1}:
            step = 1e-6
            with torch.no_grad():
                flat[place] += step
                above = float(loss())
                flat[place] -= 2 * step
                below = float(loss())
                flat[place] += step
            slope = (above - below) / (2 * step)
            assert float(gradient[place]) == pytest.approx(slope, rel=1e-4, abs=1e-6), name


def test_seed_decides_weights_and_nothing_else_moves() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (BccNet(NetworkConfig(), 6, 3, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(first.input.weight, other.input.weight)


def test_size_of_the_recipe() -> None:
    net = BccNet(NetworkConfig(width=32, layers=2), 127, 6)
    assert sum(parameter.numel() for parameter in net.parameters()) == 35_590


def test_architecture_names_the_shape() -> None:
    assert architecture(NetworkConfig(width=24, layers=1), 67, 3) == "bcc-conv-f67-c24-l1-h3"


def test_refuses_no_features() -> None:
    with pytest.raises(ValueError, match="feature_count"):
        BccNet(NetworkConfig(), 0, 3)
