"""The driver's part of a run, from nodes and data to the saved model; no array passes through it in a round."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from policies.interface import Floats, Grant, NodeTable, Policy
from scheduler.errors import RunFailedError, UserError
from scheduler.inventory import Inspection, NodeView
from scheduler.job import Job
from scheduler.ledger import Ledger
from scheduler.loop import StalePlanError, checked_plan, step
from scheduler.outputs import Finished, Summary, conclude
from scheduler.parameter_server import ParameterServer, RunResult, RunSpec, WorkerReport
from scheduler.preparation import Prepared, prepare
from scheduler.ray_cluster import RayCluster, ray_resources
from scheduler.session import Session, connect, ship_by_value
from workers.errors import DataError
from workers.sgd_worker import SgdWorker
from workers.training import DivergedError, RoundReport

POLL_S = 0.1
"""How often the driver asks for progress; the rounds do not wait for it."""

FREED_LATE_S = 3.0
"""Ray reports freed resources late: how long to look again before saying that a job does not fit."""


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
    """Where a run runs; ``cpus`` are the logical processors of an embedded cluster."""

    address: str | None = None
    cpus: int | None = None


def run_job(job: Job, policy: Policy, options: RunOptions, observer: Observer) -> Summary:
    """Run a job to the end, on the cluster of ``options`` or an embedded one, and save its model.

    Raises
    ------
    UserError, DataError
        If the input is bad.
    RunFailedError
        If the run failed.
    """
    with Preparing(job) as preparing, connect(options.address, options.cpus) as session:
        observer.connected(session)
        prepared = preparing.result()
        finished = run_connected(prepared, policy, observer)
        finished.save(job.output)
        observer.fused(finished.summary)
        return finished.summary


class Preparing:
    """Reads and checks a job's data in a thread, while Ray starts."""

    def __init__(self, job: Job) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1)
        self._future: Future[Prepared] = self._executor.submit(prepare, job)

    def result(self) -> Prepared:
        """Wait for the data, and return the prepared job; raises what ``prepare`` raised."""
        return self._future.result()

    def __enter__(self) -> Preparing:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


def run_connected(prepared: Prepared, policy: Policy, observer: Observer) -> Finished:
    """Run a prepared job on the connected cluster, which is left as it was."""
    started_s = time.perf_counter()
    inspection = Inspection()
    with ExitStack() as stack:
        cluster = RayCluster()
        stack.callback(cluster.release_all)
        grants = _lease(cluster, prepared, policy)
        actors = _Actors(prepared, policy, grants, cluster)
        stack.callback(actors.stop)
        observer.initialised(inspection.result(), prepared)
        result = _follow(actors, prepared, policy, observer)
    observer.communicated(result)
    return conclude(prepared, policy.name, result, time.perf_counter() - started_s)


def _lease(cluster: RayCluster, prepared: Prepared, policy: Policy) -> tuple[Grant, ...]:
    """Let the policy place the job's gang; what others have just given back may show a little late."""
    ledger = Ledger().submit(prepared.view(cluster.now_s()))
    deadline_s = time.monotonic() + FREED_LATE_S
    while True:
        try:
            _, plan = step(cluster, policy, ledger, prepared.problem.seed)
        except StalePlanError as error:
            raise RunFailedError(f"the cluster's free resources kept changing: {error}; try again") from None
        if not plan.unplaced:
            return tuple(sorted(plan.grants, key=lambda grant: grant.worker))
        if time.monotonic() >= deadline_s or not _would_fit_if_free(cluster, prepared, policy):
            break
        time.sleep(POLL_S)
    reasons = "\n".join(str(item) for item in plan.unplaced)
    raise UserError(
        f"job {reasons}\nask for fewer workers (workers.count, --workers) or a smaller workers.bundle, "
        "or use a larger cluster (an embedded one: --cpus)"
    )


def _would_fit_if_free(cluster: RayCluster, prepared: Prepared, policy: Policy) -> bool:
    """Say whether the job would fit on the cluster if nobody else used it."""
    nodes = cluster.observe()
    snapshot = Ledger().submit(prepared.view(0.0)).snapshot(replace(nodes, free=nodes.capacity), 0.0, 0)
    return not checked_plan(policy, snapshot).unplaced


class _Actors:
    """The job's actors: they live as long as the run."""

    def __init__(self, prepared: Prepared, policy: Policy, grants: Sequence[Grant], cluster: RayCluster) -> None:
        job, run = prepared.job, secrets.token_hex(3)
        ship_by_value(policy.balance, prepared.problem.architecture.foreign)
        spec = RunSpec(
            job=job.name,
            data=prepared.data,
            problem=prepared.problem,
            solver=prepared.solver,
            stopping=prepared.stopping,
            standardise=job.training.standardise,
            balance=policy.balance,
            bundle=job.workers.bundle.resources(),
            nodes=tuple(grant.node for grant in grants),
            capacity=_parts_of_nodes(cluster.observe(), grants),
        )
        server = ray.remote(ParameterServer).options(
            name=f"{job.name}/{run}/parameter-server", num_cpus=0, max_concurrency=2
        )
        self.server: Any = server.remote(spec)
        self.workers: list[Any] = []
        data = ray.put(prepared.data)
        for grant in grants:
            amounts = ray_resources(spec.bundle)
            worker = ray.remote(SgdWorker).options(
                name=f"{job.name}/{run}/worker-{grant.worker}",
                num_cpus=amounts.get("CPU", 0),
                num_gpus=amounts.get("GPU", 0),
                memory=amounts.get("memory", 0),
                scheduling_strategy=PlacementGroupSchedulingStrategy(cluster.groups[grant]),
            )
            self.workers.append(worker.remote(job.name, grant.worker, data, spec.bundle.memory))

    def stop(self) -> None:
        """End every actor."""
        for actor in [*self.workers, self.server]:
            with suppress(ray.exceptions.RayError):
                ray.kill(actor)


def _parts_of_nodes(nodes: NodeTable, grants: Sequence[Grant]) -> Floats:
    """Return each worker's part of its node, shape ``(workers, 3)``: what the node has over the workers there."""
    row = {node: number for number, node in enumerate(nodes.ids)}
    num_there = Counter(grant.node for grant in grants)
    return np.array([nodes.capacity[row[grant.node]] / num_there[grant.node] for grant in grants])


def _follow(actors: _Actors, prepared: Prepared, policy: Policy, observer: Observer) -> RunResult:
    """Start the rounds, tell the observer how they go on, and return their result."""
    done = actors.server.run.remote(actors.workers)
    seen, told = 0, False
    finished: list[Any] = []
    while not finished:
        finished, _ = ray.wait([done], timeout=POLL_S)
        progress = _get(actors.server.progress.remote(seen))
        if progress.workers and not told:
            observer.split(prepared, policy, progress.workers)
            told = True
        for report in progress.reports:
            observer.trained(report)
        seen += len(progress.reports)
    result: RunResult = _get(done)
    return result


def _get(reference: Any) -> Any:
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
        raise RunFailedError(f"the parameter server died: {error}") from error
