"""Inputs and output of every model file: export needs torch, runtime must not, both need these."""

from __future__ import annotations

X_INPUT = "X"
"""float32 (N, F), raw features."""

INDEX_INPUT = "neighbor_index"
"""int32 (N, 14), rows of X, N where there is no neighbour."""

OUTPUT = "probability"
"""float32 (N, H)."""
