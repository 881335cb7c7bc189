"""What a lab's nodes are doing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.lab import processes
from scheduler.lab.isolation import Usage, isolation_of
from scheduler.lab.lab import Lab
from scheduler.lab.plan import LabNode
from scheduler.lab.state import NodeState

WATCHED_S = 0.5


@dataclass(frozen=True)
class NodeStatus:
    """A node, and what it does; ``processors`` and the rest are None where they are not held or not counted.

    Attributes
    ----------
    is_alive
        Whether Ray counts it as alive.
    processors, processors_in_use
        That it may use, and that it used in the half second in which it was watched.
    """

    name: str
    node_type: str
    address: str
    node_id: str | None
    is_alive: bool
    is_cut: bool
    processors: float | None
    processors_in_use: float
    mbit_per_s: float | None
    latency_ms: float | None
    bytes_in: int | None
    bytes_out: int | None
    pids: tuple[int, ...]


@dataclass(frozen=True)
class LabStatus:
    """A lab: how to become its client, what is not as the file has it, and its nodes; the head is first."""

    name: str
    address: str
    environment: Mapping[str, str]
    notes: tuple[str, ...]
    nodes: tuple[NodeStatus, ...]


def status_of(lab: Lab) -> LabStatus:
    """Look at a lab for half a second; raises ``UserError`` if there is no such lab, or it is not up yet."""
    found = lab.ready
    isolation = isolation_of(found)

    def usages() -> list[Usage]:
        return [isolation.usage(found, node) for node in found.all_nodes]

    before, began_s = usages(), time.monotonic()
    there = lab.members()
    time.sleep(max(0.0, began_s + WATCHED_S - time.monotonic()))
    after, elapsed_s = usages(), time.monotonic() - began_s
    pids = {name: tuple(sorted(one.pid for one in those)) for name, those in processes.of_lab(found.id).items()}
    held: list[NodeState | None] = [None, *found.nodes]

    def row(node: LabNode, one: NodeState | None, was: Usage, now: Usage) -> NodeStatus:
        member = there.get(node.name)
        network = one if found.isolated else None
        return NodeStatus(
            name=node.name,
            node_type=node.node_type,
            address=node.address,
            node_id=None if member is None else member.node_id,
            is_alive=member is not None and member.is_alive,
            is_cut=one is not None and one.is_cut,
            processors=None if one is None else one.processors,
            processors_in_use=max(0.0, now.cpu_s - was.cpu_s) / elapsed_s,
            mbit_per_s=network.mbit_per_s or None if network else None,
            latency_ms=network.node.latency_ms or None if network else None,
            bytes_in=now.bytes_in,
            bytes_out=now.bytes_out,
            pids=pids.get(node.name, ()),
        )

    rows = map(row, found.all_nodes, held, before, after)
    return LabStatus(found.name, found.address, lab.environment, found.notes, tuple(rows))
