"""Which functions decode something foreign, and which of them are reached by whole inputs."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from tests.data import ROOT
from tests.test_house import LAYERS

NAMED = re.compile(r"(decode|parse|read|unpack|open|from_json|restore|on_(text|binary))(_|d?$)")
FOREIGN = re.compile(r"\b(bytes|memoryview|Path|text: str|location: str)\b")
"""Among the arguments."""


def decoders() -> set[str]:
    """Public functions of the layers in Python that are named as decoders, with foreign bytes, file or text.

    As ``stream/codecs/tf.py decode_cdr``
    """
    return {
        f"{path.relative_to(ROOT).as_posix()} {name}"
        for layer in LAYERS[1:]
        for path in (ROOT / layer).rglob("*.py")
        for name, function in _functions(ast.parse(path.read_text()).body)
        if NAMED.match(function.name) and FOREIGN.search(ast.unparse(function.args))
    }


def _functions(body: list[ast.stmt], within: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{within}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield f"{within}{node.name}", node


def called(work: Callable[[], Any]) -> set[str]:
    """Our functions that are called meanwhile, named as ``decoders`` are."""
    codes = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            codes.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    root = f"{ROOT}/"
    return {
        f"{code.co_filename.removeprefix(root)} {code.co_qualname}"
        for code in codes
        if code.co_filename.startswith(root)
    }
