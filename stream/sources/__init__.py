"""Where sweeps come from: one file a format behind one small interface (``base.Source``)."""

from __future__ import annotations

from pathlib import Path

from stream.sources.base import Source, SourceError, SourceOptions

SIMULATION_PREFIX = "sim:"
_FORMATS = "an MCAP log, a folder of .pcd or KITTI .bin files, or sim:"


def open_source(location: str, options: SourceOptions | None = None) -> Source:
    """Open a log or a simulation by what is there.

    location : path of an ``.mcap``, ``.pcd`` or ``.bin`` file or of a folder of them, or ``sim:...``
    options : how to read it; None takes the defaults
    Raises SourceError, one line: nothing there, nothing in it, or an unknown format. What only reading needs
    (poses, a rate, one cloud topic) is checked when the source is iterated, so that ``info`` works without
    """
    options = options or SourceOptions()
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
    from stream.sources import kitti, pcd
    from stream.sources.sweep_files import list_files

    clouds, logs = list_files(path, pcd.SUFFIX), list_files(path, ".mcap")
    bins = kitti.sweep_folder(path)
    kinds = [name for name, found in ((".pcd", clouds), (".mcap", logs), (".bin", bins)) if found]
    if len(kinds) > 1:
        raise SourceError(f"{path}: holds {' and '.join(kinds)} files; name one file or one folder")
    if clouds:
        return pcd.open_pcd(path, options)
    if bins:
        return kitti.open_kitti(path, options)
    if len(logs) == 1:
        return _open_file(logs[0], options)
    if logs:
        raise SourceError(f"{path}: holds {len(logs)} .mcap files; name one of them")
    what = "holds no sweeps" if any(path.iterdir()) else "the folder is empty"
    raise SourceError(f"{path}: {what}; expected {_FORMATS}")


def _open_file(path: Path, options: SourceOptions) -> Source:
    from stream.sources import kitti, mcap, mcap_file, pcd

    with path.open("rb") as file:
        start = file.read(len(mcap_file.MAGIC))
    if not start:
        raise SourceError(f"{path}: the file is empty")
    suffix = path.suffix.lower()
    if start == mcap_file.MAGIC or suffix == ".mcap":
        return mcap.McapSource(path, options)
    if suffix == pcd.SUFFIX:
        return pcd.open_pcd(path, options)
    if suffix == kitti.SUFFIX:
        return kitti.open_kitti(path, options)
    raise SourceError(f"{path}: unknown format {suffix or 'without a suffix'}; expected {_FORMATS}")
