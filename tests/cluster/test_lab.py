"""A lab of real raylets: nodes are held as the file says, slowed, cut off and mended, and nothing is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from scheduler.errors import UserError
from scheduler.lab import building, processes, state
from scheduler.lab.groups import ROOT
from scheduler.lab.isolation import cannot_isolate
from scheduler.lab.lab import Lab, plan_of
from scheduler.lab.state import LabState

pytestmark = pytest.mark.cluster
HOME = Path(__file__).resolve().parents[2]
NAME, OTHER = f"t{os.getpid()}", f"u{os.getpid()}"
isolated = pytest.mark.skipif(cannot_isolate() is not None, reason=str(cannot_isolate()))

CLUSTER = """
head_node_type: head
max_workers: 4
available_node_types:
  head:
    resources: {CPU: 0}
  quarter:
    resources: {CPU: 1, GPU: 1, disk: 3}
    max_workers: 1
    labels: {apportion.dev/speed: "0.25", apportion.dev/mbit-per-s: "80", zone: a}
  half:
    resources: {CPU: 2}
    max_workers: 1
    labels: {apportion.dev/speed: "0.25"}
"""

BURN = """
import json, sys, time, ray
from scheduler.lab.lab import Lab
from scheduler.lab.plan import LAB_NODE

lab, seconds = Lab(sys.argv[1]), float(sys.argv[3])
ray.init(log_to_driver=False, logging_level="error")

@ray.remote(num_cpus=1)
def burn(seconds):
    until_s, began_cpu_s = time.monotonic() + seconds, time.process_time()
    while time.monotonic() < until_s:
        pass
    return time.process_time() - began_cpu_s

def burnt(node, tasks, factor):
    here = burn.options(label_selector={LAB_NODE: node})
    ray.get([here.remote(0.0) for _ in range(tasks)])  # its workers are there
    lab.slow(node, factor)
    before_s, began_s = lab.usage(node).cpu_s, time.monotonic()
    found = ray.get([here.remote(seconds) for _ in range(tasks)])
    elapsed_s, counted_s = time.monotonic() - began_s, lab.usage(node).cpu_s - before_s
    lab.slow(node, 1)
    return sum(found) / elapsed_s, counted_s / elapsed_s

print(json.dumps([burnt(*case) for case in json.loads(sys.argv[2])]))
"""

SEND = """
import sys, time, numpy as np, ray
from scheduler.lab.lab import Lab
from scheduler.lab.plan import LAB_NODE

name, node, num_bytes = sys.argv[1], sys.argv[2], int(sys.argv[3])
ray.init(log_to_driver=False, logging_level="error")

@ray.remote(num_cpus=1, label_selector={LAB_NODE: node})
def receive(data):
    return data.nbytes

@ray.remote(num_cpus=1, label_selector={LAB_NODE: node})
def send(num_bytes):
    return np.ones(num_bytes, np.uint8)

ray.get(receive.remote(np.ones(1)))
lab, sent = Lab(name), ray.put(np.ones(num_bytes, np.uint8))
for work in (receive.remote, send.remote):
    began_s, before = time.monotonic(), lab.bytes_moved(node)
    ray.get(work(sent if work == receive.remote else num_bytes))
    elapsed_s, after = time.monotonic() - began_s, lab.bytes_moved(node)
    print(after[0] - before[0], after[1] - before[1], elapsed_s)
"""

SLOWED = """
import json, sys
from pathlib import Path
from scheduler.job_file import load_job
from scheduler.lab.lab import Lab
from scheduler.preparation import prepare
from scheduler.observer import Observer
from scheduler.runner import run_connected
from scheduler.session import connect

class Slows(Observer):
    def trained(self, report):
        if (report.stage, report.round) == ("local-sgd", 3):
            Lab(sys.argv[1]).slow(sys.argv[2], 0.1)

prepared = prepare(load_job(Path(sys.argv[3])))
with connect():
    print(json.dumps(run_connected(prepared, observer=Slows()).summary.as_json()))
