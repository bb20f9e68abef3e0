"""Read a recording without octastream: how sure were forecasts of cells, and how often were they occupied?

Run: octastream record runs/city --out city_run.mcap && python examples/read_recording.py city_run.mcap
Needs mcap, foxglove-schemas-protobuf and numpy.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from mcap.reader import make_reader

TYPES = {1: "u1", 2: "i1", 3: "<u2", 4: "<i2", 5: "<u4", 6: "<i4", 7: "<f4", 8: "<f8"}


def table(data: bytes) -> np.ndarray:
    """The points of a foxglove.PointCloud, a row each."""
    cloud = PointCloud.FromString(data)
    fields = [(field.name, TYPES[field.type], field.offset) for field in cloud.fields]
    names, formats, offsets = zip(*fields, strict=True)
    layout = np.dtype(
        {"names": names, "formats": formats, "offsets": offsets, "itemsize": cloud.point_stride}
    )
    return np.frombuffer(cloud.data, layout)


def outcomes(path: Path) -> Iterator[np.ndarray]:
    """What was observed half a second after each forecast: places, probability, occupied, cell ids."""
    with path.open("rb") as file:
        for _, channel, message in make_reader(file).iter_messages():
            if channel.topic.endswith("/outcomes_500ms"):
                yield table(message.data)


def main(path: Path) -> None:
    cells = np.concatenate([*outcomes(path)])
    print("forecast      cells  occupied")
    for low in np.arange(0, 1, 0.2):
        chosen = (cells["probability"] >= low) & (cells["probability"] < low + 0.2)
        share = f"{cells['occupied'][chosen].mean():.2f}" if chosen.any() else "-"
        print(f"{low:.1f} to {low + 0.2:.1f} {chosen.sum():9,}  {share:>8}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
