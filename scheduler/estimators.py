"""Estimators for scikit-learn that train on Ray: ``DistributedRegressor`` and ``DistributedClassifier``.

They train as ``apportion run`` does, on the Ray that this process is connected to, on the cluster at ``address`` or
``RAY_ADDRESS``, or on an embedded one. Connection and actors stay for the next fit, until ``shutdown`` or the end of
the process. Number of workers and policy change the time of a fit, never its result.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state, compute_sample_weight
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from policies.presets import resolve
from scheduler.job import Recipe
from scheduler.preparation import prepare_source
from scheduler.warm import WARM
from workers.architectures.base import Arrays
from workers.data.memory_source import MemorySource
from workers.data.rows import Floats
from workers.solvers import SOLVERS

FLOATS = (np.float64, np.float32)
INCREMENTAL = "local-sgd"
"""What ``partial_fit`` takes where the solver is not stochastic: any other would forget what came before."""


def shutdown() -> None:
    """End the actors that wait for the next fit, give their leases back, and close the connection if we opened it."""
    WARM.close()


class _Distributed(BaseEstimator):
    """What both estimators share: a linear model, trained by an objective, a solver and a penalty."""

    _task: ClassVar[str]
    coef_: Floats
    intercept_: Any
    n_iter_: int
    objective_: Any

    def __init__(
        self,
        *,
        objective: str | dict[str, Any] = "auto",
        solver: str = "auto",
        l2: float = 1e-4,
        l1: float = 0.0,
        fit_intercept: bool = True,
        standardise: bool = True,
        max_rounds: int = 1000,
        tolerance: float = 1e-9,
        learning_rate: float | Literal["auto"] = "auto",
        schedule: str = "auto",
        batch_size: int = 32,
        local_epochs: int = 1,
        reproducible: Literal["usual", "strict"] = "usual",
        num_shards: int = 8,
        num_workers: int = 1,
        bundle: Mapping[str, Any] | None = None,
        policy: str | dict[str, Any] = "equal",
        address: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.objective = objective
        self.solver = solver
        self.l2 = l2
        self.l1 = l1
        self.fit_intercept = fit_intercept
        self.standardise = standardise
        self.max_rounds = max_rounds
        self.tolerance = tolerance
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.local_epochs = local_epochs
        self.reproducible = reproducible
        self.num_shards = num_shards
        self.num_workers = num_workers
        self.bundle = bundle
        self.policy = policy
        self.address = address
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        """Say that sparse rows are welcome."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _margins(self, X: Any) -> Floats:
        """Return the linear predictor of checked rows, shape ``(rows, outputs)``."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=FLOATS, reset=False)
        margins: Floats = safe_sparse_dot(X, np.atleast_2d(self.coef_).T, dense_output=True) + self.intercept_
        return margins

    def _train(self, source: MemorySource, objective: Any, initial: Arrays | None = None, **changes: Any) -> None:
        """Fit to a source, from ``initial`` on, and keep what was learnt; ``changes`` are of the recipe's training."""
        recipe = self._recipe(objective, len(source.y), changes)
        loss = recipe.model.loss()
        if loss.task != self._task:
            raise ValueError(f"{type(self).__name__}: objective '{loss.name}' is for {loss.task}")
        prepared = replace(prepare_source(recipe, source), initial=initial)
        outcome = WARM.train(prepared, resolve(self.policy), self.address).outcome
        self.coef_, self.intercept_ = np.ascontiguousarray(outcome.weights.T), outcome.intercepts.copy()
        self.n_iter_, self.objective_ = outcome.rounds, prepared.problem.objective
        if not outcome.converged and not changes:
            warnings.warn(f"not converged: {outcome.reason}; raise max_rounds", ConvergenceWarning, stacklevel=4)

    def _present(self) -> Arrays | None:
        """Return the parameters from which ``partial_fit`` goes on, None before the first fit."""
        if not hasattr(self, "coef_"):
            return None
        return {"weights": np.atleast_2d(self.coef_).T.copy(), "intercepts": np.atleast_1d(self.intercept_).copy()}

    def _one_round(self) -> dict[str, Any]:
        """Return what ``partial_fit`` changes of the training."""
        known = SOLVERS.get(self.solver)
        return {"rounds": 1, "solver": self.solver if known is not None and known.stochastic else INCREMENTAL}

    def _names(self) -> list[str] | None:
        """Return the columns' names, None if the rows came without."""
        return None if (names := getattr(self, "feature_names_in_", None)) is None else list(names)

    def _recipe(self, objective: Any, num_rows: int, changes: Mapping[str, Any]) -> Recipe:
        """Return the parameters as a job has them; raises ``ValueError`` with every one that is wrong."""
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        training = {
            "solver": self.solver,
            "batch_size": self.batch_size,
            "local_epochs": self.local_epochs,
            "rounds": self.max_rounds,
            "tolerance": self.tolerance,
            "seed": int(seed),
            "learning_rate": self.learning_rate,
            "schedule": self.schedule,
            "standardise": self.standardise,
            "reproducible": self.reproducible,
        }
        bundle = {} if self.bundle is None else {"bundle": dict(self.bundle)}
        try:
            return Recipe(
                name=type(self).__name__,
                test_fraction=0.0,
                model={"objective": objective, "l2": self.l2, "l1": self.l1, "intercept": self.fit_intercept},
                training={**training, **changes},
                shards=min(self.num_shards, num_rows),
                workers={"count": self.num_workers, **bundle},
                policy=self.policy,
            )
        except ValidationError as error:
            listed = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}" for e in error.errors()
            )
            raise ValueError(f"{type(self).__name__}: {listed}") from None


