"""What the scheduler service's journal tells, in the terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from policies.interface import Grant
from scheduler.service.history import Entry
from scheduler.service.replays import Difference, Replay

MOST_LEASES = 20
"""How many leases of a plan are listed."""


def timeline_table(entries: Sequence[Entry]) -> Table:
    """Return a row for every entry."""
    table = Table(title=f"{len(entries)} entries", title_justify="left", box=None, pad_edge=False)
    for name in ("when", "kind", "job", "what", "by", "took"):
        table.add_column(name, justify="right" if name == "took" else "left")
    for one in entries:
        table.add_row(_when(one.at_s), one.kind, escape(one.job), escape(one.what), escape(_by(one)), _took(one))
    return table


def story_text(job: str, entries: Sequence[Entry], now: str) -> str:
    """Return a line for every entry of one job, and what it does now."""
    lines = [f"job [bold]{job}[/bold]"]
    for one in entries:
        by = f"  [dim](by {escape(_by(one))})[/dim]" if _by(one) else ""
        what = escape(one.what).replace("\n", "\n    ")
        lines.append(f"{_when(one.at_s)}  {one.kind}{f': {what}' if what else ''}{by}")
    return "\n".join([*lines, f"now  {escape(now)}"])


def replay_text(found: Replay) -> str:
    """Return how many decisions are the same when they are asked for again, and the first that is not."""
    lines = [f"{found.agree} decisions are the same when they are asked for again, {found.differ} are not"]
    lines += [f"policy {escape(name)} was not asked: {escape(why)}" for name, why in found.skipped.items()]
    if found.first is not None:
        lines += _difference_lines(found.first)
    return "\n".join(lines)


def _difference_lines(one: Difference) -> list[str]:
    lines = [
        f"the first is decision {one.number} of {_when(one.at_s)}, by {escape(one.policy)} on version {one.version}"
    ]
    lines += ["in the journal:"]
    lines += [*_plan_lines(one.revokes, one.grants), "now:"]
    return lines + ([f"  {escape(one.error)}"] if one.error else _plan_lines(one.revokes_again, one.grants_again))


def _plan_lines(revokes: Sequence[Grant], grants: Sequence[Grant]) -> list[str]:
    signed = [*(("-", one) for one in revokes), *(("+", one) for one in grants)]
    lines = [f"  {sign} {escape(one.job)} worker {one.worker} on node {one.node[:8]}" for sign, one in signed]
    more = len(lines) - MOST_LEASES
    return [*lines[:MOST_LEASES], *([f"  and {more:,} more"] if more > 0 else [])] or ["  nothing"]


def _when(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))


def _by(one: Entry) -> str:
    return one.user if one.version is None else f"{one.policy}, version {one.version}"


def _took(one: Entry) -> str:
    return "" if one.took_s is None or one.applied_s is None else f"{1e3 * one.took_s:.1f}+{1e3 * one.applied_s:.1f} ms"
