"""docker-compose.yml: valid, made of command lines that exist, with the limits that the code has."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.options import ConfigOptions
from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.topics import AGENTS, MAX_MESSAGE_BYTES
from tests.data import ROOT
from tests.deploy.commands import access_of, parse
from tests.deploy.composition import HTTP_PORT, composition, services, tool, workers
from tests.kafka.choice import container_environment
from tests.kafka.libraries import kafka_version

ROBOTS = ("ant", "bee", "cat")
WEB = "web"
OURS = ("octastream-perceive", "octastream-learn")
HOUR_S = 3600


def image_of(service: dict[str, Any]) -> str:
    return str(service["image"]).partition(":")[0]


def test_compose_refuses_what_its_specification_does_not_know(tmp_path: Path) -> None:
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    loaded["services"]["kafka"]["helthcheck"] = {}
    (tmp_path / "docker-compose.yml").write_text(yaml.safe_dump(loaded))
    ran = subprocess.run(
        [tool("docker-compose"), "config", "-q"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode != 0
    assert "helthcheck" in ran.stderr


def test_every_agent_has_its_services() -> None:
    agents = [parse(command).values["agent"] for command in workers().values()]
    assert sorted(agents) == sorted([*AGENTS, "perceive"])


@pytest.mark.parametrize("name", sorted(workers()))
def test_a_worker_is_a_command_line_that_parses(name: str) -> None:
    parsed = parse(workers()[name])
    service = services()[name]
    assert parsed.name == "worker"
    assert parsed.values["http"] == f"0.0.0.0:{HTTP_PORT}"
    targets = {mount["target"] for mount in service["volumes"]}
    assert str(parsed.values["folder"]) in targets
    assert [config["target"] for config in service["configs"]] == [str(parsed.values["config"])]
    assert image_of(service) == ("octastream-learn" if name == "learn" else "octastream-perceive")


def test_what_serves_is_published_on_the_loopback_and_answers_where_the_image_asks() -> None:
    service = services()[WEB]
    parsed = parse(service["command"])
    assert parsed.name == "serve"
    assert parsed.values["kafka"]
    assert (parsed.values["host"], parsed.values["port"]) == ("0.0.0.0", HTTP_PORT)
    (port,) = service["ports"]
    assert (port["host_ip"], port["target"]) == ("127.0.0.1", HTTP_PORT)
    worker = parse(workers()["archive"]).values
    assert all(parsed.values[name] == worker[name] for name in ("folder", "config"))
    assert image_of(service) == "octastream-perceive"


def test_what_serves_is_asked_by_its_names_and_by_no_page_of_a_stranger() -> None:
    access = access_of(services()[WEB]["command"])
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    targets = config["scrape_configs"][0]["static_configs"][0]["targets"]
    (scraped,) = [target for target in targets if target.startswith(f"{WEB}:")]
    for host in ("127.0.0.1:8000", "localhost:8000", f"127.0.0.1:{HTTP_PORT}", scraped):
        assert access.refusal("POST", "/labels", {b"host": host.encode()}) is None, host
    page = {b"host": b"evil.example:8000", b"origin": b"http://evil.example:8000"}
    for method, path in (("POST", "/labels"), ("GET", "/map")):
        assert (access.refusal(method, path, page) or (0, ""))[0] == 421


def test_workers_have_names_of_their_own() -> None:
    names = [parse(command).values["instance"] for command in workers().values()]
    assert None not in names
    assert len(set(names)) == len(names)


def test_workers_share_one_configuration_that_names_the_map_frame() -> None:
    assert {str(parse(command).values["config"]) for command in workers().values()} == {
        "/etc/octastream/octastream.yaml"
    }
    file = composition()["configs"]["octastream"]["file"]
    assert ConfigOptions(config=Path(file)).load().grid.map_frame == "odom"


def test_topics_are_made_before_anybody_needs_them() -> None:
    parsed = parse(services()["topics"]["command"])
    assert parsed.name == "topics create"
    shared = {parse(command).values["partitions"] for command in workers().values()}
    assert shared == {parsed.values["partitions"]}
    for name in [*workers(), WEB, *ROBOTS]:
        condition = services()[name]["depends_on"]["topics"]["condition"]
        assert condition == "service_completed_successfully"


@pytest.mark.parametrize("name", ROBOTS)
def test_a_robot_sends_an_hour_under_a_new_name_each_time(name: str, tmp_path: Path) -> None:
    program = tmp_path / "octastream"
    program.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    service = services()[name]
    ran = subprocess.run(
        [*service["entrypoint"], *service["command"]],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    parsed = parse(ran.stdout.splitlines())
    assert parsed.name == "produce"
    assert parsed.values["robot"].startswith(f"{name}-")
    assert parsed.values["robot"].removeprefix(f"{name}-").isdigit()
    (location,) = parsed.values["logs"]
    info = open_source(location, SourceOptions(robot_id=parsed.values["robot"])).info()
    assert info.start_ns is not None
    assert info.end_ns is not None
    assert (info.end_ns - info.start_ns) / 1e9 == pytest.approx(HOUR_S, abs=1)
    assert info.root_frame == "odom"


def test_robots_drive_in_different_worlds() -> None:
    assert len({services()[name]["command"][0] for name in ROBOTS}) == len(ROBOTS)


def test_the_broker_is_the_one_that_tests_use_with_the_limits_of_the_code() -> None:
    kafka = services()["kafka"]
    assert kafka["image"] == f"apache/kafka:{kafka_version()}"
    environment, tested = kafka["environment"], container_environment()
    shared = environment.keys() & tested.keys()
    assert {key: environment[key] for key in shared} == {key: tested[key] for key in shared}
    assert {"KAFKA_MESSAGE_MAX_BYTES", "KAFKA_REPLICA_FETCH_MAX_BYTES"} <= shared
    assert environment["KAFKA_MESSAGE_MAX_BYTES"] == str(MAX_MESSAGE_BYTES)
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_clients_find_the_broker_where_it_says_it_is() -> None:
    environment = services()["kafka"]["environment"]
    advertised = dict(item.split("://") for item in environment["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listeners = dict(item.split("://") for item in environment["KAFKA_LISTENERS"].split(","))
    (port,) = services()["kafka"]["ports"]
    assert advertised["HOST"] == f"{port['host_ip']}:{port['published']}"
    assert listeners["HOST"] == f":{port['target']}"
    for name, service in services().items():
        if image_of(service) in OURS:
            assert service["environment"]["OCTA_BOOTSTRAP"] == advertised["PLAINTEXT"], name


@pytest.mark.parametrize("name", sorted(services()))
def test_a_service_is_contained(name: str) -> None:
    service = services()[name]
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert int(limits["memory"]) > 0
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service.get("privileged", False) is False
    assert service.get("user", "") not in ("root", "0")
    assert service["restart"] in ("no", "always", "unless-stopped")
    assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", []))
    tag = str(service["image"]).partition(":")[2]
    assert tag not in ("", "latest")
    if image_of(service) in OURS:
        assert service["read_only"]
        assert service["init"]  # else a signal would not end what has no handler for it


def test_who_serves_something_is_asked_whether_it_lives() -> None:
    for name, service in services().items():
        check: Any = service.get("healthcheck")
        if name in workers() or name == WEB:
            assert check is None, "the image has its own"
        elif name in ("topics", *ROBOTS):
            assert check == {"disable": True}
        else:
            assert check["test"][0] == "CMD"


def test_what_must_last_lies_in_volumes() -> None:
    named = {
        mount["target"]: mount["source"]
        for service in services().values()
        for mount in service.get("volumes", [])
        if mount["type"] == "volume"
    }
    folder = "/var/lib/octastream"
    assert named[f"{folder}/snapshots"] == "snapshots"
    assert named[f"{folder}/models"] == "registry"
    assert named[f"{folder}/archive"] == "archive"
    assert named[services()["kafka"]["environment"]["KAFKA_LOG_DIRS"]] == "kafka"
    assert set(named.values()) == set(composition()["volumes"])


def test_folders_that_are_mounted_exist() -> None:
    bound = [
        Path(mount["source"])
        for service in services().values()
        for mount in service.get("volumes", [])
        if mount["type"] == "bind"
    ]
    assert bound
    assert [path for path in bound if not path.exists()] == []
