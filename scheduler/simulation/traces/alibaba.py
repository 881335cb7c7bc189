"""Alibaba's mini-batch times: one training job, worker by worker, as speeds of machines that change over time.

The files are ``job_*_norm.csv`` of ``cluster-trace-gpu-v2020/mini-batch-time`` in the repository alibaba/clusterdata.
Times are published as numbers from 0 to 1000, of no unit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from policies.interface import Floats, JobView, Resources, ShardTable, frozen
from scheduler import located_csv
from scheduler.errors import Mistakes, UserError
from scheduler.simulation.faults import Fault, FaultKind
from scheduler.simulation.fleet import Fleet, Machine
from scheduler.simulation.traces.trace import Trace
from scheduler.simulation.workload import Learning, SimulatedJob, Workload

COLUMNS = ("worker", "gpu", "time", "batch_time_norm")

SHARDS_PER_WORKER = 32


def read_trace(path: Path, unit_s: float = 0.001, shards_per_worker: int = SHARDS_PER_WORKER) -> Trace:
    """Return the job, with a machine for each worker, and the speed of each machine in every iteration.

    An iteration that all workers have recorded is a round of the job; the others are left out. Where a worker has two
    times for one, the later counts: the published job 2 has such a pair. A machine of speed 1
    takes the mean of all times for an equal share. A round begins when the slowest worker has ended the one before,
    as it did in the job: with equal shares and no other costs the simulated job takes as long as the real one. A
    policy that is faster meets the same speeds at the same moments, so in later rounds.

    Parameters
    ----------
    unit_s
        Seconds of a published unit; any, since the times are normalised.

    Raises
    ------
    UserError
        With the first 20 mistakes of the file: line, column, what was got.
    """
    times, gpu = _times(path)
    taken_s = times * unit_s
    num_rounds, num_workers = times.shape
    names = [f"worker-{number}" for number in range(num_workers)]
    began_s = np.concatenate([[0.0], taken_s.max(axis=1).cumsum()[:-1]])
    mean_s = float(taken_s.mean())
    num_shards = num_workers * shards_per_worker
    learning = Learning(
        num_rounds,
        ShardTable(frozen(np.ones(num_shards)), frozen(np.zeros(num_shards))),
        s_per_work=mean_s / shards_per_worker,
    )
    rates = {"": frozen(np.arange(1.0, num_workers + 1) / learning.s_per_work)}
    work = float(num_rounds * num_shards)
    view = JobView(path.stem, 0.0, Resources(1.0, gpu), num_workers, num_workers, work=work, rates=rates)
    return Trace(
        Workload((SimulatedJob(view, learning),), str(path)),
        Fleet(tuple(Machine(name, Resources(1.0, float(np.ceil(gpu)))) for name in names), str(path)),
        _speeds(names, began_s, mean_s / taken_s),
    )


def _times(path: Path) -> tuple[Floats, float]:
    """Return the times, shape (iterations, workers), and the GPU of each worker."""
    mistakes = Mistakes(path)
    found: dict[int, dict[int, float]] = {}
    gpu = 0.0
    for row in located_csv.read(mistakes, COLUMNS, None):
        worker, iteration = row.count("worker"), row.count("time")
        found.setdefault(iteration, {})[worker] = row.number("batch_time_norm", above=True)
        percent = row.number("gpu")
        if percent > 100:
            mistakes.add(row.line, "gpu", f"must be at most 100 percent of a GPU, got {percent:g}")
        gpu = max(gpu, percent / 100)
    mistakes.tell()
    workers = sorted({worker for times in found.values() for worker in times})
    whole = [[found[one][worker] for worker in workers] for one in sorted(found) if len(found[one]) == len(workers)]
    if not whole:
        raise UserError(f"{path}: no iteration has a time of each of the {len(workers)} workers")
    return frozen(whole), gpu


def _speeds(names: list[str], began_s: Floats, factors: Floats) -> tuple[Fault, ...]:
    """Return a fault for every change of a speed."""
    changed = np.ones(factors.shape, dtype=bool)
    changed[1:] = factors[1:] != factors[:-1]
    return tuple(
        Fault(float(began_s[number]), names[worker], FaultKind.SPEED, float(factors[number, worker]))
        for number, worker in np.argwhere(changed).tolist()
    )
