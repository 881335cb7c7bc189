"""The section `data` of a job file: where the data is, and how it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import ValidationInfo, field_validator
from pydantic import model_validator as checks_model

from scheduler.errors import shown
from scheduler.section import Section, known, path_of
from workers.data.bundled import BUNDLED, BundledSource
from workers.data.csv_source import CsvSource
from workers.data.numpy_source import NpySource, NpzSource
from workers.data.source import Source

ClassWeights: TypeAlias = Literal["balanced"] | dict[str | int, float]


class DataSpec(Section):
    """Where the data is: exactly one of ``bundled``, ``csv``, ``npy``, ``npz``.

    Attributes
    ----------
    target, weight
        The columns to predict, and of the rows' weights: a name (CSV), a number (NPY; target -1, the last).
    missing
        What to do about missing values: CSV, NPY and NPZ (no ``drop``).
    text
        CSV only: what to do with columns of text.
    dtype
        The type of the data in memory.
    class_weight
        ``balanced``, or the weight of each label: it multiplies the weights of the training rows.
    """

    bundled: str | None = None
    csv: Path | None = None
    npy: Path | None = None
    npz: Path | None = None
    target: str | int | None = None
    weight: str | int | None = None
    class_weight: ClassWeights | None = None
    missing: Literal["error", "drop", "mean"] = "error"
    text: Literal["error", "drop", "one-hot"] = "error"
    dtype: Literal["auto", "float32", "float64"] = "auto"

    @field_validator("bundled")
    @classmethod
    def _bundled_exists(cls, name: str | None) -> str | None:
        return name if name is None else known("data set", name, list(BUNDLED))

    @field_validator("csv", "npy", "npz", mode="before")
    @classmethod
    def _file_exists(cls, path: Any, info: ValidationInfo) -> Path | None:
        """Resolve relative paths against the job file's folder."""
        if path is None:
            return None
        found = Path((info.context or {}).get("folder", "."), path_of(path))
        try:
            if found.is_file():
                return found.resolve()
        except OSError as error:
            raise ValueError(f"{shown(str(found))} cannot be read: {error.strerror}") from None
        raise ValueError(f"no such file: {found}" + (", it is a folder" if found.is_dir() else ""))

    @field_validator("target", "weight", mode="before")
    @classmethod
    def _column_is_name_or_number(cls, column: Any) -> Any:
        if not isinstance(column, str | int | None):
            raise ValueError(f"must be a column's name (csv) or number (npy), got {shown(column)}")
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
        given = [name for name in ("bundled", "csv", "npy", "npz") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of bundled, csv, npy, npz; got {', '.join(given) or 'none'}")
        if self.csv is not None and not isinstance(self.target, str):
            raise ValueError("csv needs 'target', the name of the column to predict (in quotes if it is a number)")
        if self.npy is not None and isinstance(self.target, str):
            raise ValueError("npy needs 'target' as a column number (default -1, the last)")
        if self.csv is not None and isinstance(self.weight, int):
            raise ValueError("csv needs 'weight' as the name of a column (in quotes if it is a number)")
        if self.npy is not None and isinstance(self.weight, str):
            raise ValueError("npy needs 'weight' as a column number")
        if self.target is not None and given[0] in ("bundled", "npz"):
            raise ValueError(f"{given[0]} has its own target; leave 'target' out")
        self._check_what_the_source_can(given[0])
        return self

    def _check_what_the_source_can(self, source: str) -> None:
        if self.weight is not None and source == "bundled":
            raise ValueError("the rows of a bundled set have no weights; leave 'weight' out")
        if self.weight is not None and source == "npz":
            raise ValueError("npz takes the weights from its array 'weights'; leave 'weight' out")
        if self.text != "error" and source != "csv":
            raise ValueError("'text' is for csv only")
        if self.missing == "drop" and source != "csv":
            raise ValueError("'missing: drop' is for csv only")
        if self.missing == "mean" and source == "bundled":
            raise ValueError("nothing is missing in a bundled set; leave 'missing' out")

    def source(self) -> Source:
        """Return the source that reads this data."""
        if self.bundled is not None:
            return BundledSource(self.bundled, self.dtype)
        if self.csv is not None:
            weight = None if self.weight is None else str(self.weight)
            return CsvSource(self.csv, str(self.target), self.missing, self.text, weight, self.dtype)
        missing: Literal["error", "mean"] = "mean" if self.missing == "mean" else "error"
        if self.npy is not None:
            weight_column = None if self.weight is None else int(self.weight)
            return NpySource(
                self.npy, -1 if self.target is None else int(self.target), weight_column, self.dtype, missing
            )
        if self.npz is not None:
            return NpzSource(self.npz, dtype=self.dtype, missing=missing)
        raise AssertionError("validated: one source is given")
