"""The calls that were accepted since the last checkpoint: what a server that died need not have computed again.

Nothing here is needed for a result: a call that is not in the journal is computed again, to the same bits. So it is
written only as far as that costs little beside what it saves, and never waits for the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import IO, Any

import numpy as np

from scheduler.checkpoints.storage import JOURNALS, LocalFolder
from workers.checkpoint import decode_all, pieces
from workers.exact_sum import Ints
from workers.update import CallSums

SHARE = 0.02
"""Of a run's time that may be spent on it."""

LARGEST_BYTES = 64 * 1024**2
"""Of one file: a disk is not filled for what can be computed again."""

FIRST_BYTES_PER_S = 200e6
FIRST_S = 1e-3
"""Until something was written: how fast that is, and what it takes at least."""


class Journal:
    """A file for every checkpoint: the calls that were accepted after it, in their order.

    A call that was left out makes all later ones of its file useless, so that none is written until the next
    checkpoint.
    """

    def __init__(self, folder: LocalFolder, run: str, clock: Callable[[], float]) -> None:
        self._folder, self._run, self._clock = folder, run, clock
        self._began_s = clock()
        self._spent_s = 0.0
        self._num_bytes = 0
        self._file: IO[bytes] | None = None
        self._is_whole = False

    def begin(self, number: int) -> None:
        """Begin the file of a checkpoint, or go on with it."""
        self.close()
        path = self._folder.path / JOURNALS.name(number)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        self._is_whole = self._file is not None

    def accepted(self, version: int, shards: Ints, sums: CallSums, worker: str) -> None:
        """Write down a call, if that is worth it."""
        if not self._is_whole or self._file is None:
            return
        began_s = self._clock()
        num_bytes = sum(part.nbytes for part in (sums.total, sums.apart) if part is not None)
        too_dear = self._spent_s + self._expected_s(num_bytes) > SHARE * (began_s - self._began_s)
        if too_dear or self._file.tell() + num_bytes > LARGEST_BYTES:
            self._is_whole = False
            return
        entry = {
            "run": self._run,
            "version": version,
            "shards": shards.astype(np.int64),
            "total": sums.total,
            "peaks": sums.peaks,
            "apart": sums.apart,
            "worker": worker,
        }
        try:
            self._file.writelines(pieces(entry))
            self._file.flush()  # to the operating system: it outlives this process
        except OSError:
            self._is_whole = False
        self._num_bytes += num_bytes
        self._spent_s += self._clock() - began_s

    def _expected_s(self, num_bytes: int) -> float:
        speed = self._num_bytes / self._spent_s if self._num_bytes and self._spent_s else FIRST_BYTES_PER_S
        return FIRST_S + num_bytes / speed

    def since(self, number: int) -> Iterator[dict[str, Any]]:
        """Yield what was accepted since a checkpoint, as far as it is whole; what is torn is cut off."""
        for first in self._numbers():
            if first < number:
                continue
            end, name = 0, JOURNALS.name(first)
            for entry, end in decode_all(self._folder.read(name) or b""):  # noqa: B007  (the last end is wanted below)
                if entry.get("run") == self._run:
                    yield entry
            with suppress(OSError), (self._folder.path / name).open("r+b") as file:
                file.truncate(end)

    def _numbers(self) -> list[int]:
        return JOURNALS.numbers(self._folder.names())

    def forget(self, number: int) -> None:
        """Remove what was written before a checkpoint."""
        for first in self._numbers():
            if first < number:
                self._folder.remove(JOURNALS.name(first))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._file, self._is_whole = None, False


def sums_of(entry: Mapping[str, Any]) -> CallSums:
    """Return the sums of an entry."""
    return CallSums(entry["total"], entry["peaks"], entry["apart"])
