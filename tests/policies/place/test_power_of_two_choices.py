"""The emptier of a few nodes drawn at random."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from policies.feasibility import Room
from policies.interface import Claim, JobView, NodeTable, Place, PlaceView, PolicyError, Resources, Unplaced
from policies.place.power_of_two_choices import PowerOfTwoChoices
from policies.place.spread import Spread
from policies.testing import PlaceConformance


class TestOneChoiceConforms(PlaceConformance):
    def policy(self) -> Place:
        return PowerOfTwoChoices(choices=1)


def loads(place: Place, num: int, seed: int) -> list[int]:
    """Return how many of ``num`` jobs of one worker each of ``num`` nodes gets, one job after the other."""
    room = Room(NodeTable.of([f"n{row}" for row in range(num)], [[float(num), 0.0, 0.0]] * num))
    taken: Counter[int] = Counter()
    for number in range(num):
        job = JobView(f"job-{number}", 0.0, Resources(cpu=1), 1, 1)
        answer = place.place(Claim(job, 1, 1), PlaceView(room.table(), seed))
        assert not isinstance(answer, Unplaced)
        room.hold(job.bundle, answer[0].node, ())
        taken[answer[0].node] += 1
    return sorted(taken.values(), reverse=True)


@pytest.mark.parametrize("seed", range(3))
def test_a_second_choice_levels_the_load(seed: int) -> None:
    """The fullest of n bins has about ln n / ln ln n of n balls by one choice, and ln ln n / ln 2 + O(1) by two."""
    one, two = loads(PowerOfTwoChoices(choices=1), 300, seed), loads(PowerOfTwoChoices(), 300, seed)
    assert two[0] <= 3 < one[0]
    assert len(two) > len(one)  # fewer bins are empty
    assert loads(PowerOfTwoChoices(choices=300), 300, seed) == [1] * 300


def nodes_of(num: int, **free: float) -> NodeTable:
    """Return ``num`` nodes of 4 processors, all of them used but on those that are named."""
    ids = [f"n{row}" for row in range(num)]
    return NodeTable.of(ids, [[4.0, 0.0, 0.0]] * num, [[free.get(node, 0.0), 0.0, 0.0] for node in ids])


def claim_of(fewest: int, most: int, name: str = "j") -> Claim:
    return Claim(JobView(name, 0.0, Resources(cpu=1), fewest, most), fewest, most)


def test_where_the_sample_is_full_it_looks_further() -> None:
    nodes = nodes_of(100, n42=1)
    for number in range(20):
        answer = PowerOfTwoChoices().place(claim_of(1, 1, f"job-{number}"), PlaceView(nodes))
        assert not isinstance(answer, Unplaced)
        assert nodes.ids[answer[0].node] == "n42"


def test_it_refuses_only_what_does_not_fit_on_the_whole_cluster() -> None:
    nodes = nodes_of(100, n7=2, n42=1)
    answer = PowerOfTwoChoices().place(claim_of(3, 4), PlaceView(nodes))
    assert not isinstance(answer, Unplaced)
    assert sorted(nodes.ids[slot.node] for slot in answer) == ["n42", "n7", "n7"]
    refused = PowerOfTwoChoices().place(claim_of(4, 4), PlaceView(nodes))
    assert isinstance(refused, Unplaced)
    assert (refused.placed, refused.wanted) == (3, 4)


def test_the_draw_is_keyed_by_seed_and_job() -> None:
    nodes = nodes_of(100, **{f"n{row}": 4.0 for row in range(100)})

    def chosen(name: str, seed: int) -> Any:
        return PowerOfTwoChoices().place(claim_of(1, 1, name), PlaceView(nodes, seed))

    assert len({chosen(f"job-{number}", 0) for number in range(20)}) > 10
    assert len({chosen("job", seed) for seed in range(20)}) > 10


def test_a_gang_goes_to_the_emptiest_of_its_sample() -> None:
    nodes = nodes_of(100, **{f"n{row}": 1.0 + row % 4 for row in range(100)})
    answer = PowerOfTwoChoices(choices=5).place(claim_of(10, 10), PlaceView(nodes))
    assert not isinstance(answer, Unplaced)
    free = [float(nodes.free[slot.node, 0]) for slot in answer]
    assert len({slot.node for slot in answer}) == 10
    assert min(free) >= 3  # of 50 drawn about 12 are empty, and 12 have 3 of 4 processors free


def test_as_many_choices_as_nodes_are_spread() -> None:
    nodes = nodes_of(10, **{f"n{row}": 1.0 + row % 4 for row in range(10)})
    for claim in (claim_of(1, 1), claim_of(2, 7)):
        assert PowerOfTwoChoices(10).place(claim, PlaceView(nodes)) == Spread().place(claim, PlaceView(nodes))


def test_the_draw_does_not_change_between_releases() -> None:
    nodes = nodes_of(100, **{f"n{row}": 4.0 for row in range(100)})
    answers = [PowerOfTwoChoices().place(claim_of(1, 1, name), PlaceView(nodes)) for name in "abc"]
    assert [answer[0].node for answer in answers if not isinstance(answer, Unplaced)] == [11, 80, 31]


@pytest.mark.parametrize("choices", [0, -1, 1.5, "2", True, None])
def test_choices_are_checked(choices: Any) -> None:
    with pytest.raises(PolicyError) as caught:
        PowerOfTwoChoices(choices=choices)
    assert str(caught.value) == f"choices must be a whole number of at least 1, but got choices={choices!r}"
