"""Where checkpoints lie: a local folder, or whatever fsspec has an address for. Names are plain, contents are bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scheduler.errors import RunFailedError, UserError
from scheduler.section import is_url
from workers.errors import DataError
from workers.model import WRITING, atomic_bytes

MANIFEST_FILE = "run.json"


@dataclass(frozen=True)
class Numbered:
    """Files that are called by a number, with nine digits, and an ending."""

    ending: str

    def name(self, number: int) -> str:
        """Return what a file is called."""
        return f"{number:09d}.{self.ending}"

    def numbers(self, names: Iterable[str]) -> list[int]:
        """Return the numbers of those of ``names`` that are such files', ascending."""
        return sorted(number for name in names if (number := self._number(name)) is not None)

    def __contains__(self, name: str) -> bool:
        """Say whether a file is called so."""
        return self._number(name) is not None

    def _number(self, name: str) -> int | None:
        match = re.fullmatch(rf"(\d{{9}})\.{self.ending}", name)
        return int(match[1]) if match else None


CHECKPOINTS, JOURNALS = Numbered("checkpoint"), Numbered("journal")


def ours(names: Iterable[str]) -> list[str]:
    """Return those of ``names`` that runs have written."""
    return [
        name
        for name in names
        if name == MANIFEST_FILE or name in CHECKPOINTS or name in JOURNALS or name.startswith(WRITING)
    ]


class Storage(Protocol):
    """Files in one place; each is there whole, or not at all."""

    def names(self) -> list[str]:
        """Return the names of all files, in ascending order."""

    def read(self, name: str) -> bytes | None:
        """Return what a file holds, None if there is none of that name."""

    def write(self, name: str, pieces: Sequence[bytes | memoryview]) -> None:
        """Write a file, whole or not at all; raises ``RunFailedError`` if that cannot be done."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def clear(self) -> None:
        """Remove what runs have written, and the place if nothing else is in it."""


def sweep(storage: Storage) -> None:
    """Remove what was being written when its writer died; nobody else may be writing."""
    for name in storage.names():
        if name.startswith(WRITING):
            storage.remove(name)


class LocalFolder:
    """Files in a folder, which is made when the first is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Return the names of all files, in ascending order."""
        try:
            return sorted(entry.name for entry in self.path.iterdir() if entry.is_file())
        except OSError:
            return []

    def read(self, name: str) -> bytes | None:
        """Return what a file holds, None if it is not there or cannot be read."""
        try:
            return (self.path / name).read_bytes()
        except OSError:
            return None

    def write(self, name: str, pieces: Sequence[bytes | memoryview]) -> None:
        """Write a file, whole or not at all; raises ``RunFailedError`` if that cannot be done."""
        try:
            with atomic_bytes(self.path / name) as file:
                file.writelines(pieces)
        except DataError as error:
            raise RunFailedError(str(error)) from error

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(OSError):
            (self.path / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what runs have written, and the folder if nothing else is in it."""
        for name in ours(self.names()):
            self.remove(name)
        with suppress(OSError):
            self.path.rmdir()


class Url:
    """Files below an address that fsspec knows, such as ``s3://bucket/folder``."""

    def __init__(self, address: str) -> None:
        try:
            import fsspec  # noqa: PLC0415  (an extra)
        except ImportError:
            raise UserError(
                f"checkpoints at {address} need fsspec: install it with 'pip install apportion[fsspec]'"
            ) from None
        try:
            self._files: Any
            self._files, self._root = fsspec.url_to_fs(address)
        except (ValueError, ImportError) as error:
            raise UserError(f"checkpoints at {address}: {error}") from None
        self._address = address

    def names(self) -> list[str]:
        """Return the names of all files, in ascending order; raises ``RunFailedError`` if nobody answers."""
        found = self._asked(self._files.ls, self._root, detail=False) or ()
        return sorted(str(path).rpartition("/")[2] for path in found)

    def _asked(self, question: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return what a file system says, None if something is not there: each has errors of its own for the rest."""
        try:
            return question(*arguments, **options)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise RunFailedError(f"{self._address}: {type(error).__name__}: {error}") from error

    def read(self, name: str) -> bytes | None:
        """Return what a file holds, None if there is none of that name."""
        found = self._asked(self._files.cat_file, f"{self._root}/{name}")
        return None if found is None else bytes(found)

    def write(self, name: str, pieces: Sequence[bytes | memoryview]) -> None:
        """Write a file under another name, and rename it; raises ``RunFailedError`` if that cannot be done."""
        self._asked(self._files.makedirs, self._root, exist_ok=True)
        self._asked(self._files.pipe_file, f"{self._root}/{WRITING}{name}", b"".join(pieces))
        self._asked(self._files.mv, f"{self._root}/{WRITING}{name}", f"{self._root}/{name}")

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        self._asked(self._files.rm_file, f"{self._root}/{name}")

    def clear(self) -> None:
        """Remove what runs have written."""
        for name in ours(self.names()):
            self.remove(name)


def storage_at(where: str) -> LocalFolder | Url:
    """Return the files at a folder, or at an address.

    Raises
    ------
    UserError
        If it is an address, and fsspec is not there or does not know it.
    """
    return Url(where) if is_url(where) else LocalFolder(Path(where))
