"""Cells in a file, one by one: written in any order, read by LOD in that of their ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
from numpy.typing import NDArray

from models.datasets.container_v1 import is_container_v1, read_frames
from models.datasets.place import Place
from models.datasets.stored import StoredContainer, StoredError, files_of
from models.datasets.window import FEATURES, cells_of_grid, feature_names_of, lattice_of, with_features
from models.datasets.writer import ContainerWriter
from native.errors import OctaError
from native.grid import Grid
from native.index64 import LOD_MAX, decode, neighbors
from native.schema import MismatchError
from stream.cell_rows import locate

Floats = NDArray[np.float32]

MAX_CELLS = 2**27
"""Cells that are taken from a container v1, 1 GiB of ids: a small file may say that it holds far more."""


class SequentialContainer:
    """Features of cells of one frame, at any LODs, by cell id; made by ``create`` or ``open``.

    On disk it is a stored container (``models.datasets.stored``), a window a LOD, so datasets read it, too.
    One that holds several windows of a LOD is refused: it has no one value a cell. What ``open`` reads is
    held in memory a LOD at a time, as it is asked for.
    """

    def __init__(
        self, place: Path, half_edge_lod0_m: float, frame_id: int, tier: int, names: Sequence[str]
    ) -> None:
        self.place, self.half_edge_lod0_m = place, half_edge_lod0_m
        self.frame_id, self.tier, self.feature_names = frame_id, tier, tuple(names)
        self._new: dict[int, dict[int, Floats]] | None = None
        self._read: dict[int, tuple[NDArray[np.uint64], Floats]] = {}
        self._lods: tuple[int, ...] = ()

    @classmethod
    def create(
        cls,
        path: str | Path,
        feature_names: Sequence[str],
        *,
        half_edge_lod0_m: float,
        frame_id: int,
        tier: int = 0,
    ) -> Self:
        """A new container, into which cells are inserted; nothing is on disk before ``finalize``.

        path : a folder, new or empty; feature_names : F, each once, may be none; half_edge_lod0_m : metres
        Raises FileExistsError, ValueError
        """
        place = Path(path)
        if not Place(place).is_empty():
            raise FileExistsError(f"{path}: is not an empty folder; name another one")
        if not 0 < half_edge_lod0_m < np.inf:
            raise ValueError(f"half_edge_lod0_m: {half_edge_lod0_m} must be > 0 and finite")
        if len(set(feature_names)) < len(feature_names):
            raise ValueError(f"feature_names: {list(feature_names)} has a name twice")
        Grid(half_edge_m=half_edge_lod0_m, frame=frame_id, tier=tier)  # refuses numbers out of range
        container = cls(place, half_edge_lod0_m, frame_id, tier, feature_names)
        container._new = {}
        return container

    @classmethod
    def open(cls, path: str | Path, *, half_edge_lod0_m: float | None = None) -> Self:
        """A container that is on disk: a stored one, or a file of container v1 of OctaIndex3D.

        half_edge_lod0_m : of a container v1, which does not say it; of others it must be left out
        The frames of a v1 are read as ids of cells (Index64), eight bytes each and big-endian; they have no
        features. ``models.datasets.container_v1.read_frames`` gives frames of anything else.
        Raises StoredError, MismatchError
        """
        place = Path(path)
        if place.is_file() and is_container_v1(place):
            return cls._open_v1(place, half_edge_lod0_m)
        if half_edge_lod0_m is not None:
            raise MismatchError(f"half_edge_lod0_m: {path} says its own; leave it out")
        return cls._open_stored(place)

    @classmethod
    def _open_stored(cls, place: Path) -> Self:
        source, lattices, names = Place(place), {}, set()
        for name in files_of(source):
            with source.open(name) as file:
                schema = ipc.open_file(file).schema
            said = lattice_of(schema, source.shown(name))
            lod = int(said["lod"])
            lattices[lod] = (int(said["frame"]), int(said["tier"]), float(said["half_edge_m"]) * 2.0**lod)
            names.add(_names_of(schema))
        if len(set(lattices.values())) != 1 or len(names) != 1:
            raise MismatchError(f"{place}: its LODs differ in frame, tier, half edge or features: {lattices}")
        frame_id, tier, half_edge_lod0_m = next(iter(lattices.values()))
        container = cls(place, half_edge_lod0_m, frame_id, tier, next(iter(names)))
        container._lods = tuple(sorted(lattices))
        return container

    @classmethod
    def _open_v1(cls, place: Path, half_edge_lod0_m: float | None) -> Self:
        if half_edge_lod0_m is None or not 0 < half_edge_lod0_m < np.inf:
            raise MismatchError(
                f"half_edge_lod0_m: {half_edge_lod0_m}: a container v1 does not say it; give metres"
            )
        found = []
        for number, frame in enumerate(read_frames(place)):
            if len(frame) % 8:
                raise StoredError(
                    f"{place}: frame {number} has {len(frame)} bytes, so it holds no ids of cells"
                )
            found.append(np.frombuffer(frame, ">u8").astype(np.uint64))
            if sum(map(len, found)) > MAX_CELLS:
                raise StoredError(f"{place}: holds more than {MAX_CELLS:,} cells; read its frames one by one")
        ids = np.unique(np.concatenate([*found, np.zeros(0, np.uint64)]))
        try:
            parts = decode(ids)
        except (OctaError, ValueError) as error:
            raise StoredError(f"{place}: holds no ids of cells: {error}") from error
        if len(np.unique(np.stack([parts.frame, parts.tier]), axis=1).T) > 1:
            raise MismatchError(f"{place}: holds cells of several frames or tiers")
        frame_id, tier = (int(parts.frame[0]), int(parts.tier[0])) if len(ids) else (0, 0)
        container = cls(place, half_edge_lod0_m, frame_id, tier, ())
        container._lods = tuple(np.unique(parts.lod).tolist())
        for lod in container._lods:
            own = ids[parts.lod == lod]
            container._read[lod] = own, np.zeros((len(own), 0), np.float32)
        return container

    @property
    def lods(self) -> tuple[int, ...]:
        """LODs of which there are cells, ascending."""
        return tuple(sorted(self._new)) if self._new is not None else self._lods

    def insert(self, index: int, features: Floats | Sequence[float] = ()) -> None:
        """Put a cell in; one that is there gets new features.

        index : id of a cell of the container's frame and tier; features : float32 (F,)
        Raises ValueError (not made by ``create``, or finalized; another number of features),
        MismatchError (another frame or tier), IdError, ParityError
        """
        if self._new is None:
            raise ValueError(f"{self.place}: is on disk, and stays as it is; create another container")
        values = np.asarray(features, np.float32)
        if values.shape != (len(self.feature_names),):
            raise ValueError(f"features: expected ({len(self.feature_names)},), got {values.shape}")
        parts = decode(np.array([index], np.uint64))
        if (parts.frame[0], parts.tier[0]) != (self.frame_id, self.tier):
            raise MismatchError(
                f"index: is of frame {parts.frame[0]}, tier {parts.tier[0]}; the container is of frame "
                f"{self.frame_id}, tier {self.tier}"
            )
        self._new.setdefault(int(parts.lod[0]), {})[int(index)] = values.copy()

    def finalize(self) -> None:
        """Write the container: whole, or, after a crash, none. Reading goes on; inserting does not."""
        if self._new is None:
            raise ValueError(f"{self.place}: is on disk already")
        with ContainerWriter(self.place) as writer:
            for lod in self.lods:
                ids, x = self._level(lod)
                window = cells_of_grid(self._grid(lod), ids)
                writer.write(with_features(window, self.feature_names, x) if self.feature_names else window)
        self._lods, self._new = self.lods, None

    def iter_at_lod(self, lod: int) -> Iterator[int]:
        """Ids of the cells of a LOD, ascending; none where there are no such cells. Raises StoredError"""
        yield from self._level(lod)[0].tolist()

    def get_features(self, index: int) -> Floats:
        """Features of a cell, float32 (F,); raises KeyError where there is no such cell."""
        ids, x = self._level(self._lod_of(index))
        row, known = locate(ids, np.array([index], np.uint64))
        if not known[0]:
            raise KeyError(f"index: no cell {index} in {self.place}")
        found: Floats = x[row[0]]
        return found

    def index_to_position(self, index: int) -> NDArray[np.float64]:
        """The site of a cell in the container's frame, metres, float64 (3,); it need not be in it."""
        lod = self._lod_of(index)
        sites = decode(np.array([index], np.uint64)).sites[0]
        position: NDArray[np.float64] = sites * (self.half_edge_lod0_m / 2.0**lod)
        return position

    def get_neighbors(self, index: int) -> list[int]:
        """Those of the 14 neighbours of a cell that are in the container, in their order."""
        around = neighbors(np.array([index], np.uint64))[0]
        known = locate(self._level(self._lod_of(index))[0], around)[1]
        return [int(cell) for cell in around[known]]

    def __len__(self) -> int:
        """Cells of all LODs."""
        return sum(len(self._level(lod)[0]) for lod in self.lods)

    # ---- levels

    def _lod_of(self, index: int) -> int:
        return int(decode(np.array([index], np.uint64)).lod[0])

    def _grid(self, lod: int) -> Grid:
        return Grid(
            half_edge_m=self.half_edge_lod0_m / 2.0**lod, frame=self.frame_id, tier=self.tier, lod=lod
        )

    def _level(self, lod: int) -> tuple[NDArray[np.uint64], Floats]:
        """Ids, ascending, uint64 (N,), and features, float32 (N, F), of a LOD."""
        if not 0 <= lod <= LOD_MAX:
            raise ValueError(f"lod: {lod} must be 0..{LOD_MAX}")
        if self._new is not None:
            return _ascending(self._new.get(lod, {}), len(self.feature_names))
        if lod not in self._lods:
            return _ascending({}, len(self.feature_names))
        if lod not in self._read:
            windows = list(StoredContainer(self.place, self.frame_id, lod))
            if len(windows) > 1:
                raise MismatchError(
                    f"{self.place}: has {len(windows)} windows of LOD {lod}; read them as a dataset"
                )
            cells = windows[0].cell_id if windows else np.zeros(0, np.uint64)
            x = windows[0].features(self.feature_names, np.nan) if windows and self.feature_names else None
            self._read[lod] = cells, np.zeros((len(cells), 0), np.float32) if x is None else x
        return self._read[lod]


def _ascending(cells: Mapping[int, Floats], width: int) -> tuple[NDArray[np.uint64], Floats]:
    ids = np.array(sorted(cells), np.uint64)
    x = np.array([cells[int(cell)] for cell in ids.tolist()], np.float32).reshape(len(ids), width)
    return ids, x


def _names_of(schema: pa.Schema) -> tuple[str, ...]:
    return feature_names_of(schema) if FEATURES in schema.names else ()
