"""What the Kafka commands show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from rich.markup import escape
from rich.table import Table

from agents.journal import Receipt
from agents.kafka.dead_letters import Letter, name_of
from agents.kafka.lag import Lag
from agents.kafka.originals import Original, digest_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def lag_table(lags: Sequence[Lag]) -> Table:
    """A row a partition that holds or held something, and a total an agent."""
    table = Table()
    for title in ("agent", "topic", "partition", "committed", "end", "lag", "lost"):
        table.add_column(title, justify="left" if title in ("agent", "topic") else "right")
    for agent in dict.fromkeys(item.agent for item in lags):
        own = [item for item in lags if item.agent == agent]
        for item in own:
            if item.end > 0:
                committed = "-" if item.committed is None else f"{item.committed:,}"
                table.add_row(agent, item.place[0], str(item.place[1]), committed, f"{item.end:,}",
                              f"{item.left:,}", _lost(item.lost))  # fmt: skip
        left, lost = sum(item.left for item in own), sum(item.lost for item in own)
        table.add_row(f"[bold]{agent}[/bold]", "total", "", "", "", f"[bold]{left:,}[/bold]", _lost(lost),
                      end_section=True)  # fmt: skip
    return table


def _lost(count: int) -> str:
    return f"[bold red]{count:,}[/bold red]" if count else "0"


def lag_lines(lags: Sequence[Lag]) -> list[str]:
    """The sum of all, and a warning where retention was too short."""
    lines = [f"lag: {sum(item.left for item in lags):,} messages"]
    if any(item.lost for item in lags):
        lines.append("[bold red]lost[/bold red]: deleted unread; the topic's retention is too short")
    return lines


def letters_table(letters: Sequence[Letter]) -> Table:
    """A row a letter."""
    table = Table()
    for title in ("letter", "rejected", "robot", "reason"):
        table.add_column(title, no_wrap=True)
    table.add_column("detail", overflow="fold")
    for letter in letters:
        row = (letter.name, time_text(letter.message.appended_ms * 1_000_000)[:19], letter.record.robot_id,
               letter.record.reason, letter.record.detail)  # fmt: skip
        table.add_row(*(escape(value) for value in row))
    return table


def reasons_line(counts: Mapping[str, int]) -> str:
    """``12 dead letters: 8 late, 4 corrupt``."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    each = ", ".join(f"{count:,} {escape(reason)}" for reason, count in ranked)
    return f"{sum(counts.values()):,} dead letters" + (f": {each}" if each else "")


def replay_line(letter: Letter, receipt: Receipt | None, refusal: str) -> str:
    """What became of a letter whose message was to be sent again."""
    outcome = f"not sent again: {refusal}" if receipt is None else f"sent again as {name_of(receipt)}"
    return f"{letter.name}: {escape(outcome)}"


def original_rows(original: Original) -> list[tuple[str, str]]:
    """All that is known of a letter and, while it is there, of the message that it is about."""
    letter, message = original.letter, original.message
    record = letter.record
    rows = [
        ("letter", letter.name),
        ("rejected", time_text(letter.message.appended_ms * 1_000_000)),
        ("reason", record.reason),
        ("detail", record.detail),
        ("robot", record.robot_id or "none"),
        ("stream", record.stream_id),
        ("stamp", f"{record.stamp_ns}  {time_text(record.stamp_ns)}"),
        ("part", str(record.part)),
    ]
    if original.receipt is not None:
        rows.append(("message", name_of(original.receipt)))
    if original.refusal:
        rows.append(("not to be sent again", original.refusal))
    if message is not None:
        size = "no payload" if message.value is None else f"{len(message.value):,} bytes"
        rows += [
            ("appended", time_text(message.appended_ms * 1_000_000)),
            ("key", "none" if message.key is None else message.key.decode(errors="backslashreplace")),
            ("size", size),
            ("sha256", digest_of(message) or "none"),
            *((f"header {name}", (value or b"").decode(errors="backslashreplace"))
              for name, value in message.headers),
        ]  # fmt: skip
    return rows


def time_text(time_ns: int) -> str:
    """UTC to the millisecond; empty for what no calendar has."""
    try:
        time = _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S.") + f"{time.microsecond // 1000:03d}"
