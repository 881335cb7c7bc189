"""Job files as simulated jobs, measured once: what was measured is kept beside the runs that depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scheduler.preparation import Prepared
from scheduler.simulation.traces.trace_file import read_trace, write_trace
from scheduler.simulation.workload import SimulatedJob, Workload
from scheduler.stored_runs import COMPARISON_FILE, digest

MEASURED_FILE = "measured.jsonl"


def mark(prepared: Prepared) -> str:
    """Return a digest of a job and its data."""
    return digest([prepared.job.model_dump(mode="json"), prepared.data.info.fingerprint])


def read_measured(folder: Path | None) -> dict[str, SimulatedJob]:
    """Return the jobs that were measured for the runs of a folder, by their marks; none without one.

    Raises
    ------
    UserError
        If the file is bad.
    """
    if folder is None or not (path := folder / MEASURED_FILE).exists():
        return {}
    known = read_trace(path)
    return {known.meta.get(job.view.id, ""): job for job in known.jobs}


def keep_measured(jobs: Mapping[str, SimulatedJob], folder: Path | None) -> None:
    """Write measured jobs, by their marks, into a folder that has no runs yet; it is a trace as any other.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    if folder is not None and jobs and not (folder / COMPARISON_FILE).exists():
        marks = {job.view.id: mark for mark, job in jobs.items()}
        write_trace(Workload(tuple(jobs.values()), "measured", marks), folder / MEASURED_FILE)
