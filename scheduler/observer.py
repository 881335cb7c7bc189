"""Whoever wants to know how a run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from policies.interface import Policy
from scheduler.inventory import NodeView
from scheduler.outputs import Summary
from scheduler.preparation import Prepared
from scheduler.run import Loss, RunResult, WorkerReport
from scheduler.session import Session
from workers.outcome import RoundReport


class Observer:
    """Whoever wants to know how a run goes on; this one takes no notice."""

    def connected(self, session: Session) -> None:
        """Hear that the cluster is there."""

    def waits(self, reason: str) -> None:
        """Hear why the job waits for workers."""

    def initialised(self, nodes: Sequence[NodeView], prepared: Prepared) -> None:
        """Step 1: nodes and data have been looked at."""

    def split(self, prepared: Prepared, policy: Policy, workers: Sequence[WorkerReport]) -> None:
        """Step 2: every shard has its worker."""

    def trained(self, report: RoundReport) -> None:
        """Step 3, once a round."""

    def restored(self, num_rounds: int) -> None:
        """Hear that so many rounds need not be computed again."""

    def lost(self, loss: Loss) -> None:
        """Hear that a worker is gone; what it had to do, others do."""

    def warned(self, text: str) -> None:
        """Hear what a user should know."""

    def kept(self, output: Path) -> None:
        """Hear that the run ends here, and can be gone on with."""

    def communicated(self, result: RunResult) -> None:
        """Step 4: all rounds are committed."""

    def fused(self, summary: Summary) -> None:
        """Step 5: the model is evaluated and saved."""
