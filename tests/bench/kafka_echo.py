"""A Faust agent that sends back what it gets: what the transport alone costs."""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import faust
import mode

from stream.topics import MAX_MESSAGE_BYTES, SWEEPS

ECHO = "octa.bench.echo.v1"


def main(bootstrap: str) -> None:
    """Run until told to stop."""
    app: Any = faust.App(
        "octa-bench-echo",
        broker=f"kafka://{bootstrap}",
        agent_supervisor=mode.CrashingSupervisor,
        autodiscover=False,
        broker_commit_interval=0.5,
        consumer_max_fetch_size=MAX_MESSAGE_BYTES,
        producer_max_request_size=MAX_MESSAGE_BYTES,
        datadir=tempfile.mkdtemp(),
        store="memory://",
        stream_buffer_maxsize=16,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    raw: Any = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    sweeps, echo = app.topic(SWEEPS, **raw), app.topic(ECHO, **raw)

    @app.agent(sweeps, name="echo", concurrency=1)
    async def send_back(stream: Any) -> None:
        unacknowledged = stream.noack()
        async for event in unacknowledged.events():
            message = event.message
            await (await echo.send(key=message.key, value=message.value, headers=message.headers))
            await unacknowledged.ack(event)

    worker = faust.Worker(app, loglevel="WARNING", quiet=True, redirect_stdouts=False)
    worker.spinner = None
    worker.execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1])
