"""CSV files: what is read, and what every complaint says."""

import csv
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_cases import everything, refusal

from workers.data.csv_source import CsvSource
from workers.errors import DataError

ROOT = Path(__file__).resolve().parents[3]
HOUSING = Path(os.environ.get("APPORTION_DATA", ROOT.parent / "shared/data")) / "tabular/california_housing.csv"


@pytest.fixture
def table(tmp_path):
    def write(text, *, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_numbers_and_target_in_the_middle(table):
    info, X, y = everything(CsvSource(table("a, t ,b\n1,2,3\n\n-4e1,5, 6 \n"), "t"))
    assert (info.num_rows, info.feature_names, info.target_name) == (2, ("a", "b"), "t")
    assert info.task == "regression" and info.classes is None
    np.testing.assert_array_equal(X, [[1, 3], [-40, 6]])
    np.testing.assert_array_equal(y, [2, 5])


def test_byte_order_mark_quotes_and_line_ends(table):
    _, X, y = everything(CsvSource(table('"a\nb",t\r\n"1",2\r\n', encoding="utf-8-sig"), "t"))
    assert (X.item(), y.item()) == (1, 2)


@pytest.mark.parametrize(
    ("labels", "classes", "y"),
    [
        (["no", "yes", "no"], ("no", "yes"), [0, 1, 0]),
        (["10", "9", "10.0"], (9, 10), [1, 0, 1]),
        (["1", "A", "1"], ("1", "A"), [0, 1, 0]),
        (["-1", "+1", "-1"], (-1, 1), [0, 1, 0]),
    ],
)
def test_classes_are_sorted_numbers_or_texts(table, labels, classes, y):
    text = "x,t\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels))
    info, _, got = everything(CsvSource(table(text), "t"), "classification")
    assert info.classes == classes
    np.testing.assert_array_equal(got, y)


def test_rows_with_missing_cells_are_dropped_and_rows_renumbered(table):
    source = CsvSource(table("x,t\n1,1\n,2\n3,3\nnan,4\n5,\n6,6\n"), "t", missing="drop")
    _, X, y = everything(source)
    np.testing.assert_array_equal(y, [1, 3, 6])
    np.testing.assert_array_equal(X[:, 0], y)


def test_text_columns_one_hot_or_dropped(table):
    path = table("x,kind,t\n1,b,1\n2,a,2\n3,3,3\n")
    info, X, _ = everything(CsvSource(path, "t", text="one-hot"))
    assert info.feature_names == ("x", "kind=3", "kind=a", "kind=b")
    np.testing.assert_array_equal(X, [[1, 0, 0, 1], [2, 0, 1, 0], [3, 1, 0, 0]])
    info, X, _ = everything(CsvSource(path, "t", text="drop"))
    assert info.feature_names == ("x",)


def test_a_dropped_row_leaves_no_category(table):
    source = CsvSource(table("x,kind,t\n1,a,1\n,rare,2\n3,b,3\n"), "t", missing="drop", text="one-hot")
    assert source.describe("regression").feature_names == ("x", "kind=a", "kind=b")


def test_missing_cells_of_a_dropped_text_column_do_not_matter(table):
    source = CsvSource(table("x,kind,t\n1,a,1\n2,,2\n3,b,3\n"), "t", text="drop")
    assert source.describe("regression").num_rows == 3


def test_a_typo_in_a_column_of_numbers_is_no_category(table):
    text = "x,t\n1,1\n2,2\n3o,3\n"
    for option in ("drop", "one-hot"):
        message = refusal(CsvSource(table(text), "t", text=option))
        assert "row 3 (line 4), column 'x': got '3o' where a number is expected" in message
        assert "mostly text" in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x,age\n1,2\nabc,3\n", ["table.csv, row 2 (line 3), column 'x': got 'abc'", "text: one-hot"]),
        ("x,age\n1,abc\n", ["column 'age': got 'abc'", "task: classification"]),
        ('x,age\n"1\n",2\n\n,3\n', ["row 2 (line 5), column 'x': is empty", "missing: drop"]),
        ("x,age\nNaN,2\n", ["got 'NaN', which counts as missing", "missing: drop"]),
        ("x,age\n-inf,2\n", ["column 'x': got '-inf', which is not finite"]),
        ("x,age\n1e999,2\n", ["column 'x': got '1e999', which is not finite"]),
        ("x,age\n1_0,2\n", ["column 'x': got '1_0' where a number is expected"]),
        ("x,age\n1,2,3\n", ["row 1 (line 2): has 3 cells, the header has 2"]),
        ("x,x,age\n", ["header (line 1), column 2: repeats the name 'x' of column 1"]),
        ("x,,age\n", ["header (line 1), column 2: has an empty name"]),
        ("x,Aged\n1,2\n", ["no column 'age'", "Did you mean 'Aged'?", "The choices are x, Aged."]),
        ("x,age\n", ["no rows"]),
        ("age\n1\n", ["no feature is left"]),
        ("", ["is empty"]),
        ('x,age\n"1,2\n', ["line 2", "open quote"]),
        ('x,age\n"1"1,2\n', ["line 2", "open quote"]),
    ],
)
def test_complaints(table, text, parts):
    message = refusal(CsvSource(table(text), "age"))
    for part in parts:
        assert part in message


