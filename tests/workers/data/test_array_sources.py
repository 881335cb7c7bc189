"""NumPy files."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_cases import refusal

from workers.data.csv_source import CsvSource
from workers.data.named_source import NamedSource
from workers.data.numpy_source import NpySource, NpzSource
from workers.errors import DataError

TABLE = np.arange(12.0).reshape(4, 3) ** 2


@pytest.fixture
def npy(tmp_path):
    def write(values, **kwargs):
        path = tmp_path / "table.npy"
        np.save(path, values, **kwargs)
        return path

    return write


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        path = tmp_path / "table.npz"
        np.savez(path, **arrays)
        return path

    return write


@settings(deadline=None, max_examples=40)
@given(
    target=st.integers(-3, 2),
    dtype=st.sampled_from(["f8", "f4", ">f8", "i4", "u1", "?"]),
    order=st.sampled_from("CF"),
    rows=st.lists(st.integers(0, 3), max_size=9),
)
def test_npy_equals_direct_indexing(tmp_path_factory, target, dtype, order, rows):
    values = np.asarray(TABLE.astype(dtype), order=order)
    path = tmp_path_factory.mktemp("npy") / "table.npy"
    np.save(path, values)
    source, picked = NpySource(path, target), np.array(rows, dtype=np.int64)
    info = source.describe("regression")
    read = source.read(picked, info)
    X, y = read.X, read.y
    np.testing.assert_array_equal(X, np.delete(values, target, axis=1)[picked].astype(float))
    np.testing.assert_array_equal(y, values[picked, target].astype(float))
    assert info.target_name == f"x{target % 3}" and info.target_name not in info.feature_names


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (np.array(["no", "yes", "no", "no"]), ("no", "yes"), [0, 1, 0, 0]),
        (np.array([7, 3, 7, 7]), (3, 7), [1, 0, 1, 1]),
        (np.array([True, False, True, True]), (0, 1), [1, 0, 1, 1]),
        (np.array([1.0, -1.0, 1.0, 1.0]), (-1, 1), [1, 0, 1, 1]),
    ],
)
def test_npz_classes_and_names(npz, labels, classes, numbers):
    source = NpzSource(npz(A=TABLE, b=labels, feature_names=np.array(["u", "v", "w"])), "A", "b")
    info = source.describe("classification")
    assert (info.classes, info.feature_names, info.target_name) == (classes, ("u", "v", "w"), "b")
    np.testing.assert_array_equal(source.read(np.arange(4), info).y, numbers)


def test_the_fingerprint_is_of_the_values_alone(npy, npz, tmp_path):
    path = tmp_path / "table.csv"
    np.savetxt(path, TABLE, delimiter=",", header="a,b,c", comments="", fmt="%.17g")
    sources = [NpySource(npy(TABLE)), NpzSource(npz(X=TABLE[:, :2], y=TABLE[:, 2])), CsvSource(path, "c")]
    for task in ("regression", "classification"):
        assert len({source.describe(task).fingerprint for source in sources}) == 1
    other = TABLE.copy()
    other[1, 1] += 1e-9
    assert NpySource(npy(other)).describe("regression") != sources[1].describe("regression")


def test_blocks_do_not_show(npy, monkeypatch):
    source = NpySource(npy(TABLE))
    info = source.describe("regression")
    expected = source.read(np.array([3, 1, 0]), info).X
    monkeypatch.setattr("workers.data.array_source.BLOCK_BYTES", 1)
    assert source.describe("regression") == info
    np.testing.assert_array_equal(source.read(np.array([3, 1, 0]), info).X, expected)


def test_complaints_about_values(npy, npz):
    bad = TABLE.copy()
    bad[1, 0], bad[2, 2] = np.nan, np.inf
    message = refusal(NpySource(npy(bad)))
    assert "row 1, column 'x0': got nan" in message and "row 2, target 'x2': got inf" in message
    assert "the first 10 problems" in refusal(NpySource(npy(np.full((9, 9), np.nan))))
    labels = np.array(["a", "", "b", "a"])
    assert "row 1, target 'y': got ''" in refusal(NpzSource(npz(X=TABLE, y=labels)), "classification")


def test_complaints_about_shapes_and_types(npy, npz):
    assert "needs a table of shape (n, d + 1), got (3,)" in refusal(NpySource(npy(np.zeros(3))))
    assert "no rows" in refusal(NpySource(npy(np.zeros((0, 3)))))
    assert "no feature is left" in refusal(NpySource(npy(np.zeros((3, 1)))))
    assert "no target column 3 among 3. Give -3 to 2." in refusal(NpySource(npy(TABLE), 3))
    assert "features of type complex128" in refusal(NpySource(npy(TABLE * 1j)))
    assert "got (4, 3) and (3,)" in refusal(NpzSource(npz(X=TABLE, y=np.zeros(3))))
    assert "needs shape (n, d), got (4,)" in refusal(NpzSource(npz(X=np.zeros(4), y=np.zeros(4))))
    text = npz(X=TABLE, y=np.array(list("abca")))
    assert "got type <U1 for regression" in refusal(NpzSource(text))
    assert "no array 'z'. Did you" not in refusal(NpzSource(text, target="z"), "classification")
    assert "The choices are X, y." in refusal(NpzSource(text, target="z"), "classification")


@pytest.mark.parametrize("names", [["a", "b"], ["a", "a", "b"], ["a", " ", "b"]])
def test_complaints_about_feature_names(npz, names):
    source = NpzSource(npz(X=TABLE, y=np.zeros(4), feature_names=np.array(names)))
    assert "needs 3 different names" in refusal(source)


def test_complaints_about_classes(npz):
    def classes(y):
        return refusal(NpzSource(npz(X=TABLE, y=np.array(y))), "classification")

    assert "the one class 5" in classes([5, 5, 5, 5])
    assert "got 0.5 where a class is expected" in classes([0.5, 1, 1, 1])


def test_objects_are_never_unpickled(npy, npz):
    objects = np.array([[object()]], dtype=object)
    assert "cannot be read as NumPy data" in refusal(NpySource(npy(objects, allow_pickle=True)))
    assert "array 'X' cannot be read" in refusal(NpzSource(npz(X=objects, y=np.zeros(1))))


@pytest.mark.parametrize("kept", [0, 5, 40, -8])
def test_truncated_files(npy, npz, kept):
    for source in (NpySource(npy(TABLE)), NpzSource(npz(X=TABLE, y=np.zeros(4)))):
        source.path.write_bytes(source.path.read_bytes()[:kept])
        assert "cannot be read as NumPy data" in refusal(source)


def test_a_file_that_ends_early_is_noticed_while_reading(npy, monkeypatch):
    """The header was right when it was looked at."""
    for table in (TABLE, np.asfortranarray(TABLE)):
        source = NpySource(npy(table))
        arrays = source.open()
        source.path.write_bytes(source.path.read_bytes()[:-8])
        monkeypatch.setattr(NpySource, "open", lambda _, arrays=arrays: arrays)
        assert "it ends 8 bytes too early" in refusal(source)
        monkeypatch.undo()


def test_a_file_that_changes_while_it_is_described_is_noticed(npy, monkeypatch):
    source = NpySource(npy(TABLE))
    arrays = source.open()
    npy(TABLE + 1)
    os.utime(source.path, (0, 0))
    monkeypatch.setattr(NpySource, "open", lambda _: arrays)
    message = refusal(source)
    assert "table.npy has changed since" in message and "now at 1970-01-01 00:00:00" in message


def test_a_copy_that_keeps_whole_seconds_is_the_same_file(npy):
    source = NpySource(npy(TABLE))
    info, time = source.describe("regression"), source.path.stat().st_mtime_ns
    os.utime(source.path, ns=(0, time // 10**9 * 10**9))
    assert len(source.read(np.arange(2), info)) == 2
    os.utime(source.path, ns=(0, (time // 10**9 + 1) * 10**9))
    with pytest.raises(DataError, match="it was last written at"):
        source.read(np.arange(2), info)
    source.path.unlink()
    with pytest.raises(DataError, match=r"table\.npy cannot be read: No such file"):
        source.read(np.arange(2), info)


def test_complaints_about_weights(npy, npz):
    for bad in (-1.0, np.nan, np.inf):
        values = TABLE.copy()
        values[2, 1] = bad
        assert f"row 2, weight: got {bad}, which is not finite or negative" in refusal(NpySource(npy(values), weight=1))
    values[:, 1] = 0
    assert "the weights of all 4 rows are 0" in refusal(NpySource(npy(values), weight=1))
    assert "no weight column 3 among 3" in refusal(NpySource(npy(TABLE), weight=3))
    assert "column 2 cannot be both target and weight" in refusal(NpySource(npy(TABLE), weight=-1))
    for weights in (np.ones(3), np.ones((4, 1)), np.array(list("abcd"))):
        assert "needs a number as the weight of each of 4" in refusal(
            NpzSource(npz(X=TABLE, y=np.ones(4), weights=weights))
        )


def test_types_in_memory(npy, npz):
    def dtype_of(source):
        info = source.describe("regression")
        rows = source.read(np.arange(2), info)
        assert rows.X.dtype == rows.y.dtype == info.dtype
        return info.dtype

    assert [dtype_of(NpySource(npy(TABLE.astype(kind)))) for kind in ("f2", "<f4", ">f4", "f8", "i1")] == [
        "float32", "float32", "float32", "float64", "float64",
    ]  # fmt: skip
    assert dtype_of(NpySource(npy(TABLE.astype("f4")), dtype="float64")) == "float64"
    assert dtype_of(NpzSource(npz(X=TABLE, y=np.ones(4)), dtype="float32")) == "float32"
    assert dtype_of(NamedSource("iris", "float32")) == "float32"
    assert "row 0, column 'x0': got inf" in refusal(NpySource(npy(TABLE + 1e39), dtype="float32"))


def test_constant_columns_and_rows_of_zeros_are_fine(npy):
    source = NpySource(npy(np.zeros((5, 3))))
    assert source.read(np.arange(5), source.describe("regression")).X.tolist() == [[0.0, 0.0]] * 5


def test_corrupt_member(npz):
    path = npz(X=TABLE, y=np.zeros(4))
    content = bytearray(path.read_bytes())
    content[content.index(TABLE.tobytes()) + 9] ^= 1
    path.write_bytes(content)
    assert "array 'X' cannot be read as NumPy data" in refusal(NpzSource(path))


def test_one_format_for_the_other_and_no_file(npy, npz, tmp_path):
    assert "Name it as npz" in refusal(NpySource(npz(X=TABLE)))
    assert "Name it as npy" in refusal(NpzSource(npy(TABLE)))
    assert "cannot be read" in refusal(NpySource(tmp_path / "none.npy"))


def test_a_file_that_changed_is_noticed(npy):
    source = NpySource(npy(TABLE))
    info = source.describe("regression")
    npy(TABLE[:2])
    with pytest.raises(DataError, match="has changed since"):
        source.read(np.arange(2), info)
    with pytest.raises(DataError, match=r"rows must lie in 0\.\.3"):
        source.read(np.array([4]), info)
