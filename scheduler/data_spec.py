"""The section `data` of a job file: where the data is, and how it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator
from pydantic import model_validator as checks_model

from scheduler.errors import shown
from scheduler.section import Section, known, path_of
from workers.data.csv_source import CsvSource
from workers.data.libsvm_source import LibsvmSource
from workers.data.named_source import BUNDLED, FETCHED, NamedSource, OpenmlSource
from workers.data.numpy_source import NpySource, NpzSource
from workers.data.parquet_source import ParquetSource
from workers.data.source import Source

SOURCES = ("bundled", "openml", "csv", "parquet", "libsvm", "npy", "npz")
NAMED_SETS = ("bundled", "openml")
NAMED_COLUMNS = ("csv", "parquet")
ClassWeights: TypeAlias = Literal["balanced"] | dict[str | int, float]


class DataSpec(Section):
    """Where the data is: exactly one of ``SOURCES``.

    Attributes
    ----------
    target, weight
        The columns to predict, and of the rows' weights: a name (CSV, Parquet), a number (NPY; target -1, the last).
    missing
        What to do about missing values: CSV, Parquet, NPY and NPZ (no ``drop``).
    text
        CSV and Parquet only: what to do with columns of text.
    num_features, zero_based
        libsvm only: how many columns there are, and whether indices count from 0.
    data_home
        ``bundled`` and ``openml`` only: the folder in which scikit-learn keeps what it downloads.
    dtype
        The type of the data in memory.
    class_weight
        ``balanced``, or the weight of each label: it multiplies the weights of the training rows.
    """

    bundled: str | None = None
    openml: str | None = None
    csv: Path | None = None
    parquet: Path | None = None
    libsvm: Path | None = None
    npy: Path | None = None
    npz: Path | None = None
    target: str | int | None = None
    weight: str | int | None = None
    class_weight: ClassWeights | None = None
    missing: Literal["error", "drop", "mean"] = "error"
    text: Literal["error", "drop", "one-hot"] = "error"
    dtype: Literal["auto", "float32", "float64"] = "auto"
    num_features: int | None = Field(None, ge=1, lt=1 << 31)
    zero_based: bool = False
    data_home: Path | None = None

    @field_validator("bundled")
    @classmethod
    def _bundled_exists(cls, name: str | None) -> str | None:
        return name if name is None else known("data set", name, list(BUNDLED | FETCHED))

    @field_validator("openml")
    @classmethod
    def _openml_has_a_name(cls, name: str | None) -> str | None:
        if name is not None:
            OpenmlSource(name)
        return name

    @field_validator("data_home", mode="before")
    @classmethod
    def _folder(cls, path: Any, info: ValidationInfo) -> Path | None:
        return None if path is None else Path((info.context or {}).get("folder", "."), path_of(path)).absolute()

    @field_validator("csv", "parquet", "libsvm", "npy", "npz", mode="before")
    @classmethod
    def _file_exists(cls, path: Any, info: ValidationInfo) -> Path | None:
        """Resolve relative paths against the job file's folder; Parquet may be a folder of files."""
        if path is None:
            return None
        found = Path((info.context or {}).get("folder", "."), path_of(path))
        try:
            if found.is_file() or (info.field_name == "parquet" and found.is_dir()):
                return found.resolve()
        except OSError as error:
            raise ValueError(f"{shown(str(found))} cannot be read: {error.strerror}") from None
        raise ValueError(f"no such file: {found}" + (", it is a folder" if found.is_dir() else ""))

    @field_validator("target", "weight", mode="before")
    @classmethod
    def _column_is_name_or_number(cls, column: Any) -> Any:
        if not isinstance(column, str | int | None):
            raise ValueError(f"must be a column's name (csv, parquet) or number (npy), got {shown(column)}")
        return column

    @field_validator("class_weight", mode="before")
    @classmethod
    def _class_weight_is_balanced_or_a_mapping(cls, choice: Any) -> Any:
        if choice in (None, "balanced"):
            return choice
        if not isinstance(choice, Mapping):
            raise ValueError(f"must be 'balanced', or a mapping of labels to weights, got {shown(choice)}")
        for label, weight in choice.items():
            if isinstance(label, bool) or not isinstance(label, str | int):
                raise ValueError(f"the label {shown(label)} must be text or a whole number; quote what is text")
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                raise ValueError(f"the weight of {shown(label)} must be a number of 0 or more, got {shown(weight)}")
        return choice

    @checks_model(mode="after")
    def _one_source(self) -> DataSpec:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(SOURCES)}; got {', '.join(given) or 'none'}")
        (source,) = given
        if source in NAMED_COLUMNS and not isinstance(self.target, str):
            raise ValueError(
                f"{source} needs 'target', the name of the column to predict (in quotes if it is a number)"
            )
        if source == "npy" and isinstance(self.target, str):
            raise ValueError("npy needs 'target' as a column number (default -1, the last)")
        if source in NAMED_COLUMNS and isinstance(self.weight, int):
            raise ValueError(f"{source} needs 'weight' as the name of a column (in quotes if it is a number)")
        if source == "npy" and isinstance(self.weight, str):
            raise ValueError("npy needs 'weight' as a column number")
        if self.target is not None and source not in (*NAMED_COLUMNS, "npy"):
            raise ValueError(f"{source} has its own target; leave 'target' out")
        self._check_what_the_source_can(source)
        return self

    def _check_what_the_source_can(self, source: str) -> None:
        if self.weight is not None and source in ("bundled", "openml", "libsvm"):
            raise ValueError(f"the rows of {source} data have no weights; leave 'weight' out")
        if self.weight is not None and source == "npz":
            raise ValueError("npz takes the weights from its array 'weights'; leave 'weight' out")
        if self.text != "error" and source not in NAMED_COLUMNS:
            raise ValueError("'text' is for csv and parquet only")
        if self.missing == "drop" and source not in NAMED_COLUMNS:
            raise ValueError("'missing: drop' is for csv and parquet only")
        if self.missing == "mean" and source in ("bundled", "openml", "libsvm"):
            raise ValueError(f"nothing may be missing in {source} data; leave 'missing' out")
        if (self.num_features is not None or self.zero_based) and source != "libsvm":
            raise ValueError("'num_features' and 'zero_based' are for libsvm only")
        if self.data_home is not None and source not in NAMED_SETS:
            raise ValueError("'data_home' is for bundled and openml only")

    def source(self) -> Source:  # noqa: PLR0911  (one return for each kind of source)
        """Return the source that reads this data."""
        home = None if self.data_home is None else str(self.data_home)
        if self.bundled is not None:
            return NamedSource(self.bundled, self.dtype, home)
        if self.openml is not None:
            return OpenmlSource(self.openml, self.dtype, home)
        if self.libsvm is not None:
            return LibsvmSource(self.libsvm, self.num_features, self.zero_based, self.dtype)
        weight = None if self.weight is None else str(self.weight)
        if self.csv is not None:
            return CsvSource(self.csv, str(self.target), self.missing, self.text, weight, self.dtype)
        if self.parquet is not None:
            return ParquetSource(self.parquet, str(self.target), self.missing, self.text, weight, self.dtype)
        missing: Literal["error", "mean"] = "mean" if self.missing == "mean" else "error"
        if self.npy is not None:
            weight_column = None if self.weight is None else int(self.weight)
            return NpySource(
                self.npy, -1 if self.target is None else int(self.target), weight_column, self.dtype, missing
            )
        if self.npz is not None:
            return NpzSource(self.npz, dtype=self.dtype, missing=missing)
        raise AssertionError("validated: one source is given")
