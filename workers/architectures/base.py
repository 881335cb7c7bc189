"""The interface of an architecture: from parameters and rows to margins, and back to a gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from workers.columns import Columns
from workers.data.rows import Dense, Floats, Matrix
from workers.exact_sum import Ints
from workers.kernels import Kernels

Arrays = Mapping[str, Floats]
Backward = Callable[[Dense], Floats]


@dataclass(frozen=True)
class Architecture(ABC):
    """What turns a row of ``num_features`` columns into ``num_outputs`` margins.

    The parameters are one flat float64 buffer. They belong to *standardised* columns; shards stay as they are,
    and an architecture applies the affine map of ``Columns`` itself.

    Attributes
    ----------
    offset, unit
        Margins are ``offset + unit *`` what layers give: zero and unit of the target, where margins are predictions
        of it. Linear models have no need of them.
    kind
        What a model file calls it.
    is_linear
        Whether margins are linear in the parameters: what ``exact``, ``newton`` and the default rate need.
    """

    num_features: int
    num_outputs: int
    intercept: bool = True
    offset: float = field(default=0.0, kw_only=True)
    unit: float = field(default=1.0, kw_only=True)

    kind: ClassVar[str]
    is_linear: ClassVar[bool] = False

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """Length of the flat parameter buffer."""

    @property
    def blocks(self) -> Ints:
        """Where the blocks of parameters begin that share a scale of the exact sum: here each has its own."""
        return np.arange(self.num_parameters)

    @abstractmethod
    def start(self, random: np.random.Generator) -> Floats:
        """Return the initial parameters."""

    @property
    @abstractmethod
    def mask(self) -> Floats:
        """1 where a parameter is a weight (and so penalised), 0 where it is an intercept."""

    @abstractmethod
    def forward(self, parameters: Floats, X: Matrix, columns: Columns, kernels: Kernels) -> tuple[Dense, Backward]:
        """Return the margins ``(rows, outputs)`` of raw rows, and what pulls derivatives by them back.

        ``Backward`` takes the derivatives of a sum of losses by the margins, shape ``(rows, outputs)``, and
        returns the flat gradient.
        """

    @abstractmethod
    def to_arrays(self, parameters: Floats, columns: Columns) -> dict[str, Floats]:
        """Return the parameters as named arrays that apply to raw columns: what a model file holds."""

    @abstractmethod
    def from_arrays(self, arrays: Arrays, columns: Columns) -> Floats:
        """Return the flat buffer for ``columns`` of what ``to_arrays`` gave."""

    def refuse(self, kernels: Kernels, sparse: bool) -> str | None:
        """Say why this architecture does not go together with an arithmetic, or with sparse rows, or None."""
        del kernels, sparse
        return None

    def describe(self) -> dict[str, Any]:
        """Return the settings, beside kind and sizes, that a model file must keep to build the architecture again."""
        return {"intercept": self.intercept}

    def margins(self, arrays: Arrays, X: Matrix, kernels: Kernels) -> Dense:
        """Return the margins of raw rows for named arrays."""
        raw = Columns.raw(self.num_features)
        return self.forward(self.from_arrays(arrays, raw), X, raw, kernels)[0]
