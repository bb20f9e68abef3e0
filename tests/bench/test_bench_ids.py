"""The benchmark of ids without its peer: it says so, and its plot can still be drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from native import index64
from tests.bench import bench_ids, crate, plot_ids

N = 40


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    def call(name: str) -> None:
        raise RuntimeError("no cargo")

    monkeypatch.setattr(crate, "call", call)
    monkeypatch.setattr(bench_ids, "SIZES", (N,))
    monkeypatch.setattr(bench_ids, "MAIN", N)
    monkeypatch.setattr(bench_ids, "TIMED_S", 1e-5)
    return bench_ids.run(rounds=1)


def test_a_peer_that_is_missing_is_said(results: dict[str, object], tmp_path: Path) -> None:
    assert results["ratios"] == {}
    assert results["sizes"][0]["missing"] == {"OctaIndex3D": "no cargo"}  # type: ignore[index]
    assert "not here: OctaIndex3D (no cargo)" in bench_ids.report(results)
    plot_ids.plot(results, tmp_path / "ids.png")
    assert (tmp_path / "ids.png").stat().st_size > 10_000


def test_results_are_compared_as_the_crate_gives_them() -> None:
    sites = bench_ids.sites_of(N)
    tasks = bench_ids.tasks_of(sites)
    packed = bench_ids.flat("decode", tasks["decode"]())
    coordinates = np.stack([packed >> np.uint64(shift) & np.uint64(0xFFFF) for shift in (0, 16, 32)], 1)
    assert (coordinates.astype(np.int64) - index64.BIAS == sites).all()
    ring = bench_ids.flat("ring of 2", tasks["ring of 2"]())
    mixed = ring.reshape(N, -1)[:, ::-1].reshape(-1)
    bench_ids.check_same("ring of 2", ring, mixed, N)
    with pytest.raises(AssertionError, match="neighbours: OctaIndex3D makes something else"):
        bench_ids.check_same("neighbours", ring, mixed, N)
