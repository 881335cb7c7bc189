"""Asking the service across its death: one that was restarted is found, and one that is gone is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError

from scheduler.errors import RunFailedError
from scheduler.service import client
from scheduler.service.client import ServiceClient


class Actor:
    """A service that says its name, or is away."""

    def __init__(self, name: str, error: RayActorError | None = None) -> None:
        self._name, self.error = name, error
        self.hello = SimpleNamespace(remote=self._say)

    def _say(self) -> Any:
        if self.error is not None:
            raise self.error
        return self._name


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Let every rest be over at once."""
    found = SimpleNamespace(now_s=0.0)

    def sleep(rest_s: float) -> None:
        found.now_s += rest_s

    monkeypatch.setattr(client, "time", SimpleNamespace(monotonic=lambda: found.now_s, sleep=sleep))
    monkeypatch.setattr(client, "answer_of", lambda answer: answer)
    return found


def test_the_service_that_was_started_in_place_of_another_is_asked(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Actor("new")
    monkeypatch.setattr(client, "_found", lambda: new if clock.now_s > 5.0 else None)  # for a while there is none
    asks = ServiceClient(Actor("old", ActorDiedError()))
    assert asks.ask("hello") == "new"
    assert clock.now_s < client.LONGEST_ABSENCE_S


def test_one_that_is_away_for_a_moment_is_not_given_up_for_another(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Actor("old", ActorUnavailableError("for a moment", None))
    monkeypatch.setattr(client, "_found", lambda: Actor("new"))
    asks = ServiceClient(old)
    asks.look_again(old.error or AssertionError())
    assert asks.actor is old


def test_a_service_that_does_not_come_back_is_told_of(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_found", lambda: None)
    with pytest.raises(RunFailedError, match="the scheduler service is gone"):
        ServiceClient(Actor("old", ActorDiedError())).ask("hello")
    assert clock.now_s >= client.LONGEST_ABSENCE_S
