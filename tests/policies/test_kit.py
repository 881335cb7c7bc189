"""The conformance kit itself: it fails the policies that it should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.balance.adaptive import Adaptive
from policies.balance.equal import Equal
from policies.balance.pull import Pull
from policies.balance.speed_proportional import SpeedProportional
from policies.feasibility import Room, devices_for, fits
from policies.interface import (
    Assignment,
    Claim,
    ClusterPlan,
    ClusterSnapshot,
    Resources,
    Shortfall,
    Slot,
    Unplaced,
    frozen,
)
from policies.order.deadline import Deadline
from policies.order.fifo import Fifo
from policies.order.fifo_backfill import FifoBackfill
from policies.order.priority import Priority
from policies.order.sjf import Sjf
from policies.order.srsf import Srsf
from policies.place.spread import Spread
from policies.presets import resolve
from policies.testing import BalanceConformance, OrderConformance, PlaceConformance, PolicyConformance


class Overfills(Equal):
    def divide(self, view: Any) -> Any:
        return Assignment(np.zeros(len(view.shards), dtype=np.int64))


class GivesUp(Equal):
    def divide(self, view: Any) -> Any:
        reasons = (Shortfall("memory", 1.0, 0.0, "somewhere"),)
        return Unplaced(view.job, 0, len(view.shards), reasons) if len(view.shards) else super().divide(view)


class Remembers(Equal):
    calls = 0

    def divide(self, view: Any) -> Any:
        Remembers.calls += 1
        num = max(len(view.workers), 1)
        return Assignment((np.arange(len(view.shards)) + Remembers.calls) % num)


class Thaws(Equal):
    def divide(self, view: Any) -> Any:
        view.shards.work.flags.writeable = True
        view.shards.work[:] += 1
        return super().divide(view)


class NotPickled(Equal):
    def __init__(self) -> None:
        self.key: Callable[[], int] = lambda: 0


class RestsTooEarly(Pull):
    def next(self, view: Any, worker: int) -> Any:
        return super().next(view, worker) if len(view.pending) > 2 else view.pending[:0]


class GivesWhatIsDone(Pull):
    def next(self, view: Any, worker: int) -> Any:
        return np.arange(min(len(view.shards), 1))


class ForgetsMemory(Pull):
    def next(self, view: Any, worker: int) -> Any:
        return view.pending


class CountsWhoAsks(Pull):
    asked = 0

    def next(self, view: Any, worker: int) -> Any:
        CountsWhoAsks.asked += 1
        return view.pending[: CountsWhoAsks.asked % 3]


class TakesFromPending(Pull):
    def next(self, view: Any, worker: int) -> Any:
        view.pending.flags.writeable = True
        view.pending[:1] = 0
        return view.pending[:1]


class KeepsSecrets(Adaptive):
    def divide(self, view: Any) -> Any:
        answer = super().divide(view)
        return replace(answer, state={**answer.state, "f": lambda: 0}) if isinstance(answer, Assignment) else answer


class TripsOverItsState(Adaptive):
    def divide(self, view: Any) -> Any:
        return GivesUp().divide(view) if view.state else super().divide(view)


class OnlyTheFirstRound(Equal):
    def divide(self, view: Any) -> Any:
        answer = super().divide(view)
        return answer if not view.round else Overfills().divide(view)


class SlowFirst(SpeedProportional):
    promises = frozenset({"monotone"})

    def divide(self, view: Any) -> Any:
        s_per_work = frozen(1 / np.maximum(view.workers.s_per_work, 1e-300))
        return super().divide(replace(view, workers=replace(view.workers, s_per_work=s_per_work)))


class RoundsGenerously(Equal):
    promises = frozenset({"within-one-shard"})


class NeverLooksTwice(SpeedProportional):
    promises = frozenset({"no-better-move"})


class Restless(Equal):
    promises = frozenset({"stays-put"})


class PromisesMore(Equal):
    promises = frozenset({"the-moon"})


class ChokesOnAMillion(Equal):
    def divide(self, view: Any) -> Any:
        return super().divide(view) if len(view.shards) < 1000 else Overfills().divide(view)


class FirstRows(Spread):
    def place(self, claim: Claim, view: Any, memo: Any = None) -> Any:
        room, found = Room(view.nodes), []
        for row in range(len(view.nodes)):
            while len(found) < claim.max_workers and fits(claim.job, room.one(row))[0]:
                found.append(Slot(row, devices_for(claim.job.bundle, room.device_free[row])))
                room.hold(claim.job.bundle, *found[-1])
        return tuple(found) if len(found) >= claim.min_workers else super().place(claim, view)


class SplitsGangs(Spread):
    def place(self, claim: Claim, view: Any, memo: Any = None) -> Any:
        answer = super().place(claim, view)
        return answer[:1] if isinstance(answer, tuple) else answer


class SharesDevices(Spread):
    def devices(self, claim: Claim, node: Any, view: Any) -> Any:
        return tuple(0 for _ in super().devices(claim, node, view))


class RemembersTooMuch(Spread):
    def place(self, claim: Claim, view: Any, memo: Any = None) -> Any:
        return super().place(claim, view if memo is None else replace(view, nodes=view.nodes.emptied()))


class Forgets(Fifo):
    def rank(self, snapshot: Any) -> Any:
        return super().rank(snapshot)[:1]


class PlansNothing(type(resolve("equal"))):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(Fifo(), Spread(), Equal())

    def plan(self, snapshot: Any, memo: Any = None) -> ClusterPlan:
        return ClusterPlan(snapshot.version)


class Overtakes(Fifo):
    blocking = False


class PromisesTheMoon(Fifo):
    promises = frozenset({"the-moon"})


class Idles(Fifo):
    promises = frozenset({"work-conserving"})


class Starves(Sjf):
    blocking = True
    promises = frozenset({"starvation-free"})


class LetsAllPast(Priority):
    blocking = False


class ReservesNothing(FifoBackfill):
    promises = frozenset({"delays-no-first"})

    def reservations(self, snapshot: Any) -> Any:
        return None


class LongestFirst(Sjf):
    def rank(self, snapshot: Any) -> Any:
        return super().rank(snapshot)[::-1]


class MostServiceFirst(Srsf):
    def rank(self, snapshot: Any) -> Any:
        return super().rank(snapshot)[::-1]


class LatestFirst(Deadline):
    def rank(self, snapshot: Any) -> Any:
        return super().rank(snapshot)[::-1]


class RefusesWhoRuns(Fifo):
    def rank(self, snapshot: Any) -> Any:
        reasons = (Shortfall("luck", 1.0, 0.0, "here"),)
        return (*super().rank(snapshot), *(Unplaced(job, 0, 1, reasons) for job in snapshot.held()))


class CountsWhoRuns(Fifo):
    def rank(self, snapshot: Any) -> Any:
        return super().rank(snapshot)[:: -1 if snapshot.leases else 1]


class LeavesItsPlan(type(resolve("equal"))):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(Fifo(), Spread(), Equal())

    def plan(self, snapshot: ClusterSnapshot, memo: Any = None) -> ClusterPlan:
        plan = super().plan(snapshot, memo)
        if snapshot.nodes.room is not None and len(snapshot.nodes):
            snapshot.nodes.room.hold(Resources(0.5), 0, ())
        return plan


def kit_of(kit: type, policy: Any) -> Any:
    return type("Tests", (kit,), {"policy": lambda self: policy()})()


@pytest.mark.long  # Hypothesis shrinks every lie that it finds
@pytest.mark.parametrize(
    ("kit", "policy", "test"),
    [
        (BalanceConformance, Overfills, "test_every_shard_once_or_a_true_refusal"),
        (BalanceConformance, GivesUp, "test_every_shard_once_or_a_true_refusal"),
        (BalanceConformance, Remembers, "test_is_a_pure_function"),
        (BalanceConformance, Thaws, "test_is_a_pure_function"),
        (BalanceConformance, NotPickled, "test_is_a_pure_function"),
        (BalanceConformance, RestsTooEarly, "test_rounds_end"),
        (BalanceConformance, GivesWhatIsDone, "test_rounds_end"),
        (BalanceConformance, ForgetsMemory, "test_rounds_end"),
        (BalanceConformance, KeepsSecrets, "test_rounds_end"),
        (BalanceConformance, TripsOverItsState, "test_rounds_end"),
        (BalanceConformance, OnlyTheFirstRound, "test_every_shard_once_or_a_true_refusal"),
        (BalanceConformance, CountsWhoAsks, "test_is_a_pure_function"),
        (BalanceConformance, TakesFromPending, "test_is_a_pure_function"),
        (BalanceConformance, SlowFirst, "test_keeps_its_promises"),
        (BalanceConformance, RoundsGenerously, "test_keeps_its_promises"),
        (BalanceConformance, NeverLooksTwice, "test_keeps_its_promises"),
        (BalanceConformance, Restless, "test_keeps_its_promises"),
        (BalanceConformance, PromisesMore, "test_keeps_its_promises"),
        (BalanceConformance, RestsTooEarly, "test_degenerate_views"),
        (BalanceConformance, ChokesOnAMillion, "test_a_million_shards"),
        (BalanceConformance, Spread, "test_is_described"),
        (PlaceConformance, FirstRows, "test_order_of_rows_does_not_matter"),
        (PlaceConformance, SplitsGangs, "test_places_the_gang_or_refuses_truly"),
        (PlaceConformance, SharesDevices, "test_places_the_gang_or_refuses_truly"),
        (PlaceConformance, RemembersTooMuch, "test_a_memo_changes_nothing"),
        (OrderConformance, Forgets, "test_one_claim_for_every_turn"),
        (OrderConformance, Overtakes, "test_keeps_its_promises_in_a_crowd"),
        (OrderConformance, PromisesTheMoon, "test_its_plans_pass_the_referee"),
        (OrderConformance, Idles, "test_keeps_its_promises_in_a_crowd"),
        (OrderConformance, Starves, "test_keeps_its_promises_in_a_crowd"),
        (OrderConformance, LetsAllPast, "test_keeps_its_promises_in_a_crowd"),
        (OrderConformance, ReservesNothing, "test_keeps_its_promises_in_a_crowd"),
        (OrderConformance, LongestFirst, "test_keeps_its_promises_in_a_crowd"),
        (OrderConformance, MostServiceFirst, "test_keeps_its_promises_in_a_crowd"),
        (OrderConformance, LatestFirst, "test_keeps_its_promises_in_a_crowd"),
        (OrderConformance, RefusesWhoRuns, "test_keeps_its_promises_in_a_crowd"),
        (OrderConformance, CountsWhoRuns, "test_keeps_its_promises_in_a_crowd"),
        (PolicyConformance, LeavesItsPlan, "test_a_live_view_is_left_as_it_was"),
        (PolicyConformance, PlansNothing, "test_every_job_is_granted_whole_or_refused_truly"),
    ],
)
def test_the_kit_catches(kit: type, policy: Any, test: str) -> None:
    with pytest.raises(Exception):  # noqa: B017 - any error fails the test
        for _ in range(10):  # each draws other examples, and one unlucky draw proves nothing
            getattr(kit_of(kit, policy), test)()


def test_the_kit_names_what_is_missing() -> None:
    with pytest.raises(AssertionError, match="must be a Balance"):
        kit_of(BalanceConformance, Spread).test_is_described()
    with pytest.raises(NotImplementedError, match="must define policy"):
        BalanceConformance().test_is_described()
