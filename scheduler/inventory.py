"""What a node has: the logical view (what Ray may hand out) and the physical one (what psutil sees there)."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from policies.interface import NodeTable
from scheduler import node_labels
from workers.environment import environment

INSPECTION_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class PhysicalView:
    """A machine as its operating system sees it; ``load`` is the share of its processors in use, 0 to 1."""

    hostname: str
    processor: str
    num_cpus: int
    load: float
    memory_bytes: int
    memory_free_bytes: int
    numeric_class: str


@dataclass(frozen=True)
class LogicalView:
    """A node as Ray sees it: what it has and what is free of ``cpu``, ``gpu`` and ``memory`` (bytes); its labels."""

    id: str
    address: str
    is_head: bool
    capacity: tuple[float, float, float]
    free: tuple[float, float, float]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeView:
    """Both views of a node; ``physical`` is None if the node did not answer in time."""

    logical: LogicalView
    physical: PhysicalView | None


def inspect_here() -> PhysicalView:
    """Return the physical view of the machine that this runs on."""
    memory, here = psutil.virtual_memory(), environment()
    num_cpus = psutil.cpu_count() or 1
    return PhysicalView(
        hostname=platform.node(),
        processor=here.processor,
        num_cpus=num_cpus,
        load=min(psutil.getloadavg()[0] / num_cpus, 1.0),
        memory_bytes=memory.total,
        memory_free_bytes=memory.available,
        numeric_class=here.numeric_class,
    )


def logical_views() -> list[LogicalView]:
    """Return every living node of the connected cluster, the head first, then by id."""
    free = _free_by_node()
    views = []
    for node in ray.nodes():
        if node["Alive"]:
            capacity = node["Resources"]
            views.append(
                LogicalView(
                    id=node["NodeID"],
                    address=node["NodeManagerAddress"],
                    is_head="node:__internal_head__" in capacity,
                    capacity=_amounts(capacity),
                    free=_amounts(free.get(node["NodeID"], {})),
                    labels=node["Labels"],
                )
            )
    return sorted(views, key=lambda view: (not view.is_head, view.id))


def leaving_nodes() -> set[str]:
    """Return the nodes that are being drained: they live, but not for long. Ray has no public call for it."""
    return set(ray._private.state.state.get_draining_nodes())


def bad_nodes() -> set[str]:
    """Return the nodes on which nobody is to work any more: those that have died, and those that are being drained."""
    return {node["NodeID"] for node in ray.nodes() if not node["Alive"]} | leaving_nodes()


def node_table(views: Sequence[LogicalView], numeric_classes: Mapping[str, str] | None = None) -> NodeTable:
    """Return the nodes as policies see them; labels that are no hint as it should be are ignored, with a warning."""
    known = numeric_classes or {}
    return NodeTable.of(
        [view.id for view in views],
        [view.capacity for view in views],
        [view.free for view in views],
        numeric_class=[known.get(view.id, "") for view in views],
        kinds=[node_labels.kind(view.labels) for view in views],
        s_per_byte=[node_labels.s_per_byte(view.id, view.labels) for view in views],
        price_per_hour=[node_labels.price_per_hour(view.id, view.labels) for view in views],
        labels=node_labels.columns([view.labels for view in views]),
    )


class Inspection:
    """Looks at every node from a process on that node, all at the same time, while others go on."""

    def __init__(self) -> None:
        self._logical = logical_views()
        self._started_s = time.monotonic()
        look = ray.remote(num_cpus=0, max_retries=0)(inspect_here)
        self._views = {
            view.id: look.options(
                name="apportion:inspect",
                scheduling_strategy=NodeAffinitySchedulingStrategy(view.id, soft=False),
            ).remote()
            for view in self._logical
        }

    def result(self) -> list[NodeView]:
        """Wait for the nodes' answers, and return both views of each."""
        views = []
        for logical in self._logical:
            left = max(self._started_s + INSPECTION_TIMEOUT_S - time.monotonic(), 0.1)
            try:
                physical = ray.get(self._views[logical.id], timeout=left)
            except (
                ray.exceptions.RayError,
                TimeoutError,
            ):  # the node has died or hangs: that is what we report
                physical = None
            views.append(NodeView(logical, physical))
        return views


def _amounts(resources: Mapping[str, float]) -> tuple[float, float, float]:
    return (resources.get("CPU", 0.0), resources.get("GPU", 0.0), resources.get("memory", 0.0))


def _free_by_node() -> Mapping[str, Mapping[str, float]]:
    """Return what is free on each node. Ray has no public call for it; a used-up resource is absent."""
    found: Mapping[str, Mapping[str, float]] = ray._private.state.available_resources_per_node()
    return found
