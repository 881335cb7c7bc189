"""A composition that makes room for who does not fit, by moving few workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import islice
from typing import ClassVar

import numpy as np

from policies.balance.equal import Equal
from policies.composed import Composed, demand_of
from policies.feasibility import Room, devices_for, fits
from policies.interface import (
    GPU,
    Balance,
    Claim,
    ClusterPlan,
    ClusterSnapshot,
    Floats,
    Grant,
    Ints,
    JobView,
    Memo,
    Order,
    Place,
    PlaceView,
    Policy,
    PolicyError,
    Resources,
    Slot,
    Unplaced,
)
from policies.order.fifo import Fifo
from policies.place.opportunity_cost import OpportunityCost


class Relocate(Policy):
    """Plan as the parts say; then, where one worker of a job finds no room, move a running worker that has another.

    For clusters where jobs come and go and leave what is free in pieces: a gang that lacks room for one worker need not
    wait until somebody ends. Who moves stops at the end of a round and starts elsewhere.

    Jobs that find no room are helped in the order of their turns, up to the first that cannot be. The worker that moves
    is the smallest (GPUs, memory, CPU) of those that make enough room by going and fit elsewhere. It is granted again
    under its own number; where it goes is the placement's to say. Nobody moves who was granted in the same plan.

    Cost: that of the composition, and of ranking once more; O(l log l + n k) for each job that is helped, or is the
    first that is not, for l leases with k kinds of bundles on n nodes.

    Parameters
    ----------
    order, place, balance
        The parts; ``fifo``, ``opportunity-cost`` and ``equal`` without one.
    moves
        How many workers a plan may move, at least 0.

    Raises
    ------
    PolicyError
        If ``moves`` is out of bounds.

    Source: Apportion's own; moving what runs to make room for what waits is the migration of Gandiva, Xiao et al.,
    "Gandiva: introspective cluster scheduling for deep learning", OSDI 2018.
    """

    name = "relocate"
    source: ClassVar[str] = "Apportion; migration as in Xiao et al., OSDI 2018 (Gandiva)"

    def __init__(
        self, order: Order | None = None, place: Place | None = None, balance: Balance | None = None, moves: int = 1
    ) -> None:
        if isinstance(moves, bool) or not isinstance(moves, int) or moves < 0:
            raise PolicyError(f"moves must be a whole number, at least 0, but got moves={moves!r}")
        self.order = order or Fifo()
        self.place = place or OpportunityCost()
        self.balance = balance or Equal()
        self.moves = moves

    def plan(self, snapshot: ClusterSnapshot, memo: Memo | None = None) -> ClusterPlan:
        """Grant every waiting job whole, if need be where others move away, or say why not."""
        plan = Composed(self.order, self.place, self.balance).plan(snapshot, memo)
        refused = {item.what for item in plan.unplaced}
        if not refused or not self.moves:
            return plan
        turns = self.order.rank(snapshot)
        waiting = [turn for turn in turns if isinstance(turn, Claim) and turn.job.id in refused]
        helped = list(islice(_Site(self.place, plan, snapshot, memo).helped(waiting), self.moves))
        placed = {grants[0].job for _, grants in helped}
        return replace(
            plan,
            grants=(*plan.grants, *(grant for _, grants in helped for grant in grants)),
            revokes=(*plan.revokes, *(lease for lease, _ in helped)),
            unplaced=tuple(item for item in plan.unplaced if item.what not in placed),
        )


class _Site:
    """A cluster as a plan leaves it, with the leases that may still move."""

    def __init__(self, place: Place, plan: ClusterPlan, snapshot: ClusterSnapshot, memo: Memo | None) -> None:
        self._place, self._snapshot, self._memo = place, snapshot, memo
        self._demand = snapshot.demand if len(snapshot.demand) else demand_of(snapshot.jobs)
        self._jobs = {job.id: job for job in snapshot.jobs}
        self._room = room = Room(snapshot.nodes)
        for leases, change in ((plan.revokes, room.release), (plan.grants, room.hold)):
            for lease in leases:
                if lease.job in self._jobs and (row := room.row(lease.node)) is not None:
                    change(self._jobs[lease.job].bundle, row, lease.devices)
        gone = set(plan.revokes)
        stay = [one for one in snapshot.leases if one.job in self._jobs and one not in gone]
        self._running = _Running(stay, self._jobs, snapshot)

    def helped(self, claims: Iterable[Claim]) -> Iterator[tuple[Grant, tuple[Grant, ...]]]:
        """Yield the lease that moved for a claim, and what is granted: first to the claim, then to who moved."""
        for claim in claims:
            job, few = claim.job, claim.min_workers - 1
            first = self._ask(job, few) if few > 0 else ()
            if first is None or claim.min_workers < 1:
                return
            self._change(self._room.hold, job, first)
            if (found := self._make_room(job)) is None:
                return
            lease, last, anew = found
            ids = self._snapshot.nodes.ids
            mine = (Grant(job.id, worker, ids[row], gpus) for worker, (row, gpus) in enumerate((*first, last)))
            yield lease, (*mine, anew)

    def _make_room(self, job: JobView) -> tuple[Grant, Slot, Grant] | None:
        """Move a worker away for one of ``job``: return its lease, where that one goes, and the grant of the moved."""
        for lease, row in self._running.who_could_go(job, self._room):
            other, seat = self._jobs[lease.job], Slot(row, lease.devices)
            self._change(self._room.release, other, [seat])
            mine = Slot(row, devices_for(job.bundle, self._room.device_free[row]))
            self._change(self._room.hold, job, [mine])
            if theirs := self._ask(other, 1):
                self._change(self._room.hold, other, theirs)
                node, devices = theirs[0]
                return lease, mine, replace(lease, node=self._snapshot.nodes.ids[node], devices=devices)
            self._change(self._room.release, job, [mine])
            self._change(self._room.hold, other, [seat])
        return None

    def _ask(self, job: JobView, workers: int) -> tuple[Slot, ...] | None:
        """Ask where so many workers of ``job`` go; None if not all fit."""
        view = PlaceView(self._room.view(), self._snapshot.seed, self._demand)
        answer = self._place.place(Claim(job, workers, workers), view, self._memo)
        return None if isinstance(answer, Unplaced) else answer

    def _change(
        self, change: Callable[[Resources, int, tuple[int, ...]], None], job: JobView, slots: Iterable[Slot]
    ) -> None:
        for slot in slots:
            change(job.bundle, *slot)


class _Running:
    """The leases that may move, array-backed: one row a lease."""

    def __init__(self, leases: Sequence[Grant], jobs: Mapping[str, JobView], snapshot: ClusterSnapshot) -> None:
        row_of = snapshot.nodes.row_of
        self._leases = [lease for lease in leases if lease.node in row_of]
        self._rows: Ints = np.array([row_of[lease.node] for lease in self._leases], dtype=np.int64)
        self._nodes = snapshot.nodes.take(self._rows)
        self._seed = snapshot.seed
        mine = [jobs[lease.job] for lease in self._leases]
        self._bundles: Floats = np.array([job.bundle.vector() for job in mine]).reshape(-1, 3)
        kinds = [(job.bundle, tuple(sorted(job.selector.items()))) for job in mine]
        self._examples = dict(zip(kinds, mine, strict=True))
        number = {kind: place for place, kind in enumerate(self._examples)}
        self._kinds: Ints = np.array([number[kind] for kind in kinds], dtype=np.int64)
        held = [(place, device) for place, lease in enumerate(self._leases) for device in lease.devices]
        self._held: Ints = np.array(held, dtype=np.int64).reshape(-1, 2)

    def who_could_go(self, job: JobView, room: Room) -> list[tuple[Grant, int]]:
        """Return who makes room for a worker of ``job`` and fits elsewhere, the smallest first, and on which row."""
        devices = room.device_free[self._rows]
        owner, device = self._held.T
        devices[owner, device] += np.minimum(self._bundles[owner, GPU], 1.0)
        without = replace(self._nodes, free=room.free[self._rows] + self._bundles, device_free=devices)
        view = room.view()
        elsewhere = np.array([bool(fits(one, view).any()) for one in self._examples.values()], dtype=bool)
        able = np.flatnonzero(fits(job, without) & elsewhere[self._kinds]).tolist()
        return [(self._leases[place], int(self._rows[place])) for place in sorted(able, key=self._size)]

    def _size(self, place: int) -> tuple[float, float, float, bytes]:
        (cpu, gpu, memory), lease = self._bundles[place].tolist(), self._leases[place]
        words = f"{self._seed}/{lease.job}/{lease.worker}".encode()
        return gpu, memory, cpu, blake2b(words, digest_size=8).digest()
