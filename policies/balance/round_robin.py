"""One shard after the other, in turn."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.balance.division import within_memory
from policies.interface import Assignment, Balance, RoundView, Unplaced


class RoundRobin(Balance):
    """Deal the shards out in turn, so that each worker's are evenly spread over the data.

    For equally fast workers where work or cost drifts along the data, as in files that are sorted: everyone gets some
    of each part.

    Cost: O(s + w).

    Source: the cyclic distribution of Dongarra, van de Geijn and Walker, "Scalability issues affecting the
    design of a dense linear algebra library", Journal of Parallel and Distributed Computing 22(3), 1994;
    OpenMP's static, 1.
    """

    name: ClassVar[str] = "round-robin"
    source: ClassVar[str] = "Dongarra, van de Geijn & Walker, JPDC 1994; OpenMP schedule(static, 1)"
    wants_speeds: ClassVar[bool] = False

    def divide(self, view: RoundView) -> Assignment | Unplaced:
        """Hand out every shard once: shard i to worker ``i mod w``; within memory (bytes)."""
        num_workers = len(view.workers)
        worker_of = np.arange(len(view.shards), dtype=np.int64) % max(num_workers, 1)
        return within_memory(view, worker_of, np.ones(num_workers))
