"""YAML as plain values: what is read may be a stranger's, and is bounded in what becomes of it."""

from __future__ import annotations

from typing import Any

import yaml

from stream.codecs.names import clipped

MAX_CHARACTERS = 2**20
"""Of a document; PyYAML reads some hundred thousand a second."""
MAX_VALUES = 1_000_000
"""That a document may stand for; aliases of aliases make billions of a few hundred bytes."""
MAX_NUMBER = 400
"""Characters of a number; the time for one with colons grows with their square."""
CHARACTERS_A_VALUE = 64
"""A long text counts as several values: an alias of it is one, too."""

_REFUSED = (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError)
"""What PyYAML raises for a text that it cannot read: !!int '' is an IndexError, !!bool x a KeyError."""
_TAG = "tag:yaml.org,2002:"
_NUMBERS = tuple(_TAG + kind for kind in ("int", "float"))
_SCALARS = (*_NUMBERS, *(_TAG + kind for kind in ("null", "bool", "binary", "timestamp", "str")))


class YamlError(ValueError):
    """A text that is no YAML, or stands for too much; says in one line why."""


def read_yaml(text: str) -> Any:
    """The plain values of one document, by the safe schema; None for an empty one.

    Raises YamlError, also for a value within itself and for what is beyond the bounds of this module, aliases
    counted each time
    """
    if len(text) > MAX_CHARACTERS:
        raise YamlError(f"it has {len(text):,} characters, {MAX_CHARACTERS:,} are read")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > MAX_VALUES:
            raise YamlError(f"it stands for more than {MAX_VALUES:,} values, aliases counted each time")
        return loader.construct_document(node)
    except _REFUSED as error:
        raise YamlError(clipped(" ".join(str(error).split()))) from error


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Values that a node stands for, or one more than the most. known : those of nodes seen before, by id"""
    if isinstance(node, yaml.ScalarNode):
        if node.tag in _NUMBERS and len(node.value) > MAX_NUMBER:
            raise YamlError(f"{node.value[:20]}... has {len(node.value):,} characters, a number {MAX_NUMBER}")
        return 1 + len(node.value) // CHARACTERS_A_VALUE
    if node.tag in _SCALARS:  # PyYAML would take the value of a mapping's key `=`, whatever it is
        raise YamlError(f"!!{node.tag.removeprefix(_TAG)} goes with one value, not with a list or a mapping")
    if id(node) not in known:
        known[id(node)] = MAX_VALUES + 1  # until it is known: what holds itself has no end
        inner = node.value
        if isinstance(node, yaml.MappingNode):
            inner = [item for pair in node.value for item in pair]
        known[id(node)] = min(1 + sum(_values(item, known) for item in inner), MAX_VALUES + 1)
    return known[id(node)]
