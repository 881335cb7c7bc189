"""What a job file may say of the model and of its training."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationInfo, field_validator
from pydantic import model_validator as checks_model

from scheduler.errors import shown
from scheduler.section import Section, known, plain
from workers.aggregation import AGGREGATIONS, Aggregation
from workers.architectures import Architecture, Linear, Mlp, TorchModule
from workers.architectures.mlp import ACTIVATIONS
from workers.architectures.torch_module import import_torch
from workers.choice import Wishes
from workers.modes import MODES, Mode, mode_named
from workers.objectives import OBJECTIVES, Objective
from workers.penalty import Penalty
from workers.problem import SCHEDULES
from workers.server_optimisers import SERVER_OPTIMISERS, ServerOptimiser, server_optimiser
from workers.solvers import SOLVERS
from workers.stopping import Stopping
from workers.user_module import load_class, locate, read_source

AUTO = "auto"
Built = TypeVar("Built")


def _named(kind: str, value: Any, choices: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return name and options of ``name`` or ``{name: {option: number}}``; raises ``ValueError`` for anything else."""
    name: Any = value
    options: Any = {}
    if isinstance(value, dict) and len(value) == 1:
        name, options = next(iter(value.items()))
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ValueError(f"must be a name, or a name with options ('name: {{option: value}}'), got {shown(value)}")
    known(kind, name, list(choices))
    for option, number in options.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= sys.float_info.max:
            raise ValueError(f"{kind} '{name}': {option} must be a finite number, got {shown(number)}")
    return name, options


def _built(
    kind: str,
    value: Any,
    choices: Mapping[str, Any],
    make: Callable[[str, dict[str, Any]], Built],
    has: Callable[[str], str],
) -> Built:
    """Return what ``make`` makes of a name and its options; ``has`` says which options it has if not these."""
    name, options = _named(kind, value, choices)
    try:
        return make(name, options)
    except TypeError:
        raise ValueError(f"{kind} '{name}' has {has(name)}, got {', '.join(map(str, options))}") from None


def _other(names: Iterable[str]) -> str:
    return f"other options: {', '.join(names) or 'none'}"


class ModelSpec(Section):
    """What is fitted: a model for an objective, with an elastic-net penalty on standardised weights.

    Attributes
    ----------
    hidden, activation
        The sizes of hidden layers, and what follows each of them; without hidden layers the model is linear.
    torch, torch_arguments
        A PyTorch module of the user's own in place of layers: ``FILE:Class``, and what its class is called with.
    """

    objective: str | dict[str, Any]
    l2: float = Field(0.0, ge=0.0)
    l1: float = Field(0.0, ge=0.0)
    intercept: bool = True
    hidden: list[Annotated[int, Field(ge=1, strict=True)]] = []  # noqa: RUF012  (pydantic copies it)
    activation: str = "relu"
    torch: str | None = None
    torch_arguments: dict[str, Any] = {}  # noqa: RUF012  (pydantic copies it)

    @field_validator("activation")
    @classmethod
    def _activation_exists(cls, name: str) -> str:
        return known("activation", name, list(ACTIVATIONS))

    @field_validator("torch")
    @classmethod
    def _module_is_there(cls, spec: str | None, info: ValidationInfo) -> str | None:
        """Resolve the file against the job file's folder, and import it."""
        if spec is None:
            return None
        import_torch()
        folder = Path((info.context or {}).get("folder", "."))
        file, name = locate(spec, folder)
        load_class(f"{file}:{name}", read_source(spec, folder))
        return f"{file.resolve()}:{name}"

    @field_validator("torch_arguments", mode="before")
    @classmethod
    def _arguments_are_plain(cls, arguments: Any) -> Any:
        return plain(arguments)

    @checks_model(mode="after")
    def _one_kind(self) -> ModelSpec:
        if self.torch is not None and self.hidden:
            raise ValueError("give 'hidden' or 'torch', not both")
        if self.torch is None and self.torch_arguments:
            raise ValueError("'torch_arguments' are for 'torch', which is left out")
        return self

    @field_validator("objective", mode="before")
    @classmethod
    def _objective_exists(cls, value: Any) -> Any:
        _loss(value)
        return value

    def loss(self) -> Objective:
        """Return the objective with its options."""
        return _loss(self.objective)

    def penalty(self) -> Penalty:
        """Return the penalty."""
        return Penalty(self.l2, self.l1)

    def architecture(self, num_features: int, num_outputs: int) -> Architecture:
        """Return the architecture for rows of that many columns and margins."""
        if self.torch is not None:
            source = read_source(self.torch, Path())
            return TorchModule(num_features, num_outputs, self.intercept, self.torch, self.torch_arguments, source)
        if self.hidden:
            return Mlp(num_features, num_outputs, self.intercept, tuple(self.hidden), self.activation)
        return Linear(num_features, num_outputs, self.intercept)


