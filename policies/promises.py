"""What orders can promise beyond what every order owes, each with a check on one snapshot and its plan.

A check raises ``AssertionError`` if the promise is broken. The conformance kit applies those that an order names in
``promises``.
"""

# ruff: noqa: S101

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from policies.feasibility import Room, slots
from policies.interface import Claim, ClusterPlan, ClusterSnapshot, Grant, JobView, NodeTable, Order, Resources, frozen
from policies.order.turns import by_submission, gpus, kinds_of, known_first, longest_s, shortest_s

Promise = Callable[[Order, ClusterSnapshot, ClusterPlan], None]

Key = Callable[[JobView, ClusterSnapshot], tuple[bool, float]]


def after(plan: ClusterPlan, snapshot: ClusterSnapshot) -> NodeTable:
    """Return the nodes as they are once the plan is carried out."""
    room, jobs = Room(snapshot.nodes), {job.id: job for job in snapshot.jobs}
    for held, move in ((plan.revokes, room.release), (plan.grants, room.hold)):
        for lease in held:
            row = room.row(lease.node)
            assert row is not None
            move(jobs[lease.job].bundle, row, lease.devices)
    return room.table()


def _jobs(snapshot: ClusterSnapshot) -> dict[str, JobView]:
    return {job.id: job for job in snapshot.jobs}


def _no_overtaking(order: Order, snapshot: ClusterSnapshot, plan: ClusterPlan) -> None:
    """Nobody who came later starts while one who came before waits."""
    del order
    jobs = _jobs(snapshot)
    waits = [by_submission(jobs[item.what]) for item in plan.unplaced]
    starts = [by_submission(jobs[grant.job]) for grant in plan.grants]
    assert not (waits and starts and max(starts) > min(waits)), "somebody overtakes"


def _work_conserving(order: Order, snapshot: ClusterSnapshot, plan: ClusterPlan) -> None:
    """Nobody waits for whom there is room, and a quota to use it, or leave to go beyond."""
    del order
    left, jobs = after(plan, snapshot), _jobs(snapshot)
    strict = {f"quota of tenant {tenant.name}" for tenant in snapshot.tenants if not tenant.borrows}
    for item in plan.unplaced:
        if any(reason.where in strict for reason in item.shortfalls):
            continue
        fit = slots(jobs[item.what], left).sum()
        assert fit < jobs[item.what].min_workers, f"{item.what} waits, although {fit} of its workers fit"


def _starvation_free(order: Order, snapshot: ClusterSnapshot, plan: ClusterPlan) -> None:
    """Who has waited for very long goes before every newcomer, and smaller jobs cannot keep the nodes from it."""
    del plan
    keeps = order.blocking or order.preemptive or order.reservations(snapshot) is not None
    assert keeps, "a job that does not fit is overtaken by all that do"
    much_later = 1e12
    newcomer = JobView(
        "newcomer",
        much_later,
        Resources(cpu=1.0),
        1,
        1,
        priority=100.0,
        deadline_s=much_later + 1.0,
        work=1e-9,
        rates={"": frozen([1.0])},
    )
    running = {lease.job for lease in snapshot.leases}
    later = replace(snapshot, now_s=much_later, jobs=(*snapshot.jobs, newcomer))
    names = [turn.job.id for turn in order.rank(later) if isinstance(turn, Claim)]
    waited = {job.id for job in snapshot.jobs if job.id not in running}
    assert not waited & set(names[names.index("newcomer") :]), "a newcomer goes before who has waited for very long"


def _delays_no_first(order: Order, snapshot: ClusterSnapshot, plan: ClusterPlan) -> None:
    """Check that the first that waits could start no earlier, by the lengths of jobs, had nobody overtaken it."""
    del order
    jobs = _jobs(snapshot)
    if not plan.unplaced:
        return
    first = min((jobs[item.what] for item in plan.unplaced), key=by_submission)
    fair = tuple(grant for grant in plan.grants if by_submission(jobs[grant.job]) < by_submission(first))
    alone, beside = _start_s(first, fair, snapshot), _start_s(first, plan.grants, snapshot)
    assert beside <= alone, f"{first.id} could start after {alone} s, now after {beside} s"


def _start_s(job: JobView, grants: tuple[Grant, ...], snapshot: ClusterSnapshot) -> float:
    """Return after how many seconds ``job`` fits, when ``grants`` and the leases end as they are to."""
    nodes, jobs = snapshot.nodes, _jobs(snapshot)
    room, ends = Room(nodes), {}
    kind = dict(zip(nodes.ids, nodes.kinds, strict=True))
    holders = (*snapshot.leases, *grants)
    for name, workers in Counter(lease.job for lease in holders).items():
        length = longest_s(jobs[name], workers, {kind[lease.node] for lease in holders if lease.job == name})
        ends[name] = math.inf if math.isnan(length) else length
    for grant in grants:
        room.hold(jobs[grant.job].bundle, nodes.ids.index(grant.node), grant.devices)
    for end in sorted({0.0, *ends.values()}):
        for lease in holders:
            if ends[lease.job] == end < math.inf:
                room.release(jobs[lease.job].bundle, nodes.ids.index(lease.node), lease.devices)
        if end < math.inf and slots(job, room.table()).sum() >= job.min_workers:
            return end
    return math.inf


def _first(key: Key) -> Promise:
    """Promise that no job has nodes that one with a smaller key, which asks for no more, is waiting for.

    Under an order that is not preemptive only the nodes count that are granted now.
    """

    def check(order: Order, snapshot: ClusterSnapshot, plan: ClusterPlan) -> None:
        jobs, revoked = _jobs(snapshot), set(plan.revokes)
        kept = [lease for lease in snapshot.leases if lease not in revoked]
        granted = {grant.job for grant in plan.grants}
        workers = Counter(lease.job for lease in [*kept, *plan.grants])
        for waits in (jobs[item.what] for item in plan.unplaced):
            for name in workers if order.preemptive else granted:
                goes_first = key(waits, snapshot) < key(jobs[name], snapshot)
                assert not (goes_first and asks_no_more(waits, jobs[name], workers[name])), (
                    f"{name} has nodes that {waits.id} is waiting for"
                )

    return check


def asks_no_more(job: JobView, other: JobView, workers: int) -> bool:
    """Say whether ``job`` could do with what ``workers`` workers of ``other`` have."""
    fits = (job.bundle.vector() <= other.bundle.vector()).all() and job.min_workers <= workers
    return bool(fits and not job.selector)


def _length(job: JobView, snapshot: ClusterSnapshot) -> tuple[bool, float]:
    return known_first(shortest_s(job, job.max_workers, kinds_of(snapshot)))


def _service(job: JobView, snapshot: ClusterSnapshot) -> tuple[bool, float]:
    return known_first(shortest_s(job, job.max_workers, kinds_of(snapshot)) * job.max_workers * gpus(job))


def _deadline(job: JobView, snapshot: ClusterSnapshot) -> tuple[bool, float]:
    needed_s = shortest_s(job, job.max_workers, kinds_of(snapshot))
    late = snapshot.now_s + (0.0 if math.isnan(needed_s) else needed_s) > job.deadline_s
    return (True, 0.0) if late else (False, job.deadline_s)


PROMISES: Mapping[str, Promise] = {
    "no-overtaking": _no_overtaking,
    "work-conserving": _work_conserving,
    "starvation-free": _starvation_free,
    "delays-no-first": _delays_no_first,
    "shortest-first": _first(_length),
    "least-service-first": _first(_service),
    "earliest-deadline-first": _first(_deadline),
}
"""Promise -> its check."""
