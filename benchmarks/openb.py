"""GPU allocation on the OpenB trace beside the published table: ``python -m benchmarks.openb``.

The setting is that of Weng et al., USENIX ATC 2023: nobody leaves; CPU, memory and the GPU's model are filters; all
pods arrive in random order, then pods drawn with replacement until GPU requests reach 1.3 times the capacity. The
figures are GPUs allocated as a part of all, once requests have reached 100 % and 130 % of the capacity.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.machine import facts
from benchmarks.openb_trace import VARIANTS, read_nodes, read_pods, replay
from policies.composed import Composed, demand_of
from policies.interface import GPU, Place
from policies.presets import PLACES, resolve
from scheduler.simulation.traces.openb import arrivals

LOADS = (1.0, 1.3)

PUBLISHED = {
    "random": ((86.30, 0.31), (87.47, 0.30)),
    "dot-product": ((90.62, 0.18), (90.85, 0.19)),
    "gpu-clustering": ((91.65, 0.58), (91.88, 0.59)),
    "gpu-packing": ((91.78, 0.50), (92.00, 0.52)),
    "best-fit": ((92.86, 0.14), (93.08, 0.13)),
    "fgd": ((95.23, 0.10), (95.39, 0.08)),
}
"""Policy -> mean and standard deviation over 10 seeds, in %, at each of ``LOADS``; on the default pods."""


@dataclass(frozen=True)
class Figures:
    """What a policy came to: the allocated part in %, one entry a seed, at each of ``LOADS``."""

    policy: str
    allocated: tuple[list[float], list[float]]

    def published(self, load: int) -> tuple[float, float] | None:
        """Return the published mean and standard deviation, None where there are none."""
        return PUBLISHED[self.policy][load] if self.policy in PUBLISHED else None

    def agrees(self, load: int) -> bool | None:
        """Say whether the mean lies within two published standard deviations, None where nothing is published."""
        known = self.published(load)
        return None if known is None else abs(statistics.mean(self.allocated[load]) - known[0]) <= 2 * known[1]


def measure(policy: str, seeds: int, variant: str | None = None) -> Figures:
    """Replay the arrivals of seeds 0, 1, ... through ``policy``, a name or ``module:Class``; progress to stderr."""
    place, nodes, pods = place_of(policy), read_nodes(), read_pods(variant)
    capacity, demand = nodes.capacity[:, GPU].sum(), demand_of(pods)
    allocated: tuple[list[float], list[float]] = ([], [])
    for seed in range(seeds):
        began_s = time.perf_counter()
        done = replay(place, nodes, arrivals(pods, LOADS[-1] * capacity, seed), seed, demand)
        for load, found in zip(LOADS, allocated, strict=True):
            found.append(100 * done.allocated_at(load))
        taken_s = time.perf_counter() - began_s
        print(f"{policy}: {seed + 1} of {seeds} seeds, {taken_s:.1f} s", file=sys.stderr)
    return Figures(policy, allocated)


def place_of(policy: str) -> Place:
    """Return the placement that ``policy`` names: one that is registered, or ``module:Class``."""
    return cast(Composed, resolve({"place": policy})).place


def table(found: list[Figures], variant: str | None) -> str:
    """Return the figures as a table in Markdown, beside the published ones on the default pods."""
    lines = [
        "| policy | at 100 % | published | at 130 % | published | within 2 sd |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        cells = [one.policy]
        for load in range(len(LOADS)):
            known = None if variant else one.published(load)
            cells += [_spread(one.allocated[load]), f"{known[0]:.2f} ± {known[1]:.2f}" if known else "-"]
        judged = [one.agrees(load) for load in range(len(LOADS))]
        cells.append("-" if variant or None in judged else "yes" if all(judged) else "no")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values) if len(values) > 1 else 0.0:.2f}"


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--policies", default=",".join(PLACES), help="names or module:Class, by comma (default: all)")
    parser.add_argument("--seeds", type=int, default=10, help="how many orders of arrival (default 10)")
    parser.add_argument("--variant", choices=VARIANTS, help="pods drawn anew from the trace, of other shares")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    return parser.parse_args(words)


def main() -> None:
    """Measure, and print the table."""
    options = parsed()
    found = [measure(policy, options.seeds, options.variant) for policy in options.policies.split(",")]
    print(f"GPUs allocated, % of all, mean ± standard deviation over {options.seeds} orders of arrival")
    print(f"pods: {options.variant or 'the default ones'}\n\n{table(found, options.variant)}")
    if options.json:
        figures = {one.policy: dict(zip(("at_100", "at_130"), one.allocated, strict=True)) for one in found}
        written: dict[str, Any] = {"machine": facts(), "variant": options.variant, "allocated": figures}
        options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
