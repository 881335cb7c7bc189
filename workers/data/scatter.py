"""From the rows of a source, taken in the order in which they lie there, to their places in memory."""

from collections.abc import Iterator, Sequence

import numpy as np

from workers.data.source import Ints


class Scatter:
    """The rows of `parts`, sorted: the k-th of them in the order of the source, for k in 0..n-1.

    Sources read neighbouring rows and put each to its place, so that nothing but a block is held beside the parts.
    """

    def __init__(self, parts: Sequence[Ints]) -> None:
        self._rows = np.concatenate(parts) if len(parts) else np.zeros(0, dtype=np.int64)
        self._order = np.argsort(self._rows, kind="stable")
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def before(self, rows: Ints | int) -> Ints:
        """Return how many of the sorted rows lie before each of `rows`."""
        return np.searchsorted(self._rows, rows, sorter=self._order)

    def runs(self, max_rows: int) -> list[tuple[int, int, int, int]]:
        """Return spans of the source, at most `max_rows` long, that hold every row; each begins and ends with one.

        They are (first row, last row + 1, begin, end): the sorted rows `begin` to `end` lie in it.
        """
        found, begin = [], 0
        while begin < len(self._rows):
            first = int(self._rows[self._order[begin]])
            end = int(self.before(first + max_rows))
            found.append((first, int(self._rows[self._order[end - 1]]) + 1, begin, end))
            begin = end
        return found

    def places(self, begin: int, end: int) -> Iterator[tuple[int, Ints, Ints]]:
        """Yield (part, places in it, rows of the source) of the sorted rows `begin` to `end`, part by part."""
        order = self._order[begin:end]
        part_of = np.searchsorted(self._starts, order, side="right") - 1
        grouped = order[np.argsort(part_of, kind="stable")]
        parts, counts = np.unique(part_of, return_counts=True)
        for part, chosen in zip(parts.tolist(), np.split(grouped, np.cumsum(counts)[:-1]), strict=True):
            yield part, chosen - self._starts[part], self._rows[chosen]
