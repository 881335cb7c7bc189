"""An entry point as users hand it to Ray's Jobs API: it trains one job in its own process, on the CPUs it asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from threadpoolctl import threadpool_limits

from scheduler.job import Job
from scheduler.preparation import prepare
from workers.model import sha256_of
from workers.sequential import train


def main() -> None:
    """Train the job whose fields are in a JSON file, and write its model's hash beside it."""
    path, cpus = Path(sys.argv[1]), int(sys.argv[2])
    prepared = prepare(Job.model_validate(json.loads(path.read_text(encoding="utf-8"))))
    with threadpool_limits(limits=cpus):
        outcome = train(prepared.training(), prepared.data.load(range(prepared.data.num_shards)))
    path.with_suffix(".sha256").write_text(sha256_of(outcome.arrays), encoding="ascii")


if __name__ == "__main__":
    main()
