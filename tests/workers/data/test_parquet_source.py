"""Parquet files: the same rows as in a CSV, row group by row group, and what every complaint says."""

import pickle
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from source_cases import everything, refusal

from workers.data import parquet_source
from workers.data.csv_source import CsvSource
from workers.data.csv_source import read_features as csv_features
from workers.data.parquet_source import ParquetSource, read_features
from workers.errors import DataError

TABLE = {"a": [1.0, 2.0, 3.0, 4.0], "n": [1, 0, 2, 5], "t": [0.5, 1.5, 2.5, 0.0], "b": [True, False, True, True]}


@pytest.fixture
def table(tmp_path):
    def write(columns, name="table.parquet", **options):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        parquet.write_table(pa.table(columns), path, **options)
        return path

    return write


def test_numbers_of_any_type(table):
    info, X, y = everything(ParquetSource(table(TABLE), "t"))
    assert (info.num_rows, info.feature_names, info.target_name) == (4, ("a", "n", "b"), "t")
    np.testing.assert_array_equal(X, [[1, 1, 1], [2, 0, 0], [3, 2, 1], [4, 5, 1]])
    np.testing.assert_array_equal(y, TABLE["t"])
    types = [
        pa.int8(),
        pa.uint64(),
        pa.float16(),
        pa.float32(),
        pa.decimal128(9, 2),
        pa.dictionary(pa.int8(), pa.int64()),
    ]
    columns = {
        f"c.{place}": pa.array([1, 2, 3, 4]).cast(pa.float64()).cast(type_)
        if not pa.types.is_dictionary(type_)
        else pa.array([1, 2, 3, 4]).dictionary_encode()
        for place, type_ in enumerate(types)
    }
    info, X, y = everything(ParquetSource(table({**columns, "t": TABLE["t"]}), "t"))
    np.testing.assert_array_equal(X, np.repeat([[1], [2], [3], [4]], len(types), axis=1))


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (pa.array(["no", "yes", "no", "no"]), ("no", "yes"), [0, 1, 0, 0]),
        (pa.array(["no", "yes", "no", "no"]).dictionary_encode(), ("no", "yes"), [0, 1, 0, 0]),
        (pa.array(["no", "yes", "no", "no"], pa.large_string()), ("no", "yes"), [0, 1, 0, 0]),
        (pa.array([7, 3, 7, 7]), (3, 7), [1, 0, 1, 1]),
        (pa.array([True, False, True, True]), (0, 1), [1, 0, 1, 1]),
        (pa.array([1.0, -1.0, 1.0, 1.0]), (-1, 1), [1, 0, 1, 1]),
    ],
)
def test_classes(table, labels, classes, numbers):
    info, _, y = everything(ParquetSource(table({**TABLE, "t": labels}), "t"), "classification")
    assert info.classes == classes
    np.testing.assert_array_equal(y, numbers)


CELLS = {
    "x": st.one_of(st.none(), st.floats(-9, 9, width=16)),
    "colour": st.sampled_from([None, "red", "blue", "green"]),
    "y": st.one_of(st.none(), st.sampled_from([0.0, 1.0])),
    "w": st.sampled_from([0.0, 0.5, 3.0]),
}
ROWS = st.lists(st.fixed_dictionaries(CELLS), min_size=2, max_size=30)
SCHEMA = pa.schema({name: pa.string() if name == "colour" else pa.float64() for name in CELLS})
OPTIONS = {
    "missing": st.sampled_from(["drop", "mean"]),
    "text": st.sampled_from(["drop", "one-hot"]),
    "weight": st.sampled_from([None, "w"]),
    "dtype": st.sampled_from(["auto", "float32", "float64"]),
}


@settings(deadline=None, max_examples=80)
@given(
    rows=ROWS, options=st.fixed_dictionaries(OPTIONS), group=st.integers(1, 9), cut=st.integers(0, 30), data=st.data()
)
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_table_is_the_same_as_in_a_csv(tmp_path_factory, rows, task, options, group, cut, data):
    for row, y in zip(rows, (0.0, 1.0), strict=False):
        row.update(x=1.0, colour="red", y=y, w=1.0)
    if options["missing"] == "mean":
        rows = [{**row, "y": row["y"] or 0.0} for row in rows]
    folder = tmp_path_factory.mktemp("same")
    frame = pd.DataFrame(rows, columns=list(CELLS))
    frame.to_csv(folder / "rows.csv", index=False)
    (folder / "parts").mkdir()
    whole = pa.Table.from_pandas(frame, schema=SCHEMA)
    for name, part in {"b": whole.slice(cut), "a": whole.slice(0, cut)}.items():
        parquet.write_table(part, folder / f"parts/{name}.parquet", row_group_size=group)
    csv = CsvSource(folder / "rows.csv", "y", **options)
    source = ParquetSource(folder / "parts", "y", **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_source, "BLOCK_BYTES", data.draw(st.sampled_from([1, 100, 1 << 20])))
        expected, info = csv.describe(task), source.describe(task)
        assert info == expected
        parts = [
            np.array(data.draw(st.lists(st.integers(0, info.num_rows - 1), max_size=9)), dtype=np.int64)
            for _ in range(2)
        ]
        for read, wanted in zip(source.read_parts(parts, info), csv.read_parts(parts, expected), strict=True):
            np.testing.assert_array_equal(read.X, wanted.X)
            np.testing.assert_array_equal(read.y, wanted.y)
            np.testing.assert_array_equal(read.weights, wanted.weights)
            assert read.X.dtype == wanted.X.dtype == info.dtype
        if options["missing"] == "mean":
            X = read_features(folder / "parts", info.columns)
            np.testing.assert_array_equal(X, csv_features(folder / "rows.csv", expected.columns))


