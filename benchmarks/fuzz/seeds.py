"""Small real files of every kind, to be broken: examples of this repository, and what its own code writes."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import chdir
from pathlib import Path

import numpy as np
import yaml

from scheduler.job import Job
from scheduler.preparation import prepare
from scheduler.record_file import RECORD_FILE, StoredRecord, write_record
from scheduler.simulation.traces.load import OPENB_NODES
from scheduler.simulation.traces.shockwave import THROUGHPUTS
from workers.architectures import Linear, Mlp
from workers.columns import Columns
from workers.data.source import Column
from workers.model import Model, sha256_of
from workers.objectives import OBJECTIVES
from workers.record import Record, RecordedCall
from workers.replay import replay

ROOT = Path(__file__).parents[2]
Files = dict[str, bytes]

CSV = "age,colour,weight,target\n" + "".join(
    f"{row * 7 % 11},{('red', 'blue', 'green')[row % 3]},{1 + row % 2}.5,{row % 2}\n" for row in range(24)
)
NUMBERS = "a,b,y\n" + "".join(f"{row % 7},{row * row % 13 / 4},{3 * (row % 7) - row % 2}\n" for row in range(30))
LIBSVM = "".join(f"{row % 2} {1 + row % 3}:0.5 {5 + row % 4}:{row}  # row {row}\n" for row in range(20))
TABLE = np.array([[row % 5, row / 7, row % 2] for row in range(20)], dtype=np.float64)


def jobs() -> list[Files]:
    """Return the examples that need no network, and small jobs for every kind of data."""
    data = {**_csv()[0], **_libsvm()[0], **_arrays()[0], **_arrays()[1]}
    found = []
    for name in ("diabetes", "breast_cancer", "digits", "digits_mlp"):
        told = yaml.safe_load((ROOT / "examples" / f"{name}.yaml").read_text(encoding="utf-8"))
        found.append({"job.yaml": yaml.safe_dump({**told, "output": "out"}, sort_keys=False).encode()})
        found.append({"job.yaml": (ROOT / "examples" / f"{name}.yaml").read_bytes()})
    model = {"objective": "logistic", "l2": 0.01, "intercept": True}
    rich = {"csv": "t.csv", "target": "target", "missing": "drop", "text": "one-hot", "class_weight": "balanced"}
    training = {"solver": "local-sgd", "mode": {"ssp": {"staleness": 2}}, "learning_rate": 0.1, "server": "adam"}
    workers = {"min": 1, "max": 3, "labels": {"zone": ["a", "b"]}, "bundle": {"cpu": 1, "memory": "64MiB"}}
    policy = {"order": "srtf", "place": "pack", "balance": {"adaptive": {}}}
    for data_of in (rich, {"libsvm": "t.libsvm"}, {"npy": "t.npy", "weight": 0}, {"npz": "t.npz", "dtype": "float32"}):
        job = {"name": "j", "data": data_of, "model": model, "shards": 3, "output": "out", "workers": workers}
        more = {"training": training, "policy": policy, "split": "contiguous", "validation_fraction": 0.1}
        found += [{**data, "job.yaml": yaml.safe_dump({**job, **some}).encode()} for some in ({}, more)]
    return [{name: content for name, content in files.items() if _belongs(name, files)} for files in found]


def _belongs(name: str, files: Mapping[str, bytes]) -> bool:
    return name == "job.yaml" or name.encode() in files["job.yaml"]


def clusters() -> list[Files]:
    """Return this repository's cluster file, and fleets as YAML and CSV."""
    types = {"head": {"resources": {"CPU": 2}}, "gpu": {"resources": {"CPU": 8, "GPU": 4}, "max_workers": 3}}
    least = {"available_node_types": types, "head_node_type": "head", "max_workers": 4}
    fleet = "kind,count,cpu,gpu,memory_gib,speed,mbit_per_s,price_per_hour,label:zone\nslow,2,4,0,16,0.5,100,0.1,a\n"
    return [
        {"fleet.yaml": (ROOT / "cluster.yaml").read_bytes()},
        {"fleet.yaml": yaml.safe_dump(least, sort_keys=False).encode()},
        {"fleet.csv": f"{fleet}fast,3,8,2,64,2,1000,3,b\n".encode()},
        {"fleet.csv": b"id,cpu,gpu\nn0,4,0\nn1,2,1\n"},
    ]


def traces() -> list[Files]:
    """Return a trace of every kind that is read."""
    ours = [
        {"apportion-trace": 1, "source": "test", "meta": {"a": "b"}},
        {"id": "a", "cpu": 1, "workers": [1, 2], "work": 100.0, "rates": {"": [1.0, 1.8]}, "selector": {"z": ["a"]}},
        {"id": "b", "at": 5, "gpu": 1, "workers": [2, 2], "phases": [{"work": 3, "rates": {"v": [1, 2]}}]},
        {"id": "c", "learning": {"rounds": 3, "work": [1, 2], "bytes": [8, 8], "s_per_work": 0.1, "losses": [1, None]}},
    ]
    pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time,scheduled_time\n"
    line = "LM (batch size 40)\tmain.py\tdir\t--steps\t1\t14920\t1\t{}\t1\t-1.000000\t746\t12.5\n"
    rates = {f"('LM (batch size {size})', 1)": {"null": 20.0} for size in (40, 80)}
    times = ",worker,gpu,time,batch_time_norm\n0,0,25,1,100\n1,1,25,1,300\n2,0,25,11,200\n3,1,25,11,200\n"
    return [
        {"t.jsonl": "".join(f"{json.dumps(one)}\n" for one in ours).encode()},
        {
            "t.csv": f"{pods}p0,500,1,0,0,,5,25,15\np1,2000,2,1,250,T4|V100,0,10,0\np2,1000,1,2,1000,,3,9,\n".encode(),
            OPENB_NODES: b"sn,cpu_milli,memory_mib,gpu,model\nn0,64000,1024,2,T4\nn1,1000,8,0,\n",
        },
        {
            "t.trace": (line.format("static") + line.format("gns")).encode(),
            THROUGHPUTS: json.dumps({"v100": rates}).encode(),
        },
        {"t.csv": b"job_id,submitted_s,gpus,duration_s,cpu,memory_gib,tenant\nb,9,4,100,8,16,v\na,3,0,7,,,\n"},
        {"t.csv": times.encode()},
    ]


