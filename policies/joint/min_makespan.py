"""The soonest end of everything."""

from __future__ import annotations

import numpy as np

from policies.joint.problem import Problem
from policies.joint.programs import Program
from policies.joint.rounds import TimeShared
from policies.tables import Floats


class MinMakespan(TimeShared):
    """Share the kinds of nodes so that the last of all jobs ends as soon as possible.

    For a batch of jobs that counts only when all of it is done, on nodes of different speed. It needs the work of each
    job and its rates; a job of which they are not known is taken to be as long as the longest. When a single job ends
    does not matter to it.

    With M the makespan, each job's speed must be what it needs over M: the largest 1/M is one linear programme, where
    Gavel's implementation looks for M by bisection, to 5 %. A second one finds the shares for that M that hold least of
    the nodes; what is left absorbs that rounds and gangs are whole.

    Cost: two linear programmes of j * k shares when jobs or nodes change (1,000 jobs on 3 kinds: 0.2 s, 10,000: 3 s),
    O(j log j) a decision.

    Parameters
    ----------
    place
        Where the workers of a gang go among the nodes of a kind, written beside ``joint``; ``pack`` without one.
    balance
        How the shards of a job are divided, written beside ``joint``; ``equal`` without one.
    round_s
        How long a round is, in seconds, greater than 0.

    Source: policy "minimize makespan" of Gavel: Narayanan, Santhanam, Kazhamiaka, Phanishayee and Zaharia,
    "Heterogeneity-aware cluster scheduling policies for deep learning workloads", OSDI 2020, section 4.2.
    """

    name = "min-makespan"
    source = "Narayanan et al., OSDI 2020 (Gavel)"

    def shares(self, problem: Problem) -> Floats:
        """Return the shares with which all jobs can end first; shape ``(j, k)``."""
        classes, class_of = problem.merged("left_s")
        program = Program(classes)
        soonest = program.most(np.zeros(len(classes)), classes.left_s).value
        held = classes.use.max(axis=2) * classes.count[:, None]
        return program.best(-held, classes.left_s * soonest)[class_of]
