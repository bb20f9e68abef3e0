"""More robots and streams than may be known: state is bounded, none goes without a word, all may return."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import pytest

from agents.archive import MAX_NAMES, Archive
from agents.in_order import epoch_of, first_seq
from agents.judge import Judge
from agents.perceive import CROWD, sweep_key
from agents.protocol import WriteTable
from stream.codecs.state import unpack
from stream.records import (
    Binned,
    EndOfLog,
    Event,
    ModelActivated,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
)
from stream.run_folder import CONTAINERS
from stream.sources.base import Item
from stream.sweep import Sweep
from stream.sweep_rows import SWEEPS
from tests.agents.agent_checks import CHECKS, Case
from tests.agents.loops import learn_of
from tests.agents.test_agent_checks import learn_key, perceive_key, record_key
from tests.agents.worlds import (
    config_of,
    feed,
    interleave,
    joined,
    keyed,
    of_type,
    parts_of,
    perceive_of,
    perceived,
    plain,
    points_at,
    stamp_of,
    sweep_of,
    transform_at,
    transforms_to,
)

ROBOTS, STREAMS = 3, 2
CONFIG = config_of(f"limits.max_robots={ROBOTS}", f"limits.max_streams={STREAMS}")
HORIZONS = CONFIG.task.horizons_ns
FEW = points_at(0)[::12].copy()


def arrive(robot_id: str, first: float = 0, last: float = 40) -> Item:
    """Transforms of a robot that cover sweeps, in one message."""
    log = transforms_to(last, robot_id=robot_id)
    return tuple(item for item in log if item.stamp_ns >= stamp_of(first - 7))


def sweeps(robot_id: str, numbers: Iterable[float], sensor: str = "lidar") -> list[Sweep]:
    """Small sweeps of a robot."""
    return [sweep_of(number, stream_id=f"{robot_id}/{sensor}", points=FEW) for number in numbers]


def visit(robot_id: str, numbers: Sequence[float]) -> list[Item]:
    """A robot that comes, drives and says no more."""
    return [arrive(robot_id, numbers[0], numbers[-1]), *sweeps(robot_id, numbers)]


def events(records: Iterable[Any], kind: str) -> list[Event]:
    return [record for record in of_type(records, Event) if record.kind == kind]


def known(agent: Any) -> list[str]:
    """Robots that an agent knows, the longest silent first."""
    tree = unpack(agent.snapshot())
    names: list[str] = tree["roster"]
    held = [name for name, _ in tree["orders" if "orders" in tree else "robots"]]
    assert sorted(held) == sorted(names)
    return names


# ---- ten thousand --------------------------------------------------------------------------------------


def flood(log: Iterable[Item], every: int) -> dict[str, list[int]]:
    """Feed Perceive, Judge and Learn; sizes of their snapshots after so many items each.

    Every sweep must have one fate, and be released once.
    """
    agents = {"perceive": perceive_of(CONFIG), "judge": Judge(CONFIG), "learn": learn_of(CONFIG)}
    sizes: dict[str, list[int]] = {name: [] for name in agents}
    sent, fates, released = Counter[Any](), Counter[Any](), Counter[Any]()
    for number, item in enumerate([*log, EndOfLog()]):
        step = agents["perceive"].handle(item)
        released.update(step.released)
        if isinstance(item, Sweep):
            sent[sweep_key(item)] += 1
        for record in step.outputs:
            if isinstance(record, Binned | SweepRejected):
                fates[sweep_key(record)] += 1  # type: ignore[arg-type]
            if isinstance(record, Binned | Prediction):
                outcomes = of_type(agents["judge"].handle(record).outputs, Outcome)
                shadows = of_type(agents["learn"].handle(record).outputs, Shadow)
                feed(agents["judge"], shadows)
                feed(agents["learn"], outcomes)
        if number and number % every == 0:
            for name, agent in agents.items():
                assert len(known(agent)) <= ROBOTS
                sizes[name].append(len(agent.snapshot()))
    assert sent == fates == released
    return sizes


@pytest.mark.fault(26)
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_thousand_robots() -> None:
    """What is known of those forgotten last is full after 4096 robots; nothing grows from then on."""
    log = [item for number in range(10_000) for item in visit(f"r{number:05d}", [number % 3])]
    for name, sizes in flood(log, 1800).items():
        assert len(sizes) == 11
        assert sizes[-1] < 1.05 * sizes[-2], name


@pytest.mark.fault(26)
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_thousand_streams_of_one_robot() -> None:
    """A thousand streams at one time, then others ten milliseconds apart."""
    log: list[Item] = [arrive("robot", 0, 10)]
    log += [sweep_of(0, stream_id=f"robot/s{number:05d}", points=FEW[:9]) for number in range(1000)]
    for number in range(1000, 10_000):
        log += [arrive("robot", number / 10, number / 10 + 51)] if number % 500 == 0 else []
        log += [sweep_of(number / 10, stream_id=f"robot/s{number:05d}", points=FEW[:9])]
    for name, sizes in flood(log, 1000).items():
        assert len(sizes) == 10
        assert sizes[-1] < 1.05 * sizes[-2], name


def test_sweeps_within_reach_of_the_container_are_bounded() -> None:
    config = config_of("window.max_records=2")
    agent = perceive_of(config)
    outputs = feed(agent, [arrive("robot"), *sweeps("robot", [number / 100 for number in range(10)])])
    assert len(of_type(outputs, Binned)) == 2 * CROWD
    assert {record.reason for record in of_type(outputs, SweepRejected)} == {"too_many"}
    outputs = feed(agent, sweeps("robot", [39]))  # what is too old does not count
    assert len(of_type(outputs, Binned)) == 1


def test_names_of_the_archive_are_bounded() -> None:
    archive = Archive()
    record = of_type(perceived(CONFIG, 1), Binned)[0]
    for number in range(MAX_NAMES + 10):
        archive._is_new(f"r{number}", record.seq)
    assert len(unpack(archive.snapshot())["known"]) == MAX_NAMES


# ---- every agent, with more robots and streams than it may know ----------------------------------------


@cache
def crowd() -> list[Item]:
    """Six robots that come and go, four sensors of one of them, parts, repeats, one without transforms."""
    log: list[Item] = [*visit("anna", range(9)), *visit("bert", range(8)), *visit("carl", range(2))]
    log += [*sweeps("ghost", range(3)), *visit("dora", range(7)), *visit("$odd", range(5))]
    log += [arrive("anna", 12), *sweeps("anna", range(3)), *sweeps("anna", range(12, 20))]
    for number in range(20, 28):
        log += sweeps("anna", [number, number + 0.3], "lidar" if number % 3 else "rear")
        log += sweeps("anna", [number + 0.5], "left" if number % 2 else "right")
    log += [*parts_of(29, 3, "anna/lidar")[:2], *sweeps("anna", [29.2], "left")]
    return [*log, *visit("emma", range(3)), *visit("bert", range(20, 26)), *visit("carl", range(4, 9))]


@cache
def told() -> list[Any]:
    """What Perceive makes of it."""
    return feed(perceive_of(CONFIG), crowd())


def both(kinds: type | Any) -> list[Any]:
    return [record for record in told() if isinstance(record, kinds)]


@cache
def judged() -> list[Any]:
    return feed(Judge(CONFIG), joined(told()))


@cache
def shadows() -> list[Shadow]:
    return of_type(feed(learn_of(CONFIG), joined(told())), Shadow)


def perceive_case() -> Case:
    return Case(
        name="perceive",
        make=lambda: perceive_of(CONFIG),
        records=[*crowd(), EndOfLog()],
        key=perceive_key,
    )


def judge_case() -> Case:
    """Binned records and predictions a little out of step, and shadows."""
    records = interleave(3, joined(told()), shadows())
    return Case(name="judge", make=lambda: Judge(CONFIG), records=[*records, EndOfLog()], key=record_key)


def learn_case() -> Case:
    records = interleave(4, joined(told()), of_type(judged(), Outcome), both(ModelActivated))
    return Case(name="learn", make=lambda: learn_of(CONFIG), records=[*records, EndOfLog()], key=learn_key)


CASES = (perceive_case, judge_case, learn_case)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.removesuffix("_case"))
def test_an_agent_that_forgets_passes_every_check(
    case: Callable[[], Case], check: Callable[[Case], None]
) -> None:
    forgotten = {kind: len(events(feed(case().make(), case().records), kind)) for kind in FORGETTING}
    assert min(forgotten.values()) > 2
    check(case())


FORGETTING = ("robot_forgotten", "stream_forgotten")


@pytest.mark.parametrize("cut", range(5, 100, 9))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.removesuffix("_case"))
def test_who_leaves_next_outlives_a_restart(case: Callable[[], Case], cut: int) -> None:
    records = case().records
    whole, restored = case().make(), case().make()
    feed(whole, records[:cut])
    restored.restore(whole.snapshot())
    assert known(restored) == known(whole)
    assert plain(feed(restored, records[cut:])) == plain(feed(whole, records[cut:]))
    assert restored.snapshot() == whole.snapshot()


# ---- who leaves, and what becomes of it ----------------------------------------------------------------


@pytest.mark.fault(26)
def test_the_robot_that_was_silent_longest_leaves() -> None:
    agent = perceive_of(CONFIG)
    feed(agent, [arrive("anna"), arrive("bert"), arrive("carl"), *sweeps("anna", [0])])
    assert known(agent) == ["bert", "carl", "anna"]
    outputs = feed(agent, [arrive("dora"), arrive("anna"), arrive("emma")])
    assert [event.robot_id for event in events(outputs, "robot_forgotten")] == ["bert", "carl"]
    assert known(agent) == ["dora", "anna", "emma"]
    assert events(outputs, "robot_forgotten")[0].fields == {"agent": "perceive", "max_robots": ROBOTS}


def test_a_robot_that_leaves_is_done_with() -> None:
    """What waits for a transform is rejected, what waits for a part is predicted, then it is said."""
    agent = perceive_of(CONFIG)
    feed(agent, [arrive("anna", 0, 5), *sweeps("anna", [0])])
    part = parts_of(3, 2, "anna/lidar")[0]
    held = sweeps("anna", [8, 9])
    ahead = sweeps("anna", [2000])
    feed(agent, [part, *held, *ahead, arrive("bert"), arrive("carl")])
    step = agent.handle(arrive("dora"))
    assert [type(record) for record in step.outputs] == [SweepRejected] * 3 + [Prediction, Event]
    reasons = [record.reason for record in step.outputs if isinstance(record, SweepRejected)]
    assert reasons == ["bad_stamp", "forgotten", "forgotten"]
    assert "limits.max_robots" in step.outputs[1].detail
    assert set(step.released) == {sweep_key(sweep) for sweep in [*held, *ahead]}
    assert step.outputs[3].stamp_ns == part.stamp_ns


def test_the_stream_that_was_silent_longest_leaves() -> None:
    agent = perceive_of(CONFIG)
    feed(agent, [arrive("anna", 0, 12), *sweeps("anna", [0], "left"), *sweeps("anna", [1], "right")])
    part = parts_of(2, 2, "anna/left")[0]
    held = sweeps("anna", [14], "right")
    outputs = feed(agent, [part, *held, *sweeps("anna", [3])])
    rejected = of_type(outputs, SweepRejected)
    assert [(record.stream_id, record.reason) for record in rejected] == [("anna/right", "forgotten")]
    (event,) = events(outputs, "stream_forgotten")
    assert (event.robot_id, event.fields["stream_id"], event.stamp_ns) == ("anna", "anna/right", stamp_of(1))
    assert not [record for record in of_type(outputs, Prediction) if record.stamp_ns == part.stamp_ns]
    outputs = feed(agent, sweeps("anna", [4], "right"))  # now left leaves, with its open sweep
    assert [record.stamp_ns for record in of_type(outputs, Prediction)] == [part.stamp_ns, stamp_of(4)]


def test_a_stream_that_returns_predicts_no_sweep_again() -> None:
    agent = perceive_of(CONFIG)
    feed(agent, [arrive("anna"), *parts_of(5, 2, "anna/rear")[:1]])
    feed(agent, [*sweeps("anna", [6]), *sweeps("anna", [6], "left")])
    outputs = feed(agent, [*parts_of(5, 2, "anna/rear")[::-1], *sweeps("anna", [4, 7], "rear")])
    binned = of_type(outputs, Binned)
    assert [(record.stamp_ns, record.part, record.late) for record in binned] == [
        (stamp_of(5), 1, True), (stamp_of(4), 0, True), (stamp_of(7), 0, False),
    ]  # fmt: skip
    assert len(events(outputs, "duplicate")) == 1
    assert [record.stamp_ns for record in of_type(outputs, Prediction)] == [stamp_of(7)]


@pytest.mark.fault(26)
def test_frames_are_bounded_by_the_configuration() -> None:
    config = config_of("limits.max_frames=4")
    outputs = feed(
        perceive_of(config), [transform_at(stamp_of(0), child=f"frame{number}") for number in range(6)]
    )
    assert ["more than 4 frames" in event.fields["reason"] for event in outputs] == [True] * 3


# ---- who returns ---------------------------------------------------------------------------------------


def gone(*names: str) -> list[Item]:
    """Other robots, that make Perceive forget those before."""
    return [item for name in names for item in visit(name, [0, 1])]


def test_a_robot_that_returns_begins_a_later_epoch() -> None:
    log = [*visit("anna", range(3)), *gone("bert", "carl", "dora"), *visit("anna", range(10, 12))]
    binned = [record for record in feed(perceive_of(CONFIG), log) if record.robot_id == "anna"]
    assert [r.seq for r in of_type(binned, Binned)] == [0, 1, 2, first_seq(1), first_seq(1) + 1]
    assert epoch_of(first_seq(1)) == 1


def test_robots_that_made_nothing_open_no_epoch() -> None:
    agent = perceive_of(CONFIG)
    feed(agent, [arrive(f"r{number}") for number in range(20)])
    tree = unpack(agent.snapshot())
    assert (tree["epoch"], tree["done"]) == (0, [])


def test_no_sweep_becomes_evidence_twice() -> None:
    log = [*visit("anna", range(6)), *gone("bert", "carl", "dora")]
    agent = perceive_of(CONFIG)
    feed(agent, log)
    outputs = feed(agent, [arrive("anna"), *sweeps("anna", range(4, 8))])
    late = [(record.stamp_ns, record.reason) for record in of_type(outputs, SweepRejected)]
    assert late == [(stamp_of(4), "late"), (stamp_of(5), "late")]
    assert [record.stamp_ns for record in of_type(outputs, Binned)] == [stamp_of(6), stamp_of(7)]


def whole(robot_id: str, numbers: Sequence[float]) -> list[Any]:
    """A drive that nobody interrupts, through Perceive and Judge."""
    made = feed(perceive_of(CONFIG), visit(robot_id, numbers))
    return [*made, *feed(Judge(CONFIG), joined(made))]


def test_who_returns_is_predicted_judged_and_learned_as_if_new() -> None:
    back = range(14, 26)
    log = [*visit("anna", range(9)), *gone("bert", "carl", "dora"), *visit("anna", back)]
    made = feed(perceive_of(CONFIG), log)
    outcomes = feed(Judge(CONFIG), joined(made))
    alone = whole("anna", back)
    mine = [r for r in joined(made) if r.robot_id == "anna" and r.stamp_ns >= stamp_of(14)]
    assert [r.feature_digest for r in of_type(mine, Prediction)] == [
        r.feature_digest for r in of_type(alone, Prediction)
    ]
    found = keyed(outcomes)
    expected = keyed(alone)
    assert expected and {key: found.get(key) for key in expected} == expected
    taught = feed(learn_of(CONFIG), [*joined(made), *of_type(outcomes, Outcome)])
    assert events(taught, "feature_skew") == []
    assert len(of_type(taught, Shadow)) == len(of_type(made, Prediction))


def test_who_returns_is_archived() -> None:
    log = [*visit("anna", range(3)), *gone("bert", "carl", "dora"), *visit("anna", range(10, 13))]
    made = joined(feed(perceive_of(CONFIG), log))
    archive = Archive()
    feed(archive, [*made, *made])
    written = [effect for effect in archive.handle(EndOfLog()).effects if isinstance(effect, WriteTable)]
    rows = {effect.dataset: effect.table.num_rows for effect in written}
    assert rows[CONTAINERS] == len(of_type(made, Binned)) == 12
    assert rows[SWEEPS] == 12


@pytest.mark.parametrize("make", [lambda: Judge(CONFIG), lambda: learn_of(CONFIG)], ids=["judge", "learn"])
@pytest.mark.parametrize("length", [1, 7, 60])
def test_records_that_come_again_change_nothing(make: Callable[[], Any], length: int) -> None:
    """As after a crash of Perceive: some records lie in the log twice, one run behind the other."""
    made = joined(told())
    again = [record for place in range(0, len(made), length) for record in made[place : place + length] * 2]
    once, twice = feed(make(), made), feed(make(), again)
    assert len(events(once, "robot_forgotten")) > 4
    assert plain(twice) == plain(once)


@pytest.mark.parametrize("length", [3, 40])
def test_records_of_a_robot_that_was_forgotten_make_nobody_leave(length: int) -> None:
    judge, learn = Judge(CONFIG), learn_of(CONFIG)
    made = joined(told())
    outcomes = of_type(feed(judge, made), Outcome)
    feed(learn, [*made, *outcomes])
    for agent, records in ((judge, [*made, *shadows()]), (learn, [*made, *outcomes])):
        held = set(known(agent))
        old = [record for record in records if record.robot_id not in held][-length:]
        before = agent.snapshot()
        assert old and feed(agent, old) == []
        assert agent.snapshot() == before


# ---- outcomes of who leaves ----------------------------------------------------------------------------


def test_judge_gives_or_misses_every_outcome_of_who_leaves() -> None:
    made = joined(feed(perceive_of(CONFIG), [*visit("anna", range(9)), *gone("bert", "carl", "dora")]))
    judge = Judge(CONFIG)
    outputs = feed(judge, made)
    assert [event.robot_id for event in events(outputs, "robot_forgotten")] == ["anna"]
    given = {key for key in keyed(outputs) if key[0].startswith("anna")}
    missed = [
        (event.fields["prediction_id"], event.fields["horizon_ns"])
        for event in events(outputs, "outcome_missed")
        if event.robot_id == "anna"
    ]
    predictions = [record.prediction_id for record in of_type(made, Prediction) if record.robot_id == "anna"]
    assert sorted([*given, *missed]) == sorted((name, h) for name in predictions for h in HORIZONS)
    assert missed == sorted(missed, key=lambda name: name[0], reverse=True)
    assert judge.missed == dict(Counter(horizon for _, horizon in missed))


def test_an_incomplete_sweep_decides_nothing_when_its_robot_is_forgotten() -> None:
    log: list[Item] = [arrive("anna"), *sweeps("anna", [0]), *parts_of(2, 2, "anna/lidar")[:1]]
    made = joined(feed(perceive_of(CONFIG), [*log, *gone("bert", "carl", "dora")]))
    key = (f"anna/lidar/{stamp_of(0)}", HORIZONS[0])
    judge = Judge(CONFIG)
    before = feed(judge, [record for record in made if record.robot_id == "anna"])
    after = feed(judge, [record for record in made if record.robot_id != "anna"])
    assert key not in keyed(before) | keyed(after)
    missed = events(after, "outcome_missed")
    assert key in [(event.fields["prediction_id"], event.fields["horizon_ns"]) for event in missed]
    assert {event.fields["reason"] for event in missed} == {"forgotten"}


def test_learn_says_which_predictions_it_forgets() -> None:
    made = joined(feed(perceive_of(CONFIG), [*visit("anna", range(4)), *gone("bert", "carl", "dora")]))
    learn = learn_of(CONFIG)
    outputs = feed(learn, made)
    names = [event.fields["prediction_id"] for event in events(outputs, "forgotten")]
    assert names == [f"anna/lidar/{stamp_of(number)}" for number in range(4)]
    assert known(learn) == ["bert", "carl", "dora"]


def test_judge_scores_without_baselines_what_still_waits_for_them() -> None:
    made = joined(feed(perceive_of(CONFIG), [*visit("anna", range(12)), *gone("bert", "carl", "dora")]))
    judge = Judge(CONFIG)
    feed(judge, [record for record in made if record.robot_id == "anna"])
    empty = judge.scores.state()
    feed(judge, [record for record in made if record.robot_id != "anna"])
    assert plain(judge.scores.state()) != plain(empty)
