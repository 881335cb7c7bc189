"""Placing one job now, or saying why it does not fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from policies.interface import Grant, JobView, Policy
from scheduler.errors import RunFailedError, UserError
from scheduler.gang import Gang
from scheduler.ledger import Ledger
from scheduler.loop import StalePlanError, checked_plan, plan_more, step
from scheduler.ray_cluster import RayCluster

LOOK_AGAIN_S = 0.1

FREED_LATE_S = 3.0
"""Ray reports freed resources late: how long to look again before saying that a job does not fit."""

MORE_WITHIN_S = 3.0
"""How long to wait for leases of a job that runs: one on a node that has just died never comes, and others can wait."""


def placed(job: JobView, policy: Policy, seed: int, make_room: Callable[[], bool]) -> Gang:
    """Return a gang for a job, with all of its workers.

    Parameters
    ----------
    make_room
        Called when the job does not fit; frees something and returns True, or returns False.

    Raises
    ------
    UserError
        If the job does not fit; names every shortfall.
    RunFailedError
        If the cluster kept changing under the plans.
    """
    cluster = RayCluster()
    gang = None
    try:
        leases = _lease(cluster, job, policy, seed, make_room)
        gang = Gang(cluster, job)
        gang.seat(leases)
    except BaseException:
        if gang is not None:
            gang.stop()
        cluster.release_all()
        raise
    return gang


def _lease(
    cluster: RayCluster, job: JobView, policy: Policy, seed: int, make_room: Callable[[], bool]
) -> tuple[Grant, ...]:
    """Let the policy place the job's gang; what others have just given back may show a little late."""
    ledger = Ledger()
    ledger.submit(job)
    deadline_s = time.monotonic() + FREED_LATE_S
    while True:
        try:
            plan = step(cluster, policy, ledger, seed)
        except StalePlanError as error:
            raise RunFailedError(f"the cluster's free resources kept changing: {error}; try again") from None
        if not plan.unplaced:
            return tuple(sorted(plan.grants, key=lambda grant: grant.worker))
        if make_room():
            deadline_s = time.monotonic() + FREED_LATE_S
        elif time.monotonic() >= deadline_s or not _would_fit_if_free(cluster, ledger, policy):
            break
        time.sleep(LOOK_AGAIN_S)
    reasons = "\n".join(str(item) for item in plan.unplaced)
    raise UserError(
        f"job {reasons}\nask for fewer workers (workers.count, --workers), a smaller workers.bundle or fewer "
        "workers.labels, or use a larger cluster (an embedded one: --cpus)"
    )


def place_more(
    cluster: RayCluster, job: JobView, policy: Policy, seed: int, numbers: Sequence[int]
) -> tuple[Grant, ...]:
    """Lease as many more workers for a job as fit now, at most one for each of ``numbers``, by which they are called.

    Raises
    ------
    UserError
        If the policy breaks a rule.
    """
    plan, snapshot = plan_more(policy, job, cluster.observe(), cluster.now_s(), seed, numbers)
    try:
        cluster.apply(plan, snapshot, MORE_WITHIN_S)
    except StalePlanError:
        return ()
    return plan.grants


def _would_fit_if_free(cluster: RayCluster, ledger: Ledger, policy: Policy) -> bool:
    """Say whether the job would fit on the cluster if nobody else used it."""
    nodes = cluster.observe()
    snapshot = ledger.snapshot(nodes.emptied(), 0.0, 0)
    return not checked_plan(policy, snapshot).unplaced
