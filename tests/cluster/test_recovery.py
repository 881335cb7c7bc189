"""Workers, servers and nodes that die, hang or leave in the middle of a run: the others go on, to the same bits."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from process_cases import answers_of

from policies.interface import Policy
from policies.presets import resolve
from scheduler.errors import RunFailedError
from scheduler.job_file import load_job
from scheduler.observer import Observer
from scheduler.outputs import Finished
from scheduler.preparation import Prepared, prepare
from scheduler.run import Keeping, Loss, WorkerReport
from scheduler.runner import run_connected
from scheduler.session import Session
from workers.outcome import RoundReport
from workers.sequential import train

pytestmark = pytest.mark.cluster
HOME = Path(__file__).resolve().parents[2]
EXAMPLES = HOME / "examples"


def job(**fields: Any) -> Prepared:
    settings = {
        "shards": 12,
        "workers.count": 3,
        "training": {"solver": "gradient-descent", "rounds": 120, "tolerance": 0.0},
        "recovery.silent_s": 2.0,
    }
    return prepare(load_job(EXAMPLES / "diabetes.yaml", settings | fields))


def bits(arrays: Any) -> bytes:
    return b"".join(array.tobytes() for array in arrays.values())


def sequential(prepared: Prepared) -> bytes:
    return bits(train(prepared.training(), prepared.data.load(range(12))).arrays)


class Saboteur(Observer):
    """Does something to the workers when rounds are reached."""

    def __init__(self, acts: dict[int, Callable[[Saboteur], None]]) -> None:
        self.acts, self.pids, self.nodes = dict(acts), dict[int, int](), dict[int, str]()
        self.losses: list[Loss] = []
        self.warnings: list[str] = []
        self.num_rounds = 0

    def split(self, prepared: Prepared, policy: Policy, workers: Sequence[WorkerReport]) -> None:
        self.pids = {place: worker.pid for place, worker in enumerate(workers) if worker.pid is not None}

    def trained(self, report: RoundReport) -> None:
        self.num_rounds += 1
        if act := self.acts.pop(self.num_rounds, None):
            act(self)

    def lost(self, loss: Loss) -> None:
        self.losses.append(loss)

    def warned(self, text: str) -> None:
        self.warnings.append(text)


def kill(*places: int, sent: signal.Signals = signal.SIGKILL) -> Callable[[Saboteur], None]:
    return lambda saboteur: [os.kill(saboteur.pids[place], sent) for place in places] and None


def kill_server(saboteur: Saboteur) -> None:
    del saboteur
    for process in psutil.process_iter(["cmdline", "ppid"]):
        if "ParameterServer" in " ".join(process.info["cmdline"] or ()) and _is_ours(process):
            process.kill()


def _is_ours(process: psutil.Process) -> bool:
    return any(parent.pid == os.getpid() for parent in process.parents())


def run(prepared: Prepared, policy: str, saboteur: Saboteur, **options: Any) -> Finished:
    return run_connected(prepared, resolve(policy), saboteur, **options)


@pytest.mark.parametrize("policy", ["equal", "adaptive-pull", "pull"])
def test_a_worker_that_dies_is_replaced(session: Session, policy: str) -> None:
    del session
    prepared, saboteur = job(), Saboteur({20: kill(1)})
    finished = run(prepared, policy, saboteur)
    assert bits(finished.model.arrays) == sequential(prepared)
    (loss,) = saboteur.losses
    assert loss.number == 1 and 20 <= loss.round <= 121
    assert loss.reason.startswith("its process died")
    assert finished.result is not None and finished.result.losses == (loss,)


def test_all_workers_at_once(session: Session) -> None:
    del session
    prepared, saboteur = job(), Saboteur({20: kill(0, 1, 2)})
    finished = run(prepared, "equal", saboteur)
    assert bits(finished.model.arrays) == sequential(prepared)
    assert sorted(loss.number for loss in saboteur.losses) == [0, 1, 2]
    assert len(finished.summary.workers) == 6


def test_a_hung_worker_is_given_up_and_does_not_live_on(session: Session) -> None:
    del session
    prepared, saboteur = job(), Saboteur({20: kill(2, sent=signal.SIGSTOP)})
    finished = run(prepared, "equal", saboteur)
    assert bits(finished.model.arrays) == sequential(prepared)
    (loss,) = saboteur.losses
    assert loss.number == 2 and loss.reason.startswith("no sign of life for ")
    deadline_s = time.monotonic() + 20
    while psutil.pid_exists(saboteur.pids[2]) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert not psutil.pid_exists(saboteur.pids[2])


@pytest.mark.parametrize("keeps", [True, False])
def test_a_server_that_dies_is_replaced(session: Session, keeps: bool, tmp_path: Path) -> None:
    del session
    prepared, saboteur = job(), Saboteur({30: kill_server, 60: kill_server})
    keeping = Keeping(str(tmp_path), every_s=0.0) if keeps else None
    finished = run(prepared, "adaptive-pull", saboteur, keeping=keeping)
    assert bits(finished.model.arrays) == sequential(prepared)
    assert finished.result is not None
    assert len(saboteur.warnings) == 2
    assert all(text.startswith("the parameter server is gone: its process died") for text in saboteur.warnings)
    assert (finished.result.restored > 0) == keeps
    assert len(finished.result.reports) == saboteur.num_rounds


def test_server_and_worker_at_once_then_the_server_again(session: Session, tmp_path: Path) -> None:
    del session

    def both(saboteur: Saboteur) -> None:
        kill_server(saboteur)
        kill(0)(saboteur)

    prepared, saboteur = job(), Saboteur({30: both, 45: kill_server})
    finished = run(prepared, "pull", saboteur, keeping=Keeping(str(tmp_path), every_s=0.0))
    assert bits(finished.model.arrays) == sequential(prepared)


def test_an_asynchronous_run_goes_on_and_can_be_replayed(session: Session, tmp_path: Path) -> None:
    from workers.replay import replay

    del session
    prepared = job(training={"solver": "gradient-descent", "rounds": 150, "tolerance": 0.0, "mode": "ssp"})
    saboteur = Saboteur({20: kill(1), 60: kill_server})
    finished = run(prepared, "equal", saboteur, keeping=Keeping(str(tmp_path), every_s=0.0))
    assert finished.result is not None and finished.result.record is not None
    outcome = replay(prepared.training(), prepared.data.load(range(12)), finished.result.record)
    assert bits(outcome.arrays) == bits(finished.model.arrays)
    assert [loss.number for loss in saboteur.losses] == [1]


def test_a_run_goes_on_from_the_checkpoint_of_another_with_other_workers(session: Session, tmp_path: Path) -> None:
    del session
    prepared, keeping = job(), Keeping(str(tmp_path), every_s=0.0)

    def stop(saboteur: Saboteur) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(prepared, "equal", Saboteur({50: stop}), keeping=keeping, run="a" * 16)
    other, saboteur = job(**{"workers.count": 2}), Saboteur({})
    finished = run(other, "adaptive-pull", saboteur, keeping=keeping, run="a" * 16)
    assert bits(finished.model.arrays) == sequential(prepared)
    assert finished.result is not None and finished.result.restored >= 40


@pytest.mark.long
def test_who_dies_again_and_again_ends_the_run_with_the_reason(session: Session, tmp_path: Path) -> None:
    del session
    (tmp_path / "deadly.py").write_text(
        "import os\nfrom torch import nn\n\n\nclass Deadly(nn.Module):\n"
        "    def __init__(self, num_features, num_outputs):\n        super().__init__()\n"
        "        self.linear = nn.Linear(num_features, num_outputs)\n\n"
        "    def forward(self, x):\n        if 'SgdWorker' in open('/proc/self/cmdline').read():\n"
        "            os.kill(os.getpid(), 9)\n        return self.linear(x)\n"
    )
    pytest.importorskip("torch")
    prepared = job(model={"objective": "squared", "torch": f"{tmp_path}/deadly.py:Deadly"})
    with pytest.raises(RunFailedError, match=r"worker \d was lost in round \d+: its process died(?s:.)*giving up"):
        run(prepared, "equal", Saboteur({}))


def test_nothing_is_left_behind(session: Session) -> None:
    del session
    run(job(), "equal", Saboteur({20: kill(1), 40: kill_server}))
    assert [group for group in ray.util.placement_group_table().values() if group["state"] != "REMOVED"] == []
    deadline_s = time.monotonic() + 20
    while True:
        names = [name for child in psutil.Process().children(recursive=True) if (name := command_line(child))]
        if not [name for name in names if "SgdWorker" in name or "ParameterServer" in name]:
            break
        assert time.monotonic() < deadline_s, names
        time.sleep(0.1)


def command_line(process: psutil.Process) -> str:
    """Return what a living process was started with; nothing for one that ends just now, or is a zombie."""
    with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is a kind of it
        return " ".join(process.cmdline())
    return ""


NODES = """
import json
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from policies.presets import resolve
from scheduler.job_file import load_job
from scheduler.preparation import prepare
from scheduler.observer import Observer
from scheduler.runner import run_connected
from scheduler.session import connect
from workers.sequential import train

