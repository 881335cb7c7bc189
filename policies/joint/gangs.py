"""With how many workers a job runs on each kind of node, and how fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.feasibility import slots
from policies.joint.pools import Pools
from policies.tables import Floats, Ints
from policies.views import JobView


@dataclass(frozen=True)
class Gangs:
    """The gang of each job on nodes of each kind.

    Attributes
    ----------
    workers
        How many, 0 where the least number does not fit or makes no progress; shape ``(j, k)``.
    rates
        Work per second with these, 0 where there are none; shape ``(j, k)``.
    measured
        Whether the rates are the job's own; length j.
    need
        What the workers hold, columns as ``RESOURCES``; shape ``(j, k, 3)``.
    """

    workers: Ints
    rates: Floats
    measured: NDArray[np.bool_]
    need: Floats

    @classmethod
    def of(cls, jobs: Sequence[JobView], pools: Pools) -> Gangs:
        """Give each job as many workers as it can use and the nodes of a kind hold.

        A job that knows its speed on some kinds only is taken to be as slow elsewhere as on the slowest that it
        knows. One that knows none, or has made no progress anywhere, is taken to be equally fast everywhere.
        """
        row_of: dict[tuple[Any, ...], int] = {}
        fit_of: dict[tuple[Any, ...], list[float]] = {}
        rows: list[_Row] = []
        index: list[int] = []
        for job in jobs:
            # Many jobs share these very objects, and a row; ids tell objects apart as long as the jobs are alive.
            rates, selector = id(job.rates) if job.rates else 0, id(job.selector) if job.selector else 0
            key = (rates, id(job.bundle), selector, job.min_workers, job.max_workers)
            if key not in row_of:
                shape = (job.bundle, tuple(sorted(job.selector.items())))
                if shape not in fit_of:
                    fit_of[shape] = [float(slots(job, table).sum()) for table in pools.cleared]
                row_of[key] = len(rows)
                rows.append(_row(job, fit_of[shape], pools.kinds))
            index.append(row_of[key])
        shape_of = (len(rows), len(pools.kinds))
        workers = np.array([row.workers for row in rows], dtype=np.int64).reshape(shape_of)
        speed = np.array([row.rates for row in rows], dtype=np.float64).reshape(shape_of)
        measured = np.array([row.measured for row in rows], dtype=np.bool_)
        bundles = np.array([row.bundle for row in rows], dtype=np.float64).reshape(len(rows), 3)
        need = workers[:, :, None] * bundles[:, None, :]
        return cls(workers[index], speed[index], measured[index], need[index])


class _Row(NamedTuple):
    """One job's workers and rates on each kind, and its bundle."""

    workers: list[int]
    rates: list[float]
    measured: bool
    bundle: tuple[float, float, float]


def _row(job: JobView, fits: Sequence[float], kinds: Sequence[str]) -> _Row:
    bundle = (job.bundle.cpu, job.bundle.gpu, job.bundle.memory)
    most = [int(min(fit, job.max_workers)) for fit in fits]
    workers = [num if num >= job.min_workers else 0 for num in most]
    found = [job.rate(num, kind) if num else 0.0 for num, kind in zip(workers, kinds, strict=True)]
    known = [rate for rate in found if rate > 0]
    if not known:
        return _Row(workers, [float(num > 0) for num in workers], False, bundle)
    rates = [min(known) if isnan(rate) else max(rate, 0.0) for rate in found]
    return _Row([num if rate > 0 else 0 for num, rate in zip(workers, rates, strict=True)], rates, True, bundle)
