"""What reads each kind of file: the functions that the commands call."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from policies.presets import resolve
from scheduler.fleet_files import load_fleet
from scheduler.job_file import load_job
from scheduler.outputs import predictions_csv
from scheduler.preparation import prepare
from scheduler.replaying import replay_output
from scheduler.simulation.traces.load import KINDS, load_trace
from scheduler.simulation.traces.trace_file import write_trace
from workers.data.csv_source import CsvSource
from workers.data.features import read_table
from workers.data.libsvm_source import LibsvmSource
from workers.data.named_source import BUNDLED
from workers.data.numpy_source import NpySource, NpzSource
from workers.data.parquet_source import ParquetSource
from workers.data.shard import DataSet
from workers.data.source import Source
from workers.model import load_model

SMALL = 10**6
"""Parameters of a model that is made; what is larger is refused or left to the machines that are to hold it."""


def read_job(folder: Path, draw: random.Random) -> None:
    """Do what ``apportion run`` does before it starts Ray; data that only the network has is left alone."""
    del draw
    job = load_job(folder / "job.yaml")
    resolve(job.policy, search=[folder])
    if job.data.openml is None and (job.data.bundled is None or job.data.bundled in BUNDLED):
        prepared = prepare(job)
        prepared.view(0.0)
        if prepared.problem.architecture.num_parameters <= SMALL:
            prepared.training()


def read_cluster(folder: Path, draw: random.Random) -> None:
    """Read a fleet, and make the table that policies see."""
    del draw
    (path,) = folder.glob("fleet.*")
    load_fleet(path).table()


def read_trace(folder: Path, draw: random.Random) -> None:
    """Read a trace, the machines that belong to it, too, and write the jobs as our own trace."""
    (path,) = folder.glob("t.*")
    trace = load_trace(path, draw.choice((None, *KINDS)) if draw.random() < 0.3 else None)
    if trace.fleet is not None:
        trace.fleet.table()
    write_trace(trace.workload, folder / "again.jsonl")


def read_model(folder: Path, draw: random.Random) -> None:
    """Do what ``apportion predict`` does."""
    del draw
    model = load_model(folder)
    answers = model.predict(read_table(folder / "rows.csv", model.feature_names, model.columns)).tolist()
    json.dumps(answers, allow_nan=False)
    predictions_csv(model.target_name, answers).encode()


def read_record(folder: Path, draw: random.Random) -> None:
    """Do what ``apportion replay`` does."""
    del draw
    replay_output(folder)


def _data(source: Callable[[Path, random.Random], Source]) -> Callable[[Path, random.Random], None]:
    """Return what describes a source, loads its shards, and reads its rows as those of a prediction."""

    def read(folder: Path, draw: random.Random) -> None:
        (path,) = folder.glob("t.*")
        made = source(path, draw)
        info = made.describe(draw.choice(("classification", "regression")))
        data = DataSet(
            made, info, 0.2, 0, min(3, max(1, info.num_rows // 2)), split=draw.choice(("shuffled", "contiguous"))
        )
        data.load(range(data.num_shards))
        columns = info.columns if draw.random() < 0.8 else tuple(replace(one, means=()) for one in info.columns)
        read_table(path, info.feature_names, columns)

    return read


def _table(draw: random.Random) -> dict[str, Any]:
    return {
        "target": draw.choice(("target",) * 9 + ("absent",)),
        "missing": draw.choice(("error", "drop", "mean")),
        "text": draw.choice(("error", "drop", "one-hot", "one-hot")),
        "weight": draw.choice((None,) * 5 + ("weight",)),
        "dtype": draw.choice(("auto", "float32")),
    }


def _numpy(path: Path, draw: random.Random) -> Source:
    missing = draw.choice(("error", "mean"))
    if path.suffix == ".npz":
        return NpzSource(path, missing=missing)
    return NpySource(path, draw.choice((-1, 0, 2)), draw.choice((None, 1)), missing=missing)


TARGETS: Mapping[str, Callable[[Path, random.Random], None]] = {
    "job": read_job,
    "cluster": read_cluster,
    "trace": read_trace,
    "csv": _data(lambda path, draw: CsvSource(path, **_table(draw))),
    "libsvm": _data(lambda path, draw: LibsvmSource(path, draw.choice((None, 9)), draw.random() < 0.3)),
    "model": read_model,
    "record": read_record,
    "npy": _data(_numpy),
    "parquet": _data(lambda path, draw: ParquetSource(path, **_table(draw))),
}
"""Kind of file -> what reads the files of a case in their folder."""