Lab(sys.argv[1]).slow(sys.argv[2], 1)
"""


def call(*words: str, lab: Lab | None = None, expected: int = 0) -> subprocess.CompletedProcess[str]:
    """Run Python with our packages, as a client of a lab if one is named."""
    environment = os.environ | {"PYTHONPATH": str(HOME)} | (lab.environment if lab else {})
    done = subprocess.run(
        [sys.executable, *words], cwd=HOME, env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done


def command(*words: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    return call("-m", "scheduler", "lab", *words, expected=expected)


def status() -> dict[str, dict[str, Any]]:
    """Return what the lab says of each node; another process asks, since this one may be connected elsewhere."""
    found = json.loads(command("status", "--name", NAME, "--json").stdout)
    return {node["name"]: node for node in found["nodes"]}


def burnt(lab: Lab, *cases: tuple[str, int, float], seconds: float = 3.0) -> list[tuple[float, float]]:
    """Return what busy tasks had of processors, for cases of (node, tasks, factor).

    The first number is as the tasks see it, the second as the lab counts it for the whole node.
    """
    printed = call("-c", BURN, lab.name, json.dumps(cases), str(seconds), lab=lab).stdout
    found: list[tuple[float, float]] = json.loads(printed.splitlines()[-1])  # Ray may have warned before
    return found


def left_of(lab: LabState) -> list[str]:
    """Return what there is of a lab: interfaces, namespaces, control groups, processes, files."""
    found = [str(path) for folder in (ROOT, ROOT / "cpu", ROOT / "cpuacct") for path in folder.glob(f"*{lab.id}*")]
    found += [str(path) for path in Path("/sys/class/net").glob(f"*{lab.id}*")]
    found += [str(path) for path in Path("/run/netns").glob(f"*{lab.id}*")]
    found += [str(process) for those in processes.of_lab(lab.id).values() for process in those]
    folder = state.folder_of(lab.name)
    return [*found, *([str(folder)] if folder.exists() else [])]


def until(ready: Callable[[], bool], within_s: float = 120.0) -> None:
    give_up_s = time.monotonic() + within_s
    while not ready():
        assert time.monotonic() < give_up_s
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lab") / "cluster.yaml"
    path.write_text(CLUSTER)
    return path


@pytest.fixture(scope="module")
def lab(cluster_file: Path) -> Iterator[Lab]:
    """Start the lab that most tests share."""
    found = Lab(NAME)
    try:
        told = json.loads(command("up", str(cluster_file), "--name", NAME, "--json").stdout)
        assert told["environment"] == found.environment
        yield found
    finally:
        if state.load(NAME) is not None:
            last = found.state
            command("down", "--name", NAME)
            assert left_of(last) == []


@isolated
def test_every_node_is_alive_and_has_what_the_file_says(lab: Lab) -> None:
    nodes = status()
    assert nodes.keys() == {"head-0", "quarter-0", "half-0"}
    assert all(node["is_alive"] and node["pids"] and not node["is_cut"] for node in nodes.values())
    assert [nodes[name]["processors"] for name in ("head-0", "quarter-0", "half-0")] == [None, 0.25, 0.5]
    assert (nodes["quarter-0"]["mbit_per_s"], nodes["half-0"]["mbit_per_s"]) == (80.0, None)
    assert len({node["address"] for node in nodes.values()}) == 3
    (listed,) = [
        one
        for one in json.loads(call("-m", "scheduler", "nodes", "--json", lab=lab).stdout)
        if one["logical"]["id"] == nodes["quarter-0"]["node_id"]
    ]
    assert listed["logical"]["capacity"][:2] == [1.0, 1.0]
    assert listed["logical"]["labels"]["zone"] == "a"
    table = command("status", "--name", NAME).stdout
    assert "quarter-0" in table and "/0.25" in table


@isolated
def test_a_node_gets_the_processors_that_it_is_held_to_and_not_more(lab: Lab) -> None:
    cases = {("quarter-0", 1, 1.0): 0.25, ("half-0", 2, 1.0): 0.5, ("half-0", 2, 0.4): 0.2}
    for processors, (of_tasks, counted) in zip(cases.values(), burnt(lab, *cases), strict=True):
        assert 0.3 * processors < of_tasks <= counted * 1.1 < 1.3 * processors


@isolated
def test_data_comes_and_goes_at_the_bandwidth(lab: Lab) -> None:
    num_bytes = 6_000_000
    for mbit_per_s in (80.0, 40.0):
        lab.slow("quarter-0", 1.0, mbit_per_s)
        lines = call("-c", SEND, NAME, "quarter-0", str(num_bytes), lab=lab).stdout.splitlines()
        (came, _, came_s), (_, went, went_s) = (map(float, line.split()) for line in lines[-2:])
        for moved, elapsed_s in ((came, came_s), (went, went_s)):
            assert num_bytes < moved < 1.5 * num_bytes
            assert moved / elapsed_s < 1.1 * mbit_per_s * 1e6 / 8 + 100_000
    lab.slow("quarter-0", 1.0)
    assert lab.state.node("quarter-0").mbit_per_s == 80.0


@isolated
def test_a_node_that_is_cut_off_is_silent_until_it_is_mended(lab: Lab) -> None:
    lab.cut("half")
    before = lab.bytes_moved("half-0")
    time.sleep(3.0)
    after = lab.bytes_moved("half-0")
    assert after == before
    assert lab.state.node("half-0").is_cut
    assert command("mend", "half", "--name", NAME).stdout == ""
    until(lambda: lab.bytes_moved("half-0")[1] > before[1])
    assert burnt(lab, ("half-0", 1, 1.0), seconds=0.5)[0][0] > 0


@isolated
def test_a_node_that_was_lost_is_started_again_when_it_is_mended(lab: Lab) -> None:
    (raylet,) = [one for one in processes.of_lab(lab.state.id)["half-0"] if one.name() == "raylet"]
    raylet.kill()
    assert "was started again" in command("mend", "half-0", "--name", NAME).stdout
    assert status()["half-0"]["is_alive"]
    assert burnt(lab, ("half-0", 2, 1.0), seconds=2.0)[0][1] < 0.65


@isolated
def test_a_job_runs_on_it_as_on_any_cluster(lab: Lab, tmp_path: Path) -> None:
    words = ["run", "examples/diabetes.yaml", "--workers", "3", "--output", str(tmp_path / "out"), "--json"]
    summary: dict[str, Any] = json.loads(call("-m", "scheduler", *words, lab=lab).stdout)
    nodes = status()
    assert {worker["node"] for worker in summary["workers"]} == {
        nodes[name]["node_id"] for name in ("quarter-0", "half-0")
    }


@isolated
def test_a_node_that_slows_down_is_helped_and_the_model_is_the_same(lab: Lab, tmp_path: Path) -> None:
    """A node comes to a tenth of itself in the middle of a round: others copy its shards, and later have more."""
    random = np.random.default_rng(0)
    np.save(tmp_path / "rows.npy", random.standard_normal((60_000, 31), dtype=np.float32))
    job = {
        "name": "slowed", "data": {"npy": str(tmp_path / "rows.npy")}, "split": "contiguous", "shards": 48,
        "model": {"objective": "squared"}, "policy": "adaptive",
        "training": {"solver": "local-sgd", "local_epochs": 12, "batch_size": 16, "rounds": 8, "tolerance": 0},
        "workers": {"count": 3, "bundle": {"memory": "64MiB"}}, "output": str(tmp_path / "out"),
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job))
    alike = json.loads(call("-m", "scheduler", "run", str(tmp_path / "job.json"), "--json", lab=lab).stdout)
    slowed = json.loads(call("-c", SLOWED, NAME, "quarter-0", str(tmp_path / "job.json"), lab=lab).stdout)
    assert slowed["model_sha256"] == alike["model_sha256"]
    assert slowed["num_copies"] > 0
    where = status()["quarter-0"]["node_id"]
    (slow,) = [worker for worker in slowed["workers"] if worker["node"] == where]
    # In the last round copies may have taken all from whoever was still at something else, fast or slow.
    assert slow["rows"] < sum(worker["rows"] for worker in slowed["workers"]) / 3 / 2, "half of an equal share"
    assert slowed["losses"] == [], "who is slow is not lost"


def test_there_is_one_lab_of_a_name(lab: Lab, cluster_file: Path) -> None:
    with pytest.raises(UserError, match=f"the lab '{NAME}' is up already, at {lab.address}"):
        building.build(NAME, plan_of(cluster_file), building.silent, is_bound=False)
    assert "Did you mean 'quarter-0'?" in command("slow", "quater-0", "1", "--name", NAME, expected=2).stderr


@pytest.mark.parametrize("stage", ["begun", "head", "nodes"])
@isolated
def test_nothing_is_left_of_a_lab_whose_making_was_killed(stage: str, cluster_file: Path) -> None:
    words = [sys.executable, "-m", "scheduler", "lab", "up", str(cluster_file), "--name", OTHER, "--nodes", "half=0"]
    made = subprocess.Popen(words, cwd=HOME, stdout=subprocess.DEVNULL, start_new_session=True)

    def reached() -> bool:
        assert made.poll() is None
        lab = state.load(OTHER)
        roles = set() if lab is None or stage == "begun" else processes.of_lab(lab.id).keys()
        return lab is not None and {"begun": True, "head": "head-0" in roles, "nodes": "quarter-0" in roles}[stage]

    until(reached)
    made.send_signal(signal.SIGKILL)
    made.wait()
    last = state.found(OTHER)
    if stage == "nodes":  # the next one of that name cleans up, and one that cannot begin leaves nothing either
        bad = cluster_file.with_name("bad.yaml")
        bad.write_text(CLUSTER.replace("zone: a", "zone: '?'"))
        assert "did not start; its last words" in command("up", str(bad), "--name", OTHER, expected=1).stderr
    else:
        command("down", "--name", OTHER)
    assert left_of(last) == []
    assert state.load(OTHER) is None


SIDE_BY_SIDE = """
import sys, time
from pathlib import Path
from scheduler.lab.lab import lab_up

