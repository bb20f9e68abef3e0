"""Loading: everything that is not a sound model is refused, with a reason in one line."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from models.export import export_graph, with_weights
from models.manifest import ModelRefused
from models.nets.bcc_conv import BccNet
from models.probability import GRID
from models.runtime import ModelFailed, OnnxModel
from stream.config import NetworkConfig
from tests.models.model_files import FEATURES, model_data
from tests.models.sweeps import random_inputs

pytestmark = pytest.mark.learn

DATA = model_data()


def graph(
    nodes: list[Any], x: list[Any], index: list[Any], out: list[Any], index_type: int = TensorProto.INT32
) -> bytes:
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [
                helper.make_tensor_value_info("X", TensorProto.FLOAT, x),
                helper.make_tensor_value_info("neighbor_index", index_type, index),
            ],
            [helper.make_tensor_value_info("probability", TensorProto.FLOAT, out)],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    data: bytes = model.SerializeToString()
    return data


def one_node(op: str) -> list[Any]:
    return [helper.make_node(op, ["X"], ["probability"])]


def test_predicts_on_the_grid() -> None:
    model = OnnxModel("bcc-1", DATA)
    X, neighbor_index = random_inputs(np.random.default_rng(0), 50, FEATURES)
    probability = model.predict(X, neighbor_index)
    assert (model.model_id, model.feature_count, model.horizon_count) == ("bcc-1", FEATURES, 2)
    assert probability.dtype == np.float32
    k = probability.astype(np.float64) * GRID
    assert np.array_equal(k, np.rint(k))
    assert np.array_equal(probability, model.predict(X, neighbor_index))
    assert np.array_equal(probability, OnnxModel("bcc-2", DATA).predict(X, neighbor_index))


def test_accepts_any_memory_order() -> None:
    model = OnnxModel("m", DATA)
    X, neighbor_index = random_inputs(np.random.default_rng(0), 50, FEATURES)
    strided = np.asfortranarray(X), np.asfortranarray(neighbor_index)
    assert np.array_equal(model.predict(*strided), model.predict(X, neighbor_index))


@pytest.mark.fault(29, 30)
def test_refuses_what_is_no_model() -> None:
    with pytest.raises(ModelRefused, match="m: the file is empty"):
        OnnxModel("m", b"")
    for data in (b"\x00", b"garbage" * 100, DATA[: len(DATA) // 2], DATA[:-1], DATA[100:]):
        with pytest.raises(ModelRefused) as caught:
            OnnxModel("m", data)
        assert str(caught.value).startswith("m: ")
        assert "\n" not in str(caught.value)


@pytest.mark.fault(31)
@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.integers(0, 7))
def test_a_flipped_bit_never_crashes(place: int, bit: int) -> None:
    damaged = bytearray(DATA)
    damaged[place] ^= 1 << bit
    try:
        model = OnnxModel("m", bytes(damaged))
        model.predict(*random_inputs(np.random.default_rng(0), 20, model.feature_count))
    except (ModelRefused, ModelFailed) as error:
        assert "\n" not in str(error)


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (graph(one_node("Sigmoid"), ["N", 3], ["N", 13], ["N", 3]), "neighbor_index: .* 13"),
        (graph(one_node("Sigmoid"), ["N", 3], ["N", 14], ["N", 3], TensorProto.INT64), "int64"),
        (graph(one_node("Sigmoid"), ["N", "F"], ["N", 14], ["N", "F"]), "X: "),
        (graph(one_node("Sigmoid"), [8, 3], ["N", 14], [8, 3]), "X: "),
        (graph(one_node("Sqrt"), ["N", 3], ["N", 14], ["N", 3]), "not finite in .* of 64 cells"),
        (graph(one_node("Neg"), ["N", 3], ["N", 14], ["N", 3]), "outside 0..1"),
    ],
)
def test_refuses_another_signature(data: bytes, message: str) -> None:
    with pytest.raises(ModelRefused, match=message):
        OnnxModel("m", data)


def test_a_sigmoid_may_round_above_one() -> None:
    """ONNX Runtime's does, by a unit in the last place; anything more is no probability."""
    for above, fine in ((np.float32(1 + 2**-23), True), (np.float32(1.001), False)):
        limits = [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("low", 0), ("high", above))]
        nodes = [helper.make_node("Constant", [], [limit.name], value=limit) for limit in limits]
        nodes.append(helper.make_node("Clip", ["X", "low", "high"], ["probability"]))
        data = graph(nodes, ["N", 3], ["N", 14], ["N", 3])
        if fine:
            X = np.full((2, 3), 9, np.float32)
            probability = OnnxModel("m", data).predict(X, np.full((2, 14), 2, np.int32))
            assert (probability == np.float32(1 - 1 / GRID)).all()
        else:
            with pytest.raises(ModelRefused, match=r"outside 0\.\.1"):
                OnnxModel("m", data)


def test_refuses_other_names() -> None:
    model = onnx.load_from_string(DATA)
    model.graph.input[0].name = "points"
    renamed = [helper.make_node("Sigmoid", ["points"], ["probability"])]
    del model.graph.node[:]
    model.graph.node.extend(renamed)
    with pytest.raises(ModelRefused, match=r"inputs \['neighbor_index', 'points'\]"):
        OnnxModel("m", model.SerializeToString())


def test_refuses_bad_inputs() -> None:
    model = OnnxModel("m", DATA)
    X, neighbor_index = random_inputs(np.random.default_rng(0), 5, FEATURES)
    with pytest.raises(ValueError, match=r"x: expected float32 \(5, 5\), got float64"):
        model.predict(X.astype(np.float64), neighbor_index)
    with pytest.raises(ValueError, match=r"x: expected float32 \(5, 5\), got float32 \(5, 4\)"):
        model.predict(np.ascontiguousarray(X[:, :4]), neighbor_index)
    with pytest.raises(ValueError, match=r"neighbor_index: expected int32 \(5, 14\), got int32 \(4, 14\)"):
        model.predict(X, neighbor_index[:4])


@pytest.mark.fault(32)
def test_fails_loudly_at_run_time() -> None:
    model = OnnxModel("m", DATA)
    X, neighbor_index = random_inputs(np.random.default_rng(0), 5, FEATURES)
    bad = X.copy()
    bad[2, 1] = np.nan
    with pytest.raises(ModelFailed, match=r"m: output is not finite in [1-5] of 5 cells"):
        model.predict(bad, neighbor_index)
    beyond = neighbor_index.copy()
    beyond[0, 0] = 6
    with pytest.raises(ModelFailed, match="m: inference failed"):
        model.predict(X, beyond)
    model.predict(X, neighbor_index)  # and lives on


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.fault(33)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_loading_model_after_model_does_not_leak() -> None:
    net = BccNet(NetworkConfig(), 64, 3)
    template = export_graph(net)
    weights = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    X, neighbor_index = random_inputs(np.random.default_rng(0), 2000, 64)

    def swap(times: int) -> None:
        for place in range(times):
            weights["output.bias"][:] = place
            OnnxModel("m", with_weights(template, weights)).predict(X, neighbor_index)
        gc.collect()

    swap(10)
    before = resident_bytes()
    swap(40)
    assert resident_bytes() - before < 24 << 20  # one model's arena is 4 MiB: 40 would be 160
