"""Bech32 and bech32m after BIP 173 and BIP 350, able to write texts that a strict reader must refuse."""

from __future__ import annotations

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32 = 1
BECH32M = 0x2BC830A3


def polymod(values: list[int]) -> int:
    """The checksum's polynomial remainder, as in BIP 173."""
    generator = [0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]
    sum_ = 1
    for value in values:
        top = sum_ >> 25
        sum_ = (sum_ & 0x1FFFFFF) << 5 ^ value
        for i in range(5):
            sum_ ^= generator[i] if top >> i & 1 else 0
    return sum_


def write(prefix: str, groups: list[int], constant: int = BECH32M) -> str:
    """Text of 5-bit groups with a valid checksum."""
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    remainder = polymod(expanded + groups + [0] * 6) ^ constant
    check = [remainder >> 5 * (5 - i) & 31 for i in range(6)]
    return prefix + "1" + "".join(ALPHABET[group] for group in groups + check)


def groups_of(value: int, padding: int = 0) -> list[int]:
    """The 13 groups of a 64-bit value and its padding bit."""
    bits = value << 1 | padding
    return [bits >> 5 * (12 - i) & 31 for i in range(13)]
