"""Plays one fault schedule on a virtual clock: the real rounds, store, training and watch, between unsound machines."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.fault_cases import BALANCES, NUMS_SHARDS, SOLVERS, Case, digest, saved
from policies.interface import Call, WorkerTable, frozen
from policies.presets import BALANCES as POLICIES
from scheduler.rounds.synchronous import Instructions, Rounds
from scheduler.rounds.watch import Watch
from workers.parameter_store import ParameterStore, Verdict
from workers.update import Message
from workers.worker_state import CallResult

S_PER_ROW, SLOWEST_S_PER_ROW = 2e-3, 0.12
SILENT_S, STUCK_S, FIRST_S = 3.0, 6.0, 20.0
TRAVEL_S = 0.002
NOTICE_S = 0.05
REPLACED_S = 1.0
LONGEST_S = 10_000.0
"""Longer than any schedule: what is not over by then waits for ever."""

KINDS = ("kill", "kill several", "hang", "straggle", "restart", "reseat", "come back")


@dataclass
class Process:
    """A worker's process. ``inbox`` are calls that it has not finished, and what they were sent with."""

    name: str
    node: str
    s_per_row: float
    num_done: int = 0
    lives: bool = True
    hangs: bool = False
    inbox: deque[tuple[Rounds, Call, Message]] = field(default_factory=deque)
    at_work: bool = False


@dataclass
class Played:
    """What became of a schedule."""

    seed: int
    case: Case
    balance: str
    digest: str = ""
    error: str = ""
    kills: int = 0
    kills_mid_round: int = 0
    restarts: int = 0
    given_up: int = 0
    refused: int = 0
    late: int = 0
    num_updates: int = 0
    ended_s: float = 0.0

    @property
    def is_same(self) -> bool:
        """Whether the result has the bits of the undisturbed one."""
        return not self.error and self.digest == self.case.undisturbed()


