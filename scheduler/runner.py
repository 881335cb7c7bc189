"""The driver's part of a run, from nodes and data to the saved model; no array passes through it in a round."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from policies.interface import Policy
from policies.presets import resolve
from scheduler import node_labels
from scheduler.errors import LostActorError, RunFailedError, UserError
from scheduler.gang import Gang
from scheduler.inventory import Inspection, NodeView, logical_views
from scheduler.job import Job
from scheduler.outputs import Finished, Summary, conclude
from scheduler.pool import Pool
from scheduler.preparation import Prepared, prepare
from scheduler.run import INLINE_BYTES, RunResult, RunSpec, WorkerReport
from scheduler.session import Session, connect, ship_by_value
from scheduler.simulation.profile import recorded, refuse_asynchronous
from scheduler.simulation.traces.trace_file import write_trace
from scheduler.simulation.workload import Workload
from workers.errors import DataError
from workers.training import DivergedError, RoundReport
from workers.wire import encode

POLL_S = 0.1
"""How often the driver asks for progress; the rounds do not wait for it."""


class Observer:
    """Whoever wants to know how a run goes on; this one takes no notice."""

    def connected(self, session: Session) -> None:
        """Hear that the cluster is there."""

    def initialised(self, nodes: Sequence[NodeView], prepared: Prepared) -> None:
        """Step 1: nodes and data have been looked at."""

    def split(self, prepared: Prepared, policy: Policy, workers: Sequence[WorkerReport]) -> None:
        """Step 2: every shard has its worker."""

    def trained(self, report: RoundReport) -> None:
        """Step 3, once a round."""

    def communicated(self, result: RunResult) -> None:
        """Step 4: all rounds are committed."""

    def fused(self, summary: Summary) -> None:
        """Step 5: the model is evaluated and saved."""


@dataclass(frozen=True)
class RunOptions:
    """Where a run runs, and whether it is recorded.

    Attributes
    ----------
    cpus
        The logical processors of an embedded cluster.
    record
        Where to write the run as a trace that can be simulated.
    """

    address: str | None = None
    cpus: int | None = None
    record: Path | None = None


def run_job(job: Job, policy: Policy, options: RunOptions, observer: Observer) -> Summary:
    """Run a job to the end, on the cluster of ``options`` or an embedded one, and save its model.

    Raises
    ------
    UserError, DataError
        If the input is bad.
    RunFailedError
        If the run failed.
    """
    if options.record is not None:
        refuse_asynchronous(job)
    preparing = start_preparing(job)
    with connect(options.address, options.cpus) as session:
        observer.connected(session)
        prepared = preparing.result()
        finished = run_connected(prepared, policy, observer)
        finished.save(job.output)
        if options.record is not None and finished.result is not None:
            _record(prepared, finished.result, options.record)
        observer.fused(finished.summary)
        return finished.summary


def _record(prepared: Prepared, result: RunResult, path: Path) -> None:
    """Write a run as a trace; how fast a node is, its labels tell."""
    speeds = {view.id: node_labels.speed(view.id, view.labels) for view in logical_views()}
    job = recorded(prepared, result, speeds)
    write_trace(Workload((job,), f"a run of {prepared.job.name}"), path)


def start_preparing(job: Job) -> Future[Prepared]:
    """Read and check a job's data in a thread, while Ray starts; the result raises what ``prepare`` raises.

    The thread is a daemon: where the program ends before, as after Ctrl-C, it does not wait for the data.
    """
    future: Future[Prepared] = Future()

    def work() -> None:
        try:
            future.set_result(prepare(job))
        except BaseException as error:  # noqa: BLE001  (whatever it is, it is raised where the result is wanted)
            future.set_exception(error)

    threading.Thread(target=work, name="preparing", daemon=True).start()
    return future


def run_connected(prepared: Prepared, policy: Policy | None = None, observer: Observer | None = None) -> Finished:
    """Run a prepared job on the connected cluster, which is left as it was.

    Without a ``policy`` it is the recipe's; modules of the user's own are then looked for in the current folder.
    Raises what ``train`` raises, and ``PolicyError`` for a policy that is none.
    """
    chosen = resolve(prepared.job.policy, search=[Path.cwd()]) if policy is None else policy
    watching = observer or Observer()
    started_s = time.perf_counter()
    inspection = Inspection()

    def work(gang: Gang) -> RunResult:
        watching.initialised(inspection.result(), prepared)
        return train(gang, prepared, chosen, watching)

    with Pool() as pool:
        result = pool.lend(prepared.view(time.time()), chosen, prepared.problem.seed, work)
    watching.communicated(result)
    return conclude(prepared, chosen.name, result, time.perf_counter() - started_s)


def train(gang: Gang, prepared: Prepared, policy: Policy, observer: Observer) -> RunResult:
    """Train a prepared job on a gang, its shards divided by the policy's balance.

    Raises
    ------
    UserError, DataError
        If the policy breaks a rule, or the data cannot be read.
    RunFailedError
        If the run failed.
    """
    done = begin(gang, prepared, policy, prepared.job.name)
    seen, told = 0, False
    while not ray.wait([done], timeout=POLL_S)[0]:
        progress = answer(gang.server.progress.remote(seen))
        if progress.workers and not told:
            observer.split(prepared, policy, progress.workers)
            told = True
        for report in progress.reports if told else ():
            observer.trained(report)
            seen += 1
    result: RunResult = answer(done)
    if not told:
        observer.split(prepared, policy, result.workers)
    for report in result.reports[seen:]:
        observer.trained(report)
    return result


def begin(
    gang: Gang, prepared: Prepared, policy: Policy, name: str, began_s: float = 0.0, keeps_timeline: bool = False
) -> Any:
    """Let a gang's server begin with a job, called ``name``, and return the reference of its ``RunResult``."""
    job, data = prepared.job, prepared.data
    ship_by_value(policy.balance)
    small = data.nbytes.sum() < INLINE_BYTES and not data.source.holds_references
    spec = RunSpec(
        job=name,
        data=encode(data) if small else ray.put(data),
        shards=prepared.shard_table,
        problem=prepared.problem,
        solver=prepared.solver,
        stopping=prepared.stopping,
        standardise=job.training.standardise,
        initial=prepared.initial,
        balance=policy.balance,
        bundle=job.workers.bundle.resources(),
        began_s=began_s,
        keeps_timeline=keeps_timeline,
    )
    return gang.server.run.remote(spec)


def answer(reference: Any) -> Any:
    """Return an actor's answer; what it raised is raised here as itself."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, UserError | DataError | RunFailedError):
            raise cause from None
        if isinstance(cause, DivergedError):
            raise RunFailedError(str(cause)) from None
        raise RunFailedError(f"the parameter server failed: {cause!r}") from error
    except ray.exceptions.RayActorError as error:
        raise LostActorError(f"the parameter server died: {error}") from error
