"""A memo answers as a calculation from nothing would, whatever it has seen before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import memo as memo_module
from policies.feasibility import Room, devices_for, fits, shortfalls
from policies.interface import Ints, JobView, Memo, NodeTable, Resources, Shortfall
from policies.strategies import node_tables

NODES = NodeTable.of([f"n{n}" for n in range(6)], [[4.0, 2.0, 8.0]] * 6, labels={"zone": list("aabbcc")})
BUNDLE = Resources(cpu=1.0, gpu=0.5, memory=2.0)
JOB = JobView("j", 0.0, BUNDLE, 1, 1)


class Counting:
    """A calculation that counts the rows that it was asked for."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor, self.rows = factor, 0

    def __call__(self, nodes: NodeTable, rows: Ints) -> Any:
        assert len(nodes) == len(rows)
        self.rows += len(rows)
        return self.factor * (nodes.free.sum(axis=1) + 10 * nodes.device_free.max(axis=1) + nodes.gpu_leases[:, 1])


def from_nothing(nodes: NodeTable, factor: float = 1.0) -> Any:
    return Counting(factor)(nodes, np.arange(len(nodes)))


def hold(room: Room, row: int) -> None:
    room.hold(BUNDLE, row, devices_for(BUNDLE, room.device_free[row]))


def test_only_what_changed_is_worked_out_anew() -> None:
    memo, room, work = Memo(), Room(NODES), Counting()
    for row in (0, 3, 3):
        assert np.array_equal(memo.column("key", room.view(), work), from_nothing(room.table()))
        hold(room, row)
    assert work.rows == 6 + 1 + 1
    memo.column("key", room.view(), work)
    memo.column("key", room.view(), work)
    assert work.rows == 6 + 1 + 1 + 1
    hold(room, 5)
    memo.column("key", room.table(), work)
    assert work.rows == 6 + 1 + 1 + 1 + 1


def test_a_column_is_read_only_and_other_machines_are_others() -> None:
    memo, work = Memo(), Counting()
    with pytest.raises(ValueError, match="read-only"):
        memo.column("key", NODES, work)[0] = 1.0
    assert len(memo.column("key", NODES.take([1, 0]), work)) == 2
    assert work.rows == 6 + 2


def test_a_constant_is_worked_out_once_for_the_same_machines() -> None:
    memo, room, asked = Memo(), Room(NODES), []

    def zones(nodes: NodeTable) -> Any:
        asked.append(nodes)
        return np.array([zone == "b" for zone in nodes.labels["zone"]])

    for row in (0, 1):
        assert memo.constant("zone", room.view(), zones).tolist() == [False, False, True, True, False, False]
        hold(room, row)
    assert memo.constant("zone", Room(room.table()).view(), zones).sum() == 2
    assert len(asked) == 1
    assert memo.constant("zone", NODES.take([2]), zones).tolist() == [True]


def test_what_was_not_used_for_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo_module, "BYTES", 3 * 6 * 8)
    memo, works = Memo(), [Counting(factor) for factor in range(5)]
    for key in (0, 1, 2, 0, 3, 0, 4):
        assert np.array_equal(memo.column(key, NODES, works[key]), from_nothing(NODES, key))
    assert [work.rows for work in works] == [6] * 5
    memo.column(1, NODES, works[1])
    assert works[1].rows == 12


@settings(max_examples=60, deadline=None)
@given(nodes=node_tables(), data=st.data())
def test_any_sequence_of_tables_and_views(nodes: NodeTable, data: st.DataObject) -> None:
    memo, rooms, kept = Memo(), [Room(nodes), Room(nodes)], [nodes]
    for _ in range(data.draw(st.integers(1, 15))):
        room = data.draw(st.sampled_from(rooms))
        able = np.flatnonzero(fits(JOB, room.view())).tolist()
        if able and data.draw(st.booleans()):
            hold(room, data.draw(st.sampled_from(able)))
        seen = data.draw(st.sampled_from([*[room.view() for room in rooms], *kept]))
        if data.draw(st.booleans()):
            kept.append(room.table())
        factor = data.draw(st.sampled_from((1.0, 2.0)))
        assert np.array_equal(memo.column(factor, seen, Counting(factor)), from_nothing(seen, factor))


def test_a_view_shows_what_is_held_later_and_cannot_be_written() -> None:
    room = Room(NODES)
    view, table = room.view(), room.table()
    hold(room, 2)
    assert view.free[2].tolist() == [3.0, 1.5, 6.0]
    assert table.free[2].tolist() == [4.0, 2.0, 8.0]
    for array in (view.free, view.device_free, view.gpu_leases):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_reasons_are_those_of_the_moment() -> None:
    room = Room(NODES.take([0]))
    found = shortfalls(JobView("j", 0.0, Resources(cpu=5.0), 1, 1), room.view())
    hold(room, 0)
    assert list(found) == [Shortfall("cpu", 5.0, 4.0, "node n0")]
