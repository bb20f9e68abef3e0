"""What a worker counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from agents.journal import Place

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which process_start_time_seconds makes needless

TASK = ("agent", "partition")
"""Labels of what a task counts. Robots, streams and models are no labels: there may be any number of them."""
LATENCY_SECONDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
OPERATION_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The newest snapshot that this process has written: when (Unix time), and the size of the state."""

    at_s: float
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a task stands; a new one replaces it.

    held : inputs folded and not released; lag : messages of each input partition not acknowledged
    recovery_s : that its recovery took; model_id, activated_s : last activation since then, and when (Unix)
    """

    partition: int
    held: int
    recovery_s: float
    lag: Mapping[Place, int] = field(default_factory=dict)
    snapshot: Written | None = None
    model_id: str = ""
    activated_s: float | None = None


class Metrics(Collector):
    """Counters of one process, in a registry of its own, and gauges made of how its tasks stand.

    standings : of the tasks that the process has now; a partition that another worker has got leaves no
        gauge behind. May be replaced while another thread reads.
    """

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.standings: tuple[Standing, ...] = ()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self.handled = self._counter("messages_handled", "Input messages folded, outputs sent.", "topic")
        self.refolded = self._counter("messages_refolded", "Input messages folded again by a recovery.")
        self.sent = self._counter("messages_sent", "Output messages confirmed by the brokers.", "topic")
        self.lost = self._counter("messages_lost", "Input messages deleted before they were read.", "topic")
        self.dead_letters = self._counter("dead_letters", "Dead letters sent.", "reason")
        self.events = self._counter("events", "Events sent by the agent, as duplicate or trained.", "kind")
        self.activations = self._counter("model_activations", "Activations of a model by a stream.")
        self.snapshots = self._counter("snapshots", "Snapshots written.")
        self.snapshot_failures = self._counter("snapshot_failures", "Snapshots that could not be written.")
        self.latency = Histogram(
            "octastream_prediction_latency_seconds",
            "From the append of a sweep, by the broker's clock, to its prediction being confirmed.",
            TASK,
            buckets=LATENCY_SECONDS,
            registry=self._registry,
        )
        self.operations = Histogram(
            "octastream_operation_seconds",
            "What a task waits for, by operation.",
            ("agent", "operation"),
            buckets=OPERATION_SECONDS,
            registry=self._registry,
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"octastream_{name}", text, (*TASK, *labels), registry=self._registry)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The gauges, when they are asked for."""
        standings = self.standings
        assigned = _gauge("assigned_partitions", "Tasks that this worker runs.", "agent")
        assigned.add_metric([self.agent], len(standings))
        lag = _gauge("consumer_lag_messages", "Messages not acknowledged.", "agent", "partition", "topic")
        for standing in standings:
            for (topic, partition), left in standing.lag.items():
                lag.add_metric([self.agent, str(partition), topic], left)
        return (assigned, lag, *self._of_tasks(standings))

    def _of_tasks(self, standings: Iterable[Standing]) -> Iterable[GaugeMetricFamily]:
        held = _gauge("held_inputs", "Inputs folded and not released, as sweeps without a pose.", *TASK)
        recovery = _gauge("recovery_seconds", "That the newest recovery took.", *TASK)
        written = _gauge("snapshot_timestamp_seconds", "When the newest snapshot was written.", *TASK)
        size = _gauge("snapshot_size_bytes", "State in the newest snapshot.", *TASK)
        activated = _gauge("model_activation_timestamp_seconds", "When a model was last activated.", *TASK)
        for standing in standings:
            labels = [self.agent, str(standing.partition)]
            held.add_metric(labels, standing.held)
            recovery.add_metric(labels, standing.recovery_s)
            if standing.snapshot is not None:
                written.add_metric(labels, standing.snapshot.at_s)
                size.add_metric(labels, standing.snapshot.size_bytes)
            if standing.activated_s is not None:
                activated.add_metric(labels, standing.activated_s)
        return held, recovery, written, size, activated


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"octastream_{name}", text, labels=labels)
