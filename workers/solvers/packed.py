"""Sums of a symmetric matrix, a vector and a number as one vector: what `exact` and `newton` add up over shards."""

from __future__ import annotations

import numpy as np

from workers.data.rows import Floats
from workers.exact_sum import Ints


def packed_blocks(width: int) -> tuple[Ints, int]:
    """Return a block for each row of the upper triangle, each place of the vector, and the number; and the length."""
    lengths = np.concatenate([np.arange(width, 0, -1), np.ones(width + 1, dtype=np.int64)])
    return np.cumsum(lengths) - lengths, int(lengths.sum())


def packed(matrix: Floats, vector: Floats, number: float) -> Floats:
    """Return the upper triangle of ``matrix`` (width, width), row by row, then ``vector`` (width,) and ``number``."""
    return np.concatenate([matrix[np.triu_indices(len(vector))], vector, [number]])


def unpacked(sums: Floats, width: int) -> tuple[Floats, Floats, float]:
    """Return the matrix, the vector and the number."""
    matrix = np.zeros((width, width))
    matrix[np.triu_indices(width)] = sums[: -width - 1]
    symmetric: Floats = np.triu(matrix) + np.triu(matrix, 1).T
    return symmetric, sums[-width - 1 : -1], float(sums[-1])
