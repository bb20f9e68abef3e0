"""Labels, and requests for them, to the topics of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from agents.kafka.admin import ClusterError, admin_client
from agents.kafka.produce import Producer
from agents.kafka.settings import KafkaSettings
from stream.codecs.inputs import headers_of
from stream.codecs.wire import encode
from stream.records import LabelGiven, LabelRequested
from stream.topics import key_of, topic_of

SOURCE = "octastream/label"
PIECE_CELLS = 2**18
"""Ids of so many cells are 2 MiB."""


async def send_records(settings: KafkaSettings, records: Sequence[LabelGiven | LabelRequested]) -> int:
    """Send records and wait until they are durable; returns how many.  Raises ClusterError, KafkaError"""
    async with admin_client(settings) as client:
        missing = {topic_of(record) for record in records} - set(await client.list_topics())
    if missing:
        raise ClusterError(f"{min(missing)}: no such topic; octastream topics create makes it")
    pieces = [piece for record in records for piece in _pieces(record)]
    async with Producer.open(settings) as producer:
        for piece in pieces:
            await producer.send((topic_of(piece), key_of(piece), encode(piece), headers_of(piece, SOURCE)))
    return len(pieces)


def _pieces(record: LabelGiven | LabelRequested) -> Iterator[LabelGiven | LabelRequested]:
    """A record in so many that each fits a message."""
    for start in range(0, max(len(record.cell_id), 1), PIECE_CELLS):
        yield replace(record, cell_id=record.cell_id[start : start + PIECE_CELLS])
