"""Configuration: defaults, files and overrides; every mistake is one line that names the field."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.config import Config, ConfigError, NetworkConfig, load_config, parse_config, to_dict

GROUPS = [
    field.name
    for field in dataclasses.fields(Config)
    if dataclasses.is_dataclass(getattr(Config(), field.name))
]


def test_the_defaults_are_those_that_scores_rest_on() -> None:
    config = load_config()
    assert config == Config()
    assert config.grid.half_edge_m == 0.4
    assert (config.grid.range_min_m, config.grid.range_max_m) == (3.0, 40.0)
    assert (config.window.bin_ns, config.window.bins) == (100_000_000, 10)
    assert config.task.horizons_ns == (200_000_000, 500_000_000, 1_000_000_000)
    assert (config.task.primary_horizon_ns, config.task.primary) == (500_000_000, 1)
    assert config.task.warmup_sweeps == 30


@pytest.mark.parametrize(
    ("settings_", "expected"),
    [((), 11), (("task.horizons_ns=[500000000]",), 6), (("window.bin_ns=300000000",), 5)],
)
def test_cells_are_kept_for_the_longest_horizon(settings_: tuple[str, ...], expected: int) -> None:
    config = load_config(None, list(settings_))
    assert config.keep_bins == expected
    assert (config.keep_bins - 1) * config.window.bin_ns >= config.task.horizons_ns[-1]


def test_plain_values_go_there_and_back() -> None:
    config = load_config(
        None,
        [
            "grid.lod=8",
            "learn.challengers={wide: {width: 64}}",
            "grid.frame_ids.site=9",
            "mask.ego_box_m=[-1, -1, -1, 2, 1, 0.5]",
            "mask.drop_sectors_deg=[[170, -170], [30, 40.5]]",
            "learn.prior=none",
            "learn.normalisers={x: raw}",
            "learn.normalisers.coarse1_*=min_max",
        ],
    )
    assert config.mask.ego_box_m == (-1, -1, -1, 2, 1, 0.5)
    assert config.mask.drop_sectors_deg == ((170, -170), (30, 40.5))
    assert config.learn.challengers == {"wide": NetworkConfig(width=64)}
    assert config.learn.normalisers == {"x": "raw", "coarse1_*": "min_max"}
    assert config.grid.frame_ids["site"] == 9
    assert config.grid.frame_ids["map"] == 1
    assert parse_config(yaml.safe_load(yaml.safe_dump(to_dict(config)))) == config


def test_overrides_come_after_the_file_and_state_only_differences(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("seed: 4\ngrid:\n  lod: 8\n  tier: 2\n")
    config = load_config(path, ["grid.lod=9", "learn.enabled=false"])
    assert (config.seed, config.grid.lod, config.grid.tier, config.learn.enabled) == (4, 9, 2, False)
    assert config.grid.range_max_m == Config().grid.range_max_m
    path.write_text("")
    assert load_config(path) == Config()


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("grid.lod=16", "grid.lod"),
        ("grid.lod=x", "grid.lod"),
        ("grid.tier=4", "grid.tier"),
        ("grid.half_edge_lod0_m=0", "grid.half_edge_lod0_m"),
        ("grid.half_edge_lod0_m=.nan", "grid.half_edge_lod0_m"),
        ("grid.half_edge_lod0_m=.inf", "grid.half_edge_lod0_m"),
        ("grid.range_min_m=40", "grid.range_min_m"),
        ("grid.range_max_m=.inf", "grid.range_max_m"),
        ("grid.intensity_max=0", "grid.intensity_max"),
        ("grid.miss_range_m=0", "grid.miss_range_m"),
        ("grid.miss_range_m=10001", "grid.miss_range_m"),
        ("grid.miss_range_m=.nan", "grid.miss_range_m"),
        ("mask.ego_box_m=[0, 0, 0, 1, 1]", "mask.ego_box_m"),
        ("mask.ego_box_m=[0, 0, 1, 1, 1, 1]", "mask.ego_box_m"),
        ("mask.ego_box_m=[0, 0, 0, 1, 1, .inf]", "mask.ego_box_m"),
        ("mask.ego_box_m=[0, 0, 0, 1, .nan, 1]", "mask.ego_box_m"),
        ("mask.ego_box_m=3", "mask.ego_box_m"),
        ("mask.ego_frame=''", "mask.ego_frame"),
        ("mask.drop_sectors_deg=[[10, 10]]", "mask.drop_sectors_deg"),
        ("mask.drop_sectors_deg=[[-180, 180]]", "mask.drop_sectors_deg"),
        ("mask.drop_sectors_deg=[[0, 361]]", "mask.drop_sectors_deg"),
        ("mask.drop_sectors_deg=[[0, .nan]]", "mask.drop_sectors_deg"),
        ("mask.drop_sectors_deg=[[1, 2, 3]]", "mask.drop_sectors_deg"),
        ("mask.drop_sectors_deg=[10, 20]", "mask.drop_sectors_deg"),
        ("mask.miss_beyond_m=0", "mask.miss_beyond_m"),
        ("mask.miss_beyond_m=.inf", "mask.miss_beyond_m"),
        ("mask.miss_beyond_m=39", "grid.miss_range_m"),
        ("mask.box=1", "mask.box"),
        ("grid.frame_ids.site=256", "grid.frame_ids.site"),
        ("grid.nope=1", "grid.nope"),
        ("nope=1", "nope"),
        ("grid=3", "grid"),
        ("seed=-1", "seed"),
        ("seed=9223372036854775808", "seed"),
        ("log_features=1.01", "log_features"),
        ("window.bins=0", "window.bins"),
        ("window.bins=65", "window.bins"),
        ("window.bin_ns=0", "window.bin_ns"),
        ("window.max_records=1", "window.max_records"),
        ("window.max_cells=0", "window.max_cells"),
        ("task.horizons_ns=[]", "task.horizons_ns"),
        ("task.horizons_ns=[2, 1]", "task.horizons_ns"),
        ("task.horizons_ns=[1, 1]", "task.horizons_ns"),
        ("task.horizons_ns=[0, 500000000]", "task.horizons_ns"),
        ("task.primary_horizon_ns=1", "task.primary_horizon_ns"),
        ("task.tolerance_ns=0", "task.tolerance_ns"),
        ("task.warmup_sweeps=-1", "task.warmup_sweeps"),
        ("task.region_levels=-1", "task.region_levels"),
        ("pose.max_gap_ns=0", "pose.max_gap_ns"),
        ("pose.history=-1", "pose.history"),
        ("limits.max_robots=0", "limits.max_robots"),
        ("limits.max_streams=0", "limits.max_streams"),
        ("limits.max_frames=1", "limits.max_frames"),
        ("limits.max_robots=many", "limits.max_robots"),
        ("network.width=0", "network.width"),
        ("network.layers=17", "network.layers"),
        ("learn.steps_per_sweep=0", "learn.steps_per_sweep"),
        ("learn.budget_ms=0", "learn.budget_ms"),
        ("learn.learning_rate=.nan", "learn.learning_rate"),
        ("learn.weight_decay=-1", "learn.weight_decay"),
        ("learn.warmup_steps=-5", "learn.warmup_steps"),
        ("learn.auxiliary_weight=-3", "learn.auxiliary_weight"),
        ("learn.guard_margin=.nan", "learn.guard_margin"),
        ("learn.newest_share=1.1", "learn.newest_share"),
        ("learn.hard_share=-0.1", "learn.hard_share"),
        ("learn.averaging=-0.1", "learn.averaging"),
        ("learn.sector_degrees=361", "learn.sector_degrees"),
        ("learn.normalisers.range=log", "learn.normalisers.range"),
        ("learn.normalisers=raw", "learn.normalisers"),
        ("learn.normalisers.range=raw", "learn.normalisers"),
        ("grid.lod.x=2", "grid.lod"),
        ("learn.challengers={wide: {width: 0}}", "network.width"),
        ("grid", "--set grid"),
        ("=1", "--set =1"),
        ("grid.lod=[", "--set grid.lod"),
    ],
)
def test_a_value_that_cannot_be_is_one_line_that_names_the_field(override: str, names: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [override])
    text = str(caught.value)
    assert text.startswith(names)
    assert "\n" not in text


@pytest.mark.parametrize("overrides", [["seed=1", "seed.x=2"], ["grid.lod=7", "grid.lod.x=1"]])
def test_a_key_below_a_value_is_a_mistake(overrides: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides)
    assert "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(
    overrides=st.lists(
        st.one_of(
            st.text(max_size=12),
            st.builds(
                "{}={}".format,
                st.sampled_from(["seed", "grid.lod", "task", "learn.x", ""]),
                st.text(max_size=8),
            ),
        ),
        max_size=3,
    )
)
def test_whatever_is_set_gives_a_configuration_or_one_line(overrides: list[str]) -> None:
    try:
        config = load_config(None, overrides)
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(config, Config)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"- 1\n- 2\n", "mapping"),
        (b"{", "not a readable YAML file"),
        (b"\xff\xfe\x00\x01", "not a readable YAML file"),
        (b"42", "mapping"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line_with_its_path(
    tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert says in text
    assert "\n" not in text


def test_a_missing_file_is_one_line_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_refuses_unknown_keys(group: str) -> None:
    with pytest.raises(ConfigError, match=rf"{group}\.not_a_key"):
        load_config(None, [f"{group}.not_a_key=1"])


@pytest.mark.parametrize("prior", ["shipped", "runs/mine"])
def test_a_prior_brings_its_own_scale(prior: str) -> None:
    wanted = ["learn.normalisers.range=raw", f"learn.prior={prior}"]
    with pytest.raises(ConfigError, match=rf"prior '{prior}'.* --from-scratch \(learn\.prior=none\)"):
        load_config(None, wanted)
    assert load_config(None, [*wanted, "learn.prior=none"]).learn.normalisers == {"range": "raw"}


def test_deskewing_is_off_with_and_without_quotes() -> None:
    assert load_config().sweep.deskew == "auto"
    for text in ("off", "'off'", "false"):
        assert load_config(None, [f"sweep.deskew={text}"]).sweep.deskew == "off"
    with pytest.raises(ConfigError, match=r"sweep\.deskew.*'auto' or 'off'"):
        load_config(None, ["sweep.deskew=on"])


def test_configurations_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().seed = 1  # type: ignore[misc]
