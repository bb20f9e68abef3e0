"""YAML as plain values: what is read may be a stranger's, and is bounded in what becomes of it."""

from __future__ import annotations

from typing import Any

import yaml

MAX_VALUES = 1_000_000
"""That a document may stand for; aliases of aliases make billions of a few hundred bytes."""


class YamlError(ValueError):
    """A text that is no YAML, or stands for too much; says where, in one line."""


def read_yaml(text: str) -> Any:
    """The plain values of one document, by the safe schema; None for an empty one.

    Raises YamlError, also for a value within itself and for more than MAX_VALUES, aliases counted each time
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > MAX_VALUES:
            raise YamlError(f"its aliases stand for more than {MAX_VALUES:,} values; write out what is meant")
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no such day
        raise YamlError(" ".join(str(error).split())) from error


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Values that a node stands for. known : those of nodes seen before, by identity."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = MAX_VALUES + 1  # until it is known: what holds itself has no end
        inner = node.value
        if isinstance(node, yaml.MappingNode):
            inner = [item for pair in node.value for item in pair]
        known[id(node)] = 1 + sum(_values(item, known) for item in inner)
    return known[id(node)]
