"""What a driver does about workers, nodes and servers that are gone, without any of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from policies.interface import Grant
from policies.presets import resolve
from scheduler import tending as module
from scheduler.errors import LostActorError, RunFailedError
from scheduler.run import Loss, Progress
from scheduler.tending import MOST_LOSSES, Mending, Tending

BYTES = np.array([10.0, 10.0, 30.0, 10.0])


class FakeCluster:
    def __init__(self) -> None:
        self.released: list[Grant] = []

    def release(self, lease: Grant) -> None:
        self.released.append(lease)


class FakeGang:
    """Workers are called by their lease and how often they were started."""

    def __init__(self, *nodes: str) -> None:
        self.cluster, self.job = FakeCluster(), None
        self.workers = {Grant("j", number, node): 0 for number, node in enumerate(nodes)}
        self.call_bytes: dict[int, float] = {}
        self.num_seatings = self.num_revivals = 0
        self.stillborn: list[Grant] = []

    @property
    def leases(self) -> tuple[Grant, ...]:
        return tuple(sorted(self.workers, key=lambda lease: lease.worker))

    @property
    def num_seated(self) -> int:
        return len(self.workers)

    @property
    def started(self) -> set[str]:
        return {f"{number}.{num}" for number in range(9) for num in range(99)}

    def lease_of(self, actor: str) -> Grant | None:
        return next((lease for lease, num in self.workers.items() if actor == f"{lease.worker}.{num}"), None)

    def replace(self, lease: Grant) -> None:
        self.workers[lease] += 1

    def arrive(self) -> tuple[Grant, ...]:
        found, self.stillborn = tuple(self.stillborn), []
        return found

    def seat(self, leases: Any) -> None:
        self.workers = {lease: self.workers.get(lease, 0) for lease in leases}
        self.num_seatings += 1

    def revive(self) -> None:
        self.num_revivals += 1


@pytest.fixture
def bad(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    nodes: set[str] = set()
    monkeypatch.setattr(module, "bad_nodes", lambda: nodes)
    return nodes


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Nodes on which there is room for one more."""
    free: list[str] = []

    def place_more(cluster: Any, job: Any, policy: Any, seed: int, numbers: Any) -> tuple[Grant, ...]:
        del cluster, job, policy, seed
        return tuple(Grant("j", number, free.pop()) for number in list(numbers)[: len(free)])

    monkeypatch.setattr(module, "place_more", place_more)
    return free


def loss(actor: str, out_of_memory: bool = False) -> Loss:
    return Loss(actor, int(actor.partition(".")[0]), 7, "its process died", out_of_memory)


def tend(gang: Any) -> Tending:
    return Tending(Mending(gang, BYTES), resolve("equal"), 0)


def test_a_worker_is_replaced_on_its_lease_once(bad: set[str], room: list[str]) -> None:
    del bad, room
    gang = FakeGang("a", "b")
    tending, progress = tend(gang), Progress(losses=(loss("1.0"),))
    assert tending.tend(progress, 7) == (loss("1.0"),)
    assert gang.workers == {Grant("j", 0, "a"): 0, Grant("j", 1, "b"): 1}
    assert tending.tend(progress, 7) == ()
    assert gang.workers[Grant("j", 1, "b")] == 1


def test_a_worker_whose_node_is_gone_goes_where_there_is_room(bad: set[str], room: list[str]) -> None:
    gang = FakeGang("a", "b")
    tending = tend(gang)
    bad.add("b")
    tending.tend(Progress(losses=(loss("1.0"),)), 7)
    assert gang.leases == (Grant("j", 0, "a"),), "there is no room"
    assert gang.cluster.released == [Grant("j", 1, "b")]
    room.append("c")
    tending._look_s = 0.0
    tending.tend(Progress(losses=(loss("1.0"),)), 7)
    assert gang.leases == (Grant("j", 0, "a"), Grant("j", 1, "c"))


def test_a_node_that_is_to_go_is_left_although_nobody_died(bad: set[str], room: list[str]) -> None:
    gang = FakeGang("a", "b")
    tending = tend(gang)
    bad.add("a")
    room.append("b")
    assert tending.tend(Progress(), 7) == ()
    assert gang.leases == (Grant("j", 0, "b"), Grant("j", 1, "b"))
    assert gang.cluster.released == [Grant("j", 0, "a")]


def test_who_dies_again_and_again_is_given_up_unless_rounds_are_done(bad: set[str], room: list[str]) -> None:
    del bad, room
    gang = FakeGang("a")
    tending = tend(gang)
    for num in range(3 * MOST_LOSSES):  # with a round between: bad luck
        tending.tend(Progress(losses=(loss(f"0.{num}"),)), num + 1)
    tending, gang.workers = tend(gang), {Grant("j", 0, "a"): 0}
    with pytest.raises(RunFailedError, match=r"worker 0 was lost in round 7: its process died\nthat was number 5"):
        for num in range(MOST_LOSSES):
            tending.tend(Progress(losses=(loss(f"0.{num}"),)), 7)
    assert gang.workers[Grant("j", 0, "a")] == MOST_LOSSES - 1


def test_who_dies_before_it_takes_part_counts_too(bad: set[str], room: list[str]) -> None:
    del bad, room
    gang = FakeGang("a", "b")
    tending = tend(gang)
    with pytest.raises(RunFailedError, match="worker 1 died before it could take part"):
        for _ in range(MOST_LOSSES):
            gang.stillborn = [Grant("j", 1, "b")]
            tending.tend(Progress(), 7)


def test_without_any_worker_it_waits_but_not_for_ever(
    bad: set[str], room: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del room
    now_s = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s[0])
    gang = FakeGang("a")
    tending = tend(gang)
    bad.add("a")
    for now_s[0] in (100.0, 150.0, 160.0):
        tending.tend(Progress(), 7)
    now_s[0] = 161.5
    with pytest.raises(RunFailedError, match="no worker is left, and for 60 s there was no room for another"):
        tending.tend(Progress(), 7)


def test_who_was_killed_for_want_of_memory_gets_less_at_a_time_but_a_shard_at_least() -> None:
    gang: Any = FakeGang("a", "b")
    mending = Mending(gang, np.full(16, 10.0))
    found = []
    for num in range(4):
        gang.workers[Grant("j", 0, "a")] = num
        mending.mend(Progress(losses=(loss(f"0.{num}", out_of_memory=True),)), num + 1)
        found.append(gang.call_bytes[0])
    assert found == [40.0, 20.0, 10.0, 10.0]
    assert list(gang.call_bytes) == [0]


def test_a_server_is_revived_but_not_for_ever() -> None:
    gang: Any = FakeGang("a")
    mending = Mending(gang, BYTES)
    error = LostActorError("the parameter server is gone: its process died")
    for num in range(2 * MOST_LOSSES):
        mending.revive(error, num + 1)
    assert gang.num_revivals == 2 * MOST_LOSSES
    with pytest.raises(RunFailedError, match="the parameter server is gone"):
        for _ in range(MOST_LOSSES):
            mending.revive(error, 2 * MOST_LOSSES)
