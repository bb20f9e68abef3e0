"""Manifest and canary: what is refused, and that the reason is said."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from models import canary
from models.manifest import FeatureSchemaId, Manifest, ModelRefused, model_id_of, sha256_of
from models.runtime import OnnxModel
from tests.models.model_files import FEATURES, REQUIREMENTS, manifest_for, model_data

pytestmark = pytest.mark.learn


def test_json_round_trip() -> None:
    manifest = manifest_for(model_data())
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    assert Manifest.from_json(text).to_json() == text
    assert manifest.to_dict()["horizons_ns"] == [200_000_000, 500_000_000]


def test_ids_come_from_the_bytes() -> None:
    assert model_id_of(b"x") == "bcc-" + sha256_of(b"x")[:12]
    assert sha256_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": None}, "sha256"),
        ({"sha256": "abc"}, "sha256: 'abc' must be 64"),
        ({"lod": "7"}, "lod"),
        ({"extra": 1}, "extra"),
        ({"model_id": "../etc"}, "model_id: '../etc'"),
        ({"horizons_ns": [1]}, "canary.probability: 128 values, expected 64"),
        ({"feature_schema": {"name": "a", "version": 1}}, "feature_schema.hash"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, Any], message: str) -> None:
    values = manifest_for(model_data()).to_dict() | change
    with pytest.raises(ModelRefused, match=message):
        Manifest.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"model_id": "a"}', "\x00"])
def test_garbage_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ModelRefused) as caught:
        Manifest.from_json(text)
    assert "\n" not in str(caught.value)


def test_metrics_must_be_finite() -> None:
    manifest = dataclasses.replace(manifest_for(model_data()), metrics={"log_loss": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        manifest.to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lattice": "cubic"}, "lattice: model has 'bcc', this run needs 'cubic'"),
        ({"lod": 8}, "lod: model has 7, this run needs 8"),
        ({"half_edge_m": 0.25}, "half_edge_m: model has 0.4, this run needs 0.25"),
        ({"map_frame": "map"}, "map_frame: model has 'odom', this run needs 'map'"),
        ({"feature_count": 6}, "feature_count: model has 5, this run needs 6"),
        ({"horizons_ns": (1, 2)}, "horizons_ns: model has"),
        ({"feature_schema": FeatureSchemaId(name="octa-features", version=2, hash="cd")}, "feature_schema"),
    ],
)
def test_requirements(change: dict[str, Any], message: str) -> None:
    manifest = manifest_for(model_data())
    manifest.check(REQUIREMENTS)
    with pytest.raises(ModelRefused, match=message):
        manifest.check(dataclasses.replace(REQUIREMENTS, **change))


class Fixed:
    """A model that answers one value, or fails."""

    model_id = "fixed"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, x: Any, neighbor_index: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.broadcast_to(np.float32(self.answer), (len(x), 2))


def test_canary_batch_is_pinned() -> None:
    X, neighbor_index = canary.canary_batch(FEATURES, seed=3)
    again = canary.canary_batch(FEATURES, seed=3)
    assert np.array_equal(X, again[0])
    assert np.array_equal(neighbor_index, again[1])
    assert X.dtype == np.float32
    assert neighbor_index.dtype == np.int32
    assert 0 <= neighbor_index.min() <= neighbor_index.max() == canary.ROWS
    assert 0.3 < (neighbor_index == canary.ROWS).mean() < 0.7
    assert not np.array_equal(X, canary.canary_batch(FEATURES, seed=4)[0])
    assert sha256_of(X.tobytes() + neighbor_index.tobytes())[:16] == "d1e1b8878134894e"


def test_canary_reproduces_and_notices() -> None:
    data = model_data()
    manifest, model = manifest_for(data), OnnxModel("m", data)
    canary.verify(model, manifest)
    with pytest.raises(ModelRefused, match="canary is off by"):
        canary.verify(OnnxModel("m", model_data(seed=1)), manifest)
    values = list(manifest.canary.probability)
    values[-1] += 3e-5
    moved = dataclasses.replace(manifest.canary, probability=tuple(values), tolerance=1.0)
    with pytest.raises(ModelRefused, match=r"canary is off by .*, allowed 1e-05"):
        canary.verify(model, dataclasses.replace(manifest, canary=moved))


@pytest.mark.parametrize("answer", [0.5, float("nan"), ValueError("no"), RuntimeError("no")])
def test_canary_refuses_other_models(answer: Any) -> None:
    with pytest.raises(ModelRefused, match="canary"):
        canary.verify(Fixed(answer), manifest_for(model_data()))


def test_canary_seed_range() -> None:
    with pytest.raises(ValueError, match="seed"):
        canary.canary_batch(FEATURES, seed=-1)
