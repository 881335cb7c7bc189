"""Reading a job file: all its errors at once, each with file, line and field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scheduler import located_yaml
from scheduler.errors import UserError, shown, unknown
from scheduler.job import Job


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
        raise UserError(document.told(error, lambda detail: _explain(document, detail, overrides or {}))) from None


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``training.rounds=50`` into its field and its YAML value.

    Raises
    ------
    UserError
        If there is no ``=``, or the value is no YAML.
    """
    name, equals, value = text.partition("=")
    if not equals or not all(name.split(".")):
        raise UserError(f"--set {text}: expected FIELD=VALUE, such as training.rounds=50")
    try:
        return name, located_yaml.parse(value)
    except (yaml.YAMLError, RecursionError):
        raise UserError(f"--set {name}: {shown(value)} is not a YAML value") from None


def _replaced(fields: Any, parts: Sequence[str], value: Any) -> Any:
    if not parts:
        return value
    inner = fields if isinstance(fields, dict) else {}
    return {**inner, parts[0]: _replaced(inner.get(parts[0]), parts[1:], value)}


_EXPECTED = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "byte_size": "must be an amount of memory, such as 512MiB or 2GiB",
    "byte_size_unit": "must be an amount of memory, such as 512MiB or 2GiB",
}
"""What pydantic's errors are called here; the others speak for themselves."""


def _explain(document: located_yaml.LocatedYaml, detail: ErrorDetails, overrides: Mapping[str, Any]) -> str:
    location = detail["loc"]
    where = _place(document, location, overrides)
    kind, message = detail["type"], detail["msg"]
    if kind == "extra_forbidden":
        return f"{where} {unknown('key', str(location[-1]), _keys(location[:-1]))}"
    if kind == "missing":
        return f"{where} is missing; it is needed"
    if kind == "value_error":
        return f"{where} {message.removeprefix('Value error, ')}"
    if kind in ("model_type", "model_attributes_type"):
        message = f"must be a mapping of {', '.join(_keys(location))}"
    message = _EXPECTED.get(kind, message.replace("Input should be", "must be"))
    return f"{where} {message[:1].lower()}{message[1:]}, got {shown(detail['input'])}"


def _place(document: located_yaml.LocatedYaml, location: Sequence[str | int], overrides: Mapping[str, Any]) -> str:
    """Return whence a field comes: the command line, the file, or both."""
    parts = [str(part) for part in location]
    field, line = ".".join(parts), f"{document.path}:{document.line(location)}"
    for name in overrides:
        given = name.split(".")
        if parts[: len(given)] == given:
            return f"--set {field}:"
        if parts == given[: len(parts)]:
            return f"{line} with --set {name}: {field}:"
    return f"{line}: {field}:"


def _keys(location: Sequence[str | int]) -> list[str]:
    """Return the fields of the section at ``location``."""
    section: type[BaseModel] = Job
    for part in location:
        section = section.model_fields[str(part)].annotation  # type: ignore[assignment]  # a section has sections
    return list(section.model_fields)
