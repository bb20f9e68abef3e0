"""A forecaster of trajectories that has learnt nothing, and reads all that it is given."""

from __future__ import annotations

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.objects.motion import HORIZONS_S, STEPS
from models.objects.onnx_models import FORECAST_INPUTS, FORECAST_OUTPUTS, METADATA
from models.objects.surroundings import WIDTH, pooled_from
from stream.config import load_config

WAYS = 3
SHAPES = {"history": (STEPS, 2), "known": (STEPS,), "size": (3,), "around": (WIDTH,)}


def forecaster(kind: str = "trajectories", *settings: str) -> bytes:
    """An ONNX file: everything read as one vector, times fixed numbers, gives paths and probabilities.

    settings : of the configuration that it says it has learnt with
    """
    dice, horizons = np.random.default_rng(4), len(HORIZONS_S)
    width = sum(int(np.prod(shape)) for shape in SHAPES.values())
    constants = {
        "flat_shape": np.array([0, -1], np.int64),
        "path_shape": np.array([0, WAYS, horizons, 2], np.int64),
        "to_path": dice.normal(0, 0.3, (width, WAYS * horizons * 2)).astype(np.float32),
        "to_ways": dice.normal(0, 0.05, (width, WAYS)).astype(np.float32),
    }
    nodes = [
        *(helper.make_node("Reshape", [name, "flat_shape"], [f"{name}_flat"]) for name in FORECAST_INPUTS),
        helper.make_node("Concat", [f"{name}_flat" for name in FORECAST_INPUTS], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "to_path"], ["path_flat"]),
        helper.make_node("Reshape", ["path_flat", "path_shape"], ["path"]),
        helper.make_node("MatMul", ["all", "to_ways"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probability"], axis=1),
    ]
    outputs = dict(zip(FORECAST_OUTPUTS, [(WAYS, horizons, 2), (WAYS,)], strict=True))
    inputs, answers = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in of.items()]
        for of in (SHAPES, outputs)
    )
    stored = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "forecaster", inputs, answers, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    pooled = pooled_from(load_config(None, settings))
    facts = {"kind": kind, "horizons_s": HORIZONS_S, "pooled_from": pooled}
    model.metadata_props.add(key=METADATA, value=json.dumps(facts))
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
