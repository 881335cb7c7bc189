"""The simulated cluster: nodes with what is free of them, behind the protocol that the loop has for Ray."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from policies.feasibility import Room, devices_for, has_room
from policies.interface import ClusterPlan, ClusterSnapshot, Floats, Grant, NodeTable, Resources
from scheduler.simulation.fleet import Fleet

Number = TypeVar("Number", np.float64, np.int64)


class SimulatedCluster:
    """Holds what is granted, on the machines that are there.

    Attributes
    ----------
    clock_s
        The virtual time; whoever simulates sets it.
    used, capacity
        What is granted of all machines, and what those that are there have together; shape ``(3,)``.
    foreign
        What others have of the machines that are there; shape ``(3,)``.
    freed
        The machines on which something came free; whoever looks there takes them off.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.clock_s = 0.0
        self._all = fleet.table()
        self._up = np.array([machine.joins_s <= 0 for machine in fleet.machines], dtype=bool)
        self._room = Room(self._all.take(np.flatnonzero(self._up)))
        self.used: Floats = np.zeros(3)
        self.foreign: Floats = np.zeros(3)
        self.freed: set[str] = set()
        self.capacity: Floats = self._room.view().capacity.sum(axis=0)

    def observe(self) -> NodeTable:
        """Return the machines that are there, with what is free: a live view, until the next one comes or goes."""
        return self._room.view()

    def now_s(self) -> float:
        """Return the virtual time."""
        return self.clock_s

    def apply(self, plan: ClusterPlan, snapshot: ClusterSnapshot) -> None:
        """Hold what is granted, and release what is taken back."""
        bundles = {job.id: job.bundle for job in snapshot.jobs}
        for lease in plan.revokes:
            self.release(lease, bundles[lease.job])
        for grant in plan.grants:
            bundle = bundles[grant.job]
            self._room.hold(bundle, self._row(grant.node), grant.devices)
            self.used += bundle.vector()

    def release(self, lease: Grant, bundle: Resources) -> None:
        """Give a lease's resources back; those on a machine that has left are gone with it."""
        row = self._room.row(lease.node)
        if row is not None:
            self._room.release(bundle, row, lease.devices)
            self.freed.add(lease.node)
        self.used -= bundle.vector()

    def lend(self, amount: Resources, machine: str) -> tuple[int, ...] | None:
        """Let others have so much of a machine, if all of it is free, and return which GPUs; None otherwise."""
        row = self._room.row(machine)
        if row is None or not has_room(amount, node := self._room.one(row))[0]:
            return None
        devices = devices_for(amount, node.device_free[0])
        self._room.hold(amount, row, devices, leased=False)
        self.foreign += amount.vector()
        return devices

    def take_back(self, amount: Resources, machine: str, devices: tuple[int, ...]) -> None:
        """Take back what others have."""
        self._room.release(amount, self._row(machine), devices, leased=False)
        self.foreign -= amount.vector()
        self.freed.add(machine)

    def is_up(self, machine: str) -> bool:
        """Say whether a machine is there."""
        return self._room.row(machine) is not None

    def set_up(self, machine: str, up: bool) -> None:
        """Let a machine join, with nobody on it, or leave; who is on it must give back what was held."""
        self._up[self._all.row_of[machine]] = up
        self.freed.add(machine)
        before, here = self._room.view(), self._all.take(np.flatnonzero(self._up))
        pairs = [(row, before.row_of[name]) for name, row in here.row_of.items() if name in before.row_of]
        now, then = np.array(pairs, dtype=np.int64).reshape(-1, 2).T

        def carried(empty: NDArray[Number], left: NDArray[Number]) -> NDArray[Number]:
            """Return what is left on those who stay; of who joins, all."""
            found = empty.copy()
            found[now] = left[then]
            return found

        self._room = Room(
            replace(
                here,
                free=carried(here.free, before.free),
                device_free=carried(here.device_free, before.device_free),
                gpu_leases=carried(here.gpu_leases, before.gpu_leases),
            )
        )
        self.capacity = here.capacity.sum(axis=0)

    def _row(self, machine: str) -> int:
        row = self._room.row(machine)
        if row is None:
            raise KeyError(machine)
        return row
