"""What else is answered: the map, whether all is well, models, scores, events, labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from agents.web.labels import FILE, Label, Labels, LabelsFull
from agents.web.server import service_of
from agents.web.service import ARROW
from agents.web.world import World
from models.runtime import CPU
from native.index64 import to_text
from stream.records import Prediction
from tests.deploy.metric_lint import complaints
from tests.deploy.queries import OF_SERVERS, unresolved
from tests.web.played import Played, Still, client_of


def get(client: TestClient, path: str, status: int = 200, **params: Any) -> Any:
    answer = client.get(path, params=params)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


# ---- whether all is well -------------------------------------------------------------------------------


def test_it_is_ready_once_containers_are_live(city: Played, tmp_path: Path) -> None:
    world = World(city.world.config)
    feed = Still(world.config, tmp_path)
    client = client_of(service_of(feed, world, providers=[CPU]))
    assert get(client, "/health") == {"healthy": True}
    said = get(client, "/ready", 503)
    assert (said["ready"], said["reason"]) == (False, "no robot has a forecast yet")
    assert client.post("/predict", json={"cells": [1]}).status_code == 503
    assert get(client, "/map", 503)["detail"].startswith("no robot has a forecast yet")
    for record in city.records:
        world.fold(record)
        if isinstance(record, Prediction):
            break
    ready = get(client, "/ready")
    assert (ready["ready"], ready["robots"], ready["passes"]) == (True, ["ant"], 1)
    assert (ready["models"], ready["source"]) == ({"ant/lidar": "frequency"}, "a test")
    feed.reason = "the broker has not answered for 31 s"
    assert get(client, "/ready", 503)["detail"] == feed.reason


def test_metrics_count_requests_and_what_is_served(city: Played) -> None:
    client = city.client()
    client.post("/predict", json={"robot": "ant", "cells": [int(city.of(Prediction)[0].cell_id[0])]})
    for path in ("/models/a", "/models/b", "/explain/x/y/1", "/nothing", "/nothing/else"):
        client.get(path)
    answer = client.get("/metrics")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["octastream_web_robots",] == 2
    assert found["octastream_web_lag_records",] == 0
    assert found["octastream_web_records_total", "Prediction"] == 48
    assert found["octastream_http_predicted_cells_total",] == 1
    assert found["octastream_web_outcomes_scored_total",] > 50
    asked = {key[1:]: value for key, value in found.items() if key[0] == "octastream_http_requests_total"}
    assert asked == {
        ("/predict", "200"): 1, ("/models/{model_id}", "404"): 2, ("none", "404"): 2,
        ("/explain/{prediction_id:path}", "404"): 1,
    }  # fmt: skip
    assert found["octastream_http_request_seconds_count", "/predict"] == 1
    assert unresolved(answer.text, OF_SERVERS) == [], "what dashboard and alerts ask of a server is there"
    assert complaints(answer.text) == []


# ---- the map -------------------------------------------------------------------------------------------


def test_the_map_is_the_live_container_as_json_and_as_arrow(city: Played, client: TestClient) -> None:
    table = city.world.cells("bee")
    assert table is not None
    answer = get(client, "/map", robot="bee", ids="text")
    cells = answer["cells"]
    assert [cell["cell_id"] for cell in cells] == [to_text(int(item)) for item in table.cell_id]
    assert [cell["hits"] for cell in cells] == table.hits.tolist()
    assert [cell["passes"] for cell in cells] == table.passes.tolist()
    known = ~np.isnan(table.probability[:, 0])
    assert [cell["probability"] is not None for cell in cells] == known.tolist()
    states = {None: -1, False: 0, True: 1}
    assert [[states[state] for state in cell["outcome"]] for cell in cells] == table.outcome.tolist()
    raw = client.get("/map", params={"robot": "bee"}, headers={"accept": ARROW})
    arrow = pa.ipc.open_stream(raw.content).read_all()
    assert arrow["cell_id"].to_numpy().tobytes() == table.cell_id.tobytes()
    assert (
        arrow["probability_500ms"].drop_null().to_numpy().tobytes()
        == np.ascontiguousarray(table.probability[known, 1]).tobytes()
    )
    assert arrow["occupied_200ms"].null_count == int((table.outcome[:, 0] < 0).sum())
    assert arrow.schema.metadata[b"stamp_ns"].decode() == str(answer["stamp_ns"])


def test_the_map_is_cut_to_a_box_at_any_level(city: Played, client: TestClient) -> None:
    for lod in (7, 5, 0):
        table = city.world.cells("ant", lod)
        assert table is not None
        inside = ((table.centre >= [-6, -6, -3]) & (table.centre <= [12, 7, 3])).all(axis=1)
        answer = get(client, "/map", robot="ant", lod=lod, min="-6,-6,-3", max="12,7,3")
        assert [cell["cell_id"] for cell in answer["cells"]] == table.cell_id[inside].tolist()
        assert all((cell["passes"] is None) == (lod < 7) for cell in answer["cells"])
    low = get(client, "/map", robot="ant", max="1e3,0,0")["cells"]
    assert 0 < len(low) < len(city.world.cells("ant"))  # type: ignore[arg-type]
    near = get(client, "/map", robot="ant", frame="sensor", min="-5,-5,-5", max="5,5,5")["cells"]
    view = city.world.robot("ant").view  # type: ignore[union-attr]
    assert view is not None and near
    sensor = view.pose.reshape(3, 4)[:, 3]
    assert all(np.linalg.norm(np.array(cell["centre"]) - sensor) < 5 * 3**0.5 + 0.1 for cell in near)


@pytest.mark.parametrize(
    ("params", "status", "said"),
    [
        ({}, 422, "robot: name one of ant, bee"),
        ({"robot": "cat"}, 404, "robot: 'cat'"),
        ({"robot": "ant", "lod": 8}, 422, "lod: 8 is finer"),
        ({"robot": "ant", "lod": -1}, 422, "lod"),
        ({"robot": "ant", "lod": "x"}, 422, "lod"),
        ({"robot": "ant", "min": "1,2"}, 422, "min"),
        ({"robot": "ant", "min": "1,2,nan"}, 422, "min"),
        ({"robot": "ant", "min": "1,2,1e999"}, 422, "min"),
        ({"robot": "ant", "min": "1,2,--3"}, 422, "min: '1,2,--3' must be three numbers"),
        ({"robot": "ant", "min": "1,1,1", "max": "2,0,2"}, 422, "min: must be below max"),
        ({"robot": "ant", "frame": "base_link"}, 422, "must be 'odom' or 'sensor'"),
    ],
)
def test_a_map_that_cannot_be_had_is_told_with_the_field(
    client: TestClient, params: dict[str, Any], status: int, said: str
) -> None:
    assert said in get(client, "/map", status, **params)["detail"]


# ---- models, scores, events ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bcc-0", "frequency", "A", "%2e%2e", "champion", "a" * 129, "x%00"])
def test_a_model_that_is_not_there_is_not_found(client: TestClient, name: str) -> None:
    answer = client.get(f"/models/{name}")
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_scores_stand_beside_the_baselines(city: Played, client: TestClient) -> None:
    answer = get(client, "/scores")
    assert answer["scores"]["online"]["n"] > 0
    assert (
        answer["scores"]["online"]["log_loss"]
        == city.world.scoreboard.summary()["scores"]["online"]["log_loss"]
    )
    series = answer["series"]
    count = len(series["stamp_ns"])
    assert count > 20
    for name in ("online", "persistence", "frequency"):
        assert len(series[name]["average_precision"]) == count
    frozen = series["frozen"]["log_loss"]
    assert frozen[:3] == [None] * 3, "there is none before the warm-up has ended"
    assert sum(loss is not None for loss in frozen) > 10


def test_the_worst_regions_are_named_with_their_place(city: Played, client: TestClient) -> None:
    answer = get(client, "/regions/worst", count=4, min_rows=20)
    losses = [region["log_loss"] for region in answer["regions"]]
    assert len(losses) == 4 and losses == sorted(losses, reverse=True)
    region = answer["regions"][0]
    assert region["text"] == to_text(region["region"]) and region["n"] >= 20
    assert max(map(abs, region["centre"])) < 100
    assert get(client, "/regions/worst", 422, count=0)["detail"].startswith("query.count: ")


def test_robots_and_events_are_told(city: Played, client: TestClient) -> None:
    robots = {item["robot"]: item for item in get(client, "/robots")["robots"]}
    assert robots.keys() == {"ant", "bee"}
    newest = [item for item in city.of(Prediction) if item.robot_id == "ant"][-1]
    assert robots["ant"]["prediction_id"] == newest.prediction_id
    assert len(robots["ant"]["pose"]) == 12
    events = get(client, "/events")
    assert [event["event"] for event in events["events"]].count("activated") == 2
    assert get(client, "/events", after=events["last"]) == {"events": [], "last": events["last"]}
    assert all(event["event"] != "activated" for event in get(client, "/events", alarms=True)["events"])


# ---- labels --------------------------------------------------------------------------------------------


def test_labels_are_kept_by_cell_and_listed(city: Played, tmp_path: Path) -> None:
    service = service_of(Still(city.world.config, tmp_path), city.world, providers=[CPU])
    client = client_of(service)
    cells = city.of(Prediction)[-1].cell_id[:2].tolist()
    given = [
        {"cell_id": cells[0], "label": "car", "author": "kim", "at_ns": 7},
        {"cell_id": to_text(cells[1]), "label": "tree trunk"},
    ]
    answer = client.post("/labels", json={"labels": given})
    assert answer.status_code == 201
    assert [item["cell_id"] for item in answer.json()["labels"]] == [str(cell) for cell in cells]
    listed = get(client, "/labels")
    assert listed["count"] == 2
    assert [(item["number"], item["label"], item["author"], item["at_ns"]) for item in listed["labels"]] == [
        (1, "car", "kim", 7), (2, "tree trunk", "anybody", 0),
    ]  # fmt: skip
    assert get(client, "/labels", after=1, limit=1)["labels"] == listed["labels"][1:]
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [line["label"] for line in lines] == ["car", "tree trunk"]
    again = Labels(tmp_path)
    assert [label for _, label in again.list(0, 9)] == [Label(**line) for line in lines]
    assert again.damaged == 0


@pytest.mark.parametrize(
    "label",
    [
        {"cell_id": 7, "label": "car"},
        {"cell_id": "i3d1nonsense", "label": "car"},
        {"cell_id": 2**64, "label": "car"},
        {"cell_id": 1, "label": ""},
        {"cell_id": 1, "label": "<script>"},
        {"cell_id": 1, "label": "x" * 65},
        {"cell_id": 1, "label": "a\nb"},
        {"cell_id": 1, "label": "car", "author": "x" * 65},
        {"cell_id": 1, "label": "car", "at_ns": -1},
        {"cell_id": 1, "label": "car", "more": 1},
        {"cell_id": 1},
    ],
)
def test_a_label_that_is_none_is_refused_and_nothing_is_kept(
    city: Played, tmp_path: Path, label: dict[str, Any]
) -> None:
    client = client_of(service_of(Still(city.world.config, tmp_path), city.world, providers=[CPU]))
    good = {"cell_id": int(city.of(Prediction)[0].cell_id[0]), "label": "car"}
    answer = client.post("/labels", json={"labels": [good, label]})
    assert answer.status_code == 422, answer.text
    assert client.post("/labels", json={"labels": []}).status_code == 422
    assert not (tmp_path / FILE).exists()


def test_the_file_of_labels_is_bounded_and_survives_a_damaged_line(tmp_path: Path) -> None:
    labels = Labels(tmp_path, most=3, clock=lambda: 17)
    one = Label(cell_id="1", label="car", author="kim")
    labels.add([one])
    with pytest.raises(LabelsFull):
        labels.add([one] * 3)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"cell_id": "1", "lab')
    again = Labels(tmp_path)
    assert (len(again), again.damaged) == (1, 1)
    again.add([one])
    third = Labels(tmp_path)
    assert ([label.stamp_ns > 0 for _, label in third.list(0, 9)], third.damaged) == ([True] * 2, 1)