def test_complaints_about_classes(table):
    assert "one class 'a'" in refusal(CsvSource(table("x,t\n1,a\n2,a\n"), "t"), "classification")
    assert "got 1.5 where a class" in refusal(CsvSource(table("x,t\n1,1\n2,1.5\n"), "t"), "classification")
    assert "'inf', which is not finite" in refusal(CsvSource(table("x,t\n1,1\n2,inf\n"), "t"), "classification")
    many = "x,t\n" + "".join(f"1,{i}\n" for i in range(1001))
    assert "more than 1000 classes" in refusal(CsvSource(table(many), "t"), "classification")
    assert "Did you mean 'classification'?" in refusal(CsvSource(table("x,t\n1,2\n"), "t"), "clasification")


def test_too_many_categories(table):
    text = "name,t\n" + "".join(f"n{i},1\n" for i in range(1001))
    assert "column 'name': more than 1000 different texts" in refusal(CsvSource(table(text), "t", text="one-hot"))


def test_every_row_missing(table):
    assert "none without a missing cell" in refusal(CsvSource(table("x,t\n,1\n,2\n"), "t", missing="drop"))


def test_several_complaints_at_once(table):
    message = refusal(CsvSource(table("x,z,t\n" + "a,1,1\n" * 5 + "1,,inf\n" + "1\n"), "t"))
    assert "7 problems" in message
    assert message.count("got 'a'") == 3 and "and 2 more like it in column 'x'" in message
    assert "column 'z': is empty" in message and "row 7 (line 8): has 1 cells" in message


def test_ten_complaints_at_most(table):
    header = ",".join(f"c{i}" for i in range(12))
    message = refusal(CsvSource(table(f"{header},t\n" + ",".join("a" * 12) + ",1\n"), "t"))
    assert "the first 10 problems" in message and message.count("got 'a'") == 10


def test_files_that_are_not_there_or_not_text(tmp_path, table):
    assert "No such file" in refusal(CsvSource(tmp_path / "none.csv", "t"))
    assert "cannot be read" in refusal(CsvSource(tmp_path, "t"))
    assert "not UTF-8" in refusal(CsvSource(table("x,é\n1,2\n", encoding="latin-1"), "t"))


def test_unknown_options():
    with pytest.raises(DataError, match=r"unknown text: 'onehot'. Did you mean 'one-hot'\?"):
        CsvSource("a.csv", "t", text="onehot")
    with pytest.raises(DataError, match="unknown missing: 'skip'"):
        CsvSource("a.csv", "t", missing="skip")


def test_a_file_that_changed_is_noticed(table):
    source = CsvSource(table("x,k,t\n1,a,1\n2,b,2\n3,a,3\n"), "t", text="one-hot")
    info = source.describe("regression")
    table("x,k,t\n1,a,1\n")
    with pytest.raises(DataError, match=r"table\.csv has changed since .*: it had 24 bytes, now 12"):
        source.read(np.arange(3), info)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("x,k,t\n1,a,1\n2,b,2      \n", "has lost rows"),
        ("x,q,t\n1,a,1\n2,b,2\n3,a,3\n", "other columns"),
        ("x,k,t\n1,c,1\n2,b,2\n3,a,3\n", "column 'k': got 'c', which was not there"),
        ("x,k,t\n1,a,1\nz,b,2\n3,a,3\n", "changed since it was described"),
    ],
)
@pytest.mark.parametrize("missing", ["error", "drop"])
def test_a_change_that_size_and_time_do_not_show_is_noticed_where_it_can_be(table, changed, message, missing):
    path = table("x,k,t\n1,a,1\n2,b,2\n3,a,3\n")
    source, state = CsvSource(path, "t", text="one-hot", missing=missing), path.stat()
    info = source.describe("regression")
    table(changed)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(DataError, match=message):
        source.read(np.arange(3), info)


