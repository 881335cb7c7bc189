"""The service's journal: a SQLite file with every job, lease and decision, from which a service begins again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from policies.interface import Grant, Resources
from scheduler.errors import UserError
from scheduler.service.records import JobRecord, Lease, TenantRecord

VERSION = 1

DRIVER_LOST = "driver lost"
"""The kind of the event that a job's driver has died; its details tell how many rounds were done by then."""

TABLES = f"""
BEGIN;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, tenant TEXT NOT NULL, state TEXT NOT NULL,
    record TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS tenants (name TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS leases (
    number INTEGER PRIMARY KEY, job TEXT NOT NULL, tenant TEXT NOT NULL, worker INTEGER NOT NULL, node TEXT NOT NULL,
    devices TEXT NOT NULL, placement_group TEXT NOT NULL, cpu REAL NOT NULL, gpu REAL NOT NULL, memory REAL NOT NULL,
    since_s REAL NOT NULL, until_s REAL
);
CREATE INDEX IF NOT EXISTS open_leases ON leases (job) WHERE until_s IS NULL;
CREATE TABLE IF NOT EXISTS nodes (id INTEGER PRIMARY KEY, digest TEXT UNIQUE NOT NULL, nodes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY, at_s REAL NOT NULL, version INTEGER NOT NULL, policy TEXT NOT NULL,
    seed INTEGER NOT NULL,
    nodes INTEGER NOT NULL, num_jobs INTEGER NOT NULL, took_s REAL NOT NULL, applied_s REAL NOT NULL,
    since TEXT NOT NULL, grants TEXT NOT NULL, revokes TEXT NOT NULL, unplaced TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, at_s REAL NOT NULL, kind TEXT NOT NULL, job TEXT NOT NULL, user TEXT NOT NULL,
    details TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of_job ON events (job);
PRAGMA user_version = {VERSION};
COMMIT;
"""


class Journal:
    """Keeps records, leases, decisions and events; each call is on the disk when it returns.

    Parameters
    ----------
    path
        The file, or ``:memory:``.

    Raises
    ------
    UserError
        If the file is none of ours, or of another version.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if version not in (0, VERSION):
                raise UserError(f"{path}: a journal of version {version}, this program writes {VERSION}: move it away")
            if tables and not version:
                raise UserError(f"{path}: not a journal of the scheduler service, but another database: move it away")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(TABLES)
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path}: not a journal of the scheduler service: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let everything that is written meanwhile be there together, or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk may have rolled it back already
                self._db.execute("ROLLBACK")
            raise

    def save(self, record: JobRecord) -> None:
        """Keep a job's record in place of the one before."""
        self._db.execute(
            "INSERT INTO jobs (id, tenant, state, record) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, state = excluded.state, record = excluded.record",
            (record.id, record.tenant, record.state.value, json.dumps(record.as_json())),
        )

    def jobs(self) -> list[JobRecord]:
        """Return the records of all jobs, in the order of their submission."""
        rows = self._db.execute("SELECT record FROM jobs ORDER BY number")
        return [JobRecord.of_json(json.loads(record)) for (record,) in rows]

    def save_tenant(self, record: TenantRecord) -> None:
        """Keep a tenant's record in place of the one before."""
        row = (record.tenant.name, json.dumps(record.as_json()))
        self._db.execute("INSERT OR REPLACE INTO tenants VALUES (?, ?)", row)

    def tenants(self) -> list[TenantRecord]:
        """Return the records of all tenants that were declared."""
        rows = self._db.execute("SELECT record FROM tenants ORDER BY name")
        return [TenantRecord.of_json(json.loads(record)) for (record,) in rows]

    def save_setting(self, name: str, value: Any) -> None:
        """Keep a setting of the service."""
        self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def setting(self, name: str) -> Any:
        """Return a setting, None if there is none."""
        row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def open_lease(self, lease: Lease, tenant: str, bundle: Resources) -> None:
        """Write down that a lease is held from now on."""
        grant = lease.grant
        amounts = (bundle.cpu, bundle.gpu, bundle.memory)
        self._db.execute(
            "INSERT INTO leases (job, tenant, worker, node, devices, placement_group, cpu, gpu, memory, since_s) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                grant.job,
                tenant,
                grant.worker,
                grant.node,
                json.dumps(grant.devices),
                lease.group,
                *amounts,
                lease.since_s,
            ),
        )

    def end_lease(self, lease: Lease, now_s: float) -> None:
        """Write down that a lease is held no longer."""
        self._db.execute(
            "UPDATE leases SET until_s = ? WHERE placement_group = ? AND until_s IS NULL", (now_s, lease.group)
        )

    def open_leases(self) -> list[Lease]:
        """Return the leases that are held."""
        rows = self._db.execute(
            "SELECT job, worker, node, devices, placement_group, since_s FROM leases WHERE until_s IS NULL "
            "ORDER BY number"
        )
        return [
            Lease(Grant(job, worker, node, tuple(json.loads(devices))), group, since_s)
            for job, worker, node, devices, group, since_s in rows
        ]

    def attained_s(self, now_s: float) -> dict[str, float]:
        """Return the worker-seconds that every job has had until now, as far as it had any."""
        query = "SELECT job, total(coalesce(until_s, ?) - since_s) FROM leases GROUP BY job"
        return dict(self._db.execute(query, (now_s,)))

    def driver_losses(self) -> dict[str, list[int]]:
        """Return how many rounds of a job were done whenever its driver died, in the order of time."""
        found: dict[str, list[int]] = {}
        for job, details in self._db.execute(
            "SELECT job, details FROM events WHERE kind = ? ORDER BY number", (DRIVER_LOST,)
        ):
            found.setdefault(job, []).append(json.loads(details).get("rounds", 0))
        return found

    def note(self, at_s: float, kind: str, job: str = "", user: str = "", **details: Any) -> None:
        """Write down what has happened."""
        self._db.execute(
            "INSERT INTO events (at_s, kind, job, user, details) VALUES (?, ?, ?, ?, ?)",
            (at_s, kind, job, user, json.dumps(details)),
        )

    def add_nodes(self, digest: str, nodes: Mapping[str, Any]) -> int:
        """Keep what nodes there were, once for each digest, and return its number."""
        self._db.execute("INSERT OR IGNORE INTO nodes (digest, nodes) VALUES (?, ?)", (digest, json.dumps(nodes)))
        (number,) = self._db.execute("SELECT id FROM nodes WHERE digest = ?", (digest,)).fetchone()
        return int(number)

    def add_decision(self, **columns: Any) -> None:
        """Write down a decision; lists and mappings are kept as JSON."""
        values = [value if isinstance(value, int | float | str) else json.dumps(value) for value in columns.values()]
        marks = ", ".join("?" * len(values))
        self._db.execute(f"INSERT INTO decisions ({', '.join(columns)}) VALUES ({marks})", values)  # noqa: S608  (our own names)

    def rows(self, query: str, values: Iterable[Any] = ()) -> list[dict[str, Any]]:
        """Return what a query finds, by the names of its columns; raises ``UserError`` for one that is no question."""
        self._db.execute("PRAGMA query_only = ON")
        try:
            found = self._db.execute(query, tuple(values))
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found]
        except sqlite3.Error as error:
            raise UserError(f"the journal does not answer this: {error}") from None
        finally:
            self._db.execute("PRAGMA query_only = OFF")
