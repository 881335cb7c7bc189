"""A gang: a parameter server and its workers, on leases of their own, that take one job after another."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from policies.interface import Grant, JobView
from scheduler.parameter_server import ParameterServer
from scheduler.ray_cluster import RayCluster, ray_resources
from scheduler.run import Seat
from workers.sgd_worker import SgdWorker


class Gang:
    """The actors of a job, on leases that its cluster holds.

    Parameters
    ----------
    job
        The first job: actors carry its name.

    Attributes
    ----------
    server
        The parameter server's handle. It is there from the start, on the driver's node (Ray might choose the slowest,
        and does so now and then where it is only asked), takes no resources, and outlives its workers.
    """

    def __init__(self, cluster: RayCluster, job: JobView) -> None:
        self._cluster, self._job = cluster, job
        self._name = f"{job.id}/{secrets.token_hex(3)}"
        self._workers: dict[Grant, tuple[Any, float]] = {}  # and since when
        self._num_seatings = 0
        self._num_started: Counter[int] = Counter()
        server = ray.remote(ParameterServer).options(
            name=f"{self._name}/parameter-server",
            num_cpus=0,
            max_concurrency=2,
            scheduling_strategy=NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False),
        )
        self.server: Any = server.remote(job.id)

    def seat(self, leases: Sequence[Grant]) -> None:
        """Let workers on just these leases go on with the job: new ones are started, those on others end."""
        gone = [self._workers.pop(lease) for lease in list(self._workers) if lease not in leases]
        for lease in leases:
            if lease not in self._workers:
                self._workers[lease] = (self._start_worker(lease), self._cluster.now_s())
        self._num_seatings += 1
        told = self.server.reseat.remote(self._num_seatings, self._seats())
        if gone:
            ray.get(told)  # before they end, so that it is known to be on purpose
        for worker, _ in gone:
            _end(worker)

    def rest(self) -> None:
        """Wait until no worker is at a call of a job that is over."""
        ray.get([worker.__ray_ready__.remote() for worker, _ in self._workers.values()])

    def _seats(self) -> tuple[Seat, ...]:
        """Return the workers by number, each with its part of its node: what that has over the gang's workers there."""
        if not self._workers:
            return ()
        nodes = self._cluster.observe()
        num_there = Counter(lease.node for lease in self._workers)
        found = []
        for lease, (worker, since_s) in sorted(self._workers.items(), key=lambda item: item[0].worker):
            row = nodes.row_of[lease.node]
            cpu, gpu, memory = (nodes.capacity[row] / num_there[lease.node]).tolist()
            name = worker._actor_id.hex()
            s_per_byte = float(nodes.s_per_byte[row])
            found.append(Seat(name, lease.worker, lease.node, (cpu, gpu, memory), s_per_byte, since_s, worker))
        return tuple(found)

    def _start_worker(self, lease: Grant) -> Any:
        bundle = self._job.bundle
        amounts = ray_resources(bundle)
        self._num_started[lease.worker] += 1
        again = f".{num}" if (num := self._num_started[lease.worker]) > 1 else ""
        worker = ray.remote(SgdWorker).options(
            name=f"{self._name}/worker-{lease.worker}{again}",
            num_cpus=amounts.get("CPU", 0),
            num_gpus=amounts.get("GPU", 0),
            memory=amounts.get("memory", 0),
            scheduling_strategy=PlacementGroupSchedulingStrategy(self._cluster.groups[lease]),
        )
        return worker.remote(self._job.id, lease.worker, bundle.memory)

    def stop(self) -> None:
        """End every actor, and give the leases back."""
        for lease in list(self._workers):
            _end(self._workers.pop(lease)[0])
            self._cluster.release(lease)
        _end(self.server)


def _end(actor: Any) -> None:
    with suppress(ray.exceptions.RayError):
        ray.kill(actor)
