"""Workers to the jobs whose goodput they raise most, fairly."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from policies.interface import Claim, ClusterSnapshot, JobView, Order, PolicyError
from policies.order.filling import claims, fill
from policies.order.turns import best_rate, counter, kinds_of, shared_rate


class PolluxGoodput(Order):
    """Give every job its least workers, then each further one where it raises the mean of the speedups most.

    To be picked where jobs are elastic and it is known how their speed grows with workers, but not their length. A
    job's speedup is its ``JobView.rate`` (its goodput, where that is what was measured) over the one with an equal
    share of the cluster; the mean of all is the power mean with exponent ``p``: 1 is the sum of the speedups, the lower
    the fairer.

    Of Pollux this is the objective alone. Workers are handed out greedily instead of by a genetic search, which with
    equal bundles and concave speedups is exact; where each goes is the placement's to say; batch sizes and learning
    rates are the job's, and a job that grows or shrinks is not counted slower for it. Jobs whose speed is not known
    keep to their least number. Gains are counted over a worker's dominant share of the cluster.

    Cost: O((j + w) log j) for w workers to be handed out.

    Parameters
    ----------
    p
        The exponent of the mean, a finite number of at most 1.

    Raises
    ------
    PolicyError
        If ``p`` is out of bounds.

    Source: Qiao, Choe, Subramanya, Neiswanger, Ho, Zhang, Ganger and Xing, "Pollux: Co-adaptive cluster scheduling
    for goodput-optimized deep learning", OSDI 2021.
    """

    name: ClassVar[str] = "pollux-goodput"
    source: ClassVar[str] = "Qiao et al., Pollux, OSDI 2021"
    preemptive: ClassVar[bool] = True
    promises: ClassVar[frozenset[str]] = frozenset({"work-conserving"})

    def __init__(self, p: float = -1.0) -> None:
        number: Any = p
        if not isinstance(number, (int, float)) or isinstance(number, bool) or not -math.inf < number <= 1:
            raise PolicyError(f"p must be a finite number of at most 1, but got p={p!r}")
        self.p = float(p)

    def rank(self, snapshot: ClusterSnapshot) -> tuple[Claim, ...]:
        """Return the claims of all jobs, for as many workers as each is to have."""
        kinds, room = kinds_of(snapshot), counter(snapshot.nodes.emptied())
        share = 1.0 / max(len(snapshot.jobs), 1)
        fair = {job.id: shared_rate(job, room(job) * share, kinds) or 1.0 for job in snapshot.jobs}

        def gain(job: JobView, workers: int) -> float:
            now, then = (best_rate(job, number, kinds) / fair[job.id] for number in (workers, workers + 1))
            return self._value(then) - self._value(now) if then > now else 0.0

        return claims(snapshot.jobs, fill(snapshot, gain))

    def _value(self, speedup: float) -> float:
        """Return what the mean grows with: the sum of this over all jobs is largest where the mean is."""
        if speedup <= 0 and self.p <= 0:
            return -math.inf
        return math.log(speedup) if self.p == 0 else speedup**self.p / self.p
