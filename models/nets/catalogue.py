"""The networks by name, and a network again from what a file says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from models.nets.attention import BCCAttention
from models.nets.bcc_model import BCCModel
from models.nets.convolution import BCCConvolution
from models.nets.cross_lod import BCCCrossLOD
from models.nets.graph_net import Standardised
from models.nets.transformer import BCCTransformer

NETS: dict[str, Callable[..., Standardised]] = {
    net.name: net for net in (BCCModel, BCCConvolution, BCCAttention, BCCTransformer, BCCCrossLOD)
}


def build_net(model_config: Mapping[str, Any], *, seed: int = 0) -> Standardised:
    """A network with fresh weights.

    model_config : ``name``, one of NETS, and the arguments of its class, as in ``net.model_config``
    seed : of the weights
    Raises ValueError for a name or an argument that does not exist, or a value out of range
    """
    arguments = dict(model_config)
    name = arguments.pop("name", None)
    if name not in NETS:
        raise ValueError(f"model_config.name: {name!r} must be one of {', '.join(NETS)}")
    try:
        return NETS[name](**arguments, seed=seed)
    except TypeError as error:  # of an argument that the class does not take, or lacks
        raise ValueError(f"model_config: {name} does not take {arguments}: {error}") from error
