"""A policy of three parts: an order, a placement and a balance."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import count

import numpy as np

from policies.feasibility import shortfalls
from policies.interface import (
    Balance,
    Claim,
    ClusterPlan,
    ClusterSnapshot,
    Demand,
    Grant,
    JobView,
    Memo,
    NodeTable,
    Order,
    Place,
    PlaceView,
    Policy,
    PolicyError,
    Reservations,
    Resources,
    Shortfall,
    Slot,
    Unplaced,
    frozen,
)
from policies.preemption import Held, LiveNodes, Running, RunningJob


class Composed(Policy):
    """Ask the order who is next, then the placement where; the balance is left to the job's rounds.

    Claims are placed in the order's ranking, each on what the earlier ones left. One that does not fit is
    ``Unplaced``; whether those behind it may overtake is the order's to say.

    Under a ``preemptive`` order running jobs have a turn too, and stay where they are while nobody before them needs
    their room. Jobs are revoked for another's minimum, never for its growth: the last ranked first, no more of them
    than it takes, and one that can do with fewer workers keeps the others. A job that lost its nodes is placed anew
    when its own turn comes, if there is room. Surplus workers (more than the claim has) go before anything is placed,
    and so do all of a claim that ``yields``.

    Cost: that of the order, and a call of the placement for each job that fits. Those that do not are refused in O(1)
    where nothing is left of some resource, or an equal job was refused just before.

    Parameters
    ----------
    order, place, balance
        The three answers.
    name
        What reports call it; without it, the three names joined by ``+``.
    """

    def __init__(self, order: Order, place: Place, balance: Balance, name: str | None = None) -> None:
        self.order = order
        self.place = place
        self.balance = balance
        self.needs_running = order.needs_running or order.preemptive
        self.name = name or f"{order.name}+{place.name}+{balance.name}"

    def plan(self, snapshot: ClusterSnapshot, memo: Memo | None = None) -> ClusterPlan:
        """Grant every waiting job whole, or say why not; new workers get the lowest free numbers.

        Raises
        ------
        PolicyError
            If the placement answers with a row that is no node.
        """
        nodes = LiveNodes(snapshot.nodes, in_place=True)
        try:
            return _Turns(self.order, self.place, snapshot, nodes, memo).plan()
        finally:
            nodes.undo()


class _Turns:
    """One plan in the making: claims are heard one after another."""

    def __init__(
        self, order: Order, place: Place, snapshot: ClusterSnapshot, nodes: LiveNodes, memo: Memo | None
    ) -> None:
        self._order, self._place, self._snapshot, self._memo = order, place, snapshot, memo
        self._demand = snapshot.demand if len(snapshot.demand) else demand_of(snapshot.jobs)
        self._held = snapshot.held()
        self._turns = order.rank(snapshot)
        self._nodes = nodes
        self._running = Running(self._nodes, self._turns if order.preemptive else (), snapshot)
        self._reservations = None if order.preemptive else _reservations(order, snapshot)
        self._first_blocked: JobView | None = None
        self._refusals: dict[tuple[object, int], Unplaced] = {}
        self._refused_at = 0
        self._grants: list[Grant] = []
        self._revokes: list[Grant] = []
        self._unplaced: list[Unplaced] = []

    def plan(self) -> ClusterPlan:
        """Hear everyone, and return what was decided."""
        for turn in self._turns:
            if isinstance(turn, Unplaced):
                self._refuse(turn)
            else:
                self._hear(turn)
        return ClusterPlan(self._snapshot.version, tuple(self._grants), tuple(self._revokes), tuple(self._unplaced))

    def _hear(self, claim: Claim) -> None:
        """Place one claim on what is left, or note why not."""
        kept, rest = self._running.keep(claim), claim
        if kept:
            rest = Claim(claim.job, max(claim.min_workers - len(kept), 0), claim.max_workers - len(kept))
        answer = self._more(rest) if rest.max_workers else ()
        if not isinstance(answer, Unplaced):
            self._enter(claim.job, kept, answer)
            return
        self._running.drop(claim.job, kept)
        self._refuse(answer)

    def _more(self, rest: Claim) -> tuple[Slot, ...] | Unplaced:
        """Place what a claim lacks: beside everybody, or else instead of those after it."""
        if self._first_blocked and self._order.blocking:
            return self._behind(rest) if rest.min_workers else ()
        if not self._reservations and (known := self._as_before(rest)):
            return known  # nor could anybody be evicted for the one before
        answer = self._beside(rest)
        if isinstance(answer, Unplaced) and (victims := self._running.evict_for(rest)) is not None:
            answer = self._instead(rest, victims)
        if isinstance(answer, Unplaced):
            self._first_blocked = self._first_blocked or rest.job
            if self._reservations:
                self._reservations.reserve(rest)
            return answer
        self._running.add(rest.job, answer)
        if self._reservations:
            self._reservations.start(rest, answer)
        return answer

    def _beside(self, rest: Claim) -> tuple[Slot, ...] | Unplaced:
        """Place a claim on what is free, and, where others were to go first, not reserved for them."""
        nodes, key = self._nodes.view(), (rest.job.bundle_class, rest.min_workers)
        if len(nodes) and self._nodes.lacks(rest.job):
            if not rest.min_workers:
                return ()
            refusal = self._refusals[key] = _nowhere(rest, self._nodes.table())
            return refusal
        left = self._reservations.left(rest, nodes) if self._reservations and self._first_blocked else nodes
        if left is None:
            return self._behind(rest)
        if known := self._as_before(rest):
            return known
        answer = self._ask(rest, nodes)
        if isinstance(answer, Unplaced):
            self._refusals[key] = answer
        elif left is not nodes:
            answer = self._ask(rest, left)
            return self._behind(rest) if isinstance(answer, Unplaced) else answer
        return answer

    def _as_before(self, rest: Claim) -> Unplaced | None:
        """Return the refusal of an equal claim before this one, if nothing has changed since."""
        if self._nodes.num_changes > self._refused_at:
            self._refused_at, self._refusals = self._nodes.num_changes, {}
        known = self._refusals.get((rest.job.bundle_class, rest.min_workers))
        return known and Unplaced(rest.job.id, known.placed, known.wanted, known.shortfalls)

    def _instead(self, rest: Claim, victims: list[RunningJob]) -> tuple[Slot, ...] | Unplaced:
        """Place a claim where ``victims`` were evicted; who still fits beside it afterwards stays."""
        answer = self._ask(rest, self._nodes.view())
        taken = () if isinstance(answer, Unplaced) else answer
        self._nodes.hold(rest.job, taken)
        self._running.reinstate(victims)
        self._nodes.release(rest.job, taken)
        return answer

    def _ask(self, rest: Claim, nodes: NodeTable) -> tuple[Slot, ...] | Unplaced:
        answer = self._place.place(rest, PlaceView(nodes, self._snapshot.seed, self._demand), self._memo)
        if isinstance(answer, Unplaced):
            return answer
        strange = [slot for slot in answer if not (isinstance(slot, Slot) and 0 <= slot.node < len(nodes))]
        if strange:
            raise PolicyError(
                f"place {self._place.name!r} must answer with slots on rows 0 to {len(nodes) - 1}, but got {strange[0]}"
            )
        return answer

    def _behind(self, rest: Claim) -> Unplaced:
        """Say that a claim waits for the first that did not fit."""
        first = "" if self._first_blocked is None else self._first_blocked.id
        return Unplaced(rest.job.id, 0, rest.min_workers, (Shortfall("turn", 1.0, 0.0, f"behind job {first}"),))

    def _refuse(self, answer: Unplaced) -> None:
        self._revokes += self._held.get(answer.what, ())
        self._unplaced.append(answer)

    def _enter(self, job: JobView, kept: tuple[Held, ...], more: tuple[Slot, ...]) -> None:
        """Write down a job's new workers under the lowest free numbers, and the leases that it lost."""
        taken = {place.lease.worker for place in kept}
        self._revokes += [lease for lease in self._held.get(job.id, ()) if lease.worker not in taken]
        free = (number for number in count() if number not in taken)
        ids = self._snapshot.nodes.ids
        self._grants += [
            Grant(job.id, number, ids[slot.node], slot.devices) for number, slot in zip(free, more, strict=False)
        ]


