"""The rounds of one job: who computes what, until every shard is in. Pure: answers in, calls out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from policies.interface import Assignment, Balance, Call, RoundView, ShardTable, Unplaced, WorkerTable
from scheduler.errors import UserError
from scheduler.loop import judge
from workers.exact_sum import NonFiniteError
from workers.parameter_store import ParameterStore
from workers.training import RoundReport
from workers.worker_state import CallResult


@dataclass(frozen=True)
class Instructions:
    """What to do after an answer: calls to send, and the report of a round that has just ended."""

    calls: tuple[Call, ...] = ()
    report: RoundReport | None = None


class Rounds:
    """Deals a job's shards to its workers, round after round, by a balance policy.

    Attributes
    ----------
    assignment
        Which worker computes which shard.
    """

    def __init__(
        self,
        job: str,
        seed: int,
        store: ParameterStore,
        balance: Balance,
        workers: WorkerTable,
        shards: ShardTable,
    ) -> None:
        self.job, self.seed = job, seed
        self.store = store
        self.balance = balance
        self.workers, self.shards = workers, shards
        self.assignment = self._divide()
        queues = [self.assignment.queue(worker) for worker in range(len(workers))]
        self._first = tuple(Call(worker, queue) for worker, queue in enumerate(queues) if len(queue))

    def _divide(self) -> Assignment:
        """Ask the policy for the first hand-out, and let the referee judge it."""
        view = RoundView(self.job, self.seed, self.workers, self.shards)
        name = self.balance.name
        try:
            answer = self.balance.divide(view)
        except Exception as error:  # noqa: BLE001  (a user's own code may raise anything)
            raise UserError(f"policy '{name}' raised {type(error).__name__}: {error}") from None
        if isinstance(answer, Unplaced):
            raise UserError(f"{answer}\ngive the workers more memory (workers.bundle.memory), or more workers")
        judge(name, answer, view, Assignment)
        return Assignment(np.asarray(answer.worker_of))  # a list passes the referee too

    def begin(self) -> Instructions:
        """Open a round: every worker gets its queue as one call."""
        return Instructions(self._first)

    def answered(self, call: Call, result: CallResult) -> Instructions:
        """Take the answer to a call, and return what follows: the next round's calls once every shard is in.

        Raises
        ------
        DivergedError
            If the numbers overflowed.
        """
        if result.sums is None:
            raise self.store.training.diverged(str(NonFiniteError(result.failure)))
        self.store.offer(result.version, call.shards, result.sums)
        if not self.store.complete:
            return Instructions()
        report = self.store.commit().report
        if report is None and result.sums.ahead is not None:
            self.store.offer(self.store.message.version, call.shards, replace(result.sums, total=result.sums.ahead))
            report = self.store.commit().report
        if self.store.training.outcome is not None:
            return Instructions(report=report)
        return Instructions(self.begin().calls, report)
