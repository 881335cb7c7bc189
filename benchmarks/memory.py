"""What driver and workers hold in memory for large files, beside the bytes of their shards.

``python -m benchmarks.memory --gigabytes 1 --json memory.json`` writes an NPY of that size and a CSV of half of it,
trains on each with two workers through the real program, and samples each process ten times a second: the USS, its
unique set size, which is what would be free if it ended. Pages of a file that it alone maps are part of that; pages
that the kernel caches of a file that is read are not.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

NUM_FEATURES, BLOCK_ROWS, PERIOD_S = 50, 20_000, 0.1
JOB = """
name: memory
data: {{{data}}}
split: {split}
test_fraction: 0.1
model: {{objective: squared}}
training: {{solver: local-svrg, rounds: 2, batch_size: 1024}}
shards: {shards}
workers: {{count: 2, bundle: {{memory: {memory}}}}}
"""


def write_npy(path: Path, size_bytes: int) -> None:
    """Write a table of ``NUM_FEATURES`` columns and a target, block by block."""
    num_rows = size_bytes // (8 * (NUM_FEATURES + 1))
    with path.open("wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (num_rows, NUM_FEATURES + 1)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, num_rows, BLOCK_ROWS):
            file.write(_rows(start, min(BLOCK_ROWS, num_rows - start)).tobytes())


def write_csv(path: Path, size_bytes: int) -> None:
    """Write the same kind of table as text."""
    with path.open("w", encoding="ascii") as file:
        file.write(",".join([f"x{i}" for i in range(NUM_FEATURES)] + ["y"]) + "\n")
        while file.tell() < size_bytes:
            rows = _rows(file.tell(), BLOCK_ROWS // 10)
            file.write("".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()))


def _rows(seed: int, num_rows: int) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    X = random.standard_normal((num_rows, NUM_FEATURES))
    y = X.sum(axis=1, keepdims=True) + random.standard_normal((num_rows, 1))
    return np.concatenate([X, y], axis=1)


def measure(data: str, folder: Path, split: str, shards: int, memory: str) -> dict[str, Any]:
    """Run a job, and return the peaks of its driver and workers in bytes."""
    job = folder / "job.yaml"
    job.write_text(JOB.format(data=data, split=split, shards=shards, memory=memory), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "scheduler",
        "run",
        str(job),
        "--cpus",
        "2",
        "--json",
        "--output",
        str(folder / "out"),
    ]
    start = time.perf_counter()
    with (folder / "stderr").open("w+") as errors, (folder / "stdout").open("w+") as answers:
        program = psutil.Popen(command, stdout=answers, stderr=errors)
        peaks: dict[str, dict[str, int]] = {}
        while program.poll() is None:
            _sample(program, peaks)
            time.sleep(PERIOD_S)
        answers.seek(0)
        errors.seek(0)
        if program.returncode:
            raise SystemExit(errors.read())
        summary = json.loads(answers.read())
    of_shards = {f"worker-{number}": worker["bytes"] for number, worker in enumerate(summary["workers"])}
    pids = {str(worker["pid"]): f"worker-{number}" for number, worker in enumerate(summary["workers"])}
    found = {pids.get(pid, pid): peak for pid, peak in peaks.items() if pid in pids or pid == "driver"}
    for name, peak in found.items():
        peak["shards"] = of_shards.get(name, 0)
    kind = data.partition(":")[0]
    return {"data": kind, "split": split, "seconds": time.perf_counter() - start, "processes": found}


def _sample(program: psutil.Popen, peaks: dict[str, dict[str, int]]) -> None:
    """Note the memory of the driver, and of what may be a worker."""
    try:
        candidates = [("driver", program), *((str(child.pid), child) for child in program.children(recursive=True))]
    except psutil.Error:
        return
    for name, process in candidates:
        try:
            if name != "driver" and "SgdWorker" not in " ".join(process.cmdline()):
                continue
            uss = process.memory_full_info().uss
            peak = peaks.setdefault(name, {"uss": 0})
            peak["uss"] = max(peak["uss"], uss)
        except psutil.Error:
            continue


def show(result: dict[str, Any]) -> None:
    """Print what one run held."""
    print(f"{result['data']}, {result['split']}, {result['seconds']:.0f} s:")
    for process, peak in sorted(result["processes"].items()):
        megabytes = [
            f"{amount / 1e6:,.0f} MB" for amount in (peak["uss"], peak["shards"], peak["uss"] - peak["shards"])
        ]
        print("  {}: peak USS {}, shards {}, beside {}".format(process, *megabytes), flush=True)


def main() -> None:
    """Write files, measure, print, and remove the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the NPY; the CSV has half of it")
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--folder", type=Path, help="where to write the files (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    size_bytes = int(options.gigabytes * 1e9)
    results = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        npy, csv = folder / "table.npy", folder / "table.csv"
        write_npy(npy, size_bytes)
        write_csv(csv, size_bytes // 2)
        cases = [(f"npy: {npy}", "contiguous"), (f"npy: {npy}", "shuffled"), (f"csv: {csv}, target: y", "contiguous")]
        for data, split in cases:
            results.append(measure(data, folder, split, options.shards, f"{size_bytes // 1_000_000}MB"))
            show(results[-1])
    if options.json is not None:
        options.json.write_text(json.dumps({"gigabytes": options.gigabytes, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
