"""What a fit of a small estimator costs on warm actors, and on fresh ones: ``python -m benchmarks.fits``."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from scheduler.estimators import DistributedRegressor, shutdown
from scheduler.session import connect

ROWS, FEATURES, NUM_CPUS = 100, 10, 4


def seconds(work: Callable[[], object]) -> float:
    """Return how long ``work`` took."""
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def main() -> None:
    """Time both on one embedded cluster, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--warm", type=int, default=200, help="fits on warm actors (default 200)")
    parser.add_argument("--fresh", type=int, default=10, help="fits on fresh actors (default 10)")
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    X = random.standard_normal((ROWS, FEATURES))
    y = X @ random.standard_normal(FEATURES)
    with connect("local", NUM_CPUS):
        for num_workers in (1, 2):
            estimator = DistributedRegressor(num_workers=num_workers)
            fresh = []
            for _ in range(arguments.fresh):
                shutdown()  # ends the actors; the connection is not the estimator's own, and stays
                fresh.append(seconds(lambda: estimator.fit(X, y)))  # noqa: B023  (called at once)
            warm = [seconds(lambda: estimator.fit(X, y)) for _ in range(arguments.warm)]  # noqa: B023  (at once)
            print(
                f"a fit of {ROWS} x {FEATURES}, workers: {num_workers}, medians: "
                f"warm {1e3 * statistics.median(warm):.1f} ms (fastest {1e3 * min(warm):.1f} ms), "
                f"fresh {1e3 * statistics.median(fresh):.0f} ms"
            )
        shutdown()


if __name__ == "__main__":
    main()
