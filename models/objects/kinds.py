"""Classes of objects."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Kind = Literal["car", "cyclist", "pedestrian", "truck"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Classes, by code."""
SIZES = np.array([[4.5, 1.9, 1.6], [1.75, 0.6, 1.75], [0.55, 0.55, 1.75], [7.0, 2.2, 2.9]])
"""Usual length, width and height of each class, metres."""
