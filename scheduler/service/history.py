"""Questions to the journal: what happened, why a job waited, and the jobs as a trace.

``Rows`` runs a query: ``Journal.rows``, or a service's method of the same name. Pure but for that.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from policies.interface import frozen
from scheduler.errors import UserError, unknown
from scheduler.service.records import JobRecord
from scheduler.simulation.workload import SimulatedJob, Workload

DECISION = "decision"
"""The kind of an entry that tells what a decision gave or took; all other kinds are those of events."""

MOVES = """
WITH moving AS (
    SELECT number, at_s, version, policy, took_s, applied_s, grants, revokes FROM decisions
    WHERE (grants <> '[]' OR revokes <> '[]') AND (?1 IS NULL OR instr(grants || revokes, json_quote(?1)))
    ORDER BY number DESC LIMIT iif(?2 IS NULL, ?3, -1)
), moves AS (
    SELECT moving.*, 1 AS sign, value AS lease FROM moving, json_each(grants)
    UNION ALL SELECT moving.*, -1, value FROM moving, json_each(revokes)
), sums AS (
    SELECT *, json_extract(lease, '$[0]') AS job, json_extract(lease, '$[2]') AS node, sum(sign) AS num
    FROM moves GROUP BY number, job, node, sign
)
SELECT number, at_s, version, policy, took_s, applied_s, job, json_group_array(json_array(num, node)) AS moves
FROM sums WHERE (?1 IS NULL OR job = ?1) AND (?2 IS NULL OR job IN (SELECT id FROM jobs WHERE tenant = ?2))
GROUP BY number, job ORDER BY number DESC, job DESC LIMIT ?3
"""
"""What each of the last decisions gave or took of each job: values are job, tenant (None for all) and how many.

The service waits meanwhile: as few decisions as can be are taken apart.
"""

EVENTS = """
SELECT at_s, kind, job, user, details FROM events
WHERE (?1 IS NULL OR job = ?1) AND (?2 IS NULL OR job IN (SELECT id FROM jobs WHERE tenant = ?2))
    AND (?3 IS NULL OR kind = ?3)
ORDER BY number DESC LIMIT ?4
"""
"""The last events: values are job, tenant and kind (None for all) and how many."""

REFUSALS = """
WITH heard AS (
    SELECT number, at_s, version, policy, took_s, applied_s, json_extract(one.value, '$[1]') AS reason
    FROM decisions, json_each(unplaced) AS one
    WHERE instr(unplaced, json_quote(?1)) AND json_extract(one.value, '$[0]') = ?1
    UNION ALL
    SELECT number, at_s, version, policy, took_s, applied_s, NULL
    FROM decisions, json_each(grants) AS one
    WHERE instr(grants, json_quote(?1)) AND json_extract(one.value, '$[0]') = ?1 GROUP BY number
)
SELECT * FROM (SELECT *, lag(reason) OVER (ORDER BY number) AS before FROM heard)
WHERE reason IS NOT NULL AND reason IS NOT before ORDER BY number
"""
"""The decisions that refused a job for another reason than the one before, or again after it had workers."""

JOBS = """
SELECT record, held_s FROM jobs LEFT JOIN (
    SELECT job, total(coalesce(until_s, ?1) - since_s) AS held_s FROM leases GROUP BY job
) ON job = id ORDER BY number
"""
"""Every job, and the worker-seconds that it had until now (the value; Unix seconds), NULL for none."""

EVERYTHING = -1
"""No limit."""


class Rows(Protocol):
    """Runs a query on a journal."""

    def __call__(self, query: str, values: Sequence[Any] = ..., /) -> list[dict[str, Any]]:
        """Return what it finds, by the names of its columns."""


@dataclass(frozen=True)
class Entry:
    """What happened to a job at one time.

    Attributes
    ----------
    at_s
        Unix time.
    kind
        ``decision``, ``waits`` (the decision refused it), or that of an event: ``submitted``, ``preempted``, ...
    job, user
        Whose it is, and who asked for it; empty where that is nobody.
    what
        In words.
    policy, version
        Who decided, and on which version of the snapshot; of decisions only.
    took_s, applied_s
        How long it took to decide, and to carry it out.
    """

    at_s: float
    kind: str
    job: str
    what: str
    user: str = ""
    policy: str = ""
    version: int | None = None
    took_s: float | None = None
    applied_s: float | None = None


def timeline(
    rows: Rows, limit: int, job: str | None = None, tenant: str | None = None, kind: str | None = None
) -> list[Entry]:
    """Return the last entries, oldest first; decisions that gave and took nothing are left out.

    Raises
    ------
    UserError
        If nothing is known of a tenant, or nothing of that kind has happened yet.
    """
    _refuse_strangers(rows, tenant, kind)
    moves = rows(MOVES, (job, tenant, limit)) if kind in (None, DECISION) else []
    events = rows(EVENTS, (job, tenant, kind, limit)) if kind != DECISION else []
    found = [*map(_event, reversed(events)), *(_decision(row, moved(row["moves"])) for row in reversed(moves))]
    return sorted(found, key=lambda entry: entry.at_s)[-limit:]


def _refuse_strangers(rows: Rows, tenant: str | None, kind: str | None) -> None:
    tenants = [row["name"] for row in rows("SELECT name FROM tenants UNION SELECT tenant FROM jobs")] if tenant else []
    if tenant and tenant not in tenants:
        raise UserError(unknown("tenant", tenant, tenants))
    kinds = [DECISION, *(row["kind"] for row in rows("SELECT DISTINCT kind FROM events"))] if kind else []
    if kind and kind not in kinds:
        raise UserError(unknown("kind", kind, kinds))


def story(rows: Rows, job: str) -> list[Entry]:
    """Return all that happened to a job (its id), oldest first; of refusals in a row with one reason the first."""
    moves = [_decision(row, moved(row["moves"])) for row in reversed(rows(MOVES, (job, None, EVERYTHING)))]
    refusals = [_decision({**row, "job": job}, row["reason"], "waits") for row in rows(REFUSALS, (job,))]
    events = [_event(row) for row in reversed(rows(EVENTS, (job, None, None, EVERYTHING)))]
    return sorted([*events, *refusals, *moves], key=lambda entry: entry.at_s)


def now(status: Mapping[str, Any]) -> str:
    """Return in words what a job does now, and why; ``status`` is the service's answer of that name."""
    if waits := status.get("waits"):
        fits_in_s = waits["fits_in_s"]
        when = "it is not known when" if fits_in_s is None else f"in {fits_in_s:.0f} s at the earliest"
        return f"queued: {waits['reason']}\nits workers will fit: {when}"
    reason = f": {status['reason']}" if status["reason"] else ""
    nodes = _at(Counter(lease["node"] for lease in status.get("leases", ())))
    return f"{status['state']}{reason}{f', with {nodes}' if nodes else ''}"


