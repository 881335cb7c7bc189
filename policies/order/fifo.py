"""First in, first out."""

from __future__ import annotations

from typing import ClassVar

from policies.interface import Claim, ClusterSnapshot, Order
from policies.order.turns import by_submission, waiting, whole


class Fifo(Order):
    """First come, first served; a job that does not fit holds up all that came later.

    For clusters where nobody should have to guess when a turn comes, and as the baseline of other orders. Nobody
    starves, however large; in return nodes stand idle while the job in front waits.

    Cost: O(j log j).

    Source: Silberschatz and Galvin, "Operating System Concepts", section "First-come, first-served scheduling".
    """

    name: ClassVar[str] = "fifo"
    source: ClassVar[str] = "Silberschatz & Galvin, Operating System Concepts"
    needs_running: ClassVar[bool] = False
    blocking: ClassVar[bool] = True
    promises: ClassVar[frozenset[str]] = frozenset({"no-overtaking", "starvation-free"})

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of jobs without leases by time of submission, then by name."""
        return tuple(whole(job) for job in sorted(waiting(snapshot), key=by_submission))
