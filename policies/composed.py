"""A policy of three parts: an order, a placement and a balance."""

from __future__ import annotations

from collections import Counter

import numpy as np

from policies.feasibility import Room
from policies.interface import (
    Balance,
    Claim,
    ClusterPlan,
    ClusterSnapshot,
    Demand,
    Grant,
    JobView,
    Memo,
    Order,
    Place,
    PlaceView,
    Policy,
    PolicyError,
    Shortfall,
    Slot,
    Unplaced,
    frozen,
)


class Composed(Policy):
    """Ask the order who is next, then the placement where; the balance is left to the job's rounds.

    Claims are placed in the order's ranking, each on what the earlier ones left. One that does not fit is
    ``Unplaced``; whether those behind it may overtake is the order's to say. Under a ``preemptive`` order running
    jobs have a turn too: each keeps the nodes that it has while there is room for it, and is revoked when jobs
    before it took that room.

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
        self.name = name or f"{order.name}+{place.name}+{balance.name}"

    def plan(self, snapshot: ClusterSnapshot, memo: Memo | None = None) -> ClusterPlan:
        """Grant every waiting job whole, or say why not; new workers get the lowest free numbers.

        Raises
        ------
        PolicyError
            If the placement answers with a row that is no node.
        """
        turns = _Turns(self.order, self.place, snapshot, memo)
        for claim in self.order.rank(snapshot):
            turns.take(claim)
        return turns.plan()


class _Turns:
    """One plan in the making: claims are heard one after another."""

    def __init__(self, order: Order, place: Place, snapshot: ClusterSnapshot, memo: Memo | None) -> None:
        self._order, self._place, self._snapshot, self._memo = order, place, snapshot, memo
        self._room = Room(snapshot.nodes)
        self._demand = snapshot.demand if len(snapshot.demand) else demand_of(snapshot.jobs)
        self._held = snapshot.held()
        self._bundles = {job.id: job.bundle for job in snapshot.jobs}
        self._grants: list[Grant] = []
        self._revokes: list[Grant] = []
        self._unplaced: list[Unplaced] = []
        self._blocked: list[Claim] = []
        if order.preemptive:
            self._clear_the_nodes()

    def _clear_the_nodes(self) -> None:
        """Take every job that may lose its nodes off them."""
        for job in self._snapshot.jobs:
            for lease in self._held.get(job.id, ()):
                if (row := self._room.row(lease.node)) is not None:
                    self._room.release(job.bundle, row, lease.devices)

    def take(self, claim: Claim | Unplaced) -> None:
        """Place one claim on what is left, or note why not."""
        if isinstance(claim, Unplaced):
            self._refuse(claim, ())
            return
        kept = self._keep(claim)
        if self._blocked and self._order.blocking and not kept:
            self._refuse(_behind(claim, self._blocked), kept)
            return
        answer = self._more(claim, len(kept))
        if isinstance(answer, Unplaced):
            self._blocked.append(claim)
            self._refuse(answer, kept)
            return
        self._check(answer)
        for slot in answer:
            self._room.hold(claim.job.bundle, slot.node, slot.devices)
        if self._blocked and not kept and not self._allowed(claim):
            for slot in answer:
                self._room.release(claim.job.bundle, slot.node, slot.devices)
            self._refuse(_behind(claim, self._blocked), kept)
            return
        self._enter(claim, kept, answer)

    def _keep(self, claim: Claim) -> tuple[Grant, ...]:
        """Hold the leases that a running job keeps: those that still have room, up to what it may have."""
        kept: list[Grant] = []
        for lease in self._held.get(claim.job.id, ()) if self._order.preemptive else ():
            row = self._room.row(lease.node)
            if row is None or len(kept) == claim.max_workers:
                continue
            if self._room.has(claim.job.bundle, row, lease.devices):
                self._room.hold(claim.job.bundle, row, lease.devices)
                kept.append(lease)
        return tuple(kept)

    def _more(self, claim: Claim, num_kept: int) -> tuple[Slot, ...] | Unplaced:
        if num_kept >= claim.max_workers:
            return ()
        rest = Claim(claim.job, max(claim.min_workers - num_kept, 0), claim.max_workers - num_kept)
        return self._place.place(rest, PlaceView(self._room.view(), self._snapshot.seed, self._demand), self._memo)

    def _allowed(self, claim: Claim) -> bool:
        return self._order.allows(claim, self._room.table(), tuple(self._blocked), self._snapshot)

    def _refuse(self, answer: Unplaced, kept: tuple[Grant, ...]) -> None:
        for lease in kept:
            if (row := self._room.row(lease.node)) is not None:
                self._room.release(self._bundles[lease.job], row, lease.devices)
        self._revokes += self._held.get(answer.what, ())
        self._unplaced.append(answer)

    def _enter(self, claim: Claim, kept: tuple[Grant, ...], answer: tuple[Slot, ...]) -> None:
        self._revokes += [lease for lease in self._held.get(claim.job.id, ()) if lease not in kept]
        taken = {lease.worker for lease in kept}
        free = (number for number in range(len(taken) + len(answer)) if number not in taken)
        ids = self._snapshot.nodes.ids
        self._grants += [
            Grant(claim.job.id, number, ids[slot.node], slot.devices)
            for number, slot in zip(free, answer, strict=False)
        ]

    def _check(self, answer: tuple[Slot, ...]) -> None:
        num = len(self._snapshot.nodes)
        strange = [slot for slot in answer if not (isinstance(slot, Slot) and 0 <= slot.node < num)]
        if strange:
            raise PolicyError(
                f"place {self._place.name!r} must answer with slots on rows 0 to {num - 1}, but got {strange[0]}"
            )

    def plan(self) -> ClusterPlan:
        """Return what was decided."""
        return ClusterPlan(self._snapshot.version, tuple(self._grants), tuple(self._revokes), tuple(self._unplaced))


def demand_of(jobs: tuple[JobView, ...]) -> Demand:
    """Return the mix of bundles that these jobs ask for, each class once, in an order of its own."""
    counted: Counter[tuple[tuple[float, ...], tuple[tuple[str, tuple[str, ...]], ...]]] = Counter()
    for job in jobs:
        counted[tuple(job.bundle.vector().tolist()), tuple(sorted(job.selector.items()))] += job.min_workers
    classes = sorted(counted)
    return Demand(
        frozen(np.array([bundle for bundle, _ in classes], dtype=np.float64).reshape(-1, 3)),
        frozen([counted[key] for key in classes]),
        tuple(dict(selector) for _, selector in classes),
    )


def _behind(claim: Claim, blocked: list[Claim]) -> Unplaced:
    """Say that a claim waits for others."""
    reasons = tuple(Shortfall("turn", 1.0, 0.0, f"behind job {other.job.id}") for other in blocked)
    return Unplaced(claim.job.id, 0, claim.min_workers, reasons)
