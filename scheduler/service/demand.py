"""What the jobs want of the cluster's autoscaler: the bundles to ask it for. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from policies.interface import JobView, NodeTable, Resources, Unplaced
from policies.order.tenancy import Quotas, tenants_of
from scheduler.ledger import Ledger
from scheduler.service.growth import Growth, Space

MOST_BUNDLES = 10_000
"""How many bundles are asked for at most: the autoscaler places each of them, on every node that there is."""

DIGITS = 4
"""To which digit Ray counts resources."""


class Wanted(NamedTuple):
    """A number of equal bundles; what is used is wanted on the ``node`` where it is, the rest on any that fits."""

    bundle: Resources
    number: int
    selector: tuple[tuple[str, tuple[str, ...]], ...] = ()
    node: str = ""


def bundles(
    ledger: Ledger, nodes: NodeTable, growth: Growth | None, refusals: Mapping[str, Unplaced]
) -> tuple[Wanted, ...]:
    """Return what the cluster must have room for now: what is in use, and the least workers of those that wait.

    Nothing is wanted where no job waits or runs, and nothing so that a job may grow; but what it has grown to is in
    use. What is in use is wanted where it is, one bundle a node, or the autoscaler would count on room that is split
    up among nodes, or taken by others than our jobs.

    Jobs are heard in the order in which the policy refused them. One is left out that would not fit beside those
    before it, however many nodes were added (it must wait for others to end), or that its tenant's quota does not
    allow: Ray's autoscaler adds nothing at all where a part of what it is asked for cannot be had. Who may not
    overtake one that was left out is, too: nodes would stand idle, and count among those that may be had.

    Parameters
    ----------
    growth
        What may be added; None if that is not known, and everybody is taken to fit.
    refusals
        Why jobs wait, by the last plan, in its order.
    """
    if not ledger.num_waiting and not ledger.num_running:
        return ()
    used = [Wanted(bundle, 1, node=node) for node, bundle in _in_use(nodes)][:MOST_BUNDLES]
    left, kinds = MOST_BUNDLES - len(used), Counter[tuple[Resources, tuple[tuple[str, tuple[str, ...]], ...]]]()
    for job, number in _fitting(ledger, nodes, growth, refusals):
        if number > left:
            break
        kinds[job.bundle_class] += number
        left -= number
    return (*used, *(Wanted(bundle, number, selector) for (bundle, selector), number in kinds.items()))


def _in_use(nodes: NodeTable) -> Iterator[tuple[str, Resources]]:
    used = np.round(np.maximum(nodes.capacity - nodes.free, 0.0), DIGITS)
    for row in np.flatnonzero(used.any(axis=1)):
        cpu, gpu, memory = used[row].tolist()
        yield nodes.ids[row], Resources(cpu, gpu, memory)


def _fitting(
    ledger: Ledger, nodes: NodeTable, growth: Growth | None, refusals: Mapping[str, Unplaced]
) -> Iterator[tuple[JobView, int]]:
    """Yield the jobs that lack workers, and how many, as far as they fit beside those before; those that run first."""
    lacking = list(_lacking(ledger, refusals))
    if not lacking:
        return
    quotas, space = _quotas(ledger, nodes), None if growth is None else Space(nodes, growth)
    left_out: dict[object, int] = {}
    for job, number in lacking:
        if number >= left_out.get(job.bundle_class, math.inf) or (left_out and _is_behind(refusals.get(job.id))):
            continue
        if not quotas.take(job, number):
            continue
        if space is None or space.take(job, number):
            yield job, number
        else:
            left_out[job.bundle_class] = number
            quotas.count(job, -number)


def _lacking(ledger: Ledger, refusals: Mapping[str, Unplaced]) -> Iterator[tuple[JobView, int]]:
    for job in ledger.running:
        if (missing := job.min_workers - ledger.num_leases(job.id)) > 0:
            yield job, missing
    waiting = {job.id: job for job in ledger.waiting}
    heard = [waiting.pop(name) for name in refusals if name in waiting]
    yield from ((job, job.min_workers) for job in (*heard, *waiting.values()))


def _quotas(ledger: Ledger, nodes: NodeTable) -> Quotas:
    """Return what those that run leave of the quotas beyond which nobody may be."""
    quotas = Quotas(tenants_of(ledger.snapshot(nodes, 0.0, 0)))
    quotas.lend()
    for job in ledger.running:
        quotas.count(job, ledger.num_leases(job.id))
    return quotas


def _is_behind(refusal: Unplaced | None) -> bool:
    """Say whether a job waits for another to go first; reasons that would have to be worked out are no such ones."""
    found = () if refusal is None else refusal.shortfalls
    return isinstance(found, tuple) and any(one.resource == "turn" for one in found)
