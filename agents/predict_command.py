"""The command ``octastream predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def predict(
    container: Annotated[Path, typer.Argument(metavar="CONTAINER", help="A stored container with features.")],
    model: Annotated[
        Path,
        typer.Option(
            help="A model, as RUN/models/ID, or a run: the models that it served, from their sweeps on."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the forecasts; one that was cut off is gone on with.")
    ],
    lod: Annotated[
        int | None, typer.Option(min=0, max=15, help="Cells of this LOD. Default: the model's.")
    ] = None,
    frame: Annotated[
        int | None, typer.Option(min=0, max=255, help="Id of the frame, where there are several.")
    ] = None,
) -> None:
    """Forecast every window of a stored container: the bits that the loop would have served."""
    from rich.markup import escape

    from agents import console
    from agents.predict import open_served
    from models.inference import BatchInferenceEngine

    served = open_served(model)
    engine = BatchInferenceEngine(served)
    with console.progress_bar("predicting", unit="windows") as progress:
        found = engine.predict_container(
            container, out, served.lod if lod is None else lod, frame_id=frame, progress=progress
        )
    console.show(
        f"{found.windows:,} windows, {found.rows:,} cells"
        + (f"; {found.known:,} windows were there" if found.known else ""),
        f"forecasts: {escape(str(out))}",
    )
