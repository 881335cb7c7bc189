"""What a lab is to be: which nodes, and what each is held to. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from scheduler import node_labels
from scheduler.cluster_file import ClusterFile, NodeType
from scheduler.errors import UserError, unknown

LAB_NODE = "apportion.dev/lab-node"
"""The label of a lab's node: its name."""

MOST_NODES = 99
"""Of one lab, beside its head; each takes about 0.3 GiB of memory, and a number of two digits."""

LEAST_PROCESSORS = 0.05
"""A node's own agents need about that much to answer in time."""

MIB = 1024**2
MEMORY_BYTES = 512 * MIB
OBJECT_STORE_BYTES = 256 * MIB
LOOPBACK = "127.0.0.1"

ROUNDING = 1e-9
"""Speeds such as 0.8, 0.4, 0.2 and 0.1 add up to a little more than 1.5."""

_OWN = ("CPU", "GPU", "memory", "object_store_memory")
"""Resources that Ray has options for; all others are a node type's own."""


@dataclass(frozen=True)
class LabNode:
    """A node of a lab.

    Attributes
    ----------
    name, node_type
        The name is the type and a number, such as ``cpu-0``.
    number
        0 is the head, which nothing holds.
    cpus, gpus, memory_bytes, object_store_bytes, resources
        What Ray may hand out; GPUs need not be there.
    processors
        Of this machine, that the node may use; more than 0.
    mbit_per_s
        At which data comes to the node, and leaves it; 0 for no limit.
    latency_ms
        That a packet is on its way to the node, or from it.
    """

    name: str
    node_type: str
    number: int
    cpus: int
    gpus: int
    memory_bytes: int
    object_store_bytes: int
    resources: Mapping[str, float]
    labels: Mapping[str, str]
    processors: float
    mbit_per_s: float = 0.0
    latency_ms: float = 0.0
    address: str = LOOPBACK


@dataclass(frozen=True)
class LabPlan:
    """The head and the other nodes of a lab.

    Attributes
    ----------
    unit
        Processors of this machine for each CPU of a node of speed 1: 1 where all fit, else less.
    """

    head: LabNode
    nodes: tuple[LabNode, ...]
    unit: float = 1.0

    def at(self, subnet: str) -> LabPlan:
        """Return the plan with addresses in a /24, of which ``subnet`` is the first three numbers: the head has .1."""
        head, *nodes = (replace(one, address=f"{subnet}.{one.number + 1}") for one in (self.head, *self.nodes))
        return replace(self, head=head, nodes=tuple(nodes))


def usable_processors(processors: int) -> float:
    """Return what nodes may use of a machine's processors: a quarter, at most one, is left to head and driver."""
    return processors - min(1.0, processors / 4)


def plan_lab(file: ClusterFile, counts: Mapping[str, int], processors: float) -> LabPlan:
    """Return the lab of a cluster file, in which all nodes together are held to ``processors``.

    Of each type there are its ``min_workers``, and at least one if it may have any; ``counts`` says otherwise by type.
    A node may use its CPU times its speed, all in the same proportion if that is more than there is. The least is
    ``LEAST_PROCESSORS``.

    Raises
    ------
    UserError
        With everything that is wrong at once: unknown types, amounts that Ray cannot start nodes with, too many
        nodes or none.
    """
    wrong = list(_wrong(file, counts))
    if wrong:
        raise UserError("\n".join(wrong))
    types, head = file.available_node_types, file.head_node_type
    wanted = [
        (name, number)
        for name, kind in types.items()
        for number in range(name == head, counts.get(name, _by_default(file, name, kind)) + (name == head))
    ]
    if not 1 <= len(wanted) <= MOST_NODES:
        raise UserError(
            f"a lab has from 1 to {MOST_NODES} nodes beside its head, but this one would have {len(wanted)}: "
            f"choose with '--nodes TYPE=NUMBER' ({', '.join(types)})"
        )
    total = sum(_ideal_processors(name, types[name]) for name, _ in wanted)
    unit = 1.0 if total <= processors * (1 + ROUNDING) else processors / total
    nodes = [
        _node(f"{name}-{number}", name, place, types[name], max(LEAST_PROCESSORS, _ideal_processors(name, kind) * unit))
        for place, (name, number) in enumerate(wanted, 1)
        for kind in [types[name]]
    ]
    return LabPlan(_node(f"{head}-0", head, 0, types[head], processors), tuple(nodes), unit)


def _by_default(file: ClusterFile, name: str, kind: NodeType) -> int:
    return max(kind.min_workers, min(1, file.allowed(name)))


def _ideal_processors(name: str, kind: NodeType) -> float:
    return kind.resources.get("CPU", 0.0) * node_labels.speed(name, kind.labels)


def _node(name: str, node_type: str, number: int, kind: NodeType, processors: float) -> LabNode:
    amounts = kind.resources
    return LabNode(
        name,
        node_type,
        number,
        cpus=int(amounts.get("CPU", 0)),
        gpus=int(amounts.get("GPU", 0)),
        memory_bytes=int(amounts.get("memory", MEMORY_BYTES)),
        object_store_bytes=int(amounts.get("object_store_memory", OBJECT_STORE_BYTES)),
        resources={resource: amount for resource, amount in amounts.items() if resource not in _OWN},
        labels={node_labels.KIND: node_type} | kind.labels | {LAB_NODE: name},
        processors=processors,
        mbit_per_s=node_labels.mbit_per_s(name, kind.labels),
        latency_ms=1e3 * node_labels.latency_s(name, kind.labels),
    )


def _wrong(file: ClusterFile, counts: Mapping[str, int]) -> Iterator[str]:
    for name, count in counts.items():
        if name not in file.available_node_types:
            yield f"--nodes: {unknown('node type', name, file.available_node_types)}"
        elif count < 0:
            yield f"--nodes: there must be at least 0 nodes of type {name!r}, got {count}"
    for name, kind in file.available_node_types.items():
        for resource in ("CPU", "GPU"):
            amount = kind.resources.get(resource, 0.0)
            if not amount.is_integer():
                yield f"node type {name!r}: {resource} must be a whole number to start it here, got {amount:g}"
