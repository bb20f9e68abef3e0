"""One target under atheris, with arguments of libFuzzer: ``python -m tests.decoders.one TARGET``."""

from __future__ import annotations

import sys
import warnings

import atheris

with atheris.instrument_imports(include=["stream", "models", "agents"]):
    from tests.decoders.targets import TARGETS

if __name__ == "__main__":
    warnings.simplefilter("error", RuntimeWarning)  # a person would see it in the middle of something else
    give = TARGETS[sys.argv.pop(1)]

    def one(data: bytes) -> None:
        give(data)  # libFuzzer would take what it returns for a verdict

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
