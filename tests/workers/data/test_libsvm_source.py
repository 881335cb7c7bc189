"""libsvm files: the same rows as scikit-learn reads, and what every complaint says."""

import bz2
import gzip
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_svmlight_file
from source_cases import refusal

from workers.data import libsvm_lines
from workers.data.libsvm_source import LibsvmSource, read_libsvm
from workers.errors import DataError

WRITERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}


@pytest.fixture
def file(tmp_path):
    def write(text, suffix=""):
        path = tmp_path / f"rows.svm{suffix}"
        path.write_bytes(WRITERS[suffix](text.encode()))
        return path

    return write


def test_comments_blank_lines_empty_rows_and_spelled_zeros(file):
    source = LibsvmSource(file("# rows\n1 2:3 4:0\n\n-1  # none\r\n+1\t1:1e1 4:-2\n"))
    info = source.describe("classification")
    assert (info.num_rows, info.feature_names, info.classes) == (3, ("x1", "x2", "x3", "x4"), (-1, 1))
    assert info.row_values.tolist() == [1, 0, 2]
    read = source.read(np.array([2, 0, 1, 2]), info)
    np.testing.assert_array_equal(read.X.toarray(), [[10, 0, 0, -2], [0, 3, 0, 0], [0, 0, 0, 0], [10, 0, 0, -2]])
    np.testing.assert_array_equal(read.y, [1, 1, 0, 1])


def test_zero_based_and_num_features(file):
    source = LibsvmSource(file("1 0:1 2:2\n2 1:1\n"), num_features=5, zero_based=True)
    info = source.describe("regression")
    assert info.feature_names == ("x0", "x1", "x2", "x3", "x4")
    np.testing.assert_array_equal(source.read(np.array([0]), info).X.toarray(), [[1, 0, 2, 0, 0]])
    with pytest.raises(DataError, match="num_features must lie in"):
        LibsvmSource("x", num_features=0)


ROWS = st.lists(
    st.tuples(
        st.integers(-3, 3),
        st.dictionaries(st.integers(1, 40), st.floats(-1e9, 1e9, width=32).filter(bool), max_size=6),
        st.sampled_from(["", " ", " # 1:2", "\n", "\n# 4 5:6\n"]),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, suffix=st.sampled_from(list(WRITERS)), data=st.data())
def test_rows_equal_those_of_sklearn(tmp_path_factory, rows, suffix, data):
    text = "".join(
        " ".join([str(label), *(f"{index}:{values[index]!r}" for index in sorted(values))]) + end + "\n"
        for label, values, end in rows
    )
    path = tmp_path_factory.mktemp("svm") / f"rows{suffix}"
    path.write_bytes(WRITERS[suffix](text.encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(libsvm_lines, "BLOCK_ROWS", data.draw(st.integers(1, 7)))
        source = LibsvmSource(path, num_features=40)
        info = source.describe("regression")
    X, y = load_svmlight_file(str(path), n_features=40, zero_based=False)
    assert info.row_values.tolist() == np.diff(X.indptr).tolist()
    picked = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)), dtype=np.int64)
    read = source.read(picked, info)
    np.testing.assert_array_equal(read.X.toarray(), X[picked].toarray())
    np.testing.assert_array_equal(read.y, y[picked])
    np.testing.assert_array_equal(read_libsvm(path, 40).toarray(), X.toarray())


def test_blocks_do_not_show_in_the_fingerprint(file, monkeypatch):
    path = file("".join(f"{i % 2} {i + 1}:{i + 0.5}\n" for i in range(20)))
    expected = LibsvmSource(path).describe("classification")
    monkeypatch.setattr(libsvm_lines, "BLOCK_ROWS", 3)
    assert LibsvmSource(path).describe("classification") == expected
    assert LibsvmSource(file(path.read_text(), ".gz")).describe("classification") == expected
    assert LibsvmSource(file(path.read_text().replace("0.5", "0.25"))).describe("classification") != expected


def test_a9a(data_folder):
    path = data_folder / "tabular/a9a"
    source, info = pickle.loads(  # noqa: S301
        pickle.dumps((LibsvmSource(path), LibsvmSource(path).describe("classification")))
    )
    X, y = load_svmlight_file(str(path))
    assert (info.num_rows, info.num_features, info.classes) == (32561, 123, (-1, 1))
    rows = np.random.default_rng(0).permutation(info.num_rows)[:9000]
    read = source.read(rows, info)
    assert (X[rows] != read.X).nnz == 0
    np.testing.assert_array_equal(2 * read.y - 1, y[rows])


