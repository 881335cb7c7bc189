"""Arrays in memory: nothing is changed, little is copied, and labels keep their type."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from workers.data.csv_source import CsvSource
from workers.data.memory_source import MemorySource
from workers.data.numpy_source import NpzSource
from workers.errors import DataError

X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 1, 0])


def refusal(*args, task="regression", **options):
    with pytest.raises(DataError) as caught:
        MemorySource(*args, **options).describe(task)
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "f2", "i4", "u1", "?", "O"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dense_numbers(dtype, order):
    values = np.asarray(X, dtype=dtype, order=order)
    values.flags.writeable = False
    source = MemorySource(values, Y)
    info = source.describe("regression")
    read = source.read(np.array([3, 0, 0]), info)
    assert info.dtype == ("float32" if dtype == "f4" else "float64")
    assert (source.X is values) == (dtype in ("f8", "f4"))
    np.testing.assert_array_equal(read.X, np.asarray(values[[3, 0, 0]], dtype=float))
    assert read.X.flags.c_contiguous and not np.shares_memory(read.X, values)
    assert read.X.dtype == read.y.dtype == info.dtype


@pytest.mark.parametrize("kind", ["csr_array", "csr_matrix", "csc_array", "coo_array", "lil_array", "bsr_array"])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i4"])
def test_sparse_numbers(kind, dtype):
    given_ = getattr(sparse, kind)(X.astype(dtype))
    source = MemorySource(given_, Y)
    info = source.describe("regression")
    assert info.row_values.tolist() == [2, 3, 3, 3]
    read = source.read(np.array([3, 0]), info)
    assert isinstance(read.X, sparse.csr_array) and read.X.dtype == info.dtype
    np.testing.assert_array_equal(read.X.toarray(), X[[3, 0]])
    assert info == MemorySource(sparse.csr_array(X.astype(info.dtype)), Y).describe("regression")


def test_sparse_arrays_are_not_changed_and_zeros_not_kept():
    data, indices, indptr = np.array([1, 0, 2, 3]), np.array([2, 1, 0, 0]), np.array([0, 2, 4])
    for array in (data, indices, indptr):
        array.flags.writeable = False
    given_ = sparse.csr_array((data, indices, indptr), shape=(2, 3))
    info = MemorySource(given_, Y[:2]).describe("regression")
    assert info.row_values.tolist() == [1, 1]
    np.testing.assert_array_equal(given_.indices, [2, 1, 0, 0])
    canonical = sparse.csr_array(X)
    assert np.shares_memory(MemorySource(canonical, Y).X.data, canonical.data)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array([7, 3, 3, 7]), (3, 7)),
        (np.array([True, False, True, True]), (0, 1)),
        (np.array([1.0, -1.0, 1.0, 1.0]), (-1, 1)),
        (np.array(["b", "a", "b", "c"]), ("a", "b", "c")),
        (np.array(["b", "a", "b", "c"], dtype=object), ("a", "b", "c")),
        (["10", "9", "9", "10"], ("10", "9")),
        (np.array(["2020-01-02", "2020-01-01"] * 2, dtype="M8[D]"), ("2020-01-01", "2020-01-02")),
    ],
)
def test_labels_of_any_type(labels, classes):
    source = MemorySource(X, labels)
    info = source.describe("classification")
    assert info.classes == classes
    numbers = source.read(np.array([3, 0, 1]), info).y.astype(int)
    assert source.classes[numbers].tolist() == np.asarray(labels)[[3, 0, 1]].tolist()
    assert source.classes.dtype == np.asarray(labels).dtype


def test_a_type_may_be_asked_for():
    for values in (X, sparse.csr_array(X)):
        source = MemorySource(values, Y, dtype="float32")
        info = source.describe("classification")
        assert source.read(np.arange(4), info).X.dtype == info.dtype == "float32" and info.class_counts == (2, 2)
        assert "got inf" in refusal(values * 1e38, Y, dtype="float32")


def test_weights_travel_and_count_in_the_fingerprint():
    source = MemorySource(X, Y, [1, 2, 0, 4])
    info = source.describe("regression")
    assert info.weighted and info.fingerprint != MemorySource(X, Y).describe("regression").fingerprint
    assert source.read(np.array([3, 1]), info).weights.tolist() == [4, 2]
    assert MemorySource(X, Y).read(np.array([3, 1]), MemorySource(X, Y).describe("regression")).weights is None


@settings(deadline=None, max_examples=30)
@given(
    table=arrays(np.float64, st.tuples(st.integers(2, 9), st.just(3)), elements=st.integers(-4, 4)),
    task=st.sampled_from(["regression", "classification"]),
)
def test_the_fingerprint_is_that_of_files(tmp_path_factory, table, task):
    table[:2, 2] = 0, 1
    folder = tmp_path_factory.mktemp("same")
    np.savez(folder / "t.npz", X=table[:, :2], y=table[:, 2])
    np.savetxt(folder / "t.csv", table, delimiter=",", header="x0,x1,y", comments="", fmt="%.17g")
    sources = [
        MemorySource(table[:, :2], table[:, 2]),
        MemorySource(table[:, :2].astype("f4"), table[:, 2]),
        NpzSource(folder / "t.npz"),
        CsvSource(folder / "t.csv", "y"),
    ]
    assert len({source.describe(task).fingerprint for source in sources}) == 1


def test_arrays_travel_out_of_band():
    for values in (X, sparse.csr_array(X)):
        source = MemorySource(values, Y)
        buffers = []
        pickled = pickle.dumps(source, protocol=5, buffer_callback=buffers.append)
        copy = pickle.loads(pickled, buffers=[memoryview(buffer).toreadonly() for buffer in buffers])  # noqa: S301
        info = copy.describe("classification")
        assert info == source.describe("classification") and len(buffers) >= 2
        assert len(copy.read(np.array([1, 0]), info)) == 2


@pytest.mark.parametrize(
    ("labels", "classes", "got"),
    [
        ([0, 1, 2, 3], [1, 3], "0, 2"),
        ([0, 1, 1, 9], [0, 1], "9"),
        (["a", "b", "c", "ab"], ["a", "b"], "'ab', 'c'"),
        (["a", "b", "c", "d"], [1, 2], "'a', 'b', 'c' and 1 more"),
    ],
)
def test_labels_that_are_not_among_the_classes(labels, classes, got):
    assert f"got {got}, not among the sorted classes" in refusal(X, labels, classes=classes, task="classification")
    present = np.array(classes)[[0, 1, 1, 0]]
    assert MemorySource(X, present, classes=classes).describe("classification").class_counts == (2, 2)


def test_complaints():
    bad = X.copy()
    bad[1, 2], bad[3, 0] = np.nan, np.inf
    for values in (bad, sparse.csr_array(bad)):
        message = refusal(values, Y, feature_names=["a", "b", "c"])
        assert "row 1, column 'c': got nan" in message and "row 3, column 'a': got inf" in message
    assert "row 2, target 'target': got nan" in refusal(X, [0, 1, np.nan, 2])
    assert "row 2, target 'target': got nan" in refusal(X, [0, 1, np.nan, 2], task="classification")
    assert "got 0.5 where a class is expected" in refusal(X, [0, 0.5, 1, 2], task="classification")
    assert "the one class 1" in refusal(X, [1, 1, 1, 1], task="classification")
    assert "cannot be sorted" in refusal(X, np.array(["a", 1, 2, "b"], dtype=object), task="classification")
    assert "1001 classes" in refusal(np.ones((1001, 1)), np.arange(1001), task="classification")
    assert "needs numbers" in refusal(X, ["a", "b", "c", "d"])
    assert "needs X of shape (n, d), got (4,)" in refusal(Y, Y)
    assert "needs numbers: got type complex128" in refusal(X * 1j, Y)
    assert "needs numbers: got type complex128" in refusal(sparse.csr_array(X * 1j), Y)
    assert "X has 4 rows, but y has shape (3,)" in refusal(X, Y[:3])
    assert "the weights have shape (1,)" in refusal(X, Y, [1])
    assert "row 1, weight: got -1.0" in refusal(X, Y, [1, -1, 1, 1])
    assert "every weight is 0" in refusal(X, Y, [0, 0, 0, 0])
    assert "Give at least one row" in refusal(np.zeros((0, 3)), [])
    assert "2 names were given" in refusal(X, Y, feature_names=["a", "b"])
    assert "Did you mean 'regression'" in refusal(X, Y, task="regresion")
