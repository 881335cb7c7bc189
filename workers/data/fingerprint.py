"""One SHA-256 for the same numbers, whatever they were read from and on however many machines they lie.

Rows are hashed in chunks of `CHUNK_ROWS`, and the digests of the chunks are hashed in turn (a hash tree of two levels:
Merkle, "A digital signature based on a conventional encryption function", CRYPTO 1987), so that chunks can be hashed
where they lie, and blocks in which data happen to pass by do not show.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from workers.data.rows import Matrix, is_sparse, rows_of

CHUNK_ROWS = 1 << 16


class MatrixHash:
    """Takes rows block by block; ends as the digests of their chunks.

    A chunk of dense rows, or of a vector, is hashed as little-endian float64 in row order, so float32 data have the
    digest of the same numbers in float64. A chunk of sparse rows is hashed as three runs of numbers: how many values
    each row stores (int64), their columns (int64), the values (float64). So sparse rows have one digest if they store
    no zeros and have their columns in rising order, as the sources give them; it is another than that of dense rows.
    """

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self._open: list[Any] = []
        self._filled = 0

    def add(self, rows: Matrix) -> None:
        """Take the next rows: (n, d) or (n,), dense or sparse."""
        start, num_rows = 0, rows.shape[0]
        while start < num_rows:
            stop = min(num_rows, start + CHUNK_ROWS - self._filled)
            self._update(rows_of(rows, slice(start, stop)))
            self._filled += stop - start
            if self._filled == CHUNK_ROWS:
                self._close()
            start = stop

    def chunks(self) -> tuple[bytes, ...]:
        """Return the digests of the chunks so far; ends the chunk that is open."""
        if self._filled:
            self._close()
        return tuple(self._digests)

    def _update(self, part: Matrix) -> None:
        runs = [(part, "<f8")]
        if is_sparse(part):
            runs = [(np.diff(part.indptr), "<i8"), (part.indices, "<i8"), (part.data, "<f8")]
        self._open = self._open or [sha256() for _ in runs]
        for digest, (values, dtype) in zip(self._open, runs, strict=True):
            digest.update(np.ascontiguousarray(values, dtype=dtype).data)

    def _close(self) -> None:
        digests = [digest.digest() for digest in self._open]
        self._digests.append(digests[0] if len(digests) == 1 else sha256(b"".join(digests)).digest())
        self._open, self._filled = [], 0


def fingerprint(*parts: Iterable[bytes]) -> str:
    """Return the SHA-256 of `parts`: the digests of the chunks of X, of y and, if there are any, of the weights."""
    return sha256(b"".join(sha256(b"".join(chunks)).digest() for chunks in parts)).hexdigest()


def hashed(rows: Matrix) -> Sequence[bytes]:
    """Return the digests of the chunks of all rows at once."""
    matrix_hash = MatrixHash()
    matrix_hash.add(rows)
    return matrix_hash.chunks()
