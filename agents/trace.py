"""Traces of a run, as OpenTelemetry has them: from a sweep to its forecast, what came of it, and what learnt.

A trace is a sweep's: its id and those of its spans follow from the prediction id, so that whatever process
makes a span of it makes the same one, and W3C ``traceparent`` headers join them. Spans are in event time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from stream.addresses import shown
from stream.trace_ids import SWEEP, span_id_of, trace_id_of

SCOPE = "octastream"
BATCH = 512
SECONDS = 10
STAGES = ("decode", "bin", "visibility", "features", "inference")
"""In the order in which a sweep passes them."""
MS = 1_000_000


def spans_of_sweep(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The sweep, its forecast and the stages of it.

    row : of sweeps: prediction_id, stream_id, stamp_ns, model_id, cells, and ``<stage>_ms`` columns
    """
    name, stamp = row["prediction_id"], int(row["stamp_ns"])
    took = {stage: float(row.get(f"{stage}_ms") or 0.0) for stage in STAGES}
    end = stamp + round(MS * float(row.get("total_ms") or sum(took.values())))
    stream = {"octastream.stream": row["stream_id"]}
    yield _span(name, SWEEP, stamp, end, attributes=stream, kind=5)
    facts = {"octastream.model": row["model_id"], "octastream.cells": int(row["cells"])}
    facts["octastream.features"] = row["feature_digest"]
    yield _span(name, "forecast", stamp, end, parent=SWEEP, attributes=facts)
    at = stamp
    for stage, ms in took.items():
        yield _span(name, stage, at, at + round(MS * ms), parent="forecast")
        at += round(MS * ms)


def span_of_outcome(row: dict[str, Any]) -> dict[str, Any]:
    """What a later sweep showed.  row : prediction_id, horizon_ns, observed_stamp_ns, cells, occupied"""
    horizon = int(row["horizon_ns"])
    observed, name = int(row["observed_stamp_ns"]), row["prediction_id"]
    facts = {key: int(row[key]) for key in ("cells", "occupied")}
    attributes = {f"octastream.{key}": value for key, value in facts.items()}
    begin = int(name.rpartition("/")[2])
    return _span(
        name, f"outcome {horizon / 1e9:g} s", begin, observed, parent="forecast", attributes=attributes
    )


def span_of_training(event: dict[str, Any], sweeps: Iterable[str]) -> dict[str, Any]:
    """New weights, with links to the sweeps that they were learnt from.

    event : ``trained`` of events.jsonl; sweeps : prediction ids
    """
    model, last = str(event["model_id"]), int(event["last_stamp_ns"])
    span = _span(model, "weights", int(event["first_stamp_ns"]), max(last, int(event["stamp_ns"])),
                 attributes={"octastream.model": model, "octastream.steps": int(event["steps"]),
                             "octastream.loss": float(event["loss"])})  # fmt: skip
    span["links"] = [
        {"traceId": trace_id_of(name), "spanId": span_id_of("forecast", name)} for name in sweeps
    ]
    return span


def spans_of_run(folder: Path) -> Iterator[dict[str, Any]]:
    """Every span of a run folder: sweeps, then outcomes, then weights."""
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    from stream.sweep_rows import read_sweeps
    from stream.tables import OUTCOME_SCHEMA

    sweeps = read_sweeps(folder).to_pylist()
    for row in sweeps:
        yield from spans_of_sweep(row)
    outcomes = ds.dataset(folder / "outcomes", schema=OUTCOME_SCHEMA, format="parquet").to_table(
        columns=["prediction_id", "horizon_ns", "observed_stamp_ns", "occupied"]
    )
    outcomes = outcomes.set_column(3, "occupied", pc.cast(outcomes["occupied"], "int64"))
    grouped = outcomes.group_by(["prediction_id", "horizon_ns", "observed_stamp_ns"], use_threads=False)
    for row in grouped.aggregate([("occupied", "sum"), ("occupied", "count")]).to_pylist():
        yield span_of_outcome(row | {"cells": row["occupied_count"], "occupied": row["occupied_sum"]})
    stamps = [(int(row["stamp_ns"]), row["prediction_id"]) for row in sweeps]
    for line in (folder / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "trained":
            newest = int(event["last_stamp_ns"])
            yield span_of_training(event, [name for stamp, name in stamps if stamp == newest])


def payload_of(spans: list[dict[str, Any]]) -> dict[str, Any]:
    """What an OTLP collector takes as JSON, and what its file exporter writes a line of."""
    service = {"key": "service.name", "value": {"stringValue": SCOPE}}
    scope = {"scope": {"name": SCOPE}, "spans": spans}
    return {"resourceSpans": [{"resource": {"attributes": [service]}, "scopeSpans": [scope]}]}


def batches(spans: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Payloads of BATCH spans."""
    waiting: list[dict[str, Any]] = []
    for span in spans:
        waiting.append(span)
        if len(waiting) == BATCH:
            yield payload_of(waiting)
            waiting = []
    if waiting:
        yield payload_of(waiting)


def send(url: str, payload: dict[str, Any]) -> None:
    """Hand a payload to a collector: OTLP over HTTP, as http://127.0.0.1:4318/v1/traces.

    Raises OSError where it does not take it
    """
    if "@" in urlsplit(url).netloc:
        raise OSError(f"{shown(url)}: a name and a password in the URL are not sent; leave them out")
    request = Request(url, json.dumps(payload).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=SECONDS):
        pass


def export(payloads: Iterable[dict[str, Any]], *, url: str | None, file: Path | None) -> int:
    """Send payloads to a collector, or write each as a line; returns how many spans they held.

    Raises OSError
    """
    count = 0
    with file.open("w") if file else nullcontext() as lines:
        for payload in payloads:
            if lines is not None:
                lines.write(json.dumps(payload) + "\n")
            elif url:
                send(url, payload)
            count += len(payload["resourceSpans"][0]["scopeSpans"][0]["spans"])
    return count


def _span(
    trace: str,
    name: str,
    begin_ns: int,
    end_ns: int,
    *,
    parent: str = "",
    attributes: dict[str, Any] | None = None,
    kind: int = 1,
) -> dict[str, Any]:
    """A span as OTLP's JSON has it: ids in hexadecimal, 64-bit numbers as text.  kind : 5 is a consumer's"""
    return {
        "traceId": trace_id_of(trace),
        "spanId": span_id_of(name, trace),
        "parentSpanId": span_id_of(parent, trace) if parent else "",
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(begin_ns),
        "endTimeUnixNano": str(max(begin_ns, end_ns)),
        "attributes": [{"key": key, "value": _value(value)} for key, value in (attributes or {}).items()],
    }


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": str(value)}
