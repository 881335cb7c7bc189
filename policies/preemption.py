"""What a plan in the making holds: the nodes with all that is on them, and the running jobs that may be evicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from policies.feasibility import TOLERANCE, Room, slots
from policies.interface import Claim, ClusterSnapshot, Grant, JobView, NodeTable, Slot, Unplaced


class LiveNodes:
    """The nodes while a plan is made: a copy, or with ``in_place`` the room that a live view shows, until ``undo``.

    Attributes
    ----------
    num_changes
        Grows with everything that is held or released.
    """

    def __init__(self, nodes: NodeTable, in_place: bool = False) -> None:
        self.num_changes = 0
        self._lent = in_place and nodes.room is not None
        self._room: Room = nodes.room if self._lent else Room(nodes)
        if self._lent:
            self._room.draft()
        self._most: list[float] | None = None

    def undo(self) -> None:
        """Give a room that was lent back as it was."""
        if self._lent:
            self._room.undo()

    def view(self) -> NodeTable:
        """Return the nodes as they are, without a copy: it shows what is held later, too."""
        return self._room.view()

    def table(self) -> NodeTable:
        """Return the nodes as they are now, copied once after each change."""
        return self._room.table()

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
        self._most = None

    def hold_if_free(self, job: JobView, slot: Slot) -> bool:
        """Take a bundle of ``job`` off this very slot if it fits there, and say whether it did."""
        fits = self._room.has(job.bundle, slot.node, slot.devices)
        if fits:
            self.hold(job, [slot])
        return fits

    def lacks(self, job: JobView) -> bool:
        """Say whether no node has enough of some resource for one bundle; quick, and False proves nothing."""
        if self._most is None:
            free = self.view().free
            self._most = [float(free[:, column].max(initial=0.0)) for column in range(3)]  # faster than by rows
        cpu, gpu, memory = self._most
        bundle = job.bundle
        return bool(bundle.cpu > cpu + TOLERANCE or bundle.gpu > gpu + TOLERANCE or bundle.memory > memory + TOLERANCE)

    def count(self, job: JobView) -> float:
        """Count how many bundles of ``job`` fit."""
        return float(slots(job, self.view()).sum())


class Held(NamedTuple):
    """A lease, and the slot that it holds."""

    lease: Grant
    slot: Slot


class RunningJob(NamedTuple):
    """The claim of a job that runs, and what it holds."""

    claim: Claim
    held: tuple[Held, ...]


class Running:
    """The running jobs under a preemptive order: each stays where it is until a job before it needs the room.

    The last ranked is evicted first, and no more are than it takes. A job that has more workers than its claim loses
    those with the highest numbers, before anybody has a turn; one whose claim yields counts as evicted from the start.

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
        self._jobs: dict[str, RunningJob] = {}  # those that have not had their turn, in the order of the turns
        self._lost: dict[str, tuple[Held, ...]] = {}
        self._bounds: dict[object, float] = {}
        leases, jobs = snapshot.held() if turns else {}, {job.id: job for job in snapshot.jobs}
        for turn in turns:
            job = turn.job if isinstance(turn, Claim) else jobs[turn.what]
            if job.id not in leases:
                continue
            rows = [(lease, nodes.row(lease.node)) for lease in leases[job.id]]
            held = tuple(Held(lease, Slot(row, lease.devices)) for lease, row in rows if row is not None)
            most = turn.max_workers if isinstance(turn, Claim) else 0
            yields = isinstance(turn, Claim) and turn.yields
            nodes.release(job, _slots(held if yields else held[most:]))
            if yields:
                self._lost[job.id] = held[:most]
            elif held[:most] and isinstance(turn, Claim):
                self._jobs[job.id] = RunningJob(turn, held[:most])
        # with those only who have had their turn: where nobody runs, that is everybody
        self._heard = LiveNodes(nodes.view()) if self._jobs or self._lost else nodes
        self._places = (nodes,) if self._heard is nodes else (nodes, self._heard)
        for claim, held in self._jobs.values():
            self._heard.release(claim.job, _slots(held))

    def keep(self, claim: Claim) -> tuple[Held, ...]:
        """Return what the job of ``claim`` holds when its turn comes; nobody can take that any more.

        A job that was evicted gets back what is still free of it.
        """
        job = claim.job
        if job.id in self._jobs:
            kept = self._jobs.pop(job.id).held
        elif job.id in self._lost:
            kept = self._free_of(job, self._lost.pop(job.id))
        else:
            return ()
        self._heard.hold(job, _slots(kept))
        return kept

    def drop(self, job: JobView, kept: tuple[Held, ...]) -> None:
        """Take away what a job kept."""
        for nodes in self._places if kept else ():
            nodes.release(job, _slots(kept))

    def add(self, job: JobView, more: Iterable[Slot]) -> None:
        """Give more slots to a job whose turn it is."""
        for nodes in self._places:
            nodes.hold(job, more)

    def evict_for(self, claim: Claim) -> list[RunningJob] | None:
        """Evict jobs that come later, the last ranked first, until ``claim`` fits; None if that is never.

        Those on nodes where no bundle of the claim could ever fit are passed over.
        """
        job, need = claim.job, claim.min_workers
        if not self._jobs or self._bounds.get(job.bundle_class, need) < need:  # what could fit only becomes less
            return None
        could = slots(job, self._heard.view())
        self._bounds[job.bundle_class] = float(could.sum())
        if self._bounds[job.bundle_class] < need:
            return None
        useful = could >= 1
        later = (last for last in reversed(self._jobs.values()) if any(useful[place.slot.node] for place in last.held))
        victims: list[RunningJob] = []
        fewest = 0
        while more := list(islice(later, max(len(victims), 1))):
            fewest = len(victims)
            victims += more
            self._release(more)
            if self._nodes.count(job) >= need:
                break
        return self._fewest(claim, victims, fewest)

    def _fewest(self, claim: Claim, victims: list[RunningJob], too_few: int) -> list[RunningJob]:
        """Let those at the end of ``victims`` back in, as long as ``claim`` fits; ``too_few`` are known not to do."""
        enough = out = len(victims)
        while enough - too_few > 1:
            half = (enough + too_few) // 2
            self._release(victims[out:half])
            self._hold(victims[half:out])
            out = half
            if self._nodes.count(claim.job) >= claim.min_workers:
                enough = half
            else:
                too_few = half
        self._release(victims[out:enough])
        return victims[:enough]

    def reinstate(self, victims: list[RunningJob]) -> None:
        """Give back what is free after all, the first ranked first: all that a job held, or as much as it needs."""
        for claim, held in reversed(victims):
            kept = self._free_of(claim.job, held)
            if len(kept) >= claim.min_workers:
                self._jobs[claim.job.id] = RunningJob(claim, kept)
            else:
                self._nodes.release(claim.job, _slots(kept))
                self._lost[claim.job.id] = self._jobs.pop(claim.job.id).held

    def _free_of(self, job: JobView, held: tuple[Held, ...]) -> tuple[Held, ...]:
        """Take again what is free of ``held``, and return it."""
        return tuple(place for place in held if self._nodes.hold_if_free(job, place.slot))

    def _release(self, jobs: Iterable[RunningJob]) -> None:
        for claim, held in jobs:
            self._nodes.release(claim.job, _slots(held))

    def _hold(self, jobs: Iterable[RunningJob]) -> None:
        for claim, held in jobs:
            self._nodes.hold(claim.job, _slots(held))


def _slots(held: Iterable[Held]) -> list[Slot]:
    return [place.slot for place in held]
