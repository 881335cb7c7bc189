"""Runs of a comparison in a folder, one JSON file each, so that one that was interrupted goes on where it was.

The folder says in ``comparison.json`` what its runs depend on, and takes no others. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from policies.interface import Described, Policy
from scheduler.errors import UserError, shown
from scheduler.results.outcome import RunOutcome
from workers.model import atomic_text
from workers.reading import read_bytes

COMPARISON_FILE = "comparison.json"

VERSION = 1

MOST_BYTES = 2**30
"""Of a file that is read; a run of 12,000 rounds with its timeline has 34 MB."""

Fact = str | int | float | bool | None

Kind = TypeVar("Kind", bound=BaseModel)


class _Comparison(BaseModel):
    """What ``comparison.json`` says."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    version: int
    depends_on: dict[str, Fact]


class _StoredRun(BaseModel):
    """What the file of a run says; NaN and infinity are the texts that Python's ``float`` knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    comparison: str
    policy: str
    run: RunOutcome


class StoredRuns:
    """The finished runs of one comparison, in a folder that is made if there is none.

    Parameters
    ----------
    depends_on
        What the runs depend on, beside policy and seed: name -> value, or the digest of what is long (``digest``).
    policies
        Those that are compared, each of another name. Of each its classes, their source and their options count, too.

    Attributes
    ----------
    trouble
        What was found in the folder and not taken: the file, the field, what is wrong with it.

    Raises
    ------
    UserError
        If the folder holds another comparison; the message says what differs.
    DataError
        If it cannot be written to.
    """

    def __init__(self, folder: Path, depends_on: Mapping[str, Fact], policies: Sequence[Policy]) -> None:
        self.folder, self.trouble = folder, list[str]()
        self._depends_on = dict(depends_on)
        self._comparison = digest(self._depends_on)
        self._digests = {policy.name: digest(_described(policy)) for policy in policies}
        self._check()

    def _check(self) -> None:
        """Refuse a folder of other runs, and say in a new one what its runs depend on."""
        path = self.folder / COMPARISON_FILE
        if not path.exists():
            if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.glob("*-seed*.json"))):
                raise UserError(f"{self.folder}: is no folder of runs: it has no {COMPARISON_FILE}; name another")
            told = _Comparison(version=VERSION, depends_on=self._depends_on)
            with atomic_text(path) as file:
                file.write(told.model_dump_json(indent=2) + "\n")
            return
        found = _read(_Comparison, path)
        if isinstance(found, str):
            raise UserError(f"{found}; name another folder")
        if found.version != VERSION:
            raise UserError(f"{path}: version: must be {VERSION}, got {found.version}; name another folder")
        if differs := _differences(found.depends_on, self._depends_on):
            raise UserError(f"{path}: the runs are of another comparison: {'; '.join(differs)}; name another folder")

    def path(self, policy: str, seed: int) -> Path:
        """Return the file of a run."""
        name = re.sub(r"[^A-Za-z0-9.+_-]", "_", policy)[:80]
        return self.folder / f"{name}-{self._digests[policy][:8]}-seed{seed}.json"

    def find(self, policy: str, seed: int) -> RunOutcome | None:
        """Return a run that was kept, None if there is none that can be taken; see ``trouble``."""
        path = self.path(policy, seed)
        if not path.exists():
            return None
        found = _read(_StoredRun, path)
        if isinstance(found, str):
            self.trouble.append(found)
            return None
        run = found.run
        for field, got, wanted in (
            ("comparison", found.comparison, self._comparison),
            ("policy", found.policy, self._digests[policy]),
            ("run.policy", run.policy, policy),
            ("run.seed", run.seed, seed),
        ):
            if got != wanted:
                self.trouble.append(f"{path}: {field}: must be {shown(wanted)}, got {shown(got)}")
                return None
        return run

    def found(self, policies: Iterable[str], seeds: Iterable[int]) -> list[RunOutcome]:
        """Return all runs that were kept of some policies and seeds."""
        names = list(policies)
        pairs = ((name, seed) for seed in seeds for name in names)
        return [run for name, seed in pairs if (run := self.find(name, seed)) is not None]

    def keep(self, run: RunOutcome) -> None:
        """Write a run, whole or not at all.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        stored = _StoredRun(comparison=self._comparison, policy=self._digests[run.policy], run=run)
        with atomic_text(self.path(run.policy, run.seed)) as file:
            file.write(stored.model_dump_json() + "\n")


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's JSON, with sorted keys and without spaces."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _read(kind: type[Kind], path: Path) -> Kind | str:
    """Return what a file says, or what is wrong with it, and where."""
    try:
        return kind.model_validate_json(read_bytes(path, MOST_BYTES))
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror or error}"
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        field = ".".join(map(str, detail["loc"]))
        got = "" if detail["type"] in ("json_invalid", "missing") else f", got {shown(detail['input'])}"
        return f"{path}: {field}{': ' if field else ''}{detail['msg']}{got}"


def _differences(there: Mapping[str, Fact], here: Mapping[str, Fact]) -> list[str]:
    names = sorted({*there, *here})
    return [
        f"{name} is {shown(there.get(name))} there, {shown(here.get(name))} here"
        for name in names
        if (name in there, there.get(name)) != (name in here, here.get(name))
    ]


def _described(value: Any) -> Any:
    """Return what a policy is made of as JSON values: classes, the source that they are from, options."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _described(one) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [_described(one) for one in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if not isinstance(value, Described | Policy):
        return name
    return {"class": name, "source": _source_digest(kind.__module__), "options": _described(vars(value))}


@cache
def _source_digest(module: str) -> str:
    """Return a digest of the file that classes of a module are from; empty where there is none."""
    try:
        return digest(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError, KeyError):
        return ""
