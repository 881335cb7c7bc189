"""``apportion history`` and ``why``: what the scheduler service's journal tells."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from scheduler.cli.arguments import AsJson, print_json
from scheduler.cli.reaching import JobName, Reached, ServiceAddress, reached
from scheduler.errors import UserError
from scheduler.report.history import replay_text, story_text, timeline_table
from scheduler.service.history import Rows, entries_json, now, story, timeline, workload
from scheduler.service.replays import replay
from scheduler.simulation.traces.trace_file import write_trace

OfJob = Annotated[str | None, typer.Option("--job", help="Only of this job.")]
OfTenant = Annotated[str | None, typer.Option("--tenant", help="Only of this tenant's jobs.")]
OfKind = Annotated[str | None, typer.Option("--kind", help="Only of this kind, such as decision or preempted.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many entries, the last ones.")]
Trace = Annotated[
    Path | None,
    typer.Option("--trace", metavar="FILE", help="Write the jobs as a trace for 'apportion simulate' instead."),
]
Again = Annotated[bool, typer.Option("--replay", help="Ask the policies for every decision again instead.")]


def history(
    job: OfJob = None,
    tenant: OfTenant = None,
    kind: OfKind = None,
    limit: Limit = 50,
    trace: Trace = None,
    again: Again = False,
    address: ServiceAddress = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened on a cluster; with --trace or --replay, make its jobs a trace or its decisions anew.

    Decisions list what they gave and took, and how long it took to decide, and to carry it out. With --replay the exit
    code is 1 if some decision is another one now.

    Example: apportion history --job diabetes --limit 20 --address auto
    """
    if trace is not None and again:
        raise UserError("give either --trace or --replay")
    with reached(address) as service:
        rows = _rows(service)
        if trace is not None:
            return _write_trace(rows, trace, as_json)
        if again:
            return _ask_again(rows, as_json)
        name = None if job is None else service.ask("status", job)["job"]
        found = timeline(rows, limit, name, tenant, kind)
    if as_json:
        print_json(entries_json(found))
    else:
        Console().print(timeline_table(found))
    return None


def why(job: JobName, address: ServiceAddress = None, as_json: AsJson = False) -> None:
    """Tell a job's story: why it waited, who gave it its workers, where, and who took them; and why it waits now.

    Example: apportion why diabetes --address auto
    """
    with reached(address) as service:
        status = service.ask("status", job)
        found = story(_rows(service), status["job"])
    if as_json:
        print_json({"job": status["job"], "story": entries_json(found), "now": now(status), "status": status})
    else:
        Console().print(story_text(status["job"], found, now(status)), highlight=False)


def _rows(service: Reached) -> Rows:
    def rows(query: str, values: Sequence[Any] = (), /) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = service.ask("rows", query, list(values))
        return found

    return rows


def _write_trace(rows: Rows, path: Path, as_json: bool) -> None:
    found = workload(rows, time.time(), "the journal of a scheduler service")
    write_trace(found, path)
    if as_json:
        print_json({"trace": str(path), "jobs": len(found), **found.meta})
    else:
        told = ", ".join(f"{num} {what}" for what, num in found.meta.items() if num != "0")
        typer.echo(
            f"{len(found)} jobs are in {path}{f' ({told})' if told else ''}: 'apportion simulate --trace {path}'"
        )


def _ask_again(rows: Rows, as_json: bool) -> None:
    found = replay(rows)
    if as_json:
        print_json(asdict(found))
    else:
        Console().print(replay_text(found), highlight=False)
    if found.differ:
        raise typer.Exit(1)
