"""What each part of ``opportunity-cost`` is worth on the OpenB trace: ``python -m benchmarks.openb_parts``."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.openb import measure
from benchmarks.openb_trace import VARIANTS
from policies.place import worth
from policies.place.filling import best_use, random_use

Part = tuple[Any, str, Callable[..., Any]]


def _random(sizes: tuple[int, ...], asked: tuple[float, ...], offers: float) -> Any:
    return random_use(np.array(sizes, dtype=np.int64), np.array(asked), offers)


def _best(sizes: tuple[int, ...], asked: tuple[float, ...], offers: float) -> Any:
    del offers
    return best_use(np.array(sizes, dtype=np.int64), np.array(asked))


PARTS: dict[str, Part | None] = {
    "all of it": None,
    "free parts filled at random only": (worth, "_of_part", _random),
    "free parts filled best only": (worth, "_of_part", _best),
    "without what is stranded": (worth.Worth, "stranded", lambda _, free, gpu: 0.0 * gpu),
    "without prices of slots": (worth.Coming, "prices", lambda _, slots, gpus: 0.0 * slots),
}
"""What is left of the policy -> where, and what stands in for the rest."""


@contextmanager
def instead(part: Part | None) -> Iterator[None]:
    """Let a part stand in while the block lasts; nothing is remembered from before."""
    for cached in (worth.coming, worth._asked_of):
        cached.cache_clear()
    if part is None:
        yield
    else:
        with mock.patch.object(*part):
            yield


def main() -> None:
    """Measure, and print the table: % of GPUs allocated at 130 % arrived."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="how many orders of arrival (default 1)")
    seeds = parser.parse_args().seeds
    print(f"| | {' | '.join(['default', *VARIANTS])} |\n|{'---|' * (len(VARIANTS) + 2)}")
    for name, part in PARTS.items():
        with instead(part):
            found = [measure("opportunity-cost", seeds, variant).allocated[1] for variant in (None, *VARIANTS)]
        print(f"| {name} | {' | '.join(f'{statistics.mean(one):.2f}' for one in found)} |", flush=True)


if __name__ == "__main__":
    main()
