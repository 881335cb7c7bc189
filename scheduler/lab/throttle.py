"""A process that holds the workers of a lab's nodes to their processors by stopping and continuing them.

Raylets and their agents go on, so that the cluster takes nobody for dead. A node that is cut off is stopped whole.
This is for machines where the kernel cannot be asked to do it: ``python -m scheduler.lab.throttle NAME ID``.
"""

from __future__ import annotations

import signal
import sys
import time
from contextlib import suppress

import psutil

from scheduler.lab import processes, state
from scheduler.lab.budget import Budget
from scheduler.lab.state import LabState, NodeState

PERIOD_S = 0.03
LOOKS_EVERY_S = 0.3
"""How often new workers are looked for; this costs more than a period's work."""


class NodeThrottle:
    """One node: which of its processes are held, what they have used, and whether they are stopped."""

    def __init__(self) -> None:
        self._budget = Budget()
        self._used_s: dict[psutil.Process, float] = {}
        self._stopped: set[psutil.Process] = set()

    def look(self, one: NodeState, found: list[psutil.Process]) -> None:
        """Take note of what belongs to the node now."""
        raylets = [process for process in found if processes.is_raylet(process)]
        held = found if one.is_cut else [worker for raylet in raylets for worker in processes.workers_of(raylet)]
        self._used_s = {process: self._used_s.get(process, processes.cpu_s(process)) for process in held}
        self._signal(self._stopped - self._used_s.keys(), stop=False)

    def pace(self, one: NodeState, elapsed_s: float) -> None:
        """Stop or continue the node's processes for the next period."""
        now_s = {process: processes.cpu_s(process) for process in self._used_s}
        used_s = sum(max(0.0, now_s[process] - before_s) for process, before_s in self._used_s.items())
        self._used_s = now_s
        self._budget = self._budget.after(elapsed_s, one.processors, used_s)
        stop = one.is_cut or not self._budget.may_run
        self._signal(now_s.keys() - self._stopped if stop else set(self._stopped), stop)

    def release(self) -> None:
        """Continue all."""
        self._signal(set(self._stopped), stop=False)

    def _signal(self, concerned: set[psutil.Process], stop: bool) -> None:
        for process in concerned:
            with suppress(psutil.Error):
                process.suspend() if stop else process.resume()
        self._stopped = self._stopped | concerned if stop else self._stopped - concerned


def hold(name: str, lab_id: str) -> None:
    """Hold the nodes of a lab, from when it is up until it is gone."""
    nodes: dict[str, NodeThrottle] = {}
    looked_s, paced_s = 0.0, time.monotonic()
    lab: LabState | None = None
    try:
        while True:
            time.sleep(PERIOD_S)
            now_s = time.monotonic()
            lab = state.load(name)
            if lab is None or lab.id != lab_id:
                return
            if not lab.is_up:
                continue
            if now_s - looked_s > LOOKS_EVERY_S:
                looked_s, found = now_s, processes.of_lab(lab_id)
                for one in lab.nodes:
                    nodes.setdefault(one.node.name, NodeThrottle()).look(one, found.get(one.node.name, []))
            for one in lab.nodes:
                nodes[one.node.name].pace(one, now_s - paced_s)
            paced_s = now_s
    finally:
        for node in nodes.values():
            node.release()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    hold(*sys.argv[1:])
