"""Multilayer perceptrons: linear layers with a simple function between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from workers.architectures.base import Architecture, Arrays, Backward
from workers.columns import Columns
from workers.data.rows import Dense, Floats, Matrix
from workers.errors import did_you_mean
from workers.exact_sum import Ints
from workers.kernels import Kernels


class Activation(NamedTuple):
    """A function of each value, and its derivative as a function of what it returned."""

    value: Callable[[Dense, Kernels], Dense]
    slope: Callable[[Dense], Dense]


def _tanh(Z: Dense, kernels: Kernels) -> Dense:
    small = kernels.exp(-2.0 * np.abs(Z))
    value: Dense = np.copysign((1.0 - small) / (1.0 + small), Z)
    return value


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(lambda Z, kernels: np.maximum(Z, 0.0), lambda H: (H > 0).astype(H.dtype)),
    "tanh": Activation(_tanh, lambda H: 1.0 - H * H),
    "logistic": Activation(lambda Z, kernels: kernels.sigmoid(Z), lambda H: H * (1.0 - H)),
}
"""What may stand between layers, by the name that a job file gives it."""


@dataclass(frozen=True)
class Mlp(Architecture):
    """For each layer ``inputs * outputs`` weights, row-major, then ``outputs`` intercepts.

    The first layer takes the affine map of the columns, so rows are neither copied nor made dense.

    Attributes
    ----------
    hidden
        The size of each hidden layer, first to last.
    activation
        What follows each of them: a name in ``ACTIVATIONS``.

    Raises
    ------
    ValueError
        If there is no such activation, or a layer has no unit.
    """

    hidden: tuple[int, ...] = (64,)
    activation: str = "relu"

    kind = "mlp"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation '{self.activation}'. {did_you_mean(self.activation, ACTIVATIONS)}")
        if any(size < 1 for size in self.hidden):
            raise ValueError(f"a hidden layer has at least 1 unit, got {list(self.hidden)}")

    @property
    def _shapes(self) -> list[tuple[int, int]]:
        """The shape of each layer's weights, (inputs, outputs)."""
        return list(pairwise((self.num_features, *self.hidden, self.num_outputs)))

    @property
    def num_parameters(self) -> int:
        """Length of the flat parameter buffer."""
        return sum((inputs + self.intercept) * outputs for inputs, outputs in self._shapes)

    @property
    def blocks(self) -> Ints:
        """Where the blocks of parameters begin that share a scale: a layer's weights, and its intercepts."""
        sizes = [size for inputs, outputs in self._shapes for size in (inputs * outputs, self.intercept * outputs)]
        return np.cumsum([0, *filter(None, sizes)])[:-1]

    def start(self, random: np.random.Generator) -> Floats:
        """Return weights that neither blow up nor fade what passes them, and no intercepts.

        They are uniform: with the variance of He, Zhang, Ren, Sun, Delving Deep into Rectifiers (ICCV 2015) before
        ``relu``, else with that of Glorot, Bengio, Understanding the difficulty of training deep feedforward neural
        networks (AISTATS 2010).
        """
        layers = []
        for place, (inputs, outputs) in enumerate(self._shapes):
            rectified = self.activation == "relu" and place < len(self.hidden)
            reach = np.sqrt(6.0 / (inputs if rectified else inputs + outputs))
            layers.append((reach * (2.0 * random.random((inputs, outputs)) - 1.0), np.zeros(outputs)))
        return self._join(layers)

    @property
    def mask(self) -> Floats:
        """1 where a parameter is a weight, 0 where it is an intercept."""
        return self._join([(np.ones(shape), np.zeros(shape[1])) for shape in self._shapes])

    def _split(self, parameters: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Yield each layer's weights (inputs, outputs) and intercepts (outputs,)."""
        start = 0
        for inputs, outputs in self._shapes:
            middle = start + inputs * outputs
            end = middle + outputs * self.intercept
            intercepts = parameters[middle:end] if self.intercept else np.zeros(outputs)
            yield parameters[start:middle].reshape(inputs, outputs), intercepts
            start = end

    def _join(self, layers: list[tuple[Floats, Floats]]) -> Floats:
        """Return the flat buffer of all layers' weights and intercepts."""
        kept = [part.ravel() for layer in layers for part in layer[: 1 + self.intercept]]
        return np.concatenate(kept)

    def _raw(self, parameters: Floats, columns: Columns) -> list[tuple[Floats, Floats]]:
        """Return all layers: the first one for raw columns, the last one for the target's unit."""
        first, *between = self._split(parameters)
        layers = [columns.to_raw(*first), *between]
        weights, intercepts = layers[-1]
        return [*layers[:-1], (self.unit * weights, self.offset + self.unit * intercepts)]

    def forward(self, parameters: Floats, X: Matrix, columns: Columns, kernels: Kernels) -> tuple[Dense, Backward]:
        """Return the margins of raw rows, and back-propagation; everything is of the type of ``X``."""
        activation = ACTIVATIONS[self.activation]
        layers = self._raw(parameters, columns)
        inputs: list[Matrix] = [X]
        for weights, intercepts in layers[:-1]:
            inputs.append(activation.value(_affine(inputs[-1], weights, intercepts, kernels), kernels))
        Z = _affine(inputs[-1], *layers[-1], kernels)

        def backward(R: Dense) -> Floats:
            gradients = []
            for place in reversed(range(len(layers))):
                totals = R.sum(axis=0, dtype=np.float64)
                products = kernels.pull_back(inputs[place], R).astype(np.float64, copy=False)
                unit = self.unit if place == len(layers) - 1 else 1.0
                gradients.append((unit * (products if place else columns.pull(products, totals)), unit * totals))
                if place:
                    R = kernels.product(R, layers[place][0].T) * activation.slope(inputs[place])
            return self._join(gradients[::-1])

        return Z, backward

    def to_arrays(self, parameters: Floats, columns: Columns) -> dict[str, Floats]:
        """Return ``layer_1.weights``, ``layer_1.intercepts``, ...: from raw columns to margins."""
        layers = enumerate(self._raw(parameters, columns), start=1)
        pairs = (zip(_names(number), layer, strict=True) for number, layer in layers)
        return {name: array for pair in pairs for name, array in pair}

    def from_arrays(self, arrays: Arrays, columns: Columns) -> Floats:
        """Return the flat buffer of the layers' weights and intercepts."""
        names = map(_names, range(1, len(self.hidden) + 2))
        layers = [(arrays[weights], arrays[intercepts]) for weights, intercepts in names]
        layers[0] = columns.from_raw(*layers[0])
        weights, intercepts = layers[-1]
        layers[-1] = (weights / self.unit, (intercepts - self.offset) / self.unit)
        return self._join(layers)

    def describe(self) -> dict[str, Any]:
        """Return the settings that a model file must keep."""
        return {**super().describe(), "hidden": list(self.hidden), "activation": self.activation}


def _affine(X: Matrix, weights: Floats, intercepts: Floats, kernels: Kernels) -> Dense:
    Z = kernels.product(X, weights)
    Z += intercepts.astype(Z.dtype, copy=False)
    return Z


def _names(number: int) -> tuple[str, str]:
    return f"layer_{number}.weights", f"layer_{number}.intercepts"
