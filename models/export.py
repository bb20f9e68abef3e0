"""The network as an ONNX graph: built once per architecture, then filled with weights.

The graph is written node by node instead of traced, so that its names are those of the weights, its bytes
depend on nothing but the architecture and the weights, and it has the fastest form that was measured: the
cell itself is a 15th column of the index table, so a layer is one gather and one matmul, and both run over
blocks of ``BLOCK_ROWS`` rows whose gathered values stay in the L2 cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.nets.bcc_conv import CLIP, NEIGHBORS, TAPS, BccNet
from models.signature import INDEX_INPUT, OUTPUT, X_INPUT

OPSET = 18
IR_VERSION = 9
BLOCK_ROWS = 256
"""256 rows x 15 taps x 32 channels are 480 KiB; 64 to 512 measured alike, the whole table 15 % slower."""


class _Graph:
    """Nodes and constants of a graph under construction; a node is named after its only output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        self.nodes.append(
            helper.make_node(
                "Constant", [], [name], name=name, value=numpy_helper.from_array(np.asarray(value))
            )
        )
        return name


def export_graph(net: BccNet, activation: str = "Sigmoid") -> bytes:
    """Serialised ONNX model of the network with its present weights.

    activation : operator from the outputs of the network to ``probability``, over its columns

    Inputs ``X`` float32 (N, F) and ``neighbor_index`` int32 (N, 14), rows of X, N where there is no
    neighbour; output ``probability`` float32 (N, H); any N from 0. Initialisers are exactly the entries of
    ``net.state_dict()``, by name, and nothing else. Deterministic: equal nets give equal bytes.
    """
    weights = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
    width, features = weights["input.weight"].shape
    horizons = len(weights["output.weight"])
    layers = len(net.blocks)
    graph = _Graph()
    _index_blocks(graph)
    states = [_input_layer(graph)]
    for layer in range(layers):
        states.append(_block(graph, layer, width, states[-1]))
    _output_layer(graph, width, states, activation)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "bcc_conv",
            [
                helper.make_tensor_value_info(X_INPUT, TensorProto.FLOAT, ["N", features]),
                helper.make_tensor_value_info(INDEX_INPUT, TensorProto.INT32, ["N", NEIGHBORS]),
            ],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", horizons])],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="octastream",
    )
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def weights_of(data: bytes) -> dict[str, NDArray[np.float32]]:
    """Initialisers of an exported model by name: what ``with_weights`` takes and a trainer loads."""
    model = onnx.load_from_string(data)
    return {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}


