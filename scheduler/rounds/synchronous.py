"""The rounds of one job: who computes what, until every shard is in. Pure: answers in, calls out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from policies.interface import (
    Assignment,
    Balance,
    Call,
    Floats,
    Ints,
    RoundView,
    ShardTable,
    Unplaced,
    WorkerTable,
    frozen,
)
from scheduler.errors import UserError
from scheduler.loop import judge
from scheduler.rounds.flights import Flight, Flights
from scheduler.rounds.measurements import Measurements
from scheduler.rounds.speculation import Speculation
from workers.exact_sum import NonFiniteError
from workers.parameter_store import Commit, Verdict
from workers.training import RoundReport
from workers.update import CallSums
from workers.worker_state import CallResult

WORTH_A_FORECAST_S = 0.05
"""In shorter rounds nobody reads ahead."""


class Store(Protocol):
    """What the rounds need of a parameter store; ``workers.parameter_store.ParameterStore`` says what each means."""

    training: Any
    message: Any

    @property
    def complete(self) -> bool:
        """Whether every shard is in."""

    @property
    def num_missing(self) -> int:
        """How many shards are not in yet."""

    def offer(self, version: int, shards: Ints, sums: CallSums) -> Verdict:
        """Take the sums of a call, or say why not."""

    def commit(self) -> Commit:
        """Close the attempt at a round."""


@dataclass(frozen=True)
class Instructions:
    """What to do after an answer.

    Attributes
    ----------
    calls
        To send.
    report
        Of a round that has just ended.
    fetches
        Shards that workers are to read ahead, since the next round is likely to want them there.
    """

    calls: tuple[Call, ...] = ()
    report: RoundReport | None = None
    fetches: tuple[Call, ...] = ()


class Rounds:
    """Deals a job's shards to its workers, round after round, by a balance policy.

    A policy that ``redivides`` is asked anew after every round, and told how long each worker was busy. What it keeps
    back is given to whoever has answered. Where it has ``patience``, shards of a call that is too slow go to idle
    workers too: either the call counts or, once they have all of its shards, its copies. Without a clock none is.

    Attributes
    ----------
    worker_of
        Which worker computes each shard in this round, -1 where nobody does yet.
    measurements
        What is known of the workers.

    Parameters
    ----------
    before
        Those of the same job with other workers, if there were any: what they have learnt is not lost.
    """

    def __init__(
        self,
        job: str,
        seed: int,
        store: Store,
        balance: Balance,
        workers: WorkerTable,
        shards: ShardTable,
        before: Rounds | None = None,
    ) -> None:
        self.store = store
        self.balance = balance
        self._began_s, self._stage, self._repeats = 0.0, "", False
        self.measurements = Measurements(workers)
        self._flights = Flights(len(workers), shards.work)
        self._speculation = Speculation(balance.patience, self._flights, self.measurements)
        view = RoundView(job, seed, workers, shards, pulls=len(workers) > 1)
        self._open(view if before is None else before.seen_by(view))

    def seen_by(self, view: RoundView) -> RoundView:
        """Return a view on other workers with what was learnt here of those that stay."""
        mine = self._view
        row_of = {who: row for row, who in enumerate(zip(view.workers.ids, view.workers.nodes, strict=True))}
        moved = [row_of.get(who, -1) for who in zip(mine.workers.ids, mine.workers.nodes, strict=True)]
        resident = frozen(np.array([*moved, -1])[self.worker_of], np.int64)  # the last one is for nobody
        return replace(view, round=mine.round + 1, resident=resident, state=mine.state)

    def _open(self, view: RoundView) -> None:
        """Divide the shards for a round, and let those who got none ask for what was kept back."""
        view = replace(view, workers=self.measurements.network())
        self._assignment = self._divide(view)
        self._view = replace(view, state=self._assignment.state)
        self._busy_s: Floats = np.zeros(len(view.workers))
        self.worker_of: Ints = self._assignment.worker_of.astype(np.int64)
        self._calls = list(self._assignment.calls())
        self._pending = np.flatnonzero(self.worker_of < 0)
        self._forecast: Ints | None = None
        for worker in sorted(set(range(len(view.workers))) - {call.worker for call in self._calls}):
            self._give(worker)
        self._refuse_to_wait_for_nobody(len(self._calls))

    def _divide(self, view: RoundView) -> Assignment:
        """Ask the policy for the first hand-out, and let the referee judge it."""
        answer = self._asked(self.balance.divide, view)
        if isinstance(answer, Unplaced):
            raise UserError(f"{answer}\ngive the workers more memory (workers.bundle.memory), or more workers")
        judge(self.balance.name, answer, view, Assignment)
        return Assignment(np.asarray(answer.worker_of), answer.state)  # a list passes the referee too

    def _give(self, worker: int) -> tuple[Call, ...]:
        """Ask the policy what an idle worker gets of what was kept back: a call, or nothing."""
        if not len(self._pending):
            return ()
        view = replace(self._view, pending=frozen(self._pending, np.int64))
        call = Call(worker, np.asarray(self._asked(self.balance.next, view, worker)))
        judge(self.balance.name, call, view, Call)
        if not len(call.shards):
            return ()
        self.worker_of[call.shards] = worker
        self._pending = np.flatnonzero(self.worker_of < 0)
        self._calls.append(call)
        return (call,)

    def _asked(self, question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except Exception as error:  # noqa: BLE001  (a user's own code may raise anything)
            raise UserError(f"policy '{self.balance.name}' raised {type(error).__name__}: {error}") from None

    def _refuse_to_wait_for_nobody(self, num_awaited: int) -> None:
        """Refuse a policy that keeps shards back when nothing is being computed any more."""
        if len(self._pending) and not num_awaited:
            raise UserError(
                f"policy '{self.balance.name}' kept {len(self._pending)} shard(s) back, and gave them to no idle worker"
            )

    def queue(self, worker: int) -> Ints:
        """Return the shards of one worker in this round, ascending."""
        return np.flatnonzero(self.worker_of == worker)

    @property
    def num_copies(self) -> int:
        """How many calls were copies of what was overdue."""
        return self._speculation.num_copies

    def begin(self, now_s: float = math.nan) -> Instructions:
        """Open an attempt at a round: workers get their calls, in a second attempt those of the first."""
        self._began_s = now_s
        if self.store.message.stage != self._stage:
            self._stage = self.store.message.stage
            self.measurements.forget_computing()
        return Instructions(self._flights.begin(self._calls, now_s))

    def answered(self, call: Call, result: CallResult, now_s: float = math.nan) -> Instructions:
        """Take the answer to a call, and return what follows: more for its worker, or the next round's calls.

        Raises
        ------
        UserError
            If the policy cannot divide the shards anew, or breaks a rule.
        DivergedError
            If the numbers overflowed.
        """
        if result.sums is None:
            raise self.store.training.diverged(str(NonFiniteError(result.failure)))
        original = self._flights.land(call)
        accepted = self._accepted(call, original, result, now_s)
        if not (accepted and self.store.complete):
            more = self._more(call.worker, now_s)
            return Instructions(more, fetches=() if more else self._ahead(call.worker, now_s))
        report = self.store.commit().report
        if report is None and result.sums.ahead is not None:
            self.store.offer(self.store.message.version, call.shards, replace(result.sums, total=result.sums.ahead))
            report = self.store.commit().report
        self._repeats = report is None
        if report is not None:
            self._end_round()
        if self.store.training.outcome is not None:
            return Instructions(report=report)
        return Instructions(self.begin(now_s).calls, report)

    def _more(self, worker: int, now_s: float) -> tuple[Call, ...]:
        """Return what a worker that has answered gets in the middle of a round."""
        if not self._flights.is_idle(worker):
            return ()
        if waited := self._flights.released(worker):
            return waited
        more = self._give(worker)
        if not more and self.store.num_missing == len(self._pending):  # whoever rests is asked again
            more = tuple(call for other in self._flights.idle.tolist() for call in self._give(other))
        if len(self._flights.idle) == len(self._view.workers):
            self._refuse_to_wait_for_nobody(len(more))
        self._flights.depart(more, now_s)
        return more or self._speculation.copy_for(worker, self._view, now_s)

    def _accepted(self, call: Call, original: Flight | None, result: CallResult, now_s: float) -> bool:
        """Offer an answer to the store, or put a copy's aside until the copies have all that the call has."""
        if result.sums is None:
            raise AssertionError("answered() has refused it")
        if original is None:
            if self.store.offer(result.version, call.shards, result.sums) is not Verdict.ACCEPTED:
                return False
            self._close(call, result.busy_s, now_s)
            return True
        original.copies.append((call, result.sums))
        if not original.is_replaced:
            return False
        for copy, sums in original.copies:
            if self.store.offer(result.version, copy.shards, sums) is not Verdict.ACCEPTED:
                return False  # the call itself came first
        slow = original.call
        self._close(slow, now_s - float(self._flights.since_s[slow.worker]), now_s)  # at least: it is still at it
        return True

    def _close(self, call: Call, busy_s: float, now_s: float) -> None:
        """Note that the shards of a call are in, and for how long its worker was busy with them."""
        self._busy_s[call.worker] += busy_s
        if not self._repeats:  # a second attempt adds up what was computed in the first
            self.measurements.computed(call.worker, float(self._view.shards.work[call.shards].sum()), busy_s)
        self._flights.close(call, now_s)

    @property
    def look_s(self) -> float:
        """When to look for calls that are overdue; infinite where there are none, or nobody who could help."""
        return self._speculation.look_s()

    def look(self, now_s: float) -> Instructions:
        """Give idle workers copies of what is overdue by now."""
        return Instructions(self._speculation.look(self._view, now_s))

    def _ahead(self, worker: int, now_s: float) -> tuple[Call, ...]:
        """Return what an idle worker should read ahead, if the next round divides as this one lets expect."""
        lasting = now_s - self._began_s >= WORTH_A_FORECAST_S
        if not (self.balance.redivides and lasting and not len(self._pending) and self._flights.is_idle(worker)):
            return ()
        if self._forecast is None:
            running_s = np.fmax(now_s - self._flights.since_s, self._speculation.expected_s())
            busy_s = self._busy_s + np.nan_to_num(running_s)
            self._forecast = self._divide(self._after(busy_s)).worker_of
        new = np.flatnonzero((self._forecast == worker) & (self.worker_of != worker))
        return (Call(worker, new),) if len(new) else ()

    def _after(self, busy_s: Floats) -> RoundView:
        """Return the view of the next round, if workers were busy for so long in this one."""
        view = self._view
        last_s = frozen(np.where(busy_s > 0, busy_s, np.nan))
        return replace(view, round=view.round + 1, resident=frozen(self.worker_of, np.int64), last_s=last_s)

    def _end_round(self) -> None:
        """Divide anew if the policy learns or keeps shards back."""
        kept_back = (np.asarray(self._assignment.worker_of) < 0).any()
        self.measurements.next_round()
        if (self.balance.redivides or kept_back) and self.store.training.outcome is None:
            self._open(self._after(self._busy_s))