def test_types_in_memory(table):
    narrow = {"a": pa.array([1.5, 2.5], pa.float32()), "c": ["u", "v"], "t": [1.0, 2.0]}
    source = ParquetSource(table(narrow), "t", text="one-hot")
    assert everything(source)[1].dtype == np.float32
    source = ParquetSource(table({**narrow, "b": [1, 2]}), "t", text="drop")
    assert everything(source)[1].dtype == np.float64
    table({"a": pa.array([1.5], pa.float32()), "t": [1.0]}, "parts/0.parquet")
    for type_, dtype in ((pa.null(), np.float32), (pa.float16(), np.float32), (pa.float64(), np.float64)):
        value = None if type_ == pa.null() else 2.5
        folder = table({"a": pa.array([value], type_), "t": [1.0]}, "parts/1.parquet").parent
        assert everything(ParquetSource(folder, "t", missing="mean"))[1].dtype == dtype
    large = ParquetSource(table({"a": [1.0, 1e39], "t": [1.0, 2.0]}), "t", dtype="float32")
    assert "row 2, column 'a': got 1e+39, too large for float32" in refusal(large)


def test_complaints_about_weights(table):
    path = table({"a": [1.0, 2.0, 3.0], "w": [1.0, None, -1.0], "t": [1.0, 2.0, 3.0]})
    message = refusal(ParquetSource(path, "t", weight="w"))
    assert "row 2, column 'w': is missing" in message and "row 3, column 'w': got -1.0" in message
    assert "are 0" in refusal(ParquetSource(table({"a": [1.0], "w": [0.0], "t": [1.0]}), "t", weight="w"))
    assert "no column 'v'" in refusal(ParquetSource(path, "t", weight="v"))
    with pytest.raises(DataError, match="cannot be both target and weight"):
        ParquetSource(path, "t", weight="t")


def test_features_to_predict_for(table):
    columns = ParquetSource(table({"a": [1.0, 2.0], "c": ["u", "v"], "t": [1, 2]}), "t", text="one-hot")
    columns = columns.describe("regression").columns
    X = read_features(table({"c": ["v"], "z": [0], "a": [3]}), columns)
    np.testing.assert_array_equal(X, [[3, 0, 1]])
    for other, complaint in [
        ({"c": ["v"]}, "no column 'a'"),
        ({"c": ["v"], "a": ["x"]}, "column 'a': holds string where number is expected"),
        ({"c": [1], "a": [1]}, "column 'c': holds int64 where text is expected"),
        ({"c": ["v", None], "a": [1, 2]}, r"row 2, column 'c': is missing\. Fill the cells, or leave the rows out"),
        (
            {"c": ["new"], "a": [1]},
            r"table.parquet, row 1, column 'c': got 'new', which was not there .*\. The choices are u, v",
        ),
    ]:
        with pytest.raises(DataError, match=complaint):
            read_features(table(other), columns)


def test_only_the_row_groups_of_the_rows_are_read(table, monkeypatch):
    source = ParquetSource(table(TABLE, row_group_size=1), "t")
    source, info = pickle.loads(pickle.dumps((source, source.describe("regression"))))  # noqa: S301
    opened = []
    original = parquet.ParquetFile.iter_batches
    monkeypatch.setattr(
        parquet.ParquetFile,
        "iter_batches",
        lambda *args, **options: opened.append(options["row_groups"]) or original(*args, **options),
    )
    np.testing.assert_array_equal(source.read(np.array([3, 1]), info).y, [0.0, 1.5])
    assert opened == [[1], [3]]


def test_the_index_of_a_frame_is_no_feature(tmp_path):
    pd.DataFrame(TABLE, index=[3, 1, 4, 1]).to_parquet(tmp_path / "f.parquet")
    assert ParquetSource(tmp_path / "f.parquet", "t").describe("regression").feature_names == ("a", "n", "b")


def test_complaints_about_cells(table):
    message = refusal(ParquetSource(table({"a": [1.0, None, np.nan, np.inf], "t": [1, 2, 3, None]}), "t"))
    assert "row 2, column 'a': is missing" in message and "row 3, column 'a': is missing" in message
    assert "row 4, column 'a': got inf, which is not finite" in message and "row 4, column 't': is missing" in message
    assert "set missing: drop" in message
    labels = table({"a": [1, 2, 3], "t": ["x", None, "y"]})
    assert "row 2, column 't': is missing" in refusal(ParquetSource(labels, "t"), "classification")
    table({"a": [1, 2], "t": [1, 2]}, "parts/0.parquet")
    folder = table({"a": [1, None], "t": [1, 2]}, "parts/1.parquet", row_group_size=1).parent
    assert "parts, 1.parquet, row 2, column 'a': is missing" in refusal(ParquetSource(folder, "t"))


