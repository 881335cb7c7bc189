"""What is minimised: the loss of a row, its derivatives by the margin, its metric."""

from workers.objectives.base import Objective
from workers.objectives.hinge import Hinge, SquaredHinge
from workers.objectives.huber import Huber
from workers.objectives.logistic import Logistic
from workers.objectives.poisson import Poisson
from workers.objectives.softmax import Softmax
from workers.objectives.squared import Squared

OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (Squared(), Huber(), Poisson(), Logistic(), Hinge(), SquaredHinge(), Softmax())
}
"""Every objective by the name that a job file gives it."""

__all__ = ["OBJECTIVES", "Objective"]
