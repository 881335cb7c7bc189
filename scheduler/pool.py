"""Gangs that are kept between jobs: starting actors takes longer than many a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from policies.interface import JobView, Policy, Resources
from scheduler.errors import LostActorError
from scheduler.gang import Gang
from scheduler.placing import placed

Key: TypeAlias = tuple[str, Resources, int, int, tuple[tuple[str, tuple[str, ...]], ...]]
T = TypeVar("T")


class Pool:
    """Lends gangs to jobs, and keeps those that come back for jobs that want the same.

    Jobs want the same if policy, bundle, bounds of the number of workers and labels are equal. A pool holds the
    leases of its gangs until it is closed; where a new gang does not fit, the idle ones make room. It lends to one
    thread at a time.
    """

    def __init__(self) -> None:
        self._idle: dict[Key, list[Gang]] = {}

    def lend(self, job: JobView, policy: Policy, seed: int, work: Callable[[Gang], T]) -> T:
        """Do ``work`` with a gang, an idle one or else a new one, and return its result.

        A gang that lost an actor while it was idle is replaced, and the work begins anew: it has the same outcome
        on any gang. A gang whose work raises is stopped. Raises what ``placed`` and ``work`` raise.
        """
        key = (policy.name, job.bundle, job.min_workers, job.max_workers, tuple(sorted(job.selector.items())))
        while idle := self._idle.get(key):
            try:
                return self._use(key, idle.pop(), work)
            except LostActorError:
                continue
        return self._use(key, placed(job, policy, seed, self._make_room), work)

    def _use(self, key: Key, gang: Gang, work: Callable[[Gang], T]) -> T:
        try:
            result = work(gang)
        except BaseException:
            gang.stop()
            raise
        self._idle.setdefault(key, []).append(gang)
        return result

    def _make_room(self) -> bool:
        """Stop every idle gang; say whether there was one."""
        idle = [gang for gangs in self._idle.values() for gang in gangs]
        self._idle.clear()
        for gang in idle:
            gang.stop()
        return bool(idle)

    def close(self) -> None:
        """Stop every idle gang, and give its leases back."""
        self._make_room()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