def test_texts_that_are_all_missing(table):
    source = table({"c": ["", None, "  "], "a": [1, 2, 3], "t": [1, 2, 3]})
    for missing, complaint in (
        ("mean", "column 'c': every cell is missing"),
        ("error", "row 1, column 'c': is missing"),
    ):
        assert complaint in refusal(ParquetSource(source, "t", missing=missing, text="one-hot"))
    assert "no rows, or none without" in refusal(ParquetSource(source, "t", missing="drop", text="one-hot"))


def test_labels_that_spell_infinity_are_refused_as_in_a_csv(table, tmp_path):
    labels = ["a", "inf", "b", "-Infinity"]
    source = ParquetSource(table({"a": [1, 2, 3, 4], "t": labels}), "t")
    (tmp_path / "rows.csv").write_text("a,t\n" + "".join(f"1,{label}\n" for label in labels))
    for each in (source, CsvSource(tmp_path / "rows.csv", "t")):
        message = refusal(each, "classification")
        assert message.count("which is not finite") == 2 and "row 4" in message and "column 't'" in message


def test_complaints_about_columns(table):
    nested = {"a": [[1], [2]], "s": [{"x": 1}, {"x": 2}], "d": pa.array([1, 2], pa.timestamp("ms")), "t": [1, 2]}
    message = refusal(ParquetSource(table(nested), "t", text="drop"))
    assert "column 'a': holds list<element: int64>. " in message.replace("\n", ". ")
    assert "column 's': holds struct<x: int64>" in message and "column 'd': holds timestamp[ms]" in message
    text = ParquetSource(table({"a": ["x", "y"], "t": ["u", "v"]}), "t")
    message = refusal(text)
    assert "column 'a': holds string" in message and "use task: classification" in message
    assert "Set text: drop" in refusal(text, "classification")
    assert "no column 'target_'. Did you mean 'target'?" in refusal(ParquetSource(table({"target": [1]}), "target_"))
    assert "no feature is left" in refusal(ParquetSource(table({"t": [1, 2], "c": ["a", "b"]}), "t", text="drop"))
    many = {"c": list(map(str, range(1001))), "t": list(range(1001))}
    assert "column 'c': more than 1000 different texts, such as '0'" in refusal(
        ParquetSource(table(many), "t", text="one-hot")
    )
    twice = pa.table([[1], [2], [3]], names=["a", "a", "t"])
    parquet.write_table(twice, path := table({"a": [1]}))
    assert "column 'a': is there 2 times" in refusal(ParquetSource(path, "t"))
    with pytest.raises(DataError, match="Did you mean 'drop'"):
        ParquetSource("x", "t", missing="drp")


def test_complaints_about_parts(table, tmp_path):
    table({"a": [1], "t": [1]}, "parts/0.parquet")
    folder = table({"a": ["x"], "u": [1]}, "parts/1.parquet").parent
    message = refusal(ParquetSource(folder, "t"))
    assert "1.parquet: 3 problems" in message and "column 't': is in 0.parquet only" in message
    assert "column 'u': is not in 0.parquet" in message and "column 'a': holds string, in 0.parquet int64" in message
    (tmp_path / "none").mkdir()
    assert "no *.parquet file in this folder" in refusal(ParquetSource(tmp_path / "none", "t"))
    assert "No such file" in refusal(ParquetSource(tmp_path / "none.parquet", "t"))


@pytest.mark.parametrize("kept", [0, 3, 100, -8])
def test_truncated_and_foreign_files(table, kept):
    path = table(TABLE)
    content = path.read_bytes()
    path.write_bytes(content[:kept])
    assert "cannot be read as Parquet" in refusal(ParquetSource(path, "t"))
    path.write_bytes(b"a,t\n1,2\n" * 9)
    assert "Is it cut off, or of another format?" in refusal(ParquetSource(path, "t"))


def test_a_damaged_page(table):
    path = table(TABLE, compression="snappy")
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)
    path.write_bytes(content)
    assert "cannot be read as Parquet" in refusal(ParquetSource(path, "t"))


def test_a_file_that_changed_is_noticed(table):
    source = ParquetSource(table(TABLE), "t")
    info = source.describe("regression")
    table({name: values[:2] for name, values in TABLE.items()})
    with pytest.raises(DataError, match="has changed since it was described: it had"):
        source.read(np.arange(4), info)
    table(TABLE, "parts/0.parquet")
    source = ParquetSource(table(TABLE, "parts/1.parquet").parent, "t")
    info = source.describe("regression")
    table(TABLE, "parts/2.parquet")
    with pytest.raises(DataError, match="has other parts than"):
        source.read(np.arange(4), info)


def test_without_pyarrow(table, monkeypatch):
    source = ParquetSource(table(TABLE), "t")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'apportion[parquet]'" in refusal(source)
