"""Traces of a run: one a sweep, joined by ids that follow from the prediction id."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from agents.cli import main
from agents.trace import span_of_training, spans_of_run
from stream.codecs.inputs import headers_of
from stream.records import Prediction, SweepRejected
from stream.trace_ids import span_id_of, trace_id_of, traceparent_of
from tests.web.played import CITY, Played, play


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play([(CITY, "ant")], tmp_path_factory.mktemp("trace") / "run", sweeps=9)


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}


def test_ids_are_what_they_always_were() -> None:
    """Other ids would tear traces apart between processes of two releases."""
    assert trace_id_of("ant/lidar/1000000000") == "cfa52d26749e7b89a89521599f01903d"
    assert span_id_of("sweep", "ant/lidar/1000000000") == "5bf2ed5fcba9832b"


def test_every_sweep_is_a_trace_of_its_forecast_and_outcomes(run: Played) -> None:
    spans = list(spans_of_run(run.folder))
    predictions = {item.prediction_id: item for item in run.of(Prediction)}
    assert {span["traceId"] for span in spans} == set(map(trace_id_of, predictions))
    by_id = {(span["traceId"], span["spanId"]): span for span in spans}
    assert len(by_id) == len(spans), "no span is there twice"
    for span in spans:
        assert re.fullmatch("[0-9a-f]{32}", span["traceId"]) and re.fullmatch("[0-9a-f]{16}", span["spanId"])
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
        if span["parentSpanId"]:
            assert (span["traceId"], span["parentSpanId"]) in by_id
    names = Counter(span["name"] for span in spans)
    assert names["sweep"] == names["forecast"] == names["inference"] == len(predictions) == 9
    assert names["outcome 0.2 s"] == 7 and names["outcome 0.5 s"] == 4
    forecast = next(span for span in spans if span["name"] == "forecast")
    prediction = next(
        item for item in predictions.values() if trace_id_of(item.prediction_id) == forecast["traceId"]
    )
    assert attributes(forecast)["octastream.model"] == prediction.model_id
    assert attributes(forecast)["octastream.cells"] == str(len(prediction.cell_id))
    outcome = next(span for span in spans if span["name"] == "outcome 0.2 s")
    assert 0 < int(attributes(outcome)["octastream.occupied"]) < int(attributes(outcome)["octastream.cells"])


def test_new_weights_link_to_the_sweeps_that_they_were_learnt_from() -> None:
    event = {
        "model_id": "bcc-1",
        "first_stamp_ns": 5,
        "last_stamp_ns": 9,
        "stamp_ns": 12,
        "steps": 3,
        "loss": 0.5,
    }
    span = span_of_training(event, ["ant/lidar/9"])
    assert span["links"] == [
        {"traceId": trace_id_of("ant/lidar/9"), "spanId": span_id_of("forecast", "ant/lidar/9")}
    ]
    assert (span["startTimeUnixNano"], span["endTimeUnixNano"]) == ("5", "12")


def test_messages_carry_the_trace_of_their_sweep(run: Played) -> None:
    prediction = run.of(Prediction)[0]
    headers = dict(headers_of(prediction, "octastream/test"))
    trace, span = trace_id_of(prediction.prediction_id), span_id_of("sweep", prediction.prediction_id)
    assert headers["traceparent"].decode() == f"00-{trace}-{span}-01"
    stream, _, stamp = prediction.prediction_id.rpartition("/")
    rejected = SweepRejected(
        robot_id="ant", stream_id=stream, stamp_ns=int(stamp), part=0, reason="late", detail=""
    )
    assert traceparent_of(rejected) == headers["traceparent"]
    assert dict(headers_of(prediction, "x", b"00-1-2-01"))["traceparent"] == b"00-1-2-01"


class Collector(BaseHTTPRequestHandler):
    """Takes what it is sent."""

    taken: list[dict[str, Any]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.taken.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_collector_is_sent_what_a_file_would_hold(run: Played, tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        assert main(["trace", str(run.folder), "--otlp", url]) == 0
        server.shutdown()
    assert main(["trace", str(run.folder), "--out", str(tmp_path / "spans.jsonl")]) == 0
    assert [
        json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines()
    ] == Collector.taken
    assert main(["trace", str(run.folder)]) == 1
    assert main(["trace", str(tmp_path), "--out", str(tmp_path / "x")]) == 1
    assert main(["trace", str(run.folder), "--otlp", url]) == 1, "nobody listens there any more"