@pytest.mark.parametrize("rows", [np.array([3]), np.array([-1]), np.array([0.0]), np.zeros((1, 1), int)])
def test_rows_that_are_not_there(table, rows):
    source = CsvSource(table("x,t\n1,1\n2,2\n3,3\n"), "t")
    with pytest.raises(DataError, match="rows must"):
        source.read(rows, source.describe("regression"))


finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).map(str.strip)


@settings(deadline=None, max_examples=50)
@given(data=st.data(), num_rows=st.integers(1, 20), columns=st.lists(names, min_size=2, max_size=5, unique=True))
def test_round_trip_in_any_order(tmp_path_factory, data, num_rows, columns):
    if not all(columns):
        columns = [f"c{name}" for name in columns]
    values = np.array(data.draw(st.lists(finite, min_size=num_rows * len(columns), max_size=num_rows * len(columns))))
    values = values.reshape(num_rows, len(columns))
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *values.tolist()])
    source = CsvSource(path, columns[-1])
    info = source.describe("regression")
    assert info.feature_names == tuple(columns[:-1])
    rows = np.array(data.draw(st.lists(st.integers(0, num_rows - 1), max_size=30)), dtype=np.int64)
    read = source.read(rows, info)
    X, y = read.X, read.y
    assert X.tobytes() == values[rows, :-1].tobytes()
    assert y.tobytes() == values[rows, -1].tobytes()
    assert X.flags.c_contiguous and X.dtype == y.dtype == np.float64
    assert not rows.size or X.ctypes.data % 64 == y.ctypes.data % 64 == 0


@given(st.lists(st.sampled_from(["red", "Grün", "a,b", 'q"q', "two\nlines"]), min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_one_hot_round_trip(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["k", "t"], *([text, i] for i, text in enumerate(texts))])
    info, X, _ = everything(CsvSource(path, "t", text="one-hot"))
    assert list(info.feature_names) == [f"k={value}" for value in sorted(set(texts))]
    assert [sorted(set(texts))[i] for i in X.argmax(axis=1)] == texts
    assert (X.sum(axis=1) == 1).all()


def test_batches_do_not_show(table, monkeypatch):
    text = "x,k,t\n" + "".join(f"{i},{'abc'[i % 3]},{'' if i % 7 == 0 else i}\n" for i in range(100))
    source = CsvSource(table(text), "t", missing="drop", text="one-hot")
    rows = np.random.default_rng(0).permutation(60)
    info = source.describe("regression")
    read = source.read(rows, info)
    X, y = read.X, read.y
    monkeypatch.setattr("workers.data.csv_records.BLOCK_BYTES", 30)
    assert source.describe("regression") == info
    again = source.read(rows, info)
    assert (X.tobytes(), y.tobytes()) == (again.X.tobytes(), again.y.tobytes())


@pytest.mark.skipif(not HOUSING.exists(), reason=f"{HOUSING} is not there; set APPORTION_DATA")
def test_california_housing():
    source = CsvSource(HOUSING, "median_house_value", missing="drop", text="one-hot")
    info = source.describe("regression")
    assert info.num_rows == 20433
    assert info.num_features == 13
    assert info.feature_names[8:] == tuple(
        f"ocean_proximity={name}" for name in ("<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN")
    )
    with HOUSING.open(newline="", encoding="utf-8") as file:
        kept = [row for row in csv.DictReader(file) if all(row.values())]
    rows = np.array([20432, 0, 7000, 7000])
    read = source.read(rows, info)
    X, y = read.X, read.y
    for got, target, row in zip(X, y, rows, strict=True):
        expected = {name: float(value) for name, value in kept[row].items() if name in info.feature_names}
        assert [expected[name] for name in info.feature_names[:8]] == got[:8].tolist()
        assert info.feature_names[8 + got[8:].argmax()].endswith("=" + kept[row]["ocean_proximity"])
        assert target == float(kept[row]["median_house_value"])
    message = refusal(CsvSource(HOUSING, "median_house_value"))
    assert "row 291 (line 292), column 'total_bedrooms': is empty" in message
    assert "column 'ocean_proximity': got 'NEAR BAY' where a number is expected" in message
    assert pickle.loads(pickle.dumps((source, info))) == (source, info)  # noqa: S301


def test_importing_the_data_package_stays_light():
    code = (
        "import sys, workers.data, workers.data.shard, workers.data.named_source, workers.data.csv_source, "
        "workers.data.numpy_source, workers.data.parquet_source, workers.data.libsvm_source, workers.data.features; "
        "print(sorted({'sklearn', 'pandas', 'pyarrow', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
