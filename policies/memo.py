"""A cache of derived values, so that a decision costs what changed since the last one and not the whole cluster."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.tables import Ints, NodeTable

BYTES = 2**28
"""How large the columns may be together; the one that was not used for longest goes first."""

_WATCHED = ("free", "device_free", "gpu_leases")

_ALWAYS = np.iinfo(np.int64).max
"""When a column was seen that never changes."""


class _Column:
    """Values, one a row; when they were true; and a view of them that nobody can write."""

    def __init__(self, values: NDArray[Any], seen_at: int) -> None:
        self.values, self.seen_at = values, seen_at
        self.shown = values.view()
        self.shown.flags.writeable = False


class Memo:
    """Keeps columns over the nodes of a cluster, and works out anew the rows that changed.

    It belongs to whoever asks a policy again and again (a loop, a simulation), and to one policy at a time. What it
    returns is what a calculation from nothing would return, so that no answer depends on it.
    """

    def __init__(self) -> None:
        self._nodes: NodeTable | None = None
        self._seen: dict[str, NDArray[Any]] = {}
        self._log: Sequence[int] | None = None
        self._num_read = 0
        self._changed_at: Ints = np.zeros(0, dtype=np.int64)
        self._now = 0
        self._columns: OrderedDict[Hashable, _Column] = OrderedDict()
        self._num_bytes = 0

    def column(
        self, key: Hashable, nodes: NodeTable, compute: Callable[[NodeTable, Ints], NDArray[Any]]
    ) -> NDArray[Any]:
        """Return ``compute(nodes, every row)``, of which only what changed since the last time is computed.

        Parameters
        ----------
        key
            Names everything that ``compute`` depends on, but the nodes.
        nodes
            The nodes as they are now.
        compute
            Gets a table of some of the nodes, and which rows of ``nodes`` they are; returns an array with one entry, or
            one row, for each. The value of a node depends on this node alone.

        Returns
        -------
        NDArray
            Length n; read-only.
        """
        self._look_at(nodes)
        known = self._columns.get(key)
        if known is None:
            return self._keep(key, np.array(compute(nodes, np.arange(len(nodes)))), self._now)
        if known.seen_at < self._now:
            (stale,) = (self._changed_at > known.seen_at).nonzero()
            if 2 * len(stale) > len(nodes):
                known.values[:] = compute(nodes, np.arange(len(nodes)))
            elif len(stale):
                known.values[stale] = compute(nodes.take(stale), stale)
            known.seen_at = self._now
        self._columns.move_to_end(key)
        return known.shown

    def constant(self, key: Hashable, nodes: NodeTable, compute: Callable[[NodeTable], NDArray[Any]]) -> NDArray[Any]:
        """Return ``compute(nodes)``, which may depend on all that the nodes are, and on nothing that is free of them.

        ``key`` names everything else that it depends on; read-only.
        """
        self._look_at(nodes)
        known = self._columns.get(key)
        if known is None:
            return self._keep(key, np.array(compute(nodes)), _ALWAYS)
        self._columns.move_to_end(key)
        return known.shown

    def _keep(self, key: Hashable, values: NDArray[Any], seen_at: int) -> NDArray[Any]:
        self._columns[key] = known = _Column(values, seen_at)
        self._num_bytes += values.nbytes
        while self._num_bytes > BYTES and len(self._columns) > 1:
            self._num_bytes -= self._columns.popitem(last=False)[1].values.nbytes
        return known.shown

    def _look_at(self, nodes: NodeTable) -> None:
        """Note which rows differ from the nodes of the last call."""
        if nodes.log is not None and nodes.log is self._log:
            self._read_log()
        elif nodes is not self._nodes or nodes.log is not None:
            self._compare(nodes)
            self._nodes, self._log, self._num_read = nodes, nodes.log, len(nodes.log or ())

    def _read_log(self) -> None:
        """Note which rows of a live view have changed since it was read last."""
        log = self._log or ()
        if len(log) > self._num_read:
            self._now += 1
            self._changed_at[log[self._num_read :]] = self._now
            self._num_read = len(log)

    def _compare(self, nodes: NodeTable) -> None:
        """Look at every row."""
        before = self._nodes
        if before is None or not _same_machines(before, nodes):
            self._columns.clear()
            self._num_bytes = 0
            self._changed_at = np.zeros(len(nodes), dtype=np.int64)
        else:
            self._read_log()
            differs = [(self._seen[name] != getattr(nodes, name)).any(axis=1) for name in _WATCHED]
            self._now += 1
            self._changed_at[np.logical_or.reduce(differs)] = self._now
        self._seen = {name: getattr(nodes, name) for name in _WATCHED}
        if nodes.log is None:  # what a live view shows changes with its log, what a table shows might untold
            self._seen = {name: seen.copy() for name, seen in self._seen.items()}


def column(
    memo: Memo | None, key: Hashable, nodes: NodeTable, compute: Callable[[NodeTable, Ints], NDArray[Any]]
) -> NDArray[Any]:
    """Return ``memo.column(key, nodes, compute)``, or without a memo the same from nothing."""
    return compute(nodes, np.arange(len(nodes))) if memo is None else memo.column(key, nodes, compute)


def constant(
    memo: Memo | None, key: Hashable, nodes: NodeTable, compute: Callable[[NodeTable], NDArray[Any]]
) -> NDArray[Any]:
    """Return ``memo.constant(key, nodes, compute)``, or without a memo the same from nothing."""
    return compute(nodes) if memo is None else memo.constant(key, nodes, compute)


def _same_machines(one: NodeTable, other: NodeTable) -> bool:
    """Say whether two tables are of the same nodes in the same order, but for what is free."""
    if one.device_free.shape != other.device_free.shape or not _same_names(one.ids, other.ids):
        return False
    names = _same_names(one.kinds, other.kinds) and (one.labels is other.labels or one.labels == other.labels)
    columns = ("capacity", "s_per_byte", "price_per_hour")
    return names and all(_same_array(getattr(one, name), getattr(other, name)) for name in columns)


def _same_names(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return one is other or one == other


def _same_array(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one is other or np.array_equal(one, other)
