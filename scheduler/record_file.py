"""The record of an asynchronous run as a file: JSON lines, first a header, then an update a line.

The header is ``{"apportion_record": 1, "job": ..., "data_sha256": ..., "model_sha256": ..., "reason": ...,
"num_updates": ...}``. An update is a list of the calls that were applied together, each as its worker, the number of
updates that its parameters held, the round of its random streams, and its shards in ranges: ``[["worker-2", 12, 4,
"0-3,7"]]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from scheduler.errors import Mistakes, UserError, shown
from scheduler.section import first_mistake
from workers.model import atomic_text
from workers.reading import limited_lines
from workers.record import Record, RecordedCall, Update

RECORD_FILE = "record.jsonl"

MOST_SHARDS = 10_000_000
"""In all different calls of a record; ranges of them are short, and shards are not."""

MOST_OF_A_CALL = 1_000_000

_RANGES = re.compile(r"\d{1,7}(-\d{1,7})?(,\d{1,7}(-\d{1,7})?)*", re.ASCII)
_Whole = Annotated[int, Field(ge=0, lt=2**53, strict=True)]
_CALLS = TypeAdapter(Annotated[list[tuple[str, _Whole, _Whole, str]], Field(min_length=1)])


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    apportion_record: Literal[1] = 1
    job: dict[str, Any]
    data_sha256: str
    model_sha256: str
    reason: str
    num_updates: _Whole


@dataclass(frozen=True)
class StoredRecord:
    """A record, and what it belongs to: the resolved job, its data, and the model that came of it."""

    job: dict[str, Any]
    data_sha256: str
    model_sha256: str
    record: Record


def write_record(path: Path, stored: StoredRecord) -> None:
    """Write a record, whole or not at all; raises ``DataError`` if the file cannot be written."""
    header = _Header(
        job=stored.job,
        data_sha256=stored.data_sha256,
        model_sha256=stored.model_sha256,
        reason=stored.record.reason,
        num_updates=len(stored.record.updates),
    )
    with atomic_text(path) as file:
        file.write(f"{_json(header.model_dump())}\n")
        for update in stored.record.updates:
            calls = [[call.worker, call.read, call.round, in_ranges(call.shards)] for call in update]
            file.write(f"{_json(calls)}\n")


def read_record(path: Path) -> StoredRecord:
    """Read a record.

    Raises
    ------
    UserError
        With the first 20 mistakes of the file: line, what is wrong, what was got.
    """
    lines = _lines(path)
    mistakes, known = Mistakes(path), _Shards(path)
    try:
        header = _Header.model_validate_json(next(lines, ""))
    except ValidationError as error:
        raise UserError(f"{path}:1: not the header of a record: {first_mistake(error)}") from None
    updates = [_update(number, line, known, mistakes) for number, line in enumerate(lines, 2)]
    if len(updates) != header.num_updates:
        mistakes.add(len(updates) + 1, "", f"{header.num_updates} updates are announced, the file has {len(updates)}")
    mistakes.tell()
    record = Record(tuple(updates), header.reason)
    return StoredRecord(header.job, header.data_sha256, header.model_sha256, record)


def in_ranges(shards: Sequence[int]) -> str:
    """Return ``0-3,7`` for shards 0, 1, 2, 3 and 7, which are ascending."""
    ranges: list[list[int]] = []
    for shard in shards:
        if ranges and shard == ranges[-1][1] + 1:
            ranges[-1][1] = shard
        else:
            ranges.append([shard, shard])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from limited_lines(file)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; a run writes it in the modes asp, ssp and backup, and needs none in others"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _update(number: int, line: str, known: _Shards, mistakes: Mistakes) -> Update:
    """Return the update of a line; what is wrong with it is noted."""
    try:
        calls = _CALLS.validate_json(line)
    except ValidationError as error:
        mistakes.add(number, "", f"not an update: {first_mistake(error)}")
        return ()
    found = []
    for worker, read, round_, ranges in calls:
        shards = known[ranges]
        if not shards:
            mistakes.add(number, "", f"shards must be ascending ranges such as '0-3,7', got {shown(ranges)}")
        if read > number - 2:
            mistakes.add(number, "", f"an update cannot have read {read} others: {number - 2} are before it")
        found.append(RecordedCall(worker, read, round_, shards))
    return tuple(found)


class _Shards(dict[str, tuple[int, ...]]):
    """The shards of the ranges of a file, each spelled out once; raises ``UserError`` for more than memory is for."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._num = path, 0

    def __missing__(self, ranges: str) -> tuple[int, ...]:
        """Spell out a range."""
        self[ranges] = found = _shards(ranges)
        self._num += len(found)
        if self._num > MOST_SHARDS:
            raise UserError(f"{self._path}: has over {MOST_SHARDS:,} shards in its calls: no job of ours has left it")
        return found


def _shards(ranges: str) -> tuple[int, ...]:
    """Return the shards of ascending ranges; none where they are not."""
    if not _RANGES.fullmatch(ranges):
        return ()
    found: list[int] = []
    for one in ranges.split(","):
        low, _, high = one.partition("-")
        new = range(int(low), int(high or low) + 1)
        if not new or len(new) + len(found) > MOST_OF_A_CALL or (found and new[0] <= found[-1]):
            return ()
        found += new
    return tuple(found)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
