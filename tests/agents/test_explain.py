"""Explain: stored containers rebuild the very features of a prediction, or say that they do not."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import yaml

from agents.explain import ExplainError, explain, rebuild, run_config
from agents.in_order import epoch_of
from agents.summary import rebuild_check
from stream.config import Config, ConfigError, to_dict
from stream.features import digest, schema_of
from stream.records import Outcome, Prediction
from stream.sources.base import Item
from stream.sweep_rows import read_sweeps
from stream.tables import TableError
from tests.agents.loops import Loop, loop_of
from tests.agents.tricky import tricky_logs
from tests.agents.worlds import STREAM, config_of, drive, stamp_of, sweep_of

CONFIG = config_of()


def run_of(path: Path, items: list[Item], config: Config = CONFIG) -> Loop:
    """A run folder with its configuration."""
    loop = loop_of(config, path).run(items)
    values = to_dict(config) | {"logs": ["made up"], "versions": {"numpy": "2"}}
    loop.folder.write_text("config.yaml", yaml.safe_dump(values))
    return loop


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """A drive of 45 sweeps: two files of containers."""
    return run_of(tmp_path_factory.mktemp("explain"), drive(45))


@pytest.mark.parametrize("index", [0, 1, 12, 31, 32, 33, 44])
def test_features_of_any_prediction_are_rebuilt_to_the_bit(loop: Loop, index: int) -> None:
    made = loop.perceive.outputs(Prediction)[index]
    found = explain(loop.folder.path, made.prediction_id)
    assert found.matches
    assert found.digest_stored == found.digest_rebuilt == made.feature_digest
    assert (found.model_id, found.stamp_ns, found.horizons_ns) == (
        made.model_id,
        made.stamp_ns,
        made.horizons_ns,
    )
    assert found.cells == len(made.cell_id)
    assert np.array_equal(found.cell_id, made.cell_id)
    assert np.array_equal(found.probability, made.probability)
    assert found.names == schema_of(CONFIG).names
    assert found.features.shape == (found.cells, len(found.names))
    assert found.half_edge_m == CONFIG.grid.half_edge_m


def test_outcomes_are_laid_out_by_cell_and_horizon(loop: Loop) -> None:
    made = loop.perceive.outputs(Prediction)[20]
    found = explain(loop.folder.path, made.prediction_id)
    expected = np.full(made.probability.shape, -1, np.int8)
    for outcome in loop.judge.outputs(Outcome):
        if outcome.prediction_id == made.prediction_id:
            expected[outcome.row, made.horizons_ns.index(outcome.horizon_ns)] = outcome.occupied
    assert (expected >= 0).any(axis=0).all()
    assert (expected == -1).any()
    assert np.array_equal(found.occupied, expected)
    last = explain(loop.folder.path, loop.perceive.outputs(Prediction)[-1].prediction_id)
    assert (last.occupied == -1).all()


def test_the_rebuild_check_counts_cells(loop: Loop) -> None:
    counts = rebuild_check(loop.folder, CONFIG)
    assert counts["checked"] == counts["identical"] > 8 * 100


@pytest.mark.parametrize("name", list(tricky_logs()))
def test_whatever_the_order_every_prediction_is_rebuilt(tmp_path: Path, name: str) -> None:
    loop = run_of(tmp_path, tricky_logs()[name])
    made = loop.perceive.outputs(Prediction)
    assert len(made) > 1
    assert loop.learn.agent.skewed == 0
    for prediction in made:
        found = explain(tmp_path, prediction.prediction_id)
        assert found.matches, prediction.prediction_id
        assert np.array_equal(found.probability, prediction.probability)


def test_a_robot_that_was_forgotten_and_came_back_is_explained_without_what_it_saw_before(
    tmp_path: Path,
) -> None:
    items: list[Item] = [*drive(9), sweep_of(4.6, stream_id="other/lidar")]
    items.sort(key=lambda item: getattr(item, "stamp_ns", 0))
    loop = run_of(tmp_path, items, config_of("limits.max_robots=1"))
    made = [record for record in loop.perceive.outputs(Prediction) if record.robot_id == "robot"]
    epochs = {epoch_of(record.seq) for record in made}
    assert len(epochs) > 1
    for prediction in made:
        assert explain(tmp_path, prediction.prediction_id).matches, prediction.prediction_id


@pytest.mark.parametrize("name", ["robot/lidar/1", "", "nonsense", "robot/other/5000000000"])
def test_a_prediction_that_is_not_there_is_one_line(loop: Loop, name: str) -> None:
    with pytest.raises(ExplainError, match="not in this run") as caught:
        explain(loop.folder.path, name)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not a run folder \(no config\.yaml\)"):
        explain(tmp_path, f"{STREAM}/1")
    for text, words in (
        ("", "is empty; put back"),
        ("[]", "expected a mapping"),
        ("!!int ''", "not a readable"),
    ):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(ConfigError, match=rf"config\.yaml: {words}"):
            explain(tmp_path, f"{STREAM}/1")


def test_a_runs_configuration_is_read_without_what_is_said_beside_it(loop: Loop) -> None:
    assert run_config(loop.folder) == CONFIG


def test_missing_containers_are_said(tmp_path: Path) -> None:
    loop = run_of(tmp_path, drive(4))
    made = loop.perceive.outputs(Prediction)[-1]
    for path in (tmp_path / "containers").iterdir():
        path.unlink()
    with pytest.raises(ExplainError, match="no stored container for this sweep"):
        explain(tmp_path, made.prediction_id)


def test_other_containers_do_not_match(tmp_path: Path) -> None:
    """Plausible containers of another drive: the digest tells."""
    loop = run_of(tmp_path / "a", drive(8))
    run_of(tmp_path / "b", [item for item in drive(8) if getattr(item, "stamp_ns", 0) != stamp_of(3)])
    part = "containers/part-00000.arrow"
    (tmp_path / "a" / part).write_bytes((tmp_path / "b" / part).read_bytes())
    made = loop.perceive.outputs(Prediction)[-1]
    assert not explain(tmp_path / "a", made.prediction_id).matches


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # arithmetic on what damage makes of numbers
def test_a_flipped_bit_is_an_error_and_never_other_features(tmp_path: Path) -> None:
    loop = run_of(tmp_path, drive(10))
    made = loop.perceive.outputs(Prediction)[-1]
    whole = explain(tmp_path, made.prediction_id)
    path = tmp_path / "containers" / "part-00000.arrow"
    data, rng = path.read_bytes(), random.Random(8)
    seen = {"error": 0, "unread": 0}
    for _ in range(70):
        damaged = bytearray(data)
        place = rng.choice(
            [rng.randrange(len(data)), rng.randrange(4000), len(data) - 1 - rng.randrange(4000)]
        )
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = explain(tmp_path, made.prediction_id)
        except (ExplainError, TableError) as error:
            assert "\n" not in str(error)
            seen["error"] += 1
            continue
        assert found.matches  # a byte of another sweep, or one that nothing is read from
        assert found.features.tobytes() == whole.features.tobytes()
        assert np.array_equal(found.cell_id, whole.cell_id)
        seen["unread"] += 1
    assert min(seen.values()) > 5, seen


@pytest.mark.parametrize("keep", [0, 7, 100, 5000])
def test_a_file_cut_short_is_an_error(tmp_path: Path, keep: int) -> None:
    loop = run_of(tmp_path, drive(3))
    path = tmp_path / "containers" / "part-00000.arrow"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TableError, match=r"part-00000\.arrow: damaged"):
        explain(tmp_path, loop.perceive.outputs(Prediction)[-1].prediction_id)


def test_rebuild_gives_features_and_their_schema(loop: Loop) -> None:
    made = loop.perceive.outputs(Prediction)[7]
    features, schema = rebuild(loop.folder, CONFIG, made.stream_id, made.stamp_ns)
    assert digest(features) == made.feature_digest
    assert schema == schema_of(CONFIG)
    stored = read_sweeps(loop.folder.path).to_pylist()[7]
    assert stored["feature_digest"] == made.feature_digest
