"""Reading a Ray cluster file: its node types, and the fleet that they would be if all of them were up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from policies.interface import Resources
from scheduler import located_yaml, node_labels
from scheduler.errors import Mistakes, UserError, shown
from scheduler.simulation.fleet import MOST_GPUS, Fleet, Machine
from workers.errors import brief

MEMORY_PER_CPU = 4 * 2.0**30
"""What a node type is taken to have for each CPU where the file does not say it: Ray itself would look on the node."""

MOST_MACHINES = 200_000


class NodeType(BaseModel):
    """What is read of a node type; Ray knows of much more."""

    model_config = ConfigDict(extra="ignore", strict=True)

    resources: dict[str, float] = Field(default_factory=dict)
    min_workers: int = Field(0, ge=0)
    max_workers: int | None = Field(None, ge=0)
    labels: dict[str, str] = Field(default_factory=dict)


class ClusterFile(BaseModel):
    """What is read of a cluster file."""

    model_config = ConfigDict(extra="ignore", strict=True)

    available_node_types: dict[str, NodeType] = Field(min_length=1)
    head_node_type: str
    max_workers: int = Field(2, ge=0)

    def allowed(self, name: str) -> int:
        """Return how many workers of a type there may be, beside other types; as Ray has it."""
        by_default = 0 if name == self.head_node_type else self.max_workers
        most = self.available_node_types[name].max_workers
        return by_default if most is None else most


def read_cluster_file(path: Path) -> ClusterFile:
    """Read a Ray cluster file; a file of ``ray up`` is valid as it is.

    Raises
    ------
    UserError
        With every error of the file at once: line, field, what was got.
    """
    document = located_yaml.read(path)
    try:
        found = ClusterFile.model_validate(document.value)
    except ValidationError as error:
        raise UserError(document.told(error, lambda detail: _explained(document, detail))) from None
    mistakes = Mistakes(path)
    for location, what in _wrong(found):
        mistakes.add(document.line(location), ".".join(map(str, location)), what)
    mistakes.tell()
    return found


def read_fleet(path: Path) -> Fleet:
    """Return the head and the most workers of every type that a Ray cluster file allows.

    A type without ``max_workers`` may have as many as the file's; together they may have no more than that, so later
    types get what is left. Nodes without CPU and GPU, such as a head that computes nothing, are left out. Speeds,
    prices, bandwidths and latencies are hints in the file's labels (``node_labels``).

    Raises
    ------
    UserError
        As ``read_cluster_file``, and if no node computes anything.
    """
    found = read_cluster_file(path)
    machines: list[Machine] = []
    left = found.max_workers
    for name, kind in found.available_node_types.items():
        is_head = name == found.head_node_type
        workers = min(found.allowed(name), left)
        left -= workers
        pattern = _machine(name, kind)
        machines += [replace(pattern, id=f"{name}-{number}") for number in range(workers + is_head)]
    useful = tuple(one for one in machines if one.capacity.cpu > 0 or one.capacity.gpu > 0)
    if not useful:
        raise UserError(f"{path}: no node type has CPU or GPU and 'max_workers' above 0: there is nothing to simulate")
    return Fleet(useful, str(path))


def _machine(name: str, kind: NodeType) -> Machine:
    """Return what machines of a type are like, all but their ids."""
    amounts = kind.resources
    cpu = amounts.get("CPU", 0.0)
    capacity = Resources(cpu, amounts.get("GPU", 0.0), amounts.get("memory", cpu * MEMORY_PER_CPU))
    return Machine.labelled(name, capacity, dict(kind.labels), name)


def _wrong(found: ClusterFile) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what pydantic does not see, and where: amounts and hints out of bounds, a head that is no type."""
    types = found.available_node_types
    if found.head_node_type not in types:
        yield ("head_node_type",), f"names no node type: {', '.join(types)}, got {shown(found.head_node_type)}"
    if found.max_workers > MOST_MACHINES:
        yield ("max_workers",), f"must be at most {MOST_MACHINES:,}, got {shown(found.max_workers)}"
    for name, kind in types.items():
        place = ("available_node_types", name)
        for resource, amount in kind.resources.items():
            if not 0 <= amount < math.inf:
                yield (*place, "resources", resource), f"must be a finite number of at least 0, got {amount:g}"
            elif resource == "GPU" and amount > MOST_GPUS:
                yield (*place, "resources", resource), f"must be at most {MOST_GPUS:,}, got {amount:g}"
        for label, least in node_labels.LEAST.items():
            if label in kind.labels and node_labels.number(kind.labels[label], least) is None:
                what = f"must be a finite number of at least {least:g} in quotes, got {shown(kind.labels[label])}"
                yield (*place, "labels", label), what


def _explained(document: located_yaml.LocatedYaml, detail: ErrorDetails) -> str:
    field = brief(".".join(map(str, detail["loc"])))
    where = f"{document.path}:{document.line(detail['loc'])}: {field}:"
    if detail["type"] == "missing":
        return f"{where} is missing; a Ray cluster file has it"
    message = detail["msg"].replace("Input should be", "must be").replace("valid string", "text (quote numbers)")
    return f"{where} {message[:1].lower()}{message[1:]}, got {shown(detail['input'])}"
