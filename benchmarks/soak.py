"""Twenty thousand short rounds with a death every 500: what grows, and what is left behind.

``make bench-soak``, or ``python -m benchmarks.soak --rounds 20000 --kill-every 500 --json soak.json``, some minutes. A
run on a Ray cluster of its own loses a worker or its server again and again, but for the last fifth, which is calm.
Memory, open files and threads of driver, server and workers are sampled all along. Whoever lives on must not grow by
more than 5 % over the second half of its life (of the calm part, for actors); those that were started later must not
be larger at the same age. In the end no actor, placement group, object or file may be left. Ends with 1 if one is.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.chaos.driving import Driver
from benchmarks.chaos.eye import Eye
from benchmarks.chaos.jobs import Shape
from benchmarks.chaos.raylets import SERVER, WORKER, Raylets, end, raylets, with_tokens
from benchmarks.machine import facts
from scheduler.checkpoints.manifest import FOLDER

EVERY_S = 0.5
CALM_PART = 0.2
MOST_GROWTH = 0.05
MOST_MORE = 4
"""Of open files, threads: so many more are no growth, but what is going on just then."""

LEAST_SAMPLES, LEAST_LIVES = 8, 5
"""Fewer say nothing, and nothing is said of them."""

MOST_FILES = 12
"""Checkpoints, one that is being written, their journals, those of servers that have died since, and the manifest."""

FREED_WITHIN_S = 30.0
HANGS_S = 120.0
WORKERS = 3


@dataclass(frozen=True)
class Sample:
    """A process at one moment."""

    at_s: float
    rss_bytes: float
    fds: float
    threads: float


@dataclass
class Life:
    """A process: its role, when it was first seen, and its samples."""

    role: str
    since_s: float
    samples: list[Sample] = field(default_factory=list)


@dataclass(frozen=True)
class Finding:
    """A figure, what it may be at most, and whether it is."""

    what: str
    value: float
    most: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is within its limit."""
        return self.value <= self.most


class Soak:
    """One long run, and what was seen of it."""

    def __init__(self, cluster: Raylets, folder: Path, rounds: int, kill_every: int, seed: int) -> None:
        training = (("solver", "local-sgd"), ("batch_size", 32), ("local_epochs", 1))
        shape = Shape("soak", "logistic", 480, 8, (), training, rounds, "equal", shards=6, workers=WORKERS, every_s=1.0)
        output = folder / "soak"
        self._cluster, self._rounds, self._every = cluster, rounds, kill_every
        self._driver = Driver(cluster, shape, shape.write(folder, output, rounds), output)
        self._eye, self._draw = Eye(output.name), random.Random(seed)  # noqa: S311
        self._expected: Callable[[], str] = lambda: shape.undisturbed(folder, rounds)
        self.lives: dict[int, Life] = {}
        self.num_kills = 0
        self.calm_since_s = np.inf
        self.most_files = self.most_actors = self.most_groups = 0
        self.output = output

    def play(self, progress: Progress) -> str | None:
        """Run, kill, sample; return why it failed, None if it did not."""
        task, last, moved_s, sample_s = progress.add_task("rounds", total=self._rounds), 0, time.monotonic(), 0.0
        next_kill = self._every
        while self._driver.process.poll() is None:
            now_s = time.monotonic()
            found = self._eye.look()
            if found is not None and found.num_rounds > last:
                last, moved_s = found.num_rounds, now_s
                progress.update(task, completed=last)
            if last > (1 - CALM_PART) * self._rounds:
                self.calm_since_s = min(self.calm_since_s, now_s)
            elif last >= next_kill:
                next_kill += self._every
                self._kill()
            if now_s >= sample_s:
                sample_s = now_s + EVERY_S
                self._sample(now_s)
            if now_s - moved_s > HANGS_S:
                self._driver.process.kill()
                return f"no round for {HANGS_S:g} s after {last}\n{self._driver.log()[-3000:]}"
            time.sleep(0.02)
        summary = self._driver.summary()
        if summary is None:
            return self._driver.log()[-3000:]
        expected = self._expected()
        return None if summary["model_sha256"] == expected else f"hash {summary['model_sha256']}, expected {expected}"

    def _kill(self) -> None:
        actors = self._cluster.actors(self._draw.choice((WORKER, SERVER)))
        if actors and end(self._draw.choice(actors)):
            self.num_kills += 1

    def _sample(self, now_s: float) -> None:
        self._note("driver", psutil.Process(self._driver.process.pid), now_s)
        for role, name in (("server", SERVER), ("worker", WORKER)):
            for process in self._cluster.actors(name):
                self._note(role, process, now_s)
        folder = self.output / FOLDER
        self.most_files = max(self.most_files, len(list(folder.iterdir())) if folder.is_dir() else 0)
        if now_s > self.calm_since_s + 5.0:
            self.most_actors = max(self.most_actors, num_actors())
            self.most_groups = max(self.most_groups, num_groups())

    def _note(self, role: str, process: psutil.Process, now_s: float) -> None:
        try:
            with process.oneshot():
                sample = Sample(now_s, process.memory_info().rss, process.num_fds(), process.num_threads())
        except psutil.Error:
            return
        self.lives.setdefault(process.pid, Life(role, now_s)).samples.append(sample)


def num_actors() -> int:
    """Return how many actors there are on the cluster that are not dead."""
    return sum(actor["State"] != "DEAD" for actor in ray._private.state.actors().values())


def num_groups() -> int:
    """Return how many placement groups there are that were not removed."""
    return sum(group["state"] != "REMOVED" for group in ray.util.placement_group_table().values())


def object_bytes() -> int:
    """Return the bytes in the object stores of all nodes."""
    free, all_ = (sum(of.get("object_store_memory", 0.0) for of in found) for found in _stores())
    return int(all_ - free)


