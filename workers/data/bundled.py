"""The small data sets that come with scikit-learn, by name."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from workers.data.array_source import Arrays, ArraySource
from workers.data.source import DataInfo, DtypeChoice, Task
from workers.errors import DataError, did_you_mean

BUNDLED: dict[str, Task] = {
    "breast_cancer": "classification",
    "diabetes": "regression",
    "digits": "classification",
    "iris": "classification",
    "wine": "classification",
}


@dataclass(frozen=True)
class BundledSource(ArraySource):
    """One of `BUNDLED`, with the values and class numbers that scikit-learn's `load_...()` returns."""

    name: str
    dtype: DtypeChoice = "auto"

    def __post_init__(self) -> None:
        if self.name not in BUNDLED:
            raise DataError(f"no bundled data set {self.name!r}. {did_you_mean(self.name, BUNDLED)}")

    @property
    def natural_task(self) -> Task:
        """What the set was made for."""
        return BUNDLED[self.name]

    def describe(self, task: Task) -> DataInfo:
        """Return what the set holds; raise `DataError` for classification of a regression set."""
        if (task, self.natural_task) == ("classification", "regression"):
            raise DataError(f"bundled data set {self.name!r} has no classes. Use task: regression.")
        return super().describe(task)

    def open(self) -> Arrays:
        """Return the set's arrays, loaded once for each process."""
        if self.name not in _loaded:
            _loaded[self.name] = _load(self.name)
        return _loaded[self.name]

    def __reduce__(self) -> tuple[Callable[..., "BundledSource"], tuple[str, DtypeChoice, Arrays | None]]:
        """Travel with the arrays once they are loaded: under 1 MB, where scikit-learn's import takes over a second."""
        return _restore, (self.name, self.dtype, _loaded.get(self.name))


_loaded: dict[str, Arrays] = {}


def _restore(name: str, dtype: DtypeChoice, arrays: Arrays | None) -> BundledSource:
    if arrays is not None:
        _loaded.setdefault(name, arrays)
    return BundledSource(name, dtype)


def _load(name: str) -> Arrays:
    from sklearn import datasets  # noqa: PLC0415  (takes a second to import)

    bunch = getattr(datasets, f"load_{name}")()
    X, names = np.asarray(bunch.data), tuple(map(str, bunch.feature_names))
    return Arrays(f"bundled {name}", X, np.arange(X.shape[1]), np.asarray(bunch.target), names, "target")
