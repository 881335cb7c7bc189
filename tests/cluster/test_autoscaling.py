"""A head without processors, whose autoscaler starts local nodes: they come for jobs of the service, and go later."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from process_cases import JOB, RAY, Head, apportion, environment, free_port, survivors, wait_for

from scheduler.service.autoscaling import NoAutoscaling, of_cluster
from scheduler.session import Session

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.long,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Ray has clusters of several nodes on Linux only"),
]

IDLE_S = 3.0

# Ray has no defaults for a provider of one's own: all of this must be there
FILE = """
cluster_name: local
max_workers: 3
idle_timeout_minutes: {idle}
provider: {{type: external, module: local_nodes.LocalNodes, address: "{address}", disable_node_updaters: true}}
auth: {{}}
docker: {{}}
upscaling_speed: 1.0
file_mounts: {{}}
cluster_synced_files: []
file_mounts_sync_continuously: false
rsync_exclude: []
rsync_filter: []
initialization_commands: []
setup_commands: []
head_setup_commands: []
worker_setup_commands: []
head_start_ray_commands: []
worker_start_ray_commands: []
head_node_type: head
available_node_types:
  head: {{resources: {{CPU: 0}}, node_config: {{}}, max_workers: 0}}
  plain: {{resources: {{CPU: 1}}, node_config: {{}}, max_workers: 2, labels: {{size: small}}}}
  big: {{resources: {{CPU: 2}}, node_config: {{}}, max_workers: 1, labels: {{size: big}}}}
"""


@pytest.fixture(scope="module")
def autoscaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """Start a head of our own with an autoscaler of version 2."""
    home, temporary = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("r")
    port, dashboard = free_port(), free_port()
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("d" * 64)
    host = "127.0.0.1"
    config = home / "autoscaler.yaml"
    config.write_text(FILE.format(address=f"{host}:{port}", idle=IDLE_S / 60))
    arguments = [
        RAY, "start", "--head", "--block", f"--port={port}", f"--node-ip-address={host}", "--num-cpus=0",
        f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={free_port()}", f"--temp-dir={temporary}",
        "--include-dashboard=true", "--object-store-memory=100000000", f"--autoscaling-config={config}",
    ]  # fmt: skip
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": "head",
        "RAY_NODE_TYPE_NAME": "head",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "AUTOSCALER_METRIC_PORT": str(free_port()),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    log = (home / "log").open("w")
    process = subprocess.Popen(arguments, env=environment(home, **settings), stdout=log, stderr=subprocess.STDOUT)
    try:
        for wanted in (port, dashboard):
            wait_for(wanted, process)
        yield Head(f"{host}:{port}", f"http://127.0.0.1:{dashboard}", home, "d" * 64, "")
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(timeout=60)
        for orphan in survivors([*family, *of_home(home)]):
            orphan.kill()
        log.close()


def until_rounds(head: Head, name: str, rounds: int, within_s: float = 120.0) -> Any:
    """Wait until a job has done so many rounds; a service that has just begun must first hear the driver."""
    deadline_s = time.monotonic() + within_s
    while (found := ask(head, "status", name))["rounds"] < rounds:
        assert time.monotonic() < deadline_s, found
        time.sleep(0.5)
    return found


def of_home(home: Path) -> list[psutil.Process]:
    """Return the processes of this head, of its nodes and its jobs: their environment tells them."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if one.environ().get("HOME") == str(home):
                found.append(one)
    return found


def tell(head: Head, *arguments: str, fails: int = 0) -> str:
    """Run a command against the head; return what it says."""
    done = apportion(head.home, *arguments, RAY_ADDRESS=head.address, RAY_AUTH_MODE="token")
    assert done.returncode == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


def ask(head: Head, *arguments: str) -> Any:
    return json.loads(tell(head, *arguments, "--json"))


def submit(head: Head, name: str, *options: str) -> Any:
    return ask(head, "submit", JOB, "--name", name, "--output", str(head.home / "out" / name), *options)


def until(head: Head, name: str, state: str, within_s: float = 180.0) -> Any:
    deadline_s = time.monotonic() + within_s
    while (found := ask(head, "status", name))["state"] != state:
        assert time.monotonic() < deadline_s, found
        assert found["state"] not in ("failed", "stopped"), found
        time.sleep(0.5)
    return found


def raylets(head: Head) -> list[str]:
    """Return the types of the head's nodes whose processes live."""
    found = []
    for one in of_home(head.home):
        with suppress(psutil.Error):
            if one.name() == "raylet":
                found.append(one.environ()["RAY_NODE_TYPE_NAME"])
    return sorted(found)


def until_nodes(head: Head, wanted: list[str], within_s: float = 120.0) -> None:
    deadline_s = time.monotonic() + within_s
    while (found := raylets(head)) != wanted:
        assert time.monotonic() < deadline_s, found
        time.sleep(0.5)


def test_nodes_come_for_a_gang_stay_with_it_and_go_after_it(autoscaled: Head) -> None:
    until_nodes(autoscaled, ["head"])
    told = tell(autoscaled, "submit", JOB, "--workers", "5", fails=2)
    assert "only 4 of 5 fit" in told
    assert "2 of type plain, 1 of type big; 4 in all, with the head" in told
    small = ("--set", "workers.labels.size=small", "--workers", "2")
    submit(autoscaled, "endless", "--set", "training.rounds=1000000", "--set", "training.tolerance=0", *small)
    until_nodes(autoscaled, ["head", "plain", "plain"])
    until(autoscaled, "endless", "running")
    nodes = {lease["node"] for lease in ask(autoscaled, "status", "endless")["leases"]}
    assert len(nodes) == 2
    for _ in range(2):  # the second time with another service
        time.sleep(2 * IDLE_S)
        rounds = until_rounds(autoscaled, "endless", 1)["rounds"]
        found = until_rounds(autoscaled, "endless", rounds + 1)
        assert {lease["node"] for lease in found["leases"]} == nodes
        assert raylets(autoscaled) == ["head", "plain", "plain"]
        tell(autoscaled, "service", "restart")
    submit(autoscaled, "wide", "--set", "workers.bundle.cpu=2", "--workers", "1")
    until_nodes(autoscaled, ["big", "head", "plain", "plain"])  # of the type that it needs, beside those in use
    assert until(autoscaled, "wide", "finished")["result"]["model_sha256"]
    until_nodes(autoscaled, ["head", "plain", "plain"])
    assert ask(autoscaled, "status", "endless")["state"] == "running"
    tell(autoscaled, "stop", "endless")
    until_nodes(autoscaled, ["head"])


def test_a_cluster_that_nobody_adds_to_is_not_asked(session: Session) -> None:
    assert isinstance(of_cluster(), NoAutoscaling)
