"""Where sweeps come from: one file a format behind one small interface (``base.Source``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stream.sources.base import Source, SourceError, SourceOptions

SIMULATION_PREFIX = "sim:"
_FORMATS = (
    "an MCAP log, a rosbag2 recording, a folder of .pcd, KITTI .bin, nuScenes .pcd.bin, LAS, PLY or .npz"
    " files, or sim:"
)


def open_source(location: str, options: SourceOptions | None = None) -> Source:
    """Open a log or a simulation by what is there.

    location : path of an ``.mcap``, ``.db3``, ``.pcd``, ``.pcd.bin``, ``.bin``, ``.las``, ``.laz``, ``.ply``,
        ``.npy`` or ``.npz`` file or of a folder of them, or ``sim:...``
    options : how to read it; None takes the defaults
    Raises SourceError, one line: nothing there, nothing in it, or an unknown format. What only reading needs
    (poses, a rate, one cloud topic) is checked when the source is iterated, so that ``info`` works without;
    ModuleNotFoundError when the format needs a package that is not installed
    """
    options = options or SourceOptions()
    if options.odometry:
        from stream.sources.odometry import Odometry

        return Odometry(_open(location, options))
    return _open(location, options)


def _open(location: str, options: SourceOptions) -> Source:
    if location.startswith(SIMULATION_PREFIX):
        from stream.sources.simulator import open_simulator

        return open_simulator(location, options)
    path = Path(location).expanduser()
    try:
        if path.is_dir():
            return _open_folder(path, options)
        return _open_file(path, options)
    except FileNotFoundError as error:
        raise SourceError(f"{location}: no such file or folder") from error
    except OSError as error:
        raise SourceError(f"{location}: {error.strerror or error}") from error


def _open_folder(path: Path, options: SourceOptions) -> Source:
    from stream.sources import kitti, las, nuscenes, pcd, ply, rosbag2, volume
    from stream.sources.sweep_files import list_files

    sweeps = {
        pcd.SUFFIX: list_files(path, pcd.SUFFIX),
        kitti.SUFFIX: kitti.sweep_folder(path),
        nuscenes.SUFFIX: list_files(path, nuscenes.SUFFIX),
        ".las or .laz": las.list_las(path),
    }
    if (path / rosbag2.METADATA_NAME).is_file() and not any(sweeps.values()):
        mcap_file = rosbag2.plain_mcap(path)
        return rosbag2.open_rosbag2(path, options) if mcap_file is None else _open_file(mcap_file, options)
    logs = {suffix: list_files(path, suffix) for suffix in (".mcap", rosbag2.SUFFIX)}
    found = logs | sweeps
    if not any(found.values()):  # a map or arrays beside a log are no second log
        found = {
            ply.SUFFIX: list_files(path, ply.SUFFIX),
            ".npy or .npz": [file for suffix in volume.SUFFIXES for file in list_files(path, suffix)],
        }
    kinds = [kind for kind, files in found.items() if files]
    if not kinds:
        what = "holds no sweeps" if any(path.iterdir()) else "the folder is empty"
        raise SourceError(f"{path}: {what}; expected {_FORMATS}")
    if len(kinds) > 1:
        raise SourceError(f"{path}: holds {' and '.join(kinds)} files; name one file or one folder")
    kind = kinds[0]
    if kind in logs:
        return _open_one(path, kind, logs[kind], options)
    if kind == pcd.SUFFIX:
        return pcd.open_pcd(path, options)
    if kind == kitti.SUFFIX:
        return kitti.open_kitti(path, options)
    if kind == nuscenes.SUFFIX:
        return nuscenes.open_nuscenes(path, options)
    if kind == ply.SUFFIX:
        return ply.open_ply(path, options)
    return las.open_las(path, options) if kind.startswith(".las") else volume.open_volume(path, options)


def _open_one(path: Path, kind: str, logs: Sequence[Path], options: SourceOptions) -> Source:
    if len(logs) == 1:
        return _open_file(logs[0], options)
    way_out = "name one of them"
    if kind != ".mcap":
        way_out += ", or make the missing metadata.yaml with ros2 bag reindex"
    raise SourceError(f"{path}: holds {len(logs)} {kind} files; {way_out}")


def _open_file(path: Path, options: SourceOptions) -> Source:
    from stream.sources import kitti, las, mcap, mcap_file, nuscenes, pcd, ply, rosbag2, volume

    with path.open("rb") as file:
        start = file.read(len(mcap_file.MAGIC))
    if not start:
        raise SourceError(f"{path}: the file is empty")
    suffix = path.suffix.lower()
    if start == mcap_file.MAGIC or suffix == ".mcap":
        return mcap.open_mcap(path, options)
    if suffix == rosbag2.SUFFIX:
        return rosbag2.open_rosbag2(path, options)
    if suffix == pcd.SUFFIX:
        return pcd.open_pcd(path, options)
    if path.name.lower().endswith(nuscenes.SUFFIX):
        return nuscenes.open_nuscenes(path, options)
    if suffix == kitti.SUFFIX:
        return kitti.open_kitti(path, options)
    if suffix in las.SUFFIXES:
        return las.open_las(path, options)
    if suffix == ply.SUFFIX:
        return ply.open_ply(path, options)
    if suffix in volume.SUFFIXES:
        return volume.open_volume(path, options)
    raise SourceError(f"{path}: unknown format {suffix or 'without a suffix'}; expected {_FORMATS}")
