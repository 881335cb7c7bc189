"""A policy of one's own: `apportion run examples/policy_of_my_own/job.yaml --policy mine:Mine`."""

import numpy as np

from policies.balance.division import by_weight
from policies.interface import CPU, Balance


class Mine(Balance):
    """Give work by the square root of a worker's processors: twice as many are seldom twice as fast."""

    name = "mine"
    source = "a rule of thumb, to show how a policy is written"

    def divide(self, view):
        """Hand out every shard once; `by_weight` minds the workers' memory."""
        return by_weight(view, np.sqrt(view.workers.capacity[:, CPU]))
