"""The messages that dead letters are about: found, and sent again.

The letter of a message that could not be decoded says where that message lies. One of a sweep that Perceive
has refused names the sweep, which is then looked for among the messages of its robot.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from agents.journal import Receipt
from agents.kafka.dead_letters import Letter, name_of
from agents.kafka.log import KafkaLog
from agents.kafka.messages import Message, record_of
from agents.kafka.partitions import Partitions
from stream.sweep import Sweep
from stream.topics import REJECTED, SWEEPS

SEARCHED = 1000
"""Messages before a letter among which its sweep is looked for: gigabytes, where sweeps are large."""
BLOCK = 50
CLOCK_MS = 1000
"""As much may the clocks of two brokers differ."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Original:
    """What a letter is about.

    receipt : where it lies or lay, None when that is not known; message : None when it is no more
    """

    letter: Letter
    receipt: Receipt | None
    message: Message | None

    @property
    def refusal(self) -> str:
        """Why it cannot be sent again, for people; empty when it can."""
        if self.receipt is None and self.letter.never_sent:
            return "it was never sent: the log that was played in could not be read there"
        if self.receipt is None:
            place = f"{SWEEPS}-{self.letter.message.place[1]}"
            return f"its sweep is not among the last {SEARCHED} messages before it on {place}"
        if self.receipt[0][0] == REJECTED:
            return "it is about a dead letter, and nothing reads these but the archive"
        if self.message is None:
            return f"{name_of(self.receipt)} is no more: its topic's retention has passed it"
        if self.message.key is None and self.message.value is None:
            return f"{name_of(self.receipt)} has neither key nor payload"
        return ""


def digest_of(message: Message) -> str:
    """sha256 of the payload, empty without one."""
    return "" if message.value is None else hashlib.sha256(message.value).hexdigest()


async def originals_of(partitions: Partitions, letters: Sequence[Letter]) -> AsyncIterator[Original]:
    """The message of each letter, in their order."""
    receipts = await _receipts(partitions, letters)
    for letter in letters:
        receipt = receipts.get(letter.name)
        message = None if receipt is None else await partitions.message(receipt)
        yield Original(letter=letter, receipt=receipt, message=message)


async def replay(
    partitions: Partitions, log: KafkaLog, letters: Sequence[Letter]
) -> AsyncIterator[tuple[Letter, Receipt | None, str]]:
    """Send what letters are about again: same bytes, key, headers and partition; equal messages once.

    Yields each letter with where its message lies now, or None and the reason
    """
    sent: dict[Any, Receipt] = {}  # else two letters of a message sent again and refused again make four
    async for original in originals_of(partitions, letters):
        message = original.message
        if original.refusal or message is None:
            yield original.letter, None, original.refusal
            continue
        same = (message.place, message.key, digest_of(message), message.headers)
        if same not in sent:
            value: Any = message.value
            topic, partition = message.place
            offset = await log.append(
                topic, value, key=message.key, partition=partition, headers=message.headers
            )
            sent[same] = (message.place, offset)
        yield original.letter, sent[same], ""


async def _receipts(partitions: Partitions, letters: Sequence[Letter]) -> dict[str, Receipt]:
    """Where the messages lie, by the letter's name; those that are not found are left out."""
    found = {letter.name: letter.origin for letter in letters if letter.origin is not None}
    sought = [letter for letter in letters if letter.name not in found and not letter.never_sent]
    for partition in sorted({letter.message.place[1] for letter in sought}):
        found |= await _search(partitions, [item for item in sought if item.message.place[1] == partition])
    return found


async def _search(partitions: Partitions, letters: Sequence[Letter]) -> dict[str, Receipt]:
    """Look for the sweeps of letters of one partition, from the newest letter back in time."""
    place = (SWEEPS, letters[0].message.place[1])
    times = [letter.message.appended_ms for letter in letters]
    end = await partitions.offset_at(place, max(times) + CLOCK_MS)
    least = await partitions.offset_at(place, min(times)) - SEARCHED
    first = max((await partitions.spans([place]))[place].start, least)
    wanted = {letter.sweep for letter in letters}
    offsets: dict[tuple[str, int, int], int] = {}
    while end > first and wanted - offsets.keys():
        begin = max(first, end - BLOCK)
        block: dict[tuple[str, int, int], int] = {}
        async for message in partitions.messages(place, range(begin, end)):
            record = record_of(message)
            if isinstance(record, Sweep):
                block[record.stream_id, record.stamp_ns, record.part] = message.offset
        offsets, end = block | offsets, begin
    return {letter.name: (place, offsets[letter.sweep]) for letter in letters if letter.sweep in offsets}
