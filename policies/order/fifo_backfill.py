"""First in, first out, with the gaps filled by jobs that delay nobody."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, NamedTuple

from policies.interface import (
    GPU,
    Claim,
    ClusterSnapshot,
    JobView,
    NodeTable,
    Order,
    PolicyError,
    Reservations,
    Slot,
    frozen,
)
from policies.order.timeline import LATE, WIDTH, Timeline, ending
from policies.order.turns import by_submission, kinds_of, longest_s, waiting, whole


class FifoBackfill(Order):
    """Serve first come, first, and let later jobs overtake where they delay nobody with a reservation.

    To be picked where jobs say how long they take: large jobs do not starve, and the nodes that they wait for do not
    stand idle. A job that does not fit gets the earliest time and the nodes at which it will, from the ends of those
    that run. A later one starts now where its whole length is free of that: it ends before, or uses what the
    reservation leaves. ``easy`` reserves for the first blocked job only, which lets most jobs overtake; under
    ``conservative`` no job is delayed by a later one.

    Lengths are ``JobView.remaining_s`` on the slowest kind of node that the job may get; they are believed, so a job
    that takes longer delays who waits for it. One of unknown length is taken to end some time after all others, and
    to need its nodes for good: it overtakes only on what is left over for ever. A job for which no node is large
    enough gets no reservation. The papers count the processors of one machine; here nodes and GPUs are told apart.

    Cost: O(j log j), and O(p log p) a reservation, of which p are the nodes, leases and other reservations; one more
    placement for each job that could overtake.

    Parameters
    ----------
    reservations
        ``easy`` or ``conservative``.
    depth
        How many blocked jobs ``conservative`` reserves for, at least 1; who comes after them waits.

    Source: Lifka, "The ANL/IBM SP scheduling system", JSSPP 1995 (EASY); Mu'alem and Feitelson, "Utilization,
    predictability, workloads, and user runtime estimates in scheduling the IBM SP2 with backfilling", IEEE TPDS
    12(6), 2001 (both).
    """

    name: ClassVar[str] = "fifo-backfill"
    source: ClassVar[str] = "Lifka, JSSPP 1995; Mu'alem & Feitelson, IEEE TPDS 2001"
    promises: ClassVar[frozenset[str]] = frozenset({"delays-no-first", "starvation-free"})

    def __init__(self, reservations: str = "easy", depth: int = 100) -> None:
        if reservations not in ("easy", "conservative"):
            raise PolicyError(f"reservations must be 'easy' or 'conservative', but got reservations={reservations!r}")
        if not isinstance(depth, int) or isinstance(depth, bool) or depth < 1:
            raise PolicyError(f"depth must be a whole number of at least 1, but got depth={depth!r}")
        self.all = reservations == "conservative"
        self.depth = depth

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of jobs without leases by time of submission, then by name."""
        return tuple(whole(job) for job in sorted(waiting(snapshot), key=by_submission))

    def reservations(self, snapshot: ClusterSnapshot) -> Reservations:
        """Return the reservations of one plan."""
        return _Backfill(snapshot, self.depth if self.all else 1, closes=self.all)


class _Reservation(NamedTuple):
    """From when to when (seconds from now) a job has which slots to itself."""

    job: JobView
    start: float
    end: float
    slots: list[Slot]


class _Backfill(Reservations):
    """Reservations on a timeline, for the first claims that do not fit.

    Parameters
    ----------
    most
        How many claims get one.
    closes
        Whether nobody may overtake once that many have.
    """

    def __init__(self, snapshot: ClusterSnapshot, most: int, *, closes: bool) -> None:
        self._snapshot, self._most, self._closes = snapshot, most, closes
        self._kinds = kinds_of(snapshot)
        self._started: list[tuple[Claim, tuple[Slot, ...]]] = []
        self._timeline: Timeline | None = None  # built for the first that does not fit: often there is none
        self._reserved: list[_Reservation] = []

    def start(self, claim: Claim, slots: tuple[Slot, ...]) -> None:
        """Hold the slots from now on, as long as the claim's job takes there."""
        if self._timeline is None:
            self._started.append((claim, slots))
            return
        kinds = {self._snapshot.nodes.kinds[slot.node] for slot in slots}
        end = _known_or(LATE, longest_s(claim.job, len(slots), kinds))
        for slot in slots:
            self._timeline.hold(claim.job, slot, 0.0, end)
        if len(self._reserved) == 1:  # what has just started may end before, and leave its nodes to the reservation
            self._move(self._timeline, self._reserved[0])

    def reserve(self, claim: Claim) -> None:
        """Reserve the earliest time and place for the least number of workers, if there still is one to give."""
        if not self._most:
            return
        timeline = self._future()
        length = _known_or(math.inf, longest_s(claim.job, claim.min_workers, self._kinds))
        start = timeline.earliest(claim.job, claim.min_workers, length)
        if start is not None:
            self._most -= 1
            end = ending(start, length)
            slots = timeline.reserve(claim.job, claim.min_workers, start, end)
            self._reserved.append(_Reservation(claim.job, start, end, slots))

    def left(self, claim: Claim, nodes: NodeTable) -> NodeTable | None:
        """Return what is free as long as the claim's job takes, on nodes with reservations; the others as they are."""
        if self._closes and not self._most:
            return None
        if not self._reserved:
            return nodes
        length = _known_or(math.inf, longest_s(claim.job, claim.min_workers, self._kinds))
        free, device_free = nodes.free.copy(), nodes.device_free.copy()
        for row in {slot.node for reservation in self._reserved for slot in reservation.slots}:
            lowest = self._future().lowest(row, 0.0, ending(0.0, length))
            free[row] = free[row].clip(max=lowest[:WIDTH])
            device_free[row] = device_free[row].clip(max=lowest[WIDTH:])
            free[row, GPU] = min(free[row, GPU], device_free[row].sum())
        if (free == nodes.free).all() and (device_free == nodes.device_free).all():
            return nodes
        return replace(nodes, free=frozen(free), device_free=frozen(device_free))

    def _move(self, timeline: Timeline, reservation: _Reservation) -> None:
        """Choose the slots of a reservation anew, at the time that it has."""
        job, start, end, slots = reservation
        for slot in slots:
            timeline.release(job, slot, start, end)
        slots[:] = timeline.reserve(job, len(slots), start, end)

    def _future(self) -> Timeline:
        """Return the timeline with the ends of all that run; begun when it is needed."""
        if self._timeline is None:
            self._timeline = Timeline(self._snapshot.nodes, self._releases())
            for claim, slots in self._started:
                self.start(claim, slots)
        return self._timeline

    def _releases(self) -> list[tuple[JobView, Slot, float]]:
        """Say when which slot of the running jobs will be free."""
        nodes, found = self._snapshot.nodes, []
        rows = nodes.row_of
        held = self._snapshot.held()
        for job in self._snapshot.jobs:
            slots = [Slot(rows[lease.node], lease.devices) for lease in held.get(job.id, ()) if lease.node in rows]
            end = _known_or(LATE, longest_s(job, len(slots), {nodes.kinds[slot.node] for slot in slots}))
            found += [(job, slot, end) for slot in slots]
        return found


def _known_or(otherwise: float, seconds: float) -> float:
    """Return ``seconds``, or ``otherwise`` where that is not known or does not end."""
    return seconds if math.isfinite(seconds) else otherwise
