"""One run that is killed again and again, and goes on until it has its model."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos.driving import Driver
from benchmarks.chaos.eye import Eye
from benchmarks.chaos.jobs import Shape
from benchmarks.chaos.killing import Kill, Killer
from benchmarks.chaos.raylets import Raylets

LOOK_S = 0.02
LONGEST_REST_S = 0.7
"""A kill comes at most so long after the run has recovered from that before it."""

NOT_RECOVERED = 0.06
"""How many kills come before the run has recovered from that before."""

HANGS_S = 150.0
"""A run that commits no round for so long hangs."""


@dataclass
class Disturbed:
    """What became of a run: its hash against that of an undisturbed one, and why it failed if it did."""

    run: int
    job: str
    policy: str
    expected: str
    found: str = ""
    failure: str = ""
    seconds: float = 0.0
    num_calls: int = 0
    commands: list[str] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)

    @property
    def is_same(self) -> bool:
        """Whether it has the bits of the undisturbed run."""
        return self.found == self.expected


class Disturbance:
    """Drives one run, with at most ``len(kinds)`` kills."""

    def __init__(
        self, cluster: Raylets, shape: Shape, folder: Path, run: int, expected: str, kinds: list[str], seed: str
    ) -> None:
        output = folder / f"{shape.name}-{run}"
        self._draw = random.Random(seed)  # noqa: S311  (moments, no secrets)
        self._kinds = list(kinds)
        self.result = Disturbed(run, shape.name, shape.policy, expected)
        self._driver = Driver(cluster, shape, shape.write(folder, output, shape.rounds), output)
        self._eye = Eye(output.name)
        self._killer = Killer(cluster, self._driver, self._eye, self._draw)
        self._due_s: float | None = None
        self._moved_s = time.monotonic()
        self._num_rounds = -1

    def play(self) -> Disturbed:
        """Kill and wait until the run has ended."""
        began_s, result = time.monotonic(), self.result
        while self._driver.process.poll() is None:
            now_s = time.monotonic()
            self._look()
            if now_s - self._moved_s > HANGS_S:
                result.failure = f"no round for {HANGS_S:g} s"
                self._driver.process.kill()
                self._driver.process.wait()
                break
            if self._kinds and self._is_due(now_s):
                self._strike()
            time.sleep(LOOK_S)
        result.seconds = time.monotonic() - began_s
        self._conclude()
        return result

    def _look(self) -> None:
        """See how far the run is, and which kills it has recovered from."""
        found = self._eye.look()
        if found is None:
            return
        if found.num_rounds != self._num_rounds:
            self._num_rounds, self._moved_s = found.num_rounds, self._eye.seen_s
        for kill in self.result.kills:
            if kill.recovered_s is not None:
                continue
            if {"server", "driver"} & set(kill.victims) and not kill.rounds_again:
                kill.rounds_again = max(0, kill.round - 1 - found.restored)
            if found.num_rounds >= max(kill.round, found.restored + 1):
                kill.recovered_s = self._eye.seen_s - kill.at_s

    def _is_due(self, now_s: float) -> bool:
        kills = self.result.kills
        recovered = self._num_rounds > 0 and (not kills or kills[-1].recovered_s is not None)
        if self._due_s is None:
            if recovered:
                self._due_s = now_s + self._draw.uniform(0.0, LONGEST_REST_S)
            elif kills and self._draw.random() < NOT_RECOVERED:
                self._due_s = now_s + self._draw.uniform(0.0, 2 * LONGEST_REST_S)
            elif kills:
                self._due_s = float("inf")  # not before it has recovered
        elif self._due_s == float("inf") and recovered:
            self._due_s = None
        return self._due_s is not None and now_s >= self._due_s

    def _strike(self) -> None:
        kill = Kill(self.result.run, self.result.job, self._kinds[0])
        if self._killer.strike(kill):
            del self._kinds[0]
            self.result.kills.append(kill)
            self._due_s = None
            self._moved_s = time.monotonic()
        elif self._eye.seen_s < time.monotonic() - 1.0:
            self._due_s = None  # there is nobody to kill while it starts: at another moment

    def _conclude(self) -> None:
        result, summary = self.result, self._driver.summary()
        result.commands = self._driver.commands
        if summary is None or (self._driver.process.returncode and not self._driver.was_over):
            result.failure = result.failure or f"exit code {self._driver.process.returncode}"
        if result.failure:
            result.failure += f"\n{self._driver.log()[-3000:]}"
        if summary is not None:
            result.found, result.num_calls = summary["model_sha256"], summary["num_calls"]

    @property
    def kinds_left(self) -> list[str]:
        """Return which kills found the run at its end."""
        return self._kinds


def plan(number: int, kinds: dict[str, int], seed: int) -> list[str]:
    """Return the kinds of ``number`` kills, in proportion to weights, in a random order."""
    draw = random.Random(seed)  # noqa: S311
    found = [kind for kind, weight in kinds.items() for _ in range(round(number * weight / sum(kinds.values())))]
    found += draw.choices(list(kinds), list(kinds.values()), k=max(0, number - len(found)))
    draw.shuffle(found)
    return found[:number]


def figures(result: Disturbed) -> dict[str, Any]:
    """Return a run as plain values, without its kills."""
    return {name: value for name, value in vars(result).items() if name != "kills"}
