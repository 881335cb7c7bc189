"""What jobs weigh, by hand."""

from __future__ import annotations

import pytest
from joint_cases import cluster, job

from policies.interface import ClusterSnapshot, JobView, PolicyError, Tenant
from policies.joint.weights import weights


def weighed(jobs: list[JobView], *tenants: Tenant) -> list[float]:
    snapshot = ClusterSnapshot(0, 0.0, 0, cluster({}), tuple(jobs), tenants=tenants)
    return [round(float(one), 9) for one in weights(jobs, snapshot)]


def test_without_tenants_and_priorities_all_weigh_one() -> None:
    assert weighed([job("a"), job("b"), job("c")]) == [1, 1, 1]
    assert weighed([]) == []


def test_each_step_of_priority_doubles() -> None:
    assert weighed([job("a", priority=2.0), job("b", priority=1.0), job("c")]) == pytest.approx([12 / 7, 6 / 7, 3 / 7])
    assert weighed([job("a", priority=1e9), job("b", priority=-1e9)]) == pytest.approx([2, 0])


def test_tenants_share_by_weight_however_many_jobs_they_have() -> None:
    jobs = [job("a", tenant="red"), job("b", tenant="red"), job("c", tenant="blue")]
    assert weighed(jobs, Tenant("red", 2.0)) == pytest.approx([1, 1, 1])
    assert weighed(jobs) == pytest.approx([0.75, 0.75, 1.5])


def test_a_parents_part_is_shared_among_its_children_and_its_own_jobs() -> None:
    tenants = (Tenant("sea", 3.0), Tenant("blue", 2.0, parent="sea"), Tenant("navy", parent="sea"), Tenant("red"))
    jobs = [job("own", tenant="sea"), job("b", tenant="blue"), job("r", tenant="red")]
    # sea has 3/4: a third of it for its own jobs, two for blue (navy has no jobs); red has 1/4.
    assert weighed(jobs, *tenants) == pytest.approx([0.75, 1.5, 0.75])


def test_a_tenant_that_is_a_part_of_itself_is_refused() -> None:
    with pytest.raises(PolicyError, match="is a part of itself"):
        weighed([job("a", tenant="x")], Tenant("x", parent="y"), Tenant("y", parent="x"))
