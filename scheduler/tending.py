"""Keeping a job's gang whole: workers, nodes and servers that are gone are replaced, where resources allow."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import cast

from policies.interface import Floats, Grant, Policy
from scheduler.errors import LostActorError, RunFailedError
from scheduler.gang import Gang
from scheduler.inventory import bad_nodes
from scheduler.placing import place_more
from scheduler.ray_cluster import RayCluster
from scheduler.run import Loss, Progress

LOOK_S = 1.0
"""How often nodes are looked at, and room is looked for where workers are missing."""

MOST_LOSSES = 5
"""A worker, or a server, that dies so often without a round between is not a matter of bad luck."""

LONGEST_START_S = 600.0
"""How long it waits for workers that have room, and do not come."""

LONGEST_WITHOUT_S = 60.0
"""How long a run without any worker waits for room."""


class Mending:
    """Replaces the actors of a gang that are gone: a worker on its lease, the server on the driver's node.

    Parameters
    ----------
    shard_bytes
        Of each shard: where workers are killed for want of memory, calls must get by with fewer at a time.
    """

    def __init__(self, gang: Gang, shard_bytes: Floats) -> None:
        self.gang, self._shard_bytes = gang, shard_bytes
        self._seen: set[str] = set()
        self._losses: Counter[int | str] = Counter()
        self._num_rounds = 0

    def mend(self, progress: Progress, num_rounds: int) -> tuple[tuple[Loss, ...], tuple[Grant, ...]]:
        """Return the losses that are new, and the leases whose workers are gone: they are to be replaced.

        Who has been replaced before takes part if it is there by now.

        Raises
        ------
        RunFailedError
            If the same worker dies again and again.
        """
        self._note_rounds(num_rounds)
        for died in self.gang.arrive():
            self._count(died.worker, f"worker {died.worker} died before it could take part")
        mine = self.gang.started  # a run that was resumed tells of the workers that it had before, too
        new = tuple(loss for loss in progress.losses if loss.id in mine and loss.id not in self._seen)
        return new, tuple(lease for loss in new if (lease := self._gone(loss)) is not None)

    def _note_rounds(self, num_rounds: int) -> None:
        if num_rounds > self._num_rounds:
            self._num_rounds = num_rounds
            self._losses.clear()

    def _gone(self, loss: Loss) -> Grant | None:
        """Take note of a loss, and return the lease that is without its worker."""
        self._seen.add(loss.id)
        gang, lease = self.gang, self.gang.lease_of(loss.id)
        if lease is None:
            return None
        self._count(lease.worker, str(loss))
        if loss.out_of_memory:
            fair = float(self._shard_bytes.sum()) / max(len(gang.leases), 1)
            less = min(fair, gang.call_bytes.get(lease.worker, fair)) / 2
            gang.call_bytes[lease.worker] = max(less, float(self._shard_bytes.max()))
        return lease

    def _count(self, who: int | str, what: str) -> None:
        self._losses[who] += 1
        if self._losses[who] >= MOST_LOSSES:
            raise RunFailedError(f"{what}\nthat was number {MOST_LOSSES} without a round between: giving up")

    def revive(self, error: LostActorError, num_rounds: int) -> None:
        """Start another server in place of one that is gone.

        Raises
        ------
        RunFailedError
            If it has died again and again.
        """
        self._note_rounds(num_rounds)
        self._count("server", str(error))
        self.gang.revive()


class Tending:
    """Keeps the gang of a job whole that is alone: places that are gone are replaced too.

    Parameters
    ----------
    policy, seed
        Decide where a new worker goes if its place is gone.
    """

    def __init__(self, mending: Mending, policy: Policy, seed: int) -> None:
        self._mending, self._policy, self._seed = mending, policy, seed
        self._wanted = [lease.worker for lease in mending.gang.leases]
        self._look_s = 0.0
        self._without_since_s: float | None = None

    def tend(self, progress: Progress, num_rounds: int) -> tuple[Loss, ...]:
        """Replace who is gone, and return the losses that are new.

        Raises
        ------
        RunFailedError
            If that does not help: the same worker dies again and again, or there is no room for any.
        """
        new, changed = self._mending.mend(progress, num_rounds)
        now_s = time.monotonic()
        if changed or now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            self._replace(changed)
            self._refuse_to_wait_for_ever(now_s)
        return new

    def _replace(self, changed: Sequence[Grant]) -> None:
        """Start workers on leases that are without, and elsewhere for those whose nodes are gone, or are to go."""
        gang = self._mending.gang
        leases, bad = gang.leases, bad_nodes()
        staying = tuple(lease for lease in leases if lease.node not in bad)
        for lease in changed:
            if lease in staying:
                gang.replace(lease)
        missing = [number for number in self._wanted if number not in {lease.worker for lease in staying}]
        own = cast(RayCluster, gang.cluster)  # a job that is alone has its leases of its own
        more = place_more(own, gang.job, self._policy, self._seed, missing) if missing else ()
        if changed or more or len(staying) < len(leases):
            gang.seat((*staying, *more))
        for lease in set(leases) - set(staying):
            gang.cluster.release(lease)

    def _refuse_to_wait_for_ever(self, now_s: float) -> None:
        gang = self._mending.gang
        if gang.num_seated:
            self._without_since_s = None
            return
        self._without_since_s = self._without_since_s or now_s
        waited_s = now_s - self._without_since_s
        if not gang.leases and waited_s > LONGEST_WITHOUT_S:
            raise RunFailedError(f"no worker is left, and for {LONGEST_WITHOUT_S:g} s there was no room for another")
        if waited_s > LONGEST_START_S:
            raise RunFailedError(f"no worker is left, and for {LONGEST_START_S:g} s none that was started has come")
