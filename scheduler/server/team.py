"""The workers of a job as its server knows them: who is here, what they hold, who is gone and why."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import ray

from policies.interface import WorkerTable, frozen
from scheduler.errors import UserError
from scheduler.run import Loss, RunSpec, Seat, WorkerReport
from scheduler.server.calls import DEATHS, Member, how_it_died
from workers.environment import environment
from workers.sgd_worker import Beating

NUMBER_BYTES = 8
LONGEST_PROBE_S = 60.0
"""A worker that has not said by then how fast it is takes part all the same."""


class Team:
    """Everyone who has worked for a job, and those who do now.

    Attributes
    ----------
    everyone
        By actor, in the order in which they came.
    here
        Those who are seated; a worker's place here is its row in the table, also once it is gone.
    losses
        Workers that died, or were given up.
    num_coming
        How many of those who are here have not read their first shards.
    """

    def __init__(self, spec: RunSpec, num_rounds: Callable[[], int]) -> None:
        self._spec, self._num_rounds = spec, num_rounds
        self.everyone: dict[str, Member] = {}
        self.here: list[Member] = []
        self.losses: list[Loss] = []
        self.num_coming = 0

    @property
    def lost(self) -> set[str]:
        """The actors that are gone."""
        return {loss.id for loss in self.losses}

    def seat(self, seats: Sequence[Seat]) -> None:
        """Let those of ``seats`` who are not gone be here."""
        lost = self.lost
        there = [seat for seat in seats if seat.id not in lost]
        self.here = [self.everyone.setdefault(seat.id, Member(seat)) for seat in there]

    def probe(self) -> None:
        """Ask those whose speed is not known for it, if the policy wants to know; whoever dies of it is gone."""
        spec = self._spec
        if not spec.balance.wants_speeds:
            return
        passes = spec.stopping.max_rounds * spec.problem.options.local_epochs
        work = float(spec.shards.work.sum()) * passes / max(len(self.here), 1)
        asked = [member for member in self.here if np.isnan(member.s_per_work)]
        probes = [member.seat.worker.probe.remote(spec.problem, work) for member in asked]
        deadline_s = time.monotonic() + LONGEST_PROBE_S
        for member, probe in zip(asked, probes, strict=True):
            try:
                member.s_per_work = ray.get(probe, timeout=max(deadline_s - time.monotonic(), 0.0))
            except ray.exceptions.GetTimeoutError:
                continue
            except DEATHS as error:
                self.lose(member, error)
        lost = self.lost
        self.here = [member for member in self.here if member.seat.id not in lost]

    def lose(self, member: Member, reason: Exception | str) -> None:
        """Note that a worker is gone."""
        if member.seat.id in self.lost:
            return
        told, of_memory = (reason, False) if isinstance(reason, str) else how_it_died(reason)
        self.losses.append(Loss(member.seat.id, member.seat.number, self._num_rounds() + 1, told, of_memory))
        if member.taken is not None and member in self.here:
            member.taken = None
            self.num_coming -= 1

    def take(self, place: int, beats: Beating) -> None:
        """Let a worker that is new read its shards, and give signs of life from then on."""
        member, spec = self.here[place], self._spec
        member.queue = member.shards if member.seat.call_bytes == math.inf else member.shards[:0]
        member.taken = member.seat.worker.take.remote(spec.data, member.queue, spec.run, beats)

    def await_new(self) -> None:
        """Count who has not read its first shards."""
        self.num_coming = sum(member.taken is not None for member in self.here)

    def welcome(self) -> tuple[dict[int, int], list[int]]:
        """Take word of those who have read their first shards by now: place -> bytes read; and who died of it.

        Raises
        ------
        UserError
            If they compute with other kernels than those who are here.
        """
        coming = {member.taken: place for place, member in enumerate(self.here) if member.taken is not None}
        read, died = dict[int, int](), list[int]()
        for reference in ray.wait(list(coming), num_returns=len(coming), timeout=0)[0] if coming else ():
            member = self.here[coming[reference]]
            try:
                num_bytes, member.pid, member.environment = ray.get(reference)
            except DEATHS as error:
                self.lose(member, error)
                died.append(coming[reference])
                continue
            member.taken = None
            self.num_coming -= 1
            read[coming[reference]] = num_bytes
            self._refuse_mixed_kernels()
        return read, died

    def _refuse_mixed_kernels(self) -> None:
        """Refuse workers whose last bits may differ: who computed what would change the model."""
        problem, redivides = self._spec.problem, self._spec.balance.redivides
        places = {
            f"node {member.seat.node}": member.environment
            for member in self.everyone.values()
            if member.environment is not None and (len(member.shards) or redivides)
        }
        if problem.architecture.kind != "torch":  # the server does not compute with modules
            places["the parameter server"] = environment()
        kinds = {here.computes_like(problem.architecture.kind): (name, here) for name, here in places.items()}
        if len(kinds) > 1 and problem.kernels.name != "strict":
            listed = "\n".join(
                f"  - {name}: {here.processor} {here.gpu}, NumPy {here.numpy}, BLAS {here.blas}"
                for name, here in kinds.values()
            )
            raise UserError(
                f"job {self._spec.job}: its workers compute with different kernels, so that the last bits of the model "
                f"would depend on the assignment:\n{listed}\n"
                "set 'training.reproducible: strict', or use nodes of one kind"
            )

    def table(self) -> WorkerTable:
        """Return those who are here as policies see them."""
        spec, here = self._spec, self.here
        message_bytes = 2 * NUMBER_BYTES * spec.problem.num_parameters  # there and back
        return WorkerTable(
            ids=tuple(member.seat.name for member in here),
            nodes=tuple(member.seat.node for member in here),
            bundle=frozen(np.tile(spec.bundle.vector(), (len(here), 1))),
            capacity=frozen([member.seat.capacity for member in here]),
            s_per_work=frozen([member.s_per_work for member in here]),
            s_fixed=frozen([message_bytes * member.seat.s_per_byte for member in here]),
            s_per_byte=frozen([member.seat.s_per_byte for member in here]),
        )

    def speeds(self) -> dict[int, float]:
        """Return the rows per second of those who are here, by number."""
        return {member.seat.number: member.rows_per_s for member in self.here}

    def reports(self, everyone: bool) -> tuple[WorkerReport, ...]:
        """Return what those who are here, or everyone, holds and has done."""
        return tuple(map(self._report, self.everyone.values() if everyone else list(self.here)))

    def _report(self, member: Member) -> WorkerReport:
        queue = member.shards if member in self.here else member.shards[:0]
        work, size = self._spec.shards.work[queue], self._spec.shards.bytes[queue]
        return WorkerReport(
            node=member.seat.node,
            pid=member.pid,
            shards=tuple(queue.tolist()),
            rows=int(work.sum()),
            bytes=int(size.sum()),
            busy_s=member.busy_s,
            probed_rows_per_s=None if np.isnan(member.s_per_work) else float(1.0 / member.s_per_work),
            environment=member.environment,
        )
