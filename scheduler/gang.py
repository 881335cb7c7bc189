"""A gang: a parameter server and its workers, on leases of their own, that take one job after another."""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from policies.interface import Grant, JobView, NodeTable
from scheduler.parameter_server import ParameterServer
from scheduler.ray_cluster import ray_resources, times
from scheduler.run import Seat
from workers.sgd_worker import SgdWorker

TELLING_S = 10.0
"""How long a server has to hear who is to go: one that hangs must not hold up its driver."""


class Lending(Protocol):
    """Who holds a gang's leases."""

    groups: dict[Grant, PlacementGroup]

    def observe(self) -> NodeTable:
        """Return every living node with what is free now."""

    def now_s(self) -> float:
        """Return the time in seconds."""

    def release(self, lease: Grant) -> None:
        """Take a lease back."""


class Gang:
    """The actors of a job, on leases that its cluster holds.

    Parameters
    ----------
    job
        The first job: actors carry its name.

    Attributes
    ----------
    cluster, job
        Who holds its leases, and what it was started for.
    server
        The parameter server's handle. It is there from the start, on the driver's node (Ray might choose the slowest,
        and does so now and then where it is only asked), takes no resources, and outlives its workers.
    started
        The actors' ids of all workers that there ever were.
    call_bytes
        Worker's number -> how many bytes of shards its calls may have, where that is limited.
    """

    def __init__(self, cluster: Lending, job: JobView) -> None:
        self.cluster, self.job = cluster, job
        self._name = f"{job.id}/{secrets.token_hex(3)}"
        self._workers: dict[Grant, tuple[Any, float]] = {}  # and since when
        self._coming: dict[Grant, tuple[Any, Any]] = {}  # and the reference that says when it is there
        self._num_seatings = self._num_servers = 0
        self._num_started: Counter[int] = Counter()
        self.call_bytes: dict[int, float] = {}
        self.started: set[str] = set()
        self.server: Any = self._start_server()

    def _start_server(self) -> Any:
        self._num_servers += 1
        server = ray.remote(ParameterServer).options(
            name=f"{self._name}/parameter-server{times(self._num_servers)}",
            num_cpus=0,
            max_concurrency=3,
            scheduling_strategy=NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False),
        )
        return server.remote(self.job.id)

    def revive(self) -> None:
        """Start another server in place of one that is gone, or does not answer; the workers stay."""
        _end(self.server)
        self.server = self._start_server()
        self._tell()

    @property
    def num_seated(self) -> int:
        """How many workers take part."""
        return len(self._workers)

    @property
    def leases(self) -> tuple[Grant, ...]:
        """Those on which there are workers, or will be, by number."""
        return tuple(sorted({*self._workers, *self._coming}, key=lambda lease: lease.worker))

    def lease_of(self, actor: str) -> Grant | None:
        """Return the lease of a worker by its actor's id, None if it is none of ours any more."""
        found = (lease for lease, (worker, _) in self._workers.items() if worker._actor_id.hex() == actor)
        return next(found, None)

    def replace(self, lease: Grant) -> None:
        """Start another worker on a lease in place of one that is gone."""
        self._dismiss(lease)
        self._start(lease)

    def _dismiss(self, lease: Grant) -> None:
        """End the worker on a lease, whether it takes part by now or not."""
        for known in (self._workers, self._coming):
            if lease in known:
                _end(known.pop(lease)[0])

    def seat(self, leases: Sequence[Grant]) -> None:
        """Let workers on just these leases go on with the job: new ones are started, those on others end.

        New workers take part once they are there (``arrive``); where nobody is, nobody need be waited for.
        """
        gone = [known.pop(lease)[0] for known in (self._workers, self._coming) for lease in set(known) - set(leases)]
        is_first = not self._workers and not self._coming
        for lease in leases:
            if is_first:
                self._workers[lease] = (self._start_worker(lease), self.cluster.now_s())
            elif lease not in self._workers and lease not in self._coming:
                self._start(lease)
        told = self._tell()
        if gone:
            with suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
                ray.get(told, timeout=TELLING_S)  # before they end, so that it is known to be on purpose
        for worker in gone:
            _end(worker)

    def arrive(self) -> tuple[Grant, ...]:
        """Seat those who are there by now, and return the leases of those who died before."""
        found = {ready: lease for lease, (_, ready) in self._coming.items()}
        died, num_before = [], len(self._workers)
        for ready in ray.wait(list(found), num_returns=len(found), timeout=0)[0] if found else ():
            lease = found[ready]
            worker, _ = self._coming.pop(lease)
            try:
                ray.get(ready)
            except ray.exceptions.RayError:
                died.append(lease)
            else:
                self._workers[lease] = (worker, self.cluster.now_s())
        if len(self._workers) > num_before:
            self._tell()
        for lease in died:
            self._start(lease)
        return tuple(died)

    def _start(self, lease: Grant) -> None:
        worker = self._start_worker(lease)
        self._coming[lease] = (worker, worker.__ray_ready__.remote())

    def _tell(self) -> Any:
        """Tell the server who is to work, and return the reference of its answer."""
        self._num_seatings += 1
        return self.server.reseat.remote(self._num_seatings, self._seats())

    def rest(self) -> None:
        """Wait until no worker is at a call of a job that is over."""
        ray.get([worker.__ray_ready__.remote() for worker, _ in self._workers.values()])

    def _seats(self) -> tuple[Seat, ...]:
        """Return the workers by number, each with its part of its node: what that has over the gang's workers there."""
        if not self._workers:
            return ()
        nodes = self.cluster.observe()
        num_there = Counter(lease.node for lease in self._workers)
        found = []
        for lease, (worker, since_s) in sorted(self._workers.items(), key=lambda item: item[0].worker):
            if lease.node not in nodes.row_of:  # it has just died: who tends the gang will notice
                continue
            row = nodes.row_of[lease.node]
            cpu, gpu, memory = (nodes.capacity[row] / num_there[lease.node]).tolist()
            name = worker._actor_id.hex()
            s_per_byte = float(nodes.s_per_byte[row])
            capacity, most = (cpu, gpu, memory), self.call_bytes.get(lease.worker, math.inf)
            found.append(Seat(name, lease.worker, lease.node, capacity, s_per_byte, since_s, worker, most))
        return tuple(found)

    def _start_worker(self, lease: Grant) -> Any:
        bundle = self.job.bundle
        amounts = ray_resources(bundle)
        self._num_started[lease.worker] += 1
        worker = ray.remote(SgdWorker).options(
            name=f"{self._name}/worker-{lease.worker}{times(self._num_started[lease.worker])}",
            num_cpus=amounts.get("CPU", 0),
            num_gpus=amounts.get("GPU", 0),
            memory=amounts.get("memory", 0),
            scheduling_strategy=PlacementGroupSchedulingStrategy(self.cluster.groups[lease]),
        )
        memory = min(bundle.memory, self.call_bytes.get(lease.worker, math.inf))
        started: Any = worker.remote(self.job.id, lease.worker, memory)
        self.started.add(started._actor_id.hex())
        return started

    def stop(self) -> None:
        """End every actor, and give the leases back."""
        for lease in self.leases:
            self._dismiss(lease)
            self.cluster.release(lease)
        _end(self.server)


def _end(actor: Any) -> None:
    with suppress(ray.exceptions.RayError):
        ray.kill(actor)
