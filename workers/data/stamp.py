"""The state of a file when it was described, to notice that it has changed since."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from workers.errors import DataError

_NS = 10**9


@dataclass(frozen=True)
class Stamp:
    """Size and time of the last change of a file."""

    size_bytes: int
    modified_ns: int

    def check(self, path: str | Path) -> None:
        """Raise `DataError` that says what has changed, if the file is no longer as it was."""
        now = stamp(path)
        changes = []
        if now.size_bytes != self.size_bytes:
            changes.append(f"it had {self.size_bytes:,} bytes, now {now.size_bytes:,}")
        if not _same_time(now.modified_ns, self.modified_ns):
            changes.append(f"it was last written at {_time(self.modified_ns)}, now at {_time(now.modified_ns)}")
        if changes:
            raise DataError(
                f"{path} has changed since it was described: {' and '.join(changes)}. Start again; where nodes have "
                "copies of the file, copy it with its time (cp -p, rsync -t)."
            )


def stamp(path: str | Path) -> Stamp:
    """Return the state of a file; raise `DataError` if it is not there."""
    try:
        state = Path(path).stat()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', error)}. Check the path.") from error
    return Stamp(state.st_size, state.st_mtime_ns)


def _same_time(one_ns: int, other_ns: int) -> bool:
    """Compare times; some file systems and programs keep whole seconds only."""
    if 0 in (one_ns % _NS, other_ns % _NS):
        return one_ns // _NS == other_ns // _NS
    return one_ns == other_ns


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / _NS, UTC).isoformat(sep=" ", timespec="microseconds")
