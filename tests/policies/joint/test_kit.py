"""Every joint policy keeps what policies owe."""

from __future__ import annotations

from policies.interface import Policy
from policies.joint.allox import Allox
from policies.joint.finish_time_fair_lp import FinishTimeFairLp
from policies.joint.max_min_throughput import MaxMinThroughput
from policies.joint.max_sum_throughput import MaxSumThroughput
from policies.joint.min_makespan import MinMakespan
from policies.joint.pop import Pop
from policies.place.spread import Spread
from policies.testing import PolicyConformance


class TestMinMakespan(PolicyConformance):
    def policy(self) -> Policy:
        return MinMakespan()


class TestMaxMinThroughput(PolicyConformance):
    def policy(self) -> Policy:
        return MaxMinThroughput(round_s=5)


class TestMaxSumThroughput(PolicyConformance):
    def policy(self) -> Policy:
        return MaxSumThroughput(cost=True, place=Spread())


class TestFinishTimeFairLp(PolicyConformance):
    def policy(self) -> Policy:
        return FinishTimeFairLp(round_s=5)


class TestPop(PolicyConformance):
    def policy(self) -> Policy:
        return Pop(parts=2, inner="min-makespan")


class TestAllox(PolicyConformance):
    def policy(self) -> Policy:
        return Allox(round_s=5)
