"""Running jobs are brought within their bounds where the policy leaves them beyond."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from policies.feasibility import Room
from policies.interface import ClusterPlan, ClusterSnapshot, Grant, JobView, Policy
from policies.order.tenancy import Quotas, tenants_of
from scheduler.ledger import Ledger
from scheduler.loop import Cluster, carry_out, plan_more

KEEPING = "bounds of "
"""How the journal calls a decision of ``within_bounds``: with the policy's name after it."""


def all_within(ledger: Ledger) -> bool:
    """Say whether no running job is beyond its bounds."""
    return all(job.min_workers <= ledger.num_leases(job.id) <= job.max_workers for job in ledger.running)


def keep_bounds(cluster: Cluster, policy: Policy, ledger: Ledger, seed: int) -> ClusterPlan:
    """Take a step of the loop with ``within_bounds`` in place of the policy; raises what ``loop.step`` raises."""
    return carry_out(
        cluster,
        ledger,
        lambda: ledger.snapshot(cluster.observe(), cluster.now_s(), seed),
        lambda snapshot: within_bounds(policy, snapshot),
    )


def within_bounds(policy: Policy, snapshot: ClusterSnapshot) -> ClusterPlan:
    """Return what brings running jobs within their bounds: they were resized, or are without a node that they had.

    Workers with the highest numbers are taken back. Of what a job lacks of its least number as many are granted as fit,
    where ``policy`` would place them, and as the quotas of tenants that do not borrow allow. Nobody gives way to it.

    Raises
    ------
    UserError
        If the policy breaks a rule.
    """
    held, room, quotas = snapshot.held(), Room(snapshot.nodes), Quotas(tenants_of(snapshot))
    quotas.lend()
    grants: list[Grant] = []
    revokes: list[Grant] = []
    running = [job for job in snapshot.jobs if job.id in held]
    for job in running:
        surplus = held[job.id][job.max_workers :]
        quotas.count(job, len(held[job.id]) - len(surplus))
        revokes += surplus
        for lease in surplus:
            if (row := room.row(lease.node)) is not None:
                room.release(job.bundle, row, lease.devices)
    for job in running:
        if numbers := _numbers(job, held[job.id], quotas):
            plan, _ = plan_more(policy, job, room.table(), snapshot.now_s, snapshot.seed, numbers)
            quotas.count(job, len(plan.grants))
            grants += plan.grants
            for grant in plan.grants:
                room.hold(job.bundle, snapshot.nodes.row_of[grant.node], grant.devices)
    return ClusterPlan(snapshot.version, tuple(grants), tuple(revokes), state=snapshot.state)


def _numbers(job: JobView, held: Sequence[Grant], quotas: Quotas) -> list[int]:
    """Return the lowest free numbers for what a job lacks of its least number, as far as quotas allow."""
    missing = max(job.min_workers - len(held), 0)
    taken = {lease.worker for lease in held}
    free = (number for number in range(len(held) + missing) if number not in taken)
    return list(islice(free, int(min(missing, quotas.fit(job)))))
