"""Keeping a job's gang whole: workers, nodes and servers that are gone are replaced, where resources allow."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from policies.interface import Grant, Policy
from scheduler.errors import LostActorError, RunFailedError
from scheduler.gang import Gang
from scheduler.inventory import leaving_nodes, living_nodes
from scheduler.placing import place_more
from scheduler.run import Loss, Progress

LOOK_S = 1.0
"""How often nodes are looked at, and room is looked for where workers are missing."""

MOST_LOSSES = 5
"""A worker, or a server, that dies so often without a round between is not a matter of bad luck."""

LONGEST_WITHOUT_S = 60.0
"""How long a run without any worker waits for room."""


class Tending:
    """Replaces what a gang has lost.

    Parameters
    ----------
    policy, seed
        Decide where a new worker goes if its place is gone.
    shard_bytes
        Of all shards: where workers are killed for want of memory, calls must get by with less at a time.
    """

    def __init__(self, gang: Gang, policy: Policy, seed: int, shard_bytes: float) -> None:
        self._gang, self._policy, self._seed, self._shard_bytes = gang, policy, seed, shard_bytes
        self._wanted = [lease.worker for lease in gang.leases]
        self._seen: set[str] = set()
        self._losses: Counter[int | str] = Counter()
        self._num_rounds = 0
        self._look_s = 0.0
        self._without_since_s: float | None = None

    def tend(self, progress: Progress, num_rounds: int) -> tuple[Loss, ...]:
        """Replace who is gone, and return the losses that are new.

        Raises
        ------
        RunFailedError
            If that does not help: the same worker dies again and again, or there is no room for any.
        """
        if num_rounds > self._num_rounds:
            self._num_rounds = num_rounds
            self._losses.clear()
        new = tuple(loss for loss in progress.losses if loss.id not in self._seen)
        leases = self._gang.leases
        changed = [lease for loss in new if (lease := self._gone(loss)) is not None]
        now_s = time.monotonic()
        if changed or now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            staying = self._on_good_nodes(leases)
            for lease in changed:
                if lease in staying:
                    self._gang.replace(lease)
            more = self._more([number for number in self._wanted if number not in {one.worker for one in staying}])
            if changed or more or len(staying) < len(leases):
                self._gang.seat((*staying, *more))
            for lease in set(leases) - set(staying):
                self._gang.cluster.release(lease)
            self._refuse_to_wait_for_ever(now_s)
        return new

    def _gone(self, loss: Loss) -> Grant | None:
        """Take note of a loss, and return the lease that is without its worker."""
        self._seen.add(loss.id)
        lease = self._gang.lease_of(loss.id)
        if lease is None:
            return None
        self._count(lease.worker, str(loss))
        if loss.out_of_memory:
            fair = self._shard_bytes / max(len(self._wanted), 1)
            self._gang.call_bytes[lease.worker] = min(fair, self._gang.call_bytes.get(lease.worker, fair)) / 2
        return lease

    def _count(self, who: int | str, what: str) -> None:
        self._losses[who] += 1
        if self._losses[who] >= MOST_LOSSES:
            raise RunFailedError(f"{what}\nit is the loss number {MOST_LOSSES} of its kind in one round: giving up")

    def _on_good_nodes(self, leases: Sequence[Grant]) -> tuple[Grant, ...]:
        """Return the leases on nodes that live, and are not to go."""
        bad = {lease.node for lease in leases} - living_nodes() | leaving_nodes()
        return tuple(lease for lease in leases if lease.node not in bad)

    def _more(self, numbers: Sequence[int]) -> tuple[Grant, ...]:
        gang = self._gang
        return place_more(gang.cluster, gang.job, self._policy, self._seed, numbers) if numbers else ()

    def _refuse_to_wait_for_ever(self, now_s: float) -> None:
        if self._gang.leases:
            self._without_since_s = None
            return
        self._without_since_s = self._without_since_s or now_s
        if now_s - self._without_since_s > LONGEST_WITHOUT_S:
            raise RunFailedError(f"no worker is left, and for {LONGEST_WITHOUT_S:g} s there was no room for another")

    def revive(self, error: LostActorError, num_rounds: int) -> None:
        """Start another server in place of one that is gone.

        Raises
        ------
        RunFailedError
            If it has died again and again.
        """
        if num_rounds > self._num_rounds:
            self._num_rounds = num_rounds
            self._losses.clear()
        self._count("server", str(error))
        self._gang.revive()
