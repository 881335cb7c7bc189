"""Models of a user's own: any PyTorch module whose rows do not depend on each other, or on chance."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from workers.architectures.base import Architecture, Arrays, Backward
from workers.columns import Columns
from workers.data.rows import Dense, Floats, Matrix, is_sparse
from workers.errors import DataError
from workers.exact_sum import Ints
from workers.kernels import Kernels
from workers.user_module import load_class, read_source

CENTER, SCALE, TARGET = "columns.center", "columns.scale", "target.offset_and_unit"
TRIAL_ROWS = 5


def import_torch() -> Any:
    """Return PyTorch, which is imported only where a job wants it; raises ``DataError`` where there is none."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS is not the same twice
    try:
        import torch  # noqa: PLC0415  (an extra, and slow to import)
    except ImportError:
        raise DataError("a torch module needs PyTorch: pip install 'apportion[torch]'") from None
    return torch


@contextmanager
def _determined(torch: Any) -> Iterator[None]:
    """Compute on one thread with deterministic algorithms and full precision, as long as this lasts."""
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    strict, short = torch.are_deterministic_algorithms_enabled(), cudnn.allow_tf32
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)
        cudnn.allow_tf32 = short


@dataclass(frozen=True)
class TorchModule(Architecture):
    """The parameters of an ``nn.Module``, in the order of its ``named_parameters``.

    The module sees standardised rows. It computes on the worker's GPU if the worker has one, else on one thread.

    Attributes
    ----------
    module
        Where its class is: ``FILE:Class``. It is called with the numbers of inputs and of outputs.
    arguments
        What it is called with besides.
    source
        The text of that file, which travels with the module; None to read it from the present folder.

    Raises
    ------
    DataError
        If there is no PyTorch or no such class, or the module is not what training needs: says why.
    """

    module: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = field(default=None, repr=False)

    kind = "torch"

    def __post_init__(self) -> None:
        if self.source is None:
            object.__setattr__(self, "source", read_source(self.module, Path.cwd()))
        object.__setattr__(self, "module", Path(self.module).name)
        self._refuse_unfit()

    def __getstate__(self) -> dict[str, Any]:
        """Leave class and module out: whoever needs them makes them of the source."""
        return {name: value for name, value in self.__dict__.items() if name not in ("built", "module_class")}

    @cached_property
    def module_class(self) -> Any:
        """The class."""
        return load_class(self.module, self.source or "")

    @cached_property
    def built(self) -> Any:
        """The module, without parameters that matter, on the device that computes."""
        torch = import_torch()
        return self._new(0).to("cuda" if torch.cuda.is_available() else "cpu")

    def _new(self, seed: int) -> Any:
        """Return a new module whose parameters were drawn from ``seed``."""
        torch = import_torch()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                new = self.module_class(self.num_features, self.num_outputs, **self.arguments)
                if isinstance(new, torch.nn.Module):
                    new(torch.zeros(TRIAL_ROWS, self.num_features))  # lazy layers come to be
            except Exception as error:
                given = "".join(f", {name}={value!r}" for name, value in self.arguments.items())
                call = f"{self.module}({self.num_features}, {self.num_outputs}{given})"
                raise DataError(f"{call}, or a call of it, raised {type(error).__name__}: {error}") from error
        return new

    def _refuse_unfit(self) -> None:
        """Refuse what would make a shard's update depend on anything but parameters, rows and key."""
        torch = import_torch()
        new = self._new(0)
        if not isinstance(new, torch.nn.Module):
            raise DataError(f"{self.module} must be a torch.nn.Module, got a {type(new).__name__}")
        buffers = [name for name, _ in new.named_buffers()]
        if buffers:
            raise DataError(
                f"{self.module} has buffers ({', '.join(buffers[:5])}): a round must be a pure function of the "
                "parameters, and a buffer, such as the running mean of BatchNorm, is not one of them; use LayerNorm"
            )
        if not any(parameter.requires_grad for parameter in new.parameters()):
            raise DataError(f"{self.module} has no parameters to train")
        with torch.random.fork_rng(devices=[]), torch.no_grad(), _determined(torch):
            torch.manual_seed(1)
            rows = torch.randn(TRIAL_ROWS, self.num_features)
            first, again = new(rows), new(rows)
            alone = torch.cat([new(row[None]) for row in rows])
        if not torch.is_tensor(first) or first.shape != (TRIAL_ROWS, self.num_outputs):
            got = tuple(first.shape) if torch.is_tensor(first) else type(first).__name__
            raise DataError(
                f"{self.module} must return {self.num_outputs} values for each row, shape (rows, {self.num_outputs}); "
                f"for {TRIAL_ROWS} rows it returned {got}"
            )
        if not torch.equal(first, again):
            raise DataError(
                f"{self.module} returns something else each time, as Dropout does: a round must be a pure function "
                "of the parameters; leave it out, and use 'model.l2' against overfitting"
            )
        if not torch.allclose(first, alone, rtol=1e-3, atol=1e-4):
            raise DataError(
                f"{self.module} makes a row's outputs depend on the other rows of the batch, as BatchNorm does: "
                "a loss must be a sum over rows; use LayerNorm"
            )

    def refuse(self, kernels: Kernels, sparse: bool) -> str | None:
        """Refuse sparse rows, and any arithmetic but the fast one: PyTorch has its own."""
        if sparse:
            return f"{self.module} takes dense rows, but the data's are sparse: use 'model.hidden' instead"
        if kernels.name == "fast":
            return None
        return "the bits of a torch module may depend on the processor: set 'training.reproducible: usual'"

    @cached_property
    def _sizes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(parameter.shape) for name, parameter in self.built.named_parameters()}

    @property
    def num_parameters(self) -> int:
        """Length of the flat parameter buffer."""
        return sum(int(np.prod(shape)) for shape in self._sizes.values())

    @property
    def blocks(self) -> Ints:
        """Where the blocks of parameters begin that share a scale: the module's tensors."""
        sizes = [int(np.prod(shape)) for shape in self._sizes.values()]
        return np.cumsum([0, *filter(None, sizes)])[:-1]

    def start(self, random: np.random.Generator) -> Floats:
        """Return the parameters as the module's constructor draws them."""
        torch = import_torch()
        new = self._new(int(random.integers(0, 2**63)))
        vector: Floats = torch.nn.utils.parameters_to_vector(new.parameters()).detach().double().numpy()
        return vector

    @property
    def mask(self) -> Floats:
        """1 where a parameter is part of a matrix, 0 where it is of a vector or scalar, such as a bias, or frozen."""
        parts = [
            np.full(parameter.numel(), float(parameter.ndim > 1 and parameter.requires_grad))
            for parameter in self.built.parameters()
        ]
        return np.concatenate(parts)

    def _split(self, parameters: Floats) -> dict[str, Floats]:
        ends = np.cumsum([int(np.prod(shape)) for shape in self._sizes.values()])[:-1]
        parts = zip(self._sizes.items(), np.split(parameters, ends), strict=True)
        return {name: part.reshape(shape) for (name, shape), part in parts}

    def forward(self, parameters: Floats, X: Matrix, columns: Columns, kernels: Kernels) -> tuple[Dense, Backward]:
        """Return the module's outputs for raw rows, and autograd's way back; of the type of ``X``."""
        torch, module = import_torch(), self.built
        if is_sparse(X):
            raise DataError(str(self.refuse(kernels, sparse=True)))
        device = next(module.parameters()).device

        def tensor(values: Dense) -> Any:
            return torch.from_numpy(np.array(values, dtype=X.dtype)).to(device)

        tensors = {name: tensor(part) for name, part in self._split(parameters).items()}
        for name, parameter in module.named_parameters():
            tensors[name].requires_grad_(parameter.requires_grad)
        with _determined(torch):
            Z = torch.func.functional_call(module, tensors, (tensor(columns.standardised(X)),))

        def backward(R: Dense) -> Floats:
            wanted = [values for values in tensors.values() if values.requires_grad]
            with _determined(torch):
                found = torch.autograd.grad(Z, wanted, tensor(self.unit * R), retain_graph=True, allow_unused=True)
            gradients = iter(found)
            parts = [next(gradients) if values.requires_grad else None for values in tensors.values()]
            flat = [
                np.zeros(values.numel()) if part is None else part.cpu().numpy().ravel().astype(np.float64)
                for part, values in zip(parts, tensors.values(), strict=True)
            ]
            return np.concatenate(flat)

        margins: Dense = self.offset + self.unit * Z.detach().cpu().numpy()
        return margins, backward

    def to_arrays(self, parameters: Floats, columns: Columns) -> dict[str, Floats]:
        """Return the parameters by the module's names for them, and the maps from raw columns and to the target."""
        target = np.array([self.offset, self.unit])
        return {**self._split(parameters), CENTER: columns.center, SCALE: columns.scale, TARGET: target}

    def from_arrays(self, arrays: Arrays, columns: Columns) -> Floats:
        """Return the flat buffer; the maps are no part of it: ``columns``, offset and unit take their place."""
        del columns
        return np.concatenate([arrays[name].ravel() for name in self._sizes])

    def margins(self, arrays: Arrays, X: Matrix, kernels: Kernels) -> Dense:
        """Return the margins of raw rows for named arrays."""
        columns = Columns(arrays[CENTER], arrays[SCALE])
        offset, unit = arrays[TARGET].tolist()
        margins: Dense = offset + unit * self.forward(self.from_arrays(arrays, columns), X, columns, kernels)[0]
        return margins

    def describe(self) -> dict[str, Any]:
        """Return the settings that a model file must keep: where the class is, but not its code."""
        return {**super().describe(), "module": self.module, "arguments": dict(self.arguments)}
