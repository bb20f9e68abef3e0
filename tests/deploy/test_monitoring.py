"""Prometheus and Grafana: they ask who is there, for what workers export."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from agents.kafka.metrics import Metrics, Standing, Written
from stream.topics import AGENTS, RECORDS, SWEEPS
from tests.data import ROOT
from tests.deploy.composition import HTTP_PORT, services, workers

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
BOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "octastream.json").read_text())
TARGET_LABELS = {"job", "instance"}
"""Prometheus puts them on whatever it scrapes."""


def exported() -> dict[str, set[str]]:
    """Names of the labels of every series that a worker exports, by metric."""
    metrics = Metrics("perceive")
    metrics.standings = (
        Standing(partition=0, held=0, recovery_s=0.5, lag={(SWEEPS, 0): 1}, activated_s=1.0,
                 snapshot=Written(at_s=1.0, size_bytes=1)),
    )  # fmt: skip
    task = {"agent": "perceive", "partition": "0"}
    metrics.handled.labels(**task, topic=SWEEPS)
    metrics.sent.labels(**task, topic=SWEEPS)
    metrics.lost.labels(**task, topic=SWEEPS)
    metrics.dead_letters.labels(**task, reason="late")
    metrics.events.labels(**task, kind="gap")
    for counter in (metrics.refolded, metrics.activations, metrics.snapshots, metrics.snapshot_failures):
        assert isinstance(counter, Counter)
        counter.labels(**task)
    metrics.latency.labels(**task)
    metrics.operations.labels(agent="perceive", operation="Handle")
    found: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


EXPORTED = exported()


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression of dashboard and rules, with a name for it."""
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def parts(node: Any) -> Iterator[Any]:
    """A parsed expression and all below it."""
    yield node
    below = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "vector_selector", "param")]
    for part in [*below, *getattr(node, "args", [])]:
        if part is not None:
            yield from parts(part)


def faults(expression: str) -> list[str]:
    """What an expression asks for that no worker exports."""
    root = promql_parser.parse(expression.replace("$__rate_interval", "20s"))
    selectors = [part for part in parts(root) if isinstance(part, promql_parser.VectorSelector)]
    found = [f"{item.name}: not exported" for item in selectors if item.name not in EXPORTED]
    known = TARGET_LABELS.union(*(EXPORTED.get(str(item.name), set()) for item in selectors))
    values = {"agent": set(AGENTS), "topic": set(RECORDS), "job": {"octastream"}}
    for item in selectors:
        own = EXPORTED.get(str(item.name), set()) | TARGET_LABELS
        for matcher in item.matchers.matchers:
            if matcher.name not in own:
                found.append(f"{item.name}: no label {matcher.name}")
            elif matcher.value not in values.get(matcher.name, {matcher.value}):
                found.append(f"{matcher.name}: no {matcher.value}")
    for part in parts(root):
        modifier = part.modifier if isinstance(part, promql_parser.AggregateExpr) else None
        found += [
            f"no label {label}" for label in (modifier.labels if modifier else []) if label not in known
        ]
    return found


@pytest.mark.parametrize(("name", "expression"), [pytest.param(*item, id=item[0]) for item in expressions()])
def test_an_expression_asks_for_what_workers_export(name: str, expression: str) -> None:
    assert faults(expression) == []


@pytest.mark.parametrize(
    "expression",
    [
        "octastream_sweeps_total",
        'sum(rate(octastream_dead_letters_total{cause="late"}[5m]))',
        "sum by (robot) (octastream_held_inputs)",
        'octastream_held_inputs{agent="percieve"}',
        'octastream_messages_handled_total{topic="octa.sweep.received"}',
        "histogram_quantile(0.5, rate(octastream_latency_seconds_bucket[5m])) or vector(0)",
    ],
)
def test_the_check_of_expressions_can_fail(expression: str) -> None:
    assert len(faults(expression)) == 1


def test_legends_and_messages_name_labels_that_are_left() -> None:
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            grouped = re.search(r"by \(([\w, ]+)\)", target["expr"])
            left = set(grouped.group(1).split(", ")) if grouped else TARGET_LABELS
            assert named <= left, panel["title"]


def test_prometheus_asks_every_worker_and_what_serves() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    (static,) = job["static_configs"]
    assert sorted(static["targets"]) == sorted(f"{name}:{HTTP_PORT}" for name in [*workers(), "web"])
    assert [name for name in config["rule_files"] if not (PROMETHEUS / name).is_file()] == []


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    (source,) = provisioned("datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    interval = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval
    used = {panel["datasource"]["uid"] for panel in BOARD["panels"]}
    used |= {target["datasource"]["uid"] for panel in BOARD["panels"] for target in panel["targets"]}
    assert used == {source["uid"]}
    (provider,) = provisioned("dashboards/octastream.yaml")["providers"]
    grafana = services()["grafana"]
    mounted = {mount["target"]: mount["source"] for mount in grafana["volumes"]}
    assert mounted[provider["options"]["path"]] == str(GRAFANA / "dashboards")
    assert mounted["/etc/grafana/provisioning"] == str(GRAFANA / "provisioning")
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/octastream.json"


def provisioned(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((GRAFANA / "provisioning" / name).read_text())
    return loaded


def test_panels_have_ids_and_places_of_their_own() -> None:
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y
