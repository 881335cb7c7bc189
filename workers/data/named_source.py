"""Data sets by name: those that scikit-learn brings or fetches, and those of OpenML."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from workers.data.memory_source import MemorySource
from workers.data.rows import Dense, Rows
from workers.data.source import DataInfo, DtypeChoice, Ints, Source, Task
from workers.errors import DataError, did_you_mean

BUNDLED: dict[str, Task] = {
    "breast_cancer": "classification",
    "diabetes": "regression",
    "digits": "classification",
    "iris": "classification",
    "wine": "classification",
}
"""What comes with scikit-learn: `load_...`."""

FETCHED: dict[str, Task] = {
    "20newsgroups_vectorized": "classification",
    "california_housing": "regression",
    "covtype": "classification",
    "lfw_pairs": "classification",
    "olivetti_faces": "classification",
}
"""What scikit-learn downloads once, into its `data_home`: `fetch_...`."""

UNFIT = {
    "20newsgroups": "it is text: take 20newsgroups_vectorized",
    "kddcup99": "it has columns of text: write it to a CSV, and set text: one-hot",
    "lfw_people": "it has more than 1000 classes: take lfw_pairs",
    "linnerud": "it has three targets: write one of them and the features to a CSV",
    "rcv1": "its rows have several labels each",
    "species_distributions": "it is a set of maps",
}
"""What scikit-learn has besides, and why it is no table with one target."""


class _LoadedSource(Source):
    """A source that is loaded into memory once for each process."""

    @abstractmethod
    def load(self) -> MemorySource:
        """Return the arrays; raise `DataError` if they cannot be had."""

    def describe(self, task: Task) -> DataInfo:
        """Load the set and check it; raise `DataError` if it cannot be had, or is unfit."""
        return self._memory().describe(task)

    def read(self, rows: Ints, info: DataInfo) -> Rows:
        """Return copies of the n `rows`."""
        return self._memory().read(rows, info)

    def __reduce__(self) -> tuple[Callable[..., _LoadedSource], tuple[Any, ...]]:
        """Travel with the arrays once they are loaded.

        Other nodes may have no network, and importing scikit-learn takes over a second.
        """
        return _restore, (type(self), astuple(self), _loaded.get(self))  # type: ignore[call-overload]

    def _memory(self) -> MemorySource:
        if self not in _loaded:
            _loaded[self] = self.load()
        return _loaded[self]


_loaded: dict[_LoadedSource, MemorySource] = {}


def _restore(kind: Callable[..., _LoadedSource], fields: tuple[Any, ...], memory: MemorySource | None) -> _LoadedSource:
    source = kind(*fields)
    if memory is not None:
        _loaded.setdefault(source, memory)
    return source


@dataclass(frozen=True)
class NamedSource(_LoadedSource):
    """One of `BUNDLED` or `FETCHED`, with the values and class numbers that scikit-learn's function returns.

    `data_home` is where fetched sets are kept: by default where scikit-learn does (`SCIKIT_LEARN_DATA`, or
    `~/scikit_learn_data`).
    """

    name: str
    dtype: DtypeChoice = "auto"
    data_home: str | None = None

    def __post_init__(self) -> None:
        if self.name in UNFIT:
            raise DataError(f"data set {self.name!r} cannot be used: {UNFIT[self.name]}.")
        if self.name not in BUNDLED | FETCHED:
            raise DataError(f"no data set {self.name!r}. {did_you_mean(self.name, BUNDLED | FETCHED)}")

    @property
    def natural_task(self) -> Task:
        """What the set was made for."""
        return (BUNDLED | FETCHED)[self.name]

    def describe(self, task: Task) -> DataInfo:
        """Return what the set holds; raise `DataError` for classification of a regression set, or without network."""
        if (task, self.natural_task) == ("classification", "regression"):
            raise DataError(f"data set {self.name!r} has no classes. Use task: regression.")
        return super().describe(task)

    def load(self) -> MemorySource:
        """Return the set's arrays."""
        from sklearn import datasets  # noqa: PLC0415  (takes a second to import)

        if self.name in BUNDLED:
            bunch = getattr(datasets, f"load_{self.name}")()
        else:
            loader = f"fetch_{self.name}"
            bunch = _fetched(loader, self.data_home, lambda: getattr(datasets, loader)(data_home=self.data_home))
        names = bunch.get("feature_names")
        return MemorySource(
            bunch.data, bunch.target, feature_names=names, dtype=self.dtype, name=f"data set {self.name!r}"
        )


