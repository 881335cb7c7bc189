"""A trained model in other people's formats: as an estimator of scikit-learn, and as an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from workers.errors import DataError

if TYPE_CHECKING:
    from workers.model import Model


def to_sklearn(model: Model) -> Any:
    """Return a fitted estimator of scikit-learn itself that predicts as the linear ``model`` does.

    ``LinearRegression`` or ``PoissonRegressor``; ``LogisticRegression`` (objectives ``logistic`` and ``softmax``) or
    ``SGDClassifier`` (the hinges), which has no probabilities. Only what predicting needs is set: the parameters of
    the constructor say nothing of how the model was trained.

    Raises
    ------
    DataError
        If scikit-learn has no such model.
    """
    if model.objective.name not in _PEERS or not model.architecture.is_linear:
        raise DataError(
            f"model {model.name} is a {model.architecture.kind!r} for objective {model.objective.name!r}: scikit-learn "
            f"has linear ones for objectives {', '.join(_PEERS)}. Use Model.predict."
        )
    estimator = _PEERS[model.objective.name]()
    estimator.n_features_in_, estimator.n_iter_ = len(model.feature_names), 1
    if model.classes is None:
        estimator.coef_, estimator.intercept_ = model.weights[:, 0].copy(), model.intercepts[0]
        return estimator
    weights, intercepts = model.weights.T.copy(), model.intercepts.copy()
    if len(weights) == 2:  # two margins: scikit-learn tells two classes apart by their difference
        weights, intercepts = np.diff(weights, axis=0), np.diff(intercepts)
    estimator.classes_ = np.asarray(model.classes)
    estimator.coef_, estimator.intercept_ = weights, intercepts
    return estimator


def to_onnx(model: Model) -> bytes:
    """Return the linear ``model`` as an ONNX graph: input ``X`` (rows, features), float64; outputs of skl2onnx.

    A regressor's output is ``variable`` (rows, 1), a classifier's are ``label`` and ``probabilities`` (rows, classes).

    Raises
    ------
    DataError
        If skl2onnx is not installed, or scikit-learn has no such model.
    """
    try:
        from skl2onnx import convert_sklearn  # noqa: PLC0415  (an extra)
        from skl2onnx.common.data_types import DoubleTensorType  # noqa: PLC0415
    except ImportError:
        raise DataError("ONNX needs skl2onnx: pip install 'apportion[onnx]'") from None
    estimator = to_sklearn(model)
    inputs = [("X", DoubleTensorType([None, len(model.feature_names)]))]
    options = {} if model.classes is None else {id(estimator): {"zipmap": False}}
    graph = convert_sklearn(estimator, name=model.name, initial_types=inputs, options=options)
    graph.doc_string = f"{model.name}: {model.target_name} from {', '.join(model.feature_names)}"
    content: bytes = graph.SerializeToString()
    return content


def _linear_regression() -> Any:
    from sklearn.linear_model import LinearRegression  # noqa: PLC0415  (takes a second, and few need it)

    return LinearRegression()


def _poisson_regressor() -> Any:
    from sklearn.linear_model import PoissonRegressor  # noqa: PLC0415

    estimator = PoissonRegressor()
    estimator._base_loss = estimator._get_loss()  # what fit() sets, and predict() needs
    return estimator


def _logistic_regression() -> Any:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    return LogisticRegression()


def _sgd_classifier() -> Any:
    from sklearn.linear_model import SGDClassifier  # noqa: PLC0415

    return SGDClassifier()  # of loss 'hinge', a linear support vector machine


_PEERS: dict[str, Callable[[], Any]] = {
    "squared": _linear_regression,
    "huber": _linear_regression,
    "poisson": _poisson_regressor,
    "logistic": _logistic_regression,
    "softmax": _logistic_regression,
    "hinge": _sgd_classifier,
    "squared-hinge": _sgd_classifier,
}
"""What scikit-learn has for an objective, by its name: all that predict alike are one."""
