"""Containers under long random sequences of calls, against the model of their records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from native.cells import Rows
from native.container import Container, ContainerOptions, Counts, Extent, RecordKey
from native.errors import DomainError, OctaError
from tests.native.container_checks import CELLS, COLUMNS, GRID, add, assert_same, random_said, state
from tests.native.container_oracle import ContainerModel, Said, sites_of
from tests.native.oracle import NO_SUMS

seeds = st.integers(0, 2**32 - 1)
extents = st.sampled_from(
    [None, Extent(origin=(-4, -4, -4), shape=(4, 4, 4)), Extent(origin=(-2, 0, -2), shape=(2, 3, 1))]
)
columns = st.sampled_from([(), COLUMNS[:1], COLUMNS[1:2], COLUMNS])
stamps = st.integers(100, 160)


class RecordsMachine(RuleBasedStateMachine):
    """A container that keeps its records, and another one beside it that is merged into it now and then."""

    @initialize(
        extent=extents,
        dense=st.booleans(),
        chosen=columns,
        levels=st.integers(1, 4),
        span=st.sampled_from([0, 25]),
        max_records=st.integers(1, 6),
        max_rows=st.sampled_from([60, 200, 100_000]),
        free=st.integers(0, 3),
    )
    def begin(
        self,
        extent: Any,
        dense: bool,
        chosen: Any,
        levels: int,
        span: int,
        max_records: int,
        max_rows: int,
        free: int,
    ) -> None:
        self.options = ContainerOptions(
            levels=levels,
            free_level=min(free, levels - 1),
            extent=extent,
            dense=dense and extent is not None,
            span_ns=span,
            max_records=max_records,
            max_rows=max_rows,
            columns=chosen,
        )
        self.pairs = [(Container(GRID, self.options), ContainerModel(GRID, self.options)) for _ in range(2)]
        self.said: dict[RecordKey, Said] = {}

    def record(self, key: RecordKey, seed: int) -> Said:
        """A key always says the same."""
        if key not in self.said:
            self.said[key] = random_said(np.random.default_rng(seed), self.options, key.stamp_ns)
        return self.said[key]

    @rule(which=st.integers(0, 1), stamp=stamps, source=st.integers(0, 2), part=st.integers(0, 1), seed=seeds)
    def add(self, which: int, stamp: int, source: int, part: int, seed: int) -> None:
        key = RecordKey(stamp, source, part)
        said = self.record(key, seed)
        container, model = self.pairs[which]
        if said.count(self.options.columns) > self.options.max_rows:
            before = state(container)
            with pytest.raises(OctaError):
                container.add(key, said.rows(self.options.columns))
            assert state(container) == before
            return
        add(container, model, key, said)

    @rule(which=st.integers(0, 1), stamp=stamps, source=st.integers(0, 2), part=st.integers(0, 1))
    def remove(self, which: int, stamp: int, source: int, part: int) -> None:
        container, model = self.pairs[which]
        known = sorted(model.records)
        key = known[stamp % len(known)] if known and part else RecordKey(stamp, source, part)
        assert container.remove(key) == Counts(**model.remove(key))

    @rule(which=st.integers(0, 1), stamp=stamps)
    def advance(self, which: int, stamp: int) -> None:
        container, model = self.pairs[which]
        assert container.advance(stamp) == Counts(**model.advance(stamp))

    @rule(which=st.integers(0, 1))
    def merge(self, which: int) -> None:
        (container, model), (other, other_model) = self.pairs[which], self.pairs[1 - which]
        before = set(model.records)
        counted = container.merge(other)
        model.merge(other_model)
        assert counted.known == len(before & other_model.records.keys())
        assert counted.added + counted.late + counted.known == len(other_model.records)
        gone = len(before | other_model.records.keys()) - len(model.records)
        assert counted.expired + counted.evicted + counted.late == gone

    @rule(which=st.integers(0, 1))
    def unmerge(self, which: int) -> None:
        (container, model), (other, other_model) = self.pairs[which], self.pairs[1 - which]
        shared = model.records.keys() & other_model.records.keys()
        assert container.unmerge(other) == Counts(removed=len(shared))
        for key in shared:
            model.remove(key)

    @rule(which=st.integers(0, 1), x=st.integers(-4, 4), y=st.integers(-4, 4), z=st.integers(-4, 4))
    def move(self, which: int, x: int, y: int, z: int) -> None:
        container, model = self.pairs[which]
        if model.extent is not None:
            model.extent = Extent(origin=(2 * x, 2 * y, 2 * z), shape=model.extent.shape)
            container.move(model.extent.origin)

    @rule(which=st.integers(0, 1), at=st.integers(0, 3))
    def refuse(self, which: int, at: int) -> None:
        container, _ = self.pairs[which]
        before = state(container)
        rows = self.record(RecordKey(1, 0, 0), 5).rows(self.options.columns)
        fields = {name: getattr(rows, name) for name in Rows.__slots__}
        if at == 0:
            fields["cell_id"] = rows.cell_id[::-1].copy()
        elif at == 1:
            fields["hits"] = rows.hits + np.uint64(2**36)
        elif at == 2:
            fields["sums"] = rows.sums + 10**6
        else:
            fields["cell_id"] = rows.cell_id ^ np.uint64(1 << 52)
        with pytest.raises(OctaError):
            container.add(RecordKey(150, 9, 9), Rows(**fields))
        assert state(container) == before

    @invariant()
    def shows_its_records(self) -> None:
        for container, model in getattr(self, "pairs", []):
            assert_same(container, model)
            if container.options.dense:
                assert_array_is_copy(container, model)


def assert_array_is_copy(container: Container, model: ContainerModel) -> None:
    """The views of a dense container have what its cells list, and nothing else."""
    views = container.array()
    assert model.extent is not None
    found = {}
    for odd, k, j, i in np.argwhere(views["hits"] | views["passes"]).tolist():
        site = tuple(low + 2 * at + odd for low, at in zip(model.extent.origin, (i, j, k), strict=True))
        found[site] = (views["hits"][odd, k, j, i], views["sums"][odd, k, j, i].tolist())
    cells = container.cells(0)
    listed = (cells.hits > 0) | (cells.passes > 0)
    assert len(found) == listed.sum()


class SumMachine(RuleBasedStateMachine):
    """A container that keeps only the sum; whatever was added can be taken away again."""

    @initialize(
        extent=extents,
        dense=st.booleans(),
        chosen=st.sampled_from([(), COLUMNS[:1]]),
        levels=st.integers(1, 3),
    )
    def begin(self, extent: Any, dense: bool, chosen: Any, levels: int) -> None:
        self.options = ContainerOptions(
            levels=levels,
            free_level=levels - 1,
            keep=False,
            extent=extent,
            dense=dense and extent is not None,
            columns=chosen,
        )
        self.container, self.model = Container(GRID, self.options), ContainerModel(GRID, self.options)
        self.other = Container(GRID, self.options)
        self.in_other: list[Said] = []

    @rule(seed=seeds)
    def add(self, seed: int) -> None:
        add(
            self.container,
            self.model,
            RecordKey(0, 0),
            random_said(np.random.default_rng(seed), self.options, 0),
        )

    @rule(which=st.integers(0, 100))
    def remove(self, which: int) -> None:
        if not self.model.sum:
            return
        _, said = self.model.sum.pop(which % len(self.model.sum))
        rows = said.rows(self.options.columns)
        assert self.container.remove(RecordKey(0, 0), rows) == Counts(removed=1)

    @rule(seed=seeds)
    def add_to_other(self, seed: int) -> None:
        said = random_said(np.random.default_rng(seed), self.options, 0)
        self.other.add(RecordKey(0, 0), said.rows(self.options.columns))
        self.in_other.append(said)

    @rule()
    def merge(self) -> None:
        assert self.container.merge(self.other) == Counts(added=1)
        self.model.sum += [(1, said) for said in self.in_other]

    @rule()
    def merge_and_unmerge(self) -> None:
        before = state(self.container)
        self.container.merge(self.other)
        assert self.container.unmerge(self.other) == Counts(removed=1)
        assert state(self.container) == before

    @rule(cell=st.sampled_from(CELLS))
    def overdraw(self, cell: int) -> None:
        before = state(self.container)
        none = {column.name: (0,) * column.stored for column in self.options.columns}
        rows = Said(cells={cell: (10**9, 0, NO_SUMS, none)}).rows(self.options.columns)
        if self.model.inside(sites_of([cell])[cell]):
            with pytest.raises(DomainError):
                self.container.remove(RecordKey(0, 0), rows)
        else:
            self.container.remove(RecordKey(0, 0), rows)
        assert state(self.container) == before

    @invariant()
    def shows_its_sum(self) -> None:
        if hasattr(self, "model"):
            assert_same(self.container, self.model)


RecordsMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
SumMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestRecordsMachine = RecordsMachine.TestCase
TestSumMachine = SumMachine.TestCase
