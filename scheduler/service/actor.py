"""The scheduler service as a Ray actor: detached, started again when it dies, with all that matters in its journal."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray

from policies.interface import Grant
from policies.presets import names_own_code, resolve
from scheduler.errors import UserError
from scheduler.service import answers
from scheduler.service.autoscaling import of_cluster
from scheduler.service.jobs_api import JobsApi, keep
from scheduler.service.journal import Journal
from scheduler.service.leasing import ServiceCluster
from scheduler.service.orders import Command, Desk, Orders
from scheduler.service.records import Heard, JobRecord, State
from scheduler.service.registry import Registry
from scheduler.service.submission import API, read_submission, refuse_other_api
from scheduler.service.tenants import read_tenant
from scheduler.service.turns import Turns

LOOK_S = 0.25
"""How often the cluster is looked at where nobody says anything."""

LONGEST_POLL_S = 2.0
"""How long a driver's question stays open until there is something new."""


class SchedulerService:
    """One queue for all jobs of a cluster. Everything that it takes and answers is plain data.

    Parameters
    ----------
    url
        Of the cluster's dashboard, through which drivers are started; None where there is none.
    """

    def __init__(self, url: str | None) -> None:
        self._broken = "it has just been started"
        try:
            self._set_up(url)
        except Exception as error:  # noqa: BLE001  (Ray would start it again and again)
            self._broken = f"the scheduler service cannot begin: {type(error).__name__}: {error}"
            return
        self._broken = ""
        threading.Thread(target=self._go_on, name="turns", daemon=True).start()

    def _set_up(self, url: str | None) -> None:
        folder = journal_folder()
        folder.mkdir(parents=True, exist_ok=True)
        self._packages = folder / "packages"
        self._lock = threading.RLock()
        self._journal = Journal(folder / "journal.sqlite")
        self._registry = Registry(self._journal)
        self._registry.load(self._journal.jobs(), self._journal.tenants(), self._journal.setting("policy"))
        self._url = url
        self._desk = Desk(int(time.time() * 1000))
        self._changes: dict[str, asyncio.Event] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = threading.Event()
        self._began_s = time.time()
        api = JobsApi(url or "", self._packages)
        autoscaling = of_cluster()
        self._registry.growth = autoscaling.growth
        self._turns = Turns(
            self._registry, self._desk, self._journal, ServiceCluster, api, self._lock, self._tell, autoscaling.ask
        )
        self._turns.begin()
        gc.collect()
        gc.freeze()  # modules and what was loaded stay: looking through them took longer than most decisions

    def __repr__(self) -> str:
        """Say what the dashboard is to show."""
        return "SchedulerService" if self._broken else f"SchedulerService({self._registry.policy})"

    def _go_on(self) -> None:
        """Take one turn after the other; what a turn raises is told, and the next one may go well."""
        while True:
            self._wake.wait(LOOK_S)
            self._wake.clear()
            try:
                self._turns.turn()
            except Exception as error:  # noqa: BLE001  (the queue of a whole cluster must not end with it)
                traceback.print_exception(error)
                self._turns.trouble = f"{type(error).__name__}: {error}"
                time.sleep(LOOK_S)

    def _tell(self, job: str) -> None:
        """Wake the driver that asks for a job's orders."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(lambda: self._changes[job].set() if job in self._changes else None)

    def hello(self, api: int) -> dict[str, Any]:
        """Return what the service is; refuses a client of another version."""
        if self._broken:
            raise UserError(self._broken)
        refuse_other_api(api)
        return {"api": API, "pid": os.getpid(), "began_s": self._began_s, "journal": str(self._journal.path)}

    def has_package(self, sha256: str) -> bool:
        """Say whether files that are to travel with a job are here already."""
        return (self._packages / f"{sha256}.zip").is_file()

    def put_package(self, sha256: str, content: bytes) -> None:
        """Keep files that travel with jobs."""
        keep(self._packages / f"{sha256}.zip", content)

    def submit(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Take a job in; see ``Registry.submit``."""
        submission = read_submission(found)
        if self._url is None and not submission.is_driven:
            raise UserError(
                "this Ray cluster has no dashboard, whose Jobs API starts drivers: 'apportion run' has its own"
            )
        with self._lock:
            with self._registry.together():
                self._turns.watching.free_name(submission.name, time.time())
            record = self._registry.submit(submission, time.time(), self._turns.nodes)
        self._wake.set()
        return self._told(record)

    def _told(self, record: JobRecord) -> dict[str, Any]:
        return answers.summary(record, len(self._desk.orders(record.id).leases))

    def control(self, name: str, act: str, user: str, force: bool) -> dict[str, Any]:
        """Stop, pause or continue a job; see ``Registry.control``."""
        with self._lock:
            record = self._registry.control(name, act, user, force, time.time())
        self._wake.set()
        return self._told(record)

    def resize(self, name: str, least: int | None, most: int | None, user: str, force: bool) -> dict[str, Any]:
        """Let a job have other bounds of its number of workers; see ``Registry.resize``."""
        with self._lock:
            record = self._registry.resize(name, least, most, user, force, time.time(), self._turns.nodes)
        self._wake.set()
        return self._told(record)

    def jobs(self, ended: bool) -> list[dict[str, Any]]:
        """Return all jobs that have not ended, or all there ever were."""
        with self._lock:
            records = self._registry.everyone if ended else tuple(self._registry.live)
            return [self._told(record) for record in records]

    def status(self, name: str) -> dict[str, Any]:
        """Return all that is known of a job, and why it waits."""
        with self._lock:
            record = self._registry.find(name)
            held, found = self._desk.orders(record.id).leases, self._told(record)
            found["leases"] = [{"worker": one.grant.worker, "node": one.grant.node} for one in held]
            if record.state is State.QUEUED:
                found["waits"] = answers.waits(record, self._turns, self._registry, self._desk, time.time())
        return found

    def policy(self) -> dict[str, Any]:
        """Return the cluster's policy, and what keeps it from deciding."""
        return {"policy": self._registry.policy, "trouble": self._turns.trouble}

    def set_policy(self, spec: str | dict[str, Any]) -> dict[str, Any]:
        """Let the cluster have another policy, one of the names and options that are built in."""
        if names_own_code(spec):
            raise UserError("the cluster's policy is one of those that are built in: its service has no code of others")
        resolve(spec)
        with self._lock:
            self._registry.set_policy(spec, time.time())
        self._wake.set()
        return self.policy()

    def set_tenant(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Declare a tenant; see ``Registry.set_tenant``."""
        record = read_tenant(found)
        with self._lock:
            self._registry.set_tenant(record, time.time())
        self._wake.set()
        return record.as_json()

    def tenants(self) -> list[dict[str, Any]]:
        """Return every tenant, what it uses, and what it has used."""
        with self._lock:
            return answers.tenants(self._registry, self._journal, self._turns.nodes, time.time())

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Return what a question of ``scheduler.service.history`` finds in the journal."""
        with self._lock:
            return self._journal.rows(query, values)

    def spec(self, job: str) -> dict[str, Any]:
        """Return what a driver must know of its job."""
        with self._lock:
            record = self._registry[job]
            return {"submission": record.submission.model_dump(mode="json"), "policy": self._registry.policy}

    async def follow(
        self, job: str, attempt: int, seen: int, holds: Sequence[Sequence[Any]], heard: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Hear a driver, and answer with its orders, at once if they are other ones than those that it has ``seen``."""
        self._loop = asyncio.get_running_loop()
        change = self._changes.setdefault(job, asyncio.Event())
        change.clear()
        orders = self._hear(job, attempt, holds, heard)
        if orders.number == seen:
            with suppress(TimeoutError):
                await asyncio.wait_for(change.wait(), LONGEST_POLL_S)
            with self._lock:
                orders = self._desk.orders(job)
        return orders.as_json()

    def _hear(self, job: str, attempt: int, holds: Sequence[Sequence[Any]], heard: Mapping[str, Any]) -> Orders:
        with self._lock:
            if (record := self._driven(job, attempt)) is None:
                return Orders(0, Command.STOP)
            leases = [Grant(name, worker, node, tuple(devices)) for name, worker, node, devices in holds]
            self._desk.hear(job, leases)
            self._turns.watching.hear(record, Heard(**heard), len(leases), time.time())
            return self._desk.orders(job)

    def _driven(self, job: str, attempt: int) -> JobRecord | None:
        """Return the record of a driver's job, None for a driver that was given up, and lives."""
        record = self._registry.get(job)
        if record is None or record.state.has_ended or attempt not in (0, record.num_attempts):
            return None
        return record

    def ended(self, job: str, attempt: int, state: str, reason: str, result: Mapping[str, Any]) -> None:
        """Hear from a driver how its job has ended."""
        with self._lock, self._registry.together():
            if (record := self._driven(job, attempt)) is None:
                return
            self._turns.watching.end(record, State(state), reason, time.time(), result=dict(result))
        self._wake.set()


def journal_folder() -> Path:
    """Return the folder of the cluster's journal: it begins and ends with the cluster."""
    node: Any = ray._private.worker._global_node
    return Path(node.get_session_dir_path()) / "apportion"
