"""What a job file may say: its sections and fields, with their bounds."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import ByteSize, Field, field_validator
from pydantic import model_validator as checks_model

from policies.interface import Resources
from scheduler.data_spec import DataSpec
from scheduler.errors import MOST_CHARACTERS, shown
from scheduler.learning_spec import ModelSpec, TrainingSpec
from scheduler.section import Section, is_url, path_of, plain

PLAIN_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What names of jobs look like; they become names of actors, files and folders."""


class BundleSpec(Section):
    """What each worker reserves; ``memory`` is the hard limit of the shard bytes that it is given."""

    cpu: float = Field(1.0, ge=0.0)
    gpu: float = Field(0.0, ge=0.0)
    memory: ByteSize = ByteSize(512 * 1024**2)

    @field_validator("gpu")
    @classmethod
    def _whole_above_one(cls, gpu: float) -> float:
        if gpu > 1.0 and not gpu.is_integer():
            raise ValueError(f"must be a whole number, or a part of one GPU (at most 1), got {gpu:g}")
        return gpu

    @field_validator("memory")
    @classmethod
    def _room_for_something(cls, memory: ByteSize) -> ByteSize:
        if memory < 1:
            raise ValueError(f"must be more than 0 bytes, got {int(memory)}")
        if memory >= 2**63:
            raise ValueError(f"must be fewer than 2^63 bytes, got {shown(int(memory))}")
        return memory

    def resources(self) -> Resources:
        """Return the amounts as policies see them."""
        return Resources(self.cpu, self.gpu, float(self.memory))


class WorkersSpec(Section):
    """How many workers: ``count``, or between ``min`` and ``max``; granted all together or not at all.

    They run on nodes that have each of ``labels``, with one of the values that are given for it.
    """

    count: int | None = Field(None, ge=1, le=100_000)
    min: int | None = Field(None, ge=1, le=100_000)
    max: int | None = Field(None, ge=1, le=100_000)
    bundle: BundleSpec = BundleSpec()
    labels: dict[str, tuple[str, ...]] = {}  # noqa: RUF012  (pydantic copies it)

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_have_values(cls, labels: Any) -> Any:
        if not isinstance(labels, dict):
            raise ValueError(f"must be a mapping of labels to values, got {shown(labels)}")
        return {_text("a label", label): _values(label, value) for label, value in labels.items()}

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


def _values(label: Any, value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise ValueError(f"label {shown(label)} needs a value, or a list of some, got {shown(value)}")
    return tuple(_text(f"the value of label {shown(label)}", one) for one in values)


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{what} must be text, got {shown(value)}; quote numbers, yes and no")
    return value


class RecoverySpec(Section):
    """What is kept of a run while it goes on, and how long a worker that seems to hang is waited for.

    ``checkpoints`` is a folder or an address that fsspec knows (default: ``checkpoints`` in the output); ``every_s``
    lets cost decide where it is left out.
    """

    checkpoints: str | None = None
    every_s: float | None = Field(None, ge=0.0, le=86_400.0)
    keep: int = Field(2, ge=1, le=1000)
    silent_s: float = Field(10.0, ge=2.0, le=86_400.0)
    stuck_s: float = Field(60.0, ge=2.0, le=86_400.0)

    @field_validator("checkpoints")
    @classmethod
    def _folder_is_absolute(cls, checkpoints: str | None) -> str | None:
        """Whoever goes on with the run may do so from another folder."""
        if checkpoints is None or is_url(checkpoints):
            return checkpoints
        return str(path_of(checkpoints).absolute())


class Recipe(Section):
    """A model, its training, and the resources for it; ``data`` is None where the caller brings the data."""

    name: str
    data: DataSpec | None = None
    test_fraction: float = Field(0.2, ge=0.0, lt=1.0)
    validation_fraction: float = Field(0.0, ge=0.0, lt=1.0)
    split: Literal["shuffled", "contiguous"] = "shuffled"
    model: ModelSpec
    training: TrainingSpec = TrainingSpec()
    shards: int = Field(8, ge=1, le=1_000_000)
    workers: WorkersSpec = WorkersSpec()
    recovery: RecoverySpec = RecoverySpec()
    policy: str | dict[str, Any] = "equal"
    output: Path | None = None

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        if not re.fullmatch(PLAIN_NAME, name):
            raise ValueError(
                f"must be 1 to 64 letters, digits, '.', '_' or '-' of ASCII, a letter or digit first, got {shown(name)}"
            )
        return name

    @field_validator("policy", mode="before")
    @classmethod
    def _policy_is_name_or_parts(cls, policy: Any) -> Any:
        if isinstance(policy, str) or (isinstance(policy, dict) and all(isinstance(key, str) for key in policy)):
            if len(json.dumps(plain(policy))) > MOST_CHARACTERS:
                raise ValueError(f"must be at most {MOST_CHARACTERS:,} characters, got {shown(policy)}")
            return policy
        raise ValueError(f"must be a name, or a mapping of order, place and balance, got {shown(policy)}")


class Job(Recipe):
    """A recipe with its data, and the folder for the model."""

    data: DataSpec
    output: Path

    @checks_model(mode="before")
    @classmethod
    def _default_output(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and "output" not in fields:
            return {**fields, "output": f"runs/{fields.get('name', '')}"}
        return fields

    @field_validator("output", mode="before")
    @classmethod
    def _output_can_be_a_folder(cls, output: Any) -> Path:
        """Find out before training what would go wrong after it."""
        folder = path_of(output)
        try:
            for part in (folder, *folder.parents):
                if part.exists() and not part.is_dir():
                    raise ValueError(f"{part} is there already, and is no folder; name another output")
            nearest = next(part for part in (folder, *folder.parents) if part.exists())
            if not os.access(nearest, os.W_OK):
                raise ValueError(f"{nearest} cannot be written to; name another output")
        except OSError as error:
            raise ValueError(f"{shown(str(folder))} cannot be a folder: {error.strerror}") from None
        return folder
