"""Who gets which gang, and what becomes of it; the gangs here have no actors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from policies.interface import JobView, Policy, Resources
from policies.presets import resolve
from scheduler import pool as module
from scheduler.errors import LostActorError, UserError
from scheduler.pool import Pool

ROOM = 4
"""Workers that fit at a time."""


class FakeGang:
    """Takes room while it lives, as leases do."""

    alive: ClassVar[list[FakeGang]] = []
    started: ClassVar[int] = 0

    def __init__(self, job: JobView, policy: Policy, seed: int, make_room: Callable[[], bool]) -> None:
        del policy, seed
        self.size = job.min_workers
        while sum(gang.size for gang in self.alive) + self.size > ROOM:
            if not make_room():
                raise UserError(f"{self.size} do not fit")
        self.alive.append(self)
        type(self).started += 1

    def stop(self) -> None:
        self.alive.remove(self)


@pytest.fixture(autouse=True)
def _no_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "placed", FakeGang)
    monkeypatch.setattr(FakeGang, "alive", [])
    monkeypatch.setattr(FakeGang, "started", 0)


def job(workers: int = 2, cpu: float = 1.0, labels: tuple[str, ...] = ()) -> JobView:
    selector = {"market": labels} if labels else {}
    return JobView(f"job-{workers}", 0.0, Resources(cpu=cpu), workers, workers, selector=selector)


def used(pool: Pool, wanted: JobView, policy: Any = "equal") -> Any:
    return pool.lend(wanted, resolve(policy), 0, lambda gang: gang)


def test_a_gang_serves_all_jobs_that_want_the_same() -> None:
    with Pool() as pool:
        first = used(pool, job())
        assert used(pool, job()) is first
        assert FakeGang.started == 1
    assert FakeGang.alive == []


@pytest.mark.parametrize(
    ("other", "policy"),
    [(job(1), "equal"), (job(2, cpu=0.5), "equal"), (job(2), "random"), (job(2, labels=("spot",)), "equal")],
)
def test_a_job_that_wants_something_else_gets_its_own(other: JobView, policy: str) -> None:
    with Pool() as pool:
        first = used(pool, job())
        assert used(pool, other, policy) is not first
        assert used(pool, job()) is first


def test_idle_gangs_make_room_and_busy_ones_do_not() -> None:
    with Pool() as pool:
        idle = used(pool, job(2))

        def work(busy: Any) -> None:
            with pytest.raises(UserError, match="2 do not fit"):
                used(pool, job(2))
            assert FakeGang.alive == [busy]

        pool.lend(job(3), resolve("equal"), 0, work)
        assert idle not in FakeGang.alive


@pytest.mark.parametrize("error", [UserError, KeyboardInterrupt])
def test_a_gang_whose_work_raises_is_stopped(error: type[BaseException]) -> None:
    def work(gang: Any) -> None:
        raise error

    with Pool() as pool:
        used(pool, job())
        with pytest.raises(error):
            pool.lend(job(), resolve("equal"), 0, work)
        assert FakeGang.alive == [] and FakeGang.started == 1


def test_an_idle_gang_that_lost_an_actor_is_replaced_and_a_new_one_is_not() -> None:
    asked = []

    def work(gang: Any) -> str:
        asked.append(gang)
        if gang is asked[0]:
            raise LostActorError("a worker died")
        return "done"

    with Pool() as pool:
        with pytest.raises(LostActorError):
            pool.lend(job(), resolve("equal"), 0, work)
        asked.clear()
        used(pool, job())
        assert pool.lend(job(), resolve("equal"), 0, work) == "done"
        assert len(asked) == 2 and FakeGang.alive == [asked[1]]
