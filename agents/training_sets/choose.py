"""Cells of a run that an expression chooses, to train on what went wrong."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.training_sets.manifest import TrainingSetError
from stream.run_tables import run_tables

COLUMNS = """
SELECT p.*, o.occupied, o.before, o.observed_stamp_ns, s.persistence, s.frequency, s.linear, s.frozen,
       -ln(CASE WHEN o.occupied THEN p.probability ELSE 1 - p.probability END) AS loss
FROM predictions p
LEFT JOIN outcomes o USING (prediction_id, horizon_ns, cell_id)
LEFT JOIN shadows s USING (prediction_id, cell_id)
"""
"""What an expression may speak of; ``loss`` is in nats, null where nobody saw the cell."""


def chosen_cells(run: Path, expression: str) -> dict[str, NDArray[np.uint64]]:
    """Cells by prediction for which an expression is true at one horizon or more, ascending.

    Raises ExpressionError, TableError, TrainingSetError where files of the run are damaged
    """
    found: dict[str, list[NDArray[np.uint64]]] = defaultdict(list)
    with run_tables(run) as tables:
        if tables.damaged:
            raise TrainingSetError(f"{run}: damaged: {', '.join(tables.damaged)}")
        for batch in tables.where(COLUMNS, expression):
            names, place = np.unique(batch["prediction_id"].astype(str), return_inverse=True)
            for number, name in enumerate(names.tolist()):
                found[name].append(batch["cell_id"][place == number].astype(np.uint64))
    return {name: np.unique(np.concatenate(cells)) for name, cells in found.items()}
