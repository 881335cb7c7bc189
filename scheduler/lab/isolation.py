"""How the nodes of a lab are kept apart: by namespaces and control groups, or side by side with a throttle."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Protocol

import psutil

from scheduler.errors import RunFailedError
from scheduler.lab import groups, network, processes, state
from scheduler.lab.groups import Group
from scheduler.lab.plan import LabNode
from scheduler.lab.shaping import DELAY, RATE, free_subnet, queues
from scheduler.lab.state import LabState, NodeState

HOME = Path(__file__).resolve().parents[2]
THROTTLE, THROTTLE_LOG = "throttle", "throttle.log"
"""What its process is marked with, in place of a node."""

SHARED = "nodes lie side by side; their workers are held to their processors, bandwidths and latencies are not held"

_JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 1; shift; done; shift; exec "$@"'
"""A shell joins a control group, then becomes the command."""


@dataclass(frozen=True)
class Usage:
    """What a node has used: seconds of processor time, bytes that came to it and left it; None where unknown."""

    cpu_s: float
    bytes_in: int | None = None
    bytes_out: int | None = None


class Isolation(Protocol):
    """What nodes live in."""

    def make(self, lab: LabState) -> LabState:
        """Make it; return the lab with what was learnt, which is written down."""

    def wrapped(self, lab: LabState, node: LabNode, command: Sequence[str]) -> list[str]:
        """Return the command that starts a node's ``command`` in there."""

    def hold(self, lab: LabState, one: NodeState) -> None:
        """Hold a node to its processors and its network from now on."""

    def link(self, lab: LabState, one: NodeState) -> None:
        """Cut a node off, or let it in again."""

    def usage(self, lab: LabState, node: LabNode) -> Usage:
        """Return what a node has used."""

    def remove(self, lab: LabState) -> None:
        """End all processes of the lab, and remove what was made, whether it was made whole or not."""


def cannot_isolate() -> str | None:
    """Say why there can be no namespaces and control groups here, None if there can."""
    if sys.platform != "linux":
        return f"namespaces and control groups are Linux's; this is {sys.platform}"
    if os.geteuid() != 0:
        return "it takes root to give nodes a network and processors of their own"
    return groups.cannot() or network.cannot()


def isolation_of(lab: LabState) -> Isolation:
    """Return how the nodes of this lab are kept apart."""
    return Namespaces() if lab.isolated else SideBySide()


class Namespaces:
    """A network namespace and a control group for each node; a bridge leads to the head, which is this machine."""

    def make(self, lab: LabState) -> LabState:
        """Make bridge, namespaces, interfaces and groups."""
        with state.locked():  # no other lab may choose the same subnet meanwhile
            subnet = free_subnet(network.used_subnets())
            if subnet is None:
                raise RunFailedError("all subnets 10.213.0.0/24 to 10.213.255.0/24 are in use on this machine")
            lab = state.save(lab.at(subnet))
            network.make_bridge(lab.thing(), lab.head.address)
        known = network.known_queues(lab.thing())
        lab = state.save(replace(lab, queues=known, notes=(*lab.notes, *_unheld(lab, known))))
        for node in lab.all_nodes:
            Group(lab.thing(node.number)).make()
            if node.number:
                network.make_node(lab.thing(node.number), lab.thing(), node.address)
        return lab

    def wrapped(self, lab: LabState, node: LabNode, command: Sequence[str]) -> list[str]:
        """Return a shell that joins the group and enters the namespace; the head stays in this machine's own."""
        name = lab.thing(node.number)
        entered = network.inside(name, command) if node.number else command
        return ["sh", "-c", _JOIN, "sh", *map(str, Group(name).members), "--", *entered]

    def hold(self, lab: LabState, one: NodeState) -> None:
        """Set the group's quota and the interfaces' queues."""
        name = lab.thing(one.node.number)
        Group(name).hold(one.processors)
        network.shape(name, queues(one.mbit_per_s, one.node.latency_ms, lab.queues))

    def link(self, lab: LabState, one: NodeState) -> None:
        """Set the interface down or up."""
        network.set_link(lab.thing(one.node.number), not one.is_cut)

    def usage(self, lab: LabState, node: LabNode) -> Usage:
        """Read the counters of the group and the interface."""
        name = lab.thing(node.number)
        used_s = Group(name).used_s()
        return Usage(used_s, *network.bytes_moved(name)) if node.number else Usage(used_s)

    def remove(self, lab: LabState) -> None:
        """Remove what bears the lab's name."""
        names = [lab.thing(node.number) for node in lab.all_nodes]

        def members() -> Iterable[psutil.Process]:
            for pid in chain.from_iterable(Group(name).pids() for name in names):
                with suppress(psutil.NoSuchProcess):
                    yield psutil.Process(pid)
            yield from chain.from_iterable(processes.of_lab(lab.id).values())

        processes.end(members)
        for name in names[1:]:
            network.remove_node(name)
        if lab.subnet:
            network.remove_bridge(lab.thing())
        for name in names:
            Group(name).remove()


class SideBySide:
    """Nodes on this machine's own address, whose workers a process of ours stops and continues."""

    def make(self, lab: LabState) -> LabState:
        """Start the throttle; it follows the lab's state."""
        command = [sys.executable, "-m", "scheduler.lab.throttle", lab.name, lab.id]
        log = state.folder_of(lab.name) / THROTTLE_LOG
        processes.start_detached(command, log, os.environ | processes.mark(lab.id, THROTTLE), HOME)
        return lab

    def wrapped(self, lab: LabState, node: LabNode, command: Sequence[str]) -> list[str]:
        """Return the command as it is."""
        del lab, node
        return list(command)

    def hold(self, lab: LabState, one: NodeState) -> None:
        """Leave it to the throttle, which reads the state; raises ``RunFailedError`` if it has ended."""
        if THROTTLE not in processes.of_lab(lab.id):
            log = state.folder_of(lab.name) / THROTTLE_LOG
            raise RunFailedError(f"the process that holds node '{one.node.name}' has ended; see {log}")

    def link(self, lab: LabState, one: NodeState) -> None:
        """Leave it to the throttle, which stops all that belongs to a node that is cut off."""

    def usage(self, lab: LabState, node: LabNode) -> Usage:
        """Add up what the node's processes have used that still run."""
        return Usage(sum(map(processes.cpu_s, processes.of_lab(lab.id).get(node.name, []))))

    def remove(self, lab: LabState) -> None:
        """End what bears the lab's mark."""
        processes.end(lambda: chain.from_iterable(processes.of_lab(lab.id).values()))


def _unheld(lab: LabState, known: Sequence[str]) -> list[str]:
    """Say what nodes should be held to and cannot, since the kernel lacks a kind of queue."""
    bandwidths = any(one.mbit_per_s for one in lab.nodes) and RATE not in known
    latencies = any(one.node.latency_ms for one in lab.nodes) and DELAY not in known
    wanting = [("bandwidths", RATE)] * bandwidths + [("latencies", DELAY)] * latencies
    return [f"{what} are not held: this kernel lacks sch_{kind} (try 'modprobe sch_{kind}')" for what, kind in wanting]
