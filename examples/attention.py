"""Train a graph attention network on stored containers, tune it, export it, and serve it as the loop would.

Run: python examples/attention.py [LOG [TRIALS [SWEEPS]]]
Without a log, on a simulated drive; without trials it is not tuned. Needs the extras learn, train and tune.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from agents.cli import main as octastream
from models.net_export import export_net
from models.probability import GRID, quantise
from models.runtime import OnnxModel
from models.training.checkpoint import BEST, load_model
from models.training.course import Course, open_course
from models.training.trainer_config import TrainerConfig

DRIVE = "sim:city?sweeps=14&beams=32&azimuths=128&seed=3"


def main(location: str = DRIVE, trials: str = "0", sweeps: str = "14") -> float:
    """Returns the largest difference between what torch and the runtime answer."""
    with tempfile.TemporaryDirectory() as name:
        run, stored, out = (Path(name) / part for part in ("run", "stored", "attention"))
        settings = ["--sweeps", sweeps, "--set", "task.warmup_sweeps=2"]
        if octastream(["replay", location, "--out", str(run), "--no-learn", *settings]) != 0:
            raise SystemExit(f"{location}: cannot be replayed")
        octastream(["dataset", "windows", str(run), "--out", str(stored)])

        course = Course(
            container=stored, net="attention", hidden_dim=16, num_layers=1, batch_size=1,
            trainer=TrainerConfig(epochs=3, lr=5e-3),
        )  # fmt: skip
        if int(trials):
            from models.training.tuning import tune_course

            found = tune_course(course, Path(name) / "search", int(trials))
            print(f"tuned: {found.values}, loss {found.val_loss:.4f}")
            course = course.changed(found.values)

        classroom = open_course(course)
        for result in classroom.trainer(course, out).train():
            print(
                f"epoch {result.epoch}: loss {result.train_loss:.4f}, {result.val_loss:.4f} on later windows"
            )

        best = load_model(out / BEST)
        served = OnnxModel("attention", export_net(best))
        graph = classroom.validation[0]
        index = graph["neighbor_index"].astype(np.int32)
        answer = served.predict(np.ascontiguousarray(graph["features"]), index)
        with torch.no_grad():
            said = torch.sigmoid(best(torch.tensor(graph["features"]), torch.from_numpy(index)))
        difference = float(np.abs(answer - quantise(said.numpy())).max())
        print(f"{len(answer):,} cells served, torch off by {difference * GRID:.0f} steps of the grid at most")
        return difference


if __name__ == "__main__":
    main(*sys.argv[1:4])
