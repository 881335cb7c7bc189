"""A running job is shrunk and grown again and again: how long it stands still, and what it learns."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chaos.eye import Eye
from benchmarks.service.asking import alone, short_rounds, submit, until
from scheduler.service.client import the_service
from scheduler.service.submission import Wishes
from scheduler.session import connect

CPUS, MOST = 16, 8
LOOK_S = 0.003


def measure(folder: Path, num: int) -> dict[str, Any]:
    """Resize a running job ``num`` times, and compare its model with that of one process."""
    with connect("local", cpus=CPUS):
        return _resized(folder, num)


def _resized(folder: Path, num: int) -> dict[str, Any]:
    client, draw = the_service(), random.Random(0)  # noqa: S311  (no secret)
    wanted = short_rounds(400 * num, folder / "resized")
    name = submit(client, wanted, "resized", Wishes(min_workers=1, max_workers=4))
    until(client, name, lambda found: found["workers"] == 4 and found["rounds"] > 0)
    took_s: dict[bool, list[float]] = {False: [], True: []}
    asked: list[tuple[float, bool]] = []
    now = 4
    with _watched(name) as rounds:
        for _ in range(num):
            target = draw.choice([one for one in range(1, MOST + 1) if one != now])
            began_s = time.monotonic()
            asked.append((began_s, target > now))
            client.ask("resize", name, 1, target, "bench", False)
            found = until(client, name, _has(target), 0.005)
            took_s[target > now].append(time.monotonic() - began_s)
            if found["state"] == "finished":
                raise SystemExit("the job ended before the last resize: its rounds are too few")
            now = target
            time.sleep(draw.uniform(1.5, 3.0))  # actors of a growth start meanwhile
        asked.append((time.monotonic(), False))
    found = until(client, name, lambda found: found["state"] == "finished", 0.5)
    figures: dict[str, Any] = {"resizes": num, "same_model": found["result"]["model_sha256"] == alone(wanted)}
    figures["round_p50_ms"] = float(np.median([b - a for a, b in itertools.pairwise(rounds)])) * 1e3
    for grows, which in ((False, "shrink"), (True, "growth")):
        paused_s = [_pause_s(rounds, a[0], b[0]) for a, b in itertools.pairwise(asked) if a[1] is grows]
        for what, seconds in (("granted", took_s[grows]), ("pause", paused_s)):
            for q in (50, 99):
                figures[f"{which}_{what}_p{q}_ms"] = float(np.percentile(seconds, q)) * 1e3
    return figures


def _has(num: int) -> Callable[[Mapping[str, Any]], bool]:
    return lambda found: bool(found["workers"] == num)


@contextmanager
def _watched(job: str) -> Iterator[list[float]]:
    """Look at a run for as long as the block lasts, and return when a further round was first seen."""
    rounds: list[float] = []
    over = threading.Event()

    def look() -> None:
        eye, num = Eye(job), -1
        while not over.wait(LOOK_S):
            found = eye.look()
            if found is not None and found.num_rounds > num:
                num = found.num_rounds
                rounds.append(eye.seen_s)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield rounds
    finally:
        over.set()
        thread.join()


def _pause_s(rounds: Sequence[float], from_s: float, to_s: float) -> float:
    """Return the longest time without a further round that begins in a stretch of time, or goes on into it."""
    pairs = itertools.pairwise(rounds)
    return max((later - one for one, later in pairs if later >= from_s and one < to_s), default=0.0)
