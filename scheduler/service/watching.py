"""The drivers of the service's jobs: started when a job has workers, heard, started again when they die."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from policies.interface import JobView, frozen
from scheduler.service.journal import DRIVER_LOST, Journal
from scheduler.service.orders import Desk
from scheduler.service.records import Heard, JobRecord, State, storable
from scheduler.service.registry import Registry

SILENT_S = 60.0
"""A driver that has not been heard for so long is gone, or cut off."""

SUSPECT_S = 5.0
"""One that has not been heard for so long is looked after."""

START_S = 300.0
"""How long a driver may take to be heard for the first time: its environment is set up, on a machine that is busy."""

STOP_S = 20.0
"""How long a driver that is to stop has before its process is ended."""

MOST_ATTEMPTS = 5
"""A driver that dies so often without a round between is not a matter of bad luck."""

FEWEST_ROUNDS = 3
"""From so many rounds on a job's speed is taken to be known."""


class Drivers(Protocol):
    """Starts and ends processes that drive jobs; nothing here takes long."""

    def start(self, record: JobRecord) -> None:
        """Start the driver of a job's present attempt."""

    def stop(self, record: JobRecord) -> None:
        """End it."""

    def ended(self, suspects: Sequence[str]) -> Mapping[str, str]:
        """Return the drivers that are known to have ended, and what is told of it; ``suspects`` are looked after."""

    def has_left(self, record: JobRecord) -> bool:
        """Say whether the client that drives this job is known to Ray to be gone."""


@dataclass
class _Seen:
    """What is seen of a job's driver: since when and when it was heard, and what the job's speed is counted from."""

    since_s: float
    heard_s: float = math.nan
    counted_from: tuple[float, int, int] = (math.nan, 0, 0)  # when, rounds by then, workers since

    def silent_s(self, now_s: float) -> float:
        """Return for how long it has not been heard."""
        return now_s - (self.since_s if math.isnan(self.heard_s) else self.heard_s)

    @property
    def patience_s(self) -> float:
        """For how long it may be silent."""
        return START_S if math.isnan(self.heard_s) else SILENT_S


