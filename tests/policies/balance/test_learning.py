"""Policies that learn from round to round: adaptive and pid, played with speeds that they are not told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from policies.balance.adaptive import Adaptive
from policies.balance.measuring import average, estimate, measured, memory, remembered
from policies.balance.pid import Pid
from policies.interface import Balance, PolicyError, RoundView, frozen
from policies.rehearsal import Rehearsal, rehearse
from policies.strategies import round_view, shard_table, worker_table

Speeds = Callable[[int], np.ndarray]


def view_of(num_shards: int, s_per_work: list[float], pulls: bool = False) -> RoundView:
    workers = worker_table([(1.0, 0.0, 1e12)] * len(s_per_work), s_per_work)
    return replace(round_view(workers, shard_table(np.ones(num_shards), np.ones(num_shards))), pulls=pulls)


def played(balance: Balance, view: RoundView, speeds: Speeds, rounds: int) -> list[Rehearsal]:
    """Play rounds, one after another, in which a worker takes ``speeds(round)`` seconds a shard."""
    found = []
    for number in range(rounds):
        step = speeds(number)
        answer = rehearse(balance, view, lambda worker, shards, step=step: float(len(shards) * step[worker]))
        assert isinstance(answer, Rehearsal)
        found.append(answer)
        view = answer.following(view)
    return found


def counts(answer: Rehearsal, num: int) -> list[int]:
    return np.bincount(answer.worker_of, minlength=num).tolist()


class TestMeasuring:
    view = replace(
        view_of(6, [1.0, 2.0, np.nan]),
        resident=frozen([0, 0, 0, 1, -1, -1], np.int64),
        last_s=frozen([6.0, np.nan, 0.0]),
    )

    def test_measured_are_those_who_had_work_and_a_time(self) -> None:
        assert measured(self.view).tolist() == pytest.approx([2.0, np.nan, np.nan], nan_ok=True)
        assert np.isnan(measured(replace(self.view, last_s=frozen([])))).all()
        assert np.isnan(measured(replace(self.view, resident=frozen([], np.int64)))).all()

    def test_the_average_forgets_what_is_old(self) -> None:
        first = replace(self.view, state=memory(self.view, s_per_work=np.array([4.0, 3.0, np.nan])))
        expected = [3.5, 1.5, np.nan]  # the second had no work: it is taken to change as the first does, by a half
        assert average(first, 0.25).tolist() == pytest.approx(expected, nan_ok=True)
        assert average(self.view, 0.25).tolist() == pytest.approx([2.0, np.nan, np.nan], nan_ok=True)

    def test_what_is_remembered_follows_the_workers(self) -> None:
        state = memory(self.view, s_per_work=np.array([4.0, 3.0, 2.0]))
        workers = replace(self.view.workers, ids=("w2", "new", "w0"))
        view = replace(self.view, workers=workers, state=state)
        assert remembered(view, "s_per_work").tolist() == pytest.approx([2.0, np.nan, 4.0], nan_ok=True)

    def test_who_was_only_probed_is_put_in_relation(self) -> None:
        assert estimate(self.view).tolist() == pytest.approx([2.0, 4.0, np.nan], nan_ok=True)  # probed at half its time


class TestAdaptive:
    def test_it_learns_speeds_that_nobody_told(self) -> None:
        first, second = played(Adaptive(), view_of(70, [np.nan] * 3), lambda _: np.array([1.0, 2.0, 4.0]), 2)
        assert counts(first, 3) == [24, 23, 23]
        assert counts(second, 3) == [40, 20, 10]

    def test_it_moves_no_more_than_it_must(self) -> None:
        first, second = played(Adaptive(), view_of(70, [np.nan] * 3), lambda _: np.array([1.0, 2.0, 4.0]), 2)
        assert (first.worker_of != second.worker_of).sum() == 16  # 24 to 40; nobody else gains

    @staticmethod
    def shares(smoothing: float, seconds: float) -> list[int]:
        """Return what the second of two workers has of 60 shards, if it takes so many seconds from round 3 on."""
        rounds = played(
            Adaptive(smoothing, dead_band=0.0),
            view_of(60, [1.0, 1.0]),
            lambda number: np.array([1.0, 1.0 if number < 3 else seconds]),
            10,
        )
        return [counts(answer, 2)[1] for answer in rounds]

    def test_it_follows_a_change_at_its_smoothing(self) -> None:
        shares = self.shares(0.5, 1.8)
        assert shares[:4] == [30] * 4  # the change is seen after round 3
        assert shares[4] == 25  # the mean of 1 and 1.8 seconds is 1.4
        assert shares[-1] == 21
        assert shares == sorted(shares, reverse=True)
        assert self.shares(1.0, 1.8)[4] == 21

    def test_it_follows_a_change_that_is_no_noise_at_once(self) -> None:
        assert self.shares(0.5, 3.0)[3:5] == [30, 15]
        assert self.shares(0.5, 1 / 3)[3:5] == [30, 45]

    def test_nothing_moves_for_noise(self) -> None:
        random = np.random.default_rng(0)
        noise = 1.0 + 0.03 * random.random((20, 4))

        def moves(dead_band: float) -> int:
            rounds = played(Adaptive(dead_band=dead_band), view_of(400, [1.0] * 4), lambda number: noise[number], 20)
            return sum((one.worker_of != other.worker_of).sum() for one, other in pairwise(rounds))

        assert moves(0.05) == 0
        assert moves(0.0) > 0

    def test_its_state_is_plain(self) -> None:
        (answer,) = played(Adaptive(), view_of(4, [1.0, 1.0]), lambda _: np.ones(2), 1)
        assert answer.state["workers"] == ("w0", "w1")
        assert np.isnan(answer.state["s_per_work"]).all()


class TestPid:
    def test_a_proportional_controller_is_there_after_one_round(self) -> None:
        rounds = played(Pid(dead_band=0.0), view_of(70, [np.nan] * 3), lambda _: np.array([1.0, 2.0, 4.0]), 4)
        assert [counts(answer, 3) for answer in rounds[1:]] == [[40, 20, 10]] * 3

    def test_a_smaller_gain_takes_smaller_steps(self) -> None:
        rounds = played(Pid(0.5, dead_band=0.0), view_of(200, [np.nan] * 2), lambda _: np.array([1.0, 3.0]), 8)
        first = [counts(answer, 2)[0] for answer in rounds]
        assert first[0] == 100
        assert 125 < first[1] < 150
        assert first == sorted(first)
        assert first[-1] == 150

    def test_the_integral_helps_along(self) -> None:
        plain, helped = (
            played(Pid(0.1, integral, dead_band=0.0), view_of(1000, [np.nan] * 2), lambda _: np.array([1.0, 2.0]), 4)
            for integral in (0.0, 0.05)
        )
        assert counts(plain[1], 2) == [519, 481]  # errors 1/2 and -1/4: 525 to 487.5
        assert 519 < counts(plain[-1], 2)[0] < counts(helped[-1], 2)[0] < 667

    def test_the_derivative_slows_down_what_changes_fast(self) -> None:
        plain, damped = (
            played(Pid(0.5, 0.0, gain, dead_band=0.0), view_of(1000, [np.nan] * 2), lambda _: np.array([1.0, 2.0]), 3)
            for gain in (0.0, 0.2)
        )
        assert counts(plain[1], 2) == counts(damped[1], 2)  # nothing has changed yet
        assert counts(plain[2], 2)[0] > counts(damped[2], 2)[0] > counts(plain[1], 2)[0]

    def test_the_dead_band(self) -> None:
        def speeds(number: int) -> np.ndarray:
            return np.array([1.0, 1.08])

        wide, narrow = (
            played(Pid(dead_band=band), view_of(1000, [1.0, 1.0]), speeds, 2)[1].worker_of for band in (0.05, 0.01)
        )
        assert np.bincount(wide).tolist() == [500, 500]
        assert np.bincount(narrow)[0] > 510

    def test_errors_add_up_outside_the_dead_band_only(self) -> None:
        quiet = played(Pid(), view_of(100, [1.0, 1.0]), lambda _: np.array([1.0, 1.01]), 3)[-1].state
        assert quiet["total"].tolist() == [0.0, 0.0]
        loud = played(Pid(0.1), view_of(100, [np.nan] * 2), lambda _: np.array([1.0, 3.0]), 3)[-1].state
        assert loud["total"][0] > loud["error"][0] > 0 > loud["error"][1] > loud["total"][1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adaptive(smoothing=0), "smoothing must be greater than 0 and at most 1, but got smoothing=0"),
        (lambda: Adaptive(smoothing=1.1), "smoothing must be greater than 0 and at most 1, but got smoothing=1.1"),
        (lambda: Adaptive(dead_band=-0.1), "dead_band must be at least 0, but got dead_band=-0.1"),
        (lambda: Pid(proportional="1"), "proportional must be at least 0, but got proportional='1'"),  # type: ignore[arg-type]
        (lambda: Pid(integral=-1), "integral must be at least 0, but got integral=-1"),
        (lambda: Pid(derivative=float("nan")), "derivative must be at least 0, but got derivative=nan"),
        (lambda: Pid(dead_band=True), "dead_band must be at least 0, but got dead_band=True"),
    ],
)
def test_options_are_checked(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        make()
    assert str(caught.value) == message