class Play:
    """One schedule: everything in it follows from its seed."""

    def __init__(self, seed: int) -> None:
        draw = self._draw = random.Random(seed)  # noqa: S311
        self.case = Case(draw.choice(SOLVERS), draw.choice(NUMS_SHARDS))
        self._balance = POLICIES[name := draw.choice(BALANCES)]()
        self.played = Played(seed, self.case, name)
        self._drops, self._doubles, self._delays = (draw.choice((0.0, 0.0, 0.02, 0.05)) for _ in range(3))
        self._work = self.case.shards.work
        self._agenda: list[tuple[float, int, str, tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self._names = itertools.count()
        self._now_s = 0.0
        self._store = ParameterStore(self.case.training())
        self._saved = saved(self._store)
        self._journal: list[tuple[Any, ...]] = []
        self._rounds: Rounds | None = None
        self._watch: Watch | None = None
        self._team: list[Process] = []
        self._coming: list[Process] = [self._process() for _ in range(draw.randint(1, 4))]
        for _ in range(draw.randint(1, 4)):
            self._later(draw.uniform(0.0, 6.0), "fault", draw.choice(KINDS))
        self._later(0.0, "look")

    # --- the world ---

    def run(self) -> Played:
        """Play to the end of the training; errors, and waiting for ever, are results too."""
        try:
            self._sit()
            while self._store.training.outcome is None:
                if not self._agenda or self._agenda[0][0] > LONGEST_S:
                    raise RuntimeError("waits for ever")
                self._now_s, _, what, facts = heapq.heappop(self._agenda)
                getattr(self, f"_{what}")(*facts)
            self.played.digest = digest(self._store.training.outcome)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is a difference)
            self.played.error = f"{type(error).__name__}: {error}"
        self.played.ended_s = self._now_s
        return self.played

    def _later(self, in_s: float, what: str, *facts: Any) -> None:
        heapq.heappush(self._agenda, (self._now_s + in_s, next(self._numbers), what, facts))

    def _process(self) -> Process:
        number = next(self._names)
        return Process(f"w{number}", f"node-{number % 3}", S_PER_ROW * self._draw.choice((0.5, 1.0, 1.0, 3.0)))

    def _travel(self, what: str, *facts: Any) -> None:
        """Let a message travel: it may be lost, come twice, or be overtaken by those sent after it."""
        if self._draw.random() < self._drops:
            return
        for _ in range(1 + (self._draw.random() < self._doubles)):
            slow = self._draw.random() < self._delays
            self._later(TRAVEL_S + (self._draw.expovariate(1.0) if slow else 0.0), what, *facts)

    # --- a worker ---

    def _arrive(self, process: Process, rounds: Rounds, call: Call, message: Message) -> None:
        process.inbox.append((rounds, call, message))
        self._work_on(process)

    def _work_on(self, process: Process) -> None:
        if process.inbox and process.lives and not process.at_work:
            process.at_work = True
            work = float(self._work[process.inbox[0][1].shards].sum())
            self._later(work * process.s_per_row * self._draw.uniform(0.9, 1.1), "finish", process)

    def _finish(self, process: Process) -> None:
        process.at_work = False
        if not process.lives or process.hangs:
            return
        rounds, call, message = process.inbox.popleft()
        sums = self.case.sums(self._store.training, message, call.shards)
        process.num_done += len(call.shards)
        self.played.num_updates += len(call.shards)
        busy_s = float(self._work[call.shards].sum()) * process.s_per_row
        self._travel("answer", process, rounds, call, CallResult(message.version, sums, busy_s))
        self._work_on(process)

    # --- the server ---

    def _sit(self) -> None:
        """Seat all that live and are wanted; who comes with little memory computes a few shards at a time."""
        self._team = [process for process in self._team if process.lives and self._is_seated(process)] + self._coming
        self._coming = []
        if not self._team:
            return
        num, shards = len(self._team), self.case.shards
        table = WorkerTable(
            tuple(process.name for process in self._team),
            tuple(process.node for process in self._team),
            *(frozen(np.tile([1.0, 0.0, 1e9], (num, 1))) for _ in range(2)),
            frozen([process.s_per_row for process in self._team]),
            frozen(np.zeros(num)),
            frozen(np.zeros(num)),
        )
        size = float(shards.bytes.max())
        limits = np.array([self._draw.choice((np.inf, np.inf, size, 2.5 * size)) for _ in range(num)])
        self._rounds = Rounds("j", self.case.seed, self._store, self._balance, table, shards, self._rounds, limits)
        self._gone = set[int]()
        self._out: dict[int, Call] = {}
        self._watch = Watch(num, SILENT_S, STUCK_S, FIRST_S, self._watch)
        self._note_round(self._rounds.begin(self._now_s))

    def _is_seated(self, process: Process) -> bool:
        return all(self._team[row] is not process for row in self._gone)

    def _note_round(self, found: Instructions) -> None:
        """Send calls; at the end of a round save what is learnt, and let those begin who have come."""
        if self._store.message.version != self._saved.message.version:
            self._saved, self._journal = saved(self._store), []
            if self._coming and self._store.training.outcome is None:
                self._sit()
                return
        for call in found.calls:
            process = self._team[call.worker]
            if call.worker in self._gone:
                raise AssertionError("a call for a worker that was lost")
            self._out[id(call)] = call
            self._watch.began(call.worker, self._now_s, float(self._work[call.shards].max()))
            self._travel("arrive", process, self._rounds, call, self._store.message)
        self._look_ahead()

    def _look_ahead(self) -> None:
        if self._rounds is not None and (look_s := self._rounds.look_s) < LONGEST_S:
            self._later(max(look_s - self._now_s, 0.0), "overdue", self._rounds, look_s)

    def _overdue(self, rounds: Rounds, look_s: float) -> None:
        if rounds is self._rounds and rounds.look_s <= look_s and self._now_s >= rounds.look_s:
            self._note_round(rounds.look(self._now_s))

    def _answer(self, process: Process, rounds: Rounds, call: Call, result: CallResult) -> None:
        if self._rounds is None or self._watch is None:
            return
        if rounds is not self._rounds:  # it was sent before others were seated, or the server was restored
            self.played.late += 1
            call = Call(-1, call.shards)
        elif self._out.pop(id(call), None) is not None:
            self._watch.answered(call.worker, self._now_s, float(self._work[call.shards].sum()), result.busy_s)
        offer = self._store.offer

        def noting(version: int, shards: Any, sums: Any, worker: str = "") -> Verdict:
            verdict = offer(version, shards, sums, worker)
            if verdict is Verdict.ACCEPTED:
                self._journal.append((version, shards, sums, worker))
            else:
                self.played.refused += 1
            return verdict

        self._store.offer = noting  # type: ignore[method-assign]
        try:
            found = self._rounds.answered(call, result, self._now_s)
        finally:
            del self._store.offer
        self._note_round(found)

    def _look(self) -> None:
        """Hear who is there, and give up who is silent or stuck; nobody there is replaced."""
        if self._rounds is not None:
            for row, process in enumerate(self._team):
                if process.lives and not process.hangs:
                    self._watch.beat(row, self._now_s, process.num_done)
            for gone in self._watch.given_up(self._now_s):
                self.played.given_up += 1
                self._lose(self._rounds, gone.worker)
        self._later(1.0, "look")

    def _lose(self, rounds: Rounds, row: int) -> None:
        if rounds is not self._rounds or row in self._gone:
            return
        self._gone.add(row)
        self._out = {number: call for number, call in self._out.items() if call.worker != row}
        self._later(self._draw.uniform(0.5, 2.0) * REPLACED_S, "come", self._process())
        self._note_round(rounds.lost(row, self._now_s))

    def _come(self, process: Process) -> None:
        self._coming.append(process)
        if self._rounds is None or self._rounds.is_deserted:
            self._sit()

    # --- faults ---

    def _fault(self, kind: str) -> None:
        if self._rounds is None or self._store.training.outcome is not None:
            return
        living = [row for row, process in enumerate(self._team) if process.lives and row not in self._gone]
        if kind == "restart":
            self._restore()
        elif kind == "reseat":
            self._coming.append(self._process())
            self._sit()
        elif kind == "come back":
            for process in self._team:
                if process.hangs:
                    process.hangs = False
                    self._work_on(process)
        elif living:
            num = self._draw.randint(1, len(living)) if kind == "kill several" else 1
            for row in self._draw.sample(living, num):
                self._strike(kind, row)

    def _strike(self, kind: str, row: int) -> None:
        process = self._team[row]
        if kind == "hang":
            process.hangs = True
        elif kind == "straggle":
            process.s_per_row = min(20.0 * process.s_per_row, SLOWEST_S_PER_ROW)
        else:
            self.played.kills += 1
            self.played.kills_mid_round += bool(self._out)
            process.lives = False
            if self._draw.random() < 0.8:  # else nobody is told, as when its node is cut off
                self._later(self._draw.expovariate(1 / NOTICE_S), "lose", self._rounds, row)

    def _restore(self) -> None:
        """Kill the server, with all workers or not, and restore it from what it saved and the most of its journal."""
        self.played.restarts += 1
        kept = self._journal[: self._draw.randint(len(self._journal) // 2, len(self._journal))]
        self._store, self._rounds, self._journal = saved(self._saved), None, list(kept)
        for offered in kept:
            if self._store.offer(*offered) is not Verdict.ACCEPTED:
                raise AssertionError("what was accepted once is accepted by the store that is restored")
        if self._draw.random() < 0.5:
            for process in self._team:
                process.lives = False
            self._coming += [self._process() for _ in range(self._draw.randint(1, 3))]
        elif not any(process.lives for process in self._team):
            self._coming.append(self._process())
        self._sit()
