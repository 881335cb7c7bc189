"""Rows to predict for: the features of a file, without a target."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workers.data.csv_source import read_features as read_csv
from workers.data.libsvm_source import read_libsvm
from workers.data.means import fill
from workers.data.numpy_source import load_array
from workers.data.parquet_source import read_features as read_parquet
from workers.data.rows import Floats, Matrix
from workers.data.source import Column
from workers.errors import DataError


def read_table(path: Path, feature_names: tuple[str, ...], columns: tuple[Column, ...]) -> Matrix:
    """Return X (rows, features) of a file, in the order that the model was trained on; that of a libsvm file is sparse.

    Columns of a CSV and of Parquet (a file, or a folder of them) are found by name (``columns`` says which become
    which features); arrays have them in order, and so does libsvm, where indices count from 0 if the first feature of
    the model is called ``x0``, else from 1. A row of libsvm still begins with a label, which does not matter.

    Raises
    ------
    DataError
        If the file cannot be read, or has not what the model needs.
    """
    named = columns or tuple(Column(0, name) for name in feature_names)
    packed = path.suffix in (".gz", ".bz2")
    suffix = path.with_suffix("").suffix if packed else path.suffix
    if suffix in (".libsvm", ".svm"):
        return read_libsvm(path, len(feature_names), zero_based=feature_names[:1] == ("x0",))
    if packed:
        raise DataError(f"{path}: only .libsvm and .svm files may be packed, got '{suffix}{path.suffix}'. Unpack it.")
    if suffix == ".csv":
        return read_csv(path, named)
    if suffix == ".parquet" or path.is_dir():
        return read_parquet(path, named)
    if suffix not in (".npy", ".npz"):
        raise DataError(f"{path}: expected a .csv, .parquet, .libsvm, .svm, .npy or .npz file, got '{suffix}'")
    return _read_array(path, feature_names, columns)


def _read_array(path: Path, feature_names: tuple[str, ...], columns: tuple[Column, ...]) -> Floats:
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
