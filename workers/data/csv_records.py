"""The records of a CSV file, block by block: a block begins and ends where records do, so it can be read alone."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple

from workers.errors import DataError, Problems
from workers.reading import LINE_LENGTH

HEADER_BYTES, BLOCK_BYTES = 1 << 12, 1 << 20
_BOM = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """One row: its number among the data rows, from 1, the line where it starts, and its stripped cells."""

    row: int
    line: int
    cells: list[str]

    @property
    def place(self) -> str:
        """Where this record is, for a message."""
        return f"row {self.row} (line {self.line})"


class Place(NamedTuple):
    """Where a block begins: bytes, lines and records (the header is one) that lie before it."""

    offset: int
    line: int
    record: int


@dataclass(frozen=True)
class Block:
    """Whole records of a file, undecoded."""

    path: str | Path
    place: Place
    data: bytes

    @cached_property
    def records(self) -> list[Record]:
        """The records; blank lines do not count. Raise `DataError` for what is no CSV."""
        return _tokenise(self, whole=True)[0]

    @cached_property
    def lines(self) -> list[str] | None:
        """The lines, if each is a record that commas alone divide (no quotes, no blank lines); else None."""
        data = self.data
        if b'"' in data:
            return None
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        if b"\r" in data or b"\n\n" in data or data.startswith(b"\n"):
            return None
        return data.removesuffix(b"\n").decode().split("\n")

    @property
    def num_records(self) -> int:
        """How many records there are."""
        return len(self.records) if self.lines is None else len(self.lines)

    @property
    def end(self) -> Place:
        """Where the next block begins."""
        offset, line, record = self.place
        lines = self.data.count(b"\n") if b"\r" not in self.data else len(self.data.splitlines())
        return Place(offset + len(self.data), line + lines, record + self.num_records)


def read_blocks(path: str | Path) -> Iterator[Block]:
    """Yield the whole file; the first block is the header alone.

    Raise `DataError` if the file is not there, not UTF-8, or not CSV.
    """
    with open_bytes(path) as file:
        place = Place(len(_BOM) if file.read(len(_BOM)) == _BOM else 0, 0, 0)
        file.seek(place.offset)
        rest, read, size_bytes = b"", b"+", HEADER_BYTES
        while read:
            read = file.read(size_bytes)
            data = rest + read
            end = _end_of_lines(data) if read else len(data)
            block = _whole_records(Block(path, place, data[:end]), at_end=not read)
            rest = data[len(block.data) :]
            if block.data:
                yield block
                place, size_bytes = block.end, BLOCK_BYTES
            elif len(rest) > LINE_LENGTH:
                raise DataError(
                    f"{path}, line {place.line + 1}: a row of over {LINE_LENGTH:,} bytes. Is it a CSV, with an end to "
                    "every line?"
                )
            else:
                size_bytes *= 2  # a long line, or a long text in quotes


def read_block(file: IO[bytes], path: str | Path, place: Place, size_bytes: int) -> Block:
    """Return the block that lies at `place` of an opened file."""
    file.seek(place.offset)
    return Block(path, place, file.read(size_bytes))


def open_bytes(path: str | Path) -> IO[bytes]:
    """Open a file; raise `DataError` if that fails."""
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check the path.") from error


def with_header(path: str | Path) -> tuple[list[str], Iterator[Block]]:
    """Return the column names and the blocks of data; raise `DataError` for names that are empty or not unique."""
    blocks = read_blocks(path)
    header = next((record for block in blocks for record in block.records), None)
    if header is None:
        raise DataError(f"{path} is empty. Give a header with column names, and rows.")
    problems = Problems(str(path))
    first: dict[str, int] = {}
    for place, name in enumerate(header.cells, start=1):
        where = f"header (line {header.line}), column {place}"
        if not name:
            problems.add(where, "", "has an empty name", "Name every column.")
        elif first.setdefault(name, place) != place:
            problems.add(where, "", f"repeats the name {name!r} of column {first[name]}", "Rename one of them.")
    problems.check()
    return header.cells, blocks


def _end_of_lines(data: bytes) -> int:
    """Return where the last whole line ends; a carriage return at the very end may be half a line end."""
    return data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1


def _whole_records(block: Block, *, at_end: bool) -> Block:
    """Return the block without the part of a record at its end; the header alone, if it is the first."""
    is_header = block.place.record == 0
    if is_header or b'"' in block.data:
        records, size_bytes = _tokenise(block, whole=at_end, most=1 if is_header else None)
        block = replace(block, data=block.data[:size_bytes])
        block.__dict__["records"] = records  # so that they are not looked for again
    elif not block.data.isascii():
        try:
            block.data.decode()
        except UnicodeDecodeError:
            _tokenise(block, whole=True)  # says where
    return block


def _tokenise(block: Block, *, whole: bool, most: int | None = None) -> tuple[list[Record], int]:
    """Return the records (at most `most`) and their bytes; one without end is left out unless `whole`."""
    path, (_, line, row) = block.path, block.place
    records: list[Record] = []
    taken = size_bytes = 0

    def lines() -> Iterator[str]:
        nonlocal taken
        for text in block.data.splitlines(keepends=True):
            taken += len(text)
            yield text.decode()

    reader = csv.reader(lines(), strict=True)
    try:
        for cells in reader:
            if cells:
                records.append(Record(row + len(records), line + 1, list(map(str.strip, cells))))
            line, size_bytes = block.place.line + reader.line_num, taken
            if len(records) == most:
                break
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text after line {line}: {error}. Save it as UTF-8.") from error
    except csv.Error as error:
        if whole or taken < len(block.data):
            raise DataError(f"{path}, line {line + 1}: no CSV: {error}. Look for an open quote.") from error
    return records, size_bytes
