"""Linear models: one weight for each column and output, and perhaps an intercept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.architectures.base import Architecture, Arrays, Backward
from workers.columns import Columns
from workers.data.rows import Dense, Floats, Matrix
from workers.kernels import Kernels


@dataclass(frozen=True)
class Linear(Architecture):
    """``num_features * num_outputs`` weights, row-major, then ``num_outputs`` intercepts."""

    kind = "linear"
    is_linear = True

    @property
    def num_parameters(self) -> int:
        """Length of the flat parameter buffer."""
        return (self.num_features + self.intercept) * self.num_outputs

    def start(self, random: np.random.Generator) -> Floats:
        """Return zeros."""
        del random
        return np.zeros(self.num_parameters)

    @property
    def mask(self) -> Floats:
        """1 where a parameter is a weight, 0 where it is an intercept."""
        mask = np.zeros(self.num_parameters)
        mask[: self.num_features * self.num_outputs] = 1.0
        return mask

    def split(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Return weights ``(num_features, num_outputs)`` and intercepts ``(num_outputs,)`` of a flat buffer."""
        num_weights = self.num_features * self.num_outputs
        weights = parameters[:num_weights].reshape(self.num_features, self.num_outputs)
        return weights, parameters[num_weights:] if self.intercept else np.zeros(self.num_outputs)

    def join(self, weights: Floats, intercepts: Floats) -> Floats:
        """Return the flat buffer of weights and intercepts."""
        return np.concatenate([weights.ravel(), intercepts]) if self.intercept else weights.ravel()

    def forward(self, parameters: Floats, X: Matrix, columns: Columns, kernels: Kernels) -> tuple[Dense, Backward]:
        """Return ``a w + b`` for raw rows, and what pulls derivatives back."""
        weights, intercepts = columns.to_raw(*self.split(parameters))
        Z = kernels.product(X, weights)
        Z += intercepts.astype(Z.dtype, copy=False)

        def backward(R: Dense) -> Floats:
            totals = R.sum(axis=0, dtype=np.float64)
            return self.join(columns.pull(kernels.pull_back(X, R).astype(np.float64, copy=False), totals), totals)

        return Z, backward

    def to_arrays(self, parameters: Floats, columns: Columns) -> dict[str, Floats]:
        """Return ``weights`` and ``intercepts`` on raw columns."""
        weights, intercepts = columns.to_raw(*self.split(parameters))
        return {"weights": weights, "intercepts": intercepts}

    def from_arrays(self, arrays: Arrays, columns: Columns) -> Floats:
        """Return the flat buffer of ``weights`` and ``intercepts``."""
        return self.join(*columns.from_raw(arrays["weights"], arrays["intercepts"]))
