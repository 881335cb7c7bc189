"""What a worker computes: the pure update of a shard, and the exact sum over the shards of a call."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass

import numpy as np

from workers.data.shard import Shard
from workers.exact_sum import Floats, Ints, NonFiniteError, Peaks, Scale, peaks
from workers.problem import Problem
from workers.solvers import SOLVERS
from workers.solvers.base import Payload, Solver
from workers.solvers.evaluation import Evaluation
from workers.solvers.preparation import Curvature, Moments

STAGES: dict[str, Solver] = {stage.name: stage for stage in (Moments(), Curvature(), Evaluation(), *SOLVERS.values())}
"""Everything that a round may compute, by name: the solvers and what comes before and after them."""


@dataclass(frozen=True)
class Message:
    """What the parameter server tells a worker in a round.

    Attributes
    ----------
    version
        Grows with every attempt of every round; an answer to an older version is stale.
    round
        Counted from 0 in its stage; part of the key of the shards' random streams.
    scale
        The scale of the exact sum, None where nothing is known of the terms yet.
    """

    version: int
    stage: str
    round: int
    payload: Payload
    scale: Scale | None


@dataclass(frozen=True)
class CallSums:
    """The exact sum over a call's shards.

    Attributes
    ----------
    total
        Integers on the message's scale; None if a shard did not fit on it.
    peaks
        The largest peaks of any shard.
    """

    total: Ints | None
    peaks: Peaks


def shard_update(problem: Problem, message: Message, shard: Shard) -> Floats:
    """Return one shard's share of a round: a function of its arguments and of nothing else."""
    return STAGES[message.stage].contribute(problem, message.payload, shard, message.round)


def call_update(
    problem: Problem, message: Message, shards: Iterable[Shard], held: MutableMapping[int, Floats]
) -> CallSums:
    """Add up the updates of a call's shards.

    ``held`` carries the updates of shards that did not fit, from a round's first attempt to its second, so
    that they are not computed again.

    Raises
    ------
    NonFiniteError
        If an update holds NaN or infinity; names the shard.
    """
    starts, size = STAGES[message.stage].blocks(problem, message.payload)
    largest: Peaks | None = None
    total = np.zeros(size, dtype=np.int64)
    complete = message.scale is not None
    with np.errstate(all="ignore"):  # what overflows is found by peaks(), and named there
        for shard in shards:
            values = held.pop(shard.index, None)
            if values is None:
                values = shard_update(problem, message, shard)
            try:
                highest = peaks(values, starts)
            except NonFiniteError as error:
                raise NonFiniteError(f"shard {shard.index}: {error}") from None
            largest = highest if largest is None else np.maximum(largest, highest)
            if message.scale is not None and message.scale.holds(highest):
                total += message.scale.quantise(values)
            else:
                complete = False
                held[shard.index] = values
    if largest is None:
        raise ValueError("a call needs at least one shard")
    return CallSums(total if complete else None, largest)
