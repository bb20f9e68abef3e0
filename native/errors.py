"""Error codes of the C core as exceptions: one class a code, each also under a fitting builtin."""

from __future__ import annotations

from native._octa import ffi, lib


class OctaError(Exception):
    """Base of all errors raised by the C core."""


class DomainError(OctaError, ValueError):
    """A value is outside its domain: not finite, not positive, or too large."""


class RangeError(OctaError, ValueError):
    """A cell is beyond the map: its coordinates do not fit its id (Index64: -32768..32767 half edges)."""


class ParityError(OctaError, ValueError):
    """Three coordinates are neither all even nor all odd."""


class IdError(OctaError, ValueError):
    """A value is not an id of the expected kind."""


class TextError(OctaError, ValueError):
    """A text is not a cell id in strict bech32m."""


class LodError(OctaError, ValueError):
    """No parent at LOD 0, no children at the finest LOD, no ancestor at a finer LOD."""


class PoseError(OctaError, ValueError):
    """A pose is not a rigid transform."""


class OrderError(OctaError, ValueError):
    """Cell ids do not ascend strictly, or a record is older than the window."""


class CapacityError(OctaError, BufferError):
    """A buffer is too small for the result, or a record too large for the window."""


class OutOfMemoryError(OctaError, MemoryError):
    """Allocation failed; the handle is intact."""


ERRORS: dict[int, type[OctaError]] = {
    lib.OCTA_E_DOMAIN: DomainError,
    lib.OCTA_E_RANGE: RangeError,
    lib.OCTA_E_PARITY: ParityError,
    lib.OCTA_E_ID: IdError,
    lib.OCTA_E_TEXT: TextError,
    lib.OCTA_E_LOD: LodError,
    lib.OCTA_E_POSE: PoseError,
    lib.OCTA_E_ORDER: OrderError,
    lib.OCTA_E_CAPACITY: CapacityError,
    lib.OCTA_E_MEMORY: OutOfMemoryError,
}


def describe(code: int) -> str:
    """Sentence for an error code; codes from ``OCTA_ERROR_END`` on give ``unknown error``."""
    return str(ffi.string(lib.octa_describe_error(code)).decode())


def check(code: int, argument: str = "") -> None:
    """Raise the exception of an error code.

    code : what a function of the C core returned; 0 returns without effect
    argument : name of the argument at fault, put before the description
    Raises the class in ``ERRORS``, or OctaError for an unknown code
    """
    if code == lib.OCTA_OK:
        return
    text = describe(code)
    raise ERRORS.get(code, OctaError)(f"{argument}: {text}" if argument else text)
