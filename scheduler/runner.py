"""The driver's part of a run, from nodes and data to the saved model; no array passes through it in a round."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

import scheduler
from policies.interface import Policy
from policies.presets import resolve
from scheduler import node_labels
from scheduler.checkpoints.manifest import Kept, Manifest
from scheduler.driving import train
from scheduler.errors import RunFailedError, UserError
from scheduler.gang import Gang
from scheduler.inventory import Inspection, logical_views
from scheduler.job import Job
from scheduler.observer import Observer
from scheduler.outputs import Finished, Summary, conclude
from scheduler.pool import Pool
from scheduler.preparation import Prepared, prepare
from scheduler.run import Keeping, RunResult
from scheduler.service.client import find_service, the_service, user
from scheduler.service.following import QueuedJob
from scheduler.service.submission import Submission, Wishes
from scheduler.session import Session, connect, is_submitted, join
from scheduler.simulation.profile import recorded, refuse_asynchronous
from scheduler.simulation.traces.trace_file import write_trace
from scheduler.simulation.workload import Workload
from workers.environment import environment


@dataclass(frozen=True)
class RunOptions:
    """Where a run runs, and whether it is recorded.

    Attributes
    ----------
    cpus
        The logical processors of an embedded cluster.
    record
        Where to write the run as a trace that can be simulated.
    search
        Where modules of the user's own are looked for.
    anew
        Whether an unfinished run in the job's output is to be forgotten.
    queued
        The job's place in the queue of the connected cluster's service, where it is there already; whoever brings it
        tells the service how the job has ended.
    submission
        The token of its submission there, by which the run is known to be this job's.
    """

    address: str | None = None
    cpus: int | None = None
    record: Path | None = None
    search: tuple[Path, ...] = ()
    anew: bool = False
    queued: QueuedJob | None = None
    submission: str = ""


def run_job(job: Job, policy: Policy, options: RunOptions, observer: Observer) -> Summary:
    """Run a job to the end, on the cluster of ``options`` or an embedded one, and save its model.

    Raises
    ------
    UserError, DataError
        If the input is bad, an unfinished run would be lost, or another run is writing to the same folders.
    RunFailedError
        If the run failed; what was kept of it stays, for ``resume``.
    """
    if options.record is not None:
        refuse_asynchronous(job)
    kept = Kept.of(job)

    def manifest(prepared: Prepared) -> Manifest:
        found = Manifest.of(job, prepared.data.info.fingerprint, options.search, options.submission)
        kept.begin(found)
        return found

    with kept.alone(job.output):
        if not options.anew:
            _refuse_to_forget(job, kept)
        return _run(job, policy, options, observer, kept, manifest)


def _refuse_to_forget(job: Job, kept: Kept) -> None:
    """Refuse to begin where an unfinished run has been going on for long enough that something was kept of it."""
    if number := kept.num_checkpoints:
        raise UserError(
            f"{kept.where} holds {number} checkpoint(s) of an unfinished run: go on with it by 'apportion resume "
            f"{job.output}', forget it with '--anew', or name another output"
        )


def resume_job(
    manifest: Manifest, kept: Kept, job: Job, policy: Policy, options: RunOptions, observer: Observer
) -> Summary:
    """Go on with a run that was begun elsewhere or before, to the same model; raises what ``run_job`` raises."""

    def known(prepared: Prepared) -> Manifest:
        prepared.refuse_other_data(job.output, manifest.data_sha256)
        here = environment().numeric_class
        if job.training.reproducible != "strict" and manifest.numeric_class not in ("", here):
            observer.warned(
                f"the run began on processors that compute with other kernels ({manifest.numeric_class}, here {here}): "
                "the last bits of its model may be others; 'training.reproducible: strict' would keep them"
            )
        if manifest.apportion != scheduler.__version__:
            observer.warned(
                f"the run began with apportion {manifest.apportion}, this is {scheduler.__version__}: the last bits of "
                "its model may be others"
            )
        kept.write(manifest)
        return manifest

    with kept.alone(job.output):
        return _run(job, policy, options, observer, kept, known)


def _run(
    job: Job,
    policy: Policy,
    options: RunOptions,
    observer: Observer,
    kept: Kept,
    manifest: Callable[[Prepared], Manifest],
) -> Summary:
    preparing = start_preparing(job)
    with _session(options) as session:
        observer.connected(session)
        joined = None if options.queued else join_queue(job, session, observer)
        with _concluded(joined) as told:
            prepared = preparing.result()
            run = manifest(prepared).run
            try:
                finished = run_connected(prepared, policy, observer, kept.keeping(job), run, options.queued or joined)
                finished.save(job.output)
            except BaseException:
                _tell_what_is_kept(kept, observer)
                raise
            if options.record is not None and finished.result is not None:
                _record(prepared, finished.result, options.record)
            kept.clear()
            observer.fused(finished.summary)
            told.update(finished.summary.brief())
        return finished.summary


def _session(options: RunOptions) -> AbstractContextManager[Session]:
    return join() if options.queued else connect(options.address, options.cpus)


def _concluded(joined: QueuedJob | None) -> AbstractContextManager[dict[str, Any]]:
    return nullcontext({}) if joined is None else joined.concluded()


def join_queue(job: Job, session: Session, observer: Observer) -> QueuedJob | None:
    """Let a job wait its turn among those of the cluster's service; None where the cluster is ours alone, or has none.

    Who was submitted by Ray's Jobs API to a cluster without a service starts one: the next one that comes is to wait.
    """
    client = None if session.embedded else the_service() if is_submitted() else find_service()
    if client is None:
        return None
    here = ray.get_runtime_context().get_job_id()
    submission = Submission.of(job, user(), Wishes(), is_driven=True, driven_by=here)
    told = client.ask("submit", submission.model_dump(mode="json"))
    return QueuedJob(client, told["job"], 0, observer.waits)


def _tell_what_is_kept(kept: Kept, observer: Observer) -> None:
    """Say how to go on with a run that ends here; where nothing is lost with it, nothing is left of it."""
    with suppress(RunFailedError):  # of a storage that does not answer: what ended the run matters more
        if kept.num_checkpoints:
            observer.kept(kept.folder.path.parent)
        elif not kept.has_journal:
            kept.clear()


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


def run_connected(
    prepared: Prepared,
    policy: Policy | None = None,
    observer: Observer | None = None,
    keeping: Keeping | None = None,
    run: str = "",
    queued: QueuedJob | None = None,
) -> Finished:
    """Run a prepared job on the connected cluster, which is left as it was.

    With its place in the queue, ``queued``, it has the workers that the cluster's service gives it, else those that are
    free now.

    Without a ``policy`` it is the recipe's; modules of the user's own are then looked for in the current folder. With
    ``keeping`` it goes on where ``run`` was, if it was begun before.
    Raises what ``train`` raises, and ``PolicyError`` for a policy that is none.
    """
    chosen = resolve(prepared.job.policy, search=[Path.cwd()]) if policy is None else policy
    watching = observer or Observer()
    started_s = time.perf_counter()
    inspection = Inspection()

    def work(gang: Gang) -> RunResult:
        watching.initialised(inspection.result(), prepared)
        return train(gang, prepared, chosen, watching, keeping, run, None if queued is None else queued.tending)

    with Pool() as pool:
        lender = pool if queued is None else queued
        result = lender.lend(prepared.view(time.time()), chosen, prepared.problem.seed, work)
    watching.communicated(result)
    return conclude(prepared, chosen.name, result, time.perf_counter() - started_s)
