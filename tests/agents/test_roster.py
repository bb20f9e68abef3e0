"""Names by how lately they were heard, and numbers by name: bounded, in order, restored as they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.forgotten import REMEMBERED, Forgotten
from agents.newest import Newest
from agents.roster import Roster
from stream.records import Binned, Prediction
from tests.agents.worlds import config_of, joined, of_type, perceived

NAMES = st.lists(st.sampled_from("abcdef"), max_size=40)


@given(NAMES, st.integers(1, 4), st.integers(0, 40))
def test_the_longest_silent_leaves(names: list[str], most: int, cut: int) -> None:
    roster, shadow = Roster(most), list[str]()
    for number, name in enumerate(names):
        if number == cut:
            roster = Roster(most, roster.names())
        shadow = [other for other in shadow if other != name] + [name]
        assert roster.hear(name) == shadow[:-most]
        shadow = shadow[-most:]
        assert roster.names() == shadow


def test_a_roster_that_became_shorter_lets_several_go() -> None:
    roster = Roster(2, ["a", "b", "c", "d"])
    assert roster.hear("b") == ["a", "c"]
    assert roster.names() == ["d", "b"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), max_size=40), st.integers(1, 4))
def test_numbers_noted_last_are_kept(notes: list[tuple[str, int]], most: int) -> None:
    newest, shadow = Newest(most), dict[str, int]()
    for name, number in notes:
        newest.note(name, number)
        shadow.pop(name, None)
        shadow[name] = number
        shadow = dict(list(shadow.items())[-most:])
        assert [newest.get(name) for name in "abcdef"] == [shadow.get(name, -1) for name in "abcdef"]
        newest = Newest(most, newest.items())
    assert newest.items() == [[name, number] for name, number in shadow.items()]


def test_a_number_is_popped_once() -> None:
    newest = Newest(3, [["a", 7]])
    assert (newest.pop("a"), newest.pop("a"), newest.items()) == (7, -1, [])


def test_what_came_before_is_known_until_its_sender_is_known_again() -> None:
    made = joined(perceived(config_of(), 3))
    binned, predictions = of_type(made, Binned), of_type(made, Prediction)
    forgotten = Forgotten()
    assert not any(forgotten.knows(record) for record in made)
    forgotten.robot("robot", 2)
    forgotten.stream("robot/lidar", predictions[1].stamp_ns)
    forgotten = Forgotten.from_state(forgotten.state())
    assert [forgotten.knows(record) for record in binned] == [True, True, False]
    assert [forgotten.knows(record) for record in predictions] == [True, True, False]
    assert (forgotten.next_seq("robot"), forgotten.newest_ns("robot/lidar")) == (2, predictions[1].stamp_ns)
    assert not any(forgotten.knows(record) for record in made)
    assert (forgotten.next_seq("robot"), forgotten.newest_ns("robot/lidar")) == (0, -1)


def test_what_is_remembered_is_bounded() -> None:
    forgotten = Forgotten()
    for number in range(3 * REMEMBERED):
        forgotten.robot(f"r{number}", 1)
        forgotten.stream(f"r{number}/lidar", 1)
    assert {name: len(items) for name, items in forgotten.state().items()} == {
        "robots": REMEMBERED,
        "streams": REMEMBERED,
    }
