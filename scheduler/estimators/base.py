"""What the estimators share: parameters, and a training on actors that stay."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ValidationError
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from policies.presets import resolve
from scheduler.job import Recipe
from scheduler.preparation import prepare_source
from scheduler.warm import WARM
from workers.data.memory_source import MemorySource
from workers.data.rows import Floats
from workers.outcome import WarmStart
from workers.solvers import SOLVERS

FLOATS = (np.float64, np.float32)
INCREMENTAL = "local-sgd"
"""What ``partial_fit`` takes where a round of the solver is no stochastic step: it would forget what came before."""


class Distributed(BaseEstimator):
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

    def _train(self, source: MemorySource, objective: Any, initial: WarmStart | None = None, **changes: Any) -> None:
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

    def _present(self) -> WarmStart | None:
        """Return where ``partial_fit`` goes on, None before the first fit."""
        if not hasattr(self, "coef_"):
            return None
        arrays = {"weights": np.atleast_2d(self.coef_).T.copy(), "intercepts": np.atleast_1d(self.intercept_).copy()}
        return WarmStart(arrays, self.n_iter_)

    def _one_round(self) -> dict[str, Any]:
        """Return what ``partial_fit`` changes of the training."""
        known = SOLVERS.get(self.solver)
        moves = known is not None and known.stochastic and known.rounds_per_step == 1
        return {"rounds": 1, "solver": self.solver if moves else INCREMENTAL}

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


def row_weights(sample_weight: ArrayLike | None, X: Any) -> Floats | None:
    """Return checked weights in float64, None if there are none."""
    if sample_weight is None:
        return None
    weights: Floats = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    return weights
