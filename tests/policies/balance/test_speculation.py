"""Which shards of an overdue call an idle worker copies, and when moving pays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.balance.adaptive_pull import AdaptivePull
from policies.balance.moving import pays
from policies.balance.speculation import BITE, hopeless, portion, remaining
from policies.interface import RoundView, frozen
from policies.strategies import round_view, shard_table, worker_table


def view_of(num_shards: int, s_per_work: list[float], **columns: Any) -> RoundView:
    workers = worker_table([(1.0, 0.0, 1e9)] * len(s_per_work), s_per_work, **columns)
    return round_view(workers, shard_table(np.ones(num_shards), np.ones(num_shards)))


def left(view: RoundView, num: int, resident: int = 0) -> RoundView:
    held = np.full(len(view.shards), resident)
    return replace(view, pending=frozen(np.arange(num), np.int64), resident=frozen(held, np.int64))


def test_idle_workers_share_by_their_speeds() -> None:
    view = left(view_of(30, [1.0, 1.0, 2.0]), 30)
    idle = np.array([1, 2])
    assert len(portion(view, 1, idle, 1e6)) == 20
    assert len(portion(view, 2, idle, 1e6)) == 10


def test_a_copy_takes_no_longer_than_a_part_of_what_the_call_has_taken() -> None:
    view = left(view_of(30, [1.0, 1.0]), 30)
    assert len(portion(view, 1, np.array([1]), 40.0)) == BITE * 40


@pytest.mark.parametrize(
    ("columns", "running_s"),
    [({}, 0.9), ({"s_per_byte": [0.0, 9.0]}, 9.0), ({"s_fixed": [0.0, 9.0]}, 9.0)],
)
def test_what_would_take_longer_than_the_call_has_is_not_copied(columns: dict[str, Any], running_s: float) -> None:
    """One second to compute, and what it takes to bring the shard or the message."""
    view = left(view_of(5, [1.0, 1.0], **columns), 5)
    assert not len(portion(view, 1, np.array([1]), running_s))
    assert len(portion(view, 1, np.array([1]), 10.0 * running_s))


def test_a_call_is_hopeless_if_all_others_would_be_done_with_it_much_earlier() -> None:
    view = left(view_of(30, [50.0, 1.0, 2.0]), 30)  # the others need 20 s
    assert hopeless(view, 0, 30.0, patience=1.5)
    assert not hopeless(view, 0, 29.0, patience=1.5)
    assert not hopeless(left(view_of(30, [50.0, np.nan]), 30), 0, 1e9, patience=1.5)


def test_an_overdue_call_lasts_as_long_again() -> None:
    found = remaining(np.array([4.0, 4.0, np.nan]), np.array([1.0, 6.0, 1.0]), 1.5)
    assert found[:2].tolist() == [3.0, 6.0]
    assert np.isnan(found[2])


def test_nothing_is_left_to_copy() -> None:
    assert not len(portion(left(view_of(5, [1.0, 1.0]), 0), 1, np.array([1]), 99.0))


class TestPays:
    view = view_of(10, [1.0, 1.0])
    ready, step = np.zeros(2), np.ones(2)

    def pays(self, moved: int, s_per_byte: float, num_rounds: int) -> bool:
        """Say whether it pays to bring some of worker 0's eight shards to worker 1, at a second for each."""
        last = np.array([0] * 8 + [1] * 2)
        view = replace(self.view, resident=frozen(last, np.int64))
        new = last.copy()
        new[:moved] = 1
        return pays(view, new, self.ready, self.step, np.full(2, s_per_byte), num_rounds)

    def test_a_second_a_round_for_as_many_rounds_as_it_takes(self) -> None:
        assert self.pays(3, s_per_byte=7.9, num_rounds=8)  # 3 s a round, for 23.7 s
        assert not self.pays(3, s_per_byte=8.1, num_rounds=8)

    def test_moving_for_nothing_does_not_pay(self) -> None:
        assert not self.pays(6, s_per_byte=0.0, num_rounds=8)  # 8 and 2 become 2 and 8

    def test_what_nobody_holds_must_be_brought_anyway(self) -> None:
        assert pays(self.view, np.zeros(10, dtype=int), self.ready, self.step, np.full(2, 9.0), 1)


class TestTaking:
    """An idle worker of ``adaptive-pull`` takes what others hold if it is done with it before they would be."""

    def next(self, backlog: int, s_per_byte: float, worker: int = 1) -> int:
        view = left(view_of(40, [1.0, 1.0], s_per_byte=[s_per_byte] * 2), backlog)
        return len(AdaptivePull().next(replace(view, pulls=True), worker))

    def test_it_takes_as_much_as_lets_both_be_done_together(self) -> None:
        assert self.next(20, 0.0) == 5  # half of its half
        assert 1 <= self.next(20, 3.0) <= 4

    def test_it_takes_nothing_that_its_owner_would_be_done_with_earlier(self) -> None:
        assert self.next(3, 3.0) == 0
        assert self.next(3, 3.0, worker=0) == 1

    def test_it_takes_from_whoever_has_most_left_to_do(self) -> None:
        view = view_of(40, [1.0, 5.0, 1.0])
        held = np.array([0] * 20 + [1] * 20)
        pending = frozen([*range(10, 20), *range(30, 40)], np.int64)  # 10 s and 50 s
        view = replace(view, pulls=True, pending=pending, resident=frozen(held, np.int64))
        assert AdaptivePull().next(view, 2).min() >= 30
