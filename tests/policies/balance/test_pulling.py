"""Policies that keep shards back for whoever is idle, and the rounds in which they are asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.balance.adaptive import Adaptive
from policies.balance.adaptive_pull import AdaptivePull
from policies.balance.equal import Equal
from policies.balance.pull import Pull
from policies.interface import Assignment, Balance, PolicyError, RoundView, Unplaced, frozen
from policies.rehearsal import Rehearsal, rehearse
from policies.strategies import round_view, shard_table, worker_table


def view_of(num_shards: int, s_per_work: list[float], memory: float = 1e12, **more: Any) -> RoundView:
    workers = worker_table([(1.0, 0.0, memory)] * len(s_per_work), s_per_work)
    view = round_view(workers, shard_table(np.ones(num_shards), np.ones(num_shards)))
    return replace(view, **{"pulls": True, **more})


def pending(view: RoundView, *shards: int) -> RoundView:
    return replace(view, pending=frozen(shards, np.int64))


def play(balance: Balance, view: RoundView, step: list[float]) -> Rehearsal:
    answer = rehearse(balance, view, lambda worker, shards: float(view.shards.work[shards].sum() * step[worker]))
    assert isinstance(answer, Rehearsal)
    return answer


def sizes(answer: Rehearsal) -> list[int]:
    return [len(call.shards) for call in answer.calls]


class TestPull:
    def test_guided_self_scheduling_as_in_the_paper(self) -> None:
        """100 iterations on 5 processors: chunks of ceil(R / 5), the example of Polychronopoulos and Kuck."""
        view, found = view_of(100, [1.0] * 5), []
        left = np.arange(100)
        while len(left):
            chunk = Pull(divisor=1).next(pending(view, *left), len(found) % 5)
            found.append(len(chunk))
            left = np.setdiff1d(left, chunk)
        assert found == [20, 16, 13, 11, 8, 7, 5, 4, 4, 3, 2, 2, 1, 1, 1, 1, 1]

    def test_the_default_takes_half_of_that(self) -> None:
        assert len(Pull().next(pending(view_of(100, [1.0] * 5), *range(100)), 0)) == 10

    def test_no_chunk_is_smaller_than_the_least(self) -> None:
        view = view_of(100, [1.0] * 5)
        assert len(Pull(min_chunk=30).next(pending(view, *range(100)), 0)) == 30
        assert len(Pull(min_chunk=30).next(pending(view, *range(7)), 0)) == 7
        assert sizes(play(Pull(min_chunk=30), view, [1.0] * 5))[:3] == [30, 30, 30]

    def test_chunks_are_of_work(self) -> None:
        view = replace(view_of(4, [1.0, 1.0]), shards=shard_table([6.0, 2.0, 2.0, 2.0], np.ones(4)))
        assert Pull(divisor=1).next(pending(view, 0, 1, 2, 3), 0).tolist() == [0]
        assert Pull(divisor=1).next(pending(view, 1, 2, 3), 0).tolist() == [1, 2]

    def test_what_a_worker_holds_comes_first(self) -> None:
        view = view_of(6, [1.0, 1.0, 1.0], resident=frozen([0, 1, -1, 2, 1, -1], np.int64))
        picks = [Pull(divisor=0.5).next(pending(view, 0, 1, 2, 3, 4, 5), worker) for worker in range(3)]
        assert [pick.tolist() for pick in picks] == [[0, 1, 2, 5], [1, 2, 4, 5], [0, 2, 3, 5]]

    def test_a_chunk_is_within_memory(self) -> None:
        view = view_of(20, [1.0, 1.0], memory=3.0)
        answer = play(Pull(divisor=1), view, [1.0, 2.0])
        assert max(sizes(answer)) == 3
        assert (answer.worker_of >= 0).all()

    def test_a_shard_for_which_nobody_has_room(self) -> None:
        view = replace(view_of(3, [1.0, 1.0], memory=4.0), shards=shard_table(np.ones(3), [1.0, 5.0, 4.0]))
        answer = Pull().divide(view)
        assert isinstance(answer, Unplaced)
        assert str(answer).splitlines()[0] == "shards of job job: only 2 of 3 fit"
        assert [(item.requested, item.free) for item in answer.shortfalls] == [(5.0, 4.0)] * 2

    def test_the_slow_compute_less_though_nobody_knows_speeds(self) -> None:
        answer = play(Pull(), view_of(400, [np.nan] * 4), [1.0, 1.0, 1.0, 4.0])
        ideal = 400 / 3.25
        assert answer.makespan_s < ideal * 1.7  # the first chunk of the slow is 50 shards, that is 200 seconds
        assert answer.makespan_s < play(Equal(), view_of(400, [np.nan] * 4), [1.0, 1.0, 1.0, 4.0]).makespan_s / 1.9
        finer = play(Pull(divisor=8), view_of(400, [np.nan] * 4), [1.0, 1.0, 1.0, 4.0])
        assert finer.makespan_s < ideal * 1.05

    def test_where_nobody_can_ask_chunks_are_handed_out_by_speed(self) -> None:
        view = view_of(320, [1.0, 2.0, 4.0], pulls=False)
        worker_of = np.asarray(Pull().divide(view).worker_of)  # type: ignore[union-attr]
        done = np.bincount(worker_of, minlength=3) * view.workers.s_per_work
        assert done.max() <= 320 / 1.75 + 4


class TestAdaptivePull:
    def test_the_first_chunk_is_most_of_what_adaptive_would_give(self) -> None:
        view = view_of(70, [1.0, 2.0, 4.0])
        answer = AdaptivePull(first=0.5).divide(view)
        assert np.bincount(answer.worker_of + 1).tolist() == [35, 20, 10, 5]  # type: ignore[union-attr]

    def test_everyone_has_at_least_a_shard_at_first(self) -> None:
        answer = AdaptivePull(first=0.5).divide(view_of(3, [1.0, 1.0, 1.0]))
        assert answer.worker_of.tolist() == [0, 1, 2]  # type: ignore[union-attr]

    def test_idle_workers_get_half_of_their_part(self) -> None:
        view = view_of(70, [1.0, 2.0, 4.0])
        sizes = [len(AdaptivePull().next(pending(view, *range(56)), worker)) for worker in range(3)]
        assert sizes == [16, 8, 4]

    def test_the_slow_do_not_keep_the_others_waiting(self) -> None:
        view = view_of(70, [1.0, 1.0, 9.0])
        assert [len(AdaptivePull().next(pending(view, 4, 5), worker)) for worker in range(3)] == [1, 1, 0]
        assert len(AdaptivePull().next(pending(view, *range(40)), 2)) == 2

    def test_where_only_the_slow_have_room_they_get_it(self) -> None:
        view = view_of(2, [1.0, 9.0])
        bundle = view.workers.bundle.copy()
        bundle[:, 2] = (1.0, 9.0)
        view = replace(
            view, workers=replace(view.workers, bundle=frozen(bundle)), shards=shard_table([1.0, 1.0], [9, 1])
        )
        answer = play(AdaptivePull(), view, [1.0, 9.0])
        assert answer.worker_of.tolist() == [1, 0]

    def test_shards_of_one_that_lost_its_memory_are_taken_whatever_it_costs_to_bring_them(self) -> None:
        workers = worker_table([(0, 0, 3.0), (0, 0, 0), (0, 0, 2.0)], [0.001] * 3, s_per_byte=[0.5, 0, 0.5])
        view = round_view(workers, shard_table([0.0, 0, 2, 1, 2], [1.0] * 5))
        view = replace(view, round=1, resident=frozen([0, 0, 1, 0, 0], np.int64), last_s=np.zeros(3), pulls=True)
        answer = play(AdaptivePull(), view, [0.001] * 3)
        assert np.bincount(answer.worker_of, minlength=3).tolist() == [3, 0, 2]

    def test_pulling_makes_up_for_a_straggler(self) -> None:
        slow, told = [1.0, 1.0, 1.0, 1.6], [1.0] * 4
        pulled = play(AdaptivePull(), view_of(400, told), slow).makespan_s
        fixed = play(Adaptive(), view_of(400, told), slow).makespan_s
        assert fixed == 160
        assert pulled <= 400 / 3.625 + 9.7  # the straggler's first 75 shards take 120

    def test_who_had_nothing_is_tried_again(self) -> None:
        """One that was slow in a round computes as much as others soon after it has recovered."""
        view = view_of(40, [1.0, 1.0])
        for step in ([1.0, 100.0], [1.0, 100.0], *[[1.0, 1.0]] * 30):
            answer = play(AdaptivePull(), view, step)
            view = answer.following(view)
        assert np.bincount(answer.worker_of).min() >= 18

    def test_where_nobody_can_ask_it_is_adaptive(self) -> None:
        view = view_of(50, [1.0, 3.0], pulls=False)
        one, other = AdaptivePull().divide(view), Adaptive().divide(view)
        assert one.worker_of.tolist() == other.worker_of.tolist()  # type: ignore[union-attr]


class TestRehearsal:
    def test_by_hand(self) -> None:
        view = view_of(8, [1.0, 1.0])
        answer = play(Pull(divisor=1), view, [1.0, 3.0])  # 0: 4 shards to 4 s; 1: 2 shards to 6 s; then 1 each
        assert [(call.worker, len(call.shards)) for call in answer.calls] == [(0, 4), (1, 2), (0, 1), (0, 1)]
        assert (answer.makespan_s, answer.busy_s.tolist()) == (6.0, [6.0, 6.0])
        following = answer.following(view)
        assert (following.round, following.last_s.tolist()) == (1, [6.0, 6.0])
        assert following.resident.tolist() == answer.worker_of.tolist()

    def test_who_does_not_pull_is_not_asked(self) -> None:
        answer = play(Equal(), view_of(5, [1.0, 1.0]), [1.0, 1.0])
        assert (sizes(answer), answer.makespan_s) == ([3, 2], 3.0)

    def test_a_worker_that_gets_nothing_rests(self) -> None:
        class Once(Pull):
            def next(self, view: RoundView, worker: int) -> Any:
                return super().next(view, worker) if worker == 0 else view.pending[:0]

        answer = play(Once(), view_of(9, [1.0, 1.0]), [1.0, 1.0])
        assert (answer.worker_of >= 0).all()
        assert [call.worker for call in answer.calls[2:]] == [0] * len(answer.calls[2:])

    @pytest.mark.parametrize(
        ("shards", "message"),
        [
            ([0], "shard 0 is not pending"),
            ([99], "shard 99 is not pending"),
            ([8, 8], "a shard is given twice in one call"),
            ([0.5], "a call's shards must be a row of whole numbers, got float64 of shape (1,)"),
            ([[8]], "a call's shards must be a row of whole numbers, got int64 of shape (1, 1)"),
            ([7, 8], "worker w0: memory 0.0 MiB requested, 0.0 MiB free"),
        ],
    )
    def test_what_breaks_a_rule_is_refused(self, shards: Any, message: str) -> None:
        class Wrong(Pull):
            def next(self, view: RoundView, worker: int) -> Any:
                return np.array(shards)

        with pytest.raises(PolicyError) as caught:
            play(Wrong(), view_of(9, [1.0, 1.0], memory=1.0), [1.0, 1.0])
        assert message in str(caught.value)

    def test_a_refusal_is_passed_on(self) -> None:
        assert isinstance(rehearse(Pull(), view_of(9, [1.0], memory=0.5), lambda *_: 1.0), Unplaced)

    @given(owners=st.lists(st.integers(-1, 4), max_size=20))
    def test_first_calls_are_the_hand_outs(self, owners: list[int]) -> None:
        calls = Assignment(np.array(owners, dtype=np.int64)).calls()
        assert [call.worker for call in calls] == sorted(set(owners) - {-1})
        assert all(call.shards.tolist() == [s for s, w in enumerate(owners) if w == call.worker] for call in calls)


@settings(deadline=None, max_examples=60)
@given(
    num=st.integers(1, 200),
    speeds=st.lists(st.integers(1, 4).map(float), min_size=2, max_size=5),
    first=st.sampled_from((0.3, 0.75, 1.0)),
)
def test_with_known_speeds_a_pulled_round_is_near_the_split_time(num: int, speeds: list[float], first: float) -> None:
    step = [1.0 / speed for speed in speeds]
    took = play(AdaptivePull(first), view_of(num, step), step).makespan_s
    assert took <= num / sum(speeds) + 3 * max(step)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pull(divisor=0), "divisor must be greater than 0, but got divisor=0"),
        (lambda: Pull(min_chunk=0), "min_chunk must be a whole number of at least 1, but got min_chunk=0"),
        (lambda: AdaptivePull(first=0), "first must be greater than 0 and at most 1, but got first=0"),
        (lambda: AdaptivePull(smoothing=2), "smoothing must be greater than 0 and at most 1, but got smoothing=2"),
        (lambda: AdaptivePull(dead_band=-1), "dead_band must be at least 0, but got dead_band=-1"),
    ],
)
def test_options_are_checked(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        make()
    assert str(caught.value) == message
