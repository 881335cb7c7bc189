"""A driver's side of the queue: it asks for its job's leases, seats workers on them, and follows every change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import ray
from ray.util.placement_group import PlacementGroup

from policies.interface import Grant, JobView, NodeTable, Policy, PolicyError
from scheduler.errors import RunFailedError, UserError
from scheduler.gang import Gang
from scheduler.inventory import logical_views, node_table
from scheduler.run import Loss, Progress
from scheduler.service.client import LONGEST_ABSENCE_S, ServiceClient, answer_of
from scheduler.service.leasing import group_with
from scheduler.service.orders import Command, Orders
from scheduler.service.records import Heard, State
from scheduler.tending import Mending
from workers.errors import DataError

T = TypeVar("T")

LOOK_S = 0.1


class StoppedError(RunFailedError):
    """The job was stopped, by its user or because its driver was given up; what was kept of it stays."""


class LentCluster:
    """The leases that the service has given a job, as a gang wants to see them."""

    def __init__(self) -> None:
        self.groups: dict[Grant, PlacementGroup] = {}

    def observe(self) -> NodeTable:
        """Return every living node with what is free now."""
        return node_table(logical_views())

    def now_s(self) -> float:
        """Return the wall clock, as ``time.time()`` tells it."""
        return time.time()

    def release(self, lease: Grant) -> None:
        """Leave a lease to the service, which takes it back once it hears that nobody is on it."""
        self.groups.pop(lease, None)


class QueuedJob:
    """A job of the queue, as its driver sees it.

    Parameters
    ----------
    attempt
        Which of the job's drivers this is; 0 for a client that drives its own job.
    waits
        Told why the job waits, when it does, now and then.
    """

    def __init__(self, client: ServiceClient, name: str, attempt: int, waits: Callable[[str], None]) -> None:
        self.name = name
        self._client, self._attempt, self._waits = client, attempt, waits
        self._cluster = LentCluster()
        self._orders = Orders()
        self._holds: tuple[Grant, ...] = ()
        self._heard = Heard()
        self._question: Any = None
        self._silent_since_s: float | None = None

    def lend(self, job: JobView, policy: Policy, seed: int, work: Callable[[Gang], T]) -> T:
        """Wait for the job's workers, and do ``work`` with a gang of them; see ``Pool.lend``."""
        del policy, seed  # the cluster's policy decides
        gang: Gang | None = None
        try:
            self._await_workers()
            gang = Gang(self._cluster, job)
            self.seat(gang)
            return work(gang)
        finally:
            if gang is not None:
                gang.stop()

    def _await_workers(self) -> None:
        told = ""
        while not self._orders.leases:
            if self.news(Heard()) is None:
                ray.wait([self._question], timeout=LOOK_S)
                continue
            if not self._orders.leases and not told:
                waits = self._client.ask("status", self.name).get("waits") or {}
                told = str(waits.get("reason") or "")
                self._waits(told)

    def news(self, heard: Heard) -> Orders | None:
        """Let the service know how the job goes on; return its orders if they are new.

        Raises
        ------
        StoppedError
            If the job is to stop.
        RunFailedError
            If the service is gone, and does not come back.
        """
        self._heard = heard
        if self._question is None:
            self._ask()
        if not ray.wait([self._question], timeout=0)[0]:
            return None
        question, self._question = self._question, None
        try:
            orders = Orders.of_json(answer_of(question))
        except ray.exceptions.RayActorError as error:
            self._refuse_to_wait_for_ever(error)
            self._client.look_again(error)
            return None
        self._silent_since_s = None
        if orders.command is Command.STOP:
            raise StoppedError(f"job {self.name} was stopped")
        if orders.number == self._orders.number:
            self._ask()
            return None
        self._orders = orders
        self._cluster.groups |= {one.grant: group_with(one.group) for one in orders.leases}
        return orders

    def _ask(self) -> None:
        holds = [list(vars(one).values()) for one in self._holds]
        self._question = self._client.actor.follow.remote(
            self.name, self._attempt, self._orders.number, holds, asdict(self._heard)
        )

    def _refuse_to_wait_for_ever(self, error: Exception) -> None:
        now_s = time.monotonic()
        self._silent_since_s = self._silent_since_s or now_s
        if now_s - self._silent_since_s > LONGEST_ABSENCE_S:
            raise RunFailedError(f"the scheduler service is gone: {error}")
        time.sleep(LOOK_S)

    def seat(self, gang: Gang) -> None:
        """Let the gang's workers be on the leases of the orders, and the service know."""
        grants = tuple(one.grant for one in self._orders.leases)
        gang.seat(grants)
        for gone in set(self._cluster.groups) - set(grants):
            self._cluster.release(gone)
        self._holds = grants
        self._ask()  # what was asked before is answered, too, and nobody reads it

    def tending(self, mending: Mending, most_rounds: int) -> Following:
        """Return what keeps a gang of this job as the service wants it."""
        return Following(self, mending, most_rounds)

    def conclude(self, state: State, reason: str = "", result: Mapping[str, Any] | None = None) -> None:
        """Tell the service how the job has ended."""
        self._client.ask("ended", self.name, self._attempt, state.value, reason, dict(result or {}))

    @contextmanager
    def concluded(self) -> Iterator[dict[str, Any]]:
        """Tell the service at the end how it went; the result is what the block puts into the dictionary."""
        result: dict[str, Any] = {}
        try:
            yield result
        except (StoppedError, KeyboardInterrupt) as error:
            self.conclude(State.STOPPED, str(error) or "interrupted")
            raise
        except (UserError, PolicyError, DataError, RunFailedError) as error:
            self.conclude(State.FAILED, str(error))
            raise
        self.conclude(State.FINISHED, "", result)


class Following:
    """Keeps a gang on the leases that the service gives, and replaces actors that are gone."""

    def __init__(self, queued: QueuedJob, mending: Mending, most_rounds: int) -> None:
        self._queued, self._mending, self._most_rounds = queued, mending, most_rounds
        self._loss: float | None = None

    def tend(self, progress: Progress, num_rounds: int) -> tuple[Loss, ...]:
        """Seat the workers as they are to be by now, and return the losses that are new; raises as ``Tending.tend``."""
        gang = self._mending.gang
        new, changed = self._mending.mend(progress, num_rounds)
        self._loss = progress.reports[-1].loss if progress.reports else self._loss
        orders = self._queued.news(Heard(progress.num_rounds, self._most_rounds, self._loss))
        staying = {one.grant for one in orders.leases} if orders is not None else set(gang.leases)
        for lease in changed:
            if lease in staying:
                gang.replace(lease)
        if orders is not None:
            self._queued.seat(gang)
        elif changed:
            gang.seat(gang.leases)
        return new
