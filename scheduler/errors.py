"""What can go wrong, and how a person is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workers.errors import did_you_mean


class UserError(Exception):
    """Bad input: the message says what is wrong, where, what was got and what to do. Exit code 2."""


class RunFailedError(Exception):
    """The input was good, the run failed all the same. Exit code 1."""


class LostActorError(RunFailedError):
    """A worker or the parameter server died: the same run on other actors can go well."""


def unknown(kind: str, got: str, choices: Iterable[str]) -> str:
    """Return the message for a name that does not exist, with the nearest one that does."""
    return f"unknown {kind} '{got}'. {did_you_mean(got, choices)}"


def shown(value: Any) -> str:
    """Return a value as a file has it, in one line."""
    text = repr(value)
    if value is None or isinstance(value, bool):
        text = "nothing" if value is None else str(value).lower()
    return text if len(text) <= 80 else text[:77] + "..."
