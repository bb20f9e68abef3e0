"""Sites by the number of steps that lead to them; a step goes to one of the 14 neighbours.

Shell k holds the 12 k**2 + 2 sites k steps away (shell 0 the site itself).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from native._octa import lib
from native.arrays import output, readable
from native.errors import check
from native.fields import byte

STEPS_MAX: int = lib.OCTA_RINGS_MAX


def count(first: int, last: int) -> int:
    """Number of sites in shells ``first`` to ``last``, 0 <= first <= last <= 255.

    Raises DomainError (first, last)

    >>> count(0, 1), count(1, 1), count(0, 2)
    (15, 14, 65)
    """
    return int(lib.octa_rings_count(*_bounds(first, last)))


def offsets(first: int, last: int) -> NDArray[np.int32]:
    """From a site to those ``first`` to ``last`` steps away.

    first, last : steps, 0 <= first <= last <= 255
    Returns int32 (count(first, last), 3), half edges: by shell, then by the largest absolute value, then by
        those of x, y and z, then by x, y and z, the greatest first; shell 1 is the neighbours in their order
    Raises DomainError (first, last)
    """
    out = np.empty((count(first, last), 3), np.int32)
    check(lib.octa_rings_offsets(first, last, output(out)), "first, last")
    return out


def around(
    function: Callable[..., int], ids: NDArray[np.uint64], words: tuple[int, ...], first: int, last: int
) -> NDArray[np.uint64]:
    """Ids of the cells ``first`` to ``last`` steps from each id, in the order of ``offsets``.

    function : of the C core, for the ids' kind
    ids : uint64 (N, *words)
    words : shape of one id, () or (2,)
    Returns uint64 (N, count(first, last), *words), 0 where that is beyond the map
    Raises DomainError (first, last), as the function, with ``ids`` for a name
    """
    pointer = readable(ids, np.uint64, (None, *words), "ids")
    out = np.empty((len(ids), count(first, last), *words), np.uint64)
    check(function(pointer, len(ids), first, last, output(out)), "ids")
    return out


def _bounds(first: int, last: int) -> tuple[int, int]:
    last = byte(last, STEPS_MAX, "last")
    return byte(first, last, "first"), last
