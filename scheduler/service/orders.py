"""What drivers are told, and what they have carried out: every change has a number. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from policies.interface import Grant
from scheduler.service.records import Lease


class Command(StrEnum):
    """What a driver is to do."""

    WORK = "work"
    STOP = "stop"


@dataclass(frozen=True)
class Orders:
    """What one driver is to do: on which leases, as of which change."""

    number: int = 0
    command: Command = Command.WORK
    leases: tuple[Lease, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain data, from which ``of_json`` makes it again."""
        leases = [
            [one.grant.job, one.grant.worker, one.grant.node, list(one.grant.devices), one.group, one.since_s]
            for one in self.leases
        ]
        return {"number": self.number, "command": self.command.value, "leases": leases}

    @staticmethod
    def of_json(found: dict[str, Any]) -> Orders:
        """Return what ``as_json`` was made from."""
        leases = tuple(
            Lease(Grant(job, worker, node, tuple(devices)), group, since_s)
            for job, worker, node, devices, group, since_s in found["leases"]
        )
        return Orders(found["number"], Command(found["command"]), leases)


class Desk:
    """The orders of every job, and which of its leases its driver has actors on.

    Numbers only grow, also where the service is started again: they begin at the time.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._orders: dict[str, Orders] = {}
        self._holds: dict[str, frozenset[Grant]] = {}

    def orders(self, job: str) -> Orders:
        """Return what a job's driver is to do."""
        return self._orders.get(job, Orders(self._first))

    def tell(self, job: str, leases: Iterable[Lease], command: Command = Command.WORK) -> bool:
        """Give a driver other orders; say whether they are others."""
        before = self.orders(job)
        after = replace(before, leases=tuple(leases), command=command)
        if after == before and job in self._orders:
            return False
        self._orders[job] = replace(after, number=before.number + 1)
        return True

    def hear(self, job: str, holds: Iterable[Grant]) -> None:
        """Take note of the leases on which a driver has actors."""
        self._holds[job] = frozenset(holds)

    def has_left(self, job: str, leases: Iterable[Grant]) -> bool:
        """Say whether a driver has no actors any more on these leases; one that was never heard has none."""
        return self._holds.get(job, frozenset()).isdisjoint(leases)

    def forget(self, job: str) -> None:
        """Forget what a driver held that is gone."""
        self._holds.pop(job, None)

    def drop(self, job: str) -> None:
        """Forget a job that has ended; its orders stay to be heard by a driver that comes late."""
        self._holds.pop(job, None)
        self.tell(job, (), Command.STOP)
