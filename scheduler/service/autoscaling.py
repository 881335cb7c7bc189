"""The service and Ray's autoscaler: what it may add is read where it runs, and what jobs want is asked of it."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray.autoscaler.sdk import request_resources
from ray.autoscaler.v2.instance_manager.config import FileConfigReader
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.experimental.internal_kv import _internal_kv_get

from policies.interface import NodeTable, Resources, Unplaced
from scheduler.inventory import leaving_nodes
from scheduler.ledger import Ledger
from scheduler.ray_cluster import NODE_ID_LABEL, ray_resources
from scheduler.service.demand import Wanted, bundles
from scheduler.service.growth import NODE_TYPE, Growth, NodeType

CONFIG = "--autoscaling-config="
"""How a monitor, the process of Ray's autoscaler, is told its file; one without only watches."""

AGAIN_S = 60.0
"""How often it is told the same again: it forgets when the head's processes begin anew. And when, after an error."""


class Autoscaling:
    """Asks the autoscaler of the connected cluster for what all jobs want; made on the head.

    ``request_resources`` has one caller for the whole cluster, the last one counts: this one.

    Parameters
    ----------
    config
        The autoscaler's file; None if it runs elsewhere, so that its node types are not known.
    """

    def __init__(self, config: Path | None) -> None:
        self._config = config
        self._changed_s = -1.0
        self._growth: Growth | None = None
        self._seen: tuple[Any, ...] | None = None
        self._asked: tuple[Wanted, ...] | None = None
        self._again_s = 0.0
        self._failed_s = -math.inf
        self._is_v2 = is_autoscaler_v2()

    def growth(self) -> Growth | None:
        """Return what may be added, read again when the file has changed; None if that is not known."""
        if self._config is not None:
            with suppress(Exception):  # it is being written: what it said before holds
                changed_s = self._config.stat().st_mtime
                if changed_s != self._changed_s:
                    self._growth = read_growth(self._config)
                    self._changed_s = changed_s
        return self._growth

    def ask(self, ledger: Ledger, nodes: NodeTable, refusals: Mapping[str, Unplaced]) -> None:
        """Let the autoscaler know what is wanted now, if that is not what it was told last, or long ago.

        An error is printed, and it is asked again later: jobs that have their workers need no autoscaler.
        """
        now_s, growth = time.monotonic(), self.growth()
        seen, is_late = (ledger.version, nodes.ids, nodes.free.tobytes(), growth), now_s >= self._again_s
        if now_s < self._failed_s + AGAIN_S or (seen == self._seen and not (is_late and self._asked)):
            return
        try:
            wanted = self._known(bundles(ledger, nodes, growth, refusals), nodes)
            if wanted != self._asked or is_late:
                # Ray's autoscaler takes a type that does not state its memory to have none
                stated = growth is None or all(math.isfinite(one.resources.memory) for one in growth.types)
                request_resources(None, *request(wanted, stated))
                self._asked, self._again_s = wanted, now_s + AGAIN_S
            self._seen = seen
        except Exception as error:  # noqa: BLE001  (Ray may raise anything, and the queue must go on)
            traceback.print_exception(error)
            self._asked, self._seen, self._failed_s = None, None, now_s

    def _known(self, wanted: tuple[Wanted, ...], nodes: NodeTable) -> tuple[Wanted, ...]:
        """Leave out what is used on nodes that are to go, or that are none of the autoscaler's."""
        if not self._is_v2 or not any(one.node for one in wanted):
            return wanted
        ours = started_by_it(nodes) - leaving_nodes()
        return tuple(one for one in wanted if not one.node or one.node in ours)


class NoAutoscaling:
    """Of a cluster to which nobody adds nodes: there is nobody to ask."""

    def growth(self) -> Growth | None:
        """Return that nothing may be added."""
        return Growth()

    def ask(self, ledger: Ledger, nodes: NodeTable, refusals: Mapping[str, Unplaced]) -> None:
        """Do nothing."""


def of_cluster() -> Autoscaling | NoAutoscaling:
    """Return what speaks to the autoscaler of the connected cluster, if it has one; called on the head."""
    address = ray.get_runtime_context().gcs_address
    commands = [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]
    monitors = [one for one in commands if _is_monitor(one, address)]
    files = [word.removeprefix(CONFIG) for one in monitors for word in one if word.startswith(CONFIG)]
    if files:
        return Autoscaling(Path(files[0]).expanduser())
    is_elsewhere = not monitors and _is_heard_of(address)  # in another container, as on Kubernetes
    return Autoscaling(None) if is_elsewhere else NoAutoscaling()


def read_growth(config: Path) -> Growth:
    """Return what an autoscaler's file allows it to add, with Ray's own defaults for what it leaves out.

    A node whose type does not state its memory is taken to have enough.
    """
    found = FileConfigReader(str(config), skip_content_hash=True).get_cached_autoscaling_config()
    head, most = found.get_head_node_type(), found.get_max_num_nodes()
    types = [
        NodeType(
            name,
            _amounts(one.resources),
            one.max_worker_nodes,
            dict(one.labels),
            one.min_worker_nodes + (name == head),
        )
        for name, one in found.get_node_type_configs().items()
        if one.max_worker_nodes > (name == head)
    ]
    return Growth(tuple(types), sum(one.most for one in types) + 1 if most is None else most)


def request(wanted: Sequence[Wanted], has_memory: bool) -> tuple[list[dict[str, float]], list[dict[str, str]]]:
    """Return the bundles as Ray takes them, and the label selector of each."""
    given = [one if has_memory else one._replace(bundle=replace(one.bundle, memory=0.0)) for one in wanted]
    listed = [(ray_resources(one.bundle), _selector(one)) for one in given for _ in range(one.number)]
    return [bundle for bundle, _ in listed], [labels for _, labels in listed]


def started_by_it(nodes: NodeTable) -> set[str]:
    """Return the nodes that the autoscaler knows: it adds nothing if it is to keep room on one that it does not."""
    kinds = nodes.labels.get(NODE_TYPE, ("",) * len(nodes))
    return {node for node, kind in zip(nodes.ids, kinds, strict=True) if kind}


def _is_monitor(command: Sequence[str], address: str) -> bool:
    return f"--gcs-address={address}" in command and any(word.endswith("/monitor.py") for word in command)


def _is_heard_of(address: str) -> bool:
    """Say whether an autoscaler, of either version, has told the cluster's control store of itself."""
    try:
        is_heard = get_cluster_status(address).stats.autoscaler_version != "0"
        return is_heard or bool(_internal_kv_get(DEBUG_AUTOSCALING_STATUS))
    except Exception as error:  # noqa: BLE001  (Ray may raise anything, and the service must begin)
        traceback.print_exception(error)
        return False


def _amounts(resources: Mapping[str, float]) -> Resources:
    return Resources(resources.get("CPU", 0.0), resources.get("GPU", 0.0), resources.get("memory", math.inf))


def _selector(one: Wanted) -> dict[str, str]:
    if one.node:
        return {NODE_ID_LABEL: one.node}
    return {label: values[0] if len(values) == 1 else f"in({','.join(values)})" for label, values in one.selector}
