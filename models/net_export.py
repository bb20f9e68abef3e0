"""Any network of ``models.nets`` as an ONNX model, for the runtime class that the loop serves with.

The served network has a faster form, written node by node: ``models.export``.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import onnx
import torch
from torch import Tensor, nn

from models.nets.graph_net import Standardised
from models.signature import INDEX_INPUT, OUTPUT, X_INPUT

OPSET = 18
IR_VERSION = 9
NEIGHBORS = 14
SAMPLE_ROWS = 3

NAMES = {"features": X_INPUT, "neighbor_index": INDEX_INPUT}
"""Inputs that the runtime knows by other names than batches."""


Activation = Literal["sigmoid", "softmax", "identity"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid, "softmax": nn.Softmax(1), "identity": nn.Identity(),
}  # fmt: skip


class _Served(nn.Module):
    """The network and its activation, with the level filled in where it is one for all cells."""

    def __init__(
        self, net: Standardised, arguments: tuple[str, ...], lod: int | None, activation: Activation
    ) -> None:
        super().__init__()
        self.net, self._arguments, self._activation = net, arguments, ACTIVATIONS[activation]
        self._fixed = {} if lod is None else {"lod": lod}

    def forward(self, *inputs: Tensor) -> Tensor:
        given = dict(zip(self._arguments, inputs, strict=True))
        return self._activation(self.net(**given, **self._fixed))


def export_net(net: Standardised, *, lod: int | None = None, activation: Activation = "sigmoid") -> bytes:
    """Serialised ONNX model of a network with its present weights.

    lod : the level of all cells, for a network that reads levels; None has the model read them, int64 (N,)
    activation : from logits to ``probability``

    Inputs ``X`` float32 (N, F) and ``neighbor_index`` int32 (N, 14), and whatever else the network reads, by
    its key in a batch; output ``probability`` float32 (N, H); any N from 0. ``models.runtime.OnnxModel``
    serves what has the first two inputs only.
    Deterministic: equal networks give equal bytes, without names of files
    Raises ValueError for a level that the network does not read, or one level for a network across levels
    """
    if lod is not None and ("lod" not in net.inputs or "parent_index" in net.inputs):
        raise ValueError(f"lod: {net.name} does not read one level of all cells; leave it out")
    arguments = tuple(name for name in net.inputs if name != "lod" or lod is None)
    names = [NAMES.get(net.inputs[name], net.inputs[name]) for name in arguments]
    sample = tuple(_sample(net, net.inputs[name]) for name in arguments)
    was_training = net.training
    try:
        return traced(_Served(net, arguments, lod, activation), sample, names, [OUTPUT])
    finally:
        net.train(was_training)


def traced(
    net: nn.Module, sample: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str]
) -> bytes:
    """Serialised ONNX model of a network in evaluation, traced on a sample; first dimensions are free.

    Deterministic: equal networks give equal bytes, without names of files
    """
    was_training, buffer = net.training, io.BytesIO()
    writable: Any = buffer
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter's, of its own future and of sizes that it traces
            torch.onnx.export(
                net.eval(), sample, writable, input_names=list(inputs), output_names=list(outputs),
                dynamic_axes={name: {0: "N"} for name in (*inputs, *outputs)}, opset_version=OPSET,
                dynamo=False,
            )  # fmt: skip
    finally:
        net.train(was_training)
    return _cleaned(buffer.getvalue())


def _sample(net: Standardised, name: str) -> Tensor:
    """A few rows of one input, for tracing; every neighbour but the first is missing."""
    features = len(net.mean)
    if name == "features":
        return torch.zeros(SAMPLE_ROWS, features)
    if name == "neighbors":
        return torch.zeros(SAMPLE_ROWS, NEIGHBORS, features)
    if name == "neighbor_mask":
        return torch.zeros(SAMPLE_ROWS, NEIGHBORS, dtype=torch.bool)
    if name == "position":
        return torch.zeros(SAMPLE_ROWS, 3)
    if name == "neighbor_index":
        return torch.full((SAMPLE_ROWS, NEIGHBORS), SAMPLE_ROWS, dtype=torch.int32)
    return torch.full((SAMPLE_ROWS,), 1 if name == "lod" else SAMPLE_ROWS, dtype=torch.int64)


def _cleaned(data: bytes) -> bytes:
    """Without what the exporter notes of where and by which version it was made; checked."""
    model = onnx.load_from_string(data)
    model.producer_name, model.producer_version, model.doc_string = "octastream", "", ""
    model.ir_version = IR_VERSION
    del model.metadata_props[:]
    _strip(model.graph)
    onnx.checker.check_model(model, full_check=True)
    clean: bytes = model.SerializeToString(deterministic=True)
    return clean


def _strip(graph: Any) -> None:
    graph.doc_string = ""
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _strip(attribute.g)
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.doc_string = ""