def _loss(value: Any) -> Objective:
    return _built(
        "objective",
        value,
        OBJECTIVES,
        lambda name, given: replace(OBJECTIVES[name], **given),
        lambda name: _other(OBJECTIVES[name].describe()),
    )


class TrainingSpec(Section):
    """How it is fitted. What is ``auto`` is chosen for the data before the first round, and written down."""

    solver: str = AUTO
    batch_size: int = Field(32, ge=1)
    local_epochs: int = Field(1, ge=1)
    local_steps: int = Field(20, ge=1)
    rounds: int = Field(100, ge=1)
    tolerance: float = Field(1e-6, ge=0.0, lt=1.0)
    gradient_norm: float = Field(0.0, ge=0.0)
    patience: int = Field(0, ge=0)
    target: float | None = None
    time_s: float | None = Field(None, gt=0.0)
    seed: int = Field(0, ge=0, lt=2**32)
    learning_rate: Literal["auto"] | Annotated[float, Field(gt=0.0)] = "auto"
    schedule: str = AUTO
    server: str | dict[str, Any] = AUTO
    aggregation: str | dict[str, Any] = "sum"
    mode: str | dict[str, Any] = "synchronous"
    standardise: bool = True
    reproducible: Literal["usual", "strict"] = "usual"

    @field_validator("learning_rate", mode="before")
    @classmethod
    def _rate_is_auto_or_positive(cls, rate: Any) -> Any:
        try:
            if rate == AUTO or 0.0 < float(rate) < math.inf:
                return rate
        except (TypeError, ValueError, OverflowError):
            pass
        raise ValueError(f"must be 'auto' or a finite number greater than 0, got {shown(rate)}")

    @field_validator("solver")
    @classmethod
    def _solver_exists(cls, name: str) -> str:
        return known("solver", name, [AUTO, *SOLVERS])

    @field_validator("schedule")
    @classmethod
    def _schedule_exists(cls, name: str) -> str:
        return known("schedule", name, [AUTO, *SCHEDULES])

    @field_validator("server", mode="before")
    @classmethod
    def _server_exists(cls, value: Any) -> Any:
        if value != AUTO:
            _server(value)
        return value

    @field_validator("aggregation", mode="before")
    @classmethod
    def _aggregation_exists(cls, value: Any) -> Any:
        _aggregation(value)
        return value

    @field_validator("mode", mode="before")
    @classmethod
    def _mode_exists(cls, value: Any) -> Any:
        _mode(value)
        return value

    def wishes(self) -> Wishes:
        """Return what is asked for, and what is left open."""
        return Wishes(
            solver=None if self.solver == AUTO else self.solver,
            learning_rate=None if self.learning_rate == "auto" else self.learning_rate,
            schedule=None if self.schedule == AUTO else self.schedule,
            server=None if self.server == AUTO else _server(self.server),
            aggregation=_aggregation(self.aggregation),
            batch_size=self.batch_size,
            local_epochs=self.local_epochs,
            local_steps=self.local_steps,
            mode=_mode(self.mode),
        )

    def stopping(self) -> Stopping:
        """Return when training ends."""
        return Stopping(self.rounds, self.tolerance, self.gradient_norm, self.patience, self.target, self.time_s)


def _server(value: Any) -> ServerOptimiser:
    return _built("server optimiser", value, SERVER_OPTIMISERS, server_optimiser, lambda _: "no such option")


def _aggregation(value: Any) -> Aggregation:
    def make(name: str, options: dict[str, Any]) -> Aggregation:
        return Aggregation(name, **options)

    return _built("aggregation", value, AGGREGATIONS, make, lambda _: "one option, fraction")


def _mode(value: Any) -> Mode:
    return _built("mode", value, MODES, mode_named, lambda name: _other(field.name for field in fields(MODES[name])))
