"""Networks on objects as ONNX models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from models.net_export import traced
from models.nets.convolution import BCCConvolution
from models.nets.trajectory import TrajectoryForecaster
from models.objects.detector import DETECT_INPUTS, DETECT_OUTPUTS
from models.objects.kinds import KINDS
from models.objects.onnx_models import FORECAST_INPUTS, FORECAST_OUTPUTS, METADATA


def export_forecaster(net: TrajectoryForecaster, pooled_from: Mapping[str, Any]) -> bytes:
    """Serialised ONNX model of a forecaster with its present weights, for ``ForecastModel``; any N from 1.

    pooled_from : as of ``models.objects.surroundings``, what it has learnt from; others refuse it
    Deterministic: equal networks give equal bytes, without names of files
    """
    config = net.model_config
    sample = (
        torch.zeros(2, config["steps"], 2), torch.ones(2, config["steps"]), torch.ones(2, 3),
        torch.ones(2, config["around_width"]),
    )  # fmt: skip
    facts = {
        "kind": "trajectories", "horizons_s": config["horizons_s"], "encoder": config["encoder"],
        "pooled_from": dict(pooled_from),
    }  # fmt: skip
    return export(net, sample, FORECAST_INPUTS, FORECAST_OUTPUTS, facts)


def export_detector(net: BCCConvolution) -> bytes:
    """Serialised ONNX model of a detector, for ``DetectorModel``; deterministic as ``export_forecaster``."""
    sample = (torch.zeros(3, len(net.mean)), torch.full((3, 14), 3, dtype=torch.int32))
    return export(net, sample, DETECT_INPUTS, DETECT_OUTPUTS, {"kind": "objects", "classes": list(KINDS)})


def export(
    net: nn.Module,
    sample: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    facts: Mapping[str, Any],
) -> bytes:
    """A network traced on a sample; first dimensions are free. facts : written into the file"""
    model = onnx.load_from_string(traced(net, sample, inputs, outputs))
    model.metadata_props.add(key=METADATA, value=json.dumps(dict(facts), sort_keys=True))
    data: bytes = model.SerializeToString(deterministic=True)
    return data
