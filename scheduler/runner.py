"""The driver's part of a run, from nodes and data to the saved model; no array passes through it in a round."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from policies.interface import Policy
from policies.presets import resolve
from scheduler import node_labels
from scheduler.checkpoints.manifest import Kept, Manifest
from scheduler.errors import LostActorError, RunFailedError, UserError
from scheduler.gang import Gang
from scheduler.inventory import Inspection, NodeView, logical_views
from scheduler.job import Job
from scheduler.outputs import Finished, Summary, conclude
from scheduler.pool import Pool
from scheduler.preparation import Prepared, prepare
from scheduler.run import INLINE_BYTES, Keeping, Loss, Patience, Progress, RunResult, RunSpec, WorkerReport
from scheduler.server.calls import how_it_died
from scheduler.session import Session, connect, ship_by_value
from scheduler.simulation.profile import recorded, refuse_asynchronous
from scheduler.simulation.traces.trace_file import write_trace
from scheduler.simulation.workload import Workload
from scheduler.tending import Mending, Tending
from workers.environment import environment
from workers.errors import BadUpdateError, CorruptionError, DataError
from workers.training import DivergedError, RoundReport
from workers.wire import encode

POLL_S = 0.1
"""How often the driver asks for progress; the rounds do not wait for it."""

LONGEST_SILENCE_S = 30.0
"""A server that has not answered for so long hangs, or is cut off."""

STORE_FULL = (
    "start Ray with a larger one (--object-store-memory), let the job's data be read from files, or free "
    "references of your own; 'ray memory' lists what is in it"
)


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

    def restored(self, num_rounds: int) -> None:
        """Hear that so many rounds need not be computed again."""

    def lost(self, loss: Loss) -> None:
        """Hear that a worker is gone; what it had to do, others do."""

    def warned(self, text: str) -> None:
        """Hear what a user should know."""

    def kept(self, output: Path) -> None:
        """Hear that the run ends here, and can be gone on with."""

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
    search
        Where modules of the user's own are looked for.
    anew
        Whether an unfinished run in the job's output is to be forgotten.
    """

    address: str | None = None
    cpus: int | None = None
    record: Path | None = None
    search: tuple[Path, ...] = ()
    anew: bool = False


def run_job(job: Job, policy: Policy, options: RunOptions, observer: Observer) -> Summary:
    """Run a job to the end, on the cluster of ``options`` or an embedded one, and save its model.

    Raises
    ------
    UserError, DataError
        If the input is bad, or an unfinished run would be lost.
    RunFailedError
        If the run failed; what was kept of it stays, for ``resume``.
    """
    if options.record is not None:
        refuse_asynchronous(job)
    kept = Kept.of(job)
    if not options.anew:
        _refuse_to_forget(job, kept)

    def manifest(prepared: Prepared) -> Manifest:
        found = Manifest.of(job, prepared.data.info.fingerprint, job.policy, options.search)
        kept.begin(found)
        return found

    return _run(job, policy, options, observer, kept, manifest)


def _refuse_to_forget(job: Job, kept: Kept) -> None:
    """Refuse to begin where an unfinished run has been going on for long enough that something was kept of it."""
    if number := kept.num_checkpoints:
        raise UserError(
            f"{job.output} holds an unfinished run, of which {number} checkpoint(s) were kept: go on with it by "
            f"'apportion resume {job.output}', forget it with '--anew', or name another output"
        )


def resume_job(
    manifest: Manifest, kept: Kept, job: Job, policy: Policy, options: RunOptions, observer: Observer
) -> Summary:
    """Go on with a run that was begun elsewhere or before, to the same model; raises what ``run_job`` raises."""

    def known(prepared: Prepared) -> Manifest:
        found = prepared.data.info.fingerprint
        if found != manifest.data_sha256:
            raise UserError(
                f"{job.output}: the data has changed since the run began: its fingerprint was {manifest.data_sha256}, "
                f"and is {found}"
            )
        here = environment().numeric_class
        if job.training.reproducible != "strict" and manifest.numeric_class not in ("", here):
            observer.warned(
                f"the run began on processors that compute with other kernels ({manifest.numeric_class}, here {here}): "
                "the last bits of its model may be others; 'training.reproducible: strict' would keep them"
            )
        kept.write(manifest)
        return manifest

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
    with connect(options.address, options.cpus) as session:
        observer.connected(session)
        prepared = preparing.result()
        run = manifest(prepared).run
        try:
            finished = run_connected(prepared, policy, observer, kept.keeping(job), run)
        except BaseException:
            if kept.num_checkpoints:
                observer.kept(kept.folder.path.parent)
            else:  # nothing is lost with it
                kept.clear()
            raise
        finished.save(job.output)
        if options.record is not None and finished.result is not None:
            _record(prepared, finished.result, options.record)
        kept.clear()
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


