"""The job file: what a user asks for, validated; all errors at once, each with file, line and field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic import model_validator as checks_model
from pydantic_core import ErrorDetails

from policies.interface import Resources
from scheduler import located_yaml
from scheduler.errors import UserError, unknown
from workers.data.bundled import BUNDLED, BundledSource
from workers.data.csv_source import CsvSource
from workers.data.numpy_source import NpySource, NpzSource
from workers.data.source import Source
from workers.objectives import OBJECTIVES
from workers.problem import SCHEDULES
from workers.solvers import SOLVERS


class Section(BaseModel):
    """A part of the job file: unknown keys are errors, and nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _known(kind: str, name: str, choices: Sequence[str]) -> str:
    if name not in choices:
        raise ValueError(unknown(kind, name, choices))
    return name


class DataSpec(Section):
    """Where the data is: exactly one of ``bundled``, ``csv``, ``npy``, ``npz``.

    Attributes
    ----------
    target
        The column to predict: a name (CSV), a number (NPY, default -1, the last).
    missing, text
        CSV only: what to do with rows that have empty cells, and with columns of text.
    """

    bundled: str | None = None
    csv: Path | None = None
    npy: Path | None = None
    npz: Path | None = None
    target: str | int | None = None
    missing: Literal["error", "drop"] = "error"
    text: Literal["error", "drop", "one-hot"] = "error"

    @field_validator("bundled")
    @classmethod
    def _bundled_exists(cls, name: str | None) -> str | None:
        return name if name is None else _known("data set", name, list(BUNDLED))

    @field_validator("csv", "npy", "npz")
    @classmethod
    def _file_exists(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        """Resolve relative paths against the job file's folder."""
        if path is None:
            return None
        found = Path((info.context or {}).get("folder", ".")) / path
        if not found.is_file():
            raise ValueError(f"no such file: {found}")
        return found.resolve()

    @checks_model(mode="after")
    def _one_source(self) -> DataSpec:
        given = [name for name in ("bundled", "csv", "npy", "npz") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of bundled, csv, npy, npz; got {', '.join(given) or 'none'}")
        if self.csv is not None and not isinstance(self.target, str):
            raise ValueError("csv needs 'target', the name of the column to predict")
        if self.npy is not None and isinstance(self.target, str):
            raise ValueError("npy needs 'target' as a column number (default -1, the last)")
        if self.target is not None and given[0] in ("bundled", "npz"):
            raise ValueError(f"{given[0]} has its own target; leave 'target' out")
        if given != ["csv"] and (self.missing, self.text) != ("error", "error"):
            raise ValueError("'missing' and 'text' are for csv only")
        return self

    def source(self) -> Source:
        """Return the source that reads this data."""
        if self.bundled is not None:
            return BundledSource(self.bundled)
        if self.csv is not None:
            return CsvSource(self.csv, str(self.target), missing=self.missing, text=self.text)
        if self.npy is not None:
            return NpySource(self.npy, -1 if self.target is None else int(self.target))
        if self.npz is not None:
            return NpzSource(self.npz)
        raise AssertionError("validated: one source is given")


class ModelSpec(Section):
    """What is fitted: a linear model for an objective, with ridge penalty ``l2`` on standardised weights."""

    objective: str
    l2: float = Field(0.0, ge=0.0)
    intercept: bool = True

    @field_validator("objective")
    @classmethod
    def _objective_exists(cls, name: str) -> str:
        return _known("objective", name, list(OBJECTIVES))


class TrainingSpec(Section):
    """How it is fitted. ``learning_rate: auto`` is measured on the data before the first round."""

    solver: str = "local-svrg"
    batch_size: int = Field(32, ge=1)
    local_epochs: int = Field(1, ge=1)
    rounds: int = Field(100, ge=1)
    tolerance: float = Field(1e-6, ge=0.0, lt=1.0)
    seed: int = Field(0, ge=0, lt=2**32)
    learning_rate: Literal["auto"] | Annotated[float, Field(gt=0.0)] = "auto"
    schedule: str = "constant"
    standardise: bool = True

    @field_validator("solver")
    @classmethod
    def _solver_exists(cls, name: str) -> str:
        return _known("solver", name, list(SOLVERS))

    @field_validator("schedule")
    @classmethod
    def _schedule_exists(cls, name: str) -> str:
        return _known("schedule", name, list(SCHEDULES))


class BundleSpec(Section):
    """What each worker reserves; ``memory`` is the hard limit of the shard bytes that it is given."""

    cpu: float = Field(1.0, ge=0.0)
    gpu: float = Field(0.0, ge=0.0)
    memory: ByteSize = ByteSize(512 * 1024**2)

    def resources(self) -> Resources:
        """Return the amounts as policies see them."""
        return Resources(self.cpu, self.gpu, float(self.memory))


class WorkersSpec(Section):
    """How many workers: ``count``, or between ``min`` and ``max``; granted all together or not at all."""

    count: int | None = Field(None, ge=1, le=100_000)
    min: int | None = Field(None, ge=1, le=100_000)
    max: int | None = Field(None, ge=1, le=100_000)
    bundle: BundleSpec = BundleSpec()

    @checks_model(mode="after")
    def _one_way(self) -> WorkersSpec:
        if self.count is not None and (self.min is not None or self.max is not None):
            raise ValueError("give either 'count' or 'min' and 'max'")
        if self.gang[0] > self.gang[1]:
            raise ValueError(f"min is {self.gang[0]}, but max is {self.gang[1]}")
        return self

    @property
    def gang(self) -> tuple[int, int]:
        """The least and the largest number of workers."""
        if self.count is not None:
            return self.count, self.count
        least = self.min if self.min is not None else 1
        return least, self.max if self.max is not None else max(least, 2)


class Job(Section):
    """A job: data, model, training, and the resources to do it with."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    data: DataSpec
    test_fraction: float = Field(0.2, ge=0.0, lt=1.0)
    model: ModelSpec
    training: TrainingSpec = TrainingSpec()
    shards: int = Field(8, ge=1, le=1_000_000)
    workers: WorkersSpec = WorkersSpec()
    policy: str | dict[str, Any] = "equal"
    output: Path

    @checks_model(mode="before")
    @classmethod
    def _default_output(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "output" not in fields:
            return {**fields, "output": f"runs/{fields.get('name', '')}"}
        return fields


def load_job(path: Path, overrides: Mapping[str, Any] | None = None) -> Job:
    """Read and validate a job file; ``overrides`` replaces fields by dotted name (``training.rounds``).

    Paths of data are relative to the job file, ``output`` to the current folder.

    Raises
    ------
    UserError
        With every error of the file at once: file, line, field, what was got, what to do.
    """
    document = located_yaml.read(path)
    fields = document.value
    for name, value in (overrides or {}).items():
        fields = _replaced(fields, name.split("."), value)
    try:
        return Job.model_validate(fields, context={"folder": path.parent})
    except ValidationError as error:
        lines = [_explain(document, detail, overrides or {}) for detail in error.errors(include_url=False)]
        raise UserError("\n".join(dict.fromkeys(lines))) from None


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``training.rounds=50`` into its field and its YAML value.

    Raises
    ------
    UserError
        If there is no ``=``, or the value is no YAML.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--set {text}: expected FIELD=VALUE, such as training.rounds=50")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {text}: '{value}' is not a YAML value") from None


def _replaced(fields: Any, parts: Sequence[str], value: Any) -> Any:
    if not parts:
        return value
    inner = fields if isinstance(fields, dict) else {}
    return {**inner, parts[0]: _replaced(inner.get(parts[0]), parts[1:], value)}


def _explain(document: located_yaml.LocatedYaml, detail: ErrorDetails, overrides: Mapping[str, Any]) -> str:
    location = [part for part in detail["loc"] if part not in ("float", "literal['auto']", "constrained-float")]
    field = ".".join(str(part) for part in location)
    where = f"--set {field}" if field in overrides else f"{document.path}:{document.line(location)}"
    if detail["type"] == "extra_forbidden":
        return f"{where}: {field}: {unknown('key', str(location[-1]), _keys_beside(location))}"
    if detail["type"] == "missing":
        return f"{where}: {field}: is missing; it is needed"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return f"{where}: {field + ': ' if field else ''}{message}"
    got = str(detail["input"])
    return f"{where}: {field}: {message[:1].lower()}{message[1:]}, got {got if len(got) <= 80 else got[:77] + '...'}"


def _keys_beside(location: Sequence[str | int]) -> list[str]:
    section: type[BaseModel] = Job
    for part in location[:-1]:
        inner = section.model_fields[str(part)].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            section = inner
    return list(section.model_fields)
