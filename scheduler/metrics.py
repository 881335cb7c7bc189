"""Every metric that is sent to Ray, and so to Prometheus (as ``ray_<name>``): names, units, tags and help texts."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge, Histogram

REPORT_EVERY_S = 0.5
"""Metrics are added up here and reported this often: Prometheus asks every few seconds, rounds take less than one."""

ROUND_SECONDS_BOUNDARIES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]


class RunMetrics:
    """What one run reports, tagged with its job; ``worker`` is the worker's number."""

    def __init__(self, job: str) -> None:
        self._tags = {"job": job}
        self._rounds = Counter("apportion_rounds", "Rounds committed.", ("job",))
        self._loss = Gauge("apportion_loss", "Training objective, as last measured.", ("job",))
        self._round_seconds = Histogram(
            "apportion_round_seconds", "Seconds of a round.", ROUND_SECONDS_BOUNDARIES, ("job",)
        )
        self._speed = Gauge("apportion_worker_rows_per_second", "Rows computed a second.", ("job", "worker"))
        self._bytes = Counter("apportion_bytes_moved", "Bytes of shards, parameters and updates.", ("job",))
        self._due_s = 0.0
        self._new_rounds: list[float] = []
        self._sent_bytes = 0

    def record(self, seconds: float, loss: float | None, rows_per_s: Mapping[int, float], bytes_moved: int) -> None:
        """Take a round: its seconds, the loss if it was measured, each worker's speed, and all bytes moved so far."""
        self._new_rounds.append(seconds)
        now = time.monotonic()
        if now >= self._due_s:
            self._due_s = now + REPORT_EVERY_S
            self.flush(loss, rows_per_s, bytes_moved)

    def flush(self, loss: float | None, rows_per_s: Mapping[int, float], bytes_moved: int) -> None:
        """Report what has been taken since the last time."""
        if self._new_rounds:
            self._rounds.inc(len(self._new_rounds), self._tags)
        for seconds in self._new_rounds:
            self._round_seconds.observe(seconds, self._tags)
        self._new_rounds.clear()
        if loss is not None:
            self._loss.set(loss, self._tags)
        for worker, speed in rows_per_s.items():
            self._speed.set(speed, {**self._tags, "worker": str(worker)})
        if bytes_moved > self._sent_bytes:
            self._bytes.inc(bytes_moved - self._sent_bytes, self._tags)
            self._sent_bytes = bytes_moved
