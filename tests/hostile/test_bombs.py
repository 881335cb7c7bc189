"""Files that are made to hurt: small ones that would fill a memory, run code, or lead out of their folder."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import pickle
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scheduler.errors import UserError
from scheduler.fleet_files import load_fleet
from scheduler.job_file import load_job, parse_override
from scheduler.record_file import read_record
from scheduler.simulation.traces.load import load_trace
from workers.architectures import Linear
from workers.data.csv_source import CsvSource
from workers.data.features import read_table
from workers.data.libsvm_source import LibsvmSource
from workers.data.numpy_source import NpySource, NpzSource
from workers.errors import DataError
from workers.model import MODEL_FILE, WEIGHTS_FILE, Model, load_model, write_bytes
from workers.objectives import OBJECTIVES
from workers.reading import LINE_LENGTH, PAGE_BYTES

MIB = 1 << 20


@contextmanager
def little_memory(most_bytes: int = 64 * MIB) -> Iterator[None]:
    """Fail if Python and NumPy ask for more than this at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()


def refused(read: Callable[[], Any], *said: str) -> None:
    """Expect one message of at most some thousand characters."""
    with little_memory(), pytest.raises((UserError, DataError)) as caught:
        read()
    text = str(caught.value)
    assert len(text) < 16_000
    for one in said:
        assert one in text


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- models --------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the folder of a saved model."""
    arrays = {"weights": np.ones((3, 1)), "intercepts": np.zeros(1)}
    Model("m", OBJECTIVES["squared"], Linear(3, 1), ("a", "b", "c"), "y", None, (), arrays, {}).save(tmp_path)
    return tmp_path


def described(folder: Path, **changes: Any) -> None:
    told = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
    written(folder / MODEL_FILE, json.dumps({**told, **changes}))


def sealed(folder: Path, members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> None:
    """Write members into the weights, and the checksum that belongs to them."""
    with zipfile.ZipFile(content := io.BytesIO(), "w", packing) as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    written(folder / WEIGHTS_FILE, content.getvalue())
    described(folder, weights={"file": WEIGHTS_FILE, "sha256": hashlib.sha256(content.getvalue()).hexdigest()})


def npy(values: Any) -> bytes:
    np.save(content := io.BytesIO(), values)
    return content.getvalue()


def claimed(shape: str, dtype: str = "<f8", values: bytes = b"\0" * 64) -> bytes:
    """Return an array's file whose header says what it likes."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + values


