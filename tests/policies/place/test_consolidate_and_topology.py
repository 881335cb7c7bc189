"""Gangs on the fewest nodes, and in the fewest domains."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.feasibility import slots
from policies.interface import Claim, JobView, NodeTable, Place, PlaceView, PolicyError, Resources, Unplaced
from policies.place.consolidate import Consolidate
from policies.place.narrowed import fewest
from policies.place.topology import Topology
from policies.testing import PlaceConformance, job_views, node_tables


class TestTopologyConforms(PlaceConformance):
    def policy(self) -> Place:
        return Topology(label="zone")


def claim_of(fewest_workers: int, most: int, **bundle: float) -> Claim:
    return Claim(JobView("j", 0.0, Resources(**bundle), fewest_workers, most), fewest_workers, most)


def workers_on(place: Place, claim: Claim, nodes: NodeTable, seed: int = 0) -> dict[str, int]:
    """Return how many workers each node got."""
    answer = place.place(claim, PlaceView(nodes, seed))
    assert not isinstance(answer, Unplaced)
    return dict(Counter(nodes.ids[slot.node] for slot in answer))


def with_cpus(labels: Any = None, **free: float) -> NodeTable:
    """Return nodes of 8 processors, of which ``free`` are."""
    return NodeTable.of(
        tuple(free), [[8.0, 0.0, 0.0]] * len(free), [[f, 0.0, 0.0] for f in free.values()], labels=labels
    )


def test_the_gang_goes_to_the_one_node_that_it_fits_most_tightly() -> None:
    nodes = with_cpus(empty=8, tight=4, roomy=6, small=3)
    assert workers_on(Consolidate(), claim_of(4, 4, cpu=1), nodes) == {"tight": 4}
    assert workers_on(Consolidate(), claim_of(5, 5, cpu=1), nodes) == {"roomy": 5}
    assert workers_on(Consolidate(), claim_of(1, 1, cpu=1), nodes) == {"small": 1}


def test_the_example_of_kueues_kep_2724() -> None:
    nodes = with_cpus(a=3, b=3, c=2, d=1)
    assert workers_on(Consolidate(), claim_of(7, 7, cpu=1), nodes) == {"a": 3, "b": 3, "d": 1}


def test_the_largest_are_filled_first_and_the_last_is_the_tightest() -> None:
    nodes = with_cpus(a=5, b=4, c=3, d=2, e=2)
    assert workers_on(Consolidate(), claim_of(7, 7, cpu=1), nodes) == {"a": 5, "d": 2}
    assert workers_on(Consolidate(), claim_of(10, 10, cpu=1), nodes) == {"a": 5, "b": 4, "d": 1}


def test_of_as_much_room_the_fullest_node_is_taken() -> None:
    nodes = NodeTable.of(("half", "empty"), [[8, 0, 0], [4, 0, 0]], [[4, 0, 0], [4, 0, 0]])
    for seed in range(4):
        assert workers_on(Consolidate(), claim_of(2, 4, cpu=1), nodes, seed) == {"half": 4}


def test_room_is_counted_on_single_gpus() -> None:
    capacity, device_free = [[8.0, 2.0, 0.0]] * 2, [[0.5, 0.5], [1.0, 0.0]]
    nodes = NodeTable.of(("halves", "whole"), capacity, [[8.0, 1.0, 0.0]] * 2, device_free=device_free)
    assert workers_on(Consolidate(), claim_of(1, 1, gpu=1), nodes) == {"whole": 1}
    assert workers_on(Consolidate(), claim_of(2, 2, gpu=0.3), nodes) == {"halves": 2}
    assert workers_on(Consolidate(), claim_of(3, 3, gpu=0.3), nodes) == {"whole": 3}


def test_a_gang_between_bounds_takes_what_there_is() -> None:
    assert workers_on(Consolidate(), claim_of(2, 9, cpu=1), with_cpus(a=3, b=2)) == {"a": 3, "b": 2}


def test_a_gang_that_does_not_fit_is_refused_on_what_is_left() -> None:
    answer = Consolidate().place(claim_of(6, 6, cpu=1), PlaceView(with_cpus(a=3, b=2)))
    assert str(answer).splitlines() == [
        "j: only 5 of 6 fit",
        "  - node a: cpu 1 requested, 0 free",
        "  - node b: cpu 1 requested, 0 free",
    ]


@given(nodes=node_tables(), job=job_views())
def test_no_set_of_nodes_is_smaller(nodes: NodeTable, job: JobView) -> None:
    answer = Consolidate().place(Claim(job, job.min_workers, job.max_workers), PlaceView(nodes))
    if not isinstance(answer, Unplaced):
        used, room = len({slot.node for slot in answer}), slots(job, nodes)
        sums = [sum(room[list(some)]) for some in combinations(range(len(nodes)), used - 1)]
        assert max(sums) < len(answer)


@given(room=st.lists(st.integers(0, 6), min_size=1, max_size=7), data=st.data())
def test_the_fewest_containers_and_the_tightest_last(room: list[int], data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, max(sum(room), 1)))
    if sum(room) < wanted:
        return
    rooms = np.array(room, dtype=float)
    chosen = fewest(rooms, wanted, np.arange(len(room)))
    assert len(set(chosen.tolist())) == len(chosen)
    assert rooms[chosen].sum() >= wanted > np.sort(rooms)[::-1][: len(chosen) - 1].sum()
    left = wanted - rooms[chosen[:-1]].sum()
    others = np.delete(rooms, chosen[:-1])
    assert rooms[chosen[-1]] == others[others >= left].min()


RACKS = {"rack": ("r1", "r1", "r2", "r2", "r3", "")}


def in_racks() -> NodeTable:
    """Return racks with room for 8, 6 and 8 workers, and a node with room for 8 that is in none."""
    return with_cpus(RACKS, a=4, b=4, c=5, d=1, e=8, f=8)


def test_the_gang_stays_in_the_tightest_domain_that_takes_it_whole() -> None:
    assert workers_on(Topology("rack"), claim_of(6, 6, cpu=1), in_racks()) == {"c": 5, "d": 1}


def test_within_the_domain_it_is_consolidated() -> None:
    assert workers_on(Topology("rack"), claim_of(4, 4, cpu=1), in_racks()) == {"c": 4}
    assert workers_on(Topology("rack"), claim_of(1, 1, cpu=1), in_racks()) == {"d": 1}


def test_a_node_without_the_label_is_a_domain_by_itself() -> None:
    nodes = with_cpus({"rack": ("r1", "", "", "r1")}, a=2, b=3, c=3, d=3)
    assert workers_on(Topology("rack"), claim_of(5, 5, cpu=1), nodes) == {"a": 2, "d": 3}


def test_a_gang_that_no_domain_takes_goes_to_the_fewest() -> None:
    nodes = with_cpus({"rack": ("r1", "r1", "r2", "r2", "r3", "r3")}, a=2, b=2, c=3, d=2, e=1, f=1)
    found = workers_on(Topology("rack"), claim_of(7, 7, cpu=1), nodes)
    assert found == {"c": 3, "d": 2, "e": 1, "f": 1}  # r2 has room for 5, and r3 just for the rest


def test_without_labels_it_is_consolidate() -> None:
    nodes = with_cpus(a=5, b=4, c=3, d=2)
    for num in range(1, 14):
        claim = claim_of(num, num, cpu=1)
        assert workers_on(Topology("rack"), claim, nodes) == workers_on(Consolidate(), claim, nodes)


@pytest.mark.parametrize("label", ["", 3, None, True])
def test_a_label_is_a_name(label: Any) -> None:
    with pytest.raises(PolicyError) as caught:
        Topology(label=label)
    assert str(caught.value) == f"label must be the name of a label, but got label={label!r}"
