"""NumPy's headers and archives, read so that nothing is unpickled and no memory is asked for on a header's word."""

from __future__ import annotations

import lzma
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.errors import DataError, brief, did_you_mean, shown
from workers.reading import check_expansion

UNREADABLE = (
    *(OSError, ValueError, EOFError, OverflowError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, NotImplementedError, RuntimeError, KeyError),
)
"""What Python and NumPy raise for files that are damaged, or packed in a way that they do not know."""

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_SUFFIX = ".npy"
MOST_DIMENSIONS = 8


class Header(NamedTuple):
    """What an array's header claims, and where its values begin."""

    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def nbytes(self) -> int:
        """How many bytes the values take; of any size, since it is only a claim."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes], num_bytes: int) -> Header:
    """Return the header of an array in a file of ``num_bytes``.

    Raises
    ------
    ValueError
        If it is none, names objects or structures, or claims other values than the file has room for.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its format is of version {version}, not one of {list(_HEADERS)}")
    header = Header(*_HEADERS[version](file), file.tell())
    if header.dtype.hasobject:
        raise ValueError("it holds objects, which would have to be unpickled")
    plain = header.dtype.kind in "biufcUS" and header.dtype.itemsize and len(header.shape) <= MOST_DIMENSIONS
    if not plain or not all(_is_size(size) for size in header.shape):
        raise ValueError(f"it holds {brief(str(header.dtype))} of shape {shown(header.shape)}")
    if header.nbytes > num_bytes - header.offset:
        raise ValueError(f"its header claims {header.nbytes:,} bytes, it has {num_bytes - header.offset:,}")
    return header


def file_header(path: str | Path) -> Header | None:
    """Return the header of a ``.npy`` file, None for a ``.npz``; raises ``DataError`` if it is neither."""
    try:
        with Path(path).open("rb") as file:
            if file.read(2) == b"PK":
                return None
            file.seek(0)
            return read_header(file, os.fstat(file.fileno()).st_size)
    except UNREADABLE as error:
        raise unreadable(path, error) from error


class Archive:
    """The arrays of an opened ``.npz``."""

    def __init__(self, path: str | Path, archive: zipfile.ZipFile) -> None:
        self.path, self._zip = path, archive
        self._members = {
            member.filename.removesuffix(_SUFFIX): member
            for member in archive.infolist()
            if member.filename.endswith(_SUFFIX)
        }

    @property
    def names(self) -> list[str]:
        """The arrays' names."""
        return list(self._members)

    @property
    def is_packed(self) -> bool:
        """Whether anything in it is compressed."""
        return any(member.compress_type != zipfile.ZIP_STORED for member in self._members.values())

    def header(self, name: str) -> Header:
        """Return the header of an array; raises ``DataError`` if there is none, or it expands beyond all measure."""
        with self._opened(name) as file:
            return read_header(file, self._members[name].file_size)

    def array(self, name: str) -> NDArray[Any]:
        """Return an array; raises ``DataError``, as ``header``, and for texts that are none."""
        with self._opened(name) as file:
            header = read_header(file, self._members[name].file_size)
            values = np.empty(math.prod(header.shape), dtype=header.dtype)
            fill(file, values)
            if header.dtype.kind == "U":
                _check_characters(values.view(header.dtype.byteorder.replace("|", "=") + "u4"))
        return values.reshape(header.shape, order="F" if header.by_columns else "C")

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        if name not in self._members:
            raise DataError(f"{self.path}: no array {brief(name)!r}. {did_you_mean(name, self._members)}")
        member = self._members[name]
        try:
            check_expansion(member.file_size, member.compress_size)
            with self._zip.open(member) as file:
                yield file
        except UNREADABLE as error:
            if isinstance(error, DataError):
                raise
            raise unreadable(self.path, error, f", array {brief(name)!r}") from error


@contextmanager
def opened_archive(path: str | Path) -> Iterator[Archive]:
    """Open a ``.npz``; raises ``DataError`` if it is none."""
    try:
        with Path(path).open("rb") as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
                raise DataError(f"{path} is not an .npz file. Name it as npy, not npz.")
        archive = zipfile.ZipFile(path)
    except DataError:
        raise
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    with archive:
        yield Archive(path, archive)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48


def _check_characters(codes: NDArray[np.uint32]) -> None:
    """Raise ``ValueError`` for numbers that are no characters, or half a pair of some."""
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():
        raise ValueError("it holds texts that are none")


def fill(file: IO[bytes], values: NDArray[Any]) -> None:
    """Read values from where the file is; raises ``EOFError`` if it ends before."""
    memory = memoryview(values.reshape(-1).view(np.uint8).data)
    done = 0
    while done < len(memory):
        count = file.readinto(memory[done:])  # type: ignore[attr-defined]  # binary files have it
        if not count:
            raise EOFError(f"it ends {len(memory) - done:,} bytes too early")
        done += count


def unreadable(path: str | Path, error: BaseException, where: str = "") -> DataError:
    """Return the `DataError` for a file that NumPy or we cannot read."""
    reason = brief(str(error) or type(error).__name__, 300)
    return DataError(
        f"{path}{where} cannot be read as NumPy data: {reason}. "
        "Check the path; save numbers (no objects) with numpy.save or numpy.savez."
    )
