"""What YAML may become of a file that is a stranger's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stream.config import ConfigError, load_config
from stream.plain_yaml import MAX_CHARACTERS, MAX_VALUES, YamlError, read_yaml

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def bomb(levels: int, form: str = "[{}]") -> str:
    """Each name stands for nine of the one before."""
    first = "a0: &a0 " + form.format("{}" if "<<" in form else "1")
    more = (f"a{n}: &a{n} " + form.format(", ".join([f"*a{n - 1}"] * 9)) for n in range(1, levels))
    return "\n".join((first, *more))


@given(PLAIN)
def test_it_reads_what_the_safe_schema_reads(value: Any) -> None:
    text = yaml.safe_dump(value)
    assert read_yaml(text) == yaml.safe_load(text)


def test_aliases_are_read() -> None:
    found = read_yaml("qos: &q {depth: 1}\ntopics: [*q, *q]\nmore: {<<: *q, name: a}\n")
    assert found == {"qos": {"depth": 1}, "topics": [{"depth": 1}] * 2, "more": {"depth": 1, "name": "a"}}
    assert len(read_yaml(bomb(5))) == 5
    assert read_yaml("") is None


@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}"], ids=["lists", "merges"])
def test_aliases_of_aliases_are_refused_before_they_become_something(form: str) -> None:
    with pytest.raises(YamlError, match=f"stands for more than {MAX_VALUES:,} values"):
        read_yaml(bomb(30, form))


@pytest.mark.parametrize("text", ["&a [*a]", "&a {b: *a}", "a: &a [1, [*a]]"])
def test_a_value_within_itself_is_refused(text: str) -> None:
    with pytest.raises(YamlError, match="stands for more than"):
        read_yaml(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1, 2", "while parsing a flow sequence"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("day: 2026-02-31", "day is out of range"),
        ("[" * 5000, "recursion"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: *b", "undefined alias"),
        ("{[1]: 2}", "unhashable key"),
        ("a: \x00", "special characters are not allowed"),
        ("a: " + "9" * 401, r"9{20}\.\.\. has 401 characters, a number 400"),
        ("a: 0x" + "f" * 400, "has 402 characters"),
        ("a: 1" + ":1" * 80_000, "has 160,001 characters"),
        ("a: 1" + ":1" * 190 + ".5", "too large"),
        ("!!int ''", "out of range"),
        ("!!int '-'", "out of range"),
        ("!!float ''", "out of range"),
        ("!!bool x", "'x'"),
        ("!!timestamp x", "groupdict"),
        ("!!timestamp {=: x}", "!!timestamp goes with one value"),
        ("[!!int {=: '1:1'}]", "!!int goes with one value"),
        ("!!str [a]", "!!str goes with one value"),
        ('"\\UFFFFFFFF"', "too large"),
        ("a: *" + "b" * 5000, r"characters\)$"),
        ("a" * (MAX_CHARACTERS + 1), "has 1,048,577 characters, 1,048,576 are read"),
        ("a: &s '" + "x" * 100_000 + "'\nb: [" + ", ".join(["*s"] * 1000) + "]", "stands for more than"),
    ],
)
def test_what_is_no_yaml_is_said_in_one_line(text: str, words: str) -> None:
    with pytest.raises(YamlError, match=words) as refused:
        read_yaml(text)
    assert "\n" not in str(refused.value)


def test_a_configuration_that_stands_for_too_much_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(bomb(30))
    with pytest.raises(ConfigError, match=rf"{path}: not a readable YAML file: it stands for more"):
        load_config(path)
