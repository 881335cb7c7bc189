"""The edge to Ray's autoscaler: how it is found, what its file says, and when it is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from policies.interface import JobView, NodeTable, Resources
from scheduler.ledger import Ledger
from scheduler.service import autoscaling
from scheduler.service.growth import Growth, NodeType

HEAD = NodeTable.of(["head"], [[2.0, 0.0, 0.0]])


def job(name: str, least: int = 1, bundle: Resources | None = None, **more: Any) -> JobView:
    return JobView(name, 0.0, bundle or Resources(cpu=1.0), least, least, **more)


def ledger_of(*jobs: JobView) -> Ledger:
    ledger = Ledger()
    for one in jobs:
        ledger.submit(one)
    return ledger


CONFIG = """
cluster_name: any
max_workers: 5
provider: {type: external, module: none.None}
docker: {}
cluster_synced_files: []
setup_commands: []
head_setup_commands: []
worker_setup_commands: []
head_node_type: head
available_node_types:
  head: {resources: {CPU: 0}, node_config: {}}
  plain: {resources: {CPU: 2}, node_config: {}, min_workers: 1, labels: {size: small}}
  stated: {resources: {CPU: 2, GPU: 1, memory: 1024}, node_config: {}, max_workers: 2}
"""


class Asked:
    """Ray's part of the edge, and its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, version: int, *leaving: str) -> None:
        self.requests: list[tuple[Any, Any]] = []
        self.now_s, self.error = 5.0, ""
        monkeypatch.setattr(autoscaling, "is_autoscaler_v2", lambda: version == 2)
        monkeypatch.setattr(autoscaling, "leaving_nodes", lambda: set(leaving))
        monkeypatch.setattr(autoscaling, "request_resources", self._request)
        monkeypatch.setattr(autoscaling, "time", SimpleNamespace(monotonic=lambda: self.now_s))

    def _request(self, num_cpus: None, *given: Any) -> None:
        self.requests.append(given)
        if self.error:
            raise RuntimeError(self.error)


