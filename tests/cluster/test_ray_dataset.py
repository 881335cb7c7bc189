"""Ray Data datasets: the same data as in memory, looked at where the blocks lie."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import ray

from policies.presets import resolve
from scheduler.job import Recipe
from scheduler.observer import Observer
from scheduler.preparation import prepare_source
from scheduler.runner import run_connected
from scheduler.session import Session
from workers.data import ray_dataset
from workers.data.memory_source import MemorySource
from workers.data.ray_dataset import RayDatasetSource
from workers.data.shard import DataSet
from workers.errors import DataError
from workers.sequential import train

pytestmark = pytest.mark.cluster
ray_data = pytest.importorskip("ray.data")

RNG = np.random.default_rng(5)
FRAME = pd.DataFrame(
    {"a": RNG.normal(size=50), "b": RNG.integers(9, size=50), "c": RNG.choice(["x", "yy"], 50), "w": np.arange(50)}
)


def _first(batch: dict[str, np.ndarray]) -> np.ndarray:
    return batch["data"][:, 0]


@pytest.fixture(autouse=True)
def _connected(session: Session) -> None:
    context = ray_data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True


def refusal(dataset: object, *args: object, task: str = "regression") -> str:
    with pytest.raises(DataError) as caught:
        RayDatasetSource(dataset, *args).describe(task)
    return str(caught.value)


@pytest.mark.parametrize(("task", "dtype"), [("regression", "float32"), ("classification", "float64")])
def test_a_dataset_is_what_it_is_in_memory(task: str, dtype: str) -> None:
    target = "a" if task == "regression" else "c"
    features = ["b"] if task == "regression" else ["a", "b"]
    weight = None if task == "regression" else "w"
    dataset = ray_data.from_pandas([FRAME[:7], FRAME[7:30], FRAME[30:]]).map_batches(lambda batch: batch)
    source = RayDatasetSource(dataset, target, features, weight=weight, dtype=dtype)
    weights = None if weight is None else FRAME[weight]
    options = {"feature_names": features, "target_name": target, "dtype": dtype}
    memory = MemorySource(FRAME[features], FRAME[target], weights, **options)
    info = source.describe(task)
    assert info == memory.describe(task)
    rows = np.array([49, 0, 7, 7, 29])
    read, expected = source.read(rows, info), memory.read(rows, info)
    np.testing.assert_array_equal(read.X, expected.X)
    np.testing.assert_array_equal(read.y, expected.y)
    np.testing.assert_array_equal(read.weights, expected.weights)
    assert read.X.dtype == read.y.dtype == dtype


def test_chunks_that_cut_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.arange(40.0).reshape(20, 2)
    dataset = ray_data.from_numpy([table[:3], table[3:9], table[9:]]).add_column("y", _first, batch_format="numpy")
    source = RayDatasetSource(dataset, "y")
    info = source.describe("regression")
    assert info.feature_names == ("data[0]", "data[1]")
    assert info.fingerprint == MemorySource(table, table[:, 0]).describe("regression").fingerprint
    monkeypatch.setattr(ray_dataset, "CHUNK_ROWS", 4)
    held = [[stop - start for start, stop in source._chunk(first)[0]] for first in range(0, 20, 4)]
    assert held == [[3, 1], [4], [1, 3], [4], [4]]
    cut = RayDatasetSource(dataset.limit(11), "y")
    np.testing.assert_array_equal(cut.read(np.array([10, 2]), cut.describe("regression")).X, table[[10, 2]])


def test_a_worker_gets_only_the_blocks_of_its_rows() -> None:
    dataset = ray_data.from_numpy([np.full((5, 2), float(place)) for place in range(4)])
    dataset = dataset.add_column("y", _first, batch_format="numpy")
    source = RayDatasetSource(dataset, "y")
    data = DataSet(source, source.describe("regression"), 0.0, 0, 2)

    @ray.remote
    def read(data: DataSet) -> tuple[list[float], int]:
        fetched = []
        original, ray_dataset.ray.get = ray_dataset.ray.get, lambda ref: fetched.append(ref) or original(ref)
        try:
            return data.source.read(np.array([13, 10, 4]), data.info).y.tolist(), len(fetched)
        finally:
            ray_dataset.ray.get = original

    assert ray.get(read.remote(ray.put(data))) == ([2.0, 2.0, 0.0], 2)


def test_complaints() -> None:
    frame = pd.DataFrame({"a": [1.0, None, 2.0], "t": [1.0, 2.0, np.inf], "s": ["u", None, "v"]})
    dataset = ray_data.from_pandas(frame)
    message = refusal(dataset, "t", ["a"])
    assert "row 1, column 'a': got nan" in message and "row 2, target 't': got" in message
    assert "column 's': holds type" in refusal(dataset, "t")
    with pytest.raises(DataError, match="row 1, weight 'a': got nan"):
        RayDatasetSource(ray_data.from_pandas(frame[:2].assign(u=1)), "t", ["u"], weight="a").describe("regression")
    assert "row 1, target 's': got" in refusal(ray_data.from_pandas(frame[["t", "s"]][:2]), "s", task="classification")
    assert "target 's': holds type" in refusal(dataset, "s", ["t"])
    assert "no column 'z'. The choices are a, t, s." in refusal(dataset, "z")
    for weight, features, both in (("t", ["a"], "target and weight"), (None, ["a", "t"], "target and feature")):
        with pytest.raises(DataError, match=f"column 't' cannot be both {both}"):
            RayDatasetSource(dataset, "t", features, weight=weight)
    assert "has 3 rows and 0 features" in refusal(dataset, "t", [])
    assert "the one class 1" in refusal(ray_data.from_pandas(frame[:1]), "t", ["a"], task="classification")


def test_a_dataset_trains_on_workers() -> None:
    dataset = ray_data.from_pandas(FRAME[["a", "b", "w"]]).repartition(4)
    recipe = Recipe(name="dataset", model={"objective": "squared", "l2": 0.1}, shards=3, workers={"count": 2})
    prepared = prepare_source(recipe, RayDatasetSource(dataset, "w"))
    model = run_connected(prepared, resolve("equal"), Observer()).model
    memory = MemorySource(FRAME[["a", "b"]].to_numpy(np.float64), FRAME["w"].to_numpy(np.float64))
    alone = prepare_source(recipe, memory)
    assert model.weights.tobytes() == train(alone.training(), alone.data.load(range(3))).weights.tobytes()
