"""The shares of the policies that Shockwave's table compares, worked out as its authors' program does.

All GPUs are alike there, so that each is a few lines instead of a programme for a solver. Where many shares are
equally good, an interior-point solver returns a point in the midst of them (``centre``), and the simplex method a
``corner``. It matters: shares that differ by next to nothing decide whose turn it is. The published figures come from
interior points.

Source: ``scheduler/policies`` of the repository uw-mad-dash/shockwave at commit e07dd20.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq, linear_sum_assignment

from benchmarks.gavel_mechanism import Asked, Memory
from policies.interface import Floats

NEAR = 0.05
"""How near the makespan is searched for, as a part of itself."""

WEIGHT = 1e-7
"""What the logarithms of the slacks weigh beside an objective."""

OLDEST = 0.2
"""Which part of the jobs AlloX matches, at least."""

Pick = Callable[[Floats, Floats, float, Floats | float], Floats]
"""Chooses among shares that are equally good: ``centre`` or ``corner``."""


def centre(need: Floats, size: Floats, capacity: float, gain: Floats | float = 0.0) -> Floats:
    """Return the shares with the most gain, and in the midst of all that are as good.

    They maximise ``gain @ x`` plus the logarithms of ``x - need``, ``1 - x`` and ``capacity - size @ x``. For a price
    of the capacity, each x is the root of a quadratic; the price is found by bisection.

    Parameters
    ----------
    need
        The least shares, 0 to 1; length j.
    size
        GPUs of each job.
    """
    room, need = 1 - np.minimum(need, 1.0), np.minimum(need, 1.0)

    def shares(price: float) -> Floats:
        cost = price * size - gain
        turn = cost * room + 2
        root = np.sqrt(turn**2 - 4 * cost * room)
        return np.asarray(need + 2 * room / (turn + root))  # of both roots, the one from 0 to `room`

    def excess(log_price: float) -> float:
        price = float(np.exp(log_price))
        return float(1 - price * (capacity - size @ shares(price)))

    low, high = -30.0, 60.0
    if size @ need >= capacity * (1 - 1e-12):
        return need
    return shares(float(np.exp(brentq(excess, low, high))) if excess(low) * excess(high) < 0 else float(np.exp(low)))


def corner(need: Floats, size: Floats, capacity: float, gain: Floats | float = 0.0) -> Floats:
    """Return shares with the most gain, and of those that are as good the most for who came first; as ``centre``."""
    shares = np.minimum(need, 1.0)
    left = capacity - size @ shares
    for row in np.argsort(-gain / size, kind="stable").tolist():
        more = min(1 - shares[row], max(left, 0.0) / size[row])
        shares[row] += more
        left -= more * size[row]
    return shares


def max_min(asked: Asked, pick: Pick) -> tuple[Floats, Memory]:
    """Return the largest smallest share of GPUs."""
    level = min(asked.capacity / len(asked.ids), float(asked.size.min()))
    return pick(level * (1 - 1e-9) / asked.size, asked.size, asked.capacity, 0.0), {}


def gandiva_fair(asked: Asked, pick: Pick) -> tuple[Floats, Memory]:
    """Return the same share for all, whatever their size."""
    del pick
    return np.full(len(asked.ids), min(asked.capacity / len(asked.ids), 1.0)), {}


def min_makespan(asked: Asked, pick: Pick) -> tuple[Floats, Memory]:
    """Return shares with which all jobs could end by the soonest makespan, found by bisection to ``NEAR``."""
    low, high = 100.0, 1e6
    while (1 + NEAR) * low < high:
        middle = (low + high) / 2
        need = asked.left_s / middle
        fits = need.max() <= 1 and asked.size @ need <= asked.capacity
        low, high = (low, middle) if fits else (middle, high)
    return pick(asked.left_s / high, asked.size, asked.capacity, 0.0), {}


def most_steps(asked: Asked, pick: Pick) -> tuple[Floats, Memory]:
    """Return the most steps a second altogether, whatever a step is."""
    return pick(np.zeros(len(asked.ids)), asked.size, asked.capacity, asked.steps_per_s / WEIGHT), {}


def finish_time_fair(asked: Asked, pick: Pick) -> tuple[Floats, Memory]:
    """Return the shares with the least worst rho.

    rho is the age and what is left at the share, over the time that the job would have taken on 1/n of the cluster:
    what is done, at the speeds of that time and the n of that time, and what is left at those of now.
    """
    memory = asked.memory
    part = np.minimum(asked.capacity / len(asked.ids) / asked.size, 1.0)
    speed = dict(zip(asked.ids, (asked.rate * part).tolist(), strict=True))
    left = dict(zip(asked.ids, asked.left.tolist(), strict=True))
    passed_s = {
        job: memory["passed_s"][job] + (memory["left"][job] - left[job]) / memory["speed"][job]
        if job in memory.get("left", {})
        else 0.0
        for job in asked.ids
    }
    alone_s = np.array(list(passed_s.values())) + asked.left_s / part

    def need(rho: float) -> Floats:
        return np.asarray(asked.left_s / np.maximum(rho * alone_s - asked.age_s, 1e-9))

    low, high = 0.0, 1000.0
    for _ in range(80):
        middle = (low + high) / 2
        fits = need(middle).max() <= 1 and asked.size @ need(middle) <= asked.capacity
        low, high = (low, middle) if fits else (middle, high)
    found = pick(need(high), asked.size, asked.capacity, 0.0)
    return found, {"passed_s": passed_s, "left": left, "speed": speed}


def allox(asked: Asked, pick: Pick) -> tuple[Floats, Memory]:
    """Return one over its size for the first job of every GPU's queue; those with all of their time stay so.

    The oldest jobs are matched with GPUs and places in their queues, for the least sum of ends.
    """
    del pick
    before = [asked.memory.get(job, 0.0) for job in asked.ids]
    rest = [row for row, share in enumerate(before) if share != 1]
    gpus = int(asked.capacity) - (len(before) - len(rest))
    oldest = sorted(rest, key=lambda row: -asked.age_s[row])[: max(int(OLDEST * len(rest)), gpus)]
    found = np.array(before)
    if oldest and gpus:
        takes_s = np.repeat(asked.left_s[oldest][:, None], gpus, axis=1)
        cost = np.concatenate([place * takes_s for place in range(1, len(oldest) + 1)], axis=1)
        rows, columns = linear_sum_assignment(cost)
        first: dict[int, tuple[int, int]] = {}  # of each queue, the job that is farthest from its end
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            first[column % gpus] = max(first.get(column % gpus, (-1, 0)), (column // gpus, oldest[row]))
        for _, row in first.values():
            found[row] = 1 / asked.size[row]
    return found, dict(zip(asked.ids, found.tolist(), strict=True))


SHARES: dict[str, Callable[[Asked, Pick], tuple[Floats, Memory]]] = {
    "min_total_duration(OSSP)": min_makespan,
    "finish_time_fairness(Themis)": finish_time_fair,
    "max_min_fairness(Gavel)": max_min,
    "allox": allox,
    "max_sum_throughput_perf(MST)": most_steps,
    "gandiva_fair": gandiva_fair,
}
"""The name in the published table -> the shares, and what to remember for the next time."""
