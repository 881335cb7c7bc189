"""The bound of the OpenB comparison, and its replay with moves: on made pods."""

from __future__ import annotations

import pytest

from benchmarks.openb_bound import packed, prices
from benchmarks.openb_moves import run
from policies.composed import demand_of
from policies.interface import JobView, NodeTable, Resources
from policies.place.spread import Spread


def pods(*gpus: float) -> tuple[JobView, ...]:
    return tuple(JobView(f"p{number}", 0.0, Resources(1.0, gpu), 1, 1) for number, gpu in enumerate(gpus))


def test_a_perfect_packer_fills_up_what_fits_together() -> None:
    """On two GPUs, .6 and .4 share one, and so do two halves; what then comes finds no room."""
    mix = pods(0.6, 0.4, 0.5, 0.5, 1.0)
    assert packed(mix, 2.0, prices(mix)) == pytest.approx([1.0, 1.0])


def test_a_perfect_packer_leaves_slivers_that_nobody_can_use() -> None:
    mix = pods(*[0.8] * 5)
    assert packed(mix, 2.0, prices(mix)) == pytest.approx([0.8, 0.8])


def test_a_move_makes_room_for_a_whole_gpu() -> None:
    """Two halves are spread over two nodes, so that a whole GPU needs one of them to move."""
    nodes, jobs = NodeTable.of(["a", "b"], [[8.0, 1.0, 100.0]] * 2), pods(0.5, 0.5, 1.0)
    stays, moves = (run(Spread(), nodes, jobs, 0, demand_of(jobs), number, None) for number in (0, 1))
    assert (stays.allocated, stays.refused, stays.moves) == (0.5, 0.5, 0)
    assert (moves.allocated, moves.refused, moves.moves) == (1.0, 0.0, 1)


def test_pods_that_leave_make_room() -> None:
    """With a stay of next to nothing, each finds an empty cluster."""
    nodes, jobs = NodeTable.of(["a"], [[8.0, 1.0, 100.0]]), pods(*[1.0] * 20)
    assert run(Spread(), nodes, jobs, 0, demand_of(jobs), 1, 1e-9).refused == 0.0
    assert run(Spread(), nodes, jobs, 0, demand_of(jobs), 1, None).refused == pytest.approx(0.95)
