"""Contiguous shards, validation rows, weights of classes, and what shards take in memory."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array
from sklearn.utils.class_weight import compute_class_weight

from workers.data import array_source, csv_records
from workers.data.class_weight import class_weights
from workers.data.csv_source import CsvSource
from workers.data.named_source import NamedSource
from workers.data.npy_table import NpyTable
from workers.data.numpy_source import NpySource, NpzSource
from workers.data.rows import Rows
from workers.data.shard import DataSet
from workers.data.source import DataInfo, Source
from workers.data.split import ranges, shuffled
from workers.errors import DataError


def described(num_rows):
    return DataInfo(num_rows, ("x",), "t", None, "")


def bits(shard):
    arrays = [a for rows in (shard.train, shard.test, shard.validation) for a in (rows.X, rows.y, rows.weights)]
    return [None if array is None else array.tobytes() for array in arrays]


@settings(deadline=None)
@given(
    num_rows=st.integers(1, 300),
    num_shards=st.integers(1, 20),
    test=st.sampled_from([0.0, 0.1, 0.5]),
    validation=st.sampled_from([0.0, 0.1, 0.4]),
    split=st.sampled_from(["shuffled", "contiguous"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_row_is_in_one_shard_for_one_purpose(num_rows, num_shards, test, validation, split, seed):
    try:
        data = DataSet(NamedSource("iris"), described(num_rows), test, seed, num_shards, split, validation)
    except DataError as error:
        assert "leaves none" in str(error) or "would leave some" in str(error)
        return
    parts = [data.rows(shard) for shard in range(num_shards)]
    train, tested, validated = (np.concatenate([part[kind] for part in parts]) for kind in range(3))
    assert sorted([*train, *tested, *validated]) == list(range(num_rows))
    assert (len(train), len(tested), len(validated)) == (data.num_train, data.num_test, data.num_validation)
    assert data.num_test == np.ceil(test * num_rows)
    assert data.num_validation == np.ceil(validation * (num_rows - data.num_test))
    assert [len(part[0]) for part in parts] == data.work.tolist() and data.work.min() > 0
    if split == "contiguous":
        bounds = ranges(num_rows, num_shards, np.arange(num_shards + 1))
        for shard, part in enumerate(parts):
            assert sorted(np.concatenate(part)) == list(range(bounds[shard], bounds[shard + 1]))
    else:
        assert tested.tolist() == shuffled(num_rows, seed)[: data.num_test].tolist()


def test_a_contiguous_shard_is_shuffled_by_seed_and_shard():
    data = DataSet(NamedSource("iris"), described(400), 0.0, 5, 4, "contiguous")
    orders = [data.rows(shard)[0] - 100 * shard for shard in range(4)]
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0].tolist() != replace(data, seed=6).rows(0)[0].tolist()
    assert orders[0][:6].tolist() == [14, 22, 93, 10, 98, 61]  # no version of NumPy may change it


def test_shards_without_training_rows_are_refused():
    with pytest.raises(DataError, match="5 contiguous shards of 8 rows would leave some without training"):
        DataSet(NamedSource("iris"), described(8), 0.25, 0, 5, "contiguous")
    assert DataSet(NamedSource("iris"), described(8), 0.25, 0, 5).work.min() == 1


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("sources"), np.random.default_rng(0)
    table = random.standard_normal((203, 6))
    table[:, 3] = np.abs(table[:, 3])
    table[:, -1] = random.integers(0, 3, 203)
    table[7, 1] = np.nan
    np.save(folder / "c.npy", table)
    np.save(folder / "f.npy", np.asfortranarray(table, dtype=np.float32))
    members = {"X": np.delete(table, [3, 5], axis=1), "y": table[:, 5], "weights": table[:, 3]}
    np.savez(folder / "plain.npz", **members)
    np.savez_compressed(folder / "small.npz", **{**members, "X": np.asfortranarray(members["X"])})
    lines = [",".join(map(repr, row)) for row in table.tolist()]
    (folder / "a.csv").write_text("\n".join(["a,b,c,w,d,t", *lines]) + "\n")
    return {
        "csv": CsvSource(folder / "a.csv", "t", "mean", weight="w"),
        "npy": NpySource(folder / "c.npy", weight=3, missing="mean"),
        "npy by columns": NpySource(folder / "f.npy", weight=-3, missing="mean"),
        "npz": NpzSource(folder / "plain.npz", missing="mean"),
        "npz by columns": NpzSource(folder / "small.npz", missing="mean"),
        "npz float32": NpzSource(folder / "small.npz", dtype="float32", missing="mean"),
    }


NAMES = ["csv", "npy", "npy by columns", "npz", "npz by columns", "npz float32"]


@pytest.mark.parametrize("split", ["shuffled", "contiguous"])
@pytest.mark.parametrize("name", NAMES)
def test_the_bits_of_a_shard_depend_on_nothing_else(sources, name, split, monkeypatch):
    source = sources[name]
    info = source.describe("classification")
    data = DataSet(source, info, 0.2, 1, 7, split, 0.1, "balanced")
    alone = [bits(data.load([shard])[0]) for shard in range(7)]
    monkeypatch.setattr(array_source, "BLOCK_BYTES", 90)
    monkeypatch.setattr(csv_records, "BLOCK_BYTES", 300)
    assert source.describe("classification") == info
    assert replace(data, info=source.describe("classification")).nbytes.tolist() == data.nbytes.tolist()
    for shard in replace(data, info=source.describe("classification")).load([3, 6, 0, 3]):
        assert bits(shard) == alone[shard.index]
        assert shard.nbytes == data.nbytes[shard.index]
        assert shard.train.X.dtype == shard.train.y.dtype == info.dtype
        for rows in (shard.train, shard.test, shard.validation):
            assert all(a.ctypes.data % 64 == 0 and a.flags.c_contiguous for a in (rows.X, rows.y, rows.weights))


def test_one_table_in_any_file_is_the_same_data(sources):
    kinds = {name: source.describe("classification") for name, source in sources.items()}
    assert len({kinds[name].fingerprint for name in ("csv", "npy", "npz", "npz by columns")}) == 1
    assert kinds["npy by columns"].dtype == kinds["npz float32"].dtype == "float32"
    rows = {name: sources[name].read(np.arange(203), info) for name, info in kinds.items()}
    for name in NAMES:
        X = rows["npy"].X.astype(rows[name].X.dtype)
        np.testing.assert_array_equal(np.delete(rows[name].X, 7, axis=0), np.delete(X, 7, axis=0))
        np.testing.assert_array_equal(rows[name].y, rows["npy"].y)


def test_a_contiguous_shard_of_a_file_reads_its_range_only(sources, monkeypatch):
    source, spans, read = sources["npy"], [], NpyTable.read
    data = DataSet(source, source.describe("classification"), 0.2, 1, 7, "contiguous")
    monkeypatch.setattr(NpyTable, "read", lambda table, wanted: read(table, spans.extend(wanted) or list(spans)))
    data.load([2])
    assert spans == [(203 * 2 // 7, 203 * 3 // 7)]


@dataclass(frozen=True)
class SparseSource(Source):
    X: csr_array

    def describe(self, task):
        names = tuple(f"x{i}" for i in range(self.X.shape[1]))
        info = DataInfo(self.X.shape[0], names, "t", None, "", dtype="float32", weighted=True)
        return replace(info, row_values=np.diff(self.X.indptr).astype(np.int64))

    def read(self, rows, info):
        return Rows(self.X[rows], rows.astype(np.float32), rows.astype(np.float64))


@pytest.mark.parametrize("split", ["shuffled", "contiguous"])
def test_sparse_rows_know_their_size(split):
    X = csr_array(random_array((90, 12), density=0.2, rng=np.random.default_rng(0), dtype=np.float32))
    source = SparseSource(X)
    data = DataSet(source, source.describe("regression"), 0.2, 1, 4, split, 0.1)
    for shard in data.load([0, 1, 2, 3]):
        assert shard.nbytes == data.nbytes[shard.index]
        for rows, wanted in zip((shard.train, shard.test, shard.validation), data.rows(shard.index), strict=True):
            assert rows.X.indices.dtype == rows.X.indptr.dtype == np.int32
            np.testing.assert_array_equal(rows.X.toarray(), X.toarray()[wanted])
            np.testing.assert_array_equal(rows.y, wanted)


def test_class_weights():
    source = NamedSource("digits")
    info = source.describe("classification")
    memory = source.load()
    X, y = memory.X, memory.y
    assert sum(info.class_counts) == len(X)
    np.testing.assert_allclose(
        class_weights("balanced", info), compute_class_weight("balanced", classes=np.arange(10), y=y)
    )
    assert class_weights({3: 2, "4": 0.5}, info).tolist() == [1, 1, 1, 2, 0.5, 1, 1, 1, 1, 1]
    data = DataSet(source, info, 0.2, 0, 2, class_weight={3: 2.0})
    (shard,) = data.load([1])
    assert shard.train.weights.tolist() == np.where(shard.train.y == 3, 2.0, 1.0).tolist()
    assert shard.test.weights is None and shard.nbytes == data.nbytes[1]


def test_class_weights_multiply_those_of_the_rows(sources):
    source = sources["npy"]
    info = source.describe("classification")
    plain, weighted = DataSet(source, info, 0.2, 0, 2), DataSet(source, info, 0.2, 0, 2, class_weight={1: 3.0})
    before, after = plain.load([0])[0], weighted.load([0])[0]
    assert after.train.weights.tolist() == (before.train.weights * np.where(before.train.y == 1, 3.0, 1.0)).tolist()
    assert after.test.weights.tolist() == before.test.weights.tolist()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({12: 1}, "no class 12 in 'target'"),
        ({"a": 1}, "no class 'a' in 'target'"),
        ({1: -1}, "the weight of 1 must be finite and not negative"),
        ({1: float("nan")}, "the weight of 1 must be finite"),
        (dict.fromkeys(range(3), 0), "every class has the weight 0"),
        ("balance", "must be 'balanced'"),
    ],
)
def test_class_weights_that_do_not_fit(choice, message):
    source = NamedSource("iris")
    with pytest.raises(DataError, match=message):
        DataSet(source, source.describe("classification"), 0.2, 0, 2, class_weight=choice)
    with pytest.raises(DataError, match="class weights are for classification"):
        DataSet(source, source.describe("regression"), 0.2, 0, 2, class_weight="balanced")
