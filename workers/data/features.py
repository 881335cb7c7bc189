"""Rows to predict for: the features of a file, without a target."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workers.data.csv_source import read_features
from workers.data.means import fill
from workers.data.numpy_source import load_array
from workers.data.rows import Floats
from workers.data.source import Column
from workers.errors import DataError


def read_table(path: Path, feature_names: tuple[str, ...], columns: tuple[Column, ...]) -> Floats:
    """Return X (rows, features) of a file, in the order that the model was trained on.

    A CSV's columns are found by name (``columns`` says which become which features); arrays have them in order.

    Raises
    ------
    DataError
        If the file cannot be read, or has not what the model needs.
    """
    if path.suffix == ".csv":
        return read_features(path, columns or tuple(Column(0, name) for name in feature_names))
    if path.suffix not in (".npy", ".npz"):
        raise DataError(f"{path}: expected a .csv, .npy or .npz file, got '{path.suffix}'")
    X = load_array(path, "X")
    if X.ndim != 2 or X.shape[1] != len(feature_names):
        raise DataError(f"{path}: the model takes {len(feature_names)} columns, got shape {X.shape}")
    if X.dtype.kind not in "biuf":
        raise DataError(f"{path}: expected numbers, got {X.dtype}")
    values: Floats = np.array(X, dtype=np.float64)
    fill(values, np.array([mean for column in columns for mean in column.means]))
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise DataError(f"{path}: row {row}, column {feature_names[column]!r}: got {values[row, column]}, not finite")
    return values