with lab_up(Path(sys.argv[1]), name=sys.argv[2], isolated=False) as lab:
    print("up", flush=True)
    assert lab.node_ids().keys() == {"head-0", "quarter-0", "half-0"}
    for line in sys.stdin:
        getattr(lab, line.split()[0])(line.split()[1])
"""


def test_side_by_side_workers_are_held_and_a_node_can_be_stopped(cluster_file: Path) -> None:
    words = [sys.executable, "-c", SIDE_BY_SIDE, str(cluster_file), OTHER]
    environment = os.environ | {"PYTHONPATH": str(HOME)}
    owner = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdin is not None and owner.stdout is not None
    try:
        assert owner.stdout.readline() == "up\n"
        lab = Lab(OTHER)
        last = lab.state
        assert "side by side" in last.notes[0]
        cases = {("quarter-0", 1, 1.0): 0.25, ("half-0", 2, 0.4): 0.2}
        for processors, (of_tasks, _) in zip(cases.values(), burnt(lab, *cases), strict=True):
            assert 0.3 * processors < of_tasks < 1.4 * processors
        owner.stdin.write("cut half-0\n")
        owner.stdin.flush()
        of_node = [one for one in processes.of_lab(last.id)["half-0"] if one.name() == "raylet"]
        until(lambda: [one.status() for one in of_node] == [psutil.STATUS_STOPPED])
        owner.stdin.write("mend half-0\n")
        owner.stdin.flush()
        until(lambda: psutil.STATUS_STOPPED not in [one.status() for one in of_node])
    finally:
        owner.stdin.close()
        assert owner.wait(60) == 0
    assert left_of(last) == []