def test_the_file_says_what_may_be_added_with_rays_defaults(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    assert autoscaling.read_growth(tmp_path / "config.yaml") == Growth(
        (
            NodeType("plain", Resources(2, 0.0, float("inf")), 5, {"size": "small"}, 1),
            NodeType("stated", Resources(2, 1, 1024), 2),
        ),
        6,
    )


def most_of(edge: autoscaling.Autoscaling) -> int:
    growth = edge.growth()
    assert growth is not None
    return growth.most


def test_a_file_that_changes_is_read_again_and_one_that_cannot_be_read_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Asked(monkeypatch, 2)
    config = tmp_path / "config.yaml"
    edge = autoscaling.Autoscaling(config)
    assert edge.growth() is None
    for text, most in ((CONFIG, 6), ("{", 6), (CONFIG.replace("max_workers: 5", "max_workers: 7"), 8)):
        config.write_text(text)
        assert most_of(edge) == most
    config.unlink()
    assert most_of(edge) == 8


def test_ray_is_asked_once_for_the_same_and_for_nothing_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = Asked(monkeypatch, 1)
    edge = autoscaling.Autoscaling(None)
    ledger = ledger_of(job("gang", 2, Resources(1.0, memory=64.0), selector={"size": ("a", "b"), "zone": ("z",)}))
    for _ in range(3):
        edge.ask(ledger, HEAD, {})
    selector = {"size": "in(a,b)", "zone": "z"}
    assert ray.requests == [([{"CPU": 1.0, "memory": 64.0}] * 2, [selector] * 2)]
    ledger.drop("gang")
    edge.ask(ledger, HEAD, {})
    edge.ask(ledger, HEAD, {})
    assert ray.requests[1:] == [([], [])]


def test_what_is_still_wanted_is_told_again_as_ray_forgets_and_nothing_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    ray, ledger, edge = Asked(monkeypatch, 1), ledger_of(job("gang", 2)), autoscaling.Autoscaling(None)
    edge.ask(ledger, HEAD, {})
    for late, times in ((autoscaling.AGAIN_S - 1.0, 1), (1.0, 2), (1.0, 2), (autoscaling.AGAIN_S, 3)):
        ray.now_s += late
        edge.ask(ledger, HEAD, {})
        assert ray.requests == [([{"CPU": 1.0}] * 2, [{}] * 2)] * times
    ledger.drop("gang")
    for _ in range(3):
        edge.ask(ledger, HEAD, {})
        ray.now_s += 2 * autoscaling.AGAIN_S
    assert ray.requests[3:] == [([], [])]


def test_an_error_of_the_autoscaler_stops_nobody_and_it_is_asked_again_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray, ledger, edge = Asked(monkeypatch, 1), ledger_of(job("gang", 2)), autoscaling.Autoscaling(None)
    ray.error = "the control store is away"
    for _ in range(3):
        edge.ask(ledger, HEAD, {})
    assert len(ray.requests) == 1  # a call may take seconds, and turns are to go on
    assert ray.error in capsys.readouterr().err
    ray.error = ""
    ray.now_s += autoscaling.AGAIN_S
    for _ in range(3):
        edge.ask(ledger, HEAD, {})
    assert ray.requests == [([{"CPU": 1.0}] * 2, [{}] * 2)] * 2


def test_nothing_is_asked_on_nodes_that_the_autoscaler_does_not_know_or_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = NodeTable.of(
        ["own", "leaves", "stranger"], [[2.0, 0.0, 0.0]] * 3, [[0.0, 0.0, 0.0]] * 3,
        labels={"ray.io/node-group": ["plain", "plain", ""]},
    )  # fmt: skip
    everywhere = [{"ray.io/node-id": node} for node in nodes.ids]
    for version, known in ((2, everywhere[:1]), (1, everywhere)):
        ray = Asked(monkeypatch, version, "leaves")
        autoscaling.Autoscaling(None).ask(ledger_of(job("waits")), nodes, {})
        assert ray.requests[0][1] == [*known, {}]


def test_memory_is_not_asked_for_where_types_do_not_state_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    ray = Asked(monkeypatch, 2)
    autoscaling.Autoscaling(tmp_path / "config.yaml").ask(ledger_of(job("a", 1, Resources(1.0, memory=64.0))), HEAD, {})
    assert ray.requests == [([{"CPU": 1.0}], [{}])]


def test_a_cluster_without_an_autoscaler_has_nobody_to_ask() -> None:
    nobody = autoscaling.NoAutoscaling()
    nobody.ask(ledger_of(job("waits")), HEAD, {})
    assert nobody.growth() == Growth()


MONITOR = ["python", "-u", "/ray/autoscaler/v2/monitor.py", "--gcs-address=1.2.3.4:5"]
OTHERS = [["python", "/ray/log_monitor.py", "--gcs-address=1.2.3.4:5"], [*MONITOR[:3], "--gcs-address=1.2.3.4:6"], None]


@pytest.mark.parametrize(
    ("commands", "is_heard", "found"),
    [
        ([*OTHERS, [*MONITOR, "--autoscaling-config=/etc/ours.yaml"]], True, Path("/etc/ours.yaml")),
        ([*OTHERS, MONITOR], True, "nobody"),  # it only watches
        (OTHERS, True, None),  # as on Kubernetes
        ([[*OTHERS[1], "--autoscaling-config=/etc/theirs.yaml"]], False, "nobody"),
    ],
)
def test_an_autoscaler_is_found_by_its_process_or_by_what_it_has_told(
    commands: list[list[str] | None], is_heard: bool, found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Asked(monkeypatch, 2)
    processes = [SimpleNamespace(info={"cmdline": command}) for command in commands]
    monkeypatch.setattr(autoscaling.psutil, "process_iter", lambda _: processes)
    monkeypatch.setattr(autoscaling.ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="1.2.3.4:5"))
    monkeypatch.setattr(autoscaling, "_is_heard_of", lambda _: is_heard)
    edge = autoscaling.of_cluster()
    assert (edge._config if isinstance(edge, autoscaling.Autoscaling) else "nobody") == found


def test_a_service_begins_although_the_control_store_does_not_say_who_adds_nodes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(autoscaling.psutil, "process_iter", lambda _: [])
    monkeypatch.setattr(autoscaling.ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="1.2.3.4:5"))

    def raises(address: str) -> None:
        raise RuntimeError(f"{address} is silent")

    monkeypatch.setattr(autoscaling, "get_cluster_status", raises)
    assert isinstance(autoscaling.of_cluster(), autoscaling.NoAutoscaling)
    assert "1.2.3.4:5 is silent" in capsys.readouterr().err