def run_connected(
    prepared: Prepared,
    policy: Policy | None = None,
    observer: Observer | None = None,
    keeping: Keeping | None = None,
    run: str = "",
) -> Finished:
    """Run a prepared job on the connected cluster, which is left as it was.

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
        return train(gang, prepared, chosen, watching, keeping, run)

    with Pool() as pool:
        result = pool.lend(prepared.view(time.time()), chosen, prepared.problem.seed, work)
    watching.communicated(result)
    return conclude(prepared, chosen.name, result, time.perf_counter() - started_s)


def train(
    gang: Gang,
    prepared: Prepared,
    policy: Policy,
    observer: Observer,
    keeping: Keeping | None = None,
    run: str = "",
) -> RunResult:
    """Train a prepared job on a gang, its shards divided by the policy's balance.

    Whoever dies meanwhile is replaced, where resources allow: workers, nodes, the server.

    Raises
    ------
    UserError, DataError
        If the policy breaks a rule, or the data cannot be read.
    RunFailedError
        If the run failed.
    """
    spec = spec_of(prepared, policy, prepared.job.name, keeping=keeping, run=run)
    mending = Mending(gang, prepared.shard_table.bytes)
    tending = Tending(mending, policy, prepared.problem.seed)
    watched = _Watched(observer, prepared, policy)
    done = gang.server.run.remote(spec)
    while True:
        try:
            if ray.wait([done], timeout=POLL_S)[0]:
                result: RunResult = answer(done)
                break
            progress = answer(gang.server.progress.remote(watched.num_told), LONGEST_SILENCE_S)
        except LostActorError as error:
            mending.revive(error, watched.num_told)
            observer.warned(f"{error}; another one goes on")
            done = gang.server.run.remote(spec)
            continue
        watched.tell(progress)
        for loss in tending.tend(progress, watched.num_told):
            observer.lost(loss)
    watched.conclude(result)
    return result


class _Watched:
    """What an observer was told of a run so far."""

    def __init__(self, observer: Observer, prepared: Prepared, policy: Policy) -> None:
        self._observer, self._prepared, self._policy = observer, prepared, policy
        self._split, self._num_warnings = False, 0
        self.num_told = 0

    def tell(self, progress: Progress) -> None:
        """Tell what is new, rounds once every shard has its worker."""
        if progress.workers and not self._split:
            if progress.restored:
                self._observer.restored(progress.restored)
            self._observer.split(self._prepared, self._policy, progress.workers)
            self._split = True
        for report in progress.reports if self._split else ():
            self._observer.trained(report)
            self.num_told += 1
        for warning in progress.warnings[self._num_warnings :]:
            self._observer.warned(warning)
        self._num_warnings = len(progress.warnings)

    def conclude(self, result: RunResult) -> None:
        """Tell what is left."""
        self.tell(Progress(result.reports[self.num_told :], result.workers, restored=result.restored))


def spec_of(
    prepared: Prepared,
    policy: Policy,
    name: str,
    began_s: float = 0.0,
    keeps_timeline: bool = False,
    keeping: Keeping | None = None,
    run: str = "",
) -> RunSpec:
    """Return what a server must know to run a job, which it calls ``name``; ``run`` is that of one which goes on."""
    job, data = prepared.job, prepared.data
    ship_by_value(policy.balance)
    small = data.nbytes.sum() < INLINE_BYTES and not data.source.holds_references
    return RunSpec(
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
        run=run or secrets.token_hex(8),
        began_s=began_s,
        keeps_timeline=keeps_timeline,
        keeping=keeping,
        patience=Patience(job.recovery.silent_s, job.recovery.stuck_s),
    )


def answer(reference: Any, within_s: float | None = None) -> Any:
    """Return an actor's answer; what it raised is raised here as itself, and ``LostActorError`` where none comes."""
    try:
        return ray.get(reference, timeout=within_s)
    except ray.exceptions.GetTimeoutError:
        raise LostActorError(f"the parameter server has not answered for {within_s:g} s") from None
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, UserError | DataError | RunFailedError):
            raise cause from None
        if isinstance(cause, DivergedError | CorruptionError | BadUpdateError):
            raise RunFailedError(str(cause)) from None
        if isinstance(cause, ray.exceptions.ObjectStoreFullError | ray.exceptions.OutOfDiskError):
            raise RunFailedError(f"Ray's object store is full, or its disk: {STORE_FULL}") from error
        raise RunFailedError(f"the parameter server failed: {cause!r}") from error
    except ray.exceptions.RayActorError as error:
        raise LostActorError(f"the parameter server is gone: {how_it_died(error)[0]}") from error
