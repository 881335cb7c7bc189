"""What can go wrong, and how a person is told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from workers.errors import MOST_CHARACTERS as MOST_MESSAGE
from workers.errors import brief, did_you_mean, shown

__all__ = [
    "MOST_CHARACTERS",
    "MOST_MISTAKES",
    "LostActorError",
    "Mistakes",
    "RunFailedError",
    "UserError",
    "shown",
    "unknown",
]

MOST_MISTAKES = 20
MOST_CHARACTERS = 500
"""Of what is said of one mistake."""


class UserError(Exception):
    """Bad input: the message says what is wrong, where, what was got and what to do. Exit code 2."""

    def __init__(self, message: str = "") -> None:
        super().__init__(brief(message, MOST_MESSAGE))


class RunFailedError(Exception):
    """The input was good, the run failed all the same. Exit code 1."""


class LostActorError(RunFailedError):
    """A worker or the parameter server died: the same run on other actors can go well."""


class Mistakes:
    """The mistakes of one file, gathered to be told at once: the first 20, and how many more there are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: list[str] = []
        self._num = 0

    def __len__(self) -> int:
        """Count all that was noted."""
        return self._num

    def add(self, line: int, field: str, what: str) -> None:
        """Note a mistake in a line (from 1); ``field`` may be empty."""
        self._num += 1
        if len(self._found) < MOST_MISTAKES:
            where = f"{brief(field)}: " if field else ""
            self._found.append(f"{self.path}:{line}: {where}{brief(what, MOST_CHARACTERS)}")

    def tell(self) -> None:
        """Raise ``UserError`` with what was noted; nothing happens if that is nothing."""
        if self._num:
            raise self.error()

    def error(self) -> UserError:
        """Return the error with what was noted."""
        more = [f"... and {self._num - len(self._found)} more"] if self._num > len(self._found) else []
        return UserError("\n".join([*self._found, *more]))


def unknown(kind: str, got: str, choices: Iterable[str]) -> str:
    """Return the message for a name that does not exist, with the nearest one that does."""
    return f"unknown {kind} '{brief(got)}'. {did_you_mean(got, choices)}"
