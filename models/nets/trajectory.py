"""Where objects go: histories to a few ways on, each an end among coarse cells and a path that is refined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Encoder = Literal["gru", "transformer"]

SPAN = 5
"""Steps over which the speed of the straight way on is taken."""
SPREAD_M = 0.8
"""Deviation of what is told of the end in training: cells near the true one are nearly right."""


def coarse_cells(half_edge_m: float, reach: int) -> NDArray[np.float64]:
    """Sites of the BCC lattice in the plane z = 0 and beside it, float64 (C, 3), metres, in the order of ids.

    half_edge_m : of the coarse cells; reach : the farthest site, in half edges along x and y
    """
    axis = range(-reach, reach + 1)
    sites = [(x, y, x % 2) for x in axis for y in axis if (x - y) % 2 == 0]
    return np.array(sites, np.float64) * half_edge_m


class Attention(nn.Module):
    """One layer of a transformer, normalised first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, y: Tensor, known: Tensor) -> Tensor:
        """y : float32 (N, S, C); known : bool (N, S). Returns float32 (N, S, C)"""
        n, steps, width = y.shape
        q, k, v = (
            self.mixed(self.before(y))
            .reshape(n, steps, 3, self.heads, width // self.heads)
            .permute(2, 0, 3, 1, 4)
        )
        heard = functional.scaled_dot_product_attention(q, k, v, attn_mask=known[:, None, None])
        y = y + self.out(heard.transpose(1, 2).reshape(n, steps, width))
        widened: Tensor = self.wide(self.between(y))
        return y + widened


class TrajectoryForecaster(nn.Module):
    """K ways on for each object.

    The last place is first told among coarse cells of the lattice, laid around where the object would be if
    it went straight on, in the object's own frame; each group of probable cells that lie near each other then
    gives a path by regression.

    encoder : of the history, ``gru`` or ``transformer``
    around_width : of what lies around; horizons_s : ascending; steps : of a history, 0.1 s each
    modes : K; half_edge_m, reach : of the coarse cells; apart_m : cells of a group lie so near to its middle
    seed : decides the weights alone; torch's global generator is untouched
    """

    cells: Tensor
    near: Tensor
    when: Tensor
    mean: Tensor
    inv_std: Tensor

    def __init__(
        self,
        *,
        encoder: Encoder,
        around_width: int,
        horizons_s: Sequence[float],
        steps: int,
        step_s: float = 0.1,
        hidden_dim: int = 64,
        num_layers: int = 2,
        modes: int = 6,
        half_edge_m: float = 0.8,
        reach: int = 16,
        apart_m: float = 1.7,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if encoder not in ("gru", "transformer"):
            raise ValueError(f"encoder: {encoder!r} must be gru or transformer")
        for name, value in (("modes", modes), ("hidden_dim", hidden_dim), ("num_layers", num_layers)):
            if value < 1:
                raise ValueError(f"{name}: {value} must be >= 1")
        if steps <= SPAN:
            raise ValueError(f"steps: {steps} must be above {SPAN}")
        self.model_config: dict[str, Any] = {
            "encoder": encoder, "around_width": around_width, "horizons_s": list(horizons_s), "steps": steps,
            "step_s": step_s, "hidden_dim": hidden_dim, "num_layers": num_layers, "modes": modes,
            "half_edge_m": half_edge_m, "reach": reach, "apart_m": apart_m,
        }  # fmt: skip
        self.encoder, self.modes, self.step_s = encoder, modes, step_s
        sites = coarse_cells(half_edge_m, reach)
        between = np.linalg.norm(sites[:, None, :2] - sites[None, :, :2], axis=2)
        self.register_buffer("cells", torch.from_numpy(sites[:, :2]).float(), persistent=False)
        self.register_buffer("near", torch.from_numpy(between <= apart_m).float(), persistent=False)
        self.register_buffer("when", torch.tensor(horizons_s).float(), persistent=False)
        self.register_buffer("mean", torch.zeros(around_width))
        self.register_buffer("inv_std", torch.ones(around_width))
        width, horizons = hidden_dim, len(horizons_s)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.step = nn.Linear(5, width)
            if encoder == "gru":
                self.gru = nn.GRU(width, width, batch_first=True)
            else:
                self.place = nn.Parameter(torch.randn(steps, width) * 0.1)
                self.layers = nn.ModuleList(Attention(width, 4) for _ in range(num_layers))
            self.rest = nn.Sequential(nn.Linear(around_width + 3, width), nn.ReLU())
            self.state = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU())
            self.end = nn.Linear(width, len(sites))
            self.refine = nn.Sequential(
                nn.Linear(width + 4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
                nn.Linear(width, 2 * horizons),
            )  # fmt: skip

    def set_scale(self, around: NDArray[np.float32]) -> None:
        """Take the scale of what lies around from examples, float32 (N, W)."""
        self.mean.copy_(torch.from_numpy(around.mean(0)))
        self.inv_std.copy_(torch.from_numpy(1 / np.maximum(around.std(0), 1e-3)))

    def forward(self, history: Tensor, known: Tensor, size: Tensor, around: Tensor) -> tuple[Tensor, Tensor]:
        """Paths float32 (N, K, T, 2), metres in the object's own frame, and probabilities float32 (N, K).

        history : float32 (N, S, 2); known : float32 (N, S); size : float32 (N, 3); around : float32 (N, W),
        all as in ``models.objects.motion.Motions``; the last SPAN + 1 steps are known
        """
        state, straight = self.encode(history, known, size, around), self.straight(history)
        ends, probability = self.choose(torch.softmax(self.end(state), 1))
        paths = [self.path(state, straight, ends[:, k]) for k in range(self.modes)]
        return torch.stack(paths, 1), probability

    def encode(self, history: Tensor, known: Tensor, size: Tensor, around: Tensor) -> Tensor:
        """State of each object, float32 (N, C)."""
        history = history * known[:, :, None]
        moved = torch.cat((torch.zeros_like(history[:, :1]), history[:, 1:] - history[:, :-1]), 1)
        both = known * torch.cat((known[:, :1] * 0, known[:, :-1]), 1)
        moved = moved * both[:, :, None] / self.step_s
        y = self.step(torch.cat((history / 10, moved / 10, known[:, :, None]), 2))
        if self.encoder == "gru":
            y = self.gru(y)[0]
        else:
            y = y + self.place
            for layer in self.layers:
                y = layer(y, known > 0)
        surround = ((around - self.mean) * self.inv_std).clamp(-5, 5)
        given = (around != 0).any(1, keepdim=True)  # all zeros: nothing is known of what lies around
        rest = self.rest(torch.cat((size / 5, surround * given), 1))
        state: Tensor = self.state(torch.cat((y[:, -1], rest), 1))
        return state

    def straight(self, history: Tensor) -> Tensor:
        """Straight on at the speed of the last steps, float32 (N, T, 2)."""
        velocity = (history[:, -1] - history[:, -1 - SPAN]) / (SPAN * self.step_s)
        return velocity[:, None] * self.when[None, :, None]

    def path(self, state: Tensor, straight: Tensor, end: Tensor) -> Tensor:
        """The path that ends about so far from the straight one, float32 (N, T, 2). end : float32 (N, 2)"""
        share = (self.when / self.when[-1]) ** 2
        refined = self.refine(torch.cat((state, end / 10, straight[:, -1] / 10), 1))
        path: Tensor = straight + end[:, None] * share[None, :, None] + refined.reshape(straight.shape)
        return path

    def choose(self, probability: Tensor) -> tuple[Tensor, Tensor]:
        """Where most of the probability lies near each other, then most of what is left, and so on.

        probability : float32 (N, C), of the cells
        Returns the mean end of each of these groups of cells, float32 (N, K, 2), and the probability of each,
        float32 (N, K), over their sum, descending. A single cell may be the likeliest by chance, and lie at
        the edge of where ends are likely; what is near a place counts together
        """
        left, ends, shares = probability, [], []
        for _ in range(self.modes):
            cell = (left @ self.near).argmax(1)
            around = left * self.near[cell]
            share = around.sum(1)
            ends.append((around @ self.cells) / share.clamp(min=1e-12)[:, None])
            shares.append(share)
            left = left - around
        share = torch.stack(shares, 1)
        return torch.stack(ends, 1), share / share.sum(1, keepdim=True)

    def loss(
        self, history: Tensor, known: Tensor, size: Tensor, around: Tensor, path: Tensor, weight: Tensor
    ) -> Tensor:
        """Cross-entropy of the end's cell, plus the error of the path through the right one; a scalar.

        path : float32 (N, T, 2), where the objects went, in their own frame
        weight : float32 (N,), of examples in the cross-entropy: less for those that come more often than they
            happen, since otherwise what is told would be likelier than it is
        """
        state, straight = self.encode(history, known, size, around), self.straight(history)
        end = path[:, -1] - straight[:, -1]
        square = ((end[:, None] - self.cells) ** 2).sum(2)
        wanted = torch.softmax(-square / (2 * SPREAD_M**2), 1)
        each = functional.cross_entropy(self.end(state), wanted, reduction="none")
        coarse = (each * weight).sum() / weight.sum()
        refined = self.path(state, straight, self.cells[square.argmin(1)])
        return coarse + functional.smooth_l1_loss(refined, path)
