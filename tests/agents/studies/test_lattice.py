"""The study of lattices: what it samples is what it says, and it ends with a page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents.cli import main
from agents.studies.conduct import PAGE, RESULT
from native.lattice import snap

pytestmark = pytest.mark.learn


def test_points_are_of_the_cell_and_lattices_are_as_dense() -> None:
    from agents.studies import lattice

    rng = np.random.default_rng(0)
    bcc, cubic = lattice._bcc(), lattice._cubic(corners=True)
    half_edge = 0.25 ** (1 / 3)
    points = bcc.draw(rng, 20_000)
    assert points.shape == (20_000, 3)
    assert (snap(points / half_edge) == 0).all()
    inside = (snap(rng.uniform(-2, 2, (200_000, 3))) == 0).all(1).mean()
    assert inside * 64 * half_edge**3 == pytest.approx(1, abs=0.03)  # the volume of a cell
    # The second moment per axis tells a cell's shape: a cube's is 1/12, a truncated octahedron's is less.
    assert cubic.draw(rng, 200_000).var() == pytest.approx(1 / 12, rel=0.01)
    assert points.var() == pytest.approx(0.0785, rel=0.02)
    assert np.abs(cubic.around).sum(1).tolist() == [1.0] * 6 + [3.0] * 8
    assert lattice._cubic(corners=False).present.tolist() == [True] * 6 + [False] * 8


def test_fields_have_variance_one_and_no_frequency_beyond_the_band() -> None:
    from agents.studies import lattice

    bcc = lattice._bcc()
    smooth, rough = (lattice._Field(band, np.random.default_rng(0)).batch(bcc, 0.0) for band in (0.05, 2.0))
    for batch, value in (smooth, rough):
        assert value.var().item() == pytest.approx(1, abs=0.2)
        assert batch["features"].shape == (lattice.BATCH, 4)
    apart = [(batch["features"][:, 0] - value).abs().mean().item() for batch, value in (smooth, rough)]
    assert apart[0] < 0.1 < 0.5 < apart[1]  # a smooth field is the same all over a cell


@pytest.mark.long
def test_the_study_ends_and_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.studies.lattice.BANDS", (0.4, 0.8))
    monkeypatch.setattr("agents.studies.lattice.TEST_BATCHES", 2)
    for name in ("one", "two"):
        out = str(tmp_path / name)
        assert main(["study", "lattice", "--out", out, "--steps", "20", "--seeds", "1"]) == 0
    one, two = ((tmp_path / name / RESULT).read_text() for name in ("one", "two"))
    assert one == two
    result = json.loads(one)
    error, wrong = result["tables"]
    for table in (error, wrong):
        assert [row[0] for row in table["rows"]] == [
            "BCC, 14 neighbours",
            "cubic, 14 neighbours",
            "cubic, 6 neighbours",
        ]
    assert all(0 < value < 1.2 for row in error["rows"] for value in row[1:])
    assert all(0 < value < 0.5 for row in wrong["rows"] for value in row[1:])
    assert len(result["findings"]) == 2
    assert "BCC or cubic" in (tmp_path / "one" / PAGE).read_text()
    assert main(["study", "lattice", "--out", str(tmp_path / "one")]) == 1
    assert main(["study", "lattice", "--out", str(tmp_path / "three"), "--steps", "0"]) == 2
