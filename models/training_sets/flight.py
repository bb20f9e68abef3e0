"""Training sets over Arrow Flight: record batches for readers in other processes, a share each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight

from models.training_sets.manifest import TrainingSetError
from models.training_sets.read import BATCH_ROWS, TrainingSet

MAX_REQUEST = 2**16
"""Bytes of a ticket or a descriptor."""

FIELDS = {"columns", "rank", "world_size", "batch_rows"}


class TrainingSetServer(flight.FlightServerBase):  # type: ignore[misc]
    """Serves one training set, as it is when it is asked; a batch of rows is held for each reader.

    host : address to listen on; port : 0 takes a free one, ``port`` says which
    A descriptor's command, or a ticket, is JSON: ``columns`` (null for all), ``rank``, ``world_size``,
    ``batch_rows``; all may be left out. Nothing can be written or run.
    """

    def __init__(self, root: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self._root = root
        TrainingSet(root)  # refused before anybody asks
        super().__init__(f"grpc://{host}:{port}")

    def list_flights(self, context: Any, criteria: bytes) -> Iterator[flight.FlightInfo]:
        """The one set."""
        yield self._info(b"{}")

    def get_flight_info(self, context: Any, descriptor: flight.FlightDescriptor) -> flight.FlightInfo:
        """Schema, rows of all readers, and the ticket of a request."""
        return self._info(descriptor.command or b"{}")

    def do_get(self, context: Any, ticket: flight.Ticket) -> flight.RecordBatchStream:
        """The batches of a request."""
        try:
            request = parse_request(ticket.ticket)
            stored = TrainingSet(self._root)
            schema = stored.selected(request["columns"])
            batches = stored.batches(**request)
            first = next(batches, None)  # so that a bad request is refused at once
        except TrainingSetError as error:
            raise flight.FlightServerError(str(error)) from error
        return flight.GeneratorStream(schema, _readable(first, batches))

    def _info(self, command: bytes) -> flight.FlightInfo:
        try:
            request = parse_request(command)
            stored = TrainingSet(self._root)
            schema = stored.selected(request["columns"])
        except TrainingSetError as error:
            raise flight.FlightServerError(str(error)) from error
        endpoint = flight.FlightEndpoint(command, [])  # no location: where one has asked
        descriptor = flight.FlightDescriptor.for_command(command)
        size = sum(part.bytes for part in stored.manifest.parts)
        return flight.FlightInfo(schema, descriptor, [endpoint], stored.manifest.rows, size)


def parse_request(text: bytes) -> dict[str, Any]:
    """Arguments of ``TrainingSet.batches``; raises TrainingSetError for what is no request."""
    if len(text) > MAX_REQUEST:
        raise TrainingSetError(f"request: has {len(text):,} bytes, more than {MAX_REQUEST:,}")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TrainingSetError(f"request: no JSON: {error}") from error
    if not isinstance(values, dict) or values.keys() - FIELDS:
        raise TrainingSetError(f"request: expected an object of {', '.join(sorted(FIELDS))}")
    columns = values.get("columns")
    if columns is not None and not (isinstance(columns, list) and all(isinstance(c, str) for c in columns)):
        raise TrainingSetError(f"columns: {columns!r}, expected a list of names, or null")
    numbers = {"rank": 0, "world_size": 1, "batch_rows": BATCH_ROWS}
    for name, default in numbers.items():
        value = values.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise TrainingSetError(f"{name}: {value!r}, expected a whole number")
        numbers[name] = value
    return {"columns": columns, **numbers}


def read_batches(
    url: str,
    columns: Sequence[str] | None = None,
    *,
    rank: int = 0,
    world_size: int = 1,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """This reader's batches from a server, as ``TrainingSet.batches`` gives them.

    url : ``grpc://HOST:PORT``. Raises pyarrow.flight.FlightError
    """
    request = {"columns": columns, "rank": rank, "world_size": world_size, "batch_rows": batch_rows}
    with flight.connect(url) as client:
        for chunk in client.do_get(flight.Ticket(json.dumps(request).encode())):
            yield chunk.data


def _readable(first: pa.RecordBatch | None, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, errors as Flight sends them."""
    if first is None:
        return
    yield first
    try:
        yield from batches
    except TrainingSetError as error:
        raise flight.FlightServerError(str(error)) from error
