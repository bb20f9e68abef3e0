"""The processes of ``make up``: how they are started, heard and stopped; and that nothing of them is left."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from honcho.environ import parse_procfile

from deploy.composition import Composition
from deploy.up import CONFIG, FLEET, PROCFILE, WEB, workers_and_fleet
from stream.config import load_config
from tests.data import ROOT
from tests.deploy.commands import parse

STAY = """
import os, signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
Path("pid").write_text(str(os.getpid()))
print("ready")
time.sleep(600)
"""
DEAF = STAY.replace("lambda *_: sys.exit(3)", "signal.SIG_IGN")
LAST = STAY.replace('"pid"', '"own"').replace(
    "sys.exit(3)", "sys.exit(4 * Path('/proc', Path('pid').read_text()).exists())"
)
"""Says by its exit code whether STAY still runs when it is told to stop."""


def wait_until(done: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether no such process is there, or one that nobody has waited for yet."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def composed(folder: Path, output: io.StringIO, **programs: str) -> Composition:
    """A composition of Python programs by name."""
    lines = ["# a comment\n"]
    for name, program in programs.items():
        (folder / f"{name}.py").write_text(program)
        lines.append(f"{name}: exec {shlex.quote(sys.executable)} -u {name}.py\n")
    (folder / "Procfile").write_text("".join(lines))
    return Composition(folder / "Procfile", folder, os.environ, output)


def test_lines_carry_the_name_of_their_process_and_ends_their_code(tmp_path: Path) -> None:
    output = io.StringIO()
    with composed(tmp_path, output, a="print('one'); print('two')", bee="raise SystemExit(7)") as processes:
        assert processes.names == ("a", "bee")
        processes.start(processes.names)
        wait_until(lambda: len(processes.ended()) == 2)
        assert processes.ended() == {"a": 0, "bee": 7}
        assert processes.lines("a") == ["one", "two"]
    shown = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in output.getvalue().splitlines()]
    assert sorted(shown) == [
        "a   | ended with exit code 0", "a   | one", "a   | two", "bee | ended with exit code 7",
    ]  # fmt: skip


def test_groups_are_stopped_in_reverse_and_exit_codes_are_their_own(tmp_path: Path) -> None:
    with composed(tmp_path, io.StringIO(), worker=LAST, robot=STAY) as processes:
        for name in processes.names:
            processes.start([name])
        wait_until(lambda: all(processes.lines(name) == ["ready"] for name in processes.names))
    assert processes.ended() == {"worker": 0, "robot": 3}


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    with composed(tmp_path, io.StringIO(), deaf=DEAF) as processes:
        processes.start(["deaf"])
        wait_until(lambda: processes.lines("deaf") == ["ready"])
        processes.stop(["deaf"], seconds=0.2)
        assert processes.ended() == {"deaf": -signal.SIGKILL}


def test_one_that_was_killed_is_started_again_and_stopped_with_its_group(tmp_path: Path) -> None:
    with composed(tmp_path, io.StringIO(), worker=LAST, robot=STAY) as processes:
        for name in processes.names:
            processes.start([name])
        wait_until(lambda: all(processes.lines(name) == ["ready"] for name in processes.names))
        first = processes.pids()
        processes.signal("worker", signal.SIGKILL)
        wait_until(lambda: processes.ended() == {"worker": -signal.SIGKILL})
        assert processes.pids() == {"robot": first["robot"]}
        processes.signal("worker", signal.SIGKILL)  # it has ended: nothing to do
        processes.start(["worker"])
        wait_until(lambda: processes.lines("worker") == ["ready"])
        assert processes.ended() == {}
        assert processes.pids()["worker"] != first["worker"]
    assert processes.ended() == {"worker": 0, "robot": 3}


def test_nothing_outlives_a_composition_that_is_killed(tmp_path: Path) -> None:
    composed(tmp_path, io.StringIO(), deaf=DEAF)
    code = (
        "import os, sys, time; from pathlib import Path; from deploy.composition import Composition\n"
        "folder = Path(sys.argv[1])\n"
        "with Composition(folder / 'Procfile', folder, os.environ, sys.stdout) as processes:\n"
        "    processes.start(['deaf']); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: gone(int((tmp_path / "pid").read_text())))


# ---- the real Procfile ---------------------------------------------------------------------------------


@pytest.fixture
def commands() -> dict[str, list[str]]:
    found = parse_procfile(PROCFILE.read_text()).processes
    return {name: shlex.split(command) for name, command in found.items()}


def test_the_composition_is_two_perceives_the_other_agents_and_three_robots(
    commands: dict[str, list[str]],
) -> None:
    workers, fleet = workers_and_fleet(tuple(commands))
    assert [commands[name][3] for name in workers] == ["perceive", "perceive", "judge", "learn", "archive"]
    robots = [commands[name][commands[name].index("--robot") + 1] for name in fleet]
    assert [f"{FLEET}{robot}" for robot in robots] == fleet
    assert len(set(robots)) == 3
    instances = [commands[name][commands[name].index("--instance") + 1] for name in workers]
    assert len(set(instances)) == len(workers)  # two workers with one name fence each other


def test_every_process_replaces_its_shell_and_workers_have_one_configuration(
    commands: dict[str, list[str]],
) -> None:
    assert {tuple(command[:2]) for command in commands.values()} == {("exec", "octastream")}
    workers, _ = workers_and_fleet(tuple(commands))
    files = {commands[name][commands[name].index("--config") + 1] for name in [*workers, WEB]}
    assert {ROOT / name for name in files} == {CONFIG}
    assert load_config(CONFIG, []).grid.map_frame == "odom"


def test_the_command_lines_are_those_of_the_program(commands: dict[str, list[str]]) -> None:
    numbered = ([word.replace("$PORT", "9400") for word in command[2:]] for command in commands.values())
    names = {parse(command).name for command in numbered}
    assert names == {"worker", "produce", "serve"}


def test_what_serves_listens_on_the_loopback_and_shares_the_workers_folder(
    commands: dict[str, list[str]],
) -> None:
    served, worker = parse([*commands[WEB][2:-1], "0"]).values, parse(commands["archive"][2:]).values
    assert (served["kafka"], served["host"]) == (True, "127.0.0.1")
    assert commands[WEB][-2:] == ["--port", "$PORT"]
    assert served["folder"] == worker["folder"]
    assert list(commands).index(WEB) > list(commands).index("archive")  # ports of the others stay
