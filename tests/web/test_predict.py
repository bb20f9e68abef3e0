"""/predict: the bits that Perceive has logged, for any way to ask; and what cannot be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from agents.web.service import ARROW
from native.index64 import ancestor, decode, encode, to_text
from stream.records import Binned, Prediction
from tests.data import data_path
from tests.web.played import Played, play, post

KITTI = "kitti_0005_000-053.mcap"
Rows = list[dict[str, Any]]


def ask(client: TestClient, question: dict[str, Any], status: int = 200) -> dict[str, Any]:
    return post(client, "/predict", question, status)


def bits(rows: Rows) -> bytes:
    """Probabilities of rows as Perceive has them."""
    return np.array([row["probability"] for row in rows], np.float32).tobytes()


def newest(played: Played, robot: str) -> Prediction:
    found: Prediction = [item for item in played.of(Prediction) if item.robot_id == robot][-1]
    return found


# ---- the same bits -------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.learn
@pytest.mark.slow
def test_what_is_answered_is_what_perceive_logged_bit_for_bit(tmp_path: Path) -> None:
    """On recorded sweeps, under a network that is trained on the way: passed on, and made anew from the live
    container by the same features and the same ONNX class, each while its sweep is the newest."""
    asked: dict[str, dict[str, Any]] = {}

    def watch(played: Played, record: Any) -> None:
        if isinstance(record, Prediction):
            client = clients.setdefault("all", played.client())
            passed = ask(client, {"robot": "car"})
            made = ask(client, {"robot": "car", "compute": True})
            assert passed["predictions"] == made["predictions"]
            assert [item["computed"] for item in passed["forecasts"] + made["forecasts"]] == [False, True]
            asked[record.prediction_id] = made

    clients: dict[str, TestClient] = {}
    learning = ["learn.enabled=true", "learn.steps_per_sweep=1"]
    played = play([(str(data_path(KITTI)), "car")], tmp_path / "run", learning, sweeps=9, watch=watch)
    predictions = played.of(Prediction)
    assert len(predictions) == len(asked) == 9
    models = {prediction.model_id for prediction in predictions}
    assert len(models) > 3 and any(model.startswith("bcc-") for model in models)
    stored = pq.read_table(tmp_path / "run" / "predictions")
    for prediction in predictions:
        answer = asked[prediction.prediction_id]
        assert answer["model"] == prediction.model_id
        rows = answer["predictions"]
        assert [row["cell_id"] for row in rows] == prediction.cell_id.tolist()
        assert bits(rows) == prediction.probability.tobytes()
        own = stored.filter(pa.compute.equal(stored["prediction_id"], prediction.prediction_id))
        for column, horizon in enumerate(answer["horizons_ns"]):
            logged = own.filter(pa.compute.equal(own["horizon_ns"], horizon)).sort_by("cell_id")
            served = np.array([row["probability"][column] for row in rows], np.float32)
            assert served.tobytes() == logged["probability"].to_numpy().tobytes()


def test_another_model_answers_for_the_same_cells(city: Played, client: TestClient) -> None:
    prediction = newest(city, "bee")
    answer = ask(client, {"robot": "bee", "model": "frequency"})
    assert bits(answer["predictions"]) == prediction.probability.tobytes()
    assert answer["forecasts"][0]["computed"]
    refused = ask(client, {"robot": "bee", "model": "bcc-000000000000"}, 404)
    assert "bcc-000000000000: not in the registry" in refused["detail"]
    for name in ("../models", "/etc/passwd", "..", ".", "bcc-0\u0000"):
        assert "not a model id" in ask(client, {"robot": "bee", "model": name}, 404)["detail"]


def test_arrow_has_the_same_bits(city: Played, client: TestClient) -> None:
    prediction = newest(city, "ant")
    answer = client.post("/predict", json={"robot": "ant"}, headers={"accept": f"{ARROW}, */*;q=0.1"})
    assert answer.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table["cell_id"].to_numpy().tobytes() == prediction.cell_id.tobytes()
    assert table["probability_500ms"].to_numpy().tobytes() == prediction.probability[:, 1].tobytes()
    assert table.schema.metadata[b"prediction_id"].decode() == prediction.prediction_id
    assert table.schema.metadata[b"model"] == b"frequency"


# ---- ways to ask ---------------------------------------------------------------------------------------


def test_cells_come_in_the_order_asked_as_they_were_named(city: Played, client: TestClient) -> None:
    prediction = newest(city, "bee")
    ids = prediction.cell_id[[7, 3, 5, 3]].tolist()
    named = [ids[0], to_text(ids[1]), to_text(ids[2]).upper(), ids[3]]
    answer = ask(client, {"cells": named, "robot": "bee"})
    assert [row["cell_id"] for row in answer["predictions"]] == named
    assert bits(answer["predictions"]) == prediction.probability[[7, 3, 5, 3]].tobytes()
    assert answer["latency_ms"] > 0
    assert answer["model"] == "frequency"


def test_a_cell_that_nobody_forecast_is_null_and_not_free(city: Played, client: TestClient) -> None:
    far = int(encode(np.array([[-30000, 0, 0]], np.int32), frame=2, tier=0, lod=7)[0])
    known = int(newest(city, "bee").cell_id[0])
    rows = ask(client, {"cells": [far, known], "robot": "bee"})["predictions"]
    assert rows[0] == {"cell_id": far, "probability": None}
    assert rows[1]["probability"] is not None


def test_without_a_robot_every_one_is_asked_and_says_so(city: Played, client: TestClient) -> None:
    ant, bee = newest(city, "ant"), newest(city, "bee")
    answer = ask(client, {"cells": ant.cell_id[:50].tolist()})
    assert {item["robot"] for item in answer["forecasts"]} == {"ant", "bee"}
    for row in answer["predictions"]:
        source = {"ant": ant, "bee": bee}[row["robot"]]
        place = int(np.searchsorted(source.cell_id, np.uint64(row["cell_id"])))
        assert np.float32(row["probability"]).tobytes() == source.probability[place].tobytes()


def test_regions_hold_the_cells_whose_centre_lies_in_them(city: Played, client: TestClient) -> None:
    prediction = newest(city, "ant")
    pose = next(item for item in city.of(Binned) if item.prediction_id == prediction.prediction_id).pose
    centres = decode(prediction.cell_id).sites * city.world.config.grid.half_edge_m
    rotation, sensor = pose.reshape(3, 4)[:, :3], pose.reshape(3, 4)[:, 3]
    away = np.linalg.norm(centres - sensor, axis=1)
    box = {"min": [-8, -3, -3], "max": [9, 6, 2]}
    own = np.array([rotation.T @ (centre - sensor) for centre in centres])
    expected = {
        "radius_m": away <= 9,
        "sphere": np.linalg.norm(centres - [4, 1, 0], axis=1) <= 11,
        "box": ((centres >= box["min"]) & (centres <= box["max"])).all(axis=1),
        "sensor": ((own >= box["min"]) & (own <= box["max"])).all(axis=1),
    }
    questions: dict[str, dict[str, Any]] = {
        "radius_m": {"radius_m": 9},
        "sphere": {"sphere": {"centre": [4, 1, 0], "radius_m": 11}, "frame": "odom"},
        "box": {"box": box},
        "sensor": {"box": box, "frame": "sensor"},
    }
    for name, question in questions.items():
        rows = ask(client, {"robot": "ant", **question})["predictions"]
        inside = expected[name]
        assert 0 < inside.sum() < len(inside), name
        assert [row["cell_id"] for row in rows] == prediction.cell_id[inside].tolist(), name
        assert bits(rows) == prediction.probability[inside].tobytes(), name


def test_a_coarser_level_has_the_likeliest_of_its_cells_however_it_is_asked_for(
    city: Played, client: TestClient
) -> None:
    prediction = newest(city, "ant")
    parents = ancestor(prediction.cell_id, 5)
    rows = ask(client, {"robot": "ant", "radius_m": 12, "lod": 5, "ids": "text"})["predictions"]
    assert 1 < len(rows) < len(np.unique(parents))
    again = ask(client, {"robot": "ant", "cells": [row["cell_id"] for row in rows]})["predictions"]
    assert again == rows
    numbers = ask(client, {"robot": "ant", "radius_m": 12, "lod": 5})["predictions"]
    for row in numbers:
        children = prediction.probability[parents == np.uint64(row["cell_id"])]
        assert np.float32(row["probability"]).tolist() == children.max(axis=0).tolist()
    mixed = [rows[0]["cell_id"], int(prediction.cell_id[0])]
    found = ask(client, {"robot": "ant", "cells": mixed})["predictions"]
    assert bits(found[1:]) == prediction.probability[:1].tobytes()
    assert found[0] == rows[0]


# ---- what cannot be asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "status", "said"),
    [
        ({}, 422, "nothing is asked for"),
        ({"cells": [1], "radius_m": 2, "robot": "ant"}, 422, "cells and radius_m: give one of them"),
        ({"cells": ["i3d1nonsense"]}, 422, "cells.0: 'i3d1nonsense'"),
        ({"cells": [7]}, 422, "cells: "),
        ({"cells": [-1]}, 422, "cells"),
        ({"cells": [2**64]}, 422, "cells"),
        ({"cells": [1.5]}, 422, "cells"),
        ({"cells": [True]}, 422, "cells"),
        ({"cells": [None]}, 422, "cells"),
        ({"cells": "all"}, 422, "cells: 'all'"),
        ({"cells": [1], "lod": 3}, 422, "lod: cells have their own"),
        ({"radius_m": 3}, 422, "robot: is needed"),
        ({"robot": "cat"}, 404, "robot: 'cat' has no forecast; those that have: ant, bee"),
        ({"robot": "../ant"}, 404, "robot: '../ant' has no forecast"),
        ({"robot": "ant", "radius_m": 0}, 422, "radius_m: 0"),
        ({"robot": "ant", "radius_m": "inf"}, 422, "radius_m"),
        ({"robot": "ant", "lod": 8}, 422, "lod: 8 is finer than the grid, which has LOD 7"),
        ({"robot": "ant", "lod": 16}, 422, "lod: 16"),
        ({"robot": "ant", "frame": "base_link", "radius_m": 3}, 422, "must be 'odom' or 'sensor'"),
        ({"box": {"min": [0, 0, 0], "max": [1, -1, 1]}}, 422, "box: min.y 0 is above max.y -1"),
        ({"box": {"min": [0, 0], "max": [1, 1, 1]}}, 422, "box.min"),
        ({"robot": "ant", "colour": "red"}, 422, "colour"),
    ],
)
def test_what_cannot_be_asked_is_told_with_the_field(
    client: TestClient, question: dict[str, Any], status: int, said: str
) -> None:
    assert said in ask(client, question, status)["detail"]


def test_cells_of_another_map_or_level_are_refused(city: Played, client: TestClient) -> None:
    site = np.zeros((1, 3), np.int32)
    for frame, tier, lod, said in (
        (1, 0, 7, "is in frame 1, tier 0; the map frame 'odom' is frame 2, tier 0"),
        (2, 1, 7, "tier 1"),
        (2, 0, 9, "has LOD 9; forecasts are of LOD 7 and coarser"),
    ):
        cell = int(encode(site, frame=frame, tier=tier, lod=lod)[0])
        assert said in ask(client, {"cells": [cell]}, 422)["detail"]


def test_an_answer_and_a_question_have_bounded_sizes(city: Played) -> None:
    client = city.client(most_cells=10)
    cells = newest(city, "ant").cell_id[:11].tolist()
    assert "11 are more than the 10" in ask(client, {"cells": cells}, 413)["detail"]
    assert len(ask(client, {"cells": cells[:10]})["predictions"]) == 10
    assert "more than the 10 of one answer" in ask(client, {"robot": "ant"}, 413)["detail"]
    assert client.get("/map", params={"robot": "ant"}).status_code == 413


@pytest.mark.parametrize("body", ["", "{", "[]", "nul", '{"cells": [' + "[" * 2000, '"\\ud800"', b"\xff\xfe"])
def test_a_body_that_is_no_json_is_a_problem(client: TestClient, body: str | bytes) -> None:
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
