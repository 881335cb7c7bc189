"""The same training in one process, shard after shard: what every distributed run must equal, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from workers.data.shard import Shard
from workers.exact_sum import Floats
from workers.outcome import Outcome, RoundReport
from workers.parameter_store import ParameterStore
from workers.training import Training
from workers.update import call_update


def rounds(training: Training, shards: Sequence[Shard]) -> Iterator[RoundReport]:
    """Run ``training`` over all its shards, and yield the report of every round.

    It goes to the end, or to the first stage that has no sequential order: that of an asynchronous mode.

    Raises
    ------
    NonFiniteError, DivergedError
        If the numbers overflow.
    """
    store = ParameterStore(training)
    held: dict[int, Floats] = {}
    while training.outcome is None and not training.is_asynchronous:
        for shard in shards:
            sums = call_update(training.problem, store.message, [shard], held)
            store.offer(store.message.version, np.array([shard.index]), sums)
        report = store.commit().report
        if report is not None:
            yield report


def train(training: Training, shards: Sequence[Shard]) -> Outcome:
    """Run a synchronous ``training`` to its end and return what was learnt."""
    for _ in rounds(training, shards):
        pass
    if training.outcome is None:
        raise ValueError(f"mode '{training.problem.options.mode.name}' has no sequential reference, but a record")
    return training.outcome
