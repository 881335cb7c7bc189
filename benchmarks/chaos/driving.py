"""The driver's process: ``run``, and after every death ``resume``."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.chaos.jobs import BALANCES, Shape
from benchmarks.chaos.raylets import HOME, Raylets
from scheduler.checkpoints.manifest import FOLDER, MANIFEST_FILE
from scheduler.outputs import SUMMARY_FILE


class Driver:
    """A run in processes of its own, one after the other.

    Attributes
    ----------
    was_over
        Whether the last process was killed when it had written all that a run leaves behind.
    """

    def __init__(self, cluster: Raylets, shape: Shape, job: Path, output: Path) -> None:
        self._cluster, self._shape, self._job, self.output = cluster, shape, job, output
        self.commands: list[str] = []
        self.was_over = False
        self.process = self._start(self._run)

    @property
    def _run(self) -> list[str]:
        return ["run", str(self._job), "--anew"]

    def _start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        self.commands.append(" ".join(arguments))
        log = self.output.parent / f"{self.output.name}.log"
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "scheduler", *arguments],
                cwd=HOME,
                env=self._cluster.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def log(self) -> str:
        """Return all that was printed."""
        return (self.output.parent / f"{self.output.name}.log").read_text(encoding="utf-8", errors="replace")

    def go_on(self, draw: random.Random) -> None:
        """Go on after the process was killed, at times with another policy and other workers.

        What was killed before it had begun is begun anew, and what was killed after its end stays.
        """
        self.process.wait()
        begun = (self.output / FOLDER / MANIFEST_FILE).is_file()
        if not begun and (self.output / SUMMARY_FILE).is_file():
            self.was_over = True
            return
        if not begun:
            self.process = self._start(self._run)
            return
        arguments = ["resume", str(self.output)]
        if draw.random() < 0.6:
            arguments += ["--policy", draw.choice(BALANCES), "--workers", str(draw.randint(1, 5))]
        self.process = self._start(arguments)

    def summary(self) -> dict[str, Any] | None:
        """Return what the run has left behind, None if it failed."""
        path = self.output / SUMMARY_FILE
        if self.process.poll() is None or not path.is_file():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
