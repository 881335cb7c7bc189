"""What fits where: by processors, memory, single GPUs and labels, with every reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from policies.plans import Shortfall
from policies.tables import CPU, GPU, MEMORY, RESOURCES, Floats, Ints, NodeTable, Resources, frozen
from policies.views import JobView, Selector

TOLERANCE = 1e-6
"""Slack for sums of fractional resources, in units of the resource (a byte is never split)."""


def fits(job: JobView, nodes: NodeTable) -> NDArray[np.bool_]:
    """Say for every node whether one more bundle of ``job`` fits there; shape ``(n,)``."""
    able = has_room(job.bundle, nodes)
    return able & selected(job.selector, nodes) if job.selector else able


def has_room(bundle: Resources, nodes: NodeTable) -> NDArray[np.bool_]:
    """Say for every node whether it has room for one more ``bundle``, whatever its labels are; shape ``(n,)``."""
    able = (nodes.free[:, CPU] + TOLERANCE >= bundle.cpu) & (nodes.free[:, MEMORY] + TOLERANCE >= bundle.memory)
    if bundle.gpu > 1:
        able &= (nodes.device_free + TOLERANCE >= 1).sum(axis=1) >= bundle.gpu
    elif bundle.gpu > 0:
        able &= nodes.device_free.max(axis=1) + TOLERANCE >= bundle.gpu
    return np.asarray(able, dtype=np.bool_)


def selected(selector: Selector, nodes: NodeTable) -> NDArray[np.bool_]:
    """Say for every node whether its labels are what ``selector`` asks for; shape ``(n,)``."""
    able = np.ones(len(nodes), dtype=np.bool_)
    for label, values in selector.items():
        have = nodes.labels.get(label, ("",) * len(nodes))
        able &= np.fromiter(map(frozenset(values).__contains__, have), dtype=np.bool_, count=len(nodes))
    return able


def slots(job: JobView, nodes: NodeTable) -> Floats:
    """Count how many bundles of ``job`` fit on each node; shape ``(n,)``, infinite for a bundle of nothing."""
    most = np.full(len(nodes), np.inf)
    for column, amount in ((CPU, job.bundle.cpu), (MEMORY, job.bundle.memory)):
        if amount > 0:
            most = np.minimum(most, np.floor((nodes.free[:, column] + TOLERANCE) / amount))
    if job.bundle.gpu > 0:
        most = np.minimum(most, _fit_on_devices(job.bundle.gpu, nodes))
    if job.selector:
        most = np.where(selected(job.selector, nodes), most, 0.0)
    return np.asarray(np.maximum(most, 0.0), dtype=np.float64)


def _fit_on_devices(gpu: float, nodes: NodeTable) -> Floats:
    """Count how many bundles with ``gpu`` GPUs fit on each node's devices; shape ``(n,)``."""
    if gpu > 1:
        whole = (nodes.device_free + TOLERANCE >= 1).sum(axis=1)
        return np.asarray(whole // gpu, dtype=np.float64)
    return np.asarray(np.floor((nodes.device_free + TOLERANCE) / gpu).sum(axis=1), dtype=np.float64)


def devices_for(bundle: Resources, device_free: Floats) -> tuple[int, ...]:
    """Choose GPUs of one node for ``bundle``: the fullest that has room for a part, the first whole ones otherwise.

    Parameters
    ----------
    device_free
        Shape ``(g,)``, of a node where the bundle fits.
    """
    if bundle.gpu <= 0:
        return ()
    if bundle.gpu > 1:
        return tuple(np.flatnonzero(device_free + TOLERANCE >= 1)[: int(bundle.gpu)].tolist())
    return (int(np.argmin(np.where(devices_with_room(bundle, device_free), device_free, np.inf))),)


def devices_with_room(bundle: Resources, device_free: Floats) -> NDArray[np.bool_]:
    """Say for every GPU whether ``bundle`` could have a part of it, or all of it; shape of ``device_free``."""
    return np.asarray(device_free + TOLERANCE >= min(bundle.gpu, 1.0), dtype=np.bool_)


def shortfalls(job: JobView, nodes: NodeTable) -> Sequence[Shortfall]:
    """Name, for every node where one more bundle of ``job`` does not fit, everything that is short there."""
    if nodes.log is not None:  # the reasons are those of now, and may be read when the view shows something else
        nodes = nodes.room.table()
    return _Shortfalls(job, nodes)


@dataclass(frozen=True)
class _Shortfalls(Sequence[Shortfall]):
    """The reasons of a refusal, worked out when somebody reads them: a refusal must be quick on large clusters."""

    job: JobView
    nodes: NodeTable

    @cached_property
    def _all(self) -> tuple[Shortfall, ...]:
        wanted, found = self.job.bundle, []
        short = np.argwhere(self.nodes.free + TOLERANCE < wanted.vector())
        found = [
            Shortfall(RESOURCES[r], float(wanted.vector()[r]), float(max(self.nodes.free[n, r], 0.0)), self._where(n))
            for n, r in short
        ]
        if wanted.gpu > 0:
            split = (_fit_on_devices(wanted.gpu, self.nodes) < 1) & (self.nodes.free[:, GPU] + TOLERANCE >= wanted.gpu)
            found += [self._on_devices(n) for n in np.flatnonzero(split)]
        for label, values in self.job.selector.items():
            other = np.flatnonzero(~selected({label: values}, self.nodes))
            found += [Shortfall(f"label {label}={'|'.join(values)}", 1.0, 0.0, self._where(n)) for n in other]
        return tuple(found)

    def _where(self, row: Any) -> str:
        return f"node {self.nodes.ids[row]}"

    def _on_devices(self, row: Any) -> Shortfall:
        """Say that the node has enough GPU, but in parts."""
        free, wanted = self.nodes.device_free[row], self.job.bundle.gpu
        if wanted > 1:
            return Shortfall("whole gpus", wanted, float((free + TOLERANCE >= 1).sum()), self._where(row))
        return Shortfall("gpu on one device", wanted, float(free.max()), self._where(row))

    @overload
    def __getitem__(self, index: int) -> Shortfall: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Shortfall, ...]: ...
    def __getitem__(self, index: int | slice) -> Shortfall | tuple[Shortfall, ...]:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all == tuple(other)

    def __hash__(self) -> int:
        return hash(self._all)


