"""From a job file to data and problem: what the data section says arrives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scheduler.errors import UserError
from scheduler.job_file import load_job
from scheduler.preparation import Prepared, prepare
from workers.data.csv_source import CsvSource
from workers.data.features import read_table
from workers.data.numpy_source import NpySource
from workers.errors import DataError
from workers.sequential import train

JOB = """
name: j
data: {{csv: rows.csv, target: kind, weight: w, class_weight: {class_weight}, missing: mean, dtype: float32}}
split: contiguous
test_fraction: 0.25
validation_fraction: 0.2
shards: 4
model: {{objective: logistic, l2: 0.01}}
training: {{rounds: 5, patience: {patience}}}
"""


def prepared(folder: Path, patience: int = 0, class_weight: str = "balanced", **overrides: object) -> Prepared:
    random = np.random.default_rng(0)
    X = random.standard_normal((200, 2))
    X[7, 1] = np.nan
    kinds = np.where(X[:, 0] + 0.3 * random.standard_normal(200) > 0.5, "yes", "no")
    lines = [f"{a},{b},{1 + row % 3},{kind}" for row, (a, b, kind) in enumerate(zip(*X.T, kinds, strict=True))]
    (folder / "rows.csv").write_text("\n".join(["a,b,w,kind", *lines]) + "\n")
    (folder / "job.yaml").write_text(JOB.format(patience=patience, class_weight=class_weight))
    return prepare(load_job(folder / "job.yaml", overrides))


def test_what_the_data_section_says_arrives(tmp_path: Path) -> None:
    data = prepared(tmp_path).data
    assert data.source == CsvSource((tmp_path / "rows.csv").resolve(), "kind", "mean", weight="w", dtype="float32")
    assert (data.split, data.class_weight, data.weighted) == ("contiguous", "balanced", True)
    assert (data.num_train, data.num_test, data.num_validation) == (120, 50, 30)
    assert prepared(tmp_path, class_weight="{'yes': 2.5}").data.class_weight == {"yes": 2.5}


def test_what_the_workers_section_says_arrives(tmp_path: Path) -> None:
    workers = {"count": 2, "bundle": {"cpu": 0.5}, "labels": {"zone": ["a", "b"], "rack": "r"}}
    view = prepared(tmp_path, workers=workers).view(3.0)
    assert (view.submitted_s, view.min_workers, view.max_workers, view.bundle.cpu) == (3.0, 2, 2, 0.5)
    assert view.selector == {"zone": ("a", "b"), "rack": ("r",)}


def test_such_a_job_trains_and_predicts(tmp_path: Path) -> None:
    job = prepared(tmp_path, patience=2)
    shards = job.data.load(range(4))
    assert {rows.X.dtype for shard in shards for rows in (shard.train, shard.test, shard.validation)} == {
        np.dtype("f4")
    }
    outcome = train(job.training(), shards)
    assert outcome.metric[1] > 0.8
    info = job.data.info
    (tmp_path / "new.csv").write_text("b,a\n,2\n0,-2\n")
    X = read_table(tmp_path / "new.csv", info.feature_names, info.columns)
    assert X.tolist() == [[2, info.means[1]], [-2, 0]]


def test_watching_validation_rows_needs_some(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="need validation rows: set validation_fraction"):
        prepared(tmp_path, patience=2, validation_fraction=0)


def test_class_weights_of_unknown_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no class 'yess' in 'kind'\. Did you mean 'yes'"):
        prepared(tmp_path, class_weight="{yess: 2}")


def test_numpy_options_arrive(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(12.0).reshape(4, 3))
    (tmp_path / "job.yaml").write_text(
        "name: j\ndata: {npy: a.npy, weight: 0, missing: mean, dtype: float32}\nmodel: {objective: squared}\n"
    )
    source = load_job(tmp_path / "job.yaml").data.source()
    assert source == NpySource((tmp_path / "a.npy").resolve(), -1, 0, "float32", "mean")
