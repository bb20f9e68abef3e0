"""What a server holds for its scores, over days."""

from __future__ import annotations

import dataclasses

from agents.judge import SHADOW_SWEEPS
from agents.web.scoreboard import SILENT_SECONDS, Scoreboard
from stream.records import Prediction
from tests.agents.worlds import config_of, of_type, perceived

CONFIG = config_of()


def test_missions_that_ended_leave_no_forecasts_behind() -> None:
    """Each under a name of its own, with outcomes that were missed; and nobody learns, so no shadow comes."""
    [made, *_] = of_type(perceived(CONFIG, 3), Prediction)
    now_s = 0.0
    board = Scoreboard(CONFIG, clock=lambda: now_s)

    def drive(robot: str, sweeps: int) -> None:
        nonlocal now_s
        for number in range(sweeps):
            now_s += 1.0
            stream = f"{robot}/lidar"
            board.add_prediction(
                dataclasses.replace(made, stream_id=stream, prediction_id=f"{stream}/{number}")
            )

    for mission in range(100):
        drive(f"mission{mission}", 20)
    assert len(board._open) <= SHADOW_SWEEPS * (SILENT_SECONDS // 20 + 2)
    drive("live", 200)
    assert len(board._open) == SHADOW_SWEEPS
