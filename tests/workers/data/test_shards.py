"""The split into training and test rows, and shards."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from workers.data.named_source import NamedSource
from workers.data.numpy_source import NpySource
from workers.data.shard import DataSet
from workers.data.source import aligned_copy, aligned_empty
from workers.data.split import count_rows, ranges, shuffled
from workers.errors import DataError


@settings(deadline=None)
@given(n=st.integers(2, 300), fraction=st.floats(0.001, 0.999), seed=st.integers(0, 2**32 - 1))
def test_the_split_is_that_of_sklearn(n, fraction, seed):
    if np.ceil(fraction * n) >= n:
        with pytest.raises(DataError, match="leaves none for training"):
            count_rows(n, fraction)
        return
    num_test, order = count_rows(n, fraction).test, shuffled(n, seed)
    train, test = order[num_test:], order[:num_test]
    expected = train_test_split(np.arange(n), test_size=fraction, random_state=seed, shuffle=True)
    np.testing.assert_array_equal(train, expected[0])
    np.testing.assert_array_equal(test, expected[1])


def test_splits_refused_and_empty_test():
    assert count_rows(5, 0.0) == (5, 0, 0)
    assert count_rows(10, 0.2, 0.5) == (4, 2, 4)
    with pytest.raises(ValueError, match="read-only"):
        shuffled(5, 1)[0] = 1
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(DataError, match="the test fraction must lie in"):
            count_rows(5, fraction)
        with pytest.raises(DataError, match="the validation fraction must lie in"):
            count_rows(5, 0.2, fraction)
    with pytest.raises(DataError, match=r"a validation fraction of 0\.9 of 4 rows leaves none"):
        count_rows(5, 0.2, 0.9)
    for seed in (-1, 2**32):
        with pytest.raises(DataError, match=f"seed must lie in 0..4294967295, got {seed}"):
            shuffled(5, seed)


@settings(deadline=None)
@given(num_rows=st.integers(0, 10**9), num_shards=st.integers(1, 1000))
def test_shard_ranges(num_rows, num_shards):
    bounds = ranges(num_rows, num_shards, np.arange(num_shards + 1))
    sizes = np.diff(bounds)
    assert bounds.shape == (num_shards + 1,) and (bounds[0], bounds[-1]) == (0, num_rows)
    assert sizes.min() >= 0 and np.ptp(sizes) <= 1


def test_no_shards():
    with pytest.raises(DataError, match="at least 1, got 0"):
        ranges(5, 0, np.arange(1))


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_aligned_memory(shape):
    array = aligned_empty(tuple(shape))
    assert array.shape == tuple(shape) and (array.size == 0 or array.ctypes.data % 64 == 0)
    assert array.flags.c_contiguous and array.flags.writeable and array.dtype == np.float64
    array[...] = 1.0
    np.testing.assert_array_equal(aligned_copy(array), np.ones(shape))


def dataset(num_shards=7, fraction=0.25, name="iris"):
    source = NamedSource(name)
    return DataSet(source, source.describe(source.natural_task), fraction, 3, num_shards)


@settings(deadline=None)
@given(num_shards=st.integers(1, 112), fraction=st.sampled_from([0.0, 0.01, 0.25]))
def test_shards_partition_the_rows_and_know_their_size(num_shards, fraction):
    data = dataset(num_shards, fraction)
    parts = [data.rows(shard) for shard in range(num_shards)]
    order, num_test = shuffled(data.info.num_rows, 3), data.num_test
    train, test = order[num_test:], order[:num_test]
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), train)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), test)
    shards = data.load(range(num_shards))
    assert [len(shard.train) for shard in shards] == data.work.tolist()
    assert [shard.nbytes for shard in shards] == data.nbytes.tolist()
    assert (data.num_train, data.num_test) == (len(train), len(test))


def test_a_shard_is_the_same_whatever_it_is_loaded_with():
    data = pickle.loads(pickle.dumps(dataset()))  # noqa: S301
    alone = {shard: data.load([shard])[0] for shard in range(7)}
    read = data.source.read(np.arange(150), data.info)
    X, y = read.X, read.y
    for shard in data.load([5, 0, 3, 5]):
        train, test, _ = data.rows(shard.index)
        pairs = zip(
            (shard.train.X, shard.train.y, shard.test.X, shard.test.y),
            (X[train], y[train], X[test], y[test]),
            strict=True,
        )
        assert all(got.tobytes() == expected.tobytes() for got, expected in pairs)
        assert shard.train.X.tobytes() == alone[shard.index].train.X.tobytes()
        for array in (shard.train.X, shard.train.y, shard.test.X, shard.test.y):
            assert array.ctypes.data % 64 == 0 and array.flags.c_contiguous
    assert data.load([]) == []


def test_loading_is_one_pass(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.arange(40.0).reshape(20, 2))
    source, calls = NpySource(tmp_path / "a.npy"), []
    data = DataSet(source, source.describe("regression"), 0.2, 0, 4)
    read = NpySource.read_parts
    monkeypatch.setattr(NpySource, "read_parts", lambda *args: calls.append(1) or read(*args))
    assert [shard.index for shard in data.load([2, 1])] == [2, 1]
    assert len(calls) == 1


def test_a_pickled_data_set_is_small(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5000, 20)))
    source = NpySource(tmp_path / "a.npy")
    data = DataSet(source, source.describe("regression"), 0.2, 0, 4)
    data.load([0])
    assert len(pickle.dumps(data)) < 4000


def test_a_bundled_set_travels_with_its_arrays():
    data = dataset(name="digits")
    pickled = pickle.dumps(data)
    assert len(pickled) < 1_000_000
    code = (
        "import pickle, sys; data = pickle.load(sys.stdin.buffer); shard = data.load([1])[0]; "
        "assert 'sklearn' not in sys.modules; sys.stdout.write(str(shard.train.X.sum()))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True, check=True)
    assert float(done.stdout) == data.load([1])[0].train.X.sum()


def test_what_cannot_be_cut():
    with pytest.raises(
        DataError, match=r"200 shards of 112 training rows would leave some empty\. Ask for at most 112"
    ):
        dataset(200)
    with pytest.raises(DataError, match="at least 1"):
        dataset(0)
    for shard in (-1, 7):
        with pytest.raises(DataError, match=f"numbered 0..6, got {shard}"):
            dataset().rows(shard)
