"""A yardstick for everything that streams over rows: gigabytes a second that processes read from memory.

Each process multiplies a float32 matrix larger than the caches by a vector (``X @ w``, one BLAS thread), which
reads every byte once; all begin at the same moment.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

COLUMNS = 50
PASSES = 5


def gigabytes_per_second(processes: int, array_bytes: int = 400_000_000) -> float:
    """Return the total rate of ``processes`` at once, each on an array of its own; the median of 5 passes."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    children = [context.Process(target=_read, args=(barrier, results, array_bytes)) for _ in range(processes)]
    for child in children:
        child.start()
    rates = [results.get() for _ in children]
    for child in children:
        child.join()
    return float(sum(rates))


def _read(barrier: Barrier, results: Any, array_bytes: int) -> None:
    """Put this process's median rate into ``results``."""
    X = np.ones((array_bytes // (4 * COLUMNS), COLUMNS), dtype=np.float32)
    w = np.ones(COLUMNS, dtype=np.float32)
    rates = []
    with threadpool_limits(limits=1):
        _ = X @ w  # the first pass pays for page faults
        barrier.wait()
        for _ in range(PASSES):
            started_s = time.perf_counter()
            _ = X @ w
            rates.append(X.nbytes / (time.perf_counter() - started_s) / 1e9)
    results.put(statistics.median(rates))
