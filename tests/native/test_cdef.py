"""The declarations that Python compiles against are those of the header, and the C tests name them all."""

from __future__ import annotations

import re

from tests.data import ROOT

HEADER = ROOT / "native" / "include" / "octa.h"
CDEF = ROOT / "native" / "octa.cdef.txt"
C_TESTS = ROOT / "tests" / "native" / "c"


def declarations(text: str) -> list[str]:
    """Declarations in order: comments, guards and includes dropped, white space normalised."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    text = re.sub(r"//[^\n]*", " ", text)
    text = re.sub(r'#ifdef __cplusplus\n(extern "C" \{|\})\n#endif', " ", text)
    found = []
    for chunk in re.split(r"(^[ \t]*#[^\n]*$)", text, flags=re.MULTILINE):
        if re.match(r"[ \t]*#", chunk):
            constant = re.fullmatch(r"[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+(\S.*?)\s*", chunk)
            found += [f"#define {constant[1]} {constant[2]}"] if constant else []
            continue
        for statement in re.findall(r"[^;{}]*(?:\{[^{}]*\}[^;{}]*)?;", chunk):
            found.append(re.sub(r"\s*([*(),;{}=\[\]])\s*", r"\1", " ".join(statement.split())))
    return found


def functions() -> list[str]:
    return re.findall(r"\b(octa_\w+)\(", " ".join(declarations(HEADER.read_text())))


def test_the_reader_of_declarations_sees_differences() -> None:
    text = (
        "#ifndef A\n#define A\n#define B 2 /* two */\nenum { X = 0, Y };\nint f(const int *a,\n  long b);\n"
    )
    assert declarations(text) == ["#define B 2", "enum{X=0,Y};", "int f(const int*a,long b);"]
    assert declarations(text) != declarations(text.replace("const ", ""))
    assert declarations(text) != declarations(text.replace("B 2", "B 3"))


def test_header_and_cdef_declare_the_same() -> None:
    header, cdef = declarations(HEADER.read_text()), declarations(CDEF.read_text())
    assert len(functions()) >= 25
    assert cdef == header


def test_the_c_tests_call_every_function() -> None:
    source = "\n".join(path.read_text() for path in sorted(C_TESTS.glob("*.c")))
    assert [name for name in functions() if not re.search(rf"\b{name}\(", source)] == []
