"""How a network interface is held to a bandwidth and a latency: the words for ``tc``, and a free subnet. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import IPv4Network

BURST_S, QUEUE_S = 0.002, 0.05
"""What may pass at once, and what may wait before packets are dropped, in seconds at the bandwidth."""

LEAST_BURST_BYTES, LEAST_QUEUE_BYTES = 10_000, 60_000
"""Some packets must always fit."""

MOST_DELAYED = 20_000
"""Packets that are on their way at the same time."""

RATE, DELAY = "tbf", "netem"
"""Kinds of queue in the kernel: a token bucket, and one that delays; kernels without the latter are common."""


def queues(mbit_per_s: float, latency_ms: float, kinds: Collection[str]) -> list[list[str]]:
    """Return the words after ``tc qdisc add dev NAME`` for each queue, none where there is nothing to hold.

    Packets are first delayed, then wait for their turn. A queue whose kind is not among ``kinds`` is left out.
    """
    found: list[list[str]] = []
    if latency_ms > 0 and DELAY in kinds:
        found.append(["root", "handle", "1:", DELAY, "delay", f"{latency_ms:g}ms", "limit", str(MOST_DELAYED)])
    if mbit_per_s > 0 and RATE in kinds:
        place = ["parent", "1:1", "handle", "2:"] if found else ["root", "handle", "2:"]
        bytes_per_s = mbit_per_s * 1e6 / 8
        burst = max(LEAST_BURST_BYTES, round(bytes_per_s * BURST_S))
        limit = burst + max(LEAST_QUEUE_BYTES, round(bytes_per_s * QUEUE_S))
        rate = f"{max(8, round(mbit_per_s * 1e6))}bit"
        found.append([*place, RATE, "rate", rate, "burst", str(burst), "limit", str(limit)])
    return found


def free_subnet(used: Sequence[IPv4Network]) -> str | None:
    """Return the first three numbers of a private /24 that overlaps none of ``used``, None if there is none."""
    for number in range(256):
        subnet = f"10.213.{number}"
        if not any(IPv4Network(f"{subnet}.0/24").overlaps(other) for other in used):
            return subnet
    return None
