"""Builds the C core; everything else is declared in pyproject.toml."""

from setuptools import setup
from setuptools.command.build_ext import build_ext


class BuildCore(build_ext):
    """Links without a run path: some interpreters hand theirs on, and it names a place on that machine."""

    def build_extensions(self) -> None:
        """Build."""
        linker = self.compiler.linker_so
        self.compiler.linker_so = [word for word in linker if not word.startswith("-Wl,-rpath")]
        super().build_extensions()


setup(
    cffi_modules=["native/build_ffi.py:ffibuilder"],
    cmdclass={"build_ext": BuildCore},
    # The C core uses the limited API alone, so one wheel serves every Python from 3.11 on.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
