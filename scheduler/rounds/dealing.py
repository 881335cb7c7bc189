"""Asking a balance policy about a part of a round: some of the shards, some of the workers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

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


@dataclass(frozen=True)
class Part:
    """Some of a round's workers and shards, by their rows in the round, ascending."""

    workers: Ints
    shards: Ints

    def of(self, whole: RoundView) -> RoundView:
        """Return this part of a round as a round of its own, with rows of its own; the whole one as it is."""
        if len(self.workers) == len(whole.workers) and len(self.shards) == len(whole.shards):
            return whole
        row_of = np.full(len(whole.workers) + 1, -1, dtype=np.int64)  # the last one is for nobody
        row_of[self.workers] = np.arange(len(self.workers))
        place_of = np.full(len(whole.shards), -1, dtype=np.int64)
        place_of[self.shards] = np.arange(len(self.shards))
        pending = place_of[whole.pending]
        return replace(
            whole,
            workers=_rows(whole.workers, self.workers),
            shards=ShardTable(frozen(whole.shards.work[self.shards]), frozen(whole.shards.bytes[self.shards])),
            resident=frozen(row_of[whole.resident[self.shards]], np.int64) if len(whole.resident) else whole.resident,
            last_s=frozen(whole.last_s[self.workers]) if len(whole.last_s) else whole.last_s,
            pulls=whole.pulls and len(self.workers) > 1,
            pending=frozen(pending[pending >= 0], np.int64),
        )


class Dealer:
    """Asks a policy, and lets the referee judge what it answers."""

    def __init__(self, balance: Balance) -> None:
        self._balance = balance

    def divide(self, whole: RoundView, part: Part) -> Assignment:
        """Return the policy's first hand-out of a part, in rows of the whole round: -1 for all that is not handed out.

        Raises
        ------
        UserError
            If the policy raises, breaks a rule, or finds no room for the shards.
        """
        view = part.of(whole)
        answer = self._asked(self._balance.divide, view)
        if isinstance(answer, Unplaced):
            raise UserError(f"{answer}\ngive the workers more memory (workers.bundle.memory), or more workers")
        judge(self._balance.name, answer, view, Assignment)
        worker_of = np.full(len(whole.shards), -1, dtype=np.int64)
        rows = np.append(part.workers, -1)
        worker_of[part.shards] = rows[np.asarray(answer.worker_of)]  # a list passes the referee too
        return Assignment(worker_of, answer.state)

    def more(self, whole: RoundView, workers: Ints, worker: int) -> Call:
        """Return what an idle worker, one of ``workers``, gets of ``whole.pending``; raises what ``divide`` does."""
        part = Part(workers, np.arange(len(whole.shards)))
        view, row = part.of(whole), int(np.searchsorted(workers, worker))
        call = Call(row, np.asarray(self._asked(self._balance.next, view, row)))
        judge(self._balance.name, call, view, Call)
        return Call(worker, call.shards)

    def _asked(self, question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return question(*arguments)
        except Exception as error:  # noqa: BLE001  (a user's own code may raise anything)
            raise UserError(f"policy '{self._balance.name}' raised {type(error).__name__}: {error}") from None


def _rows(workers: WorkerTable, rows: Ints) -> WorkerTable:
    """Return some of the workers."""

    def some(column: Floats) -> Floats:
        return frozen(column[rows])

    return WorkerTable(
        ids=tuple(workers.ids[row] for row in rows.tolist()),
        nodes=tuple(workers.nodes[row] for row in rows.tolist()),
        bundle=some(workers.bundle),
        capacity=some(workers.capacity),
        s_per_work=some(workers.s_per_work),
        s_fixed=some(workers.s_fixed),
        s_per_byte=some(workers.s_per_byte),
    )
