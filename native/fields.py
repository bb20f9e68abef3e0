"""Fields of ids, checked before they are cut to a byte."""

from __future__ import annotations

import operator

from native._octa import lib
from native.errors import check


def byte(value: int, highest: int, name: str) -> int:
    """A field of an id.

    value : an integer, 0..highest
    highest : at most 255
    name : of the argument, for error messages
    Returns the value
    Raises TypeError (no integer), DomainError with the name and the range
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer 0..{highest}, got {type(value).__name__}") from None
    if not 0 <= number <= highest:
        check(lib.OCTA_E_DOMAIN, f"{name} = {value} (0..{highest})")
    return number


def word(value: int, bits: int, name: str) -> int:
    """The value of one id.

    value : an integer, 0..2**bits - 1
    Returns the value
    Raises TypeError (no integer), IdError with the name (more bits, or negative)
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer of {bits} bits, got {type(value).__name__}") from None
    if not 0 <= number < 1 << bits:
        check(lib.OCTA_E_ID, f"{name} = {value}")
    return number
