"""A job that learns in rounds: calls travel, compute and are summed, dealt out by the job's own balance. Pure."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from math import inf

import numpy as np

from policies.interface import Balance, Call, Floats, Ints, Resources, WorkerTable, frozen
from scheduler.results.outcome import Activity, Interval, RoundOutcome
from scheduler.rounds.synchronous import Rounds
from scheduler.run import INLINE_BYTES
from scheduler.simulation.counting_store import CountingStore
from scheduler.simulation.running import Running, Seat
from scheduler.simulation.workload import SimulatedJob
from scheduler.simulation.world import Costs
from workers.update import CallSums
from workers.worker_state import CallResult

_SUMS = CallSums(None, np.zeros(0, dtype=np.int16))
"""What an answer carries here: nothing, since the result does not depend on who computed it."""


@dataclass
class _Round:
    """What is counted in a round."""

    began_s: float
    busy_s: Floats
    idle_since_s: Floats
    bytes_moved: float = 0.0
    shards_moved: int = 0
    told: set[str] = field(default_factory=set)


@dataclass(order=True)
class _Due:
    """A call that reaches the server, or whose answer has been taken in."""

    at_s: float
    number: int
    call: Call = field(compare=False)
    version: int = field(compare=False)
    busy_s: float = field(compare=False)
    taken_in: bool = field(compare=False)


class LearningRun(Running):
    """Rounds of calls, dealt out by ``scheduler.rounds.Rounds``, the very state machine of a live run.

    A call brings what its worker has not got (the message, and shards that are new to it), computes, and sends its
    update; the server takes updates in one after the other. What a worker has not sent when it goes is computed by the
    others at once; who comes begins with the next round, or at once where nobody is left.
    """

    def __init__(self, job: SimulatedJob, balance: Balance, costs: Costs) -> None:
        super().__init__()
        if job.learning is None:
            raise ValueError(f"job {job.view.id} does not learn")
        self._job, self._learning, self._balance, self._costs = job, job.learning, balance, costs
        self._store = CountingStore(job.learning)
        self._seats: tuple[Seat, ...] = ()  # by the rows of the rounds
        self._gone: set[int] = set()  # rows
        self._wanted: tuple[Seat, ...] = ()
        self._rounds: Rounds | None = None
        self._due: list[_Due] = []
        self._numbers = count()
        self._server_free_s = 0.0
        self._free_s: dict[int, float] = {}
        self._cached: dict[int, set[int]] = {}
        self._round = _Round(0.0, np.zeros(0), np.zeros(0))
        self._number = 0
        self._ends_s = inf
        self._ended = False
        self._noted: list[tuple[Seat, Activity, float, float]] = []

    def done_by(self, now_s: float) -> float:
        """Return the work of the rounds that were committed."""
        del now_s
        return self._store.num_committed * self._learning.work

    @property
    def is_done(self) -> bool:
        """Whether all rounds were committed, and the server has finished the last."""
        return self._ended

    def seat(self, now_s: float, seats: tuple[Seat, ...]) -> None:
        """Give what those who go have not sent to the others; who comes waits for the next round, if somebody stays."""
        if self._store.training.outcome is not None:
            self._due = []
            return
        if self._rounds is not None:
            self._write_down(now_s)
        wanted, known = set(map(id, seats)), set(map(id, self._wanted))
        self._wanted = seats
        self._noted = [one for one in self._noted if id(one[0]) in wanted]
        for seat in seats:
            if id(seat) not in known and seat.ready_s > now_s:
                self._note(seat, Activity.STARTING, now_s, seat.ready_s)
        self._lose({row for row, seat in enumerate(self._seats) if id(seat) not in wanted} - self._gone, now_s)
        if seats and len(self._gone) == len(self._seats):
            self._sit(now_s, now_s, self._round)

    def _lose(self, rows: set[int], now_s: float) -> None:
        """Let workers go, and the others compute what they leave behind."""
        self._gone |= rows
        if len(self._gone) == len(self._seats) or self._rounds is None:
            self._due = []
            return
        self._due = [due for due in self._due if due.call.worker not in rows or due.taken_in]
        heapq.heapify(self._due)
        calls = [call for row in sorted(rows) for call in self._rounds.lost(row, now_s).calls]
        self._send(tuple(call for call in calls if call.worker not in self._gone), now_s)

    def _sit(self, now_s: float, from_s: float, given_up: _Round | None = None) -> None:
        """Let those work who are wanted by now, from a moment on."""
        seats, view = self._wanted, self._job.view
        free_s = {id(seat): self._free_s[row] for row, seat in enumerate(self._seats)}
        stayed = {id(seat) for row, seat in enumerate(self._seats) if row not in self._gone}
        self._cached = {seat.worker: self._cached[seat.worker] if id(seat) in stayed else set() for seat in seats}
        self._free_s = {row: max(seat.ready_s, free_s.get(id(seat), 0.0)) for row, seat in enumerate(seats)}
        self._due, self._seats, self._gone = [], seats, set()
        self._rounds = Rounds(
            view.id,
            self._job.balance_seed,
            self._store,
            self._balance,
            self._table(view.bundle),
            self._learning.shards,
            self._rounds,
        )
        self._begin_round(now_s, given_up)
        for seat in seats:
            if id(seat) not in stayed:
                self._note(seat, Activity.WAITING, seat.ready_s, now_s)
        all_ready_s = max(from_s, *(seat.ready_s for seat in seats))  # only then all speeds are known
        begins_s = all_ready_s if self._balance.wants_speeds else from_s
        self._send(self._rounds.begin(begins_s).calls, begins_s)

    def _table(self, bundle: Resources) -> WorkerTable:
        """Return the workers as the balance sees them, with the speeds of now."""
        seats, learning = self._seats, self._learning
        at_s = [seat.ready_s for seat in seats]
        speeds = [seat.speed.at(now_s) for seat, now_s in zip(seats, at_s, strict=True)]
        fixed_s, message_bytes = (
            learning.s_per_call + self._costs.call_s,
            learning.message_bytes + learning.update_bytes,
        )
        num_there: dict[str, int] = {}
        for seat in seats:
            num_there[seat.machine.id] = num_there.get(seat.machine.id, 0) + 1
        return WorkerTable(
            ids=tuple(f"worker-{seat.worker}" for seat in seats),
            nodes=tuple(seat.machine.id for seat in seats),
            bundle=frozen(np.tile(bundle.vector(), (len(seats), 1))),
            capacity=frozen([seat.machine.capacity.vector() / num_there[seat.machine.id] for seat in seats]),
            s_per_work=frozen([learning.s_per_work / speed for speed in speeds]),
            s_fixed=frozen([fixed_s + message_bytes * seat.machine.s_per_byte for seat in seats]),
            s_per_byte=frozen([seat.machine.s_per_byte for seat in seats]),
        )

    def _begin_round(self, now_s: float, given_up: _Round | None = None) -> None:
        """Count anew; what was moved for an attempt that was given up is not forgotten."""
        idle_since_s = np.array([max(free_s, now_s) for free_s in self._free_s.values()])
        self._round = _Round(now_s, np.zeros(len(self._seats)), idle_since_s)
        if given_up is not None:
            self._round.bytes_moved, self._round.shards_moved = given_up.bytes_moved, given_up.shards_moved

    def _send(self, calls: tuple[Call, ...], now_s: float) -> None:
        """Let each call travel and compute; it then reaches the server."""
        for call in calls:
            seat, learning = self._seats[call.worker], self._learning
            began_s = max(now_s, self._free_s[call.worker])
            new_bytes, num_new = self._missing(seat, call.shards)
            message_bytes = self._message_bytes(seat)
            brought_s = self._carried(seat, began_s + self._costs.call_s, message_bytes + new_bytes)
            work = float(learning.shards.work[call.shards].sum())
            computed_s = seat.speed.until_done_s(brought_s, learning.s_per_call + work * learning.s_per_work)
            back_s = self._carried(seat, computed_s, learning.update_bytes)
            round_ = self._round
            round_.bytes_moved += new_bytes + message_bytes + learning.update_bytes
            round_.shards_moved += num_new
            self._waited(call.worker, began_s)
            self._note(seat, Activity.MOVING, began_s, brought_s)
            self._note(seat, Activity.BUSY, brought_s, computed_s)
            round_.idle_since_s[call.worker] = self._free_s[call.worker] = computed_s
            due = _Due(
                back_s, next(self._numbers), call, self._store.message.version, computed_s - brought_s, taken_in=False
            )
            heapq.heappush(self._due, due)

    def _message_bytes(self, seat: Seat) -> float:
        """Return what of the round's message must be brought: a large one lies on the node after the first call."""
        size, there = self._learning.message_bytes, self._round.told
        if seat.machine.id in there:
            return 0.0
        if size >= INLINE_BYTES:
            there.add(seat.machine.id)
        return size

    def _fetch(self, calls: tuple[Call, ...], now_s: float) -> None:
        """Let idle workers read shards ahead."""
        for call in calls:
            seat = self._seats[call.worker]
            new_bytes, num_new = self._missing(seat, call.shards)
            self._free_s[call.worker] = self._carried(seat, now_s, new_bytes)
            self._round.bytes_moved += new_bytes
            self._round.shards_moved += num_new
            self._waited(call.worker, now_s)
            self._note(seat, Activity.MOVING, now_s, self._free_s[call.worker])
            self._round.idle_since_s[call.worker] = self._free_s[call.worker]

    def _missing(self, seat: Seat, shards: Ints) -> tuple[float, int]:
        """Return the bytes and the number of those shards that the worker must read first, and keep them there."""
        here = self._cached[seat.worker]
        new = [shard for shard in shards.tolist() if shard not in here]
        here.update(new)
        return float(self._learning.shards.bytes[new].sum()), len(new)

    @staticmethod
    def _carried(seat: Seat, from_s: float, num_bytes: float) -> float:
        """Return when so many bytes have come to the worker, or from it."""
        if num_bytes <= 0:
            return from_s
        machine = seat.machine
        return seat.bandwidth.until_done_s(from_s + machine.latency_s, num_bytes * machine.s_per_byte)

    def next_s(self) -> float:
        """Return when the next call reaches the server, or is taken in; after the last, when the server is through.

        Or when it is time to look for calls that are overdue.
        """
        if not self._due or self._rounds is None:
            return self._ends_s
        return min(self._due[0].at_s, self._rounds.look_s)

    def happen(self, now_s: float) -> None:
        """Take the call to the server, or its answer into the round."""
        if not self._due:
            self._ended = True
            return
        if self._rounds is None:
            raise AssertionError("calls are under way only while there are workers")
        if now_s < self._due[0].at_s:
            self._send(self._rounds.look(now_s).calls, now_s)
            return
        due = heapq.heappop(self._due)
        costs = self._costs
        takes_s = self._learning.update_bytes * costs.server_s_per_byte / costs.num_servers
        if not due.taken_in and takes_s > 0:  # whoever came first is served first
            self._server_free_s = max(now_s, self._server_free_s) + takes_s
            due.at_s, due.taken_in = self._server_free_s, True
            heapq.heappush(self._due, due)
            return
        self._round.busy_s[due.call.worker] += due.busy_s
        instructions = self._rounds.answered(due.call, CallResult(due.version, _SUMS, due.busy_s), now_s)
        if instructions.report is None:
            self._send(instructions.calls, now_s)
            self._fetch(instructions.fetches, now_s)
            return
        self._end_round(now_s)
        goes_on_s = now_s + costs.round_s
        if self._store.training.outcome is None:
            if self._changed:
                self._sit(now_s, goes_on_s)
                return
            self._begin_round(now_s)
            self._send(instructions.calls, goes_on_s)
        else:
            self._due.clear()
            self._ends_s = goes_on_s + costs.end_s

    @property
    def _changed(self) -> bool:
        """Whether others are wanted than work now."""
        return [*map(id, self._wanted)] != [*map(id, self._seats)]

    def _end_round(self, now_s: float) -> None:
        self._write_down(now_s)
        round_, losses, number = self._round, self._learning.losses, self._number
        self._number += 1
        self.rounds.append(
            RoundOutcome(
                now_s,
                now_s - round_.began_s,
                tuple(round_.busy_s.tolist()),
                round_.bytes_moved,
                round_.shards_moved,
                losses[number] if number < len(losses) else None,
            )
        )
        self._round = _Round(now_s, np.zeros(0), np.zeros(0))

    def _write_down(self, now_s: float) -> None:
        """Enter what the workers did in this round until now; the rest of it, if it happens, is the next round's."""
        number, name = self._number, self._job.view.id
        for worker in set(range(len(self._seats))) - self._gone:
            self._waited(worker, now_s)
        self._round.idle_since_s = np.maximum(self._round.idle_since_s, now_s)
        for seat, activity, from_s, to_s in self._noted:
            if from_s < now_s:
                self.intervals.append(
                    Interval(seat.machine.id, name, seat.worker, activity, from_s, min(to_s, now_s), number)
                )
        later = [one for one in self._noted if one[3] > now_s]
        self._noted = [(seat, activity, max(from_s, now_s), to_s) for seat, activity, from_s, to_s in later]

    def _waited(self, worker: int, now_s: float) -> None:
        """Note that a worker had nothing to do until now."""
        self._note(self._seats[worker], Activity.WAITING, float(self._round.idle_since_s[worker]), now_s)

    def _note(self, seat: Seat, activity: Activity, from_s: float, to_s: float) -> None:
        if to_s > from_s:
            self._noted.append((seat, activity, from_s, to_s))
