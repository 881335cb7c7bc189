"""What a run measures of its workers and their nodes: seconds per row and per byte. Pure: it is told the seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from policies.interface import Floats, WorkerTable, frozen

SMOOTHING = 0.5
"""How much the last measurement counts in an average."""

TELLING_BYTES = 256 * 1024
"""Of less, the time is that of the call, and tells nothing of how fast bytes come."""


class Measurements:
    """Seconds per unit of work of each worker, and per byte of each node; what was probed or promised until then.

    Parameters
    ----------
    workers
        With ``s_per_work`` as probed (NaN where not), ``s_fixed`` and ``s_per_byte`` as the nodes' labels promise.
    before
        Those of the same job with other workers: of who stays (by name and node), and of nodes, all is known yet.
    """

    def __init__(self, workers: WorkerTable, before: Measurements | None = None) -> None:
        num = len(workers)
        self._workers = workers
        self._work, self._busy_s = np.zeros(num), np.zeros(num)
        self._s_per_work: Floats = np.full(num, np.nan)
        self._s_per_byte: dict[str, float] = {}
        self._s_fixed: dict[str, float] = {}
        if before is not None:
            self._go_on(before)

    def _go_on(self, before: Measurements) -> None:
        """Take over what is known."""
        self._s_per_byte |= before._s_per_byte
        self._s_fixed |= before._s_fixed
        row_of = {who: row for row, who in enumerate(before._who())}
        stayed = [(row, row_of[who]) for row, who in enumerate(self._who()) if who in row_of]
        now, then = np.array(stayed, dtype=np.int64).reshape(-1, 2).T
        self._work[now], self._busy_s[now] = before._work[then], before._busy_s[then]
        self._s_per_work[now] = before._s_per_work[then]

    def _who(self) -> list[tuple[str, str]]:
        return list(zip(self._workers.ids, self._workers.nodes, strict=True))

    def computed(self, worker: int, work: float, busy_s: float) -> None:
        """Note that a worker computed ``work`` in so many seconds."""
        self._work[worker] += work
        self._busy_s[worker] += busy_s
        if self._work[worker] > 0:
            self._s_per_work[worker] = self._busy_s[worker] / self._work[worker]

    def read(self, worker: int, num_bytes: float, seconds: float) -> None:
        """Note how long a worker took to bring in so many bytes of shards."""
        if num_bytes >= TELLING_BYTES:
            _average(self._s_per_byte, self._workers.nodes[worker], seconds / num_bytes)

    def carried(self, worker: int, num_bytes: float, seconds: float) -> None:
        """Note how long a call's message and update took, that have so many bytes together."""
        if num_bytes >= TELLING_BYTES:
            _average(self._s_fixed, self._workers.nodes[worker], seconds)

    def next_round(self) -> None:
        """Begin to count anew: what a round shows replaces what the rounds before it have shown."""
        self._work[:] = 0.0
        self._busy_s[:] = 0.0

    def forget_computing(self) -> None:
        """Forget how long computing takes: something else is computed from now on."""
        self.next_round()
        self._s_per_work[:] = np.nan

    @property
    def s_per_work_of_round(self) -> Floats:
        """Seconds per unit of work since ``next_round``, shape ``(w,)``; NaN where nothing was computed."""
        with np.errstate(invalid="ignore"):
            found: Floats = self._busy_s / np.where(self._work > 0, self._work, np.nan)
        return found

    @property
    def s_per_work(self) -> Floats:
        """Seconds per unit of work, shape ``(w,)``.

        A worker that has computed nothing yet counts as fast as its node's others were measured, else as it was probed
        in relation to them; NaN where nobody was measured, since a probe is another computation than a round.
        """
        measured, probed = self._s_per_work, self._workers.s_per_work
        known = np.isfinite(measured)
        if not known.any() or known.all():
            return measured.copy()
        both = known & (probed > 0) & np.isfinite(probed)
        scale = measured[both].sum() / probed[both].sum() if both.any() else np.nan
        there = {node: measured[row] for row, node in enumerate(self._workers.nodes) if known[row]}
        beside = np.array([there.get(node, np.nan) for node in self._workers.nodes])
        return np.where(known, measured, np.where(np.isfinite(beside), beside, probed * scale))

    def network(self) -> WorkerTable:
        """Return the workers with what was measured of bringing and sending bytes."""
        workers, nodes = self._workers, self._workers.nodes
        if not self._s_fixed and not self._s_per_byte:
            return workers
        fixed = [self._s_fixed.get(node, promised) for node, promised in zip(nodes, workers.s_fixed, strict=True)]
        per_byte = [
            self._s_per_byte.get(node, promised) for node, promised in zip(nodes, workers.s_per_byte, strict=True)
        ]
        return replace(workers, s_fixed=frozen(fixed), s_per_byte=frozen(per_byte))

    def table(self) -> WorkerTable:
        """Return the workers with all that was measured."""
        return replace(self.network(), s_per_work=frozen(self.s_per_work))


def _average(known: dict[str, float], node: str, now: float) -> None:
    known[node] = (1 - SMOOTHING) * known.get(node, now) + SMOOTHING * now
