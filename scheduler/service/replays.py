"""Decisions of the journal, asked of their policies again: whether the same snapshots get the same plans. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from policies.interface import ClusterPlan, ClusterSnapshot, Grant, NodeTable, Policy, PolicyError
from policies.presets import resolve
from scheduler.errors import UserError
from scheduler.loop import checked_plan
from scheduler.service.bounds import KEEPING, within_bounds
from scheduler.service.decisions import nodes_of, planned, snapshots
from scheduler.service.history import Rows

PAGE = 200
"""How many decisions are read at a time."""

DECISIONS = "SELECT * FROM decisions WHERE number > ? ORDER BY number LIMIT ?"
NODES = "SELECT id, nodes FROM nodes WHERE id IN (SELECT nodes FROM decisions WHERE number > ? ORDER BY number LIMIT ?)"
POLICIES = "SELECT at_s, details FROM events WHERE kind = 'policy' ORDER BY number"


@dataclass(frozen=True)
class Difference:
    """A decision that is another one when it is asked for again.

    Attributes
    ----------
    number, version
        Of the decision in the journal, and of its snapshot.
    at_s
        Unix time.
    policy
        Who decided.
    revokes, grants
        As the journal has them, by job, worker and node.
    revokes_again, grants_again
        As the policy answers now.
    error
        What it raises now, or the rule that its plan breaks; empty if nothing.
    """

    number: int
    version: int
    at_s: float
    policy: str
    revokes: tuple[Grant, ...]
    grants: tuple[Grant, ...]
    revokes_again: tuple[Grant, ...] = ()
    grants_again: tuple[Grant, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Replay:
    """What came of asking again.

    Attributes
    ----------
    agree, differ
        How many decisions are the same, and how many are not.
    first
        The first of those that are not.
    skipped
        Policy -> why its decisions cannot be had again.
    """

    agree: int
    differ: int
    first: Difference | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)


def replay(rows: Rows) -> Replay:
    """Ask for every decision of a journal again; it is read page by page."""
    nodes: dict[int, NodeTable] = {}
    changes = [(row["at_s"], json.loads(row["details"])["spec"]) for row in rows(POLICIES)]
    return replayed(_pages(rows, nodes), nodes, changes)


def _pages(rows: Rows, nodes: dict[int, NodeTable]) -> Iterator[dict[str, Any]]:
    """Yield every decision, with its page's tables in ``nodes``."""
    last = 0
    while page := rows(DECISIONS, (last, PAGE)):
        tables = rows(NODES, (last, PAGE))
        nodes.clear()
        nodes.update({row["id"]: nodes_of(json.loads(row["nodes"])) for row in tables})
        yield from page
        last = page[-1]["number"]


def replayed(
    rows: Iterable[Mapping[str, Any]],
    nodes: Mapping[int, NodeTable],
    changes: Sequence[tuple[float, str | dict[str, Any]]] = (),
) -> Replay:
    """Ask for decisions again, each on the snapshot on which it was made, and compare what is granted and taken back.

    Parameters
    ----------
    rows, nodes
        As of ``snapshots``.
    changes
        When the cluster's policy was set (Unix time) and to what, in the order of time: a row has its name, which
        does not tell its options.
    """
    policies = _Policies(changes)
    agree, differ = 0, 0
    first: Difference | None = None
    skipped: dict[str, str] = {}
    for row, snapshot in snapshots(rows, nodes):
        name = row["policy"]
        if name in skipped:
            continue
        try:
            plan, error = _asked(policies.of(row), name, snapshot), ""
        except PolicyError as unresolved:
            skipped[name] = str(unresolved)
            continue
        except UserError as broken:
            plan, error = None, str(broken)
        if plan is not None and plan.state:
            skipped[name] = "it keeps a memory, which the journal does not have"
            continue
        revokes, grants = map(_sorted, planned(row))
        again = ClusterPlan(row["version"]) if plan is None else plan
        revokes_again, grants_again = _sorted(again.revokes), _sorted(again.grants)
        if not error and (revokes, grants) == (revokes_again, grants_again):
            agree += 1
            continue
        differ += 1
        where = (row["number"], row["version"], row["at_s"], name)
        first = first or Difference(*where, revokes, grants, revokes_again, grants_again, error)
    return Replay(agree, differ, first, skipped)


def _asked(policy: Policy, name: str, snapshot: ClusterSnapshot) -> ClusterPlan:
    """Ask again whoever made a decision, who has this name in the journal."""
    return within_bounds(policy, snapshot) if name.startswith(KEEPING) else checked_plan(policy, snapshot)


class _Policies:
    """The policies of a journal, each made once."""

    def __init__(self, changes: Sequence[tuple[float, str | dict[str, Any]]]) -> None:
        self._changes = changes
        self._made: dict[str, Policy] = {}

    def of(self, row: Mapping[str, Any]) -> Policy:
        """Return a decision's policy: the one set last if that is its name, else the one that is called so."""
        name = row["policy"].removeprefix(KEEPING)
        set_before = [spec for at_s, spec in self._changes if at_s <= row["at_s"]][-1:]
        for spec in set_before:
            if (policy := self._policy(spec)).name == name:
                return policy
        return self._policy(name)

    def _policy(self, spec: str | dict[str, Any]) -> Policy:
        key = json.dumps(spec)
        if key not in self._made:
            self._made[key] = resolve(spec)
        return self._made[key]


def _sorted(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    return tuple(sorted(grants, key=lambda grant: (grant.job, grant.worker, grant.node, grant.devices)))
