"""The simulated cluster: nodes with what is free of them, behind the protocol that the loop has for Ray."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.feasibility import Room
from policies.interface import ClusterPlan, ClusterSnapshot, Floats, Grant, NodeTable, Resources
from scheduler.simulation.fleet import Fleet


class SimulatedCluster:
    """Holds what is granted, on the machines that are there.

    Attributes
    ----------
    clock_s
        The virtual time; whoever simulates sets it.
    used, capacity
        What is granted of all machines, and what those that are there have together; shape ``(3,)``.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.clock_s = 0.0
        self._all = fleet.table()
        self._room = Room(self._all)
        self._up = np.array([machine.joins_s <= 0 for machine in fleet.machines], dtype=bool)
        self._look_who_is_there()
        self.used: Floats = np.zeros(3)

    def observe(self) -> NodeTable:
        """Return the machines that are there, with what is free now: a live view, where all of them are."""
        if not self._num_down:
            return self._room.view()
        rows = np.flatnonzero(self._up)
        return replace(
            self._here,
            free=_sealed(self._room.free[rows]),
            device_free=_sealed(self._room.device_free[rows]),
            gpu_leases=_sealed(self._room.gpu_leases[rows]),
        )

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
        """Give a lease's resources back, also those on a machine that has left."""
        self._room.release(bundle, self._row(lease.node), lease.devices)
        self.used -= bundle.vector()

    def is_up(self, machine: str) -> bool:
        """Say whether a machine is there."""
        return bool(self._up[self._row(machine)])

    def set_up(self, machine: str, up: bool) -> None:
        """Let a machine join or leave; those who hold leases there must give them back."""
        self._up[self._row(machine)] = up
        self._look_who_is_there()

    def _look_who_is_there(self) -> None:
        self._num_down = int((~self._up).sum())
        self._here = self._all if not self._num_down else self._all.take(np.flatnonzero(self._up))
        self.capacity: Floats = self._here.capacity.sum(axis=0)

    def _row(self, machine: str) -> int:
        row = self._room.row(machine)
        if row is None:
            raise KeyError(machine)
        return row


def _sealed(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array
