"""What a page gets over its WebSocket."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocket, WebSocketDisconnect

from agents.web.cells import CellTable
from agents.web.frame import decode_frame
from agents.web.live import live_of
from agents.web.page_options import PageOptions
from agents.web.routes_live import _Session
from native.index64 import to_text
from stream.records import Event, Prediction
from tests.web.played import Played, Still, client_of
from tests.web.show import Show

NOW, PAST = 1, 2


class Page:
    """A page, as far as its messages go."""

    def __init__(self, session: WebSocketTestSession) -> None:
        self.session = session
        self._others: list[dict[str, Any]] = []

    def ask(self, **values: Any) -> None:
        self.session.send_text(json.dumps(values))

    def text(self, kind: str) -> dict[str, Any]:
        """The first message of a kind that was not looked at yet; others wait."""
        for place, found in enumerate(self._others):
            if found["kind"] == kind:
                return self._others.pop(place)
        while True:
            message = self.session.receive()
            if message.get("text") is None:
                continue
            found = json.loads(message["text"])
            if found["kind"] == kind:
                return found
            self._others.append(found)

    def frame(self, kind: int = NOW) -> tuple[dict[str, Any], dict[str, Any]]:
        """The next frame of a kind."""
        while True:
            message = self.session.receive()
            data = message.get("bytes")
            if data is not None and struct.unpack_from("<I", data)[0] == kind:
                return decode_frame(data[4:])


@contextmanager
def opened(client: TestClient, **options: Any) -> Iterator[Page]:
    with client, client.websocket_connect("/live", **options) as session:
        yield Page(session)


@pytest.fixture
def page(city: Played) -> Iterator[Page]:
    with opened(city.client()) as page:
        yield page


def table_of(city: Played, robot: str = "ant") -> CellTable:
    table = city.world.cells(robot)
    assert table is not None
    return table


def test_a_page_is_greeted_and_gets_the_newest_frame(page: Page, city: Played) -> None:
    hello = page.text("hello")
    assert hello["levels"] == [7, 6, 5, "mixed"]
    assert hello["horizons_ns"] == [200_000_000, 500_000_000, 1_000_000_000]
    header, columns = page.frame()
    newest = [item for item in city.of(Prediction) if item.robot_id == "ant"][-1]
    assert (header["robot"], header["prediction_id"]) == ("ant", newest.prediction_id)
    assert columns["id"].tobytes() == table_of(city).cell_id.tobytes()
    assert len(header["pose"]) == 12


def test_another_robot_and_another_level(page: Page, city: Played) -> None:
    page.ask(kind="watch", robot="bee", level="mixed")
    header, columns = page.frame()
    while header["robot"] != "bee":
        header, columns = page.frame()
    assert header["level"] == "mixed"
    assert len(columns["id"]) < len(table_of(city, "bee"))


def test_status_scores_and_events(page: Page, city: Played) -> None:
    status, board, news = page.text("status"), page.text("board"), page.text("news")
    assert list(status["robots"]) == ["ant", "bee"]
    assert status["latency"]["total"]["p50"] > 0
    assert board["scores"]["online"]["n"] == city.world.scoreboard.summary()["scores"]["online"]["n"]
    assert set(board["curves"]["names"]) >= {"online", "persistence", "frequency"}
    assert sum(board["reliability"]["count"]) == board["scores"]["online"]["n"]
    assert [event["event"] for event in news["events"]].count("activated") == 2
    assert board["serving"] == {"ant/lidar": "frequency", "bee/lidar": "frequency"}


def test_an_alarm_says_where_it_is(city: Played) -> None:
    table = table_of(city)
    city.world.fold(Event(kind="drift_seen", stamp_ns=5, fields={"region": str(table.cell_id[0])}))
    with opened(city.client()) as page:
        found = [event for event in page.text("news")["events"] if event["event"] == "drift_seen"][-1]
    assert found["alarm"]
    assert np.allclose(found["place"]["centre"], table.centre[0])
    assert found["region"] == str(table.cell_id[0])


def test_a_cell_tells_its_story(page: Page, city: Played) -> None:
    table = table_of(city)
    row = int(np.flatnonzero(~np.isnan(table.probability[:, 0]) & (table.outcome[:, 1] >= 0))[0])
    cell = int(table.cell_id[row])
    page.ask(kind="cell", cell_id=str(cell))
    story = page.text("cell")
    assert (story["cell_id"], story["text"], story["lod"]) == (str(cell), to_text(cell), 7)
    assert story["now"]["hits"] == table.hits[row]
    assert story["now"]["probability"] == pytest.approx(table.probability[row].tolist())
    assert story["now"]["outcome"] == [None if v < 0 else bool(v) for v in table.outcome[row].tolist()]
    made = [item for item in city.of(Prediction) if item.robot_id == "ant" and cell in item.cell_id]
    assert [item["stamp_ns"] for item in story["forecasts"]] == [str(item.stamp_ns) for item in made]
    newest = story["forecasts"][-1]["probability"]
    assert newest == pytest.approx(table.probability[row].tolist())
    assert any(True in item["outcome"] or False in item["outcome"] for item in story["forecasts"])
    features = city.world.robot("ant").features()  # type: ignore[union-attr]
    assert features is not None
    own = features[1].x[np.searchsorted(features[1].cell_id, np.uint64(cell))]
    assert list(story["features"]["values"].values()) == pytest.approx(own.tolist())
    assert story["features"]["digest"] == features[0].feature_digest


def test_the_past_is_asked_for_by_stamp(city: Played) -> None:
    client = city.client()
    with opened(client) as page:
        first, _ = page.frame()
        page.ask(kind="past", stamp_ns=first["stamp_ns"])
        header, columns = page.frame(PAST)
        assert header["stamp_ns"] == first["stamp_ns"]
        page.ask(kind="watch", robot="ant", level=5, live=False)
        page.ask(kind="past", stamp_ns=first["stamp_ns"])
        coarse, cells = page.frame(PAST)
        assert (coarse["level"], coarse["number"]) == (5, header["number"])
        assert 0 < len(cells["id"]) < len(columns["id"])


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("nonsense", "JSON"),
        ("[]", "object"),
        ('{"kind": "dance"}', "dance"),
        ('{"kind": "past"}', "stamp_ns"),
        ('{"kind": "watch", "robot": "ant", "level": 99}', "level"),
        ('{"kind": "cell", "cell_id": "12"}', "cell_id: 12"),
        ('{"kind": "cell", "cell_id": "-1"}', "cell_id"),
    ],
)
def test_what_cannot_be_answered_is_said(page: Page, message: str, said: str) -> None:
    page.session.send_text(message)
    assert said in page.text("error")["detail"]
    page.ask(kind="ping", at=3.5)
    assert page.text("pong")["at"] == 3.5


def test_pages_of_others_may_not_watch(city: Played) -> None:
    client = city.client()
    with pytest.raises(WebSocketDisconnect), opened(client, headers={"origin": "http://evil.example"}):
        pass
    with opened(city.client(), headers={"origin": "http://testserver"}) as page:
        assert page.text("hello")


def test_at_most_so_many_pages(city: Played) -> None:
    client = city.client(page=PageOptions(page_viewers=2))
    with client, client.websocket_connect("/live"):
        with client.websocket_connect("/live"), client.websocket_connect("/live") as third:
            with pytest.raises(WebSocketDisconnect) as refused:
                third.receive_text()
            assert refused.value.code == 1013
        with client.websocket_connect("/live") as third:
            assert "hello" in third.receive_text()


def test_a_frame_is_made_once_for_all_and_each_gets_the_newest(city: Played) -> None:
    live = live_of(city.world, Still(city.world.config, city.folder), PageOptions())
    one, two = live.join(), live.join()
    assert one is not None and two is not None
    live.studio.update("ant", [7])
    shot = live.studio.shot("ant", 7)
    live.studio.update("ant", [7])
    assert live.studio.shot("ant", 7) is shot
    contents = []
    for viewer in (one, two):
        viewer.news = (city.world.passes, city.world.news.number)
        message = live.waiting(viewer)
        assert message is not None
        message.sent()
        contents.append(message.content)
        assert live.waiting(viewer) is None
    assert contents[0] == contents[1]
    two.live = False
    two.had = None
    assert live.waiting(two) is None


def test_the_page_and_its_files_are_served(city: Played) -> None:
    client = city.client()
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    names = [part.split('"')[0] for part in page.text.split('="/page/')[1:]]
    assert {"main.js", "page.css", "icon.svg"} <= set(names)
    for name in names:
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-cache"
    assert "javascript" in client.get("/page/main.js").headers["content-type"]
    assert client.get("/page/../app.py").status_code == 404
    assert client.get("/page/%2e%2e/app.py").status_code == 404


def test_nothing_to_watch_yet(city: Played) -> None:
    from agents.web.server import service_of
    from agents.web.world import World

    world = World(city.world.config)
    client = client_of(
        service_of(Still(world.config, city.folder), world, providers=["CPUExecutionProvider"])
    )
    with opened(client) as page:
        assert page.text("status")["robots"] == {}
        assert page.text("board")["scores"]["online"] is not None
        page.ask(kind="cell", cell_id="0")
        assert "no robot" in page.text("error")["detail"]


def wait_until(done: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def masked(text: str) -> bytes:
    """A message as browsers send it; masked by zeros."""
    return struct.pack(">BBH4x", 0x81, 0xFE, len(text)) + text.encode()


def test_a_page_that_reads_nothing_is_let_go(city: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.web.routes_live.SEND_SECONDS", 0.5)
    monkeypatch.setattr("agents.web.patience.CLOSE_SECONDS", 0.5)
    with Show(city) as show, socket.socket() as page:
        page.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        page.connect(("127.0.0.1", show.port))
        page.settimeout(0.2)
        key = base64.b64encode(os.urandom(16)).decode()
        page.sendall(
            f"GET /live HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            f"sec-websocket-key: {key}\r\nsec-websocket-version: 13\r\n\r\n".encode()
        )
        wait_until(lambda: show.connections == 1 and show.service.live.studio.tape.frames("ant"))
        question = masked(json.dumps({"kind": "past", "stamp_ns": 2**62, "step": 0}).ljust(200))
        answers = 0
        while show.service.live.viewers:
            try:
                page.sendall(question)
            except (TimeoutError, OSError):
                break
            answers += 1
        wait_until(lambda: not show.service.live.viewers)
        wait_until(lambda: not show.connections)


def test_what_goes_wrong_once_ends_no_status(
    city: Played, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agents.web.live.STATUS_S", 0.01)
    live = live_of(city.world, Still(city.world.config, city.folder), PageOptions())
    scores, calls = live._board.scores, 0

    def wrong_at_first() -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ZeroDivisionError
        return scores()

    async def told() -> None:
        async with live.running():
            viewer = live.join()
            assert viewer is not None
            async with asyncio.timeout(20):
                while not live._boards[0]:
                    await asyncio.sleep(0.01)
                before = live._statuses[0]
                while live._statuses[0] == before:
                    await asyncio.sleep(0.01)

    monkeypatch.setattr(live._board, "scores", wrong_at_first)
    with caplog.at_level(logging.ERROR, "agents.web.live"):
        asyncio.run(told())
    assert "ZeroDivisionError" in caplog.text


def test_robots_that_have_gone_are_forgotten_though_nobody_watches(
    city: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.web.live.STATUS_S", 0.01)
    live = live_of(city.world, Still(city.world.config, city.folder), PageOptions())

    async def forgotten() -> None:
        async with live.running():
            live._heard("ant")
            live._heard("long gone")
            async with asyncio.timeout(20):
                while "long gone" in live._heard_s:
                    await asyncio.sleep(0.01)

    asyncio.run(forgotten())
    assert list(live._heard_s) == ["ant"]


@pytest.mark.parametrize(
    "fields",
    [{"event": ["drift"]}, {"stamp_ns": {}}, {"why": "\ud800"}, {"cell": 2**90}, {"region": {"a": []}}],
)
def test_an_event_of_odd_fields_is_shown_as_any_other(city: Played, fields: dict[str, Any]) -> None:
    city.world.fold(Event(kind="drift_odd", stamp_ns=6, fields=fields))
    with opened(city.client()) as page:
        found = page.text("news")["events"][-1]
    assert (found["event"], found["stamp_ns"], found["alarm"]) == ("drift_odd", "6", True)


def test_a_page_that_goes_before_it_is_listened_to_is_no_error(city: Played) -> None:
    """Found under load: the server logged what it could not read any more."""
    sent = list[str]()

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if len(sent) > 2:  # it was accepted and greeted
            raise OSError("gone")

    async def receive() -> dict[str, str]:
        assert not sent
        return {"type": "websocket.connect"}

    async def watch() -> None:
        service = city.service()
        page = WebSocket({"type": "websocket", "subprotocols": []}, receive, send)
        await page.accept()
        viewer = service.live.join()
        assert viewer is not None
        service.live._statuses = (1, "{}")
        await _Session(page, service, viewer).run()

    asyncio.run(asyncio.wait_for(watch(), 20))
    assert sent == ["websocket.accept", *["websocket.send"] * 2]
