"""The words that policies speak: what they see, what they answer, and the classes that they are.

A policy is a pure function of an immutable snapshot: no Ray, no clock, no log, no I/O, no hidden state.
Whoever writes one imports from here; the words themselves stand in ``tables`` (what there is), ``views`` (what is
asked) and ``plans`` (what is answered).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from policies.memo import Memo
from policies.plans import Assignment, Call, ClusterPlan, Grant, Shortfall, Slot, Unplaced
from policies.tables import (
    CPU,
    GPU,
    GPU_CLASSES,
    MEMORY,
    RESOURCES,
    Demand,
    Floats,
    Ints,
    NodeTable,
    PolicyError,
    Resources,
    ShardTable,
    WorkerTable,
    frozen,
)
from policies.views import Claim, ClusterSnapshot, JobView, PlaceView, RoundView, Selector, Tenant

__all__ = [
    "CPU",
    "GPU",
    "GPU_CLASSES",
    "MEMORY",
    "RESOURCES",
    "Assignment",
    "Balance",
    "Call",
    "Claim",
    "ClusterPlan",
    "ClusterSnapshot",
    "Demand",
    "Described",
    "Floats",
    "Grant",
    "Ints",
    "JobView",
    "Memo",
    "NodeTable",
    "Order",
    "Place",
    "PlaceView",
    "Policy",
    "PolicyError",
    "Reservations",
    "Resources",
    "RoundView",
    "Selector",
    "ShardTable",
    "Shortfall",
    "Slot",
    "Tenant",
    "Unplaced",
    "WorkerTable",
    "frozen",
]


class Described(ABC):
    """Whatever has a name, a line that says what it does, and a source.

    Attributes
    ----------
    name
        What a job file calls it.
    source
        The paper or system that it comes from.
    promises
        What it keeps beyond what its family owes; ``policies.testing`` knows these words and tests each.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    promises: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def summary(cls) -> str:
        """Return the first sentence of the docstring."""
        return " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split())


class Reservations(ABC):
    """What an order keeps back, while one plan is made, for the claims that did not get their turn.

    The plan tells it everything in the order of the turns; it holds for one plan and is then forgotten.
    """

    @abstractmethod
    def start(self, claim: Claim, slots: tuple[Slot, ...]) -> None:
        """Note that ``claim`` starts now, on ``slots``."""

    @abstractmethod
    def reserve(self, claim: Claim) -> None:
        """Keep room for a claim that does not start now."""

    @abstractmethod
    def left(self, claim: Claim, nodes: NodeTable) -> NodeTable | None:
        """Return what of ``nodes`` the claim may use without harm to those reserved for; None if nothing.

        ``nodes`` is what is free now, and is returned as it is where the claim may use all of it.
        """


class Order(Described):
    """Answers who goes next, with how many workers.

    Attributes
    ----------
    preemptive
        Whether running jobs are ranked too, and lose what jobs before them need.
    blocking
        Whether a job that does not fit holds up all that follow.
    needs_running
        Whether a plan depends on the jobs that run already; where it does not, a snapshot may leave them out, and a
        plan costs what waits and not what runs.
    """

    preemptive: ClassVar[bool] = False
    blocking: ClassVar[bool] = False
    needs_running: ClassVar[bool] = True

    @abstractmethod
    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim | Unplaced, ...]:
        """Return one claim, or a refusal with its reason, for every job that has a turn, first one first.

        Jobs that hold leases have none, unless the order is ``preemptive``; a claim then counts the workers that the
        job has already, and one for fewer takes the surplus back.
        """

    def reservations(self, snapshot: ClusterSnapshot) -> Reservations | None:
        """Return what is to be kept back for claims that do not fit; None lets everyone overtake them.

        Asked once a plan, and not of an order that is ``preemptive``.
        """
        del snapshot
        return None


class Place(Described):
    """Answers on which nodes."""

    @abstractmethod
    def place(self, claim: Claim, view: PlaceView, memo: Memo | None = None) -> tuple[Slot, ...] | Unplaced:
        """Return where each worker goes, at least ``claim.min_workers`` of them, or why not.

        ``memo`` may keep what was derived for the next call; the answer is the same without it.
        """


class Balance(Described):
    """Answers how much each.

    Attributes
    ----------
    wants_speeds
        Whether ``view.workers.s_per_work`` is to be measured before the shards are divided; it takes a moment.
    redivides
        Whether it is worth asking again in every round: it learns from what was measured, or keeps shards back.
    patience
        How many times as long as expected a call may take before idle workers are given its shards too, and by how
        much all others together must be quicker for them to be given at once (``policies.balance.speculation``).
    """

    wants_speeds: ClassVar[bool] = True
    redivides: ClassVar[bool] = False
    patience: float = math.inf

    @abstractmethod
    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard of ``view`` once; never more bytes to a worker than its bundle's memory.

        Where ``view.pulls``, shards may be kept back (worker -1) for ``next``.
        """

    def next(self, view: RoundView, worker: int) -> Ints:
        """Return which of ``view.pending`` the idle ``worker`` computes next; none lets it rest for this round.

        Of one round's idle workers at least one must be given some while shards are pending.
        """
        del worker
        return view.pending[:0]


class Policy(ABC):
    """The three answers together; the loop asks ``plan``, the rounds ask ``balance``.

    Attributes
    ----------
    needs_running
        As that of an order.
    """

    name: str
    balance: Balance
    needs_running: bool = True

    @abstractmethod
    def plan(self, snapshot: ClusterSnapshot, memo: Memo | None = None) -> ClusterPlan:
        """Answer a snapshot: equal snapshots get equal plans, with a memo or without."""
