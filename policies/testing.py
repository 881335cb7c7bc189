"""The conformance kit: whether a policy keeps its promises, tested with one class.

Needs ``pip install apportion[conformance]`` (pytest and Hypothesis). In a test module of yours::

    from policies.testing import BalanceConformance

    class TestMine(BalanceConformance):
        def policy(self):
            return Mine()

A kit tests what every policy of its family owes: plans that the referee passes, reasons that are true,
the same answer to an equal snapshot, a snapshot left as it was, and that it can be pickled. Whether the
plan is a *good* one is for the policy's own tests.
"""

from policies.conformance_balance import BalanceConformance
from policies.conformance_cluster import OrderConformance, PolicyConformance
from policies.conformance_place import PlaceConformance
from policies.strategies import (
    calm_views,
    cluster_snapshots,
    crowded_snapshots,
    degenerate_snapshots,
    degenerate_views,
    job_views,
    node_tables,
    round_views,
)

__all__ = [
    "BalanceConformance",
    "OrderConformance",
    "PlaceConformance",
    "PolicyConformance",
    "calm_views",
    "cluster_snapshots",
    "crowded_snapshots",
    "degenerate_snapshots",
    "degenerate_views",
    "job_views",
    "node_tables",
    "round_views",
]
