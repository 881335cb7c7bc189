"""Tables of what there is: array-backed, one row a node, worker or shard, one NumPy column a quantity.

Units stand in the names: ``_s`` seconds, ``_bytes`` bytes. Every array is read-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESOURCES = ("cpu", "gpu", "memory")
"""The resource columns of every table, in order; ``memory`` is in bytes."""

CPU, GPU, MEMORY = range(3)

GPU_CLASSES = 10
"""Columns of ``NodeTable.gpu_leases``: no GPU, a part of one, 1, 2, ... 7, and 8 or more whole ones."""


class PolicyError(ValueError):
    """A policy was named, configured or written wrongly; the message says what to do."""


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def frozen(values: Any, dtype: Any = np.float64) -> NDArray[Any]:
    """Return ``values`` as a read-only array, so that no policy can change a snapshot."""
    return _read_only(np.array(values, dtype=dtype))


@dataclass(frozen=True)
class Resources:
    """An amount of every resource.

    Attributes
    ----------
    cpu, gpu
        Logical processors, fractions allowed.
    memory
        Bytes.
    """

    cpu: float = 0.0
    gpu: float = 0.0
    memory: float = 0.0

    def vector(self) -> Floats:
        """Return the amounts as a read-only array of shape ``(3,)`` in the order of ``RESOURCES``."""
        return self._vector

    @cached_property
    def _vector(self) -> Floats:
        return frozen([self.cpu, self.gpu, self.memory])

    @property
    def gpu_class(self) -> int:
        """Which column of ``NodeTable.gpu_leases`` counts a bundle of this size."""
        if self.gpu <= 0:
            return 0
        return 1 if self.gpu < 1 else min(1 + int(self.gpu), GPU_CLASSES - 1)


@dataclass(frozen=True, eq=False)
class NodeTable:
    """Machines with capacity, one row a node; equal only to itself. ``NodeTable.of`` fills in what is not known.

    Attributes
    ----------
    ids
        Unique names, length n.
    capacity, free
        Shape ``(n, 3)``, columns as ``RESOURCES``; ``free <= capacity``.
    numeric_class
        With whom a node's bits agree (its processor kernels), length n.
    kinds
        The node's type, by which jobs know their speed; length n, empty where there are no types.
    device_free
        Which part of each GPU is free, 0 to 1, shape ``(n, g)``; 0 past a node's last device. A row adds up to
        ``free[:, GPU]``.
    gpu_leases
        How many leases a node holds, by what they ask of GPUs (``Resources.gpu_class``); shape ``(n, 10)``.
    s_per_byte
        Seconds to bring a byte to the node, length n.
    price_per_hour
        Of the whole node, in any currency; length n.
    labels
        Label -> its value on each node, length n; empty where a node has none.
    log
        Of a live view (``Room.view``): the rows that changed, one entry a change; shared by all views of one room, and
        None on any other table, also on one that is made from a view.
    room
        Of a live view: the ``Room`` that it shows, None on any other table.
    """

    ids: tuple[str, ...]
    capacity: Floats
    free: Floats
    numeric_class: tuple[str, ...]
    kinds: tuple[str, ...]
    device_free: Floats
    gpu_leases: Ints
    s_per_byte: Floats
    price_per_hour: Floats
    labels: Mapping[str, tuple[str, ...]]
    log: Sequence[int] | None = field(default=None, init=False, repr=False)
    room: Any = field(default=None, init=False, repr=False)

    def __len__(self) -> int:
        """Count the nodes."""
        return len(self.ids)

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """The row of every node by its id."""
        return rows_of(self.ids)

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        capacity: Any,
        free: Any = None,
        *,
        numeric_class: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
        device_free: Any = None,
        gpu_leases: Any = None,
        s_per_byte: Any = None,
        price_per_hour: Any = None,
        labels: Mapping[str, Sequence[str]] | None = None,
    ) -> NodeTable:
        """Build a table from what is known; what is left out is free, of one kind, without price, label or delay.

        Where only the sum of a node's free GPUs is known, whole devices are taken to be free first.
        """
        num = len(ids)
        full = frozen(capacity).reshape(num, 3)
        left = full if free is None else frozen(free).reshape(num, 3)
        nothing = np.zeros(num)
        return cls(
            ids=tuple(ids),
            capacity=full,
            free=left,
            numeric_class=("",) * num if numeric_class is None else tuple(numeric_class),
            kinds=("",) * num if kinds is None else tuple(kinds),
            device_free=frozen(_whole_first(full[:, GPU], left[:, GPU]) if device_free is None else device_free),
            gpu_leases=frozen(np.zeros((num, GPU_CLASSES)) if gpu_leases is None else gpu_leases, np.int64),
            s_per_byte=frozen(nothing if s_per_byte is None else s_per_byte),
            price_per_hour=frozen(nothing if price_per_hour is None else price_per_hour),
            labels={label: tuple(values) for label, values in (labels or {}).items()},
        )

    def take(self, rows: Sequence[int] | Ints) -> NodeTable:
        """Return the table of these rows, in this order."""
        picked = np.asarray(rows, dtype=np.int64)
        listed = picked.tolist()
        get = itemgetter(*listed) if len(listed) > 1 else lambda values: tuple(values[row] for row in listed)
        return NodeTable(
            ids=get(self.ids),
            capacity=_read_only(self.capacity.take(picked, axis=0)),  # several times as fast as indexing
            free=_read_only(self.free.take(picked, axis=0)),
            numeric_class=get(self.numeric_class),
            kinds=get(self.kinds),
            device_free=_read_only(self.device_free.take(picked, axis=0)),
            gpu_leases=_read_only(self.gpu_leases.take(picked, axis=0)),
            s_per_byte=_read_only(self.s_per_byte.take(picked)),
            price_per_hour=_read_only(self.price_per_hour.take(picked)),
            labels={label: get(values) for label, values in self.labels.items()},
        )

    def emptied(self) -> NodeTable:
        """Return the same nodes with nobody on them."""
        free_devices = frozen(_whole_first(self.capacity[:, GPU], self.capacity[:, GPU]))
        return replace(self, free=self.capacity, device_free=free_devices, gpu_leases=frozen(self.gpu_leases * 0, int))


@lru_cache(maxsize=8)
def rows_of(ids: tuple[str, ...]) -> Mapping[str, int]:
    """Return the row of every node by its id; kept, since a cluster is asked again and again."""
    return {name: row for row, name in enumerate(ids)}


def _whole_first(capacity: Floats, free: Floats) -> Floats:
    """Return each device's free part, shape ``(n, g)``, ``g >= 1``, from the free GPUs of each node."""
    num_devices = max(int(np.ceil(capacity.max(initial=0.0))), 1)
    return np.clip(free[:, None] - np.arange(num_devices), 0.0, 1.0)