def _csv() -> list[Files]:
    quoted = 'n,"a ""b""",target\n1,"x,\ny",p\n2,z,q\n3,,p\n'
    return [{"t.csv": CSV.encode()}, {"t.csv": quoted.encode()}, {"t.csv": NUMBERS.replace("y", "target", 1).encode()}]


def _libsvm() -> list[Files]:
    return [
        {"t.libsvm": LIBSVM.encode()},
        {"t.libsvm": b"1 qid:1 1:2\n-1 1:3\n"},
        {"t.libsvm.gz": gzip.compress(LIBSVM.encode())},
    ]


def _arrays() -> list[Files]:
    files = []
    for array in (TABLE, np.asfortranarray(TABLE), TABLE.astype("<f4"), TABLE.astype(np.int16)):
        np.save(written := io.BytesIO(), array)
        files.append({"t.npy": written.getvalue()})
    names = np.array(["a", "b"])
    for save in (np.savez, np.savez_compressed):
        save(written := io.BytesIO(), X=TABLE[:, :2], y=TABLE[:, 2], feature_names=names, weights=np.ones(20))
        files.insert(1, {"t.npz": written.getvalue()})
        save(written := io.BytesIO(), X=np.asfortranarray(TABLE[:, :2]), y=np.array(["p", "q"] * 10))
        files.append({"t.npz": written.getvalue()})
    return files


def _parquet() -> list[Files]:
    import pyarrow as pa
    from pyarrow import parquet

    target = [row % 2 for row in range(24)]
    plain = pa.table({"a": [row / 3 for row in range(24)], "b": list(range(24)), "target": target})
    mixed = pa.table({
        "a": pa.array([1.5, None] * 12),
        "colour": pa.array(["red", "blue"] * 12).dictionary_encode(),
        "d": pa.array(range(24), pa.float32()),
        "weight": pa.array([1.0] * 24),
        "target": target,
    })  # fmt: skip
    files = []
    for table, packing in ((plain, "none"), (plain, "snappy"), (mixed, "gzip"), (mixed, "zstd")):
        parquet.write_table(table, written := io.BytesIO(), compression=packing, row_group_size=10)
        files.append({"t.parquet": written.getvalue()})
    return files


def models() -> list[Files]:
    """Return saved models of several architectures, each with rows to predict for."""
    names = ("length", "color=red", "color=blue")
    table = (Column(0, "length"), Column(1, "color", ("red", "blue")))
    rows, found = b"length,color\n1,red\n2.5,blue\n", list[Files]()
    for objective, outputs, classes in (
        ("softmax", 3, ("ant", "bee", "wasp")),
        ("logistic", 1, (3, 7)),
        ("squared", 1, None),
        ("huber", 1, None),
        ("poisson", 1, None),
    ):
        for architecture in (Linear(3, outputs), Mlp(3, outputs, hidden=(4, 2))):
            parameters = architecture.start(np.random.default_rng(0)) + 0.1
            arrays = architecture.to_arrays(parameters, Columns.raw(3))
            model = Model("m", OBJECTIVES[objective], architecture, names, "y", classes, table, arrays, {"rounds": 3})  # type: ignore[arg-type]  # classes are texts or numbers
            found.append({**_saved(model), "rows.csv": rows})
    return found


def _saved(model: Model) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def records() -> list[Files]:
    """Return the output folders of short asynchronous runs."""
    found = []
    for mode in ("asp", {"ssp": {"staleness": 2}}):
        with tempfile.TemporaryDirectory() as name, chdir(name):
            Path("d.csv").write_text(NUMBERS, encoding="utf-8")
            told = {
                "name": "j",
                "data": {"csv": "d.csv", "target": "y"},
                "model": {"objective": "squared"},
                "training": {"solver": "local-sgd", "rounds": 3, "mode": mode, "tolerance": 0.0, "learning_rate": 0.01},
                "shards": 3,
                "output": "out",
            }
            prepared = prepare(Job.model_validate(told))
            calls = [RecordedCall(f"w{at % 2}", max(at - 1, 0), at // 3, (at % 3,)) for at in range(9)]
            record = Record(tuple((call,) for call in calls), "the time is over")
            outcome = replay(prepared.training(), prepared.data.load(range(3)), record)
            problem, info = prepared.problem, prepared.data.info
            model = Model(
                *("j", problem.objective, problem.architecture, info.feature_names, info.target_name, None, ()),
                arrays=outcome.arrays,
                provenance={},
            )
            stored = StoredRecord(told, info.fingerprint, sha256_of(outcome.arrays), record)
            write_record(Path(RECORD_FILE), stored)
            files = {**_saved(model), RECORD_FILE: Path(RECORD_FILE).read_bytes(), "d.csv": NUMBERS.encode()}
            found.append(files)
    return found


SEEDS: Mapping[str, Callable[[], list[Files]]] = {
    "job": jobs,
    "cluster": clusters,
    "trace": traces,
    "csv": _csv,
    "libsvm": _libsvm,
    "model": models,
    "record": records,
    "npy": _arrays,
    "parquet": _parquet,
}
"""Kind of file -> what there is of it."""
