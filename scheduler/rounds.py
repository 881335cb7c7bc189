"""The rounds of one job: who computes what, until every shard is in. Pure: answers in, calls out."""

from __future__ import annotations

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
from workers.exact_sum import NonFiniteError
from workers.parameter_store import Commit, Verdict
from workers.training import RoundReport
from workers.update import CallSums
from workers.worker_state import CallResult


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
    """What to do after an answer: calls to send, and the report of a round that has just ended."""

    calls: tuple[Call, ...] = ()
    report: RoundReport | None = None


class Rounds:
    """Deals a job's shards to its workers, round after round, by a balance policy.

    A policy that ``redivides`` is asked anew after every round, and told how long each worker was busy. What it keeps
    back is given to whoever has answered.

    Attributes
    ----------
    worker_of
        Which worker computes each shard in this round, -1 where nobody does yet.
    """

    def __init__(
        self,
        job: str,
        seed: int,
        store: Store,
        balance: Balance,
        workers: WorkerTable,
        shards: ShardTable,
    ) -> None:
        self.store = store
        self.balance = balance
        self._open(RoundView(job, seed, workers, shards, pulls=len(workers) > 1))

    def _open(self, view: RoundView) -> None:
        """Divide the shards for a round, and let those who got none ask for what was kept back."""
        self._assignment = self._divide(view)
        self._view = replace(view, state=self._assignment.state)
        self._busy_s: Floats = np.zeros(len(view.workers))
        self.worker_of: Ints = self._assignment.worker_of.astype(np.int64)
        self._calls = list(self._assignment.calls())
        self._pending = np.flatnonzero(self.worker_of < 0)
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

    def begin(self) -> Instructions:
        """Open an attempt at a round: every worker gets its calls, in a second attempt those of the first."""
        return Instructions(tuple(self._calls))

    def answered(self, call: Call, result: CallResult) -> Instructions:
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
        if self.store.offer(result.version, call.shards, result.sums) is not Verdict.ACCEPTED:
            return Instructions()
        self._busy_s[call.worker] += result.busy_s
        if not self.store.complete:
            more = self._give(call.worker)
            self._refuse_to_wait_for_nobody(self.store.num_missing - len(self._pending))
            return Instructions(more)
        report = self.store.commit().report
        if report is None and result.sums.ahead is not None:
            self.store.offer(self.store.message.version, call.shards, replace(result.sums, total=result.sums.ahead))
            report = self.store.commit().report
        if report is not None:
            self._end_round()
        if self.store.training.outcome is not None:
            return Instructions(report=report)
        return Instructions(self.begin().calls, report)

    def _end_round(self) -> None:
        """Divide anew if the policy learns or keeps shards back."""
        view = self._view
        kept_back = (np.asarray(self._assignment.worker_of) < 0).any()
        if (self.balance.redivides or kept_back) and self.store.training.outcome is None:
            last_s = np.where(self._busy_s > 0, self._busy_s, np.nan)
            resident = frozen(self.worker_of, np.int64)
            self._open(replace(view, round=view.round + 1, resident=resident, last_s=frozen(last_s)))
