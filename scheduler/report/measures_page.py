"""The page of measures, ``docs/metrics.md``: ``python -m scheduler.report.measures_page``."""

from __future__ import annotations

import sys

from scheduler.results.measures import MEASURES

HEAD = """\
# Metrics

What `apportion simulate` and `apportion compare` measure. The definitions are the same for live and simulated runs. A
figure that is not defined (no jobs that finished, no deadlines, no GPUs) is left out.

Over several seeds a figure is a mean with its 95 % interval (Student). Policies are compared seed by seed: all of them
meet the same arrivals and the same faults, so what is common to a seed drops out of the ratio. The ratio is the
geometric mean over seeds, its interval that of its logarithm; a difference whose interval holds 1, or that is under
0.1 %, is called noise. One seed has no interval. A job that did not finish has no completion time; where policies
differ in how many these are, the verdict says so. Where runs are missing, as in a comparison that was interrupted,
means, ranking and ratios are of the seeds that all policies have.

This page is written by `make docs-metrics` from `scheduler/results/measures/`.

| measure | unit | better | definition |
|---|---|---|---|
"""


def page() -> str:
    """Return the page."""
    rows = [f"| `{one.name}` | {one.unit} | {one.better} | {one.what} |" for one in MEASURES.values()]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
