"""The rounds of one job: who computes what, until every shard is in. Pure: answers in, calls out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from policies.interface import Balance, Call, Floats, Ints, RoundView, ShardTable, WorkerTable, frozen
from scheduler.rounds.flights import Flight, Flights
from scheduler.rounds.hand_out import HandOut
from scheduler.rounds.measurements import Measurements
from scheduler.rounds.pieces import Pieces
from scheduler.rounds.speculation import Speculation
from scheduler.rounds.store import Store
from workers.exact_sum import NonFiniteError
from workers.outcome import RoundReport
from workers.parameter_store import Verdict
from workers.worker_state import CallResult

WORTH_A_FORECAST_S = 0.05
"""In shorter rounds nobody reads ahead."""


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
    What a worker had that is ``lost`` goes to the others at once. Rounds may begin on a store that has some shards of
    a round already: those that are missing are dealt, by the same policy, and all of them in the round after it.

    Attributes
    ----------
    measurements
        What is known of the workers.

    Parameters
    ----------
    before
        Those of the same job with other workers, if there were any: what they have learnt is not lost.
    call_bytes
        Of the shards of one call at most, by worker, shape ``(w,)`` (``Pieces``); without it as many as a policy gives.

    Raises
    ------
    UserError
        If the policy cannot divide the shards, or breaks a rule.
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
        call_bytes: Floats | None = None,
    ) -> None:
        self.store = store
        self.balance = balance
        self._began_s = 0.0
        self._stage: str = "" if before is None else before._stage
        self._repeats: bool = before is not None and before._repeats
        self.measurements: Measurements = Measurements(workers, None if before is None else before.measurements)
        self._flights = Flights(len(workers), shards.work)
        self._pieces = Pieces(shards.bytes, call_bytes)
        self._speculation = Speculation(balance.patience, self._flights, self.measurements, self._pieces)
        view = RoundView(job, seed, workers, shards, pulls=len(workers) > 1)
        view = self._measured(view if before is None else before.seen_by(view))
        self._busy_s: Floats = np.zeros(len(workers))
        self._hand_out = HandOut(balance, self._pieces, self._flights, view, store.missing)

    def seen_by(self, view: RoundView) -> RoundView:
        """Return a view on other workers with what was learnt here of those that stay."""
        mine = self._hand_out.view
        row_of = {who: row for row, who in enumerate(zip(view.workers.ids, view.workers.nodes, strict=True))}
        moved = [row_of.get(who, -1) for who in zip(mine.workers.ids, mine.workers.nodes, strict=True)]
        resident = frozen(np.array([*moved, -1])[self.worker_of], np.int64)  # the last one is for nobody
        return replace(view, round=mine.round + 1, resident=resident, state=mine.state)

    def _measured(self, view: RoundView) -> RoundView:
        return replace(view, workers=self.measurements.network())

    @property
    def worker_of(self) -> Ints:
        """Which worker computes each shard in this round, -1 where nobody does yet, or who did is not here."""
        return self._hand_out.worker_of

    def queue(self, worker: int) -> Ints:
        """Return the shards of one worker in this round, ascending."""
        return np.flatnonzero(self.worker_of == worker)

    @property
    def num_copies(self) -> int:
        """How many calls were copies of what was overdue."""
        return self._speculation.num_copies

    @property
    def is_deserted(self) -> bool:
        """Whether all workers were lost, or there never were any: only other ``Rounds``, with others, can go on."""
        return not len(self._flights.living)

    def begin(self, now_s: float = math.nan) -> Instructions:
        """Open an attempt at a round: workers get their calls, in a second attempt those of the first.

        A round of which the store has everything is closed first, and reported.
        """
        if self.store.complete and self.store.training.outcome is None:
            return self._closed(now_s)
        self._began_s = now_s
        if self.store.message.stage != self._stage:
            self._stage = self.store.message.stage
            self.measurements.forget_computing()
        calls = self._hand_out.calls_of_attempt(self.store.missing)
        return Instructions(self._flights.begin(calls, now_s))

    def lost(self, worker: int, now_s: float = math.nan) -> Instructions:
        """Give what a worker has not answered to the others, and return their calls; nobody comes back to its row.

        Calls go to busy workers too, which compute them in the order in which they are sent. What the worker still
        answers counts if that leaves no shard of another's call behind. Nothing happens if it was lost before.

        Raises
        ------
        UserError
            If the policy cannot divide the shards among the others, or breaks a rule.
        """
        if not self._flights.lives(worker):
            return Instructions()
        flights = self._flights.lose(worker)
        self._hand_out.lose(worker)
        left = np.sort(np.concatenate([np.arange(0), *(flight.uncopied for flight in flights)]))
        for flight in flights:
            for copy, result in flight.copies:
                self._offer(copy, result)
                self._hand_out.pass_on(copy, is_dealt=True)
                self._count(copy, result.busy_s)
            for copy in self._flights.promote(flight, now_s):
                self._hand_out.pass_on(copy, is_dealt=True)
        calls = self._hand_out.again(left, self._flights.idle)
        return Instructions((*self._flights.depart(calls, now_s), *self._wake(now_s)))

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
        copied = self._flights.land(call)
        if copied is not None:
            accepted = self._put_aside(call, copied, result, now_s)
        elif self._flights.awaits(call):
            accepted = self._take(call, result, now_s)
        else:
            accepted = self._take_unawaited(call, result, now_s)
        if not (accepted and self.store.complete):
            more = self._more(call.worker, now_s)
            return Instructions(more, fetches=() if more else self._ahead(call.worker, now_s))
        return self._closed(now_s, call, result)

    def _closed(self, now_s: float, call: Call | None = None, result: CallResult | None = None) -> Instructions:
        """Close the attempt, which ``call`` was the last to complete, and begin the next, if training goes on."""
        report = self.store.commit().report
        sums = None if result is None else result.sums
        if report is None and call is not None and sums is not None and sums.ahead is not None:
            sums = replace(sums, total=sums.ahead)
            self.store.offer(self.store.message.version, call.shards, sums, self._name(call.worker))
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
        more = self._hand_out.give(worker)
        self._flights.depart(more, now_s)
        return more or self._wake(now_s) or self._speculation.copy_for(worker, self._hand_out.view, now_s)

    def _wake(self, now_s: float) -> tuple[Call, ...]:
        """Ask those who rest again, once nothing is missing but what was kept back."""
        more: tuple[Call, ...] = ()
        if self.store.num_missing == len(self._hand_out.pending):
            more = tuple(call for worker in self._flights.idle.tolist() for call in self._hand_out.give(worker))
        if len(self._flights.idle) == len(self._flights.living):
            self._hand_out.refuse_to_wait_for_nobody(len(more))
        self._flights.depart(more, now_s)
        return more

    def _offer(self, call: Call, result: CallResult) -> bool:
        """Offer an answer to the store, and say whether it was accepted."""
        if result.sums is None:
            raise AssertionError("answered() has refused it")
        verdict = self.store.offer(result.version, call.shards, result.sums, self._name(call.worker))
        return verdict is Verdict.ACCEPTED

    def _name(self, worker: int) -> str:
        return self._hand_out.view.workers.ids[worker] if worker >= 0 else ""

    def _take(self, call: Call, result: CallResult, now_s: float) -> bool:
        """Take the answer to a call of this attempt."""
        if not self._offer(call, result):
            return False
        self._count(call, result.busy_s)
        self._flights.close(call, now_s)
        return True

    def _put_aside(self, copy: Call, copied: Flight, result: CallResult, now_s: float) -> bool:
        """Keep the answer to a copy until the copies have all that the call has, and then take them for it."""
        copied.copies.append((copy, result))
        if not copied.is_replaced:
            return False
        for one, answer in copied.copies:
            if not self._offer(one, answer):
                return False  # the call itself came first
        slow = copied.call
        self._count(slow, now_s - float(self._flights.since_s[slow.worker]))  # at least: it is still at it
        self._flights.close(slow, now_s)
        return True

    def _take_unawaited(self, call: Call, result: CallResult, now_s: float) -> bool:
        """Take an answer that comes twice, or of a worker that was lost, if it leaves no shard of another call behind.

        Where others have been given its shards together with more, theirs is the call that counts.
        """
        ended: list[Flight] | None = []
        if result.version == self.store.message.version:
            ended = self._flights.within(call.shards)
        if ended is None or not self._offer(call, result):
            return False
        for flight in ended:
            self._flights.close(flight.call, now_s)
        self._hand_out.pass_on(call, is_dealt=False)
        if self._flights.lives(call.worker):
            self._count(call, result.busy_s)
        return True

    def _count(self, call: Call, busy_s: float) -> None:
        """Note for how long the worker of a call that is in was busy with it."""
        self._busy_s[call.worker] += busy_s
        if not self._repeats:  # a second attempt adds up what was computed in the first
            self.measurements.computed(call.worker, float(self._hand_out.view.shards.work[call.shards].sum()), busy_s)

    @property
    def look_s(self) -> float:
        """When to look for calls that are overdue; infinite where there are none, or nobody who could help."""
        return self._speculation.look_s()

    def look(self, now_s: float) -> Instructions:
        """Give idle workers copies of what is overdue by now."""
        return Instructions(self._speculation.look(self._hand_out.view, now_s))

    def _ahead(self, worker: int, now_s: float) -> tuple[Call, ...]:
        """Return what an idle worker should read ahead, if the next round divides as this one lets expect."""
        lasting = now_s - self._began_s >= WORTH_A_FORECAST_S
        rests = not len(self._hand_out.pending) and self._flights.is_idle(worker)
        if not (self.balance.redivides and lasting and rests):
            return ()
        new = self._hand_out.wanted_next(worker, lambda: self._likely_s(now_s))
        return (self._pieces.first(Call(worker, new)),) if len(new) else ()

    def _likely_s(self, now_s: float) -> Floats:
        """Return how long each worker is likely to be busy in this round."""
        running_s: Floats = np.fmax(now_s - self._flights.since_s, self._speculation.expected_s())
        return self._busy_s + np.nan_to_num(running_s)

    def _end_round(self) -> None:
        """Divide anew if the policy learns or keeps shards back, or if not all can compute what they did."""
        self.measurements.next_round()
        if (self.balance.redivides or self._hand_out.divides_anew) and self.store.training.outcome is None:
            self._open(self._hand_out.after(self._busy_s))

    def _open(self, view: RoundView) -> None:
        self._busy_s = np.zeros(len(view.workers))
        self._hand_out.open(self._measured(view), self.store.missing)
