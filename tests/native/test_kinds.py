"""Ids of any kind, told by their bits or the prefix of their text."""

from __future__ import annotations

import numpy as np
import pytest

from native import kinds
from native.errors import IdError, ParityError, TextError
from tests.native.golden import is_site, rows

KINDS = ("index64", "route64", "galactic128")


@pytest.mark.parametrize("name", [*KINDS, "hilbert64"])
def test_every_vector_is_parsed_in_every_form(name: str) -> None:
    for row in rows(name):
        value = int(row["raw_hex"], 16)
        forms = [row["raw_hex"], row["raw_hex"].upper(), str(value), f"  {value}\n"]
        digits = row["raw_hex"][2:]
        if not (digits.isdecimal() and name == "galactic128"):  # which may be an id as a decimal number
            forms += [digits, digits.upper()]
        for form in forms:
            assert kinds.parse(form) == (name, value)
        if "bech32m" not in row:
            continue
        if is_site(row["coord"]):
            assert kinds.parse(row["bech32m"]) == kinds.parse(row["bech32m"].upper()) == (name, value)
        else:
            with pytest.raises(ParityError):
                kinds.parse(row["bech32m"])


@pytest.mark.parametrize("value", [0, 5, (1 << 62) - 1, 1 << 64, 1 << 127, 2 << 100, 1 << 128, 17 << 128, -1])
def test_values_of_no_kind_are_refused(value: int) -> None:
    with pytest.raises(IdError, match="no id of any kind"):
        kinds.of_value(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        "8007e0000000000",
        "8007e000000000000",
        "1_0",
        "0x1_0",
        "+5",
        "-5",
        "1.0",
        "x3d11qq",
        "\u0661",
        "0xg",
        "i 3d1",
    ],
)
def test_texts_of_no_form_are_refused(text: str) -> None:
    with pytest.raises(TextError, match="expected 0x"):
        kinds.parse(text)


def test_digits_are_decimal_where_that_is_an_id() -> None:
    assert kinds.parse("8007000000000000") == ("index64", 0x8007000000000000)
    decimal = next(v for v in range(10**31, 10**32, 2**99) if v >> 100 & 15 == 1)  # 32 digits
    assert kinds.parse(str(decimal)) == ("galactic128", decimal)
    for text in ("1" * 90, "0x" + "f" * 90):
        with pytest.raises(IdError):
            kinds.parse(text)


def test_a_broken_bech32m_is_refused() -> None:
    for text in ("i3d1", "I3D11", "g3d11qq", "r3d11gqqszqqpqqqqp7hfpt9"):
        with pytest.raises(TextError):
            kinds.parse(text)
    with pytest.raises(TextError, match="begin with"):
        kinds.of_text("cx3d1qq")


def test_arrays_tell_their_kind() -> None:
    for name in KINDS:
        raw = int(rows(name)[0]["raw_hex"], 16)
        words = [[raw >> 64, raw & (1 << 64) - 1]] if name == "galactic128" else [raw]
        assert kinds.module_of(np.array(words, np.uint64)) is kinds.MODULES[name]
    assert kinds.module_of(np.empty(0, np.uint64)) is kinds.MODULES["index64"]
    with pytest.raises(IdError):
        kinds.module_of(np.zeros(1, np.uint64))
    with pytest.raises(TypeError, match="ids"):
        kinds.module_of(np.zeros(1))
