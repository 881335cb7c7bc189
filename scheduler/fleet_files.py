"""Reading a fleet from a file: a Ray cluster file, or a CSV with a row for every kind of machine."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

from policies.interface import Resources
from scheduler import located_csv
from scheduler.cluster_file import MEMORY_PER_CPU, MOST_MACHINES, read_fleet
from scheduler.errors import Mistakes, UserError, shown, unknown
from scheduler.node_labels import LEAST, MBIT_PER_S, SPEED
from scheduler.simulation.fleet import MOST_GPUS, Fleet, Machine

GIB = 2.0**30
LABEL = "label:"
"""How the columns begin whose values are labels."""

COLUMNS = ("id", "kind", "count", "cpu", "gpu", "memory_gib", "speed", "mbit_per_s", "latency_ms", "price_per_hour")

SUFFIXES = (".yaml", ".yml", ".csv")


def load_fleet(path: Path) -> Fleet:
    """Return the fleet of a file, by how its name ends: ``.yaml`` or ``.yml`` (``read_fleet``), or ``.csv``.

    Raises
    ------
    UserError
        If the name ends otherwise, or the file is no fleet.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: {unknown('kind of fleet file', path.suffix, SUFFIXES)}")
    return read_fleet_csv(path) if path.suffix == ".csv" else read_fleet(path)


def read_fleet_csv(path: Path) -> Fleet:
    """Return the machines of a CSV file; its first line names the columns, in any order.

    A row is a machine with an ``id``, or a ``count`` (1) of machines of a ``kind``, with ids such as ``cpu-0``. Further
    ``cpu`` (0), ``gpu`` (0), ``memory_gib`` (4 for each CPU), ``speed`` (1), ``mbit_per_s`` (no distance),
    ``latency_ms`` (0), ``price_per_hour`` (0) and ``label:NAME``: what stands in brackets holds where a field is empty
    or has no column.

    Raises
    ------
    UserError
        With the first 20 mistakes of the file: line, column, what was got.
    """
    mistakes = Mistakes(path)
    machines: dict[str, Machine] = {}
    numbers: Counter[str] = Counter()
    for row in located_csv.read(mistakes, (), COLUMNS, (LABEL,), MOST_MACHINES):
        pattern, count = _machine(row), row.count("count", default=1)
        if len(machines) + count > MOST_MACHINES:
            mistakes.add(row.line, "count", f"a fleet has at most {MOST_MACHINES:,} machines, got {count} more")
            break
        if pattern.id and count != 1:
            mistakes.add(row.line, "count", f"a machine with an 'id' is one; leave one of them out, got {count}")
        elif not pattern.id and not pattern.kind:
            mistakes.add(row.line, "id", "is empty, and so is 'kind'; give one of them")
        for _ in range(count):
            name = pattern.id or f"{pattern.kind}-{numbers[pattern.kind]}"
            numbers[pattern.kind] += not pattern.id
            if name in machines:
                mistakes.add(row.line, "id", f"there is a machine {shown(name)} already; give this one another")
                break
            machines[name] = replace(pattern, id=name)
    mistakes.tell()
    if not machines:
        raise UserError(f"{path}: every 'count' is 0: there is nothing to simulate")
    return Fleet(tuple(machines.values()), str(path))


def _machine(row: located_csv.Row) -> Machine:
    """Return the machine that a row describes; its id may be empty."""
    noted = len(row.mistakes)
    cpu, gpu = row.number("cpu", default=0.0), float(row.count("gpu", default=0, most=MOST_GPUS))
    if not cpu and not gpu and len(row.mistakes) == noted:
        row.mistakes.add(row.line, "cpu", "a machine has CPU or GPU above 0, got none of either")
    mbit_per_s = row.number("mbit_per_s", LEAST[MBIT_PER_S], default=math.inf)
    return Machine(
        row.text("id", ""),
        Resources(cpu, gpu, row.number("memory_gib", default=cpu * MEMORY_PER_CPU / GIB) * GIB),
        kind=row.text("kind", ""),
        speed=row.number("speed", LEAST[SPEED], default=1.0),
        s_per_byte=8.0 / (1e6 * mbit_per_s),
        latency_s=row.number("latency_ms", default=0.0) / 1e3,
        price_per_hour=row.number("price_per_hour", default=0.0),
        labels={name.removeprefix(LABEL): value.strip() for name, value in row.fields.items() if _labels(name, value)},
    )


def _labels(name: str, value: str) -> bool:
    """Say whether a field is a label that the machine has."""
    return name.startswith(LABEL) and bool(value.strip())
