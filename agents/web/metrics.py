"""What the service counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agents.web.feed import Feed
from agents.web.world import World

disable_created_metrics()  # type: ignore[no-untyped-call]  # as in agents/kafka/metrics.py

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0)


class WebMetrics(Collector):
    """Requests by route and status, and how what is served stands; in a registry of its own.

    Robots are no labels: there may be any number of them
    """

    def __init__(self, world: World, feed: Feed) -> None:
        self._world, self._feed = world, feed
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "octastream_http_requests", "Requests answered.", ("route", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "octastream_http_request_seconds",
            "From the head of a request to the end of its answer, which events may make long.",
            ("route",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._counted: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self.cells = Counter(
            "octastream_http_predicted_cells", "Cells in answers of /predict.", registry=self._registry
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request; status 0 for one that was not answered."""
        counted = self._counted.get((route, status))
        if counted is None:
            counted = self.requests.labels(route, str(status)), self.seconds.labels(route)
            self._counted[route, status] = counted
        counted[0].inc()
        counted[1].observe(seconds)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """What is served, when it is asked for."""
        world = self._world
        records = CounterMetricFamily("octastream_web_records", "Records read, by kind.", labels=["kind"])
        for kind, count in dict(world.counts).items():
            records.add_metric([kind], count)
        yield records
        robots = GaugeMetricFamily("octastream_web_robots", "Robots with a forecast.")
        robots.add_metric([], len(world.robots()))
        yield robots
        lag = GaugeMetricFamily("octastream_web_lag_records", "Records that are there and not folded yet.")
        lag.add_metric([], self._feed.lag())
        yield lag
        outcomes = CounterMetricFamily("octastream_web_outcomes_scored", "Outcomes scored.")
        outcomes.add_metric([], world.scoreboard.outcomes)
        yield outcomes
