"""Ids by the bit layouts of the vectors' README, in plain Python; the tests compare the core with them."""

from __future__ import annotations

from collections import deque

from tests.native.golden import BIAS

STEPS = [
    (1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1), (-1, 1, 1), (-1, 1, -1), (-1, -1, 1), (-1, -1, -1),
    (2, 0, 0), (-2, 0, 0), (0, 2, 0), (0, -2, 0), (0, 0, 2), (0, 0, -2),
]  # fmt: skip
Site = tuple[int, int, int]


def morton(coordinates: Site | list[int]) -> int:
    """48-bit Morton code of three unsigned 16-bit coordinates, x lowest."""
    return sum((v >> i & 1) << 3 * i + axis for i in range(16) for axis, v in enumerate(coordinates))


def hilbert(coordinates: Site | list[int]) -> int:
    """48-bit key: o = z << 2 | y << 1 | x of each bit, then o ^ (o >> 1)."""
    code = morton(coordinates)
    digits = [code >> 3 * i & 7 for i in range(16)]
    return sum((digit ^ digit >> 1) << 3 * i for i, digit in enumerate(digits))


def index64(site: Site, frame: int, tier: int, lod: int) -> int:
    """Index64 of a signed site."""
    x, y, z = (v + BIAS for v in site)
    return 2 << 62 | tier << 60 | frame << 52 | lod << 48 | morton((x, y, z))


def route64(site: Site, tier: int) -> int:
    """Route64 of a site."""
    x, y, z = (v & (1 << 20) - 1 for v in site)
    return 1 << 62 | tier << 60 | x << 40 | y << 20 | z


def galactic128(site: Site, frame: int, mantissa: int, tier: int, lod: int, attr: int) -> int:
    """Galactic128 of a site."""
    x, y, z = (v & (1 << 32) - 1 for v in site)
    head = mantissa << 24 | tier << 22 | lod << 16 | frame << 8 | 1 << 4 | attr
    return head << 96 | x << 64 | y << 32 | z


def steps_from_origin(reach: int) -> dict[Site, int]:
    """Fewest steps to every site within a reach, by search."""
    found: dict[Site, int] = {(0, 0, 0): 0}
    queue: deque[Site] = deque(found)
    while queue:
        x, y, z = queue.popleft()
        if (steps := found[x, y, z]) == reach:
            continue
        for dx, dy, dz in STEPS:
            there = (x + dx, y + dy, z + dz)
            if there not in found:
                found[there] = steps + 1
                queue.append(there)
    return found


def shell_order(site: Site) -> tuple[int, ...]:
    """Where a site stands in its shell: by the largest |v|, then |x|, |y|, |z|, x, y, z, greatest first."""
    sizes = [abs(v) for v in site]
    return (max(sizes), *(-size for size in sizes), *(-v for v in site))
