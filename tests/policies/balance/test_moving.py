"""Hand-outs that move little, against the best of all: min-cost-move, opt-perf, and what they share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.balance.lpt import Lpt
from policies.balance.min_cost_move import MinCostMove
from policies.balance.moving import holders, keep
from policies.balance.opt_perf import OptPerf
from policies.interface import PolicyError, RoundView, frozen
from tests.policies.balance.brute import best_s, hand_outs, owners_of, speeds, times, view_of, works


def later(view: RoundView, resident: Any, **more: Any) -> RoundView:
    return replace(view, round=1, resident=frozen(resident, np.int64), **more)


def held(data: st.DataObject, view: RoundView, fewest: int = 0) -> np.ndarray:
    rows = st.lists(st.integers(fewest, len(view.workers) - 1), min_size=len(view.shards), max_size=len(view.shards))
    return np.array(data.draw(rows), dtype=np.int64)


class TestMinCostMove:
    @settings(deadline=None, max_examples=150)
    @given(
        num=st.integers(1, 7),
        s_per_work=speeds,
        slack=st.sampled_from((0.0, 0.1, 0.5)),
        data=st.data(),
    )
    def test_for_equal_shards_none_moves_fewer(
        self, num: int, s_per_work: list[float], slack: float, data: st.DataObject
    ) -> None:
        view = view_of([4.0] * num, s_per_work)
        resident = held(data, view)
        owner = owners_of(MinCostMove(slack), later(view, resident))
        every = hand_outs(num, len(s_per_work))
        takes, moved = times(view, every), (every != resident).sum(axis=1)
        took = float(times(view, owner[None])[0])
        split = 4.0 * num / sum(1 / step for step in s_per_work)
        target = (1 + slack) * takes.min()
        assert took <= target * (1 + 1e-6)
        if not (takes <= (1 + slack) * split * (1 + 1e-9)).any():  # else the target is the split time's
            assert (owner != resident).sum() == moved[takes <= target * (1 + 1e-9)].min()
        else:
            assert (owner != resident).sum() == moved[takes <= (1 + slack) * split * (1 + 1e-9)].min()

    @settings(deadline=None, max_examples=150)
    @given(work=works, s_per_work=speeds, slack=st.sampled_from((0.0, 0.2)), data=st.data())
    def test_the_target_is_met(
        self, work: list[float], s_per_work: list[float], slack: float, data: st.DataObject
    ) -> None:
        view = view_of(work, s_per_work)
        resident = held(data, view, fewest=-1)
        known = float(times(view, owners_of(Lpt(), view)[None])[0])
        if (resident >= 0).all():
            known = min(known, float(times(view, resident[None])[0]))
        owner = owners_of(MinCostMove(slack), later(view, resident))
        assert float(times(view, owner[None])[0]) <= (1 + slack) * known * (1 + 1e-6)

    def test_bytes_moved_are_near_the_fewest(self) -> None:
        random, over = np.random.default_rng(0), []
        for _ in range(60):
            view = view_of(random.integers(1, 20, 7).tolist(), [1.0, 0.5, 0.5])
            resident = random.integers(0, 3, 7)
            owner = owners_of(MinCostMove(0.1), later(view, resident))
            every = hand_outs(7, 3)
            took, takes = float(times(view, owner[None])[0]), times(view, every)
            fewest = ((every != resident) @ view.shards.bytes)[takes <= took * (1 + 1e-9)].min()
            moved = (owner != resident) @ view.shards.bytes
            assert moved >= fewest
            over.append(moved / view.shards.bytes.sum() - fewest / view.shards.bytes.sum())
        assert np.mean(over) < 0.1

    def test_what_is_light_for_its_work_moves(self) -> None:
        view = view_of([2.0, 2.0, 2.0, 2.0], [1.0, 1.0])
        light = replace(view, shards=replace(view.shards, bytes=frozen([9.0, 1.0, 9.0, 2.0])))
        assert owners_of(MinCostMove(), later(light, [0, 0, 0, 0])).tolist() == [0, 1, 0, 1]

    def test_speeds_are_those_of_the_round_before(self) -> None:
        view = later(view_of([1.0] * 8, [1.0, 1.0]), [0] * 4 + [1] * 4, last_s=frozen([4.0, 12.0]))
        assert owners_of(MinCostMove(), view).tolist() == [0] * 4 + [1] * 2 + [0] * 2  # 1 and 3 seconds a row
        assert owners_of(MinCostMove(slack=1.0), view).tolist() == [0] * 4 + [1] * 4

    @pytest.mark.parametrize("slack", [-0.1, float("nan"), float("inf"), "much", True])
    def test_checks_its_option(self, slack: Any) -> None:
        with pytest.raises(PolicyError, match="slack must be at least 0, but got slack="):
            MinCostMove(slack)


class TestOptPerf:
    @settings(deadline=None, max_examples=150)
    @given(
        work=works,
        s_per_work=speeds,
        prices=st.lists(st.sampled_from((0.0, 0.05, 0.5)), min_size=3, max_size=3),
        fixed=st.lists(st.integers(0, 5).map(float), min_size=3, max_size=3),
        data=st.data(),
    )
    def test_it_is_near_the_best_of_all(
        self, work: list[float], s_per_work: list[float], prices: list[float], fixed: list[float], data: st.DataObject
    ) -> None:
        num = len(s_per_work)
        view = view_of(work, s_per_work, s_fixed=fixed[:num], s_per_byte=prices[:num])
        resident = held(data, view, fewest=-1)
        view = later(view, resident)
        owner = owners_of(OptPerf(), view)
        best = times(view, hand_outs(len(work), num), resident).min()
        dearest = max(work) * (max(s_per_work) + 8 * max(prices[:num]))
        assert float(times(view, owner[None], resident)[0]) <= (best + dearest) * (1 + 1e-9)

    def test_it_is_seldom_far_from_the_best_of_all(self) -> None:
        random, over = np.random.default_rng(0), []
        for _ in range(100):
            prices = random.choice([0.0, 0.05, 0.5], 3).tolist()
            fixed = random.integers(0, 5, 3).astype(float).tolist()
            view = view_of(random.integers(1, 10, 7).tolist(), [1.0, 0.5, 0.2], s_fixed=fixed, s_per_byte=prices)
            resident = random.integers(-1, 3, 7)
            view = later(view, resident)
            took = float(times(view, owners_of(OptPerf(), view)[None], resident)[0])
            over.append(took / times(view, hand_outs(7, 3), resident).min())
        assert np.mean(over) < 1.1
        assert np.max(over) < 2.0

    def test_all_are_done_together(self) -> None:
        view = view_of([1.0] * 100, [1.0, 1.0, 0.5], s_fixed=[10.0, 0.0, 0.0], s_per_byte=[0.0, 0.125, 0.0])
        counts = np.bincount(owners_of(OptPerf(), view), minlength=3).tolist()
        assert counts == [22, 15, 63]  # 10 + x = 2 x' = x'' / 2 and 100 in all: 21.4, 15.7 and 62.9, 31.4 seconds

    def test_who_is_too_far_away_gets_nothing(self) -> None:
        view = view_of([1.0] * 10, [1.0, 1.0], s_fixed=[0.0, 20.0])
        assert owners_of(OptPerf(), view).tolist() == [0] * 10

    def test_what_a_worker_holds_is_cheap_for_it(self) -> None:
        view = view_of([1.0] * 12, [1.0, 1.0], s_per_byte=[1.0, 1.0])
        assert owners_of(OptPerf(), later(view, [0] * 10 + [1] * 2)).tolist() == [0] * 10 + [1] * 2
        cheap = view_of([1.0] * 12, [1.0, 1.0], s_per_byte=[0.01, 0.01])
        assert owners_of(OptPerf(), later(cheap, [0] * 10 + [1] * 2)).tolist() == [0] * 6 + [1] * 6


@given(data=st.data(), work=works, s_per_work=speeds)
def test_keep_is_within_its_limits(data: st.DataObject, work: list[float], s_per_work: list[float]) -> None:
    view = view_of(work, s_per_work)
    view = later(view, held(data, view, fewest=-1))
    most = np.array([data.draw(st.integers(0, 30)) for _ in s_per_work], dtype=float)
    owner = keep(view, most)
    assert ((owner == -1) | (owner == view.resident)).all()
    kept = np.bincount(owner[owner >= 0], view.shards.work[owner >= 0], len(most))
    assert (kept <= most + 1e-6).all()
    for shard in np.flatnonzero((owner < 0) & (view.resident >= 0)):  # nothing more fits
        assert kept[view.resident[shard]] + work[shard] > most[view.resident[shard]]


def test_holders_who_are_gone_hold_nothing() -> None:
    view = view_of([1.0] * 3, [1.0, 1.0])
    assert holders(later(view, [0, 5, -1])).tolist() == [0, -1, -1]
    assert holders(view).tolist() == [-1, -1, -1]
    assert best_s(view) == 2.0
