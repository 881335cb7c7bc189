"""Asking the scheduler service, from a program that is connected to its cluster."""

from __future__ import annotations

import getpass
import hashlib
import time
from pathlib import Path
from typing import Any, Protocol

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from policies.interface import PolicyError
from scheduler.errors import RunFailedError, UserError
from scheduler.inventory import logical_views
from scheduler.service.actor import SchedulerService
from scheduler.service.jobs_api import packed
from scheduler.service.submission import API
from scheduler.session import NAMESPACE, dashboard_url
from workers.errors import DataError

ACTOR = "scheduler"
LONGEST_ABSENCE_S = 120.0
"""A service that is started again is waited for so long."""

ASK_AGAIN_S = 0.2


class Asks(Protocol):
    """Whoever asks the service."""

    def ask(self, method: str, *values: Any) -> Any:
        """Return the service's answer."""


class ServiceClient:
    """The service of the connected cluster; a question is asked again where the service dies over it."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def ask(self, method: str, *values: Any) -> Any:
        """Return the service's answer.

        Raises
        ------
        UserError
            What the service raises.
        RunFailedError
            If it is gone, and does not come back.
        """
        until_s = time.monotonic() + LONGEST_ABSENCE_S
        while True:
            try:
                return answer_of(getattr(self.actor, method).remote(*values))
            except ray.exceptions.RayActorError as error:
                if time.monotonic() > until_s:
                    raise RunFailedError(f"the scheduler service is gone: {error}") from None
                self.look_again(error)
                time.sleep(ASK_AGAIN_S)

    def look_again(self, error: Exception) -> None:
        """Ask the service from now on that was started in place of one that has died for good: it was restarted."""
        if isinstance(error, ray.exceptions.ActorDiedError):
            self.actor = _found() or self.actor


def answer_of(reference: Any) -> Any:
    """Return an answer of the service; what it raised is raised here as itself."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError | DataError | PolicyError):
            raise error.cause from None
        raise RunFailedError(f"the scheduler service failed: {error.cause!r}") from error


def find_service() -> ServiceClient | None:
    """Return the service of the connected cluster, None if none has been started there."""
    actor = _found()
    return None if actor is None else _greeted(actor)


def _found() -> Any:
    try:
        return ray.get_actor(ACTOR, NAMESPACE)
    except ValueError:
        return None


def the_service() -> ServiceClient:
    """Return the service of the connected cluster; it is started with the first who asks for it."""
    head = next(view.id for view in logical_views() if view.is_head)
    actor = (
        ray.remote(SchedulerService)
        .options(
            name=ACTOR,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            num_cpus=0,
            max_concurrency=10_000,
            scheduling_strategy=NodeAffinitySchedulingStrategy(head, soft=False),
        )
        .remote(dashboard_url())
    )
    return _greeted(actor)


def _greeted(actor: Any) -> ServiceClient:
    client = ServiceClient(actor)
    client.ask("hello", API)
    return client


def restart_service() -> ServiceClient:
    """End the service, and start it with the code of this program; it goes on from its journal."""
    actor = _found()
    if actor is not None:
        ray.kill(actor, no_restart=True)
    until_s = time.monotonic() + LONGEST_ABSENCE_S
    while _found() is not None and time.monotonic() < until_s:  # its name is free once it is gone
        time.sleep(ASK_AGAIN_S)
    return the_service()


def hand_over(service: Asks, folder: Path) -> str:
    """Let the service have a folder's files, unless it has them, and return their SHA-256."""
    content = packed(folder)
    sha256 = hashlib.sha256(content).hexdigest()
    if not service.ask("has_package", sha256):
        service.ask("put_package", sha256, content)
    return sha256


def user() -> str:
    """Return who asks, as this machine knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