def _reservations(order: Order, snapshot: ClusterSnapshot) -> Reservations | None:
    """Ask the order, if it reserves at all, on nodes that stay as they are: it may look at them later in the plan."""
    if type(order).reservations is Order.reservations:
        return None
    room = snapshot.nodes.room
    return order.reservations(snapshot if room is None else replace(snapshot, nodes=room.table()))


def demand_of(jobs: tuple[JobView, ...]) -> Demand:
    """Return the mix of bundles that these jobs ask for, each class once, in an order of its own."""
    counted: defaultdict[tuple[Resources, tuple[tuple[str, tuple[str, ...]], ...]], int] = defaultdict(int)
    for job in jobs:
        counted[job.bundle_class] += job.min_workers
    classes = sorted(counted, key=lambda kind: (kind[0].vector().tolist(), kind[1]))
    return Demand(
        frozen(np.array([bundle.vector() for bundle, _ in classes], dtype=np.float64).reshape(-1, 3)),
        frozen([counted[key] for key in classes]),
        tuple(dict(selector) for _, selector in classes),
    )


def _nowhere(rest: Claim, nodes: NodeTable) -> Unplaced:
    """Refuse a claim of which not one bundle fits anywhere."""
    return Unplaced(rest.job.id, 0, rest.min_workers, shortfalls(rest.job, nodes))
