"""Prometheus and Grafana: they ask who is there, for what workers export."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from agents.kafka.metrics import Metrics, Standing, Written
from agents.web.metrics import WebMetrics
from agents.web.world import World
from stream.config import load_config
from stream.topics import AGENTS, RECORDS, SWEEPS
from tests.data import ROOT
from tests.deploy.composition import HTTP_PORT, services, workers
from tests.deploy.metric_lint import complaints
from tests.deploy.queries import (
    BOARD,
    GRAFANA,
    OF_SERVERS,
    PROMETHEUS,
    expressions,
    parse,
    parts,
    selectors,
    unresolved,
)
from tests.web.played import Still

TARGET_LABELS = {"job", "instance"}
"""Prometheus puts them on whatever it scrapes."""


def of_worker() -> str:
    """What a worker exports."""
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
    return metrics.exposition().decode()


def of_server() -> str:
    """What octastream serve exports."""
    config = load_config(None, ["grid.map_frame=odom"])
    metrics = WebMetrics(World(config), Still(config, ROOT))
    metrics.answered("/predict", 200, 0.01)
    metrics.answered("/robots", 404, 0.01)
    return metrics.exposition().decode()


def exported() -> dict[str, set[str]]:
    """Names of the labels of every series that is exported, by metric."""
    found: dict[str, set[str]] = {"up": set()}
    for family in [
        *text_string_to_metric_families(of_worker()),
        *text_string_to_metric_families(of_server()),
    ]:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


EXPORTED = exported()


def faults(expression: str) -> list[str]:
    """What an expression asks for that no worker exports."""
    root, asked = parse(expression), selectors(expression)
    found = [f"{item.name}: not exported" for item in asked if item.name not in EXPORTED]
    known = TARGET_LABELS.union(*(EXPORTED.get(str(item.name), set()) for item in asked))
    values = {"agent": set(AGENTS), "topic": set(RECORDS), "job": {"octastream"}}
    for item in asked:
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


def test_every_alarm_has_an_entry_in_the_runbook() -> None:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    alarms = [rule["alert"] for group in groups for rule in group["rules"]]
    entries = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert entries == alarms


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


# ---- names of metrics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("exposition", [of_worker(), of_server()], ids=["worker", "server"])
def test_metrics_are_named_by_the_rules(exposition: str) -> None:
    assert complaints(exposition) == []


@pytest.mark.parametrize(
    ("exposition", "said"),
    [
        ("# TYPE octastream_a gauge\noctastream_a 1\n", "no help text"),
        ("# HELP octastream_a A.\noctastream_a 1\n", "no type"),
        ("# HELP octastream_a_milliseconds A.\n# TYPE octastream_a_milliseconds gauge\n"
         "octastream_a_milliseconds 1\n", "use base units instead of milliseconds"),
        ("# HELP octastream_a_ms A.\n# TYPE octastream_a_ms gauge\noctastream_a_ms 1\n", "written out: ms"),
        ("# HELP octastream_a_total A.\n# TYPE octastream_a_total gauge\noctastream_a_total 1\n",
         "only counters end in _total"),
        ("# HELP octastream_gauge A.\n# TYPE octastream_gauge gauge\noctastream_gauge 1\n", "say the type"),
        ('# HELP octastream_a A.\n# TYPE octastream_a gauge\noctastream_a{robot="ant"} 1\n', "label robot"),
        ("# HELP octastream_aB A.\n# TYPE octastream_aB gauge\noctastream_aB 1\n", "snake_case"),
        ("# HELP sweeps A.\n# TYPE sweeps gauge\nsweeps 1\n", "begin with octastream_"),
    ],
)  # fmt: skip
def test_a_bad_name_is_found(exposition: str, said: str) -> None:
    assert [said in text for text in complaints(exposition)] == [True]


def test_queries_that_find_nothing_are_found() -> None:
    scrape = of_server()
    assert unresolved(scrape, OF_SERVERS) == []
    without = "\n".join(line for line in scrape.splitlines() if not line.startswith("octastream_web_robots "))
    assert len(unresolved(without, OF_SERVERS)) == 1
    assert unresolved(scrape, ("octastream_consumer_lag",)) != []