MIB = 1024**2
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "memory": 64 * MIB})
first, second = (cluster.add_node(num_cpus=1, memory=512 * MIB) for _ in range(2))
answers = {}

class Watcher(Observer):
    def __init__(self, acts):
        self.acts, self.num, self.losses, self.workers = acts, 0, [], []
    def split(self, prepared, policy, workers):
        self.workers = workers
    def trained(self, report):
        self.num += 1
        if act := self.acts.pop(self.num, None):
            act()
    def lost(self, loss):
        self.losses.append([loss.number, loss.reason])

def launch(acts, rounds=600):
    job = load_job(Path("examples/diabetes.yaml"), {
        "shards": 12, "workers": {"count": 2, "bundle": {"cpu": 1, "memory": "16MiB"}},
        "training": {"solver": "gradient-descent", "rounds": rounds, "tolerance": 0.0}})
    prepared, watcher = prepare(job), Watcher(acts)
    finished = run_connected(prepared, resolve("equal"), watcher)
    outcome = train(prepared.training(), prepared.data.load(range(12)))
    same = all((outcome.arrays[n] == finished.model.arrays[n]).all() for n in outcome.arrays)
    return {"same": bool(same), "losses": watcher.losses,
            "nodes": [worker.node for worker in finished.summary.workers],
            "shards": [len(worker.shards) for worker in finished.summary.workers]}

