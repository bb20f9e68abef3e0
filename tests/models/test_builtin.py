"""The built-in model, and that serving needs neither torch nor onnx nor river."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.manifest import ModelRefused
from models.online.builtin import FrequencyModel
from models.probability import quantise
from tests.data import ROOT

NAMES = ("range", "observed_bins", "hit_bins")


def test_counts_hits_among_observed_bins() -> None:
    model = FrequencyModel(NAMES, horizons=3)
    x = np.float32([[1, 10, 10], [2, 10, 0], [3, 0, 0], [4, 7, 3]])
    probability = model.predict(x, np.full((4, 14), 4, np.int32))
    expected = quantise(np.float32([11 / 12, 1 / 12, 1 / 2, 4 / 9]))
    assert model.model_id == "frequency"
    assert probability.dtype == np.float32
    assert probability.shape == (4, 3)
    for column in range(3):
        assert np.array_equal(probability[:, column], expected)


def test_no_cells() -> None:
    model = FrequencyModel(NAMES, horizons=2)
    assert model.predict(np.empty((0, 3), np.float32), np.empty((0, 14), np.int32)).shape == (0, 2)


def test_refuses_a_schema_without_its_columns() -> None:
    with pytest.raises(ModelRefused, match=r"\['hit_bins'\] are not in this schema"):
        FrequencyModel(("range", "observed_bins"), horizons=3)
    with pytest.raises(ValueError, match=r"x: expected \(N, 3\)"):
        FrequencyModel(NAMES, horizons=3).predict(np.empty((1, 2), np.float32), np.empty((1, 14), np.int32))


SERVE = """
import sys
from pathlib import Path

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnx", "river", "sklearn"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Block())
from models.manifest import ModelRefused, ModelRequirements, FeatureSchemaId
from models.online.builtin import FrequencyModel
from models.online import linear
from models.training import standard
from models.registry import ModelRegistry
from models.canary import canary_batch
registry = ModelRegistry(Path(sys.argv[1]))
(model_id,) = registry.list()
manifest = registry.manifest(model_id)
requirements = ModelRequirements(
    lod=7, half_edge_m=0.4, map_frame="odom", feature_schema=manifest.feature_schema,
    feature_count=5, horizons_ns=manifest.horizons_ns,
)
print(registry.load(model_id, requirements).predict(*canary_batch(5, 1)).shape)
try:
    linear.OnlineLinear(5)
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.mark.learn
def test_serves_without_the_learning_packages(tmp_path: Path) -> None:
    from tests.models.test_registry import stored

    stored(tmp_path)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", SERVE, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["(64, 2)", "No module named 'river'"]
