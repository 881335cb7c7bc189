"""A fleet: the machines of a simulated cluster, and how fast, far and dear each is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from policies.interface import NodeTable, Resources
from scheduler import node_labels
from scheduler.errors import UserError

MOST_GPUS = 1024
"""Of one machine: tables have a column for each GPU that a machine has."""

MOST_PLACES = 10_000_000
"""Machines times the most GPUs that one of them has."""


@dataclass(frozen=True)
class Machine:
    """A node of a simulated cluster.

    Attributes
    ----------
    kind
        The node type, by which jobs know their speed.
    speed
        Work per second of one worker, in relation to a machine of speed 1; more than 0.
    s_per_byte, latency_s
        Of its connection to the others, at least 0.
    price_per_hour
        Of the whole node, in any currency.
    labels
        On which jobs may insist.
    joins_s
        When it comes into the cluster; 0 for those that are there from the start.
    """

    id: str
    capacity: Resources
    kind: str = ""
    speed: float = 1.0
    s_per_byte: float = 0.0
    latency_s: float = 0.0
    price_per_hour: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    joins_s: float = 0.0

    @classmethod
    def labelled(cls, name: str, capacity: Resources, labels: Mapping[str, str], kind: str = "") -> Machine:
        """Return a machine of which its labels tell the rest; it is of ``kind`` where they tell none."""
        return cls(
            name,
            capacity,
            kind=node_labels.kind(labels) or kind,
            speed=node_labels.speed(name, labels),
            s_per_byte=node_labels.s_per_byte(name, labels),
            latency_s=node_labels.latency_s(name, labels),
            price_per_hour=node_labels.price_per_hour(name, labels),
            labels=labels,
        )


@dataclass(frozen=True)
class Fleet:
    """Machines, and where the list came from."""

    machines: tuple[Machine, ...]
    source: str = ""

    def __post_init__(self) -> None:
        """Raise ``UserError`` for more than a table can hold."""
        most = max((machine.capacity.gpu for machine in self.machines), default=0.0)
        if len(self.machines) * most > MOST_PLACES:
            raise UserError(
                f"{self.source}: {len(self.machines):,} machines, one with {most:g} GPUs: their product must be at "
                f"most {MOST_PLACES:,}"
            )

    def __len__(self) -> int:
        """Count the machines."""
        return len(self.machines)

    def table(self) -> NodeTable:
        """Return all machines as policies see them, with nobody on them."""
        return NodeTable.of(
            [machine.id for machine in self.machines],
            [machine.capacity.vector() for machine in self.machines],
            kinds=[machine.kind for machine in self.machines],
            s_per_byte=[machine.s_per_byte for machine in self.machines],
            price_per_hour=[machine.price_per_hour for machine in self.machines],
            labels=node_labels.columns([machine.labels for machine in self.machines]),
        )
