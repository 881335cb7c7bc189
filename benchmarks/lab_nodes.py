"""Nodes for benchmarks on one machine: each of one CPU, held to a part of a processor and to a bandwidth."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler import node_labels
from scheduler.cluster_file import ClusterFile, NodeType
from scheduler.lab.plan import LabPlan, plan_lab


def node_name(number: int) -> str:
    """Return what the lab calls a node."""
    return f"part-{number}-0"


def slow_nodes(parts: Sequence[float], mbit_per_s: Sequence[float] = ()) -> LabPlan:
    """Return a lab with a node of one CPU for each of ``parts``, which is its speed and what it has of a processor."""
    types = {"head": NodeType(resources={"CPU": 0.0}, max_workers=0)}
    for number, part in enumerate(parts):
        labels = {node_labels.SPEED: f"{part:g}"}
        if mbit_per_s:
            labels[node_labels.MBIT_PER_S] = f"{mbit_per_s[number]:g}"
        types[f"part-{number}"] = NodeType(resources={"CPU": 1.0}, min_workers=1, labels=labels)
    file = ClusterFile(available_node_types=types, head_node_type="head", max_workers=len(parts))
    return plan_lab(file, {}, processors=sum(parts))