class Room:
    """What is left of a snapshot's nodes while a plan is made: bundles are held and released, one at a time.

    Attributes
    ----------
    free, device_free, gpu_leases
        As in ``NodeTable``; only ``hold`` and ``release`` change them.
    """

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._table: NodeTable | None = None
        self._log: list[int] = []
        self.free: Floats = nodes.free.copy()
        self.device_free: Floats = nodes.device_free.copy()
        self.gpu_leases: Ints = nodes.gpu_leases.copy()
        self._view = replace(nodes, free=self.free[:], device_free=self.device_free[:], gpu_leases=self.gpu_leases[:])
        for array in (self._view.free, self._view.device_free, self._view.gpu_leases):
            array.flags.writeable = False
        object.__setattr__(self._view, "log", self._log)
        object.__setattr__(self._view, "room", self)
        self._before: dict[int, tuple[Floats, Floats, Ints]] | None = None

    def row(self, node: str) -> int | None:
        """Return the row of a node by its id, or None."""
        return self._nodes.row_of.get(node)

    def hold(self, bundle: Resources, row: int, devices: Sequence[int], *, leased: bool = True) -> None:
        """Take a bundle off a node and off its devices; not as a lease where it goes to others than our jobs."""
        self._move(bundle, row, devices, 1, leased)

    def release(self, bundle: Resources, row: int, devices: Sequence[int], *, leased: bool = True) -> None:
        """Give a bundle back."""
        self._move(bundle, row, devices, -1, leased)

    def has(self, bundle: Resources, row: int, devices: Sequence[int]) -> bool:
        """Say whether a bundle fits on a node, on just these devices."""
        left = self.device_free[row, list(devices)] + TOLERANCE >= min(bundle.gpu, 1.0)
        return bool((self.free[row] + TOLERANCE >= bundle.vector()).all() and left.all())

    def draft(self) -> None:
        """Let what is held and released from now on be forgotten at ``undo``; once at a time."""
        if self._before is not None:
            raise RuntimeError("there is a draft already")
        self._before = {}

    def undo(self) -> None:
        """Put every row back to what it was at ``draft``, to the last bit."""
        for row, (free, device_free, gpu_leases) in (self._before or {}).items():
            self.free[row], self.device_free[row], self.gpu_leases[row] = free, device_free, gpu_leases
            self._changed(row)
        self._before = None

    def _move(self, bundle: Resources, row: int, devices: Sequence[int], sign: int, leased: bool) -> None:
        if self._before is not None and row not in self._before:
            self._before[row] = (self.free[row].copy(), self.device_free[row].copy(), self.gpu_leases[row].copy())
        self.free[row] -= sign * bundle.vector()
        if leased:
            self.gpu_leases[row, bundle.gpu_class] += sign
        for device in devices:
            self.device_free[row, device] -= sign * min(bundle.gpu, 1.0)
        self._changed(row)

    def _changed(self, row: int) -> None:
        self._log.append(row)
        self._table = None

    def one(self, row: int) -> NodeTable:
        """Return one node as it is now."""
        return self._view.take([row])

    def view(self) -> NodeTable:
        """Return the nodes as they are, without a copy: it shows what is held later, too, and is read-only."""
        return self._view

    def table(self) -> NodeTable:
        """Return the nodes as they are now, copied once after each change; what is held later does not show."""
        if self._table is None:
            self._table = replace(
                self._nodes,
                free=frozen(self.free),
                device_free=frozen(self.device_free),
                gpu_leases=frozen(self.gpu_leases, np.int64),
            )
        return self._table
