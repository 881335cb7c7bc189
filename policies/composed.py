"""A policy of three parts: an order, a placement and a balance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from policies.interface import (
    Balance,
    ClusterPlan,
    ClusterSnapshot,
    Grant,
    NodeTable,
    Order,
    Place,
    Policy,
    PolicyError,
    Unplaced,
    frozen,
)


class Composed(Policy):
    """Ask the order who is next, then the placement where; the balance is left to the job's rounds.

    Claims are placed in the order's ranking, each on what the earlier ones left. One that does not fit is
    ``Unplaced`` and the next is tried: a job that waits does not hold up smaller ones behind it.

    Parameters
    ----------
    order, place, balance
        The three answers.
    name
        What reports call it; without it, the three names joined by ``+``.
    """

    def __init__(self, order: Order, place: Place, balance: Balance, name: str | None = None) -> None:
        self.order = order
        self.place = place
        self.balance = balance
        self.name = name or f"{order.name}+{place.name}+{balance.name}"

    def plan(self, snapshot: ClusterSnapshot) -> ClusterPlan:
        """Grant every waiting job whole, workers numbered from 0, or say why not; bytes and processors.

        Raises
        ------
        PolicyError
            If the placement answers with a row that is no node.
        """
        free = snapshot.nodes.free.copy()
        grants: list[Grant] = []
        unplaced: list[Unplaced] = []
        for claim in self.order.rank(snapshot):
            nodes = replace(snapshot.nodes, free=frozen(free))
            answer = self.place.place(claim, nodes, snapshot.seed)
            if isinstance(answer, Unplaced):
                unplaced.append(answer)
                continue
            self._check_rows(answer, nodes)
            grants += [Grant(claim.job, worker, nodes.ids[row]) for worker, row in enumerate(answer)]
            np.subtract.at(free, list(answer), claim.bundle.vector())
        return ClusterPlan(snapshot.version, tuple(grants), unplaced=tuple(unplaced))

    def _check_rows(self, rows: tuple[int, ...], nodes: NodeTable) -> None:
        strange = [row for row in rows if not 0 <= row < len(nodes)]
        if strange:
            raise PolicyError(
                f"place {self.place.name!r} must answer with rows 0 to {len(nodes) - 1}, but got {strange[0]}"
            )
