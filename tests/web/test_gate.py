"""Who may ask, how much, how many at one time and how long: each refusal is a problem that says why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from agents.failure import describe
from agents.web.access import Access, is_loopback, name_of
from agents.web.app import build_app
from agents.web.gate import AnswerTooSlow, Gate
from agents.web.limits import Limits
from agents.web.metrics import WebMetrics
from agents.web.options import API_KEY, LimitOptions, ListenOptions
from agents.web.world import World
from stream.config import ConfigError, load_config
from tests.web.played import URL, Played, Still

KEY, OTHER = "k" * 32, "another key with spaces"
SMALL = Limits(body_bytes=1000, request_s=0.05, active=2)


def client_of(city: Played, access: Access | None = None, limits: Limits | None = None) -> TestClient:
    app = build_app(city.service(), access, limits)
    return TestClient(app, base_url=URL, raise_server_exceptions=False)


def problem(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    detail: str = answer.json()["detail"]
    return detail


# ---- who may ask ---------------------------------------------------------------------------------------


def test_with_keys_only_who_sends_one_is_answered(city: Played) -> None:
    client = client_of(city, Access(keys=(KEY, OTHER)))
    for headers in (
        {}, {"x-api-key": KEY[:-1]}, {"x-api-key": KEY + "k"}, {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer "}, {"authorization": f"Bearer {KEY} {KEY}"}, {"x-api-key": ""},
    ):  # fmt: skip
        answer = client.get("/robots", headers=headers)
        assert "a key is needed" in problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    for headers in (
        {"x-api-key": KEY},
        {"authorization": f"bearer {KEY}"},
        {"authorization": f"Bearer {OTHER}"},
    ):
        assert client.get("/robots", headers=headers).status_code == 200
    for path in ("/health", "/ready"):
        assert client.get(path).status_code == 200
    for path in ("/openapi.json", "/metrics", "/map", "/labels", "/nothing"):
        assert client.get(path).status_code == 401


def test_a_strangers_name_that_leads_here_is_not_served(city: Played) -> None:
    client = client_of(city, Access(hosts=frozenset({"127.0.0.1", "robots.example"})))
    assert client.get("/robots").status_code == 200
    for host in ("robots.example", "ROBOTS.example:8000", "127.0.0.1:1"):
        assert client.get("/robots", headers={"host": host}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1]", "localhost"):
        assert "Host: " in problem(client.get("/robots", headers={"host": host}), 421)


def test_names_of_hosts_are_told_from_ports() -> None:
    assert [name_of(host) for host in ("a:80", "A", "[::1]:80", "::1", "a.b:x", "")] == [
        "a", "a", "::1", ":", "a.b:x", "",
    ]  # fmt: skip
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "x")] == [
        True, True, True, True, False, False,
    ]  # fmt: skip


def test_pages_of_other_origins_may_not_ask_unless_they_are_named(city: Played) -> None:
    evil = {"origin": "https://evil.example"}
    client = client_of(city)
    read = client.get("/robots", headers=evil)
    assert read.status_code == 200
    assert not [name for name in read.headers if name.startswith("access-control")]
    assert "may not ask" in problem(client.post("/predict", json={"robot": "ant"}, headers=evil), 403)
    assert client.post("/predict", json={"robot": "ant"}, headers={"origin": URL}).status_code == 200
    asked = {**evil, "access-control-request-method": "POST"}
    assert client.options("/predict", headers=asked).status_code == 405

    page = "https://page.example"
    client = client_of(city, Access(origins=(page,), keys=(KEY,)))
    asked = {"origin": page, "access-control-request-method": "POST"}
    allowed = client.options("/predict", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == page
    answer = client.post("/predict", json={"robot": "ant"}, headers={"origin": page, "x-api-key": KEY})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == page
    assert (
        client.post("/predict", json={"robot": "ant"}, headers={**evil, "x-api-key": KEY}).status_code == 403
    )


# ---- how much ------------------------------------------------------------------------------------------


def test_a_body_has_a_bound_whether_it_says_its_length_or_not(city: Played) -> None:
    client = client_of(city, limits=Limits(body_bytes=1000))

    def drip(size: int) -> Iterator[bytes]:
        for _ in range(size // 100):
            yield b" " * 100

    whole = b'{"robot": "ant"}'
    headers = {"content-type": "application/json"}
    assert client.post("/predict", content=whole + b" " * 984, headers=headers).status_code == 200
    for content in (whole + b" " * 985, drip(1100)):
        answer = client.post("/predict", content=content, headers=headers)
        assert "larger than 1,000 bytes" in problem(answer, 413)
        assert answer.headers["connection"] == "close"
    assert "larger" in problem(client.post("/infer", content=b"x" * 5000), 413)


def test_answers_are_not_kept_and_not_guessed_at(city: Played) -> None:
    answer = client_of(city).get("/robots")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


# ---- the gate alone ------------------------------------------------------------------------------------


class Asked:
    """One request to a gate, in the words of ASGI."""

    def __init__(self, gate: Gate, path: str = "/x", body: list[bytes] | None = None) -> None:
        self.sent: list[Any] = []
        self._gate = gate
        self._body = [b""] if body is None else body
        headers = [(b"transfer-encoding", b"chunked")] if body is not None else []
        self.scope = {"type": "http", "method": "POST", "path": path, "headers": headers}

    async def receive(self) -> Any:
        if not self._body:
            await asyncio.sleep(3600)
        part = self._body.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self._body) or part != b""}

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))

    async def run(self) -> tuple[int, str]:
        await self._gate(self.scope, self.receive, self.send)
        body = b"".join(item.get("body", b"") for item in self.sent[1:])
        status = self.sent[0]["status"]
        return status, orjson.loads(body)["detail"] if status >= 400 else body.decode()


def gate_of(app: Any, limits: Limits = SMALL) -> Gate:
    config = load_config(None, ["grid.map_frame=odom"])
    world = World(config)
    return Gate(app, Access(), limits, WebMetrics(world, Still(config, Path())))


async def well(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"well"})


def test_what_takes_too_long_is_ended() -> None:
    async def sleeps(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(3600)

    async def reads(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await well(scope, receive, send)

    async def begins(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(3600)

    assert asyncio.run(Asked(gate_of(sleeps)).run()) == (504, "the answer took longer than 0.05 s")
    assert asyncio.run(Asked(gate_of(reads), body=[b"a"]).run()) == (
        408,
        "the request took longer than 0.05 s",
    )
    assert asyncio.run(Asked(gate_of(reads), body=[b"a", b""]).run()) == (200, "well")
    with pytest.raises(AnswerTooSlow):
        asyncio.run(Asked(gate_of(begins)).run())


def test_a_timeout_of_the_application_itself_is_its_own() -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        asyncio.run(Asked(gate_of(fails)).run())


def test_streams_of_events_go_on_and_take_nobodys_place() -> None:
    ended = 0

    async def streams(scope: Any, receive: Any, send: Any) -> None:
        nonlocal ended
        kind = (b"content-type", b"text/event-stream; charset=utf-8")
        await send({"type": "http.response.start", "status": 200, "headers": [kind]})
        await asyncio.sleep(4 * SMALL.request_s)
        await send({"type": "http.response.body", "body": b"data: 1"})
        ended += 1

    async def run() -> list[tuple[int, str]]:
        gate = gate_of(streams)
        return await asyncio.gather(*(Asked(gate).run() for _ in range(5 * SMALL.active)))

    found = asyncio.run(run())
    assert [status for status, _ in found[: SMALL.active]] == [200] * SMALL.active
    assert ended == len([status for status, _ in found if status == 200])
    assert ended == 5 * SMALL.active


def test_more_than_can_be_worked_on_are_told_to_come_back_and_probes_never_are() -> None:
    async def run() -> None:
        free = asyncio.Event()

        async def waits(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/x":
                await free.wait()
            await well(scope, receive, send)

        gate = gate_of(waits, Limits(active=2))
        busy = [asyncio.create_task(Asked(gate).run()) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        refused = Asked(gate)
        assert (await refused.run())[0] == 503
        assert (b"retry-after", b"1") in refused.sent[0]["headers"]
        assert await Asked(gate, "/health").run() == (200, "well")
        free.set()
        assert await asyncio.gather(*busy) == [(200, "well")] * 2
        assert await Asked(gate).run() == (200, "well")

    asyncio.run(run())


def test_a_websocket_of_a_stranger_is_closed() -> None:
    async def run(headers: list[tuple[bytes, bytes]]) -> list[Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        async def accepts(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})

        await gate_of(accepts)({"type": "websocket", "path": "/live", "headers": headers}, receive, send)
        return sent

    host = (b"host", b"127.0.0.1:8000")
    assert asyncio.run(run([host]))[0]["type"] == "websocket.accept"
    assert asyncio.run(run([host, (b"origin", b"http://127.0.0.1:8000")]))[0]["type"] == "websocket.accept"
    closed = asyncio.run(run([host, (b"origin", b"https://evil.example")]))
    assert closed == [{"type": "websocket.close", "code": 1008}]


# ---- options -------------------------------------------------------------------------------------------


def test_on_the_loopback_only_its_names_are_served_unless_told() -> None:
    assert ListenOptions().access().hosts == {"localhost", "127.0.0.1", "::1"}
    assert ListenOptions(host="0.0.0.0").access().hosts is None
    named = ListenOptions(host="0.0.0.0", allow_host=["Robots.example"]).access().hosts
    assert named == {"robots.example", "localhost", "127.0.0.1", "::1"}


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY, f" {KEY} ,{OTHER},")
    access = ListenOptions(host="0.0.0.0").access()
    assert access.keys == (KEY, OTHER)
    assert ListenOptions(host="0.0.0.0").warning(access) == ""
    monkeypatch.setenv(API_KEY, "short")
    with pytest.raises(ConfigError, match=f"{API_KEY}: each key must have at least 16 characters"):
        ListenOptions().access()
    monkeypatch.delenv(API_KEY)
    open_to_all = ListenOptions(host="0.0.0.0")
    said = open_to_all.warning(open_to_all.access())
    assert f"whoever reaches 0.0.0.0 may ask: set {API_KEY}" in said
    assert "any page of a stranger in a browser there: name this host by --allow-host" in said
    named = ListenOptions(host="0.0.0.0", allow_host=["robots.example"])
    assert f"may ask: set {API_KEY}" in named.warning(named.access())
    assert "page" not in named.warning(named.access())
    assert ListenOptions().warning(ListenOptions().access()) == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ListenOptions(cors=["page.example"]), "--cors 'page.example': must be an origin"),
        (ListenOptions(cors=["https://page.example/path"]), "must be an origin"),
        (ListenOptions(tls_key=Path(__file__)), "needs --tls-cert and --tls-key"),
        (ListenOptions(tls_client_ca=Path(__file__)), "needs --tls-cert and --tls-key"),
        (ListenOptions(tls_cert=Path("/nowhere.pem")), "--tls-cert /nowhere.pem: no such file"),
        (ListenOptions(tls_cert=Path(__file__), tls_key=Path(__file__)), "not PEM files of TLS"),
        (LimitOptions(max_body=0), "--max-body 0: must be above 0"),
        (LimitOptions(timeout=float("nan")), "--timeout nan: must be above 0"),
    ],
)
def test_what_cannot_be_is_one_line(options: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        for name in ("access", "tls", "to_limits"):
            getattr(options, name, lambda: None)()
    line, code = describe(caught.value)
    assert said in line
    assert code == 1