def bomb(num_bytes: int) -> bytes:
    """Return a packed archive of zeros, a thousandth of the size that they have."""
    with zipfile.ZipFile(content := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({num_bytes // 8}, 1), }}\n".encode()
        with archive.open("weights.npy", "w", force_zip64=True) as file:
            file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
            for _ in range(num_bytes // MIB):
                file.write(bytes(MIB))
    return content.getvalue()


def test_a_packed_model_is_refused_before_it_expands(saved: Path) -> None:
    content = bomb(1024 * MIB)
    assert len(content) < 2 * MIB
    written(saved / WEIGHTS_FILE, content)
    described(saved, weights={"file": WEIGHTS_FILE, "sha256": hashlib.sha256(content).hexdigest()})
    refused(lambda: load_model(saved), "is packed, and a model's weights are not")


class Bite:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_objects_are_never_unpickled(saved: Path, packing: int) -> None:
    bitten = saved / "bitten"
    bite = pickle.dumps(Bite(bitten))
    objects = claimed("(1,)", "|O", bite)
    sealed(saved, {"weights.npy": objects, "intercepts.npy": npy(np.zeros(1))}, packing)
    refused(lambda: load_model(saved), str(saved / WEIGHTS_FILE))
    data = written(saved / "d.npy", objects)
    refused(NpySource(data).open, "holds objects, which would have to be unpickled")
    refused(lambda: read_table(data, ("a",), ()), "holds objects, which would have to be unpickled")
    with zipfile.ZipFile(saved / "d.npz", "w", packing) as archive:
        archive.writestr("X.npy", npy(np.zeros((2, 2))))
        archive.writestr("y.npy", objects)
    refused(NpzSource(saved / "d.npz").open, "array 'y'", "holds objects, which would have to be unpickled")
    assert not bitten.exists()
    pickle.loads(bite).close()  # noqa: S301  (the payload does bite)
    assert bitten.exists()


@pytest.mark.parametrize(
    "shape", ["(10**15, 3)".replace("10**15", str(10**15)), f"({2**63}, 2)", "(3, -1)", "(True, 1)"]
)
def test_headers_that_claim_more_than_there_is(saved: Path, shape: str) -> None:
    sealed(saved, {"weights.npy": claimed(shape), "intercepts.npy": npy(np.zeros(1))})
    refused(lambda: load_model(saved), "cannot be read as NumPy data")
    refused(NpySource(written(saved / "d.npy", claimed(shape))).open, "cannot be read as NumPy data")
    with zipfile.ZipFile(saved / "d.npz", "w") as archive:
        archive.writestr("X.npy", claimed(shape))
        archive.writestr("y.npy", npy(np.zeros(3)))
    refused(NpzSource(saved / "d.npz").open, "cannot be read as NumPy data")


@pytest.mark.parametrize("shape", [f"(0, {2**47})", f"({2**40}, 0)"])
def test_tables_without_values_cost_nothing(tmp_path: Path, shape: str) -> None:
    refused(NpySource(written(tmp_path / "d.npy", claimed(shape, values=b""))).open, "no rows, or no columns")


def test_a_data_bomb_is_refused_before_it_expands(tmp_path: Path) -> None:
    content = bomb(256 * MIB)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive, zipfile.ZipFile(io.BytesIO(content)) as packed:
        archive.writestr("X.npy", npy(np.zeros((2, 2))))
        with archive.open(zipfile.ZipInfo("y.npy"), "w") as to, packed.open("weights.npy") as source:
            to.write(source.read(128))
    written(tmp_path / "e.npz", content.replace(b"weights.npy", b"X.npyxxxxxx"))
    written(tmp_path / "f.npz", content)
    refused(NpzSource(tmp_path / "f.npz", features="weights").open, "expand to 268,4", "over 200 times as many")


def test_a_models_module_is_never_its_own_text(saved: Path) -> None:
    bitten = saved / "bitten"
    told = {"kind": "torch", "module": "m:M", "arguments": {}, "source": f"open({str(bitten)!r}, 'w')\nclass M: pass"}
    described(saved, architecture=told)
    refused(lambda: load_model(saved), "unknown setting 'source'")
    described(saved, architecture={"kind": "torch", "module": "../m:M"})
    refused(lambda: load_model(saved), "must be FILE:Class without a folder")
    assert not bitten.exists()


@pytest.mark.parametrize("changes", [
    {"architecture": {"kind": "mlp", "hidden": [10**30], "activation": "relu"}},
    {"architecture": {"kind": "mlp", "hidden": [10**9, 10**9], "activation": "relu"}},
    {"architecture": {"kind": "linear", "unit": 10**400}},
    {"objective": {"name": "squared", "kernels": "fast"}},
    {"classes": ["a", "b"]},
    {"columns": [{"position": 0, "name": "a", "categories": [str(at) for at in range(50)]}]},
    {"feature_names": ["a", "b", "\ud800"]},
    {"weights": {"file": "../../etc/passwd", "sha256": ""}},
    {"format_version": 2}, {"format_version": 10**30}, {"format_version": "1"}, {"format_version": True},
])  # fmt: skip
def test_descriptions_that_lie(saved: Path, changes: dict[str, Any]) -> None:
    described(saved, **changes)
    refused(lambda: load_model(saved), str(saved))


def test_weights_that_are_no_finite_numbers(saved: Path) -> None:
    for values in (np.array([[np.nan]] * 3), np.array([["a"]] * 3), np.array([[1]] * 3)):
        sealed(saved, {"weights.npy": npy(values), "intercepts.npy": npy(np.zeros(1))})
        refused(lambda: load_model(saved), WEIGHTS_FILE)


def test_a_prediction_that_overflows_is_refused(saved: Path) -> None:
    with pytest.raises(DataError, match="the numbers of row 1 are too large"):
        load_model(saved).predict(np.array([[1.0, 1.0, 1.0], [1e308, 1e308, 1e308]]))


# --- text ----------------------------------------------------------------------------------------------------

LAUGHS = "a: &a [1, 1, 1]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_yaml_bombs(tmp_path: Path) -> None:
    path = written(tmp_path / "job.yaml", LAUGHS)
    for read in (load_job, load_fleet):
        refused(lambda read=read: read(path), "job.yaml:2: aliases (*a) are not allowed")
    refused(lambda: parse_override("policy={a: &a [1], b: [*a, *a]}"), "is not a YAML value")
    for text in ("[" * 100_000, "{a: " * 50_000, "- " * 100_000, "? " * 100_000):
        refused(lambda text=text: load_job(written(path, f"a: {text}")), "job.yaml")
    refused(lambda: load_job(written(path, "a: " + "x" * PAGE_BYTES)), "over 262,144 bytes")


def test_the_largest_page_of_mistakes_is_told_soon(tmp_path: Path) -> None:
    lines = "".join(f"k{at}: 1\n" for at in range(26_000))
    assert PAGE_BYTES * 0.9 < len(lines) < PAGE_BYTES
    began_s = time.process_time()
    refused(lambda: load_job(written(tmp_path / "job.yaml", lines)), "and 2")
    assert time.process_time() - began_s < 60  # it took minutes when each mistake was looked for from the top


@pytest.mark.parametrize("value", ["0x" + "f" * 20_000, "1" * 20_000, "1:" * 5000 + "1", "1e999", ".nan", '"\\ud800"'])
def test_numbers_of_a_job_that_nobody_can_spell(tmp_path: Path, value: str) -> None:
    text = f"name: j\ndata: {{bundled: iris}}\nmodel: {{objective: softmax}}\nshards: {value}\n"
    refused(lambda: load_job(written(tmp_path / "job.yaml", text)), "job.yaml:4")


def test_endless_lines(tmp_path: Path) -> None:
    line = b"1," * (100 * MIB)
    path = written(tmp_path / "d.csv", line)
    del line
    with pytest.raises(DataError, match=f"a row of over {LINE_LENGTH:,} bytes"):
        CsvSource(path, "y").describe("regression")
    for read, name in (
        (lambda at: LibsvmSource(at).describe("regression"), "d.libsvm"),
        (load_trace, "t.jsonl"),
        (lambda at: load_trace(at, "philly"), "t.csv"),
        (load_fleet, "f.csv"),
        (lambda at: load_trace(at, "shockwave"), "t.trace"),
        (read_record, "record.jsonl"),
    ):
        path = path.rename(tmp_path / name)
        written(tmp_path / "tacc_throughputs.json", '{"v100": {}}')
        with pytest.raises((UserError, DataError), match=r"line 1 is longer than|is longer than"):
            read(path)  # type: ignore[operator]


@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, "gz"), (bz2.compress, "bz2")])
def test_packed_bombs_of_text(tmp_path: Path, pack: Callable[[bytes], bytes], suffix: str) -> None:
    for text in (b"0" * (80 * MIB), (b"0 1:1 #" + b"x" * 1000 + b"\n") * 80_000):
        path = written(tmp_path / f"d.libsvm.{suffix}", pack(text))
        with pytest.raises(DataError, match=r"is longer than|times as many"):
            LibsvmSource(path).describe("regression")


def test_a_libsvm_index_asks_for_no_memory(tmp_path: Path) -> None:
    path = written(tmp_path / "d.libsvm", f"0 {10**12}:1\n1 1:1\n")
    refused(lambda: LibsvmSource(path).describe("regression"), "index 1000000000000")
    path = written(tmp_path / "d.libsvm", f"0 {2**24}:1\n1 1:1\n")
    refused(lambda: LibsvmSource(path).describe("regression"), "16,777,216 features, but it stores 2 values")
    path = written(tmp_path / "d.libsvm", "0 1:1\n1 1:1\n")
    refused(lambda: LibsvmSource(path, num_features=2**31 - 1).describe("regression"), "but it stores 2 values")


# --- fleets, traces, records ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [10**30, 2**63, 1_000_001, -1, 0])
def test_a_job_of_too_many_workers(tmp_path: Path, workers: int) -> None:
    path = written(tmp_path / "t.jsonl", f'{{"apportion-trace":1}}\n{{"id":"a","workers":[1,{workers}]}}\n')
    refused(lambda: load_trace(path), "t.jsonl:2: workers.1: must be")


def test_a_trace_from_the_future(tmp_path: Path) -> None:
    for version in (2, 10**30):
        path = written(tmp_path / "t.jsonl", f'{{"apportion-trace":{version}}}\n')
        refused(lambda path=path: load_trace(path), "t.jsonl:1: apportion-trace: must be less than or equal to 1")


def test_many_gpus_cost_no_array_each(tmp_path: Path) -> None:
    rows = "".join(f"j{at},0,{100_000 - at},1\n" for at in range(1000))
    path = written(tmp_path / "t.csv", f"job_id,submitted_s,gpus,duration_s\n{rows}")
    with little_memory():
        jobs = load_trace(path).workload.jobs
    assert [len(job.view.rates[""]) for job in jobs[:2]] == [100_000, 99_999]
    assert jobs[0].view.rate(99_999) == 0.0 and jobs[0].view.rate(100_000) == 1.0


def test_a_fleet_larger_than_its_table(tmp_path: Path) -> None:
    path = written(tmp_path / "f.csv", "kind,count,gpu\na,100000,1024\n")
    with pytest.raises(UserError, match="their product must be at most"):
        load_fleet(path)


def test_a_thousand_columns_are_enough_for_a_fleet(tmp_path: Path) -> None:
    refused(lambda: load_fleet(written(tmp_path / "f.csv", "a," * 50_000 + "b\n1\n")), "has 50,001 columns")


def test_ranges_of_shards_do_not_fill_the_memory(tmp_path: Path) -> None:
    told = {"job": {}, "data_sha256": "", "model_sha256": "", "reason": "", "num_updates": 20}
    header = json.dumps({"apportion_record": 1, **told})
    one = f'{header}\n[["w",0,0,"0-9999999"]]\n'
    refused(lambda: read_record(written(tmp_path / "r.jsonl", one)), "shards must be ascending ranges")
    lines = "".join(f'[["w",0,0,"{at}-{at + 900_000}"]]\n' for at in range(20))
    with pytest.raises(UserError, match="has over 10,000,000 shards in its calls"):
        read_record(written(tmp_path / "r.jsonl", f"{header}\n{lines}"))


# --- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../x", "/etc/x", "..", ".", "", "a/b", "a\0b", "a\nb", "~", "x" * 65, "é"])
def test_names_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    text = json.dumps({"name": name, "data": {"bundled": "iris"}, "model": {"objective": "softmax"}})
    refused(lambda: load_job(written(tmp_path / "job.yaml", text)), "name: must be 1 to 64 letters")


def test_an_output_that_is_a_link_to_a_device_or_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "device").symlink_to("/dev/full")
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in ("device", "folder"):
        with pytest.raises(DataError, match="is no regular file"):
            write_bytes(tmp_path / name, b"x")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "file")
    write_bytes(tmp_path / "dangling", b"x")
    assert (tmp_path / "dangling").is_symlink() and (tmp_path / "nowhere" / "file").read_bytes() == b"x"
