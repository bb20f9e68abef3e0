"""Errors as a user meets them: one line that says what is wrong and the way out, and an exit code."""

from __future__ import annotations

import errno
from importlib.util import find_spec

import typer

from stream.addresses import text_shown

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_DAMAGED = 3
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130

OWN_PACKAGES = frozenset({"native", "stream", "models", "agents"})
"""Errors defined here are written for people; others are shown with their class."""

LEARNING_PACKAGES = ("torch", "onnx", "river")
"""What the extra ``learn`` installs and nothing but learning imports."""

KAFKA_PACKAGES = ("aiokafka", "faust", "mode")
"""What the extra ``kafka`` installs and nothing but agents/kafka imports."""

SERVE_PACKAGES = ("fastapi", "uvicorn", "httptools", "uvloop", "orjson", "starlette")
"""What the extra ``serve`` installs and nothing but agents/web imports."""

FORMAT_PACKAGES = ("rosbags", "laspy", "lazrs", "plyfile", "defusedxml")
"""What the extra ``formats`` installs and nothing but stream/sources imports."""


ANALYSIS_PACKAGES = ("duckdb",)
"""What the extra ``analysis`` installs and nothing but stream/run_tables.py imports."""

TRAINING_PACKAGES = {"tensorboard": "train", "ray": "tune"}
"""What training outside the loop may need, and the extra that installs it."""

OBJECT_PACKAGES = ("scipy",)
"""What the extra ``objects`` installs and nothing but models/objects imports."""


def require_learning() -> None:
    """Raises ModuleNotFoundError when a package that learning needs is not installed."""
    for name in LEARNING_PACKAGES:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def describe(error: BaseException) -> tuple[str, int]:
    """One line for an error, empty when all has been said, and the exit code that goes with it.

    Addresses are without their secrets, also where a library's error repeats what a user gave
    """
    line, code = _described(error)
    return text_shown(line), code


def _described(error: BaseException) -> tuple[str, int]:
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return "interrupted", EXIT_INTERRUPTED
    if isinstance(error, typer.TyperException):
        message = _line(error.format_message())
        return f"{message} (octastream --help)" if message else "", EXIT_USAGE
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package and package not in OWN_PACKAGES:
        return _missing(package), EXIT_ERROR
    if type(error).__module__.partition(".")[0] in OWN_PACKAGES:
        return _line(str(error)), EXIT_ERROR
    if type(error).__module__.partition(".")[0] in KAFKA_PACKAGES:
        return _line(f"Kafka: {type(error).__name__}: {error}"), EXIT_ERROR
    if isinstance(error, OSError):
        return _os_error(error), EXIT_ERROR
    text = f"internal error: {type(error).__name__}: {_line(str(error))} (OCTA_DEBUG=1 shows where)"
    return text, EXIT_INTERNAL


def _line(text: str) -> str:
    return " ".join(text.split())


def _missing(package: str) -> str:
    if package in LEARNING_PACKAGES:
        return f"learning needs {package}: pip install 'octastream[learn]', or add --no-learn"
    if package in TRAINING_PACKAGES:
        return f"this needs {package}: pip install 'octastream[{TRAINING_PACKAGES[package]}]'"
    if package in KAFKA_PACKAGES:
        return f"Kafka needs {package}: pip install 'octastream[kafka]'"
    if package in SERVE_PACKAGES:
        return f"serving needs {package}: pip install 'octastream[serve]'"
    if package in FORMAT_PACKAGES:
        return f"reading this log needs {package}: pip install 'octastream[formats]'"
    if package in ANALYSIS_PACKAGES:
        return f"error maps and --where need {package}: pip install 'octastream[analysis]'"
    if package in OBJECT_PACKAGES:
        return f"finding objects needs {package}: pip install 'octastream[objects]'"
    return f"the package {package} is not installed: pip install {package}"


def _os_error(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{name}disk full: free some space, then run again with --force"
    if error.errno == errno.ENOENT and error.filename:
        return f"{name}no such file or folder"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
        return f"{name}{(error.strerror or 'permission denied').lower()}; name a place you may use"
    return _line(f"{name}{error.strerror}" if error.strerror and error.filename else str(error))