def with_weights(template: bytes, weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    """The same graph with other weights: what an update publishes.

    template : from ``export_graph``
    weights : every initialiser of the template by name, float32, finite, same shape
    Returns deterministic bytes; with the template's own weights, the template itself
    Raises ValueError naming the weight that is missing, unknown, misshapen or not finite
    """
    model = onnx.load_from_string(template)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    unknown, missing = sorted(set(weights) - set(initializers)), sorted(set(initializers) - set(weights))
    if unknown or missing:
        raise ValueError(
            f"weights: unknown {unknown}, missing {missing}; give those of the same architecture"
        )
    for name, tensor in initializers.items():
        value, shape = np.asarray(weights[name]), tuple(tensor.dims)
        if value.dtype != np.float32 or value.shape != shape:
            raise ValueError(f"weights[{name}]: expected float32 {shape}, got {value.dtype} {value.shape}")
        if not np.isfinite(value).all():
            raise ValueError(f"weights[{name}]: holds values that are not finite; training has diverged")
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _index_blocks(graph: _Graph) -> None:
    """``tap_blocks`` int32 (blocks, BLOCK_ROWS, 15): own row, then neighbours; padded by a row at least."""
    graph.constant("zero", np.int64(0))
    graph.constant("one", np.int64(1))
    graph.constant("axis_0", np.array([0], np.int64))
    graph.constant("axis_1", np.array([1], np.int64))
    graph.constant("block_rows", np.array([BLOCK_ROWS], np.int64))
    graph.add("Shape", [X_INPUT], "rows", end=1)
    graph.add("Squeeze", ["rows"], "row_count")
    graph.add("Range", ["zero", "row_count", "one"], "own_row")
    graph.add("Cast", ["own_row"], "own_row_int32", to=TensorProto.INT32)
    graph.add("Unsqueeze", ["own_row_int32", "axis_1"], "own_column")
    graph.add("Concat", ["own_column", INDEX_INPUT], "taps", axis=1)
    graph.add("Mod", ["rows", "block_rows"], "last_rows")
    graph.add("Sub", ["block_rows", "last_rows"], "padding")  # 1..BLOCK_ROWS: Scan cannot run zero times
    graph.add("Concat", ["axis_0", "axis_0", "padding", "axis_0"], "pads", axis=0)
    graph.add("Pad", ["taps", "pads", graph.constant("padding_row", np.int32(0))], "padded_taps")
    graph.constant("block_shape", np.array([-1, BLOCK_ROWS, TAPS], np.int64))
    graph.add("Reshape", ["padded_taps", "block_shape"], "tap_blocks")


def _input_layer(graph: _Graph) -> str:
    graph.add("Sub", [X_INPUT, "mean"], "centred")
    graph.add("Mul", ["centred", "inv_std"], "scaled")
    low, high = graph.constant("clip_low", np.float32(-CLIP)), graph.constant("clip_high", np.float32(CLIP))
    graph.add("Clip", ["scaled", low, high], "standard")
    graph.add("Gemm", ["standard", "input.weight", "input.bias"], "input", transB=1)
    return graph.add("Relu", ["input"], "state_0")


def _block(graph: _Graph, layer: int, width: int, state: str) -> str:
    """``state + ReLU(Linear(gather(LayerNorm(state))))``, the gather and matmul block by block."""
    if layer == 0:
        graph.constant("missing", np.zeros((1, width), np.float32))
        graph.constant("flat_shape", np.array([BLOCK_ROWS, TAPS * width], np.int64))
        graph.constant("state_shape", np.array([-1, width], np.int64))
    prefix = f"blocks.{layer}"
    norm = [f"{prefix}.norm.weight", f"{prefix}.norm.bias"]
    graph.add("LayerNormalization", [state, *norm], f"{prefix}.norm", axis=-1, epsilon=1e-5)
    table = graph.add("Concat", [f"{prefix}.norm", "missing"], f"{prefix}.table", axis=0)  # row N is zero
    body = _Graph()
    body.add("Gather", [table, "block"], "gathered", axis=0)
    body.add("Reshape", ["gathered", "flat_shape"], "flat")
    body.add("Gemm", ["flat", f"{prefix}.linear.weight", f"{prefix}.linear.bias"], "linear", transB=1)
    body.add("Relu", ["linear"], "step")
    scan_body = helper.make_graph(
        body.nodes,
        f"{prefix}.body",
        [helper.make_tensor_value_info("block", TensorProto.INT32, [BLOCK_ROWS, TAPS])],
        [helper.make_tensor_value_info("step", TensorProto.FLOAT, [BLOCK_ROWS, width])],
    )
    graph.add("Scan", ["tap_blocks"], f"{prefix}.steps", body=scan_body, num_scan_inputs=1)
    graph.add("Reshape", [f"{prefix}.steps", "state_shape"], f"{prefix}.padded")
    graph.add("Slice", [f"{prefix}.padded", "axis_0", "rows", "axis_0"], f"{prefix}.step")
    return graph.add("Add", [state, f"{prefix}.step"], f"state_{layer + 1}")


def _output_layer(graph: _Graph, width: int, states: list[str], activation: str) -> None:
    """The linear map of all states together, as a sum over states: they need not be copied side by side."""
    total = "output.bias"
    for place, state in enumerate(states):
        first = graph.constant(f"output.{place}.first", np.array([place * width], np.int64))
        last = graph.constant(f"output.{place}.last", np.array([(place + 1) * width], np.int64))
        part = graph.add("Slice", ["output.weight", first, last, "axis_1"], f"output.{place}.weight")
        total = graph.add("Gemm", [state, part, total], f"output.{place}", transB=1)
    graph.add(activation, [total], OUTPUT)
