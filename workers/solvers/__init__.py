"""How it is minimised: each solver is three pure parts, ``broadcast``, ``contribute`` and ``combine``."""

from workers.solvers.base import Solver, State
from workers.solvers.diloco import Diloco
from workers.solvers.exact import Exact
from workers.solvers.gradient_descent import GradientDescent
from workers.solvers.lbfgs import Lbfgs
from workers.solvers.local_sgd import LocalSgd
from workers.solvers.local_svrg import LocalSvrg
from workers.solvers.newton import Newton
from workers.solvers.scikit_learn import ScikitLearnSgd
from workers.solvers.sgd import Sgd

SOLVERS: dict[str, Solver] = {
    solver.name: solver
    for solver in (
        Exact(),
        Newton(),
        Lbfgs(),
        GradientDescent(),
        Sgd(),
        LocalSgd(),
        LocalSvrg(),
        ScikitLearnSgd(),
        Diloco(),
    )
}
"""Every solver by the name that a job file gives it."""

__all__ = ["SOLVERS", "Solver", "State"]
