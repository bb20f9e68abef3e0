"""The short way of /predict: what it answers, and what it leaves to the long one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from native.index64 import ancestor, decode, encode, to_text
from stream.records import Prediction
from tests.web.played import Played

HEAD = {"content-type": "application/json"}


def newest(played: Played) -> Prediction:
    found: Prediction = [item for item in played.of(Prediction) if item.robot_id == "bee"][-1]
    return found


def unforecast(played: Played) -> int:
    """A cell of the same level, which nothing was forecast of."""
    there = newest(played).cell_id
    step = np.array([[2000, 0, 0]], np.int32)
    parts = decode(there[:1])
    far = encode(
        parts.sites + step, frame=int(parts.frame[0]), tier=int(parts.tier[0]), lod=int(parts.lod[0])
    )
    assert not np.isin(far, there).any()
    return int(far[0])


def questions(played: Played) -> dict[str, dict[str, Any]]:
    cells = newest(played).cell_id[:20].tolist()
    return {
        "cells": {"cells": cells},
        "of one robot": {"cells": cells, "robot": "bee"},
        "texts": {"cells": [to_text(cell) for cell in cells], "robot": "bee"},
        "texts and integers": {"cells": [cells[0], to_text(cells[1])]},
        "none": {"cells": []},
        "not in the forecast": {"cells": [*cells, unforecast(played)], "robot": "bee"},
        "nothing else": {"cells": [unforecast(played)], "robot": "bee"},
    }


def test_both_ways_answer_the_same(city: Played) -> None:
    short, long = city.client(), city.client()
    for name, question in questions(city).items():
        quick = short.post("/predict", json=question)
        slow = long.post("/predict", json=question, headers={"content-type": "application/vnd.octa+json"})
        assert (quick.status_code, slow.status_code) == (200, 200), name
        assert quick.json() | {"latency_ms": 0} == slow.json() | {"latency_ms": 0}, name
        assert quick.headers["content-type"] == slow.headers["content-type"]
        assert quick.headers["x-content-type-options"] == "nosniff"


def test_what_is_not_small_or_wrong_takes_the_long_way(city: Played, client: TestClient) -> None:
    coarse = int(ancestor(newest(city).cell_id[:1], 5)[0])
    for question in ({"cells": [coarse]}, {"robot": "bee"}, {"robot": "bee", "radius_m": 3}):
        assert client.post("/predict", json=question).status_code == 200
    for body, status in ((b"{", 422), (b"", 422), (b'{"cells": [7]}', 422), (b'{"cells": 7}', 422),
                         (b'{"cells": [true]}', 422), (b'{"cells": [-1]}', 422), (b'[7]', 422),
                         (b'{"cells": [18446744073709551616]}', 422)):  # fmt: skip
        answer = client.post("/predict", content=body, headers=HEAD)
        assert answer.status_code == status, body
        assert answer.headers["content-type"] == "application/problem+json"
    missing = client.post("/predict", json={"cells": [coarse], "robot": "cat"})
    assert missing.status_code == 404 and "robot: 'cat' has no forecast" in missing.json()["detail"]


def test_a_body_in_pieces_is_answered(city: Played, client: TestClient) -> None:
    body = json.dumps({"cells": newest(city).cell_id[:5].tolist(), "robot": "bee"}).encode()
    pieces = iter([body[:9], body[9:30], body[30:]])
    answer = client.post("/predict", content=pieces, headers=HEAD)
    assert answer.status_code == 200 and len(answer.json()["predictions"]) == 5


def test_it_is_counted_as_the_route_that_it_is(city: Played) -> None:
    client = city.client()
    client.post("/predict", json={"cells": newest(city).cell_id[:7].tolist()})
    text = client.get("/metrics").text
    assert 'octastream_http_requests_total{route="/predict",status="200"} 1.0' in text
    assert "octastream_http_predicted_cells_total 7.0" in text
