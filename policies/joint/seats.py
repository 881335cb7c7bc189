"""The nodes of one kind in a round: who stays, who takes over whose nodes, and who is placed."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from functools import cached_property

from policies.composed import demand_of
from policies.feasibility import TOLERANCE, Room
from policies.interface import (
    Claim,
    ClusterSnapshot,
    Demand,
    Grant,
    JobView,
    Memo,
    NodeTable,
    Place,
    PlaceView,
    Slot,
    Unplaced,
)

Running = Mapping[int, tuple[JobView, tuple[Grant, ...]]]
"""Row of a job -> the job and its leases."""


def shape_of(job: JobView, workers: int) -> Hashable:
    """Return all that decides where so many of a job's workers may go."""
    return (job.bundle, tuple(sorted(job.selector.items())), workers)


class Asked:
    """A placement that is asked again and again while one plan is made."""

    def __init__(self, place: Place, snapshot: ClusterSnapshot) -> None:
        self._place, self._snapshot = place, snapshot

    @cached_property
    def _demand(self) -> Demand:
        return self._snapshot.demand if len(self._snapshot.demand) else demand_of(self._snapshot.jobs)

    def where(self, claim: Claim, nodes: NodeTable, memo: Memo) -> tuple[Slot, ...] | Unplaced:
        """Return where the workers of a claim go, or why not."""
        return self._place.place(claim, PlaceView(nodes, self._snapshot.seed, self._demand), memo)


class Seats:
    """What is free on the nodes of one kind while a round is planned, and who was given what.

    Parameters
    ----------
    table
        The nodes as they are, with the leases of all that run.

    Attributes
    ----------
    taken
        Row of a job -> its slots, on rows of the table.
    missed
        The shapes of the smallest gangs that found no room.
    """

    def __init__(self, table: NodeTable, place: Asked) -> None:
        self._place, self._room, self._memo = place, Room(table), Memo()
        self._row_of = table.row_of
        self.taken: dict[int, tuple[Slot, ...]] = {}
        self.missed: set[Hashable] = set()

    def left(self) -> list[float]:
        """Return what is free altogether, in the order of ``RESOURCES``."""
        amounts: list[float] = self._room.free.sum(axis=0).tolist()
        return amounts

    def release(self, job: JobView, lease: Grant) -> None:
        """Take a lease on one of the nodes back."""
        (slot,) = self._slots([lease])
        self._room.release(job.bundle, slot.node, slot.devices)

    def take(self, claims: Mapping[int, Claim], running: Running, cleared: NodeTable) -> None:
        """Seat the gangs that have a turn: let them stay, take over or be placed; if that fails, place all anew.

        Parameters
        ----------
        claims
            Row of a job -> its claim, the most urgent first.
        running
            The gangs that run here whole and may be moved.
        cleared
            The nodes without any of these.
        """
        self.taken = {j: self._slots(running[j][1]) for j in claims if j in running}
        self._change_over({j: claim for j, claim in claims.items() if j not in running}, running)
        rest = sorted((j for j in claims if j not in self.taken), key=lambda j: -claims[j].max_workers)
        self.place({j: claims[j] for j in rest})
        if self.missed and running:
            anew = Seats(cleared, self._place)
            anew.place(claims)
            if not anew.missed:
                self._room, self._memo, self.taken, self.missed = anew._room, anew._memo, anew.taken, anew.missed

    def _change_over(self, coming: Mapping[int, Claim], running: Running) -> None:
        """Seat gangs where one just like them leaves, and take the other leases of those that leave back."""
        offers: dict[Hashable, list[tuple[Slot, ...]]] = {}
        leaving = [gang for j, gang in running.items() if j not in self.taken]
        for job, leases in leaving:
            offers.setdefault(shape_of(job, len(leases)), []).append(self._slots(leases))
        for j, claim in coming.items():
            offered = offers.get(shape_of(claim.job, claim.max_workers))
            if offered and self._is_sound(offered[-1]):
                self.taken[j] = offered.pop()
        for job, leases in leaving:
            offered = offers[shape_of(job, len(leases))]
            if offered:
                for slot in offered.pop():
                    self._room.release(job.bundle, slot.node, slot.devices)

    def _is_sound(self, slots: Iterable[Slot]) -> bool:
        """Say whether the nodes hold no more than they have."""
        return all(self._room.free[slot.node].min() >= -TOLERANCE for slot in slots)

    def _slots(self, leases: Iterable[Grant]) -> tuple[Slot, ...]:
        return tuple(Slot(self._row_of[lease.node], lease.devices) for lease in leases)

    def place(self, claims: Mapping[int, Claim]) -> None:
        """Seat gangs where the placement puts them."""
        for j, claim in claims.items():
            if self.refuses(claim.job):
                continue
            answer = self._place.where(claim, self._room.view(), self._memo)
            if isinstance(answer, Unplaced):
                self.missed.add(shape_of(claim.job, claim.min_workers))
                continue
            for slot in answer:
                self._room.hold(claim.job.bundle, slot.node, slot.devices)
            self.taken[j] = answer

    def refuses(self, job: JobView) -> bool:
        """Say whether a gang of this shape found no room already."""
        return bool(self.missed) and shape_of(job, job.min_workers) in self.missed

    def why_not(self, job: JobView) -> Unplaced | None:
        """Return why the least number of workers does not fit on what is left, or None if it does."""
        answer = self._place.where(Claim(job, job.min_workers, job.min_workers), self._room.view(), self._memo)
        return answer if isinstance(answer, Unplaced) else None
