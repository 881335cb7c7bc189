"""Starting and ending a lab."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from scheduler import authentication
from scheduler.errors import RunFailedError, UserError
from scheduler.lab import members, processes, raylets, state
from scheduler.lab.isolation import SHARED, Isolation, cannot_isolate, isolation_of
from scheduler.lab.members import Member
from scheduler.lab.plan import LabNode, LabPlan
from scheduler.lab.state import LabState, NodeState

READY_WITHIN_S = 180.0
CALM_WITHIN_S = 20.0
CALM_PROCESSORS = 0.15
"""A node is left alone until it uses no more than that: its agents start up at full speed."""

LOOKS_EVERY_S = 0.3

Report = Callable[[str], None]


def is_living(lab: LabState) -> bool:
    """Say whether a lab is being made, or can be used."""
    if not lab.is_up or lab.is_bound:
        return lab.owner.is_alive()
    return lab.head.name in processes.of_lab(lab.id)


def build(
    name: str, plan: LabPlan, report: Report, *, isolated: bool | None = None, is_bound: bool, dashboard: bool = False
) -> LabState:
    """Make a lab, and return when all its nodes are there and held; what a dead one of that name has left is removed.

    Parameters
    ----------
    isolated
        Whether nodes get namespaces and control groups; by default they do where that can be.
    is_bound
        Whether the lab counts as dead when this process has ended.

    Raises
    ------
    UserError
        If there is a living lab of that name.
    RunFailedError
        If a node does not come up; nothing is left then.
    """
    why_not = None if isolated is False else cannot_isolate()
    if isolated and why_not:
        raise UserError(f"nodes cannot be given networks and processors of their own: {why_not}")
    with state.locked():
        previous = state.load(name)
        if previous is not None and is_living(previous):
            raise UserError(
                f"the lab '{name}' is up already, at {previous.address}: "
                f"end it with 'apportion lab down --name {name}', or give this one another '--name'"
            )
        _sweep(name, report)
        lab = LabState.begin(name, plan, why_not is None if isolated is None else isolated, is_bound)
        if not lab.isolated:
            lab = replace(lab, notes=(f"{why_not}: {SHARED}" if why_not else SHARED,))
        state.save(lab)
    try:
        return _built(lab, report, dashboard)
    except BaseException:
        report("removing what was made")
        remove(lab)
        raise


def remove(lab: LabState) -> None:
    """End a lab's processes, remove what was made for it, and forget it, but not another lab of its name."""
    found = state.load(lab.name)
    mine = found if found is not None and found.id == lab.id else lab
    isolation_of(mine).remove(mine)
    if found is None or found.id == lab.id:
        state.forget(lab.name)


def start_again(lab: LabState, one: NodeState) -> None:
    """Start a node whose raylet has ended, or which Ray counts as dead, and hold it when it has settled."""
    isolation = isolation_of(lab)
    former = members.members(lab.address).get(one.node.name)
    processes.end(lambda: processes.of_lab(lab.id).get(one.node.name, []))
    isolation.hold(lab, replace(one, factor=max(1.0, lab.head.processors / one.node.processors), mbit_per_s=0.0))
    _bring_up(lab, isolation, [one.node], silent, former)
    isolation.hold(lab, one)


def silent(_: str) -> None:
    """Report nothing."""


def _sweep(name: str, report: Report) -> None:
    """Remove what a dead lab of this name has left, and labs whose owners were killed before they could do it."""
    for lab in (state.load(known) if known == name else state.readable(known) for known in state.names()):
        if lab is not None and (lab.name == name or lab.is_bound) and not is_living(lab):
            report(f"removing what an earlier lab '{lab.name}' has left")
            remove(lab)


def _built(lab: LabState, report: Report, dashboard: bool) -> LabState:
    report("making networks" if lab.isolated else "preparing")
    isolation, folder = isolation_of(lab), state.folder_of(lab.name)
    lab = isolation.make(lab)
    token = state.write_token(lab.name)
    ports = _free_ports(lab.head.address)
    lab = state.save(replace(lab, port=ports[0]))
    environment = raylets.client_environment(lab.address, token)
    report("starting the head")
    head = raylets.head_command(lab.head, ports, folder / "0", dashboard)
    started = _start(lab, isolation, lab.head, head)
    _await(lambda: authentication.reaches(lab.head.address, lab.port) is None, {lab.head.name: started}, lab)
    with authentication.as_client(environment):
        _bring_up(lab, isolation, [one.node for one in lab.nodes], report)
    for one in lab.nodes:
        isolation.hold(lab, one)
    return state.save(replace(lab, is_up=True))


def _bring_up(
    lab: LabState, isolation: Isolation, nodes: Sequence[LabNode], report: Report, former: Member | None = None
) -> None:
    """Start nodes at the same time, and wait until Ray has them, beside a ``former`` one, and they are calm."""
    folder = state.folder_of(lab.name)
    started = {
        node.name: _start(lab, isolation, node, raylets.node_command(node, lab.address, folder / str(node.number)))
        for node in nodes
    }

    def all_are_there() -> bool:
        found = members.members(lab.address)
        there = {name for name, member in found.items() if member.is_alive and member != former}
        report(f"starting nodes: {len(there & started.keys())} of {len(started)}")
        return started.keys() <= there and lab.head.name in there

    _await(all_are_there, started, lab)
    report("waiting until they have settled")
    until_s = time.monotonic() + CALM_WITHIN_S
    busy = list(nodes)
    while busy and time.monotonic() < until_s:
        before = [isolation.usage(lab, node).cpu_s for node in busy]
        time.sleep(LOOKS_EVERY_S)
        used_s = [isolation.usage(lab, node).cpu_s - was_s for node, was_s in zip(busy, before, strict=True)]
        busy = [node for node, one_s in zip(busy, used_s, strict=True) if one_s > CALM_PROCESSORS * LOOKS_EVERY_S]


def _start(lab: LabState, isolation: Isolation, node: LabNode, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a node's processes in a session of their own; what they print goes to a file."""
    folder = state.folder_of(lab.name)
    marks = processes.mark(lab.id, node.name)
    environment = raylets.node_environment(os.environ, folder / state.TOKEN_FILE, marks)
    return processes.start_detached(isolation.wrapped(lab, node, command), _log_file(folder, node), environment)


def _await(ready: Callable[[], bool], started: dict[str, subprocess.Popen[bytes]], lab: LabState) -> None:
    """Wait until something is ready.

    Raises
    ------
    RunFailedError
        If a process that was started for it ends, or it takes three minutes.
    """
    until_s = time.monotonic() + READY_WITHIN_S
    while not ready():
        for node in lab.all_nodes:
            if node.name in started and started[node.name].poll() is not None:
                raise RunFailedError(f"node '{node.name}' did not start; its last words:\n{_last_words(lab, node)}")
        if time.monotonic() > until_s:
            raise RunFailedError(f"after {READY_WITHIN_S:g} s there is no answer yet from {' or '.join(started)}")
        time.sleep(LOOKS_EVERY_S)


def _log_file(folder: Path, node: LabNode) -> Path:
    return folder / f"{node.name}.log"


def _last_words(lab: LabState, node: LabNode, num_lines: int = 15) -> str:
    text = _log_file(state.folder_of(lab.name), node).read_text(encoding="utf-8", errors="replace")
    return "\n".join(f"  {line}" for line in text.splitlines()[-num_lines:])


def _free_ports(address: str) -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind((address, 0))
        other.bind((address, 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])
