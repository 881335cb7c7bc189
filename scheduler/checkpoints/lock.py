"""One run at a time in a folder, by the kernel's own lock, which goes with its holder however that ends."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from scheduler.errors import UserError
from workers.errors import brief

LOCK_FILE = ".lock"
LARGEST_BYTES = 1000
MOST_ATTEMPTS = 100
"""To lock a file that others are just removing."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made if need be, and removed again if nothing has come to be in it.

    Nobody is kept out where files cannot be locked, or the folder cannot be written: whoever writes there will say so.

    Raises
    ------
    UserError
        If another run is there, with what it has written of itself.
    """
    path, unwanted = folder / LOCK_FILE, _gone_if_empty(folder)
    held = _taken(path)
    try:
        yield
    finally:
        if held is not None:
            if _is(held, path):
                with suppress(OSError):
                    path.unlink()  # while it is held: nobody else can have taken it
            os.close(held)
        for place in unwanted:
            with suppress(OSError):  # of one that is not empty
                place.rmdir()


def _gone_if_empty(folder: Path) -> list[Path]:
    """Return the folders that are to go if nothing is in them: those that are not there yet, or not empty now."""
    try:
        return [folder] if any(folder.iterdir()) else []
    except OSError:
        return [place for place in (folder, *folder.parents) if not place.exists()]


def _taken(path: Path) -> int | None:
    """Lock a file, and write down whose it is; None where that cannot be done."""
    if sys.platform == "win32":
        return None
    for _ in range(MOST_ATTEMPTS):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except (FileNotFoundError, FileExistsError):  # another run is just removing the folder
            continue
        except OSError:
            return None
        if not _lock(file, path):
            return None
        if _is(file, path):
            with suppress(OSError):  # of a disk that is full: it is locked all the same
                os.ftruncate(file, 0)
                os.write(file, _me().encode())
            return file
        os.close(file)  # another run has just removed it: what is locked is a file without a name
    return None


def _lock(file: int, path: Path) -> bool:
    """Lock an open file, and say whether that can be done here; raises ``UserError`` if it is another's."""
    import fcntl  # noqa: PLC0415  (not on Windows)

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = os.read(file, LARGEST_BYTES).decode(errors="replace").strip()
        os.close(file)
        raise UserError(
            f"{path.parent}: another run is writing there{f' ({brief(who)})' if who else ''}: wait until it has ended, "
            "stop it, or name another output"
        ) from None
    except OSError:
        os.close(file)
        with suppress(OSError):
            path.unlink()
        return False
    return True


def _is(file: int, path: Path) -> bool:
    """Say whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def _me() -> str:
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return f"process {os.getpid()} on {socket.gethostname()}, since {now}\n"
