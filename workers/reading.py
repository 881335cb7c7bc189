"""Reading text that anybody may have written: how large a file, a line and a JSON document may be, in one place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO, AnyStr

PAGE_BYTES = 1 << 18
"""Of a file that a person writes: a job, a cluster, a module."""

DOCUMENT_BYTES = 1 << 25
"""Of a JSON document: a model's description, a table of throughputs."""

LINE_LENGTH = 1 << 24
"""Bytes or characters in a line of any file: a row of a million columns."""

MOST_EXPANDED_BYTES, MOST_EXPANSION = 1 << 26, 200
"""What a packed file may become whatever its size; and how many times its size beyond that."""


class TooLargeError(OSError):
    """What is read is larger than anything that is meant; nothing of it was kept."""


def read_bytes(path: str | Path, most_bytes: float = math.inf) -> bytes:
    """Return the content of a file, or of a pipe; raises ``OSError``, ``TooLargeError`` if there is more of it."""
    with Path(path).open("rb") as file:
        content = file.read(-1 if most_bytes == math.inf else int(most_bytes) + 1)
    if len(content) > most_bytes:
        raise TooLargeError(f"it has over {most_bytes:,} bytes")
    return content


def read_text(path: str | Path, most_bytes: float) -> str:
    """Return UTF-8 text, as ``read_bytes`` does; raises ``UnicodeDecodeError``, too."""
    return read_bytes(path, most_bytes).decode("utf-8")


def limited_lines(file: IO[AnyStr], after: int = 0) -> Iterator[AnyStr]:
    """Yield the lines from here on, with their ends; raises ``TooLargeError`` for one over ``LINE_LENGTH``.

    Parameters
    ----------
    after
        How many lines of the file have passed.
    """
    for number in count(after + 1):
        line = file.readline(LINE_LENGTH + 1)
        if not line:
            return
        if len(line) > LINE_LENGTH:
            raise TooLargeError(f"line {number:,} is longer than {LINE_LENGTH:,} characters")
        yield line


def check_expansion(num_bytes: int, packed_bytes: int) -> None:
    """Raise ``TooLargeError`` for what expands to far more than data do: it was packed to fill a memory."""
    if num_bytes > max(MOST_EXPANDED_BYTES, MOST_EXPANSION * packed_bytes):
        raise TooLargeError(
            f"{packed_bytes:,} packed bytes expand to {num_bytes:,} or more, over {MOST_EXPANSION} times as many; "
            "unpack it if you trust it"
        )
