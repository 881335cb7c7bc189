"""``apportion stop``, ``pause`` and ``resize``: jobs of the scheduler service."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from scheduler.cli.arguments import AsJson, print_json
from scheduler.cli.reaching import Force, JobName, LeastWorkers, MostWorkers, ServiceAddress, reached
from scheduler.errors import UserError
from scheduler.report.jobs import state_text
from scheduler.service.client import user


def stop(job: JobName, force: Force = False, address: ServiceAddress = None, as_json: AsJson = False) -> None:
    """Stop a job; what was kept of it stays, and 'apportion resume OUTPUT' goes on with it.

    Example: apportion stop diabetes --address auto
    """
    act(job, "stop", force, address, as_json)


def pause(job: JobName, force: Force = False, address: ServiceAddress = None, as_json: AsJson = False) -> None:
    """Take a job's workers away until 'apportion resume JOB'; nothing of what it has learnt is lost.

    Example: apportion pause diabetes --address auto
    """
    act(job, "pause", force, address, as_json)


def act(job: str, what: str, force: bool, address: str | None, as_json: bool) -> None:
    """Let the service do something to a job, and print what became of it."""
    with reached(address) as service:
        _print(service.ask("control", job, what, user(), force), as_json)


def resize(
    job: JobName,
    min_workers: LeastWorkers = None,
    max_workers: MostWorkers = None,
    force: Force = False,
    address: ServiceAddress = None,
    as_json: AsJson = False,
) -> None:
    """Let a job have more or fewer workers, from its next round on; its model stays the same.

    Example: apportion resize diabetes --min-workers 1 --max-workers 8 --address auto
    """
    if min_workers is None and max_workers is None:
        raise UserError("to what? Give --min-workers, --max-workers, or both")
    with reached(address) as service:
        _print(service.ask("resize", job, min_workers, max_workers, user(), force), as_json)


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        Console().print(state_text(found), highlight=False)
