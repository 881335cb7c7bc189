"""The classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from scheduler.estimators.base import FLOATS, Distributed, row_weights
from workers.data.memory_source import MemorySource
from workers.data.rows import Floats
from workers.outcome import WarmStart


def _has_probabilities(estimator: DistributedClassifier) -> bool:
    return estimator.objective in ("auto", "logistic", "softmax")


class DistributedClassifier(ClassifierMixin, Distributed):
    """A linear classifier.

    Parameters
    ----------
    objective
        ``auto`` (``logistic`` for two classes, else ``softmax``), ``hinge`` or ``squared-hinge``.
    class_weight
        ``balanced``, or the weight of each label (1 if not named); multiplied with ``sample_weight``.

    All others are those of ``DistributedRegressor``.

    Attributes
    ----------
    classes_
        The labels, sorted.
    coef_, intercept_
        On raw columns, shapes ``(outputs, features)`` and ``(outputs,)``: one output for two classes, unless the
        objective is ``softmax``.
    """

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
        weights = row_weights(sample_weight, X)
        if self.class_weight is None:
            return weights
        by_class: Floats = compute_sample_weight(self.class_weight, y)
        return by_class if weights is None else weights * by_class

    def _fit(
        self,
        X: Any,
        y: NDArray[Any],
        weights: Floats | None,
        initial: WarmStart | None = None,
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