class DistributedRegressor(RegressorMixin, _Distributed):
    """A linear regression."""

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
        initial: Arrays | None,
        **changes: Any,
    ) -> Self:
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=FLOATS, y_numeric=True, reset=initial is None)
        source = MemorySource(X, y, _weights(sample_weight, X), feature_names=self._names())
        self._train(source, "squared" if self.objective == "auto" else self.objective, initial, **changes)
        self.coef_, self.intercept_ = self.coef_[0], float(self.intercept_[0])
        return self

    def predict(self, X: Any) -> Floats:
        """Return the prediction for each row, shape ``(rows,)``."""
        Z = self._margins(X)
        predictions: Floats = self.objective_.predict(Z)
        return predictions


def _has_probabilities(estimator: DistributedClassifier) -> bool:
    return estimator.objective in ("auto", "logistic", "softmax")


class DistributedClassifier(ClassifierMixin, _Distributed):
    """A linear classifier."""

    _task = "classification"

    classes_: NDArray[Any]

    def __init__(
        self,
        *,
        objective: str | dict[str, Any] = "auto",
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        solver: str = "auto",
        l2: float = 1e-4,
        l1: float = 0.0,
        fit_intercept: bool = True,
        standardise: bool = True,
        max_rounds: int = 1000,
        tolerance: float = 1e-9,
        learning_rate: float | Literal["auto"] = "auto",
        schedule: str = "auto",
        batch_size: int = 32,
        local_epochs: int = 1,
        reproducible: Literal["usual", "strict"] = "usual",
        num_shards: int = 8,
        num_workers: int = 1,
        bundle: Mapping[str, Any] | None = None,
        policy: str | dict[str, Any] = "equal",
        address: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        super().__init__(
            objective=objective,
            solver=solver,
            l2=l2,
            l1=l1,
            fit_intercept=fit_intercept,
            standardise=standardise,
            max_rounds=max_rounds,
            tolerance=tolerance,
            learning_rate=learning_rate,
            schedule=schedule,
            batch_size=batch_size,
            local_epochs=local_epochs,
            reproducible=reproducible,
            num_shards=num_shards,
            num_workers=num_workers,
            bundle=bundle,
            policy=policy,
            address=address,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def __sklearn_tags__(self) -> Tags:
        """Say whether more than two classes are welcome."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.objective in ("auto", "softmax")
        return tags

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to rows ``X`` (rows, features), dense or sparse, and labels ``y`` (rows,) of any sortable type.

        ``sample_weight`` (rows,) says what each row counts; None counts 1. Fitting again begins anew.
        """
        X, y = self._checked(X, y, reset=True)
        self.classes_ = np.unique(y)
        weights = self._row_weights(X, y, sample_weight)
        present = self.classes_ if weights is None else np.unique(y[weights > 0])
        if len(present) < 2:
            raise ValueError(f"a classifier needs rows of at least two classes, got the one class {present.tolist()}")
        return self._fit(X, y, weights)

    def partial_fit(
        self, X: Any, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Make one round over these rows from the present parameters, with a stochastic solver.

        The first call needs ``classes``, all labels that will ever come.
        """
        initial = self._present()
        if self.class_weight == "balanced":
            raise ValueError("class_weight 'balanced' needs all rows at once: give partial_fit the weights as a dict")
        if initial is None:
            if classes is None:
                raise ValueError("the first partial_fit needs 'classes': all labels that will ever come")
            self.classes_ = np.unique(np.asarray(classes))
        X, y = self._checked(X, y, reset=initial is None)
        strange = np.setdiff1d(y if classes is None else np.append(y, np.asarray(classes)), self.classes_)
        if len(strange):
            raise ValueError(f"labels {strange.tolist()} are not among the classes {self.classes_.tolist()}")
        return self._fit(X, y, self._row_weights(X, y, sample_weight), initial, **self._one_round())

    def _checked(self, X: Any, y: ArrayLike, reset: bool) -> tuple[Any, NDArray[Any]]:
        X, labels = validate_data(self, X, y, accept_sparse="csr", dtype=FLOATS, reset=reset)
        check_classification_targets(labels)
        return X, labels

    def _row_weights(self, X: Any, y: NDArray[Any], sample_weight: ArrayLike | None) -> Floats | None:
        """Return what each row counts, of itself and by its class; None where all count 1."""
        weights = _weights(sample_weight, X)
        if self.class_weight is None:
            return weights
        by_class: Floats = compute_sample_weight(self.class_weight, y)
        return by_class if weights is None else weights * by_class

    def _fit(
        self,
        X: Any,
        y: NDArray[Any],
        weights: Floats | None,
        initial: Arrays | None = None,
        **changes: Any,
    ) -> Self:
        numbers = np.arange(len(self.classes_))
        labels = np.searchsorted(self.classes_, y)
        source = MemorySource(X, labels, weights, classes=numbers, feature_names=self._names())
        auto = "logistic" if len(self.classes_) == 2 else "softmax"
        objective = auto if self.objective == "auto" else self.objective
        self._train(source, objective, initial, **changes)
        return self

    def decision_function(self, X: Any) -> Floats:
        """Return the margins, shape ``(rows,)`` for two classes told apart by one, else ``(rows, classes)``."""
        margins = self._margins(X)
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the label of each row, shape ``(rows,)``."""
        Z = self._margins(X)
        numbers = self.objective_.predict(Z)
        labels: NDArray[Any] = self.classes_[numbers.astype(np.int64)]
        return labels

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Floats:
        """Return the probability of each class, shape ``(rows, classes)``; objectives ``logistic`` and ``softmax``."""
        Z = self._margins(X)
        probabilities: Floats = self.objective_.probabilities(Z)
        return probabilities


def _weights(sample_weight: ArrayLike | None, X: Any) -> Floats | None:
    """Return checked weights in float64, None if there are none."""
    if sample_weight is None:
        return None
    weights: Floats = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    return weights
