"""What the sections of a job file share: strictness, and checks of names and paths."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from scheduler.errors import shown, unknown


class Section(BaseModel):
    """A part of the job file: unknown keys are errors, and nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_stray_truth(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse YAML's true and false (yes, no, on, off) where they would pass for 1 and 0."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError(f"got {shown(value)} (yes, no, on and off mean true and false); quote what is text")
        return value


def path_of(value: Any) -> Path:
    """Return ``value`` as a path; raises ``ValueError`` for what cannot be one."""
    try:
        if isinstance(value, str | Path) and b"\0" not in os.fsencode(value):
            return Path(value)
    except UnicodeEncodeError:
        pass
    raise ValueError(f"must be a path, got {shown(value)}")


def plain(value: Any) -> Any:
    """Return ``value`` if JSON can hold it, as a saved model must; raises ``ValueError`` for all else."""
    try:
        if json.loads(json.dumps(value, allow_nan=False)) == value:
            return value
    except (TypeError, ValueError, RecursionError):
        pass
    raise ValueError(
        f"must be plain: text, finite numbers, true, false, lists and mappings by text, got {shown(value)}"
    )


def known(kind: str, name: str, choices: Sequence[str]) -> str:
    """Return ``name`` if it is one of ``choices``; raises ``ValueError`` with the nearest one otherwise."""
    if name not in choices:
        raise ValueError(unknown(kind, name, choices))
    return name


def is_url(where: str) -> bool:
    """Say whether a place is an address such as ``s3://bucket/folder``, not a folder."""
    return re.fullmatch(r"[a-z][a-z0-9+.-]*://.+", where) is not None


def first_mistake(error: ValidationError) -> str:
    """Return the first mistake of a file that nobody writes by hand: the field, what is wrong, what was got."""
    detail = error.errors(include_url=False)[0]
    where = ".".join(map(str, detail["loc"]))
    return f"{f'{where}: ' if where else ''}{detail['msg']}, got {shown(detail['input'])}"
