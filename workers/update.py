"""What a worker computes: the pure update of a shard, and the exact sum over the shards of a call."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass

import numpy as np

from workers.data.rows import Floats
from workers.data.shard import Shard
from workers.exact_sum import LEAST_PEAK, Ints, NonFiniteError, Peaks, Scale, peaks
from workers.problem import Problem
from workers.solvers import SOLVERS
from workers.solvers.base import Payload, Solver
from workers.solvers.evaluation import NUM_MONITORED, Evaluation, monitored
from workers.solvers.preparation import Curvature, Moments, Target, Weighing

STAGES: dict[str, Solver] = {
    stage.name: stage for stage in (Weighing(), Moments(), Target(), Curvature(), Evaluation(), *SOLVERS.values())
}
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
    apart
        Whether the server wants the update of every shard, not their sum.
    plain
        Whether it wants their plain sum: where each update is applied by itself, its bits depend on which one it is.
    """

    version: int
    stage: str
    round: int
    payload: Payload
    scale: Scale | None
    apart: bool = False
    plain: bool = False


@dataclass(frozen=True)
class CallSums:
    """What a call computed, over all its shards.

    Attributes
    ----------
    total
        The exact sum: integers on the message's scale; None if a shard did not fit on it.
    peaks
        The largest peaks of any shard.
    apart
        The update of each shard of the call, shape ``(shards, size)``, where the message asks for them.
    ahead
        The answer to the next attempt, where this one only finds the scale: a call over all shards of the job knows
        it at once.
    plain, weight
        The plain sum, and the weight of the shards' training rows, where the message asks for them.
    """

    total: Ints | None
    peaks: Peaks
    apart: Floats | None = None
    ahead: Ints | None = None
    plain: Floats | None = None
    weight: float = 0.0


def is_monitored(problem: Problem, stage: str) -> bool:
    """Say whether the rounds of a stage also measure the validation rows."""
    return problem.monitored and stage in SOLVERS and stage != "exact"


def blocks_of(problem: Problem, stage: str, payload: Payload) -> tuple[Ints, int]:
    """Return where the blocks of a round's sums start, and the length of the sums."""
    starts, size = STAGES[stage].blocks(problem, payload)
    if not is_monitored(problem, stage):
        return starts, size
    return np.append(starts, size + np.arange(NUM_MONITORED)), size + NUM_MONITORED


def shard_update(problem: Problem, message: Message, shard: Shard) -> Floats:
    """Return one shard's share of a round: a function of its arguments and of nothing else."""
    update = STAGES[message.stage].contribute(problem, message.payload, shard, message.round)
    if is_monitored(problem, message.stage):
        update = np.append(update, monitored(problem, message.payload["parameters"], shard))
    return update


def call_update(
    problem: Problem, message: Message, shards: Iterable[Shard], held: MutableMapping[int, Floats]
) -> CallSums:
    """Add up the updates of a call's shards exactly, or plainly or not at all where the message wants that.

    ``held`` carries the updates of shards that did not fit, from a round's first attempt to its second, so
    that they are not computed again.

    Raises
    ------
    NonFiniteError
        If an update holds NaN or infinity; names the shard.
    """
    if message.plain:
        return _plain_update(problem, message, shards)
    starts, size = blocks_of(problem, message.stage, message.payload)
    largest: Peaks | None = None
    total = np.zeros(size, dtype=np.int64)
    apart: list[Floats] = []
    complete = message.scale is not None
    num_here = 0
    with np.errstate(all="ignore"):  # what overflows is found by peaks(), and named there
        for shard in shards:
            num_here += 1
            values = held.pop(shard.index, None)
            if values is None:
                values = shard_update(problem, message, shard)
            highest = _peaks_of(shard, values, starts)
            largest = highest if largest is None else np.maximum(largest, highest)
            if message.apart:
                apart.append(values)
            elif message.scale is not None and message.scale.holds(highest):
                total += message.scale.quantise(values)
            else:
                complete = False
                held[shard.index] = values
    if largest is None:
        raise ValueError("a call needs at least one shard")
    ahead = None
    if message.scale is None and not message.apart and num_here == problem.num_shards:
        scale = Scale.fitting(largest, starts, size, problem.num_shards)
        ahead = sum((scale.quantise(values) for values in held.values()), start=np.zeros(size, dtype=np.int64))
        held.clear()
    return CallSums(total if complete else None, largest, np.array(apart) if message.apart else None, ahead)


def _plain_update(problem: Problem, message: Message, shards: Iterable[Shard]) -> CallSums:
    """Add up the updates of shards in ascending order, in floats, and the weights of their training rows."""
    starts, size = blocks_of(problem, message.stage, message.payload)
    total, weight, largest = np.zeros(size), 0.0, np.full(len(starts), LEAST_PEAK, dtype=np.int16)
    with np.errstate(all="ignore"):  # as above
        for shard in sorted(shards, key=lambda shard: shard.index):
            values = shard_update(problem, message, shard)
            largest = np.maximum(largest, _peaks_of(shard, values, starts))
            total += values
            weight += shard.train.total_weight
    return CallSums(None, largest, plain=total, weight=weight)


def _peaks_of(shard: Shard, values: Floats, starts: Ints) -> Peaks:
    try:
        return peaks(values, starts)
    except NonFiniteError as error:
        raise NonFiniteError(f"shard {shard.index}: {error}") from None