@dataclass(frozen=True)
class OpenmlSource(_LoadedSource):
    """A set of OpenML, `NAME` or `NAME@VERSION` (default: the version that is active), with its default target.

    Nominal features become one 0/1 feature `name=value` for each of their values. `data_home` is where sets are kept,
    as for `NamedSource`. (Vanschoren et al., "OpenML: networked science in machine learning", SIGKDD Explorations
    2014.)
    """

    name: str
    dtype: DtypeChoice = "auto"
    data_home: str | None = None

    def __post_init__(self) -> None:
        name, _, version = self.name.partition("@")
        if not name or ("@" in self.name and not (version.isascii() and version.isdigit())):
            raise DataError(f"openml: got {self.name!r}. Give NAME or NAME@VERSION, such as diabetes@1.")

    def load(self) -> MemorySource:
        """Return the set's arrays; raise `DataError` without network, or if it is no table of numbers."""
        from sklearn import datasets  # noqa: PLC0415  (takes a second to import)

        name, _, version = self.name.partition("@")
        bunch = _fetched(
            "fetch_openml",
            self.data_home,
            lambda: datasets.fetch_openml(
                name,
                version=int(version) if version else "active",
                data_home=self.data_home,
                as_frame=False,
                parser="liac-arff",
            ),
            self.name,
        )
        where = f"OpenML's {self.name!r}"
        if bunch.target is None or np.ndim(bunch.target) != 1:
            raise DataError(f"{where} has no default target, or several. Download it, and give it as a CSV.")
        X, names = bunch.data, tuple(map(str, bunch.feature_names))
        if isinstance(X, np.ndarray):
            X, names = _one_hot(X, names, bunch.get("categories") or {})
        target_name = str((bunch.get("target_names") or ["target"])[0])
        return MemorySource(X, bunch.target, feature_names=names, target_name=target_name, dtype=self.dtype, name=where)


def _fetched(loader: str, data_home: str | None, fetch: Callable[[], Any], name: str = "") -> Any:
    """Return what `fetch` returns; raise `DataError` that names the `loader` for what it raises."""
    where = f"sklearn.datasets.{loader}" + (f"({name!r})" if name else "")
    try:
        return fetch()
    except OSError as error:  # no network, a server that fails, no space
        home = data_home or "scikit-learn's data_home"
        raise DataError(
            f"{where} failed: {error}. It needs the network once: run it where there is one, copy {home} here, and "
            "name it as data_home if it is elsewhere."
        ) from error
    except ValueError as error:
        raise DataError(
            f"{where} failed: {' '.join(str(error).split())} Check the name, or give the data as a CSV."
        ) from error


def _one_hot(X: Dense, names: tuple[str, ...], categories: Mapping[str, Any]) -> tuple[Dense, tuple[str, ...]]:
    """Replace the columns that hold places among `categories`; what is missing stays missing."""
    parts, named = [], []
    for name, column in zip(names, X.T, strict=True):
        values = categories.get(name)
        if values is None:
            parts.append(column[:, None])
            named.append(name)
        else:
            ones = (column[:, None] == np.arange(len(values))).astype(np.float64)
            ones[np.isnan(column.astype(np.float64))] = np.nan
            parts.append(ones)
            named += [f"{name}={value}" for value in values]
    return (np.hstack(parts), tuple(named)) if parts else (X, names)
