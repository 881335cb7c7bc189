"""A CSV of jobs with GPUs and durations, as Microsoft's Philly trace (Jeon et al., USENIX ATC 2019) boils down to."""

from __future__ import annotations

from pathlib import Path

from policies.interface import JobView, Resources, frozen
from scheduler import located_csv
from scheduler.errors import Mistakes, shown
from scheduler.simulation.workload import SimulatedJob, Workload

GIB = 2.0**30

MOST_GPUS = 100_000
"""Of one job."""

ONE_A_SECOND = frozen([0.0] * (MOST_GPUS - 1) + [1.0])
"""The end of it are the rates of a job with so many workers and no fewer: a row costs no array of its own."""

COLUMNS = ("job_id", "submitted_s", "gpus", "duration_s")
OPTIONAL = ("cpu", "memory_gib", "tenant", "status")


def read_workload(path: Path) -> Workload:
    """Return the jobs, each with one worker for a GPU, and all or none of them; it runs as long as it did anywhere.

    ``cpu`` and ``memory_gib`` are those of the whole job, 0 where they are not given; a job without GPUs is one worker
    with 1 CPU then. Whatever its ``status``, a job held its GPUs for its duration, so all are kept.

    Raises
    ------
    UserError
        With the first 20 mistakes of the file: line, column, what was got.
    """
    mistakes = Mistakes(path)
    jobs: dict[str, SimulatedJob] = {}
    for row in located_csv.read(mistakes, COLUMNS, OPTIONAL):
        name = row.text("job_id")
        if name in jobs:
            mistakes.add(row.line, "job_id", f"there is a job {shown(name)} already; give this one another name")
        gpus = row.count("gpus", most=MOST_GPUS)
        workers = max(gpus, 1)
        cpu = row.number("cpu", default=0.0 if gpus else 1.0) / workers
        bundle = Resources(cpu, 1.0 if gpus else 0.0, row.number("memory_gib", default=0.0) * GIB / workers)
        view = JobView(
            name,
            row.number("submitted_s"),
            bundle,
            workers,
            workers,
            tenant=row.text("tenant", ""),
            work=row.number("duration_s", above=True),
            rates={"": ONE_A_SECOND[-workers:]},
        )
        jobs[name] = SimulatedJob(view)
    mistakes.tell()
    return Workload(tuple(sorted(jobs.values(), key=lambda job: job.view.submitted_s)), str(path))
