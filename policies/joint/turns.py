"""One round: who has a turn on which kind of node, on which nodes, and why the others wait."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from policies.feasibility import TOLERANCE
from policies.interface import Claim, ClusterPlan, ClusterSnapshot, Floats, Grant, JobView, Place, Shortfall, Unplaced
from policies.joint.gangs import Gangs
from policies.joint.pools import Pools
from policies.joint.seats import Asked, Seats, shape_of

TURN = (Shortfall("turn", 1.0, 0.0, "for its turn in a later round"),)
"""Why a job waits whose turn is not now."""

NO_NODES = (Shortfall("nodes", 1.0, 0.0, "the cluster (no nodes)"),)


class Turns:
    """Give turns by urgency, and seats to those who have one.

    Whose turn it is, is counted by what the nodes of a kind hold together, the most urgent pair of job and kind first.
    A gang that finds no seat there although it was counted in (what is free may lie in pieces) gives its turn
    to the next.

    Parameters
    ----------
    jobs
        In the order of the rows of ``gangs``.
    mid_round
        Whether all that run keep their nodes, and only what is free is given.
    """

    def __init__(
        self,
        snapshot: ClusterSnapshot,
        jobs: Sequence[JobView],
        gangs: Gangs,
        pools: Pools,
        place: Place,
        mid_round: bool,
    ) -> None:
        self._version, self._held = snapshot.version, snapshot.held()
        self._jobs, self._gangs, self._pools = jobs, gangs, pools
        asked = Asked(place, snapshot)
        self._seats = [Seats(table, asked) for table in pools.tables]
        self._kept: set[int] = set()
        self._hopeless = frozenset(np.flatnonzero(~gangs.workers.any(axis=1)).tolist())
        self._reasons: dict[Hashable, tuple[int, Sequence[Shortfall]]] = {}
        self._running: list[dict[int, tuple[JobView, tuple[Grant, ...]]]] = [{} for _ in pools.kinds]
        for j, job in enumerate(jobs):
            if job.id in self._held:
                self._sort_in(j, job, self._held[job.id], mid_round)

    def _sort_in(self, j: int, job: JobView, leases: tuple[Grant, ...], mid_round: bool) -> None:
        """Note that a job keeps its leases, or may lose them; or take them back, if they are no gang on one kind."""
        known = [lease for lease in leases if lease.node in self._pools.kind_of]
        kinds = {self._pools.kind_of[lease.node] for lease in known}
        whole = len(known) == len(leases) and job.min_workers <= len(leases) <= job.max_workers
        if whole and mid_round:
            self._kept.add(j)
        elif whole and len(kinds) == 1:
            self._running[kinds.pop()][j] = (job, leases)
        else:
            for lease in known:
                self._seats[self._pools.kind_of[lease.node]].release(job, lease)

    def take(self, urgency: Floats, speeds: Floats) -> None:
        """Give turns and seats.

        Parameters
        ----------
        urgency
            How much each job is due a turn on each kind; shape ``(j, k)``. Among equals the faster kind is first.
        speeds
            As in ``Problem``.
        """
        rows, kinds = np.nonzero(self._gangs.workers)
        order = np.lexsort((kinds, rows, -speeds[rows, kinds], -urgency[rows, kinds]))
        pairs = list(zip(rows[order].tolist(), kinds[order].tolist(), strict=True))
        left = [seats.left() for seats in self._seats]
        for k, running in enumerate(self._running):
            for job, leases in running.values():
                bundle = (job.bundle.cpu, job.bundle.gpu, job.bundle.memory)
                left[k] = [free + len(leases) * amount for free, amount in zip(left[k], bundle, strict=True)]
        chosen = self._choose(pairs, left)
        for k, seats in enumerate(self._seats):
            seats.take(self._claims(chosen, k), self._running[k], self._pools.cleared[k])
        while any(seats.missed for seats in self._seats):
            chosen = self._choose(pairs, [seats.left() for seats in self._seats])
            if not chosen:
                break
            for k, seats in enumerate(self._seats):
                seats.place(self._claims(chosen, k))

    def _claims(self, chosen: Mapping[int, int], kind: int) -> dict[int, Claim]:
        jobs, workers = self._jobs, self._gangs.workers
        return {j: Claim(jobs[j], jobs[j].min_workers, int(workers[j, k])) for j, k in chosen.items() if k == kind}

    def _choose(self, pairs: Sequence[tuple[int, int]], left: list[list[float]]) -> dict[int, int]:
        """Return who has a turn on which kind, by what is ``left`` there altogether; the most urgent first."""
        need = self._gangs.need
        least = need.min(axis=0, initial=np.inf, where=(self._gangs.workers > 0)[:, :, None]) - TOLERANCE
        open_kinds = {k for k, amounts in enumerate(left) if (least[k] <= amounts).all()}
        done = self._kept.union(*(seats.taken for seats in self._seats))
        chosen: dict[int, int] = {}
        for j, k in pairs:
            if k not in open_kinds or j in chosen or j in done:
                continue
            after = [free - amount for free, amount in zip(left[k], need[j, k].tolist(), strict=True)]
            if min(after) < -TOLERANCE or self._seats[k].refuses(self._jobs[j]):
                continue
            chosen[j], left[k] = k, after
            if not (least[k] <= after).all():
                open_kinds.discard(k)
                if not open_kinds:
                    break
        return chosen

    def plan(self, state: Mapping[str, Any]) -> ClusterPlan:
        """Return what was decided."""
        grants: list[Grant] = []
        revokes: list[Grant] = []
        unplaced: list[Unplaced] = []
        kind_of = {j: k for k, seats in enumerate(self._seats) for j in seats.taken}
        for j, job in enumerate(self._jobs):
            if j in self._kept:
                continue
            held = self._held.get(job.id, ())
            if j not in kind_of:
                revokes += held
                unplaced.append(self._refusal(j))
                continue
            ids, slots = self._pools.tables[kind_of[j]].ids, self._seats[kind_of[j]].taken[j]
            given = [(ids[slot.node], slot.devices) for slot in slots]
            if sorted(given) != sorted((lease.node, lease.devices) for lease in held):
                revokes += held
                grants += [Grant(job.id, worker, node, devices) for worker, (node, devices) in enumerate(given)]
        return ClusterPlan(self._version, tuple(grants), tuple(revokes), tuple(unplaced), state)

    def _refusal(self, j: int) -> Unplaced:
        """Say that a job waits for its turn; or, if it can have none or found no room in its turn, what is short."""
        job, hopeless = self._jobs[j], j in self._hopeless
        if not (hopeless or any(seats.missed for seats in self._seats)):
            return Unplaced(job.id, 0, job.min_workers, TURN)
        asked = [k for k, seats in enumerate(self._seats) if hopeless or seats.refuses(job)]
        if not asked:
            return Unplaced(job.id, 0, job.min_workers, NO_NODES if hopeless else TURN)
        shape = (hopeless, shape_of(job, job.min_workers))
        if shape not in self._reasons:
            self._reasons[shape] = self._shortfalls(job, asked)
        return Unplaced(job.id, self._reasons[shape][0], job.min_workers, self._reasons[shape][1])

    def _shortfalls(self, job: JobView, asked: Sequence[int]) -> tuple[int, Sequence[Shortfall]]:
        """Return how many workers find room at most, and what is short on the nodes of these kinds."""
        placed = 0
        found: list[Sequence[Shortfall]] = []
        for k in asked:
            answer = self._seats[k].why_not(job)
            if answer is None:
                found.append((Shortfall("speed", 1.0, 0.0, f"nodes of kind {self._pools.kinds[k]!r}"),))
            else:
                placed = max(placed, answer.placed)
                found.append(answer.shortfalls)
        return placed, found[0] if len(found) == 1 else tuple(chain.from_iterable(found))
