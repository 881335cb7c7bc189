"""Workers to the jobs that they bring nearer to their end."""

from __future__ import annotations

import math
from typing import ClassVar

from policies.interface import Claim, ClusterSnapshot, JobView, Order
from policies.order.filling import claims, fill
from policies.order.turns import kinds_of, shortest_s


class Optimus(Order):
    """Give every job its least workers, then each further one to the job whose time left it shortens most.

    To be picked where jobs are elastic and their lengths known: the sum of the times left is small, so jobs are
    through soon. The gain is counted over a worker's dominant share of the cluster. Jobs grow and shrink whenever
    it is asked; what that costs is not weighed.

    The time left is ``JobView.remaining_s`` on the fastest kind of node, measured or fitted elsewhere: the paper's
    fit of loss and speed curves is not part of it, nor are parameter servers, which this scheduler does not give to
    jobs one by one. Jobs whose length is not known keep to their least number. With equal bundles and times whose gains
    shrink with every worker, the sum is as small as it can be.

    Cost: O((j + w) log j) for w workers to be handed out.

    Source: Peng, Bao, Chen, Wu and Guo, "Optimus: An efficient dynamic resource scheduler for deep learning clusters",
    EuroSys 2018.
    """

    name: ClassVar[str] = "optimus"
    source: ClassVar[str] = "Peng et al., EuroSys 2018"
    preemptive: ClassVar[bool] = True
    promises: ClassVar[frozenset[str]] = frozenset({"work-conserving"})

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of all jobs, for as many workers as each is to have."""
        kinds = kinds_of(snapshot)

        def gain(job: JobView, workers: int) -> float:
            now_s, then_s = (shortest_s(job, number, kinds) for number in (workers, workers + 1))
            return 0.0 if math.isinf(then_s) else now_s - then_s

        return claims(snapshot.jobs, fill(snapshot, gain))