def drain():
    ray._private.worker.global_worker.gcs_client.drain_node(third.node_id, 2, "for the test", 0)

try:
    with connect(cluster.address):
        answers["ids"] = [first.node_id, second.node_id]
        answers["killed"] = launch({100: lambda: cluster.remove_node(second, allow_graceful=False)})
        third = cluster.add_node(num_cpus=1, memory=512 * MIB)
        cluster.wait_for_nodes()
        answers["third"] = third.node_id
        fourth = []
        def add_and_drain():
            fourth.append(cluster.add_node(num_cpus=1, memory=512 * MIB))
            drain()
        answers["drained"] = launch({100: add_and_drain}, 1500)
        answers["fourth"] = fourth[0].node_id
        gone = lambda: cluster.remove_node(fourth[0], allow_graceful=False)
        back = lambda: fourth.append(cluster.add_node(num_cpus=1, memory=512 * MIB))
        answers["back"] = launch({100: gone, 1000: back}, 10000)
        answers["fifth"] = fourth[1].node_id
finally:
    cluster.shutdown()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run on a cluster whose nodes come and go, in a process of its own."""
    return answers_of(NODES, tmp_path_factory.mktemp("home"), timeout_s=300)


def test_a_node_that_dies_is_done_without(answers: dict[str, Any]) -> None:
    told = answers["killed"]
    assert told["same"]
    assert sorted(told["nodes"]) == sorted(answers["ids"]), "there was no room for another worker"
    assert sorted(told["shards"]) == [0, 12]


def test_a_node_that_is_drained_is_left_for_another(answers: dict[str, Any]) -> None:
    told = answers["drained"]
    assert told["same"]
    assert told["losses"] == [], "nobody had to die"
    assert told["nodes"][-1] == answers["fourth"]
    assert told["shards"][told["nodes"].index(answers["third"])] == 0


def test_a_node_that_comes_back_is_used_again(answers: dict[str, Any]) -> None:
    told = answers["back"]
    assert told["same"]
    assert told["nodes"][-1] == answers["fifth"]
    assert told["shards"][-1] == 6
