"""Rows to predict for: the same features, whatever file they come from."""

import bz2
import gzip

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from scipy import sparse

from workers.data.features import read_table
from workers.data.source import Column
from workers.errors import DataError

X = np.array([[1.0, 0.0, -2.5], [0.0, 0.0, 4.0]])
NAMES = ("x1", "x2", "x3")


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "rows.npy", X)
    np.savetxt(tmp_path / "rows.csv", X, delimiter=",", header=",".join(NAMES), comments="")
    table = pa.table(dict(zip(NAMES, X.T, strict=True)))
    parquet.write_table(table, tmp_path / "rows.parquet")
    (tmp_path / "parts").mkdir()
    for row in range(2):
        parquet.write_table(table.slice(row, 1).select(["x3", "x1", "x2"]), tmp_path / f"parts/{row}.parquet")
    (tmp_path / "rows.svm").write_text("0 1:1 3:-2.5\n0 3:4\n")
    (tmp_path / "rows.libsvm").write_text("0 1:1 3:-2.5\n0 3:4\n")
    (tmp_path / "rows.svm.bz2").write_bytes(bz2.compress(b"0 1:1 3:-2.5\n0 3:4\n"))
    return tmp_path


@pytest.mark.parametrize(
    "name", ["rows.npy", "rows.csv", "rows.parquet", "parts", "rows.svm", "rows.libsvm", "rows.svm.bz2"]
)
def test_every_format_has_the_same_rows(folder, name):
    read = read_table(folder / name, NAMES, ())
    assert sparse.issparse(read) == ("svm" in name)
    np.testing.assert_array_equal(read.toarray() if sparse.issparse(read) else read, X)


def test_libsvm_counts_as_the_features_do(folder):
    (folder / "zero.svm").write_text("0 0:1 2:-2.5\n0 2:4\n")
    np.testing.assert_array_equal(read_table(folder / "zero.svm", ("x0", "x1", "x2"), ()).toarray(), X)
    with pytest.raises(DataError, match="line 1: got the index 0, less than 1"):
        read_table(folder / "zero.svm", NAMES, ())
    with pytest.raises(DataError, match="line 1: got the index 3, more than 2"):
        read_table(folder / "rows.svm", NAMES[:2], ())


def test_means_fill_what_is_missing_in_parquet(folder):
    parquet.write_table(pa.table({"a": [1.0, None], "c": ["u", None]}), folder / "holes.parquet")
    columns = (Column(0, "a", means=(7.0,)), Column(1, "c", ("u", "v"), (0.25, 0.75)))
    read = read_table(folder / "holes.parquet", ("a", "c=u", "c=v"), columns)
    np.testing.assert_array_equal(read, [[1, 1, 0], [7, 0.25, 0.75]])


@pytest.mark.parametrize("name", ["new.csv", "new.parquet"])
def test_cells_that_the_model_does_not_know(folder, name):
    table = pa.table({"c": ["u", "w", "v"], "a": [1.0, 2.0, None]})
    parquet.write_table(table, folder / "new.parquet")
    (folder / "new.csv").write_text("c,a\nu,1\nw,2\nv,\n")
    with pytest.raises(DataError) as caught:
        read_table(folder / name, ("a", "c=u", "c=v"), (Column(0, "a"), Column(1, "c", ("u", "v"))))
    message = str(caught.value)
    assert f"{name}: 2 problems" in message and "missing: drop" not in message
    assert "row 2" in message and "column 'c': got 'w', which was not there when the data was described" in message
    assert "The choices are u, v" in message
    assert "row 3" in message and "Fill the cells, or leave the rows out; a model trained with missing: mean" in message


def test_other_files_are_refused(folder):
    (folder / "rows.csv.gz").write_bytes(gzip.compress(b"x1,x2,x3\n1,0,-2.5\n"))
    with pytest.raises(DataError, match=r"rows\.csv\.gz: only \.libsvm and \.svm files may be packed, got '\.csv\.gz'"):
        read_table(folder / "rows.csv.gz", NAMES, ())
    with pytest.raises(DataError, match=r"expected a \.csv, \.parquet, \.libsvm, \.svm, \.npy or \.npz file, got"):
        read_table(folder / "rows.txt", NAMES, ())
    with pytest.raises(DataError, match=r"no column 'X1'. Did you mean 'x1'"):
        read_table(folder / "rows.parquet", ("X1",), ())