def test_only_the_blocks_of_the_rows_are_read(file, monkeypatch):
    monkeypatch.setattr(libsvm_lines, "BLOCK_ROWS", 4)
    source = LibsvmSource(file("".join(f"{i} 1:{i + 1}\n" for i in range(40))))
    info = source.describe("regression")
    parsed = []
    original = libsvm_lines.parse
    monkeypatch.setattr(libsvm_lines, "parse", lambda rows, *more: parsed.append(rows) or original(rows, *more))
    read = source.read(np.array([30, 9, 31]), info)
    np.testing.assert_array_equal(read.y, [30, 9, 31])
    assert [[row.line for row in rows] for rows in parsed] == [[10], [31, 32]]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("x 1:2", "line 2: got 'x' where a label is expected"),
        ("1,2 1:2", "line 2: got '1,2' where a label is expected"),
        ("1_0 1:2", "line 2: got '1_0' where a label is expected"),
        ("1:2 2:3", "line 2: got '1:2' where a label is expected"),
        ("nan 1:2", "line 2: got the label 'nan', which is not finite"),
        ("1 2:3 2:4", "line 2: got the index 2 after 2"),
        ("1 2:3 1:4", "line 2: got the index 1 after 2"),
        ("1 0:3", "line 2: got the index 0, less than 1. Indices count from 1; set zero_based: true"),
        ("1 -4:3", "line 2: got the index -4, less than 1"),
        ("1 99:3", "line 2: got the index 99, more than 9. Raise num_features"),
        (f"1 {'9' * 5000}:3", "line 2: got the index 9"),
        ("1 a:3", "line 2: got the index 'a', which is no whole number"),
        ("1 1.5:3", "line 2: got the index '1.5', which is no whole number"),
        ("1 +1:3", "line 2: got the index '+1', which is no whole number"),
        ("1 3", "line 2: got '3' where INDEX:VALUE is expected"),
        ("1 3:", "line 2: got '3:' where INDEX:VALUE is expected"),
        ("1 3: 4", "line 2: got '3:' where INDEX:VALUE is expected"),
        ("1 3:4:5", "line 2: got '3:4:5' where INDEX:VALUE is expected"),
        ("1 3:1_0", "line 2: got '3:1_0' where INDEX:VALUE is expected"),
        ("1 3:inf", "line 2, index 3: got 'inf', which is not finite"),
        ("1 3:1e999", "line 2, index 3: got '1e999', which is not finite"),
        ("1 qid:3 1:1", "line 2: got 'qid:3'. Groups of rows (ranking) are not supported"),
        ("1 3:٣", "line 2: got '1 3:٣'"),
    ],
)
def test_complaints_name_the_line(file, line, complaint):
    path = file(f"1 1:1\n{line}\n2 2:2\n")
    assert complaint in refusal(LibsvmSource(path, num_features=9))
    with pytest.raises(DataError, match="line 2"):
        read_libsvm(path, 9)


def test_a_stray_index_is_no_reason_for_a_million_columns(file):
    assert "At most 16,777,216 features, unless" in refusal(LibsvmSource(file("1 99999999:1\n2 1:1\n")))


def test_complaints_about_files(file, tmp_path):
    assert "the one class 1" in refusal(LibsvmSource(file("1 1:1\n1 2:1\n")), "classification")
    assert "got 0.5 where a class is expected" in refusal(LibsvmSource(file("1 1:1\n.5 2:1\n")), "classification")
    assert "no feature is left" in refusal(LibsvmSource(file("# nothing\n")))
    assert "no rows" in refusal(LibsvmSource(file("# nothing\n"), num_features=2))
    assert "No such file" in refusal(LibsvmSource(tmp_path / "none"))
    for suffix in (".gz", ".bz2"):
        path = file("1 1:1\n" * 500, suffix)
        path.write_bytes(path.read_bytes()[:-12])
        assert "Is it cut off" in refusal(LibsvmSource(path))
        path.write_bytes(b"1 1:1\n")
        assert "of another format" in refusal(LibsvmSource(path))


def test_float32(file):
    source = LibsvmSource(file("1 1:0.1 2:1e-60\n2 2:2\n"), dtype="float32")
    info = source.describe("regression")
    read = source.read(np.array([0, 1]), info)
    assert read.X.dtype == read.y.dtype == info.dtype == "float32" and info.row_values.tolist() == [1, 1]
    assert read.X[0, 0] == np.float32(0.1)
    message = refusal(LibsvmSource(file("1 1:1e39\n1e39 2:2\n"), dtype="float32"))
    assert "line 1, index 1: got '1e39', too large for float32" in message
    assert "line 2: got the label '1e39', too large for float32" in message


def test_a_file_that_changed_is_noticed(file):
    path = file("1 1:1\n2 2:2\n3 1:1\n")
    source = LibsvmSource(path)
    info = source.describe("regression")
    file("1 1:1\n2 2:2\n")
    with pytest.raises(DataError, match="has changed since it was described: it had 18 bytes, now 12"):
        source.read(np.arange(3), info)
    for text, complaint in {
        "1 1:1\n2 2:2\n3    \n": "has changed since",
        "1 1:1\n2 2:2\n# 1:1\n": "had 3 rows, now it has fewer",
        "1 1:1\nx 2:2\n3 1:1\n": r"changed since it was described\?\), line 2: got 'x'",
    }.items():
        file(text)
        os.utime(path, ns=(info.stamp.modified_ns,) * 2)
        with pytest.raises(DataError, match=complaint):
            source.read(np.arange(3), info)