class Watching:
    """Knows which jobs have a driver that lives.

    Under the service's lock.
    """

    def __init__(self, registry: Registry, desk: Desk, drivers: Drivers, journal: Journal) -> None:
        self._registry, self._desk, self._drivers, self._journal = registry, desk, drivers, journal
        self._seen: dict[str, _Seen] = {}
        self._stopping: dict[str, float] = {}
        self._losses: dict[str, tuple[int, int]] = {}  # most rounds ever done, and how many died since
        self._attained: dict[str, tuple[float, int, float]] = {}  # worker-seconds, workers since when

    def begin(self, now_s: float) -> None:
        """Expect the drivers of the service before this one to be there, and take up what it knew of its jobs."""
        attained_s, losses = self._journal.attained_s(now_s), self._journal.driver_losses()
        for record in self._registry.live:
            if record.num_attempts:
                self._seen[record.id] = _Seen(now_s)
            self._attained[record.id] = (attained_s.get(record.id, 0.0), 0, now_s)
            for rounds in losses.get(record.id, ()):
                self._count_loss(record.id, rounds)

    def is_alive(self, job: str) -> bool:
        """Say whether a job has a driver, as far as is known."""
        return job in self._seen

    def hear(self, record: JobRecord, heard: Heard, holds: int, now_s: float) -> None:
        """Take note of a driver's word; with actors on its leases the job runs."""
        seen = self._seen.setdefault(record.id, _Seen(now_s))
        seen.heard_s = now_s
        if holds != seen.counted_from[2] or math.isnan(seen.counted_from[0]):
            seen.counted_from = (now_s, heard.rounds, holds)
        if record.state is State.STARTING and holds:
            record = self._registry.change(record, state=State.RUNNING)
        self._registry.hear(record, heard)

    def note_leases(self, record: JobRecord, num: int, now_s: float) -> None:
        """Bring a job's record up to date with the number of its leases."""
        if record.state.has_ended:
            return
        total_s, before, since_s = self._attained.get(record.id, (0.0, 0, now_s))
        self._attained[record.id] = (total_s + before * (now_s - since_s), num, now_s)
        if record.state is State.QUEUED and num:
            started_s = now_s if math.isnan(record.started_s) else record.started_s
            self._registry.change(record, state=State.STARTING, started_s=started_s)
        elif record.state in (State.STARTING, State.RUNNING) and not num:
            self._registry.change(record, state=State.QUEUED, preemptions=record.preemptions + 1)
            self._journal.note(now_s, "preempted", record.id)

    def progress(self, view: JobView, num_leases: int, now_s: float) -> JobView:
        """Return what has become known of a job since: its service, what is done, and, if nobody told, its speed."""
        total_s, num, since_s = self._attained.get(view.id, (0.0, 0, now_s))
        record, attained_s = self._registry[view.id], total_s + num * (now_s - since_s)
        heard, estimate, more = record.heard, record.submission.estimate, dict[str, Any]()
        if estimate is not None:
            more["done"] = heard.rounds / max(heard.most_rounds, 1) * estimate.work
        elif speed := self._rounds_per_s(view.id, heard, now_s):
            rates = frozen(speed / max(num_leases, 1) * np.arange(1, view.max_workers + 1))
            more = {"done": float(heard.rounds), "work": float(heard.most_rounds), "rates": {"": rates}}
        if (attained_s, more.get("done", view.done)) == (view.attained_s, view.done):
            return view
        return replace(view, attained_s=attained_s, **more)

    def _rounds_per_s(self, job: str, heard: Heard, now_s: float) -> float:
        """Return how many rounds a job does a second since its number of workers changed last, 0 if that is unknown."""
        seen = self._seen.get(job)
        if seen is None or not heard.most_rounds:
            return 0.0
        since_s, rounds, _ = seen.counted_from
        done = heard.rounds - rounds
        return done / (now_s - since_s) if done >= FEWEST_ROUNDS and now_s > since_s else 0.0

    def left_s(self, record: JobRecord, now_s: float) -> float:
        """Return how long a job will go on with the workers that it has; NaN if that is not known."""
        heard = record.heard
        speed = self._rounds_per_s(record.id, heard, now_s)
        return (heard.most_rounds - heard.rounds) / speed if speed else math.nan

    def start(self, now_s: float) -> None:
        """Start the drivers of the jobs that have workers, and none yet."""
        for record in self._registry.live:
            if record.state is State.STARTING and record.id not in self._seen and not record.submission.is_driven:
                changed = self._registry.change(record, num_attempts=record.num_attempts + 1)
                self._seen[record.id] = _Seen(now_s)
                self._drivers.start(changed)

    def look(self, now_s: float) -> None:
        """Take note of drivers that have ended without a word, or are silent; end those that do not stop."""
        for name in [name for name in self._seen if self._registry[name].state.has_ended]:
            self._forget(name)  # stopped or failed while it held nothing: nobody has ended it here
        silent = {name: seen.silent_s(now_s) for name, seen in self._seen.items() if seen.silent_s(now_s) > SUSPECT_S}
        ended = self._drivers.ended([self._registry[name].driver for name in silent])
        for record in self._registry.live:
            if record.state is State.STOPPING:
                self._end_stopping(record, now_s, ended)
            elif record.id in silent and record.driver in ended:
                self._lose(record, ended[record.driver], now_s)
            elif record.id in silent and silent[record.id] > self._seen[record.id].patience_s:
                self._drivers.stop(record)
                self._lose(record, f"its driver has not been heard for {silent[record.id]:.0f} s", now_s)

    def free_name(self, name: str, now_s: float) -> None:
        """End the job of a client that was killed a moment ago: its name may be wanted to go on with it."""
        for record in self._registry.live:
            is_gone = record.submission.name == name and record.submission.is_driven and self._drivers.has_left(record)
            if is_gone:
                self._lose(record, "its driver's process has ended", now_s)

    def _end_stopping(self, record: JobRecord, now_s: float, ended: Mapping[str, str]) -> None:
        since_s = self._stopping.setdefault(record.id, now_s)
        if record.id not in self._seen or record.driver in ended or now_s - since_s > 2 * STOP_S:
            self.end(record, State.STOPPED, "stopped", now_s)
        elif now_s - since_s > STOP_S:
            self._drivers.stop(record)

    def _lose(self, record: JobRecord, why: str, now_s: float) -> None:
        """Let another driver go on where one has died; give up where that does not help."""
        self._seen.pop(record.id, None)
        self._desk.forget(record.id)
        self._journal.note(now_s, DRIVER_LOST, record.id, why=why, rounds=record.heard.rounds)
        num = self._count_loss(record.id, record.heard.rounds)
        if record.submission.is_driven or num >= MOST_ATTEMPTS:
            self.end(record, State.FAILED, why, now_s)
        elif record.state is State.RUNNING:
            self._registry.change(record, state=State.STARTING)

    def _count_loss(self, job: str, rounds: int) -> int:
        """Count how many drivers of a job have died since one had done more rounds than any before it."""
        most, num = self._losses.get(job, (0, 0))
        num = num + 1 if rounds <= most else 1
        self._losses[job] = max(most, rounds), num
        return num

    def end(
        self, record: JobRecord, state: State, reason: str, now_s: float, result: Mapping[str, Any] | None = None
    ) -> None:
        """Close a job's record; ``result`` is what its driver tells, of which is kept what JSON can hold."""
        told = record.result if result is None else storable(result)
        self._registry.change(record, state=state, ended_s=now_s, reason=reason, result=told)
        self._journal.note(now_s, state.value, record.id, reason=reason)
        self._forget(record.id)

    def _forget(self, job: str) -> None:
        for known in (self._seen, self._stopping, self._attained, self._losses):
            known.pop(job, None)
        self._desk.drop(job)
