"""How long a decision takes as clusters and jobs grow: ``python -m benchmarks.decisions``.

- place: one worker on 100 to 100,000 nodes, those of the OpenB trace again and again, with three fifths of their GPUs
  in use. Pods of the trace arrive; each is placed, and the oldest leave where more than four fifths are in use.
- balance: 10,000 to 1,000,000 shards over a hundredth as many workers.
- joint: a plan for 1,024 and for 10,000 jobs.

Placements are timed in seconds of processor time (``--wall`` for the clock on the wall): they wait for nothing, but
where other programs want the processors, one decision in a hundred loses its own for some milliseconds. Figures are
medians over blocks of decisions, or over repeats. Exponents are slopes of log seconds over log size, by least squares.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decision_cases import in_use, queue_of, repeated, round_of, trace
from benchmarks.machine import facts
from policies import presets
from policies.composed import demand_of
from policies.feasibility import Room
from policies.interface import (
    GPU,
    Balance,
    Claim,
    Demand,
    Floats,
    JobView,
    Memo,
    NodeTable,
    Place,
    PlaceView,
    Policy,
    Slot,
    Unplaced,
)

NODES = (100, 1_213, 10_000, 100_000)
SHARDS = (10_000, 100_000, 1_000_000)
JOBS = (1_024, 10_000)
MOST_IN_USE = 0.8
WARM_UP, BLOCK = 1000, 1000
LIMIT_S = 60.0
"""What takes longer than this is not tried at the next size."""

Row = dict[str, Any]
Clock = Callable[[], float]
Chosen = Callable[[str], bool]


class Cluster:
    """A cluster that places pod after pod; the oldest leave where too many GPUs are in use."""

    def __init__(self, place: Place, nodes: NodeTable, demand: Demand, clock: Clock) -> None:
        self._place, self._demand, self._clock = place, demand, clock
        self._room, self._memo = Room(nodes), Memo()
        self._held: deque[tuple[JobView, Slot]] = deque()
        self._free = float(nodes.free[:, GPU].sum())
        self._least_free = (1 - MOST_IN_USE) * float(nodes.capacity[:, GPU].sum())

    def view(self) -> NodeTable:
        """Return the nodes as they are."""
        return self._room.view()

    def seconds(self, pods: Iterable[JobView]) -> Floats:
        """Place ``pods``, and return how long each decision took."""
        taken_s = []
        for pod in pods:
            claim = Claim(pod, 1, 1)
            began_s = self._clock()
            answer = self._place.place(claim, PlaceView(self._room.view(), 0, self._demand), self._memo)
            taken_s.append(self._clock() - began_s)
            if not isinstance(answer, Unplaced):
                self._room.hold(pod.bundle, *answer[0])
                self._held.append((pod, answer[0]))
                self._free -= pod.bundle.gpu
            while self._free < self._least_free and self._held:
                left, slot = self._held.popleft()
                self._room.release(left.bundle, *slot)
                self._free += left.bundle.gpu
        return np.array(taken_s)


def place_rows(sizes: tuple[int, ...], blocks: int, chosen: Chosen, clock: Clock = time.thread_time) -> list[Row]:
    """Time the placements: median and 99th percentile of a decision, medians over blocks; and the very first."""
    nodes, pods, source = trace()
    say(f"place: nodes and pods of {source}")
    used, demand, found = in_use(nodes, pods), demand_of(pods), []
    order = np.random.default_rng(1).permutation(len(pods)).tolist()
    for name in filter(chosen, presets.PLACES):
        for size in sizes:
            cluster = Cluster(presets.PLACES[name](), repeated(used, size), demand, clock)
            coming = cycle(pods[row] for row in order)
            first = cluster.seconds([next(coming)])[0]
            cluster.seconds(next(coming) for _ in range(WARM_UP))
            times = np.array([cluster.seconds(next(coming) for _ in range(BLOCK)) for _ in range(blocks)])
            median, tail = (float(np.median(np.percentile(times, part, axis=1))) for part in (50, 99))
            found.append({"name": name, "size": size, "median_s": median, "p99_s": tail, "first_s": float(first)})
            say(f"place {name}, {size:,} nodes: {1e3 * median:.3f} ms, p99 {1e3 * tail:.3f} ms")
    return found


def balance_rows(sizes: tuple[int, ...], repeats: int, chosen: Chosen) -> list[Row]:
    """Time the first division of a round by each balance; medians over ``repeats``."""

    def divide(balance: Balance, size: int) -> Callable[[], object]:
        view = round_of(size, max(size // 100, 1))
        return lambda: balance.divide(view)

    return _whole_rows("balance", presets.BALANCES, divide, sizes, repeats, chosen)


def joint_rows(sizes: tuple[int, ...], repeats: int, chosen: Chosen) -> list[Row]:
    """Time the plan of each policy that answers all questions at once; medians over ``repeats``."""

    def plan(policy: Policy, size: int) -> Callable[[], object]:
        snapshot = queue_of(size)
        return lambda: policy.plan(snapshot)

    return _whole_rows("joint", getattr(presets, "JOINTS", {}), plan, sizes, repeats, chosen)


def _whole_rows(
    family: str,
    members: dict[str, Any],
    case: Callable[[Any, int], Callable[[], object]],
    sizes: tuple[int, ...],
    repeats: int,
    chosen: Chosen,
) -> list[Row]:
    found: list[Row] = []
    for name in filter(chosen, members):
        for size in sizes:
            decide = case(members[name](), size)
            times: list[float] = []
            while len(times) < repeats and sum(times) < LIMIT_S:
                began_s = time.perf_counter()
                decide()
                times.append(time.perf_counter() - began_s)
            found.append({"name": name, "size": size, "median_s": statistics.median(times)})
            say(f"{family} {name}, {size:,}: {found[-1]['median_s']:.4f} s")
            if max(times) > LIMIT_S:
                break
    return found


def exponent(rows: list[Row], column: str) -> float:
    """Return the slope of log seconds over log size; NaN with fewer than two sizes."""
    if len(rows) < 2:
        return float("nan")
    size, taken_s = (np.log([row[key] for row in rows]) for key in ("size", column))
    return float(np.polyfit(size, taken_s, 1)[0])


def place_table(rows: list[Row]) -> str:
    """Return milliseconds as a table in Markdown, one line a policy: median / 99th percentile (the first)."""
    sizes = sorted({row["size"] for row in rows})
    lines = [
        f"| place: ms, median / p99 (first) | {' | '.join(f'{size:,} nodes' for size in sizes)} | exponent |",
        "|---" * (len(sizes) + 2) + "|",
    ]
    for name, mine in _by_name(rows).items():
        cells = [f"{1e3 * r['median_s']:.2f} / {1e3 * r['p99_s']:.2f} ({1e3 * r['first_s']:.1f})" for r in mine]
        cells.append(f"{exponent(mine, 'median_s'):.2f} / {exponent(mine, 'p99_s'):.2f}")
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def whole_table(rows: list[Row], family: str, unit: str) -> str:
    """Return seconds as a table in Markdown, one line a policy."""
    sizes = sorted({row["size"] for row in rows})
    lines = [
        f"| {family}: s | {' | '.join(f'{size:,} {unit}' for size in sizes)} | exponent |",
        "|---" * (len(sizes) + 2) + "|",
    ]
    for name, mine in _by_name(rows).items():
        cells = [f"{row['median_s']:.4f}" for row in mine] + ["-"] * (len(sizes) - len(mine))
        cells.append(f"{exponent(mine, 'median_s'):.2f}")
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def _by_name(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(row)
    return found


def say(line: str) -> None:
    """Show progress."""
    print(line, file=sys.stderr, flush=True)


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--families", default="place,balance,joint", help="which to time (default: all)")
    parser.add_argument("--policies", help="names, by comma (default: all that are registered)")
    parser.add_argument("--blocks", type=int, default=5, help=f"blocks of {BLOCK} placements (default 5)")
    parser.add_argument("--repeats", type=int, default=3, help="divisions and plans of each size (default 3)")
    parser.add_argument("--wall", action="store_true", help="time placements by the clock on the wall")
    parser.add_argument("--quick", action="store_true", help="leave the largest size out")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    return parser.parse_args(words)


def main() -> None:
    """Time what is asked for, and print the tables."""
    options = parsed()
    names, kept = options.policies and options.policies.split(","), slice(-1 if options.quick else None)
    clock = time.perf_counter if options.wall else time.thread_time
    cases = {
        "place": (partial(place_rows, clock=clock), NODES, options.blocks),
        "balance": (balance_rows, SHARDS, options.repeats),
        "joint": (joint_rows, JOBS, options.repeats),
    }
    machine, found = facts(), {}
    for family in options.families.split(","):
        rows_of, sizes, times = cases[family]
        found[family] = rows_of(sizes[kept], times, lambda name: not names or name in names)
    print(f"{machine['processor']}, {machine['logical_processors']} processors, load {machine['load_1_min']} at first")
    for family, rows in found.items():
        if rows:
            unit = {"balance": "shards", "joint": "jobs"}.get(family, "")
            print("\n" + (place_table(rows) if family == "place" else whole_table(rows, family, unit)))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, **found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
