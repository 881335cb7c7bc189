from __future__ import annotations

from typing import ClassVar

import numpy as np

from policies.joint.problem import Problem
from policies.joint.programs import Program
from policies.joint.rounds import TimeShared
from policies.tables import Floats


class MinMakespan(TimeShared):
    """M."""

    name: ClassVar[str] = "min-makespan"
    source: ClassVar[str] = "Narayanan et al., OSDI 2020 (Gavel)"

    def shares(self, problem: Problem) -> Floats:
        classes, class_of = problem.merged("left_s")
        need = classes.left_s / classes.left_s.max()
        return Program(classes).most(np.zeros(len(classes)), need).shares[class_of]
