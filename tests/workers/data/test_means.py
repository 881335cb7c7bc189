"""Exact means of columns, and missing values that they fill, in every kind of file."""

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.data.csv_source import CsvSource
from workers.data.features import read_table
from workers.data.means import ColumnSums
from workers.data.numpy_source import NpySource, NpzSource
from workers.data.source import Column
from workers.errors import DataError

NAN = np.nan
TABLE = np.array([[1.0, NAN, 5.0], [0.1, 2.0, 6.0], [NAN, 4.0, 7.0], [0.2, 7.0, 8.0]])

finite = st.floats(allow_nan=False, allow_infinity=False, max_value=1e300, min_value=-1e300)


@settings(deadline=None)
@given(values=st.lists(st.one_of(finite, st.just(NAN)), min_size=1, max_size=30), cuts=st.sets(st.integers(1, 29)))
def test_means_are_correctly_rounded_whatever_the_blocks(values, cuts):
    sums = ColumnSums()
    for block in np.split(np.array(values), sorted(cut for cut in cuts if cut < len(values))):
        sums.add(np.stack([block, -block], axis=1))
    present = [Fraction(value) for value in values if not math.isnan(value)]
    expected = float(sum(present) / len(present)) if present else None
    assert sums.means() == [expected, None if expected is None else -expected]


def csv_of(path, table=TABLE):
    rows = ["a,b,t", *(",".join("" if math.isnan(v) else repr(v) for v in row) for row in table.tolist())]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def sources(tmp_path):
    np.save(tmp_path / "table.npy", TABLE)
    np.savez(tmp_path / "table.npz", X=TABLE[:, :2], y=TABLE[:, 2])
    return [
        CsvSource(csv_of(tmp_path / "table.csv"), "t", missing="mean"),
        NpySource(tmp_path / "table.npy", missing="mean"),
        NpzSource(tmp_path / "table.npz", missing="mean"),
    ]


def test_missing_values_become_means_in_every_kind_of_file(sources):
    first = math.fsum([1.0, 0.1, 0.2]) / 3
    expected = np.where(np.isnan(TABLE[:, :2]), [first, 13 / 3], TABLE[:, :2])
    for source in sources:
        info = source.describe("regression")
        assert info.means.tolist() == [first, 13 / 3]
        np.testing.assert_array_equal(source.read(np.arange(4), info).X, expected)
    assert len({source.describe("regression").fingerprint for source in sources}) == 1


def test_missing_values_are_refused_unless_a_mean_is_asked_for(sources):
    for source in sources:
        with pytest.raises(DataError, match="missing: mean"):
            replace(source, missing="error").describe("regression")


def test_a_missing_target_or_an_empty_column_is_no_case_for_means(tmp_path):
    no_target, empty = TABLE.copy(), TABLE.copy()
    no_target[1, 2], empty[:, 1] = NAN, NAN
    np.save(tmp_path / "a.npy", no_target)
    np.save(tmp_path / "b.npy", empty)
    for source, message in (
        (CsvSource(csv_of(tmp_path / "a.csv", no_target), "t", missing="mean"), r"row 2 .*column 't': is empty"),
        (NpySource(tmp_path / "a.npy", missing="mean"), r"row 1, target 'x2': got nan"),
        (CsvSource(csv_of(tmp_path / "b.csv", empty), "t", missing="mean"), "column 'b': every cell is missing"),
        (NpySource(tmp_path / "b.npy", missing="mean"), "column 'x1': every cell is missing"),
    ):
        with pytest.raises(DataError, match=message):
            source.describe("regression")


def test_missing_categories_become_shares(tmp_path):
    (tmp_path / "k.csv").write_text("k,x,t\na,1,1\n,2,2\nb,3,3\na,4,4\na,,5\n")
    source = CsvSource(tmp_path / "k.csv", "t", missing="mean", text="one-hot")
    info = source.describe("regression")
    X = source.read(np.arange(5), info).X
    assert X.tolist() == [[1, 0, 1], [0.75, 0.25, 2], [0, 1, 3], [1, 0, 4], [1, 0, 2.5]]


def test_predictions_use_the_means_of_the_training_data(sources, tmp_path):
    for source, columns in zip(sources, (("a", "b"), ("x0", "x1"), ("x0", "x1")), strict=True):
        info = source.describe("regression")
        assert tuple(column.name for column in info.columns) == columns
        (tmp_path / "new.csv").write_text(f"other,{columns[1]},{columns[0]}\n1,,3\n2,5,nan\n")
        np.save(tmp_path / "new.npy", [[3.0, NAN], [NAN, 5.0]])
        expected = [[3.0, 13 / 3], [info.means[0], 5.0]]
        for name in ("new.csv", "new.npy"):
            assert read_table(tmp_path / name, info.feature_names, info.columns).tolist() == expected
    with pytest.raises(DataError, match="not finite"):
        read_table(tmp_path / "new.npy", ("x0", "x1"), ())


def test_means_survive_json():
    column = Column(3, "a", ("u", "v"), (0.1, 1 / 3))
    again = json.loads(json.dumps(vars(column)))
    assert Column(again["position"], again["name"], tuple(again["categories"]), tuple(again["means"])) == column
