"""The Parquet files of a table, their columns, and their row groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workers.data.arrow_columns import arrow, kind
from workers.errors import DataError, Problems

PATTERN = "*.parquet"
FLOAT32 = ("halffloat", "float")
"""The types that float32 holds without rounding, as Arrow calls them."""

_INDEX = "__index_level_"  # pandas writes the unnamed index of a frame as such a column


def part_files(path: str | Path) -> list[Path]:
    """Return the file itself, or the parts in a folder in the order of their names; raise `DataError` for none."""
    path = Path(path)
    if not path.is_dir():
        return [path]
    parts = sorted(path.glob(PATTERN))
    if not parts:
        raise DataError(f"{path}: no {PATTERN} file in this folder. Check the path.")
    return parts


@contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """Open a file as `pyarrow.parquet.ParquetFile`; raise `DataError` if it is none, then or while it is read."""
    arrow()
    from pyarrow import ArrowException, parquet  # noqa: PLC0415

    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(f"{path} cannot be read: no such file. Check the path.") from error
    except DataError:
        raise
    except (ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"{path} cannot be read as Parquet: {reason}. Is it cut off, or of another format?") from error


def schema(parts: list[Path]) -> dict[str, Any]:
    """Return the columns, name -> Arrow type, that all `parts` have; raise `DataError` where they differ.

    Where parts hold numbers of several widths, the type is one of the widest. An unnamed index that pandas wrote is
    no column.
    """
    first: dict[str, Any] | None = None
    widest: dict[str, Any] = {}
    for part in parts:
        with opened(part) as file:
            fields = [field for field in file.schema_arrow if not field.name.startswith(_INDEX)]
        problems = Problems(str(part))
        for name, times in Counter(field.name for field in fields).items():
            if times > 1 or not name.strip():
                problems.add(f"column {name!r}", "", f"is there {times} times", "Name every column, each differently.")
        here = {field.name: field.type for field in fields}
        first = here if first is None else first
        for name in first.keys() ^ here.keys():
            what = f"is in {parts[0].name} only" if name in first else f"is not in {parts[0].name}"
            problems.add(f"column {name!r}", "", what, "Give every part the same columns.")
        for name in first.keys() & here.keys():
            if kind(first[name]) != kind(here[name]):
                what = f"holds {here[name]}, in {parts[0].name} {first[name]}"
                problems.add(f"column {name!r}", "", what, "Give the columns of every part the same type.")
        problems.check()
        widest |= {
            name: type_ for name, type_ in here.items() if name not in widest or _width(type_) > _width(widest[name])
        }
    return widest


def _width(type_: Any) -> int:
    """Return 0 for nothing but missing cells, 1 for what float32 holds, and 2 for what it may round."""
    return {"null": 0, **dict.fromkeys(FLOAT32, 1)}.get(str(type_), 2)
