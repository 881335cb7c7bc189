"""How commands reach the scheduler service: through the cluster's head, or from outside through its dashboard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from scheduler.errors import UserError
from scheduler.service.client import Asks, find_service, the_service
from scheduler.service.gateway import Gateway
from scheduler.session import connect

ServiceAddress = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="HOST:PORT of the Ray head, or from outside http://HOST:PORT of its dashboard (default: RAY_ADDRESS).",
    ),
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="The job's name, as 'apportion jobs' lists it.")]
LeastWorkers = Annotated[int | None, typer.Option("--min-workers", min=1, help="The least number of workers.")]
MostWorkers = Annotated[int | None, typer.Option("--max-workers", min=1, help="The largest number of workers.")]
Force = Annotated[bool, typer.Option("--force", help="Also if the job is another user's.")]


class Reached:
    """The service, and where the dashboard of its cluster is."""

    def __init__(self, service: Asks, url: str | None) -> None:
        self.service, self.url = service, url

    def ask(self, method: str, *values: Any) -> Any:
        """Return the service's answer."""
        return self.service.ask(method, *values)


@contextmanager
def reached(address: str | None, starts: bool = False, folder: Path | None = None) -> Iterator[Reached]:
    """Reach the service of a cluster; with ``starts`` it is started where there is none.

    Raises
    ------
    UserError
        If no address is given, no cluster answers there, or none has a service.
    """
    where = address or os.environ.get("RAY_ADDRESS")
    if not where or where == "local":
        raise UserError(
            "which cluster? Give --address HOST:PORT of a Ray head or http://HOST:8265 of its dashboard, or set "
            "RAY_ADDRESS ('auto' for the one on this machine)"
        )
    if where.startswith(("http://", "https://")):
        yield Reached(Gateway(where, folder), where)
        return
    with connect(where) as session:
        client = the_service() if starts else find_service()
        if client is None:
            raise UserError(
                f"no scheduler service runs on the cluster at {where}: it is started by the first 'apportion submit'"
            )
        yield Reached(client, session.dashboard_url)
