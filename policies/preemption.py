"""What a plan in the making holds: the nodes with all that is on them, and the running jobs that may be evicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from policies.feasibility import TOLERANCE, Room, slots
from policies.interface import Claim, ClusterSnapshot, Floats, Grant, JobView, NodeTable, Slot, Unplaced


class LiveNodes:
    """The nodes while a plan is made; the table of them is copied only after a change.

    Attributes
    ----------
    num_changes
        Grows with everything that is held or released.
    """

    def __init__(self, nodes: NodeTable) -> None:
        self.num_changes = 0
        self._room = Room(nodes)
        self._table: NodeTable | None = nodes
        self._most: Floats | None = None

    def table(self) -> NodeTable:
        """Return the nodes as they are now."""
        if self._table is None:
            self._table = self._room.table()
        return self._table

    def row(self, node: str) -> int | None:
        """Return the row of a node by its id, or None."""
        return self._room.row(node)

    def hold(self, job: JobView, where: Iterable[Slot]) -> None:
        """Take a bundle of ``job`` off each slot."""
        for slot in where:
            self._room.hold(job.bundle, slot.node, slot.devices)
            self._changed()

    def release(self, job: JobView, where: Iterable[Slot]) -> None:
        """Give a bundle of ``job`` back to each slot."""
        for slot in where:
            self._room.release(job.bundle, slot.node, slot.devices)
            self._changed()

    def _changed(self) -> None:
        self.num_changes += 1
        self._table = self._most = None

    def hold_if_free(self, job: JobView, slot: Slot) -> bool:
        """Take a bundle of ``job`` off this very slot if it fits there, and say whether it did."""
        fits = self._room.has(job.bundle, slot.node, slot.devices)
        if fits:
            self.hold(job, [slot])
        return fits

    def lacks(self, job: JobView) -> bool:
        """Say whether no node has enough of some resource for one bundle; quick, and False proves nothing."""
        if self._most is None:
            self._most = self.table().free.max(axis=0, initial=0.0)
        cpu, gpu, memory = self._most.tolist()
        bundle = job.bundle
        return bool(bundle.cpu > cpu + TOLERANCE or bundle.gpu > gpu + TOLERANCE or bundle.memory > memory + TOLERANCE)

    def count(self, job: JobView, rows: Iterable[int] | None = None) -> float:
        """Count how many bundles of ``job`` fit on all nodes, or on ``rows``."""
        if rows is None:
            return float(slots(job, self.table()).sum())
        return sum(float(slots(job, self._room.one(row))[0]) for row in rows)


class Held(NamedTuple):
    """A lease, and the slot that it holds."""

    lease: Grant
    slot: Slot


class Victim(NamedTuple):
    """A running job that was evicted, and what it held."""

    claim: Claim
    held: tuple[Held, ...]


class Running:
    """The running jobs under a preemptive order: each stays where it is until a job before it needs the room.

    The last ranked is evicted first, and no more are than it takes. A job that has more workers than its claim loses
    those with the highest numbers, before anybody has a turn.

    Parameters
    ----------
    nodes
        The nodes with everybody on them; what is given up shows there.
    turns
        What the order answered; leases of jobs without a turn are not touched.
    snapshot
        The leases.
    """

    def __init__(self, nodes: LiveNodes, turns: Sequence[Claim | Unplaced], snapshot: ClusterSnapshot) -> None:
        self._nodes = nodes
        self._held: dict[str, tuple[Held, ...]] = {}
        self._lost: dict[str, tuple[Held, ...]] = {}
        self._to_come: list[Claim] = []  # claims of running jobs, the last ranked first
        self._bounds: dict[object, float] = {}
        leases, jobs = snapshot.held() if turns else {}, {job.id: job for job in snapshot.jobs}
        for turn in reversed(turns):
            job = turn.job if isinstance(turn, Claim) else jobs[turn.what]
            if job.id in leases:
                self._trim(job, leases[job.id], turn.max_workers if isinstance(turn, Claim) else 0)
                self._to_come += [turn] if isinstance(turn, Claim) else []
        self._heard = LiveNodes(nodes.table())  # with those only who have had their turn
        for claim in self._to_come:
            self._heard.release(claim.job, _slots(self._held[claim.job.id]))

    def _trim(self, job: JobView, leases: tuple[Grant, ...], most: int) -> None:
        rows = [(lease, self._nodes.row(lease.node)) for lease in leases]
        held = tuple(Held(lease, Slot(row, lease.devices)) for lease, row in rows if row is not None)
        self._held[job.id] = held[:most]
        self._nodes.release(job, _slots(held[most:]))

    def keep(self, claim: Claim) -> tuple[Held, ...]:
        """Return what the job of ``claim`` holds when its turn comes; nobody can take that any more.

        A job that was evicted gets back what is still free of it.
        """
        job = claim.job
        if self._to_come and self._to_come[-1].job.id == job.id:
            self._to_come.pop()
        kept = self._held.pop(job.id, ()) + self._free_of(job, self._lost.pop(job.id, ()))
        self._heard.hold(job, _slots(kept))
        return kept

    def drop(self, job: JobView, kept: tuple[Held, ...]) -> None:
        """Take away what a job kept."""
        for nodes in (self._nodes, self._heard):
            nodes.release(job, _slots(kept))

    def add(self, job: JobView, more: Iterable[Slot]) -> None:
        """Give more slots to a job whose turn it is."""
        for nodes in (self._nodes, self._heard):
            nodes.hold(job, more)

    def could_fit(self, claim: Claim) -> bool:
        """Say whether ``claim`` would fit if all that come after it were evicted."""
        if not self._to_come:
            return False
        key = claim.job.bundle_class
        if self._bounds.get(key, claim.min_workers) >= claim.min_workers:  # it can only become less
            self._bounds[key] = self._heard.count(claim.job)
        return self._bounds[key] >= claim.min_workers

    def evict_for(self, claim: Claim) -> list[Victim]:
        """Evict jobs, the last ranked first, until ``claim`` fits; return them in this order."""
        victims: list[Victim] = []
        fit = self._nodes.count(claim.job)
        for other in self._to_come:
            held = self._held.pop(other.job.id, ())
            rows = {place.slot.node for place in held}
            fit -= self._nodes.count(claim.job, rows)
            self._nodes.release(other.job, _slots(held))
            fit += self._nodes.count(claim.job, rows)
            victims += [Victim(other, held)] if held else []
            if fit >= claim.min_workers:
                break
        return victims

    def reinstate(self, victims: list[Victim]) -> None:
        """Give back what is free after all, the first ranked first: all that a job held, or as much as it needs."""
        for claim, held in reversed(victims):
            kept = self._free_of(claim.job, held)
            if len(kept) >= claim.min_workers:
                self._held[claim.job.id] = kept
            else:
                self._nodes.release(claim.job, _slots(kept))
                self._lost[claim.job.id] = held

    def _free_of(self, job: JobView, held: tuple[Held, ...]) -> tuple[Held, ...]:
        """Take again what is free of ``held``, and return it."""
        return tuple(place for place in held if self._nodes.hold_if_free(job, place.slot))


def _slots(held: Iterable[Held]) -> list[Slot]:
    return [place.slot for place in held]
