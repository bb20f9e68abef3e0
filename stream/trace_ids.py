"""Names of traces and their spans (W3C Trace Context), made of what they are about and of nothing else."""

from __future__ import annotations

from typing import Any

from xxhash import xxh3_64_hexdigest, xxh3_128_hexdigest

from stream.records import SweepRejected

SWEEP = "sweep"
"""The first span of a trace."""


def trace_id_of(prediction_id: str) -> str:
    """The trace of a sweep: 32 hexadecimal digits."""
    return xxh3_128_hexdigest(prediction_id.encode())


def span_id_of(name: str, prediction_id: str) -> str:
    """A span of it: 16 hexadecimal digits."""
    return xxh3_64_hexdigest(f"{name}\0{prediction_id}".encode())


def traceparent_of(record: Any) -> bytes | None:
    """What a message of a record is sent with, sampled; None for records that are not of one sweep.

    Whoever sends a record again sends the same, and all records of a sweep are of one trace
    """
    name = getattr(record, "prediction_id", None)
    if isinstance(record, SweepRejected):
        name = f"{record.stream_id}/{record.stamp_ns}"
    return f"00-{trace_id_of(name)}-{span_id_of(SWEEP, name)}-01".encode() if name else None
