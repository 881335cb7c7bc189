"""``apportion jobs``, ``queue``, ``status`` and ``logs``: what the scheduler service knows of jobs."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from scheduler.cli.arguments import AsJson, print_json
from scheduler.cli.reaching import JobName, ServiceAddress, reached
from scheduler.errors import UserError
from scheduler.report.jobs import jobs_table, queue_table, status_text
from scheduler.service.jobs_api import logs_of

Everything = Annotated[bool, typer.Option("--all", help="Also those that have ended.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")]


def jobs(everything: Everything = False, address: ServiceAddress = None, as_json: AsJson = False) -> None:
    """List the jobs of a cluster.

    Example: apportion jobs --all --address auto
    """
    with reached(address) as service:
        found = service.ask("jobs", everything)
    if as_json:
        print_json(found)
    else:
        Console().print(jobs_table(found))


def queue(address: ServiceAddress = None, as_json: AsJson = False) -> None:
    """List the jobs that wait, and the policy that decides.

    Example: apportion queue --address auto
    """
    with reached(address) as service:
        found = [one for one in service.ask("jobs", False) if one["state"] in ("held", "queued")]
        policy = service.ask("policy")
    if as_json:
        print_json({**policy, "jobs": found})
    else:
        Console().print(queue_table(found, policy))


def status(job: JobName, address: ServiceAddress = None, as_json: AsJson = False) -> None:
    """Show a job: what it does, on which nodes, and if it waits, for what and for how long.

    Example: apportion status diabetes --address auto
    """
    with reached(address) as service:
        found = service.ask("status", job)
    if as_json:
        print_json(found)
    else:
        Console().print(status_text(found), highlight=False)


def logs(job: JobName, follow: Follow = False, address: ServiceAddress = None) -> None:
    """Print the log of a job's driver.

    Example: apportion logs diabetes --follow --address auto
    """
    with reached(address) as service:
        found = service.ask("status", job)
        if not found["driver"]:
            raise UserError(f"job {found['job']} has no driver of the service: it is {found['state']}")
        client = logs_of(service.url or "")
        try:
            if follow:
                asyncio.run(_tail(client, found["driver"]))
            else:
                sys.stdout.write(client.get_job_logs(found["driver"]))
        except RuntimeError as error:
            raise UserError(f"the log of job {found['job']} cannot be read: {error}") from None


async def _tail(client: Any, driver: str) -> None:
    async for piece in client.tail_job_logs(driver):
        sys.stdout.write(piece)
        sys.stdout.flush()
