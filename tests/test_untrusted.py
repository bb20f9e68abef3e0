"""Our sources use nothing that runs code which lies in data."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.test_house import MODULES, imported, relative

RUN_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "xml"}
"""Modules whose readers run what they read, or blow up on it."""
ALLOWED = {("stream/annotations/tracklets.py", "xml.etree.ElementTree")}
"""A type; defusedxml reads."""
SAFE = {"torch.load": "weights_only=True"}
REFUSED = {
    "eval", "exec", "os.system", "numpy.load",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.safe_load", "yaml.safe_load_all",
}  # fmt: skip
"""numpy does without pickle unless told otherwise; read_yaml bounds what becomes of a text."""

SUSPECT = re.compile(r"pickle|marshal|shelve|dill|joblib|xml|load\(|eval\(|exec\(|system|shell=")
"""Files without any of these words need not be parsed."""


def trust(path: str, source: str) -> Iterator[str]:
    """What in one file would run code out of data."""
    if not SUSPECT.search(source):
        return
    tree = ast.parse(source)
    for name in imported(tree):
        if name.split(".")[0] in RUN_CODE and (path, name) not in ALLOWED:
            yield f"imports {name}"
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, given = ast.unparse(call.func), {item.arg: item.value for item in call.keywords}
        if name in REFUSED:
            yield f"calls {name}"
        said = {f"{option}={ast.unparse(value)}" for option, value in given.items()}
        if name in SAFE and SAFE[name] not in said:
            yield f"calls {name} without {SAFE[name]}"
        if "allow_pickle=True" in said or "shell=True" in said:
            yield f"calls {name} with {' '.join(said)}"


def test_no_source_runs_code_out_of_data() -> None:
    found = {relative(path): list(trust(relative(path), path.read_text())) for path in MODULES}
    assert {path: said for path, said in found.items() if said} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from xml.etree import ElementTree", "torch.load(path)", "eval(text)",
        "yaml.load(text)", "yaml.safe_load(text)", "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)", "run('ls', shell=True)",
    ],
)  # fmt: skip
def test_what_would_is_found(source: str) -> None:
    assert list(trust("stream/x.py", source))