@dataclass(frozen=True)
class WorkerTable:
    """Processes that compute shards, one row a worker.

    Attributes
    ----------
    ids, nodes
        The worker's name and the node that it runs on, length w.
    bundle
        What each has reserved, shape ``(w, 3)``; column ``MEMORY`` is its hard limit of resident shard bytes.
    capacity
        Each one's part of its node, shape ``(w, 3)``: what the node has over the job's workers there.
    s_per_work, s_fixed, s_per_byte
        Cost of a call: ``s_fixed + work * s_per_work + missing bytes * s_per_byte``; length w. ``s_fixed`` is also what
        it takes to send a round's message and its update, ``s_per_work`` is NaN where nothing was measured.
    """

    ids: tuple[str, ...]
    nodes: tuple[str, ...]
    bundle: Floats
    capacity: Floats
    s_per_work: Floats
    s_fixed: Floats
    s_per_byte: Floats

    def __len__(self) -> int:
        """Count the workers."""
        return len(self.ids)


@dataclass(frozen=True)
class ShardTable:
    """Fixed row ranges of a job's data, one row a shard.

    Attributes
    ----------
    work
        What a shard costs, in rows; length s.
    bytes
        What it occupies in a worker's memory; length s.
    """

    work: Floats
    bytes: Floats

    def __len__(self) -> int:
        """Count the shards."""
        return len(self.work)


@dataclass(frozen=True, eq=False)
class Demand:
    """The mix of bundles that a cluster is asked for, one row a class of them; equal only to itself.

    Attributes
    ----------
    bundles
        Shape ``(d, 3)``, columns as ``RESOURCES``.
    weights
        How often each is asked for; length d, in any unit, at least 0.
    selectors
        The labels that each insists on, length d.
    """

    bundles: Floats = field(default_factory=lambda: frozen(np.zeros((0, 3))))
    weights: Floats = field(default_factory=lambda: frozen(np.zeros(0)))
    selectors: tuple[Mapping[str, tuple[str, ...]], ...] = ()

    def __len__(self) -> int:
        """Count the classes."""
        return len(self.weights)
