"""Fair-longest: the kit, and who goes first by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.interface import ClusterPlan, ClusterSnapshot, Grant, JobView, NodeTable, PolicyError, Resources, frozen
from policies.joint.fair_longest import FairLongest
from policies.referee import violations
from policies.testing import PolicyConformance

ONE = NodeTable.of(["a"], [[0.0, 1.0, 0.0]])


class TestFairLongest(PolicyConformance):
    def policy(self) -> FairLongest:
        return FairLongest()


def job(name: str, work: float, submitted_s: float = 0.0, **more: object) -> JobView:
    """Return a job on one GPU, which does one unit of work a second."""
    rates = {"": frozen([1.0])}
    return JobView(name, submitted_s, Resources(gpu=1.0), 1, 1, work=work, rates=rates, **more)  # type: ignore[arg-type]


def at(now_s: float, *jobs: JobView, state: object = None) -> ClusterSnapshot:
    return ClusterSnapshot(0, now_s, 0, ONE, jobs, state=state or {})  # type: ignore[arg-type]


def first(view: ClusterSnapshot, policy: FairLongest | None = None) -> tuple[str, ClusterPlan]:
    """Return who is given the GPU, and the plan."""
    plan = (policy or FairLongest()).plan(view)
    assert violations(plan, view) == ()
    (grant,) = plan.grants
    return grant.job, plan


def test_the_longest_goes_first_until_another_would_end_later_than_is_fair() -> None:
    jobs = job("long", 1000.0), job("short", 100.0)  # two jobs on one GPU: fair is to take twice as long as alone
    assert first(at(0.0, *jobs))[0] == "long"
    assert first(at(89.0, *jobs))[0] == "long"
    assert first(at(90.0, *jobs))[0] == "short"  # 90 s and 100 s are 95 % of 200 s
    assert first(at(90.0, *jobs), FairLongest(due=1.0))[0] == "long"
    assert first(at(0.0, *jobs), FairLongest(due=0.5))[0] == "short"  # both are due, and it is fair to end sooner


def test_who_is_due_takes_the_place_of_who_runs() -> None:
    busy = replace(ONE, free=frozen([[0.0, 0.0, 0.0]]), device_free=frozen([[0.0]]))
    running = replace(
        at(90.0, job("long", 1000.0), job("short", 100.0)), nodes=busy, leases=(Grant("long", 0, "a", (0,)),)
    )
    plan = FairLongest().plan(running)
    assert violations(plan, running) == ()
    assert ([one.job for one in plan.revokes], [one.job for one in plan.grants]) == (["long"], ["short"])
    assert FairLongest().plan(replace(running, now_s=89.0)).revokes == ()


def test_what_was_fair_once_does_not_become_unfair_when_others_leave() -> None:
    jobs = job("long", 1000.0), job("short", 100.0)
    _, plan = first(at(0.0, *jobs, job("other", 1000.0)))
    assert first(at(150.0, *jobs, state=plan.state))[0] == "long"  # three times 100 s are fair, of which 95 % are 285 s
    assert first(at(185.0, *jobs, state=plan.state))[0] == "short"
    assert first(at(150.0, *jobs))[0] == "short"
    assert plan.state["most_jobs"] == {"long": 3, "short": 3, "other": 3}


def test_jobs_of_nearly_the_same_length_do_not_stop_each_other() -> None:
    begun = job("begun", 1000.0, done=400.0, started_s=0.0)
    assert first(at(400.0, begun, job("new", 900.0, submitted_s=400.0)))[0] == "begun"
    assert first(at(400.0, begun, job("new", 1100.0, submitted_s=400.0)))[0] == "new"


def test_who_is_known_goes_before_who_is_not() -> None:
    assert first(at(5.0, job("unknown", float("nan")), job("known", 1.0, submitted_s=5.0)))[0] == "known"


@pytest.mark.parametrize("due", [0.0, -1.0, float("inf"), float("nan"), True, "soon"])
def test_due_is_a_positive_number(due: object) -> None:
    with pytest.raises(PolicyError, match="due must be finite and greater than 0"):
        FairLongest(due=due)  # type: ignore[arg-type]
