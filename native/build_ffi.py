"""Compile the C core into ``native._octa`` (cffi, API mode, out of line)."""

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
WARNINGS = ["-Wall", "-Wextra", "-Werror=incompatible-pointer-types", "-Werror=implicit-function-declaration"]
# No contraction: a fused multiply-add changes last bits, and cell ids must not depend on the machine.
# No errno and no traps: neither changes a result, and loops with floor and comparisons vectorise.
FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-fvisibility=hidden", "-g0"]

ffibuilder = FFI()
ffibuilder.cdef((HERE / "octa.cdef.txt").read_text())
ffibuilder.set_source(
    "native._octa",
    '#include "octa.h"',
    sources=sorted(os.path.relpath(path) for path in (HERE / "src").glob("*.c")),
    include_dirs=[os.path.relpath(HERE / "include")],
    extra_compile_args=FLAGS + WARNINGS,
    libraries=["m"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
