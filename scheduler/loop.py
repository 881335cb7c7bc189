"""The loop: observe, plan, check, apply, record. The same on every cluster that follows the protocol."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from policies.interface import ClusterPlan, ClusterSnapshot, Demand, Grant, JobView, Memo, NodeTable, Policy
from policies.referee import violations
from scheduler.errors import UserError
from scheduler.ledger import ANY_DEMAND, Ledger

MAX_REPLANS = 5


class StalePlanError(Exception):
    """The cluster changed between observing and applying: plan again.

    Attributes
    ----------
    revoked
        Leases that the plan took back, and that are gone.
    """

    def __init__(self, message: str, revoked: tuple[Grant, ...] = ()) -> None:
        super().__init__(message)
        self.revoked = revoked


class Cluster(Protocol):
    """What the loop needs of a cluster and its clock."""

    def observe(self) -> NodeTable:
        """Return every node with its capacity and what is free now."""

    def now_s(self) -> float:
        """Return the time in seconds."""

    def apply(self, plan: ClusterPlan, snapshot: ClusterSnapshot) -> None:
        """Carry out a plan that passed the referee, a gang whole or not at all.

        Raises
        ------
        StalePlanError
            If what the plan counts on is not there any more; nothing of its grants is held then.
        """


def step(
    cluster: Cluster,
    policy: Policy,
    ledger: Ledger,
    seed: int,
    memo: Memo | None = None,
    demand: Demand = ANY_DEMAND,
) -> ClusterPlan:
    """Let ``policy`` decide once for all that wait, enter the plan that was carried out, and return it.

    ``memo`` keeps what the policy derives for the next step, and ``demand`` is the mix of bundles to expect, where it
    is known.

    Raises
    ------
    UserError
        If the policy raises, or its plan breaks a rule; all violations are listed.
    StalePlanError
        If the cluster kept changing under ``MAX_REPLANS`` plans.
    """
    return carry_out(
        cluster,
        ledger,
        lambda: ledger.snapshot(cluster.observe(), cluster.now_s(), seed, policy.needs_running, demand),
        lambda snapshot: checked_plan(policy, snapshot, memo),
    )


def carry_out(
    cluster: Cluster,
    ledger: Ledger,
    observed: Callable[[], ClusterSnapshot],
    planned: Callable[[ClusterSnapshot], ClusterPlan],
) -> ClusterPlan:
    """Carry out and enter what is planned on what is observed, again where that is stale; return the plan.

    Raises
    ------
    StalePlanError
        If the cluster kept changing under ``MAX_REPLANS`` plans.
    """
    for attempt in range(1, MAX_REPLANS + 1):
        snapshot = observed()
        plan = planned(snapshot)
        try:
            cluster.apply(plan, snapshot)
        except StalePlanError as error:
            for lease in error.revoked:
                ledger.lose(lease)
            if attempt == MAX_REPLANS:
                raise
            continue
        ledger.record(plan, snapshot.now_s)
        return plan
    raise AssertionError("the last attempt returns or raises")


def memo_for(policy: Policy) -> Memo | None:
    """Return a memo for a policy that takes one; a user's own need not."""
    return Memo() if "memo" in inspect.signature(policy.plan).parameters else None


def checked_plan(policy: Policy, snapshot: ClusterSnapshot, memo: Memo | None = None) -> ClusterPlan:
    """Return the policy's plan after the referee has passed it; raises ``UserError`` otherwise."""
    try:
        plan = policy.plan(snapshot) if memo is None else policy.plan(snapshot, memo)
    except Exception as error:  # a user's own code may raise anything
        raise UserError(f"policy '{policy.name}' raised {type(error).__name__}: {error}") from error
    judge(policy.name, plan, snapshot, ClusterPlan)
    return plan


def plan_more(
    policy: Policy, job: JobView, nodes: NodeTable, now_s: float, seed: int, numbers: Sequence[int]
) -> tuple[ClusterPlan, ClusterSnapshot]:
    """Return a plan of as many more workers of a job as fit on ``nodes``, called by ``numbers``, and its snapshot.

    Raises
    ------
    UserError
        If the policy breaks a rule.
    """
    alone = Ledger()
    alone.submit(replace(job, min_workers=1, max_workers=len(numbers)))
    snapshot = alone.snapshot(nodes, now_s, seed)
    plan = checked_plan(policy, snapshot)
    grants = tuple(replace(grant, worker=number) for grant, number in zip(plan.grants, numbers, strict=False))
    return replace(plan, grants=grants), snapshot


def judge(policy: str, plan: Any, view: Any, kind: type) -> None:
    """Let the referee judge what a policy answered; raises ``UserError`` unless it is a ``kind`` that passes."""
    if not isinstance(plan, kind):
        raise UserError(f"policy '{policy}' must return {_a(kind)}, but returned {_a(type(plan))}")
    try:
        found = violations(plan, view)
    except Exception as error:  # noqa: BLE001  (a user's own plan may hold anything)
        found = (f"its {kind.__name__} cannot be read: {type(error).__name__}: {error}",)
    if found:
        raise UserError(_refusal(policy, found))


def _a(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOUaeiou' else 'a'} {kind.__name__}"


def _refusal(policy: str, found: tuple[str, ...]) -> str:
    """Return the message for a plan that breaks rules: all of them."""
    listed = "\n".join(f"  - {violation}" for violation in found[:20])
    more = f"\n  - and {len(found) - 20} more" if len(found) > 20 else ""
    return f"policy '{policy}' returned a plan that breaks {len(found)} rule(s):\n{listed}{more}"
