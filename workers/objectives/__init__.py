"""What is minimised: the loss of a row, its derivative by the margin, its metric."""

from workers.objectives.base import Objective
from workers.objectives.logistic import Logistic
from workers.objectives.softmax import Softmax
from workers.objectives.squared import Squared

OBJECTIVES: dict[str, Objective] = {objective.name: objective for objective in (Squared(), Logistic(), Softmax())}
"""Every objective by the name that a job file gives it."""

__all__ = ["OBJECTIVES", "Objective"]
