"""Whichever way a block of a CSV is read, and however the file is cut into blocks, the bits are the same."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.data import csv_cells, csv_quick, csv_records
from workers.data.csv_source import CsvSource
from workers.errors import DataError

finite = st.floats(allow_nan=False, allow_infinity=False)
digits = st.text("0123456789", min_size=1, max_size=25)
spelt = st.one_of(
    finite.map(repr),
    finite.map("{:.3g}".format),
    st.integers(-(10**30), 10**30).map(str),
    st.tuples(digits, digits, st.integers(-330, 280)).map(lambda parts: f"{parts[0]}.{parts[1]}e{parts[2]}"),
    finite.map(" {!r} ".format),
    finite.map(lambda value: f"+{abs(value)!r}"),
).filter(lambda text: abs(float(text)) < np.inf)


def bits(source, rows=None, task="regression"):
    info = source.describe(task)
    read = source.read(np.arange(info.num_rows) if rows is None else rows, info)
    return info, read.X.tobytes(), read.y.tobytes(), None if read.weights is None else read.weights.tobytes()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("ways") / "table.csv"


@settings(deadline=None, max_examples=60)
@given(cells=st.lists(st.tuples(spelt, spelt, spelt), min_size=1, max_size=12))
def test_every_way_spells_numbers_as_float_does(path, cells):
    path.write_text("a,b,t\n" + "".join(",".join(row) + "\n" for row in cells))
    source = CsvSource(path, "t")
    expected = np.array([[float(cell) for cell in row] for row in cells])
    ways = [bits(source)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_quick, "_parse_numbers", lambda *_: None)
        ways.append(bits(source))
        patch.setattr(csv_cells, "parse_plain", lambda *_: None)
        ways.append(bits(source))
    path.write_text("a,b,t\n" + "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in cells))
    ways.append(bits(source))
    assert all(way == ways[0] for way in ways)
    assert ways[0][1:3] == (expected[:, :2].tobytes(), expected[:, 2].tobytes())


text = st.sampled_from(["red", "Grün", "a,b", 'q"q', "two\nlines", "three\r\nmore\rlines"])
cell_of = {"number": spelt, "missing": st.sampled_from(["", "nan", " NaN "]), "text": text}


def quoted(cell):
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\r\n') else cell


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["number", "number", "missing"]).flatmap(cell_of.get), text, spelt), min_size=2
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    missing=st.sampled_from(["drop", "mean"]),
    block_bytes=st.integers(1, 60),
    task=st.sampled_from(["regression", "classification"]),
)
def test_blocks_do_not_show(path, rows, end, missing, block_bytes, task):
    with path.open("w", newline="", encoding="utf-8") as file:
        for row in [["x", "k", "t"], ["1", "red", "2.5"], *rows]:
            file.write(",".join(map(quoted, row)) + end)
    target = "t" if task == "regression" else "k"
    if task == "classification" and len({row[1] for row in rows} | {"red"}) == 1:
        return
    source = CsvSource(path, target, missing, "one-hot")
    try:
        info, *_ = expected = bits(source, task=task)
    except DataError as error:
        assert missing == "drop" and "one class" in str(error)
        return
    order = np.random.default_rng(0).integers(0, info.num_rows, 9)
    some = bits(source, order, task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_records, "BLOCK_BYTES", block_bytes)
        patch.setattr(csv_records, "HEADER_BYTES", block_bytes)
        assert bits(source, task=task) == expected
        assert bits(source, order, task) == some
        blocks = list(csv_records.read_blocks(path))
    assert b"".join(block.data for block in blocks) == path.read_bytes()
    assert [record for block in blocks for record in block.records] == [
        record for block in csv_records.read_blocks(path) for record in block.records
    ]


def test_problems_name_row_and_line_in_any_block(path, monkeypatch):
    rows = ["1,1", '"2",2', "", "3,3", "4,oops", "5", "6,6", "7,inf"]
    path.write_text("x,t\n" + "\n".join(rows) + "\n")
    for block_bytes in (1, 8, 1 << 20):
        monkeypatch.setattr(csv_records, "BLOCK_BYTES", block_bytes)
        with pytest.raises(DataError) as caught:
            CsvSource(path, "t").describe("regression")
        for part in ("row 4 (line 6), column 't': got 'oops'", "row 5 (line 7): has 1 cells", "row 7 (line 9)"):
            assert part in str(caught.value)


def test_an_open_quote_is_found_without_reading_all_of_a_large_file(path):
    path.write_text("x,t\n" + '"1,2\n' + "3,4\n" * 500_000)
    tracemalloc.start()
    with pytest.raises(DataError, match="Look for an open quote"):
        CsvSource(path, "t").describe("regression")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6 + 2e6


def test_reading_a_range_opens_its_blocks_only(path, monkeypatch):
    path.write_text("x,t\n" + "".join(f"{i},{i}\n" for i in range(1000)))
    monkeypatch.setattr(csv_records, "BLOCK_BYTES", 100)
    monkeypatch.setattr(csv_records, "HEADER_BYTES", 8)
    source = CsvSource(path, "t")
    info = source.describe("regression")
    sizes, read_block = [], csv_records.read_block

    def spy(file, path, place, size_bytes):
        sizes.append(size_bytes)
        return read_block(file, path, place, size_bytes)

    monkeypatch.setattr("workers.data.csv_source.read_block", spy)
    read = source.read(np.arange(620, 500, -1), info)
    assert read.y.tolist() == list(range(620, 500, -1))
    assert 120 * 8 <= sum(sizes) < 120 * 8 + 300


def test_weights_and_types(path):
    path.write_text("x,w,t\n0.1,2,1\n0.2,0,2\n0.3,.5,3\n")
    source = CsvSource(path, "t", weight="w", dtype="float32")
    info = source.describe("regression")
    read = source.read(np.array([2, 0]), info)
    assert info.weighted and info.feature_names == ("x",) and info.dtype == "float32"
    assert read.weights.tolist() == [0.5, 2.0] and read.weights.dtype == np.float64
    assert read.X.dtype == read.y.dtype == np.float32
    assert read.X.ravel().tolist() == np.array([0.3, 0.1], dtype=np.float32).tolist()
    assert info.fingerprint != CsvSource(path, "t", weight="w").describe("regression").fingerprint
    assert source.describe("classification").weighted


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1,-1,1"], r"row 1 \(line 2\), column 'w': got the weight '-1', which is negative"),
        (["1,,1"], r"row 1 \(line 2\), column 'w': is empty"),
        (["1,inf,1"], "column 'w': got 'inf', which is not finite"),
        (["1,a,1"], "column 'w': got 'a' where a number"),
        (["1,0,1", "2,0,2"], "the weights of all 2 rows are 0"),
        (["1e39,1,1"], "column 'x': got '1e39', too large for float32"),
        (["1,1,-1e39"], "column 't': got '-1e39', too large for float32"),
    ],
)
def test_complaints_about_weights_and_sizes(path, rows, message):
    path.write_text("\n".join(["x,w,t", *rows]) + "\n")
    with pytest.raises(DataError, match=message):
        CsvSource(path, "t", weight="w", dtype="float32", missing="mean").describe("regression")


def test_weights_of_columns_that_are_not_there(path):
    path.write_text("x,w,t\n1,1,1\n")
    with pytest.raises(DataError, match="no column 'v'"):
        CsvSource(path, "t", weight="v").describe("regression")
    with pytest.raises(DataError, match="cannot be both target and weight"):
        CsvSource(path, "t", weight="t")
