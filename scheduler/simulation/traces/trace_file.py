"""Our own trace: one JSON object a line, first a header, then a job a line.

The header is ``{"apportion-trace": 1, "source": ..., "meta": {...}}``. A job has an ``id``, and of the rest what
differs from the defaults; ``JobLine`` lists all fields. A trace that is read and written again is the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from policies.interface import PolicyError
from scheduler.errors import Mistakes, UserError, shown, unknown
from scheduler.simulation.traces.trace_line import (
    HEADER,
    VERSION,
    HeaderLine,
    JobLine,
    LearningLine,
    Line,
    PhaseLine,
    line_of,
    simulated,
)
from scheduler.simulation.workload import SimulatedJob, Workload
from workers.model import atomic_text
from workers.reading import limited_lines

Kind = TypeVar("Kind", bound=Line)

MOST_JOBS = 1_000_000

_FIELDS: dict[str, type[Line]] = {"learning": LearningLine, "phases": PhaseLine}
"""Field of a job -> what it consists of."""


def write_trace(workload: Workload, path: Path) -> None:
    """Write a workload as a trace; the file is there whole or not at all.

    Raises
    ------
    DataError
        If the file cannot be written.
    ValueError
        If a job has a number that is not finite where only finite ones make sense.
    """
    header = HeaderLine.model_validate({HEADER: VERSION, "source": workload.source, "meta": dict(workload.meta)})
    with atomic_text(path) as file:
        for line in (header, *map(line_of, workload.jobs)):
            file.write(_json(line))


def read_trace(path: Path) -> Workload:
    """Read a trace.

    Raises
    ------
    UserError
        With the first 20 mistakes of the file: line, field (or column, of what is no JSON), what was got.
    """
    mistakes = Mistakes(path)
    lines = _lines(path)
    header = _parsed(HeaderLine, next(lines, (1, "")), mistakes)
    if header is None:
        mistakes.tell()
        raise AssertionError("a header that is none is a mistake")
    jobs: dict[str, SimulatedJob] = {}
    for number, text in lines:
        found = _parsed(JobLine, (number, text), mistakes)
        if found is None:
            continue
        if found.id in jobs:
            mistakes.add(number, "id", f"there is a job {shown(found.id)} already; give this one another name")
        try:
            jobs[found.id] = simulated(found)
        except PolicyError as error:
            mistakes.add(number, "", str(error))
        except ValueError as error:
            mistakes.add(number, "learning", str(error))
    mistakes.tell()
    if not jobs:
        raise UserError(f"{path}: has a header and no job: there is nothing to simulate")
    return Workload(tuple(jobs.values()), header.source, header.meta)


def is_trace(path: Path) -> bool:
    """Say whether a file begins as one of our traces does."""
    try:
        with path.open(encoding="utf-8") as file:
            return f'"{HEADER}"' in file.readline(1000)
    except (OSError, UnicodeDecodeError):
        return False


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not empty, with their numbers."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(limited_lines(file), 1):
                if number > MOST_JOBS + 1:
                    raise UserError(f"{path}:{number}: over {MOST_JOBS:,} jobs; split the trace")
                if text.strip():
                    yield number, text
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _parsed(kind: type[Kind], line: tuple[int, str], mistakes: Mistakes) -> Kind | None:
    """Return what a line says, None if it has mistakes."""
    number, text = line
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            mistakes.add(number, *_explained(kind, text, detail))
    return None


def _explained(kind: type[Line], text: str, detail: ErrorDetails) -> tuple[str, str]:
    """Return the field and what is wrong with it."""
    field = ".".join(map(str, detail["loc"]))
    if detail["type"] == "json_invalid":
        return f"column {_column(text)}", f"not valid JSON: {detail['ctx']['error']}"
    if detail["type"] == "missing":
        hint = f'; the first line of a trace is {{"{HEADER}": {VERSION}}}' if field == HEADER else ""
        return field, f"is missing{hint}"
    if detail["type"] == "extra_forbidden":
        parent = _FIELDS.get(str(detail["loc"][0]), kind) if len(detail["loc"]) > 1 else kind
        names = [known.alias or name for name, known in parent.model_fields.items()]
        return field, unknown("field", str(detail["loc"][-1]), names)
    message = detail["msg"].replace("Input should", "must").replace("Object must", "must")
    return field, f"{message[:1].lower()}{message[1:]}, got {shown(detail['input'])}"


def _column(text: str) -> int:
    """Return where a line stops being JSON, from 1."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.colno
    except (ValueError, RecursionError):  # a number or a nesting that is too long
        return 1
    return 1


def _json(line: Line) -> str:
    """Return a line without what is as it would be anyway."""
    return json.dumps(line.model_dump(by_alias=True, exclude_defaults=True), separators=(",", ":")) + "\n"
