"""One round of a balance policy, played with known seconds: what it would hand out, to whom, and how long it takes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from policies.interface import Balance, Call, Floats, Ints, PolicyError, RoundView, Unplaced, frozen
from policies.referee import violations


@dataclass(frozen=True)
class Rehearsal:
    """A round that was played.

    Attributes
    ----------
    worker_of
        Who computed each shard, -1 if nobody did; length s.
    busy_s
        How long each worker computed; length w.
    makespan_s
        When the last answer came.
    calls
        Every hand-out, in the order of time.
    state
        The policy's memory for the next round.
    """

    worker_of: Ints
    busy_s: Floats
    makespan_s: float
    calls: tuple[Call, ...]
    state: Mapping[str, Any]

    def following(self, view: RoundView) -> RoundView:
        """Return the view of the round after this one."""
        return replace(
            view,
            round=view.round + 1,
            resident=frozen(self.worker_of, np.int64),
            last_s=frozen(self.busy_s),
            state=self.state,
        )


def rehearse(balance: Balance, view: RoundView, seconds: Callable[[int, Ints], float]) -> Rehearsal | Unplaced:
    """Play a round: every worker computes its first shards, and where ``view.pulls`` asks for more when it is idle.

    Parameters
    ----------
    balance
        Who divides.
    view
        On what is divided.
    seconds
        Says how long a worker (its row) takes for a call of these shards.

    Returns
    -------
    Rehearsal or Unplaced
        What came of it, or the policy's refusal.

    Raises
    ------
    PolicyError
        If the policy gives an idle worker what is not pending, or more than its memory holds.
    """
    answer = balance.divide(view)
    if isinstance(answer, Unplaced):
        return answer
    worker_of = np.array(answer.worker_of, dtype=np.int64)
    busy_s = np.zeros(len(view.workers))
    calls = list(answer.calls())
    for call in calls:
        busy_s[call.worker] = seconds(call.worker, call.shards)
    makespan_s = float(busy_s.max(initial=0.0))
    idle = [(float(at_s), worker) for worker, at_s in enumerate(busy_s)] if view.pulls else []
    heapq.heapify(idle)
    resting: list[int] = []
    now_s, given = 0.0, True
    pending = np.flatnonzero(worker_of < 0)
    while (idle or given) and len(pending) and view.pulls:
        if not idle:  # whoever rests is asked again once nobody computes any more
            idle, resting, given = [(now_s, worker) for worker in resting], [], False
            continue
        now_s, worker = heapq.heappop(idle)
        asked = replace(view, pending=frozen(pending, np.int64), state=answer.state)
        call = Call(worker, balance.next(asked, worker))
        if wrong := violations(call, asked):
            raise PolicyError(f"policy {balance.name!r} broke {len(wrong)} rule(s): {'; '.join(wrong)}")
        if not len(call.shards):
            resting.append(worker)
            continue
        given = True
        took_s = seconds(worker, call.shards)
        calls.append(call)
        worker_of[call.shards] = worker
        pending = np.flatnonzero(worker_of < 0)
        busy_s[worker] += took_s
        makespan_s = max(makespan_s, now_s + took_s)
        heapq.heappush(idle, (now_s + took_s, worker))
    return Rehearsal(worker_of, busy_s, makespan_s, tuple(calls), answer.state)
