"""What rounds need of the object that adds up."""

from __future__ import annotations

from typing import Any, Protocol

from policies.interface import Ints
from workers.parameter_store import Commit, Verdict
from workers.update import CallSums


class Store(Protocol):
    """What the rounds need of a parameter store; ``workers.parameter_store.ParameterStore`` says what each means."""

    training: Any
    message: Any

    @property
    def complete(self) -> bool:
        """Whether every shard is in."""

    @property
    def missing(self) -> Ints:
        """Shards that are not in yet, ascending."""

    @property
    def num_missing(self) -> int:
        """How many they are."""

    def offer(self, version: int, shards: Ints, sums: CallSums, worker: str = "") -> Verdict:
        """Take the sums of a call of a worker, or say why not."""

    def commit(self) -> Commit:
        """Close the attempt at a round."""