def _stores() -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    free = ray._private.state.available_resources_per_node()
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return [free.get(node["NodeID"], {}) for node in nodes], [node["Resources"] for node in nodes]


def growth(at_s: Sequence[float], values: Sequence[float]) -> float:
    """Return by what part a straight line through the values rises from its first to its last moment."""
    slope, _ = np.polyfit(np.asarray(at_s) - at_s[0], values, 1)
    return float(slope * (at_s[-1] - at_s[0]) / np.mean(values))


def of_one(role: str, lives: Sequence[Life], since_s: float) -> list[Finding]:
    """Return how those who live on have grown over the second half of what was sampled after ``since_s``."""
    found: dict[str, tuple[float, float]] = {}
    for life in lives:
        samples = [one for one in life.samples if one.at_s >= since_s]
        samples = samples[len(samples) // 2 :]
        if len(samples) < LEAST_SAMPLES:
            continue
        at_s = [one.at_s for one in samples]
        for name in ("rss_bytes", "fds", "threads"):
            values = [float(getattr(one, name)) for one in samples]
            most = MOST_GROWTH if name == "rss_bytes" else max(MOST_GROWTH, MOST_MORE / float(np.mean(values)))
            worst = found.get(name, (-np.inf, most))
            found[name] = max(worst, (growth(at_s, values), most))
    return [Finding(f"{role}: {name}, one life", 100 * got, 100 * most, "%") for name, (got, most) in found.items()]


def of_equal_age(role: str, lives: Sequence[Life]) -> list[Finding]:
    """Return by how much later processes of a role are larger at the same age; only the later half is looked at."""
    spans = [life.samples[-1].at_s - life.since_s for life in lives]
    if not spans:
        return []
    age_s = float(np.median(spans)) / 2
    aged = [life for life, span_s in zip(lives, spans, strict=True) if span_s >= age_s]
    aged = sorted(aged, key=lambda life: life.since_s)[len(aged) // 2 :]
    if len(aged) < LEAST_LIVES:
        return []
    sizes = [next(one.rss_bytes for one in life.samples if one.at_s >= life.since_s + age_s) for life in aged]
    grown = growth([life.since_s for life in aged], [float(size) for size in sizes])
    return [Finding(f"{role}: rss_bytes at the age of {age_s:.1f} s", 100 * grown, 100 * MOST_GROWTH, "%")]


def findings(soak: Soak, cluster: Raylets) -> list[Finding]:
    """Return all figures, once the run has ended."""
    by_role = {role: [life for life in soak.lives.values() if life.role == role] for role in ("server", "worker")}
    driver = [life for life in soak.lives.values() if life.role == "driver"]
    found = of_one("driver", driver, 0.0)
    for role, lives in by_role.items():
        found += of_one(role, lives, soak.calm_since_s)
        found += of_equal_age(role, lives)
    until_s = time.monotonic() + FREED_WITHIN_S
    while time.monotonic() < until_s:
        left = {
            "actors left": num_actors(),
            "placement groups left": num_groups(),
            "bytes left in object stores": object_bytes(),
            "processes left": len(cluster.actors(WORKER)) + len(cluster.actors(SERVER)),
        }
        if not any(left.values()):
            break
        time.sleep(0.5)
    folder = soak.output / FOLDER
    left["checkpoint files left"] = len(list(folder.iterdir())) if folder.is_dir() else 0
    found += [Finding(what, value, 0) for what, value in left.items()]
    found.append(Finding("checkpoint files at any time", soak.most_files, MOST_FILES))
    found.append(Finding("actors in the calm part", soak.most_actors, WORKERS + 1))
    found.append(Finding("placement groups in the calm part", soak.most_groups, WORKERS))
    return found


def shown(found: Sequence[Finding], soak: Soak) -> Table:
    """Return a table of the figures."""
    table = Table(title=f"{soak.num_kills} kills, {len(soak.lives)} processes", title_justify="left", title_style="")
    table.add_column("what")
    for head in ("value", "at most", ""):
        table.add_column(head, justify="right")
    for one in found:
        numbers = (f"{value:.1f} %" if one.unit else f"{value:,.0f}" for value in (one.value, one.most))
        table.add_row(one.what, *numbers, "" if one.holds else "BROKEN")
    return table


def report(found: Sequence[Finding], soak: Soak, failure: str | None) -> dict[str, Any]:
    """Return everything as plain values."""
    return {
        "facts": facts(),
        "failure": failure,
        "kills": soak.num_kills,
        "findings": [{**asdict(one), "holds": one.holds} for one in found],
        "processes": {str(pid): asdict(life) for pid, life in soak.lives.items()},
    }


def main() -> None:
    """Play, print the table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20_000, help="how many (default 20,000)")
    parser.add_argument("--kill-every", type=int, default=500, help="rounds from one kill to the next (default 500)")
    parser.add_argument("--seed", type=int, default=0, help="decides who is killed (default 0)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every sample here")
    arguments = parser.parse_args()
    with_tokens()
    console = Console(width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory() as folder, raylets(2) as cluster, Progress(console=console) as progress:
        soak = Soak(cluster, Path(folder), arguments.rounds, arguments.kill_every, arguments.seed)
        failure = soak.play(progress)
        found = findings(soak, cluster)
    console.print(shown(found, soak))
    if failure:
        console.print(f"the run failed: {failure}", highlight=False)
    if arguments.json:
        arguments.json.write_text(json.dumps(report(found, soak, failure), indent=2), encoding="utf-8")
    sys.exit(1 if failure or not all(one.holds for one in found) else 0)


if __name__ == "__main__":
    main()