def moved(moves: str) -> str:
    """Return in words what a decision gave and took, such as ``+2 workers on node abcd1234``."""
    by_gain = sorted(json.loads(moves), key=lambda move: -move[0])
    return ", ".join(f"{num:+d} worker{'s' * (abs(num) != 1)} on node {node[:8]}" for num, node in by_gain)


def _at(nodes: Mapping[str, int]) -> str:
    return ", ".join(f"{num} worker{'s' * (num != 1)} on node {node[:8]}" for node, num in nodes.items())


def _decision(row: Mapping[str, Any], what: str, kind: str = DECISION) -> Entry:
    names = ("at_s", "job", "policy", "version", "took_s", "applied_s")
    return Entry(kind=kind, what=what, **{name: row[name] for name in names})


def _event(row: Mapping[str, Any]) -> Entry:
    told = _told(row["kind"], json.loads(row["details"]))
    return Entry(row["at_s"], row["kind"], row["job"], told, row["user"])


def _told(kind: str, details: Mapping[str, Any]) -> str:
    """Return in words what an event's details say."""
    if kind == "resized":
        return ", ".join(f"at {name} {details[name]} workers" for name in ("least", "most") if details.get(name))
    if kind == "nodes lost":
        return _at(Counter(details["nodes"]))
    reason = details.get("reason") or details.get("why") or details.get("spec")
    return str(reason or (json.dumps(details) if details and "reason" not in details else ""))


def workload(rows: Rows, now_s: float, source: str) -> Workload:
    """Return the jobs as a workload that can be simulated; it begins with the first one's submission, at 0.

    Work and rates are those of the estimate with which a job was submitted. Where there was none the work is what was
    measured: the worker-seconds that it had until ``now_s`` (Unix time), on whatever nodes it had, at 1 a second for
    each worker. Jobs that have had no workers either are left out, as is whom a job was to come after.

    Raises
    ------
    UserError
        If that leaves none.
    """
    found = [(JobRecord.of_json(json.loads(row["record"])), row["held_s"]) for row in rows(JOBS, (now_s,))]
    known = [(record, held_s) for record, held_s in found if record.submission.estimate or held_s]
    if not known:
        raise UserError(f"{source}: no job has had workers yet: there is nothing that could be simulated")
    first_s = min(record.submitted_s for record, _ in known)
    jobs = [_simulated(record, held_s or 0.0, first_s) for record, held_s in known]
    meta = {
        "measured": str(sum(record.submission.estimate is None for record, _ in known)),
        "not ended": str(sum(not record.state.has_ended for record, _ in known)),
        "left out": str(len(found) - len(known)),
    }
    return Workload(tuple(sorted(jobs, key=lambda job: job.view.submitted_s)), source, meta)


def _simulated(record: JobRecord, held_s: float, first_s: float) -> SimulatedJob:
    view = record.view
    view = replace(view, submitted_s=view.submitted_s - first_s, deadline_s=view.deadline_s - first_s)
    if record.submission.estimate is None:
        view = replace(view, work=held_s, rates={"": frozen(np.arange(1.0, view.max_workers + 1))})
    return SimulatedJob(view)


def entries_json(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return entries as plain data."""
    return [vars(entry) for entry in entries]
