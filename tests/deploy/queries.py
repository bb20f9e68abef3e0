"""Expressions of the dashboard and of the alert rules, and what of an exposition they ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.data import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
BOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "octastream.json").read_text())
OF_SERVERS = ("octastream_http_", "octastream_web_")
"""What octastream serve exports, and no worker does."""
OCCASIONAL = {"kind", "reason", "status"}
"""Labels whose values are only there once what they name has happened."""


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression, with a name for it."""
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def parse(expression: str) -> Any:
    """An expression as Prometheus reads it."""
    return promql_parser.parse(expression.replace("$__rate_interval", "20s"))


def parts(node: Any) -> Iterator[Any]:
    """A parsed expression and all below it."""
    yield node
    below = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "vector_selector", "param")]
    for part in [*below, *getattr(node, "args", [])]:
        if part is not None:
            yield from parts(part)


def selectors(expression: str) -> list[Any]:
    """Series that an expression reads."""
    return [part for part in parts(parse(expression)) if isinstance(part, promql_parser.VectorSelector)]


def unresolved(exposition: str, prefixes: tuple[str, ...]) -> list[str]:
    """Selectors of metrics with one of these prefixes that find no series in a scrape."""
    samples = [sample for family in text_string_to_metric_families(exposition) for sample in family.samples]
    asked = [(name, item) for name, expression in expressions() for item in selectors(expression)]
    own = [(name, item) for name, item in asked if str(item.name).startswith(prefixes)]
    return [f"{name}: {item}" for name, item in own if not any(map(_matches(item), samples))]


def _matches(selector: Any) -> Any:
    wanted = [(matcher.name, str(matcher.op), matcher.value) for matcher in selector.matchers.matchers]

    def matches(sample: Any) -> bool:
        if sample.name != selector.name:
            return False
        for label, op, value in wanted:
            own = sample.labels.get(label, "")
            if label in OCCASIONAL and own:
                continue
            same = re.fullmatch(value, own) is not None if "Re" in op else own == value
            if same == ("Not" in op):
                return False
        return True

    return matches
