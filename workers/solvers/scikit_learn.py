"""Scikit-learn's compiled loops on every shard, averaged once a round."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array

from workers.architectures import Linear
from workers.columns import Columns
from workers.data.rows import Floats, Matrix, is_sparse
from workers.data.shard import Shard
from workers.errors import DataError
from workers.objectives.base import Objective
from workers.objectives.huber import Huber
from workers.problem import Problem
from workers.solvers.base import Payload, generator
from workers.solvers.local_sgd import LocalSgd

LOSSES = {
    "squared": "squared_error",
    "huber": "huber",
    "logistic": "log_loss",
    "hinge": "hinge",
    "squared-hinge": "squared_hinge",
}
"""What scikit-learn calls the losses that it has, too."""

SEEDS = 2**31 - 1


class ScikitLearnSgd(LocalSgd):
    """Local SGD whose steps, one row each, are those of ``SGDRegressor`` and ``SGDClassifier``.

    An L1 penalty is scikit-learn's cumulative one (Tsuruoka, Tsujii, Ananiadou, Stochastic Gradient Descent Training
    for L1-regularized Log-linear Models, ACL 2009), where ``local-sgd`` makes proximal steps.
    """

    name = "sklearn-sgd"
    source = "Pedregosa et al., Scikit-learn: Machine Learning in Python (JMLR 2011)"
    takes_layers = False
    own_batch = 1

    def refuse(self, problem: Problem) -> str | None:
        """Refuse losses that scikit-learn has not, and what every solver refuses."""
        name = problem.objective.name
        if name not in LOSSES:
            return (
                f"solver '{self.name}' has the losses {', '.join(LOSSES)}, scikit-learn's SGD has no '{name}': "
                "use 'local-sgd'"
            )
        if problem.kernels.name != "fast":
            return f"the bits of solver '{self.name}' may depend on the processor: set 'training.reproducible: usual'"
        return super().refuse(problem)

    def contribute(self, problem: Problem, payload: Payload, shard: Shard, round_: int) -> Floats:
        """Return weight times the parameters' change over the shard's epochs, and the losses before them."""
        start, rows = payload["parameters"], shard.train
        linear = problem.architecture
        if not isinstance(linear, Linear):
            raise TypeError(f"scikit-learn's SGD needs a linear architecture, got {linear.kind}")
        weights, intercepts = linear.split(start)
        model = _model(problem, round_)
        model.coef_, model.intercept_ = weights.T.copy(), intercepts.copy()
        if problem.objective.task == "regression":
            model.coef_ = model.coef_[0]
        X = _standardised(problem.columns, rows.X)
        relative = None if rows.weights is None else rows.weights / problem.mean_weight
        classes = {"classes": np.array([0.0, 1.0])} if problem.objective.task == "classification" else {}
        random = generator(problem, round_, shard.index)
        try:
            for _ in range(problem.options.local_epochs):
                model.random_state = int(random.integers(SEEDS))
                model.partial_fit(X, rows.y.astype(np.float64), sample_weight=relative, **classes)
        except ValueError as error:
            if "overflow" not in str(error):
                raise
            return np.full(len(start) + 1, np.nan)  # whoever adds it up says where, and what to do
        change = linear.join(model.coef_.reshape(-1, 1), model.intercept_) - start
        return np.append(rows.total_weight * change, problem.loss_sum(start, rows))


def _model(problem: Problem, round_: int) -> Any:
    """Return the estimator that takes the steps of ``local-sgd`` with batches of one row."""
    from sklearn.linear_model import SGDClassifier, SGDRegressor  # noqa: PLC0415  (workers start without it)

    objective, penalty = problem.objective, problem.penalty
    whole = penalty.l2 + penalty.l1
    double = 2.0 if objective.name == "squared-hinge" else 1.0  # scikit-learn's is twice ours: half the steps
    kind = SGDRegressor if objective.task == "regression" else SGDClassifier
    return kind(
        loss=LOSSES[objective.name],
        penalty="elasticnet",
        alpha=double * whole,
        l1_ratio=penalty.l1 / whole if whole else 0.0,
        fit_intercept=problem.intercept,
        learning_rate="constant",
        eta0=problem.options.rate(round_) / double,
        **_settings(objective),
    )


def _settings(objective: Objective) -> dict[str, float]:
    return {"epsilon": objective.delta} if isinstance(objective, Huber) else {}


def _standardised(columns: Columns, X: Matrix) -> Matrix:
    """Return standardised rows in float64; sparse ones stay sparse, and so cannot be centred."""
    if not is_sparse(X):
        return columns.standardised(X)
    if columns.center.any():
        raise DataError(
            "solver 'sklearn-sgd' cannot centre sparse rows: set 'training.standardise: false' or "
            "'model.intercept: false', or use 'local-sgd'"
        )
    return csr_array(X.astype(np.float64) @ diags_array(1.0 / columns.scale))
