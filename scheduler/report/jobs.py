"""Jobs and tenants of the scheduler service in the terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

COLOURS = {"running": "green", "failed": "red", "finished": "blue", "queued": "yellow", "held": "yellow"}


def submitted_text(found: Mapping[str, Any]) -> str:
    """Return what is told of a job that has just been handed in."""
    name = found["job"]
    reason = f" ({escape(found['reason'])})" if found["reason"] else ""
    return f"job [bold]{name}[/bold] is {found['state']}{reason}: 'apportion status {name}', 'apportion logs {name} -f'"


def state_text(found: Mapping[str, Any]) -> str:
    """Return a job's state in one line."""
    return (
        f"job [bold]{found['job']}[/bold] is {found['state']}, with {found['workers']} workers "
        f"({found['min_workers']} to {found['max_workers']})"
    )


def jobs_table(found: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for every job."""
    table = Table(title=f"{len(found)} jobs", title_justify="left", box=None, pad_edge=False)
    for name in ("job", "state", "tenant", "user", "workers", "rounds", "loss", "waited", "ran", "note"):
        table.add_column(name, justify="right" if name in ("workers", "rounds", "loss", "waited", "ran") else "left")
    now_s = time.time()
    for one in found:
        started_s, ended_s = one["started_s"], one["ended_s"]
        table.add_row(
            one["job"],
            _state(one["state"]),
            one["tenant"],
            escape(one["user"]),
            f"{one['workers']} of {one['min_workers']}-{one['max_workers']}",
            _rounds(one),
            "" if one["loss"] is None else f"{one['loss']:.4g}",
            duration((started_s or ended_s or now_s) - one["submitted_s"]),
            "" if started_s is None else duration((ended_s or now_s) - started_s),
            escape(one["reason"].splitlines()[0][:80] if one["reason"] else ""),
        )
    return table


def _state(state: str) -> str:
    colour = COLOURS.get(state)
    return f"[{colour}]{state}[/{colour}]" if colour else state


def _rounds(one: Mapping[str, Any]) -> str:
    rounds = one["result"].get("rounds", one["rounds"])
    return f"{rounds}/{one['most_rounds']}" if one["most_rounds"] else ""


def queue_table(found: Sequence[Mapping[str, Any]], policy: Mapping[str, Any]) -> Table:
    """Return a row for every job that waits."""
    title = f"{len(found)} jobs wait; policy {escape(str(policy['policy']))}"
    if policy["trouble"]:
        title += f"\n[red]it decides nothing: {escape(policy['trouble'])}[/red]"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("job", "state", "tenant", "priority", "workers", "waits since", "note"):
        table.add_column(name)
    for one in found:
        since = duration(time.time() - one["submitted_s"])
        least = f"{one['min_workers']}-{one['max_workers']}"
        table.add_row(
            one["job"], _state(one["state"]), one["tenant"], f"{one['priority']:g}", least, since, escape(one["reason"])
        )
    return table


def status_text(found: Mapping[str, Any]) -> str:
    """Return all that is known of a job."""
    lines = [state_text(found), f"tenant {found['tenant']}, submitted by {escape(found['user'] or 'nobody')}"]
    if found["reason"]:
        lines.append(f"[bold]{escape(found['reason'])}[/bold]")
    if found["most_rounds"]:
        loss = "" if found["loss"] is None else f", loss {found['loss']:.6g}"
        lines.append(f"round {_rounds(found)}{loss}")
    if waits := found.get("waits"):
        lines.append(f"waits: {escape(waits['reason'])}")
        fits_in_s = waits["fits_in_s"]
        lines.append(
            "when its workers will be free is not known yet"
            if fits_in_s is None
            else f"its workers fit in {duration(fits_in_s)} at the earliest, if nobody goes before"
        )
    for node, num in sorted(Counter(one["node"][:8] for one in found.get("leases", ())).items()):
        lines.append(f"node {node}: {num} workers")
    if found["preemptions"]:
        lines.append(f"lost all of its workers to others {found['preemptions']} times")
    if result := found["result"]:
        lines.append(f"model {result['model_sha256']}\noutput {escape(result['output'])}")
    return "\n".join(lines)


def tenants_table(found: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for every tenant."""
    table = Table(title=f"{len(found)} tenants", title_justify="left", box=None, pad_edge=False)
    for name in ("tenant", "weight", "quota", "borrows", "jobs", "running", "share now", "CPU hours", "GPU hours"):
        table.add_column(name, justify="left" if name in ("tenant", "quota", "borrows") else "right")
    for one in found:
        quota = one["quota"]
        limits = (
            [] if quota is None else [f"{name} {_amount(name, quota[name])}" for name in quota if quota[name] < 1e12]
        )
        jobs = f"{one['jobs']}" if one["most_jobs"] is None else f"{one['jobs']} (most {one['most_jobs']})"
        table.add_row(
            one["name"] + (f" (of {one['parent']})" if one["parent"] else ""),
            f"{one['weight']:g}",
            ", ".join(limits) or "none",
            "yes" if one["borrows"] else "no",
            jobs,
            str(one["running"]),
            f"{one['share']:.1%}",
            f"{one['cpu_h']:.3f}",
            f"{one['gpu_h']:.3f}",
        )
    return table


def _amount(name: str, amount: float) -> str:
    return f"{amount / 2**30:g} GiB" if name == "memory" else f"{amount:g}"


def duration(seconds: float) -> str:
    """Return seconds as people read them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
