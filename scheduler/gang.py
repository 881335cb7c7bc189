"""A gang: a parameter server and its workers, on leases of their own, that take one job after another."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from policies.interface import Floats, Grant, JobView, NodeTable, Policy
from policies.tables import rows_of
from scheduler.errors import RunFailedError, UserError
from scheduler.ledger import Ledger
from scheduler.loop import StalePlanError, checked_plan, step
from scheduler.parameter_server import ParameterServer
from scheduler.ray_cluster import RayCluster, ray_resources
from workers.sgd_worker import SgdWorker

LOOK_AGAIN_S = 0.1

FREED_LATE_S = 3.0
"""Ray reports freed resources late: how long to look again before saying that a job does not fit."""


class Gang:
    """The leases and actors of some workers, from its creation to ``stop``.

    Parameters
    ----------
    job
        The first job: actors and leases carry its name.
    make_room
        Called when the job does not fit; frees something and returns True, or returns False.

    Attributes
    ----------
    server, workers
        Handles of the actors; worker ``i`` runs on ``nodes[i]``.
    capacity
        Each worker's part of its node, shape ``(workers, 3)``: what the node has over the gang's workers there.

    Raises
    ------
    UserError
        If the job does not fit; names every shortfall.
    RunFailedError
        If the cluster kept changing under the plans.
    """

    def __init__(self, job: JobView, policy: Policy, seed: int, make_room: Callable[[], bool]) -> None:
        self._cluster = RayCluster()
        self._name = f"{job.id}/{secrets.token_hex(3)}"
        self._actors: list[Any] = []
        try:
            grants = _lease(self._cluster, job, policy, seed, make_room)
            self.nodes = tuple(grant.node for grant in grants)
            self.capacity = _parts_of_nodes(self._cluster.observe(), grants)
            self.server = self._start_server(job, len(grants))
            self.workers = [self._start_worker(job, grant) for grant in grants]
        except BaseException:
            self.stop()
            raise

    def _start_server(self, job: JobView, num_workers: int) -> Any:
        server = ray.remote(ParameterServer).options(
            name=f"{self._name}/parameter-server", num_cpus=0, max_concurrency=2
        )
        self._actors.append(server.remote(job.id, num_workers))
        return self._actors[-1]

    def _start_worker(self, job: JobView, grant: Grant) -> Any:
        amounts = ray_resources(job.bundle)
        worker = ray.remote(SgdWorker).options(
            name=f"{self._name}/worker-{grant.worker}",
            num_cpus=amounts.get("CPU", 0),
            num_gpus=amounts.get("GPU", 0),
            memory=amounts.get("memory", 0),
            scheduling_strategy=PlacementGroupSchedulingStrategy(self._cluster.groups[grant]),
        )
        self._actors.append(worker.remote(job.id, grant.worker, job.bundle.memory))
        return self._actors[-1]

    def stop(self) -> None:
        """End every actor, and give the leases back."""
        while self._actors:
            with suppress(ray.exceptions.RayError):
                ray.kill(self._actors.pop())
        self._cluster.release_all()


def _lease(
    cluster: RayCluster, job: JobView, policy: Policy, seed: int, make_room: Callable[[], bool]
) -> tuple[Grant, ...]:
    """Let the policy place the job's gang; what others have just given back may show a little late."""
    ledger = Ledger()
    ledger.submit(job)
    deadline_s = time.monotonic() + FREED_LATE_S
    while True:
        try:
            plan = step(cluster, policy, ledger, seed)
        except StalePlanError as error:
            raise RunFailedError(f"the cluster's free resources kept changing: {error}; try again") from None
        if not plan.unplaced:
            return tuple(sorted(plan.grants, key=lambda grant: grant.worker))
        if make_room():
            deadline_s = time.monotonic() + FREED_LATE_S
        elif time.monotonic() >= deadline_s or not _would_fit_if_free(cluster, ledger, policy):
            break
        time.sleep(LOOK_AGAIN_S)
    reasons = "\n".join(str(item) for item in plan.unplaced)
    raise UserError(
        f"job {reasons}\nask for fewer workers (workers.count, --workers), a smaller workers.bundle or fewer "
        "workers.labels, or use a larger cluster (an embedded one: --cpus)"
    )


def _would_fit_if_free(cluster: RayCluster, ledger: Ledger, policy: Policy) -> bool:
    """Say whether the job would fit on the cluster if nobody else used it."""
    nodes = cluster.observe()
    snapshot = ledger.snapshot(nodes.emptied(), 0.0, 0)
    return not checked_plan(policy, snapshot).unplaced


def _parts_of_nodes(nodes: NodeTable, grants: Sequence[Grant]) -> Floats:
    """Return each worker's part of its node, shape ``(workers, 3)``: what the node has over the workers there."""
    row = rows_of(nodes.ids)
    num_there = Counter(grant.node for grant in grants)
    return np.array([nodes.capacity[row[grant.node]] / num_there[grant.node] for grant in grants])
