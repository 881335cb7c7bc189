"""A lab of real raylets: nodes are held to what the file says, slowed, cut off and mended, and nothing is left of it."""

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

import psutil
import pytest

from scheduler.lab import processes, state
from scheduler.lab.groups import ROOT
from scheduler.lab.isolation import cannot_isolate
from scheduler.lab.lab import Lab
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
import sys, time, ray
from scheduler.lab.lab import Lab
from scheduler.lab.plan import LAB_NODE

name, node, tasks, factor, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])
ray.init(log_to_driver=False, logging_level="error")

@ray.remote(num_cpus=1, label_selector={LAB_NODE: node})
def burn(seconds):
    until_s, began_s, began_cpu_s = time.monotonic() + seconds, time.monotonic(), time.process_time()
    while time.monotonic() < until_s:
        pass
    return (time.process_time() - began_cpu_s) / (time.monotonic() - began_s)

ray.get([burn.remote(0.0) for _ in range(tasks)])
lab = Lab(name)
if factor != 1:
    lab.slow(node, factor)
before_s, began_s = lab.usage(node).cpu_s, time.monotonic()
found = ray.get([burn.remote(seconds) for _ in range(tasks)])
counted = (lab.usage(node).cpu_s - before_s) / (time.monotonic() - began_s)
lab.slow(node, 1)
print(sum(found), counted)
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


def burnt(lab: Lab, node: str, tasks: int, factor: float, seconds: float = 3.0) -> tuple[float, float]:
    """Return the processors that busy tasks had: as they see it, and as the lab counts them for the whole node."""
    of_tasks, counted = map(
        float, call("-c", BURN, lab.name, node, str(tasks), str(factor), str(seconds), lab=lab).stdout.split()
    )
    return of_tasks, counted


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
        assert told["is_up"] and told["environment"] == found.environment
        yield found
    finally:
        if state.load(NAME) is not None:
            last = found.state
            command("down", "--name", NAME)
            assert left_of(last) == []


@isolated
def test_every_node_is_alive_and_has_what_the_file_says(lab: Lab) -> None:
    nodes = {node["name"]: node for node in json.loads(command("status", "--name", NAME, "--json").stdout)["nodes"]}
    assert nodes.keys() == {"head-0", "quarter-0", "half-0"} and lab.node_ids().keys() == nodes.keys()
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
    assert "quarter-0" in table and "0.25" in table
    assert "there is a" not in table


@isolated
def test_a_node_gets_the_processors_that_it_is_held_to_and_not_more(lab: Lab) -> None:
    for node, tasks, factor, processors in (
        ("quarter-0", 1, 1.0, 0.25),
        ("half-0", 2, 1.0, 0.5),
        ("half-0", 2, 0.4, 0.2),
    ):
        of_tasks, counted = burnt(lab, node, tasks, factor)
        assert 0.3 * processors < of_tasks <= counted * 1.1 < 1.3 * processors, (node, factor)


@isolated
def test_data_comes_and_goes_at_the_bandwidth(lab: Lab) -> None:
    num_bytes = 6_000_000
    for mbit_per_s in (80.0, 40.0):
        lab.slow("quarter-0", 1.0, mbit_per_s)
        lines = call("-c", SEND, NAME, "quarter-0", str(num_bytes), lab=lab).stdout.split("\n")
        (came, _, came_s), (_, went, went_s) = (map(float, line.split()) for line in lines[:2])
        for moved, elapsed_s in ((came, came_s), (went, went_s)):
            assert num_bytes < moved < 1.5 * num_bytes
            assert moved / elapsed_s < 1.1 * mbit_per_s * 1e6 / 8 + 100_000
    lab.slow("quarter-0", 1.0)
    assert lab.state.node("quarter-0").mbit_per_s == 80.0


@isolated
def test_a_node_that_is_cut_off_is_silent_until_it_is_mended(lab: Lab) -> None:
    command("cut", "half", "--name", NAME)
    before = lab.bytes_moved("half-0")
    time.sleep(3.0)
    after = lab.bytes_moved("half-0")
    assert after == before
    assert json.loads(command("status", "--name", NAME, "--json").stdout)["nodes"][2]["is_cut"]
    command("mend", "half", "--name", NAME)
    until(lambda: lab.bytes_moved("half-0")[1] > before[1])
    assert burnt(lab, "half-0", 1, 1.0, 0.5)[0] > 0


@isolated
def test_a_node_that_was_lost_is_started_again_when_it_is_mended(lab: Lab) -> None:
    (raylet,) = [one for one in processes.of_lab(lab.state.id)["half-0"] if one.name() == "raylet"]
    raylet.kill()
    until(lambda: not lab.members()["half-0"].is_alive)
    assert "was started again" in command("mend", "half-0", "--name", NAME).stdout
    assert lab.members()["half-0"].is_alive
    assert burnt(lab, "half-0", 2, 1.0)[1] < 0.65


@isolated
def test_a_job_runs_on_it_as_on_any_cluster(lab: Lab, tmp_path: Path) -> None:
    words = ["run", "examples/diabetes.yaml", "--workers", "3", "--output", str(tmp_path / "out"), "--json"]
    summary: dict[str, Any] = json.loads(call("-m", "scheduler", *words, lab=lab).stdout)
    assert {worker["node"] for worker in summary["workers"]} <= set(lab.node_ids().values())
    assert len({worker["node"] for worker in summary["workers"]}) == 2


@isolated
def test_there_is_one_lab_of_a_name(lab: Lab, cluster_file: Path) -> None:
    refused = command("up", str(cluster_file), "--name", NAME, expected=2).stderr
    assert f"the lab '{NAME}' is up already, at {lab.address}" in refused
    for words, message in (
        (("slow", "quater-0", "1"), "Did you mean 'quarter-0'?"),
        (("cut", "head-0"), "'head-0' is the head"),
    ):
        assert message in command(*words, "--name", NAME, expected=2).stderr


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
    for line in sys.stdin:
        getattr(lab, line.split()[0])(*line.split()[1:])
        print("done", flush=True)
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
        for node, tasks, factor, processors in (("quarter-0", 1, 1.0, 0.25), ("half-0", 2, 0.4, 0.2)):
            assert 0.3 * processors < burnt(lab, node, tasks, factor, 4.0)[0] < 1.4 * processors, (node, factor)
        lab.cut("half-0")
        of_node = [one for one in processes.of_lab(last.id)["half-0"] if one.name() == "raylet"]
        until(lambda: [one.status() for one in of_node] == [psutil.STATUS_STOPPED])
        lab.mend("half-0")
        until(lambda: psutil.STATUS_STOPPED not in [one.status() for one in of_node])
    finally:
        owner.stdin.close()
        assert owner.wait(60) == 0
    assert left_of(last) == []
