"""Computing an asynchronous run again, from its training and its record, to the same bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workers.data.shard import Shard
from workers.errors import shown
from workers.exact_sum import Floats
from workers.outcome import Outcome, RoundReport
from workers.record import Applied, Record, Update
from workers.sequential import rounds
from workers.solvers.base import Payload
from workers.training import Training
from workers.update import CallSums, Message, call_update


class RecordError(ValueError):
    """A record that does not go together with its job; says which update is the first that does not."""


def replay(training: Training, shards: Sequence[Shard], record: Record) -> Outcome:
    """Run a training that is before its first round to its end, with the updates that were recorded.

    Only parameters that a later update has read are kept.

    Parameters
    ----------
    shards
        All of the job's, by number.

    Raises
    ------
    RecordError
        If the record goes on after training has ended, or ends before, or reads what was not there yet.
    NonFiniteError, DivergedError
        If the numbers overflow.
    """
    for _ in rounds(training, shards):
        pass
    for _ in _solver_rounds(training, shards, record):
        pass
    for _ in rounds(training, shards):
        pass
    if training.outcome is None:
        raise AssertionError("rounds() ends with an outcome")
    return training.outcome


def _solver_rounds(training: Training, shards: Sequence[Shard], record: Record) -> Iterator[RoundReport | None]:
    num, last_read = len(record.updates), _last_reads(record)
    applied = Applied(training)
    payloads: dict[int, Payload] = {}
    for place, update in enumerate(record.updates):
        if not training.is_asynchronous:
            raise RecordError(f"update {place + 1} of {num}: training had ended before it; it is another job's record")
        payloads[place] = training.payload()
        if place == num - 1:
            training.stop(record.reason)  # a time budget, of which only the run's clock knew
        sums = _sums(training, shards, update, payloads, f"update {place + 1} of {num}")
        yield applied.apply(update, [one for one, _ in sums], sum(weight for _, weight in sums))
        payloads = {version: payload for version, payload in payloads.items() if last_read.get(version, -1) > place}
    if training.is_asynchronous:
        raise RecordError(f"the record ends after {num} updates, before the training does; some of it is missing")


def _last_reads(record: Record) -> dict[int, int]:
    """Return version -> the last update that read it."""
    return {call.read: place for place, update in enumerate(record.updates) for call in update}


def _sums(
    training: Training, shards: Sequence[Shard], update: Update, payloads: dict[int, Payload], where: str
) -> list[tuple[Floats, float]]:
    found = []
    for call in update:
        if call.read not in payloads:
            raise RecordError(f"{where}: reads version {call.read}, which was not there yet")
        if not call.shards or not all(0 <= shard < len(shards) for shard in call.shards):
            raise RecordError(f"{where}: shards {shown(list(call.shards[:20]))}, expected some of 0..{len(shards) - 1}")
        message = Message(0, training.stage, call.round, payloads[call.read], None, plain=True)
        sums: CallSums = call_update(training.problem, message, [shards[shard] for shard in call.shards], {})
        if sums.plain is None:
            raise AssertionError("a plain message has plain sums")
        found.append((sums.plain, sums.weight))
    return found
