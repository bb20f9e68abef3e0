"""``octastream cell``: ids of every kind and form, as tables and as JSON."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from agents.cell import json_lines, read
from agents.cli import main
from native.errors import IdError, ParityError, TextError
from tests.native import id_oracle
from tests.native.golden import BIAS, is_site, rows

SITE_ID, SITE_TEXT = 0x8007E00000000000, "i3d11sqr7qqqqqqqqqpmnt5z"
OFFSETS = [(0, 0, 0), (2, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1)]


def feed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def around(
    site: list[int], low: int, high: int, steps: list[tuple[int, ...]], scale: int = 1
) -> list[list[int]]:
    found = [[scale * v + d for v, d in zip(site, step, strict=True)] for step in steps]
    return [there for there in found if all(low <= v <= high for v in there)]


def test_json_is_what_the_vectors_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every site of the vectors at once, from standard input; forms take turns."""
    vectors = [row for name in ("index64", "route64", "galactic128", "hilbert64") for row in rows(name)]
    vectors = [row for row in vectors if row["kind"] in ("route64", "galactic128") or is_site(row["coord"])]
    forms = [
        [row["raw_hex"], str(int(row["raw_hex"], 16)), row.get("bech32m", row["raw_hex"])] for row in vectors
    ]
    feed(monkeypatch, "".join(f"{form[i % 3]}\n" for i, form in enumerate(forms)))
    assert main(["cell", "--json", "-"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == len(vectors) > 600
    for row, line in zip(vectors, lines, strict=True):
        assert line["kind"] == row["kind"] and line["hex"] == row["raw_hex"]
        assert line["decimal"] == str(int(row["raw_hex"], 16))
        assert line.get("bech32m") == row.get("bech32m")
        bias = BIAS if row["kind"] in ("index64", "hilbert64") else 0
        assert [line["x"], line["y"], line["z"]] == [v - bias for v in row["coord"]]
        for key in ("frame", "lod", "scale_mant", "attr_usr"):
            assert line.get(key) == row.get(key)
        assert line["tier"] == row.get("tier", row.get("scale_tier"))
        if row["kind"] == "route64":
            assert "parent" not in line and "children" not in line and "frame" not in line


def test_family_and_neighbours_are_those_of_the_site() -> None:
    for row in rows("index64"):
        if not is_site(row["coord"]):
            continue
        site, fields = [v - BIAS for v in row["coord"]], [row["frame"], row["tier"]]
        line = json.loads(next(json_lines([row["raw_hex"]]))[0])

        def ids(sites: list[list[int]], lod: int, fields: list[int] = fields) -> list[str]:
            return [f"0x{id_oracle.index64(tuple(s), *fields, lod):016x}" for s in sites]  # type: ignore[arg-type]

        lod = row["lod"]
        assert line["neighbours"] == ids(around(site, -32768, 32767, id_oracle.STEPS), lod)
        below = around(site, -32768, 32767, OFFSETS, scale=2)
        assert line["children"] == (ids(below, lod + 1) if lod < 15 else [])
        if lod == 0:
            assert line["parent"] is None
        else:
            up = json.loads(next(json_lines([line["parent"]]))[0])
            assert up["lod"] == lod - 1
            assert site in around([up["x"], up["y"], up["z"]], -(2**20), 2**20, OFFSETS, scale=2)


def test_a_galactic128_has_a_family_too() -> None:
    row = next(r for r in rows("galactic128") if max(map(abs, r["coord"])) < 2**29 and 0 < r["lod"] < 63)
    line = json.loads(next(json_lines([row["bech32m"]]))[0])
    assert len(line["children"]) == 8 and len(line["neighbours"]) == 14
    for child in line["children"]:
        below = json.loads(next(json_lines([child]))[0])
        assert below["parent"] == line["hex"] and below["attr_usr"] == line["attr_usr"]
        assert below["lod"] == line["lod"] + 1


def test_a_table_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cell", hex(SITE_ID), SITE_TEXT.upper(), "--set", "grid.half_edge_lod0_m=64"]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    assert first.split() == second.split()
    shown = " ".join(first.split())
    assert (
        f"kind Index64 hex {SITE_ID:#018x} decimal {SITE_ID} bech32m {SITE_TEXT} frame 0 tier 0 lod 7"
        in shown
    )
    assert "site 0 0 0 center 0 0 0 m, half edge 0.5 m" in shown
    assert "parent 0x8006e00000000000 0 0 0 children" in shown
    for site in id_oracle.STEPS:
        assert " ".join(map(str, site)) in shown


def test_a_route64_has_no_family_in_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cell", hex(1 << 62)]) == 0
    shown = capsys.readouterr().out
    assert "Route64" in shown and "neighbours" in shown
    assert not {"parent", "children", "lod", "frame", "center"} & set(shown.split())


def test_what_is_no_id_gets_its_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, f"{SITE_ID}\n\n  \nnonsense\n0x8007e00000000001\n  {SITE_TEXT}  \n")
    assert main(["cell", "--json", "-"]) == 1
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert [line.get("hex") for line in lines] == [hex(SITE_ID), None, None, hex(SITE_ID)]
    assert lines[1] == {
        "input": "nonsense",
        "error": "nonsense: expected 0x and hexadecimal digits, decimal digits, or bech32m",
    }
    assert lines[2]["input"] == "0x8007e00000000001"
    assert lines[2]["error"].startswith("0x8007e00000000001: mixed parity")
    assert shown.err == "octastream: no ids of cells: 2\n"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("12", IdError, "12: 0xc: no id of any kind"),
        ("0x8007e00000000001", ParityError, "0x8007e00000000001: mixed parity"),
        ("i3d11sqr7qqqqqqqqqpmnt5q", TextError, "i3d11sqr7qqqqqqqqqpmnt5q: not a cell id in strict bech32m"),
        ("cx3d1llll", TextError, "cx3d1llll: expected 0x"),
    ],
)
def test_errors_name_the_id(
    text: str, error: type[Exception], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error) as caught:
        read(text)
    assert str(caught.value).startswith(words)
    assert main(["cell", text]) == 1
    assert capsys.readouterr().err.startswith(f"octastream: {words}")


def test_nothing_on_standard_input_is_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[Any]
) -> None:
    for arguments in (["cell", "-"], ["cell", "--json", "-"]):
        feed(monkeypatch, "\n")
        assert main(arguments) == 0
        assert capsys.readouterr().out == ""
    assert main(["cell"]) == 2
