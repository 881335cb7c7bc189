"""Several nodes of different size: workers run where the policy put them, and the model does not care."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import pytest
from process_cases import answers_of

pytestmark = pytest.mark.cluster
HOME = Path(__file__).resolve().parents[2]

SCRIPT = """
import json, sys
from pathlib import Path
from ray.cluster_utils import Cluster
from policies.presets import resolve
from scheduler.errors import UserError
from scheduler.inventory import Inspection, logical_views, node_table
from scheduler.job_file import load_job
from scheduler.preparation import prepare
from scheduler.observer import Observer
from scheduler.runner import run_connected
from scheduler.session import connect

MIB = 1024**2
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "memory": 512 * MIB})
cluster.add_node(num_cpus=4, memory=512 * MIB)
cluster.add_node(num_cpus=4, num_gpus=2, memory=64 * MIB, labels={
    "rack": "r1", "apportion.dev/kind": "quick",
    "apportion.dev/price-per-hour": "1.2", "apportion.dev/mbit-per-s": "800"})
answers = {}
try:
    with connect(cluster.address):
        cpus = {view.logical.id: view.logical.capacity[0] for view in Inspection().result()}
        answers["physical"] = sum(view.physical is not None for view in Inspection().result())
        for place, count, gpu in (("spread", 3, 0), ("pack", 3, 0), ("spread", 2, 1), ("spread", 9, 0)):
            bundle = {"cpu": 1, "gpu": gpu, "memory": "16MiB"}
            job = load_job(Path("examples/diabetes.yaml"), {
                "training.rounds": 4, "shards": 12, "workers": {"count": count, "bundle": bundle}})
            policy = resolve({"place": place, "balance": "capacity-proportional"})
            finished = run_connected(prepare(job), policy, Observer())
            answers[f"{place}-{count}-{gpu}"] = {
                "sha": finished.summary.model_sha256,
                "cpus": sorted(cpus[worker.node] for worker in finished.summary.workers),
                "nodes": len({worker.node for worker in finished.summary.workers}),
                "shards": {str(cpus[worker.node]): len(worker.shards) for worker in finished.summary.workers},
            }
        table = node_table(logical_views())
        hints = zip(table.kinds, table.price_per_hour.tolist(), table.s_per_byte.tolist(), table.labels["rack"])
        answers["hints"] = sorted(hints)
        for labels in ({"rack": "r1"}, {"rack": ["r2", "r3"]}):
            job = load_job(Path("examples/diabetes.yaml"), {
                "training.rounds": 4, "shards": 12, "workers": {
                    "count": 2, "bundle": {"cpu": 1, "memory": "16MiB"}, "labels": labels}})
            try:
                workers = run_connected(prepare(job), resolve({"place": "spread"}), Observer()).summary.workers
                answers[str(labels["rack"])] = sorted({table.labels["rack"][table.ids.index(w.node)] for w in workers})
            except UserError as error:
                answers[str(labels["rack"])] = str(error)
        cluster.add_node(num_cpus=4, memory=512 * MIB, env_vars={"OPENBLAS_CORETYPE": "Prescott"})
        cluster.wait_for_nodes()
        kinds = {}
        for reproducible in ("usual", "strict"):
            for count in (1, 4):
                job = load_job(Path("examples/diabetes.yaml"), {
                    "training.rounds": 4, "training.reproducible": reproducible, "shards": 12,
                    "workers": {"count": count, "bundle": {"cpu": 1, "memory": "16MiB"}}})
                try:
                    kinds[f"{reproducible}-{count}"] = run_connected(
                        prepare(job), resolve({"place": "spread"}), Observer()).summary.model_sha256
                except UserError as error:
                    kinds[f"{reproducible}-{count}"] = str(error)
        answers["kinds"] = kinds
finally:
    cluster.shutdown()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run on a cluster of three raylets, in a process of its own."""
    return answers_of(SCRIPT, tmp_path_factory.mktemp("home"), timeout_s=240)


def test_every_node_is_inspected(answers: dict[str, Any]) -> None:
    assert answers["physical"] == 3


def test_spread_takes_every_node_and_pack_the_fewest(answers: dict[str, Any]) -> None:
    assert answers["spread-3-0"]["nodes"] == 3
    assert answers["pack-3-0"]["nodes"] == 1
    assert answers["spread-9-0"]["cpus"] == [1, 4, 4, 4, 4, 4, 4, 4, 4]


def test_workers_with_a_gpu_go_where_gpus_are(answers: dict[str, Any]) -> None:
    assert answers["spread-2-1"]["nodes"] == 1


def test_labels_of_nodes_reach_the_policies(answers: dict[str, Any]) -> None:
    assert answers["hints"] == [["", 0, 0, ""], ["", 0, 0, ""], ["quick", 1.2, 1e-8, "r1"]]


def test_a_job_can_insist_on_labels(answers: dict[str, Any]) -> None:
    assert answers["r1"] == ["r1"]
    assert "only 0 of 2 fit" in answers["['r2', 'r3']"]
    assert "has not the label rack=r2|r3" in answers["['r2', 'r3']"]


def test_the_model_does_not_depend_on_the_nodes(answers: dict[str, Any]) -> None:
    assert len({answer["sha"] for answer in answers.values() if isinstance(answer, dict) and "sha" in answer}) == 1


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the other kernels are those of an x86-64 processor")
def test_nodes_of_different_kernels_train_strictly_or_not_at_all(answers: dict[str, Any]) -> None:
    kinds = answers["kinds"]
    assert kinds["strict-1"] == kinds["strict-4"]
    assert "its workers compute with different kernels" in kinds["usual-4"]
    assert len(set(re.findall(r"BLAS (.+)", kinds["usual-4"]))) == 2
    assert "'training.reproducible: strict'" in kinds["usual-4"]


def test_a_larger_node_gets_more_shards(answers: dict[str, Any]) -> None:
    shards = answers["spread-3-0"]["shards"]
    assert shards["4.0"] > shards["1.0"]
