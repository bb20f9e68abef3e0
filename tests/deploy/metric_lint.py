"""What `promtool check metrics` says of an exposition, and that labels have few values.

Rules of client_golang's promlint (prometheus/testutil/promlint/validations), in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

UNITS = {
    "milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "weeks", "kilobytes",
    "megabytes", "gigabytes", "terabytes", "bits", "kilobits", "megabits", "kilometers", "centimeters",
    "millimeters", "grams", "kilograms", "percent", "fahrenheit", "kelvin",
}  # fmt: skip
"""Not base units: seconds, bytes, meters, ratio and celsius are."""
ABBREVIATIONS = {
    "s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d", "hz", "pct",
}  # fmt: skip
TYPES = {"counter", "gauge", "histogram", "summary"}
BOUNDED = {"agent", "partition", "topic", "reason", "kind", "operation", "route", "status", "le", "quantile"}
"""Labels with few values; robots, streams, models, cells and users have any number of them."""


def complaints(exposition: str) -> list[str]:
    """Everything that is wrong, one line each."""
    families = list(text_string_to_metric_families(exposition))
    return [f"{family.name}: {text}" for family in families for text in _of(family)]


def _of(family: Metric) -> Iterator[str]:
    words = family.name.split("_")
    names = {sample.name for sample in family.samples}
    labels = {label for sample in family.samples for label in sample.labels}
    if not family.documentation.strip():
        yield "no help text"
    if family.type == "unknown":
        yield "no type"
    if found := UNITS & set(words):
        yield f"use base units instead of {found.pop()}"
    if family.type == "counter" and not names <= {f"{family.name}_total"}:
        yield "counters end in _total"
    if family.type != "counter" and family.name.endswith("_total"):
        yield "only counters end in _total"
    if family.type == "gauge" and family.name.endswith(("_count", "_sum", "_bucket")):
        yield "only histograms and summaries end so"
    if TYPES & set(words):
        yield "names do not say the type"
    if ":" in family.name:
        yield "colons are for rules"
    if re.search("[a-z][A-Z]", family.name) or any(re.search("[a-z][A-Z]", label) for label in labels):
        yield "names are snake_case"
    if found := ABBREVIATIONS & set(words):
        yield f"units are written out: {found.pop()}"
    if unbounded := labels - BOUNDED:
        yield f"label {sorted(unbounded)[0]}: may have any number of values"
    if not family.name.startswith(("octastream_", "process_")):
        yield "names begin with octastream_"
