"""What a move buys on the OpenB trace, also where pods leave: ``python -m benchmarks.openb_moves``.

Pods arrive as in ``benchmarks.openb``. A pod that does not fit is put to ``relocate``, which may move one worker for
it; who is still refused does not come back. With ``--stay``, each pod leaves after so many arrivals on average
(exponentially distributed), so that the cluster stays in use and what is free comes in pieces.
"""

from __future__ import annotations

import argparse
import heapq
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.openb import place_of
from benchmarks.openb_trace import VARIANTS, read_nodes, read_pods
from policies.composed import demand_of
from policies.feasibility import Room
from policies.interface import (
    GPU,
    Claim,
    ClusterSnapshot,
    Demand,
    Grant,
    JobView,
    Memo,
    NodeTable,
    Place,
    PlaceView,
    Slot,
    Unplaced,
)
from policies.joint.relocate import Relocate
from scheduler.simulation.traces.openb import arrivals


@dataclass(frozen=True)
class Outcome:
    """What came of arrivals, in GPUs as parts of the cluster's.

    Attributes
    ----------
    allocated
        At the end; where pods leave, the mean over the second half of the arrivals.
    refused
        What was refused, as a part of all that was asked for (in the second half where pods leave).
    moves
        How many workers moved.
    """

    allocated: float
    refused: float
    moves: int


class Cluster:
    """A cluster on which pods of one worker arrive, move and leave."""

    def __init__(self, place: Place, nodes: NodeTable, seed: int, demand: Demand, moves: int) -> None:
        self._place, self._nodes, self._seed, self._demand = place, nodes, seed, demand
        self._policy, self._memos = Relocate(place=place, moves=moves), (Memo(), Memo())
        self._room, self._moves = Room(nodes), moves
        self._jobs: dict[str, JobView] = {}
        self._leases: dict[str, Grant] = {}
        self._hopeless: set[object] = set()
        self.moved = 0

    def arrive(self, job: JobView) -> bool:
        """Place ``job``, and say whether it was."""
        view = PlaceView(self._room.view(), self._seed, self._demand)
        answer = self._place.place(Claim(job, 1, 1), view, self._memos[0])
        if not isinstance(answer, Unplaced):
            self._jobs[job.id] = job
            self._hold(Grant(job.id, 0, self._nodes.ids[answer[0].node], answer[0].devices))
            return True
        kind = (job.bundle, tuple(sorted(job.selector.items())))
        if not self._moves or kind in self._hopeless:
            return False
        if self._arrive_by_move(job):
            return True
        self._hopeless.add(kind)  # until something changes
        return False

    def _arrive_by_move(self, job: JobView) -> bool:
        jobs, leases = (*self._jobs.values(), job), tuple(self._leases.values())
        snapshot = ClusterSnapshot(0, 0.0, self._seed, self._room.table(), jobs, leases, demand=self._demand)
        plan = self._policy.plan(snapshot, self._memos[1])
        for lease in plan.revokes:
            self._drop(lease)
            self.moved += 1
        if plan.grants:
            self._jobs[job.id] = job
        for grant in plan.grants:
            self._hold(grant)
        return bool(plan.grants)

    def leave(self, job: str) -> None:
        """Let a pod go that was placed."""
        self._drop(self._leases[job])
        del self._jobs[job]

    def _hold(self, lease: Grant) -> None:
        self._room.hold(self._jobs[lease.job].bundle, *self._slot(lease))
        self._leases[lease.job] = lease
        self._hopeless.clear()

    def _drop(self, lease: Grant) -> None:
        self._room.release(self._jobs[lease.job].bundle, *self._slot(lease))
        del self._leases[lease.job]
        self._hopeless.clear()

    def _slot(self, lease: Grant) -> Slot:
        row = self._room.row(lease.node)
        if row is None:
            raise ValueError(f"lease on a node that is not in the trace: {lease.node}")
        return Slot(row, lease.devices)


def run(
    place: Place, nodes: NodeTable, pods: Sequence[JobView], seed: int, demand: Demand, moves: int, stay: float | None
) -> Outcome:
    """Let ``pods`` arrive one by one and, with ``stay``, leave after so many arrivals on average."""
    cluster = Cluster(place, nodes, seed, demand, moves)
    stays = np.random.default_rng(seed).exponential(stay or 0.0, len(pods))
    leaving: list[tuple[float, str]] = []
    gpus = {pod.id: pod.bundle.gpu for pod in pods}
    asked, got, held = np.zeros(len(pods)), np.zeros(len(pods)), np.zeros(len(pods))
    in_use = 0.0
    for now, pod in enumerate(pods):
        while leaving and leaving[0][0] <= now:
            gone = heapq.heappop(leaving)[1]
            cluster.leave(gone)
            in_use -= gpus[gone]
        asked[now] = pod.bundle.gpu
        if cluster.arrive(pod):
            got[now] = pod.bundle.gpu
            in_use += pod.bundle.gpu
            if stay is not None:
                heapq.heappush(leaving, (now + stays[now], pod.id))
        held[now] = in_use
    part = slice(len(pods) // 2, None) if stay is not None else slice(None)
    allocated = held[part].mean() if stay is not None else held[-1]
    refused = 1 - got[part].sum() / asked[part].sum()
    return Outcome(float(allocated / nodes.capacity[:, GPU].sum()), float(refused), cluster.moved)


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--policies", default="fgd,opportunity-cost", help="placements, by comma (default: two)")
    parser.add_argument("--seeds", type=int, default=1, help="how many orders of arrival (default 1)")
    parser.add_argument("--variant", choices=VARIANTS, help="pods drawn anew from the trace, of other shares")
    parser.add_argument("--stay", type=float, help="after how many arrivals a pod leaves on average (default: never)")
    parser.add_argument("--load", type=float, default=1.3, help="GPUs asked for, in all, over those there are")
    return parser.parse_args(words)


def main() -> None:
    """Measure, and print the table."""
    options = parsed()
    nodes, pods = read_nodes(), read_pods(options.variant)
    demand, asked = demand_of(pods), options.load * nodes.capacity[:, GPU].sum()
    print("| policy | moves allowed | allocated, % | refused, % of GPUs asked for | workers moved |")
    print("|---|---|---|---|---|")
    for policy in options.policies.split(","):
        for moves in (0, 1):
            found = []
            for seed in range(options.seeds):
                jobs = arrivals(pods, asked, seed)
                found.append(run(place_of(policy), nodes, jobs, seed, demand, moves, options.stay))
                print(f"{policy}, {moves} moves: {seed + 1} of {options.seeds} seeds", file=sys.stderr)
            allocated, refused = ([100 * getattr(one, name) for one in found] for name in ("allocated", "refused"))
            moved = statistics.mean(one.moves for one in found)
            print(
                f"| {policy} | {moves} | {statistics.mean(allocated):.2f} | {statistics.mean(refused):.2f} "
                f"| {moved:.0f} |"
            )


if __name__ == "__main__":
    main()
