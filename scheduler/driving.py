"""One job on a gang: its server is told what to do, watched, and replaced, until there is a result."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Protocol

import ray

from policies.interface import Policy
from scheduler.errors import LostActorError, RunFailedError, UserError
from scheduler.gang import Gang
from scheduler.observer import Observer
from scheduler.preparation import Prepared
from scheduler.run import INLINE_BYTES, Keeping, Loss, Patience, Progress, RunResult, RunSpec
from scheduler.server.calls import how_it_died
from scheduler.session import ship_by_value
from scheduler.tending import Mending, Tending
from workers.data.shard import DataSet
from workers.errors import BadUpdateError, CorruptionError, DataError
from workers.training import DivergedError
from workers.wire import encode

POLL_S = 0.1
"""How often the driver asks for progress; the rounds do not wait for it."""

LONGEST_START_S = 300.0
"""For how long a server that has just been started may not answer: its process starts, on a machine that is busy."""

LONGEST_SILENCE_S = 30.0
"""A server that has not answered for so long hangs, or is cut off."""

FULL = (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError)
STORE_FULL = (
    "Ray's object store is full, or its disk: start Ray with a larger one (--object-store-memory), let the job's data "
    "be read from files, or free references of your own; 'ray memory' lists what is in it"
)


def train(
    gang: Gang,
    prepared: Prepared,
    policy: Policy,
    observer: Observer,
    keeping: Keeping | None = None,
    run: str = "",
    tended: Tended | None = None,
) -> RunResult:
    """Train a prepared job on a gang, its shards divided by the policy's balance.

    Whoever dies meanwhile is replaced, where resources allow: workers, nodes, the server. ``tended`` returns what
    sees to that, from the mending and the most rounds that there are; without one the job is alone.

    Raises
    ------
    UserError, DataError
        If the policy breaks a rule, or the data cannot be read.
    RunFailedError
        If the run failed.
    """
    spec = spec_of(prepared, policy, prepared.job.name, keeping=keeping, run=run)
    mending = Mending(gang, prepared.shard_table.bytes)
    if tended is None:
        tending: Tends = Tending(mending, policy, prepared.problem.seed)
    else:
        tending = tended(mending, prepared.stopping.max_rounds)
    watched = _Watched(observer, prepared, policy)
    done, patience_s = gang.server.run.remote(spec), LONGEST_START_S
    while True:
        try:
            if ray.wait([done], timeout=POLL_S)[0]:
                result: RunResult = answer(done)
                break
            progress = answer(gang.server.progress.remote(watched.num_told), patience_s)
            patience_s = LONGEST_SILENCE_S
        except LostActorError as error:
            mending.revive(error, watched.num_told)
            observer.warned(f"{error}; another one goes on")
            watched.server_changed()
            done, patience_s = gang.server.run.remote(spec), LONGEST_START_S
            continue
        watched.tell(progress)
        for loss in tending.tend(progress, watched.num_told):
            observer.lost(loss)
    watched.conclude(result)
    return result


class Tends(Protocol):
    """What keeps a gang as it is to be."""

    def tend(self, progress: Progress, num_rounds: int) -> tuple[Loss, ...]:
        """Do what is to be done, and return the losses that are new."""


Tended = Callable[[Mending, int], Tends]


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

    def server_changed(self) -> None:
        """Note that another server counts its warnings anew."""
        self._num_warnings = 0

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
    """Return what a server must know to run a job, which it calls ``name``; ``run`` is that of one which goes on.

    Raises
    ------
    RunFailedError
        If the object store has no room for data in memory.
    """
    job, data = prepared.job, prepared.data
    ship_by_value(policy.balance)
    small = data.nbytes.sum() < INLINE_BYTES and not data.source.holds_references
    return RunSpec(
        job=name,
        data=encode(data) if small else _put(data),
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


def _put(data: DataSet) -> Any:
    """Put data into the object store, and return the reference; raises ``RunFailedError`` if there is no room."""
    try:
        return ray.put(data)
    except FULL as error:
        num_bytes = int(data.nbytes.sum())
        raise RunFailedError(f"{num_bytes:,} bytes of data in memory have no room: {STORE_FULL}") from error


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
        if isinstance(cause, FULL):
            raise RunFailedError(STORE_FULL) from error
        raise RunFailedError(f"the parameter server failed: {cause!r}") from error
    except ray.exceptions.RayActorError as error:
        raise LostActorError(f"the parameter server is gone: {how_it_died(error)[0]}") from error
