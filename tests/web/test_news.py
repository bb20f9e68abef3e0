"""Models and events, bounded whatever comes."""

from __future__ import annotations

import pytest

from agents.web import news
from agents.web.news import News
from stream.records import ModelActivated


def test_streams_and_models_are_bounded_under_ever_new_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "MOST_STREAMS", 8)
    own = News(10, 4)
    for number in range(50):
        for model_id in (f"bcc-{number}", "bcc-of-all"):
            own.add(activated(f"robot-{number}/lidar", model_id, number))
    assert len(own.serving()) == 8 and len(own.models()) <= 8
    facts = own.models()[-1]
    assert facts.model_id == "bcc-of-all"
    assert list(facts.activated) == [f"robot-{number}/lidar" for number in range(42, 50)]


def activated(stream_id: str, model_id: str, stamp_ns: int) -> ModelActivated:
    return ModelActivated(
        robot_id="r", stream_id=stream_id, first_stamp_ns=stamp_ns, model_id=model_id, sha256="0" * 64
    )
