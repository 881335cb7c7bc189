"""Makespans on Gavel's static jobs beside its published table: ``python -m benchmarks.gavel``.

The setting is that of Narayanan et al., OSDI 2020, "static-multiple": 36 V100, 36 P100 and 36 K80 GPUs, all jobs there
at the start, each with 1 to 8 GPUs of one kind, rounds of 6 minutes. Per number of jobs, means over the seeds: the
published makespans of FIFO and of the makespan policy, the lower bound of the linear programme, and what
``min-makespan`` (and other policies) come to. The bound is on the jobs as they are made here; where it lies over what
is published, the published jobs cannot have been quite the same.

With ``--rates``, jobs of one GPU arrive all the time ("continuous-single"), and what is shown is the mean time from the
arrival to the end of the jobs 4,000 to 4,999.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.gavel_trace import Replay, jobs, nodes
from benchmarks.machine import facts
from policies.interface import ClusterSnapshot
from policies.joint.bounds import makespan_bound_s
from policies.presets import resolve

JOBS = (100, 200, 300, 400, 500, 600, 700)
SEEDS = (0, 1, 2)
WINDOW = (4000, 5000)
"""The jobs whose mean time counts, where they arrive all the time."""

PUBLISHED = {
    "FIFO": (182.319456, 229.430326, 295.563378, 350.496270, 426.584611, 506.228073, 619.518289),
    "min_total_duration_perf": (161.163998, 161.164065, 161.164303, 161.291139, 169.422498, 194.993833, 244.231470),
}
"""Makespans in hours at each of ``JOBS``, mean of seeds 0, 1 and 2; the notebook makespan.ipynb at commit c4fa400."""

PUBLISHED_JCT = {
    "allox": {2.0: 16.93, 4.0: 17.13, 4.4: 18.54, 4.8: 20.92, 5.2: 21.96, 5.6: 25.32},
    "max_min_fairness_perf": {2.0: 16.95, 4.0: 16.82, 4.4: 17.48, 4.8: 18.97, 5.2: 22.02, 5.6: 28.96},
    "finish_time_fairness_perf": {2.0: 17.07, 4.0: 17.57, 4.4: 18.62, 4.8: 20.43, 5.2: 23.38, 5.6: 30.47},
}
"""Mean hours from arrival to end by jobs an hour; the notebook continuous_jobs.ipynb at commit c4fa400."""

THEIRS = {
    "allox": "allox",
    "max-min-throughput": "max_min_fairness_perf",
    "finish-time-fair-lp": "finish_time_fairness_perf",
}
"""Our policy -> the published one."""

Row = dict[str, Any]


def static(num_jobs: int, seed: int, policies: list[str]) -> Row:
    """Return the lower bound and the makespan of each policy, in hours."""
    batch = tuple(islice(jobs(seed), num_jobs))
    bound_s = makespan_bound_s(ClusterSnapshot(0, 0.0, 0, nodes(), batch))
    row: Row = {"jobs": num_jobs, "seed": seed, "bound_h": bound_s / 3600}
    for policy in policies:
        began_s = time.perf_counter()
        outcome = Replay(resolve(policy)).run(batch)
        row[policy] = max(outcome.ended_s.values()) / 3600
        say(
            f"{num_jobs} jobs, seed {seed}, {policy}: {row[policy]:.2f} h, bound {row['bound_h']:.2f} h, "
            f"{outcome.rounds} rounds, {outcome.started / outcome.rounds:.1f} starts each, "
            f"{time.perf_counter() - began_s:.0f} s"
        )
    return row


def continuous(rate: float, seed: int, policies: list[str]) -> Row:
    """Return the mean hours from arrival to end with ``rate`` jobs an hour, for each policy."""
    row: Row = {"rate": rate, "seed": seed}
    first = list(islice(jobs(seed, rate, several_gpus=False), WINDOW[1] + 1))
    counted = first[slice(*WINDOW)]
    for policy in policies:
        began_s = time.perf_counter()
        arriving = jobs(seed, rate, several_gpus=False)
        outcome = Replay(resolve(policy)).run(arriving, frozenset(job.id for job in counted))
        row[policy] = statistics.mean(outcome.ended_s[job.id] - job.submitted_s for job in counted) / 3600
        taken_s = time.perf_counter() - began_s
        say(f"{rate} jobs/h, seed {seed}, {policy}: {row[policy]:.2f} h, {outcome.rounds} rounds, {taken_s:.0f} s")
    return row


def static_table(rows: list[Row], policies: list[str]) -> str:
    """Return the makespans as a table in Markdown."""
    names = [*(f"{name} (published)" for name in PUBLISHED), "bound", "to published", *policies, "over bound"]
    lines = [f"| jobs | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for num_jobs in dict.fromkeys(row["jobs"] for row in rows):
        mine = [row for row in rows if row["jobs"] == num_jobs]
        bound = statistics.mean(row["bound_h"] for row in mine)
        known = [values[JOBS.index(num_jobs)] if num_jobs in JOBS else float("nan") for values in PUBLISHED.values()]
        cells = [*(f"{value:.2f}" for value in known), f"{bound:.2f}", f"{100 * (bound / known[-1] - 1):+.2f} %"]
        cells += [f"{statistics.mean(row[policy] for row in mine):.2f}" for policy in policies]
        gaps = [row[policies[0]] / row["bound_h"] - 1 for row in mine] if policies else []
        cells.append(f"{100 * statistics.mean(gaps):.2f} % (worst {100 * max(gaps):.2f} %)" if gaps else "-")
        lines.append(f"| {num_jobs} | {' | '.join(cells)} |")
    return "\n".join(lines)


def continuous_table(rows: list[Row], policies: list[str]) -> str:
    """Return the mean times as a table in Markdown."""
    lines = [f"| jobs/h | {' | '.join(f'{name} | published' for name in policies)} |"]
    lines.append("|---" * (2 * len(policies) + 1) + "|")
    for rate in dict.fromkeys(row["rate"] for row in rows):
        cells = []
        for policy in policies:
            known = PUBLISHED_JCT.get(THEIRS.get(policy, ""), {}).get(rate)
            cells.append(f"{statistics.mean(row[policy] for row in rows if row['rate'] == rate):.2f}")
            cells.append("-" if known is None else f"{known:.2f}")
        lines.append(f"| {rate} | {' | '.join(cells)} |")
    return "\n".join(lines)


def say(line: str) -> None:
    """Show progress."""
    print(line, file=sys.stderr, flush=True)


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--policies", help="names, by comma (default: min-makespan; with --rates max-min-throughput)")
    parser.add_argument("--jobs", default=",".join(map(str, JOBS)), help="numbers of jobs, by comma")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="seeds, by comma (default 0,1,2)")
    parser.add_argument("--rates", help="jobs an hour, by comma: let jobs arrive all the time instead")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    return parser.parse_args(words)


def main() -> None:
    """Measure, and print the table."""
    options = parsed()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    policies = (options.policies or ("max-min-throughput" if options.rates else "min-makespan")).split(",")
    if options.rates:
        rates = [float(rate) for rate in options.rates.split(",")]
        rows = [continuous(rate, seed, policies) for rate in rates for seed in seeds]
        print(f"mean hours from arrival to end, seeds {options.seeds}\n\n{continuous_table(rows, policies)}")
    else:
        rows = [static(number, seed, policies) for number in map(int, options.jobs.split(",")) for seed in seeds]
        print(f"makespan in hours, mean of seeds {options.seeds}\n\n{static_table(rows, policies)}")
    if options.json:
        options.json.write_text(json.dumps({"machine": facts(), "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
