"""Too little memory: workers that Ray kills for want of it, and an object store that is full."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from process_cases import answers_of

pytestmark = pytest.mark.cluster

MEMORY = Path("/sys/fs/cgroup/memory")
LIMIT_BYTES = 3 * 1024**3
THRESHOLD = 0.41
"""Of the limit: over what a cluster takes with half of the table's shards in memory, below what it takes with all."""

ENTER = f'echo $$ > "$0/cgroup.procs" && mount --bind "$0" {MEMORY} && exec "$@"'

KILLED = """
import json
import sys
from pathlib import Path

import ray

from policies.presets import resolve
from scheduler.job import Recipe
from scheduler.observer import Observer
from scheduler.preparation import prepare_source
from scheduler.runner import run_connected
from workers.data.numpy_source import NpySource
from workers.sequential import train

class Watcher(Observer):
    losses = []
    def lost(self, loss):
        self.losses.append([loss.reason, loss.out_of_memory])

workers = {"count": 1, "bundle": {"cpu": 1, "memory": "1GiB"}}
training = {"solver": "gradient-descent", "rounds": 3, "tolerance": 0.0, "standardise": False}
model = {"objective": "squared"}
recipe = Recipe(name="large", shards=12, test_fraction=0.0, workers=workers, training=training, model=model)
prepared = prepare_source(recipe, NpySource(Path.home() / "table.npy"))
ray.init(num_cpus=2, object_store_memory=80 * 2**20, include_dashboard=False, log_to_driver=False)
finished = run_connected(prepared, resolve("equal"), Watcher())
ray.shutdown()
arrays = train(prepared.training(), prepared.data.load(range(12))).arrays
same = all((arrays[name] == finished.model.arrays[name]).all() for name in arrays)
result = finished.result
print(json.dumps({"same": bool(same), "losses": Watcher.losses, "num_calls": result.num_calls,
                  "num_rounds": len(result.reports), "workers": len(result.workers)}))
"""


@pytest.fixture
def small_machine() -> Iterator[list[str]]:
    """Return the command within which a program, and its Ray, see a machine with little memory, and nobody else on it.

    Ray's monitor reads the limit and the use of the control group that is mounted where it looks.
    """
    if os.geteuid() != 0 or not (MEMORY / "memory.limit_in_bytes").exists():
        pytest.skip("a machine of its own for Ray's memory monitor needs root, and control groups of version 1")
    group = MEMORY / f"apportion-test-{os.getpid()}"
    within = ["unshare", "--mount", "bash", "-c", ENTER, str(group)]
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
        subprocess.run([*within, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group can be made and mounted here: {error}")
    yield within
    deadline_s = time.monotonic() + 30
    while group.exists() and time.monotonic() < deadline_s:
        for pid in map(int, (group / "cgroup.procs").read_text().split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        with suppress(OSError):
            group.rmdir()


@pytest.mark.long
def test_who_is_killed_for_want_of_memory_gets_by_with_fewer_shards(tmp_path: Path, small_machine: list[str]) -> None:
    table = np.random.default_rng(0).integers(-100, 100, size=(12 * 1024, 8 * 1024), dtype=np.int8)
    np.save(tmp_path / "table.npy", table)  # 96 MiB that become 768 MiB of numbers in memory
    monitor = {"RAY_memory_usage_threshold": str(THRESHOLD), "RAY_memory_monitor_refresh_ms": "100"}
    told = answers_of(KILLED, tmp_path, 200, small_machine, **monitor)
    reason, out_of_memory = told["losses"][0]
    assert (reason, out_of_memory) == ("Ray killed it, since its node was running low on memory", True)
    assert told["workers"] == 1 + len(told["losses"]), "each was replaced"
    assert told["num_calls"] >= 2 * told["num_rounds"], "no call had all shards any more"
    assert told["same"]


FULL = """
import json

import numpy as np
import ray
from scipy.sparse import csr_array

from policies.presets import resolve
from scheduler.errors import RunFailedError
from scheduler.job import Recipe
from scheduler.live import LiveJob, run_workload
from scheduler.preparation import prepare_source
from scheduler.runner import run_connected
from scheduler.simulation.arrivals import at, named
from scheduler.simulation.profile import profile
from workers.data.memory_source import MemorySource
from workers.model import sha256_of
from workers.sequential import train

MIB = 2**20

def prepared(num_mib):
    X = np.random.default_rng(0).standard_normal((1024, num_mib * 128))
    workers = {"count": 2, "bundle": {"cpu": 1, "memory": "256MiB"}}
    training = {"solver": "gradient-descent", "rounds": 3, "tolerance": 0.0}
    recipe = Recipe(name="j", shards=4, workers=workers, training=training, model={"objective": "squared"})
    return prepare_source(recipe, MemorySource(X, X[:, 0].copy()))

def launch(job):
    try:
        return run_connected(job, resolve("equal")).model.sha256
    except RunFailedError as error:
        return str(error)

def live(name, job):
    return LiveJob(job, at(named(profile(job, budget_s=0.2), name), 0.0))

def many_parameters():
    rows = np.arange(1200)
    X = csr_array((np.ones(1200), (rows, rows * 30)), shape=(1200, 40_000))
    training = {"solver": "gradient-descent", "rounds": 3, "tolerance": 0.0, "standardise": False}
    recipe = Recipe(name="j", shards=4, training=training, model={"objective": "softmax"})
    return prepare_source(recipe, MemorySource(X, rows % 300))

large, small = prepared(100), prepared(20)
ray.init(num_cpus=2, object_store_memory=75 * MIB, include_dashboard=False, log_to_driver=False)
answers = {"large": launch(large), "message": launch(many_parameters()), "small": launch(small)}
run = run_workload([live("large", large), live("small", small)], resolve("equal"), 0)
answers |= {f"live {job.id}": [job.status.name, job.reason, job.model_sha256] for job in run.jobs}
ray.shutdown()
answers["wanted"] = sha256_of(train(small.training(), small.data.load(range(4))).arrays)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def on_a_full_store(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run with data in memory, larger and smaller than a store from which nothing can be spilled: the disk is full."""
    return answers_of(FULL, tmp_path_factory.mktemp("home"), 120, RAY_local_fs_capacity_threshold="0")


def is_told(text: str) -> bool:
    return (
        "bytes of data in memory have no room: Ray's object store is full" in text and "--object-store-memory" in text
    )


def test_data_that_the_object_store_has_no_room_for_is_told(on_a_full_store: dict[str, Any]) -> None:
    assert is_told(on_a_full_store["large"])
    assert on_a_full_store["small"] == on_a_full_store["wanted"], "a run that fits has both processors, and goes well"


def test_one_of_several_jobs_fails_alone_by_it(on_a_full_store: dict[str, Any]) -> None:
    status, reason, _ = on_a_full_store["live large"]
    assert status == "FAILED" and is_told(reason)
    assert on_a_full_store["live small"] == ["FINISHED", "", on_a_full_store["wanted"]]
