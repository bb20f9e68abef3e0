"""Every error code has its exception, and the exceptions fit the builtins."""

from __future__ import annotations

import pytest

from native import _octa, errors

lib = _octa.lib


def test_every_code_has_one_class_and_one_description() -> None:
    codes = range(1, lib.OCTA_ERROR_END)
    assert sorted(errors.ERRORS) == list(codes)
    assert len(set(errors.ERRORS.values())) == len(codes)
    assert len({errors.describe(code) for code in range(lib.OCTA_ERROR_END + 1)}) == lib.OCTA_ERROR_END + 1


def test_every_class_is_under_a_builtin() -> None:
    builtins = dict.fromkeys(errors.ERRORS, ValueError)
    builtins[lib.OCTA_E_CAPACITY] = BufferError
    builtins[lib.OCTA_E_MEMORY] = MemoryError
    for code, error in errors.ERRORS.items():
        assert issubclass(error, errors.OctaError)
        assert issubclass(error, builtins[code])


def test_check_raises_with_the_argument_and_the_description() -> None:
    errors.check(lib.OCTA_OK, "points")
    for code, error in errors.ERRORS.items():
        with pytest.raises(error) as caught:
            errors.check(code, "points")
        assert type(caught.value) is error
        assert str(caught.value) == f"points: {errors.describe(code)}"
        with pytest.raises(error) as caught:
            errors.check(code)
        assert str(caught.value) == errors.describe(code)


@pytest.mark.parametrize("code", [0, 1, 1000, 2**32 - 1])
def test_codes_beyond_the_end_are_unknown(code: int) -> None:
    code = max(code, lib.OCTA_ERROR_END)
    assert errors.describe(code) == "unknown error"
    with pytest.raises(errors.OctaError, match="unknown error") as caught:
        errors.check(code)
    assert type(caught.value) is errors.OctaError
