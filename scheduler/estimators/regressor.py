"""The regressor."""

from __future__ import annotations

from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from scheduler.estimators.base import FLOATS, Distributed, row_weights
from workers.data.memory_source import MemorySource
from workers.data.rows import Floats
from workers.outcome import WarmStart


class DistributedRegressor(RegressorMixin, Distributed):
    """A linear regression.

    Parameters
    ----------
    objective
        ``auto`` (``squared``), or as in a job file: ``huber``, ``poisson``, ``{"huber": {"delta": 2.0}}``.
    l2, l1
        The penalty ``l2 / 2 * |w|**2 + l1 * sum |w|`` beside the mean loss, on weights of standardised columns.
    max_rounds, tolerance
        Training ends when the loss has changed by less than this part of itself three times, or after the rounds.
    num_shards
        Parts that the rows are cut into (fewer where there are fewer rows): part of what local solvers compute.
    num_workers, bundle, policy
        How many processes, what each reserves (``{"cpu": 1, "memory": "2GiB"}``), and how shards are divided: these
        change the time of a fit, never its result.
    address
        Of the Ray cluster; None: where this process is connected, else ``RAY_ADDRESS``, else an embedded one.
    random_state
        An integer (the same bits again), a ``RandomState``, or None.
    solver, learning_rate, schedule, batch_size, local_epochs, fit_intercept, standardise, reproducible
        As in a job file.

    Attributes
    ----------
    coef_, intercept_
        On raw columns, shape ``(features,)`` and a number.
    n_iter_, objective_
        Rounds of the last fit, and its objective.
    """

    _task = "regression"

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to rows ``X`` (rows, features), dense or sparse, and targets ``y`` (rows,).

        ``sample_weight`` (rows,) says what each row counts; None counts 1. Fitting again begins anew.
        """
        return self._fit(X, y, sample_weight, None)

    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Make one round over these rows from the present parameters, with a stochastic solver."""
        return self._fit(X, y, sample_weight, self._present(), **self._one_round())

    def _fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        initial: WarmStart | None,
        **changes: Any,
    ) -> Self:
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=FLOATS, y_numeric=True, reset=initial is None)
        source = MemorySource(X, y, row_weights(sample_weight, X), feature_names=self._names())
        self._train(source, "squared" if self.objective == "auto" else self.objective, initial, **changes)
        self.coef_, self.intercept_ = self.coef_[0], float(self.intercept_[0])
        return self

    def predict(self, X: Any) -> Floats:
        """Return the prediction for each row, shape ``(rows,)``."""
        Z = self._margins(X)
        predictions: Floats = self.objective_.predict(Z)
        return predictions
