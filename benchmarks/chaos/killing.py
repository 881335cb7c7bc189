"""Who is killed, and what became of it."""

from __future__ import annotations

import random
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

from benchmarks.chaos.driving import Driver
from benchmarks.chaos.eye import Eye
from benchmarks.chaos.raylets import SERVER, SERVICE, WORKER, Raylets, end
from scheduler.run import OpenRound

SEVERAL = (
    ("worker", "worker"),
    ("worker", "server"),
    ("node", "server"),
    ("worker", "driver"),
    ("server", "server"),
    ("driver", "driver"),
    ("node", "worker"),
    ("service", "server"),
    ("service", "driver"),
    ("node", "service"),
)
"""What is killed at once, or shortly after each other."""

ACTORS = {"worker": WORKER, "server": SERVER, "service": SERVICE}
WEIGHTS = {"worker": 27, "server": 20, "node": 13, "driver": 14, "service": 10, "several": 16}
APART_S = 1.5
"""The longest time between two kills of ``several``; half of them have none."""

LONGEST_WAIT_S = 2.0
"""How long a kill waits for calls to be under way: between rounds newcomers are asked for their speed."""


@dataclass
class Kill:
    """A kill of one or several processes.

    Attributes
    ----------
    victims, pids
        What was killed, and which processes: with a node, all that were on it.
    round, num_in, under_way
        Of the open round, as its server said right before: its number from 1, how many shards were in, and how many
        under way; where no server said anything, the round that one spoke of last, 0 and 0.
    asked_before_s
        How long before the kill the server was asked.
    recovered_s
        From the kill until a round was committed which was not committed then; None if the run ended before.
    rounds_again, shards_again
        Committed rounds that were computed again, and shards that were under way at a worker that died, or with no
        server left to take them.
    """

    run: int
    job: str
    kind: str
    victims: list[str] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    at_s: float = 0.0
    round: int = -1
    num_in: int = 0
    under_way: int = 0
    asked_before_s: float = 0.0
    recovered_s: float | None = None
    rounds_again: int = 0
    shards_again: int = 0

    @property
    def mid_round(self) -> bool:
        """Whether calls of the open round were under way, or in."""
        return self.under_way + self.num_in > 0

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values; ``at_s`` counts from an arbitrary moment."""
        return {**asdict(self), "mid_round": self.mid_round}


class Killer:
    """Kills parts of a run."""

    def __init__(self, cluster: Raylets, driver: Driver, eye: Eye, draw: random.Random) -> None:
        self._cluster, self._driver, self._eye, self._draw = cluster, driver, eye, draw

    def strike(self, kill: Kill) -> bool:
        """Kill what ``kill.kind`` says, and enter what was killed; False where there is no victim just now."""
        several = kill.kind == "several"
        kinds = self._draw.choice(SEVERAL) if several else (kill.kind,)
        pause_s = self._draw.choice((0.0, self._draw.uniform(0.0, APART_S)))
        for number, kind in enumerate(kinds):
            if number:
                time.sleep(pause_s)
            self._one(kind, kill, first=not kill.pids)
        return bool(kill.pids)

    def _one(self, kind: str, kill: Kill, first: bool) -> None:
        cluster, pids = self._cluster, list[int]()
        candidates = self._candidates(kind)
        if not candidates:
            return
        victim = self._draw.choice(candidates)
        asked_s, said = self._moment() if first else (0.0, None)
        if kind == "node":
            pids = cluster.kill_node(victim)
            at_s = time.monotonic()
            cluster.add_node()
        else:
            at_s = time.monotonic()
            pids = [victim.pid] if end(victim) else []
        if not pids:
            return
        kill.victims.append(kind)
        kill.pids += pids
        if first:
            self._enter(kill, said, at_s, at_s - asked_s)
        if said is not None:
            lost = pids if kind in ("worker", "node") else said.under_way
            kill.shards_again += sum(said.under_way.get(pid, 0) for pid in lost)
        if kind == "driver":
            self._eye.forget()
            self._driver.go_on(self._draw)

    def _moment(self) -> tuple[float, OpenRound | None]:
        """Wait for calls to be under way, seldom for long, and return what the server said and when it was asked."""
        until_s = time.monotonic() + LONGEST_WAIT_S
        while True:
            asked_s, said = time.monotonic(), self._eye.look()
            if said is None or said.under_way or said.num_in or asked_s > until_s:
                return asked_s, said
            time.sleep(0.005)

    def _enter(self, kill: Kill, said: OpenRound | None, at_s: float, before_s: float) -> None:
        kill.at_s, kill.asked_before_s = at_s, before_s
        if self._eye.seen is not None:
            kill.round = self._eye.seen.num_rounds + 1
        if said is not None:
            kill.num_in = said.num_in
            kill.under_way = sum(said.under_way.values())

    def _candidates(self, kind: str) -> list[Any]:
        if kind == "node":
            return self._cluster.nodes_of_workers()
        if kind == "driver":
            return [psutil.Process(self._driver.process.pid)] if self._driver.process.poll() is None else []
        return list(self._cluster.actors(ACTORS[kind]))
