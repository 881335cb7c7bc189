"""A lab that is up, for tests, benchmarks and the command line."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from scheduler import authentication
from scheduler.cluster_file import read_cluster_file
from scheduler.errors import RunFailedError, UserError
from scheduler.lab import building, processes, raylets, state
from scheduler.lab.isolation import Usage, isolation_of
from scheduler.lab.members import Member, members
from scheduler.lab.plan import LabPlan, plan_lab, usable_processors
from scheduler.lab.state import LabState, NodeState

MOST_FACTOR = 100.0


class Lab:
    """A lab by its name; every call looks at it anew, since other programs may change it."""

    def __init__(self, name: str = state.DEFAULT_NAME) -> None:
        self.name = name

    @property
    def state(self) -> LabState:
        """Return what is known of it; raises ``UserError`` if there is no such lab."""
        return state.found(self.name)

    @property
    def ready(self) -> LabState:
        """Return what is known of it; raises ``UserError`` if there is no such lab, or it is not up yet."""
        return _ready(self.state)

    @property
    def address(self) -> str:
        """Return ``HOST:PORT`` of its head."""
        return self.ready.address

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which a program becomes a client of it."""
        return raylets.client_environment(self.address, state.folder_of(self.name) / state.TOKEN_FILE)

    def slow(self, node: str, factor: float, mbit_per_s: float | None = None) -> None:
        """Hold a node to ``factor`` of its processors from now on, and to a bandwidth (by default its own).

        Raises
        ------
        UserError
            If there is no such node, or a value is out of bounds.
        """
        if not 0 < factor <= MOST_FACTOR:
            raise UserError(f"the factor must be above 0 and at most {MOST_FACTOR:g}, got {factor:g}")
        if mbit_per_s is not None and not 0.001 <= mbit_per_s <= 1e6:
            raise UserError(f"the bandwidth must be from 0.001 to 1e6 Mbit/s, got {mbit_per_s:g}")
        lab, one = self._changed(node, factor=factor, mbit_per_s=mbit_per_s)
        isolation_of(lab).hold(lab, one)

    def cut(self, node: str) -> None:
        """Take a node's network away, or where it has none of its own, stop all its processes."""
        lab, one = self._changed(node, is_cut=True)
        isolation_of(lab).link(lab, one)

    def mend(self, node: str) -> bool:
        """Give a node its network back; return whether its raylet had to be started again."""
        lab, one = self._changed(node, is_cut=False)
        isolation_of(lab).link(lab, one)
        with authentication.as_client(self.environment):
            member = members(lab.address).get(one.node.name)
            is_there = any(map(processes.is_raylet, processes.of_lab(lab.id).get(one.node.name, [])))
            if is_there and member is not None and member.is_alive:
                return False
            building.start_again(lab, one)
            return True

    def usage(self, node: str) -> Usage:
        """Return what a node has used since it was started."""
        lab = self.ready
        return isolation_of(lab).usage(lab, lab.head if node == lab.head.name else lab.node(node).node)

    def bytes_moved(self, node: str) -> tuple[int, int]:
        """Return the bytes that came to a node, and that left it.

        Raises
        ------
        RunFailedError
            If the nodes of this lab share a network, so that nobody counts them.
        """
        usage = self.usage(node)
        if usage.bytes_in is None or usage.bytes_out is None:
            raise RunFailedError(f"the bytes of node '{node}' are not counted: it has no network of its own")
        return usage.bytes_in, usage.bytes_out

    def members(self) -> dict[str, Member]:
        """Return Ray's view of the nodes, by their names here."""
        with authentication.as_client(self.environment):
            return members(self.address)

    def node_ids(self) -> dict[str, str]:
        """Return what Ray calls the nodes, by their names here."""
        return {name: member.node_id for name, member in self.members().items()}

    def down(self) -> None:
        """End it, and leave nothing."""
        building.remove(self.state)

    def _changed(
        self, name: str, factor: float | None = None, mbit_per_s: float | None = None, is_cut: bool | None = None
    ) -> tuple[LabState, NodeState]:
        """Write down what shall hold for a node."""

        def changed(lab: LabState) -> LabState:
            one = _ready(lab).node(name)
            if factor is not None:
                bandwidth = one.node.mbit_per_s if mbit_per_s is None else mbit_per_s
                one = replace(one, factor=factor, mbit_per_s=bandwidth)
            return lab.with_node(one if is_cut is None else replace(one, is_cut=is_cut))

        lab = state.change(self.name, changed)
        return lab, lab.node(name)


def plan_of(path: Path, counts: dict[str, int] | None = None, processors: float | None = None) -> LabPlan:
    """Return the plan for a cluster file on this machine; by default nodes get what ``usable_processors`` says.

    Raises
    ------
    UserError
        If the file or the counts are wrong.
    """
    usable = usable_processors(psutil.cpu_count() or 1) if processors is None else processors
    return plan_lab(read_cluster_file(path), counts or {}, usable)


@contextmanager
def lab_up(
    plan: Path | LabPlan,
    *,
    name: str | None = None,
    isolated: bool | None = None,
    dashboard: bool = False,
    report: building.Report = building.silent,
) -> Iterator[Lab]:
    """Make a lab for the time of a ``with`` block; meanwhile this process, and what it starts, are its clients.

    Parameters
    ----------
    plan
        Or a cluster file.
    name
        By default one that nobody else has.
    isolated
        Whether nodes get namespaces and control groups; by default they do where that can be.
    dashboard
        Whether the head has Ray's dashboard, which ``apportion submit`` needs.
    report
        Is told what is being done.
    """
    chosen = name or f"own-{secrets.token_hex(4)}"
    planned = plan_of(plan) if isinstance(plan, Path) else plan
    building.build(chosen, planned, report, isolated=isolated, is_bound=True, dashboard=dashboard)
    lab = Lab(chosen)
    try:
        with authentication.as_client(lab.environment):
            yield lab
    finally:
        if state.load(chosen) is not None:
            lab.down()


def _ready(lab: LabState) -> LabState:
    if not lab.is_up:
        ended = f"'apportion lab down --name {lab.name}'"
        raise UserError(f"the lab '{lab.name}' is not up yet; if nobody is starting it any more, end it with {ended}")
    return lab
