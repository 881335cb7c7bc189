"""The scheduler service measured: a burst, resizes of a running job, many jobs of three tenants, and today's way.

``make bench-service``, or ``python -m benchmarks.service burst resizes --json service.json``.

``burst``: a thousand jobs are submitted as fast as one client can, and the service is killed in the middle.
``resizes``: a running job is shrunk and grown again and again; how long it stands still, and whether its model is that
of one process. Both on a Ray cluster of their own, with more logical processors than there are.
``tenants``: twenty jobs of tenants that weigh 2, 1 and 1, two with deadlines, one gang as large as the cluster, on four
nodes that are held to parts of a processor (root on Linux), under several policies, beside the simulator's figures.
What each tenant has while all want more is compared with its weight; models are compared with those of one process;
and every decision is looked through for a job that waited although its gang would have fitted.
``plain``: the same jobs through Ray's Jobs API with ``entrypoint_num_cpus``, and two gangs that block each other there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.chaos.raylets import with_tokens
from benchmarks.machine import facts
from benchmarks.service import burst, plain, policies, resizes
from scheduler.lab.isolation import cannot_isolate

Part = Callable[[Path, argparse.Namespace, Console], dict[str, Any]]

PARTS: Mapping[str, Part] = {
    "burst": lambda folder, options, _: burst.measure(folder, options.submissions),
    "resizes": lambda folder, options, _: resizes.measure(folder, options.resizes),
    "tenants": lambda folder, options, console: policies.measure(folder, options.policies.split(","), console),
    "plain": lambda folder, _, console: plain.measure(folder, console),
}
ON_A_LAB = ("tenants", "plain")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[*PARTS])
    parser.add_argument("--submissions", type=int, default=1000)
    parser.add_argument("--resizes", type=int, default=50)
    parser.add_argument("--policies", default=",".join(policies.POLICIES), help="of the part 'tenants'")
    parser.add_argument("--json", type=Path)
    options, console, results = parser.parse_args(arguments), Console(), dict[str, Any]()
    with_tokens()
    for part in options.parts or PARTS:
        if part in ON_A_LAB and (reason := cannot_isolate()):
            console.print(f"{part}: left out: {reason}")
            continue
        with tempfile.TemporaryDirectory(prefix="apportion-bench-") as folder:
            results[part] = PARTS[part](Path(folder), options, console)
        console.print(part, results[part], highlight=False)
        if options.json:
            options.json.write_text(json.dumps({"machine": facts(), **results}, indent=2), encoding="utf-8")
    return int(is_bad(results))


def is_bad(results: Mapping[str, Any]) -> bool:
    """Say whether jobs were lost or doubled, or a model was another."""
    bad = results.get("burst", {}).get("lost", 0) or results.get("burst", {}).get("twice", 0)
    others = any(row["other_models"] for row in results.get("tenants", {}).get("policies", ()))
    return bool(bad or others or not results.get("resizes", {}).get("same_model", True))


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    sys.exit(main())
