"""Networks on graphs: what they see, what each can learn, and that they compute what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.nets.attention import BCCAttention
from models.nets.bcc_conv import BccNet
from models.nets.bcc_model import BCCModel
from models.nets.catalogue import NETS, build_net
from models.nets.convolution import BCCConvolution
from models.nets.cross_lod import BCCCrossLOD
from models.nets.graph_net import Standardised
from models.nets.neighborhood import gather, patch_index, patch_offsets, taps
from models.nets.parents import parent_rows
from models.nets.receptive_field import receptive_field
from models.nets.transformer import BCCTransformer
from native.index64 import decode, parent
from native.lattice import distance
from native.search import within_rings
from stream.config import NetworkConfig
from tests.models.made_graphs import arguments, ball, graph_of, random_batch, two_levels

pytestmark = pytest.mark.learn

SHAPE: dict[str, Any] = {"feature_count": 5, "output_count": 2, "hidden_dim": 16, "num_layers": 2}


LONE = torch.zeros(1, 5), torch.ones(1, 14, dtype=torch.int64)
"""One cell without neighbours."""

FOUR = np.ones(4, np.float32)


def net_of(name: str, **changes: Any) -> Standardised:
    return build_net({"name": name, **SHAPE, **changes}, seed=3)


# ---- what they see -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rings", [1, 2, 3])
def test_a_patch_of_a_full_ball_is_its_rings(rings: int) -> None:
    cells = ball(7)
    index = patch_index(graph_of(cells)["neighbor_index"], rings).numpy()
    sites = decode(cells).sites
    centre = int(np.flatnonzero((sites == 0).all(1))[0])
    np.testing.assert_array_equal(sites[index[centre]], patch_offsets(rings))
    steps = distance(patch_offsets(rings), np.zeros_like(patch_offsets(rings)))
    assert steps.tolist() == sorted(steps.tolist())  # the nearest ring first
    around = within_rings(cells, cells, rings)
    np.testing.assert_array_equal((index < len(cells)).sum(1), np.diff(around.starts.astype(np.int64)))


def test_a_patch_reaches_only_over_present_cells() -> None:
    cells = ball(6)
    sites = decode(cells).sites
    keep = (np.abs(sites).sum(1) == 0) | (sites[:, 0] >= 3)  # an island beyond a gap
    index = patch_index(graph_of(np.ascontiguousarray(cells[keep]))["neighbor_index"], 2)
    centre = int(np.flatnonzero((sites[keep] == 0).all(1))[0])
    assert (index[centre] < int(keep.sum())).sum() == 1  # itself


def test_columns_of_a_patch_are_those_of_the_table_first() -> None:
    index = graph_of(ball(4))["neighbor_index"]
    assert torch.equal(patch_index(index, 2)[:, :15], taps(index))
    assert torch.equal(patch_index(index, 1), taps(index))


def seen_from_centre(net: Standardised, cells: np.ndarray) -> np.ndarray:
    """Which cells change the answer for the middle one, by gradients of random features."""
    graph = graph_of(cells)
    sites, lod = decode(cells).sites, graph["lod"].numpy()
    centre = int(np.flatnonzero((sites == 0).all(1) & (lod == lod.max()))[0])
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(len(cells), 5)).astype(np.float32))
    features.requires_grad_()
    net(**arguments(net, graph | {"features": features}))[centre].sum().backward()
    assert features.grad is not None
    return (features.grad != 0).any(1).numpy()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("convolution", {}),
        ("attention", {}),
        ("attention", {"num_layers": 3}),
        ("transformer", {"num_layers": 1, "rings": 2}),
        ("transformer", {"num_layers": 2, "rings": 1}),
    ],
)
def test_the_receptive_field_is_what_gradients_say(name: str, changes: dict[str, int]) -> None:
    net, cells = net_of(name, hidden_dim=64, **changes), ball(8)
    seen = seen_from_centre(net, cells)
    sites = decode(cells).sites
    steps = distance(sites, np.zeros_like(sites))
    field = receptive_field(net, 0.4)
    np.testing.assert_array_equal(seen, steps <= field.rings)
    assert field.lods == 0
    reach = 0.4 * np.linalg.norm(sites[seen], axis=1).max()
    assert field.metres == pytest.approx(reach)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_receptive_field_across_levels(layers: int) -> None:
    net, fine = net_of("cross_lod", hidden_dim=64, num_layers=layers), ball(6 * layers)
    cells = np.unique(
        np.concatenate([fine, parent(fine), parent(parent(fine)), parent(parent(parent(fine)))])
    )
    seen = seen_from_centre(net, cells)
    graph, field = graph_of(cells), receptive_field(net, 0.4)
    assert (field.rings, field.lods) == (layers, layers)
    assert set(graph["lod"][torch.from_numpy(seen)].tolist()) == set(range(7 - layers, 8))
    position = graph["position"].numpy()
    reach = np.linalg.norm(position[seen], axis=1).max()
    assert field.metres / 2 < reach <= field.metres + 1e-6  # how far, depends on where parents lie
    sites = decode(cells).sites
    own = seen & (graph["lod"].numpy() == 7)
    steps = distance(sites, np.zeros_like(sites))
    assert own[(steps <= 1) & (graph["lod"].numpy() == 7)].all()


def test_receptive_fields_of_the_others() -> None:
    assert receptive_field(BccNet(NetworkConfig(layers=3), 5, 2), 0.4).rings == 3
    assert receptive_field(net_of("bcc_model", num_layers=4), 0.4).rings == 1
    with pytest.raises(TypeError, match="Linear is no network"):
        receptive_field(nn.Linear(1, 1), 0.4)
    with pytest.raises(ValueError, match="half_edge_m: 0 must be above 0"):
        receptive_field(net_of("attention"), 0)


def test_parents_are_found_in_any_order() -> None:
    cells = np.random.default_rng(0).permutation(two_levels(4))
    rows = parent_rows(cells)
    lod = decode(cells).lod
    assert (lod[rows[lod == 7]] == 6).all()
    np.testing.assert_array_equal(cells[rows[lod == 7]], parent(cells[lod == 7]))
    assert (rows[lod == 6] == len(cells)).all()
    assert len(parent_rows(cells[:0])) == 0
    assert parent_rows(ball(2, lod=0)).tolist() == [len(ball(2))] * len(ball(2))


# ---- what each can learn -------------------------------------------------------------------------------


def explained(
    net: nn.Module, graph: dict[str, Tensor], target: Callable[[Tensor], Tensor], steps: int
) -> float:
    """Share of a function's variance that a network explains on new features after so many steps."""
    generator = torch.Generator().manual_seed(1)
    count = len(graph["neighbor_index"])
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        features = torch.randn(count, 2, generator=generator)
        said = net(**arguments(net, graph | {"features": features}))[:, 0]
        loss = (said - target(features)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    error, variance = 0.0, 0.0
    with torch.no_grad():
        for _ in range(10):
            features = torch.randn(count, 2, generator=generator)
            said, wanted = net(**arguments(net, graph | {"features": features}))[:, 0], target(features)
            error += (said - wanted).square().sum().item()
            variance += wanted.square().sum().item()  # the mean of all these functions is 0
    return 1 - error / variance


def small(name: str, **changes: Any) -> Standardised:
    shape = {"feature_count": 2, "hidden_dim": 16, "num_layers": 1, **changes}
    return build_net({"name": name, **shape}, seed=3)


def shuffled_columns(graph: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same neighbours of each cell, but in an order that says nothing of where they lie."""
    order = torch.rand(len(graph["neighbor_index"]), 14, generator=torch.Generator().manual_seed(0)).argsort(
        1
    )
    return graph | {"neighbor_index": graph["neighbor_index"].gather(1, order)}


@pytest.mark.long
def test_convolution_learns_a_difference_two_rings_wide() -> None:
    graph = graph_of(ball(6))
    x, back = patch_column((4, 0, 0)), patch_column((-4, 0, 0))
    patch = patch_index(graph["neighbor_index"], 2)

    def target(features: Tensor) -> Tensor:
        return gather(features[:, :1], patch)[:, [x, back], 0] @ torch.tensor([1.0, -1.0])

    assert explained(small("convolution", num_layers=2), graph, target, 200) > 0.85
    assert explained(small("convolution", num_layers=1), graph, target, 40) < 0.1  # one ring is too few


def patch_column(offset: tuple[int, int, int]) -> int:
    """Column of an offset among those of two rings."""
    return patch_offsets(2).tolist().index(list(offset))


def directed_choice(graph: dict[str, Tensor], rings: int, by_key: float) -> Callable[[Tensor], Tensor]:
    """Values of a patch, weighted by keys and by how far ahead in x they lie."""
    patch = patch_index(graph["neighbor_index"], rings)
    ahead = torch.from_numpy(patch_offsets(rings)[:, 0]).float()

    def target(features: Tensor) -> Tensor:
        key, value = gather(features, patch).unbind(-1)
        weight = (by_key * key + ahead).masked_fill(patch == len(patch), float("-inf")).softmax(1)
        return (weight * value).sum(1)

    return target


@pytest.mark.long
def test_attention_learns_a_choice_by_content_and_direction() -> None:
    graph = graph_of(ball(5))
    target = directed_choice(graph, 1, by_key=2)
    assert explained(small("attention"), graph, target, 200) > 0.9
    assert explained(small("attention"), shuffled_columns(graph), target, 200) < 0.75  # it needs directions


@pytest.mark.long
def test_a_transformer_learns_to_look_two_rings_ahead() -> None:
    graph = graph_of(ball(5))
    target = directed_choice(graph, 2, by_key=0)
    assert explained(small("transformer", rings=2), graph, target, 200) > 0.8
    assert explained(small("transformer", rings=1), graph, target, 80) < 0.3  # that is too near


@pytest.mark.long
def test_a_transformer_tells_levels_apart() -> None:
    graph = graph_of(two_levels(5))
    sign = torch.where(graph["lod"] == 7, 1.0, -1.0)
    assert explained(small("transformer", rings=1), graph, lambda features: sign, 40) > 0.95
    alike = graph | {"lod": torch.full_like(graph["lod"], 7)}
    assert explained(small("transformer", rings=1), alike, lambda features: sign, 40) < 0.8


def test_messages_cross_levels() -> None:
    cells = two_levels(5)
    graph = graph_of(cells)
    up, fine = graph["parent_index"], graph["lod"] == 7

    def target(features: Tensor) -> Tensor:
        """Of a fine cell what its parent holds, of a coarse one the mean of its children."""
        total, count = (
            torch.zeros(len(cells) + 1).index_add(0, up, value)
            for value in (features[:, 0], torch.ones(len(up)))
        )
        return torch.where(fine, gather(features[:, :1], up)[:, 0], total[:-1] / count[:-1].clamp(min=1))

    assert explained(small("cross_lod", hidden_dim=24), graph, target, 150) > 0.85
    assert explained(small("convolution"), graph, target, 40) < 0.1  # levels do not touch there


def test_gathered_neighbours_give_a_gradient_in_space() -> None:
    generator = torch.Generator().manual_seed(0)
    net = BCCModel(16, 1, feature_count=2, seed=1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for step in range(201):
        features, neighbors = (
            torch.randn(256, 2, generator=generator),
            torch.randn(256, 14, 2, generator=generator),
        )
        wanted = neighbors[:, 8, 0] - neighbors[:, 9, 0]  # +x and -x
        error = (net(features, neighbors)[:, 0] - wanted).square().mean()
        if step < 200:
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
    assert error.item() < 0.1  # of a variance of 2, on features it has not seen


# ---- what they compute ---------------------------------------------------------------------------------


def test_attention_is_the_formula() -> None:
    net = BCCAttention(feature_count=3, hidden_dim=8, num_layers=1, heads=2, seed=5).double()
    graph = graph_of(ball(3))
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(len(graph["lod"]), 3)))
    block, index = net.blocks[0], taps(graph["neighbor_index"])
    with torch.no_grad():
        y = net.start(features)
        normed = block.norm(y)
        to_score, to_value = block.offset().chunk(2, 1)
        rows = []
        for cell, near in enumerate(index.tolist()):
            heads = []
            for head in (slice(0, 4), slice(4, 8)):
                present = [(place, row) for place, row in enumerate(near) if row < len(y)]
                pairs = [
                    block.receiver(normed[cell]) + block.sender(normed[row]) + to_score[p]
                    for p, row in present
                ]
                scores = [
                    float(nn.functional.leaky_relu(pair, 0.2)[head] @ block.score[head.start // 4])
                    for pair in pairs
                ]
                weight = np.exp(scores) / np.exp(scores).sum()
                values = [(block.value(normed[row]) + to_value[p])[head] for p, row in present]
                heads.append(sum(w * v for w, v in zip(weight, values, strict=True)))
            rows.append(block.mix(torch.cat(heads)))
        expected = net.finish(y + torch.relu(torch.stack(rows)))
        np.testing.assert_allclose(net(features, graph["neighbor_index"]), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NETS)
def test_weights_follow_from_the_seed_and_leave_torch_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    first, again = (build_net({"name": name, **SHAPE}, seed=3).state_dict() for _ in range(2))
    other = build_net({"name": name, **SHAPE}, seed=4).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", NETS)
def test_a_network_again_from_its_configuration(name: str) -> None:
    net = net_of(name, dropout=0.25)
    twin = build_net(net.model_config)
    assert twin.model_config == net.model_config
    twin.load_state_dict(net.state_dict())
    batch = random_batch(0, 40, 5)
    with torch.no_grad():
        assert torch.equal(net.eval()(**arguments(net, batch)), twin.eval()(**arguments(twin, batch)))


@pytest.mark.parametrize("name", NETS)
def test_computed_again_or_kept_gradients_are_the_same(name: str) -> None:
    """And what is kept is less; dropout draws the same."""
    found: list[tuple[list[Tensor], int]] = []
    for again in (False, True):
        net, kept = net_of(name, dropout=0.3, num_layers=4).train(), [0]
        net.gradient_checkpointing = again

        def keep(tensor: Tensor, kept: list[int] = kept) -> Tensor:
            kept[0] += tensor.numel()
            return tensor

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                answer = net(**arguments(net, random_batch(0, 200, 5)))
            answer.square().sum().backward()
        found.append(([p.grad for p in net.parameters() if p.grad is not None], kept[0]))
    assert all(torch.equal(a, b) for a, b in zip(found[0][0], found[1][0], strict=True))
    assert found[1][1] < 0.7 * found[0][1]


@pytest.mark.parametrize("name", NETS)
def test_features_are_standardised_inside(name: str) -> None:
    net, batch = net_of(name).eval(), random_batch(0, 30, 5)
    with torch.no_grad():
        plain = net(**arguments(net, batch))
        net.set_scale(np.full(5, 7, np.float32), np.full(5, 0.5, np.float32))
        moved = batch | {"features": 2 * batch["features"] + 7, "neighbors": 2 * batch["neighbors"] + 7}
        np.testing.assert_allclose(net(**arguments(net, moved)), plain, rtol=1e-4, atol=1e-5)


def test_absent_neighbours_do_not_count_whatever_the_scale() -> None:
    net, batch = BCCModel(8, 1, feature_count=5), random_batch(0, 30, 5)
    net.set_scale(np.full(5, 7, np.float32), np.ones(5, np.float32))
    with torch.no_grad():
        by_mask = net(batch["features"], batch["neighbors"], batch["neighbor_mask"])
        assert torch.equal(by_mask, net(batch["features"], batch["neighbors"]))
        junk = torch.where(batch["neighbor_mask"][..., None], batch["neighbors"], 99.0)
        assert torch.equal(by_mask, net(batch["features"], junk, batch["neighbor_mask"]))


def test_one_level_may_be_a_number() -> None:
    net, batch = net_of("transformer").eval(), random_batch(0, 20, 5)
    with torch.no_grad():
        net.level.normal_(generator=torch.Generator().manual_seed(0))
        one = net(batch["features"], batch["neighbor_index"], lod=6)
        assert torch.equal(one, net(batch["features"], batch["neighbor_index"], lod=torch.full((20,), 6)))
        assert not torch.equal(one, net(batch["features"], batch["neighbor_index"], lod=7))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BCCModel(0, 1, feature_count=5), "hidden_dim: 0 must be >= 1"),
        (lambda: BCCConvolution(feature_count=5, dropout=1.0), "dropout: 1.0 must be 0..1"),
        (lambda: BCCAttention(feature_count=5, hidden_dim=10), "heads: 4 must divide hidden_dim 10"),
        (lambda: BCCTransformer(feature_count=5, rings=4), "rings: 4 must be 1..3"),
        (lambda: BCCCrossLOD(feature_count=5, half_edge_lod0_m=0), "half_edge_lod0_m: 0 must be above 0"),
        (lambda: build_net({"name": "gnn"}), "model_config.name: 'gnn' must be one of bcc_model, "),
        (lambda: build_net({"name": "attention", "rings": 2}), "model_config: attention does not take"),
        (lambda: net_of("transformer")(*LONE), "lod: this network tells"),
        (lambda: net_of("cross_lod")(*LONE), "positions: needed"),
        (lambda: net_of("attention").set_scale(FOUR, FOUR), r"mean: expected \(5,\)"),
        (lambda: patch_offsets(4), "rings: 4 must be 0..3"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
