"""Comparing policies live: the same job, the same cluster, one policy after the other, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from policies.interface import Policy
from scheduler.job import Job
from scheduler.outputs import Summary, max_over_mean
from scheduler.runner import Observer, RunOptions, run_connected, start_preparing
from scheduler.session import Session, connect


@dataclass(frozen=True)
class Row:
    """One policy's runs, medians over repeats.

    Attributes
    ----------
    round_s, run_s
        Seconds of a round and of a whole run.
    ratio
        Median over the turns of this policy's round over the first policy's in the same turn.
    imbalance
        The largest busy time of a worker over the mean.
    """

    policy: str
    round_s: float
    ratio: float
    run_s: float
    imbalance: float
    bytes_moved: int
    metric: float
    model_sha256: str


@dataclass(frozen=True)
class Comparison:
    """All rows, in the order asked for; ``same_model`` says whether every run had the same bits."""

    job: str
    repeats: int
    rows: tuple[Row, ...]
    same_model: bool

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        return asdict(self)


def compare_policies(
    job: Job,
    policies: Sequence[Policy],
    repeats: int,
    options: RunOptions,
    connected: Callable[[Session], None],
    finished: Callable[[], None],
) -> Comparison:
    """Run ``job`` under every policy, ``repeats`` times in turns, so that a drifting machine hits all alike.

    ``finished`` is called after each run. Raises what ``run_job`` raises.
    """
    turns: list[list[Summary]] = []
    preparing = start_preparing(job)
    with connect(options.address, options.cpus) as session:
        connected(session)
        prepared = preparing.result()
        for _ in range(repeats):
            turn = []
            for policy in policies:
                turn.append(run_connected(prepared, policy, Observer()).summary)
                finished()
            turns.append(turn)
    rows = tuple(_row([turn[number] for turn in turns], [turn[0] for turn in turns]) for number in range(len(policies)))
    hashes = {summary.model_sha256 for turn in turns for summary in turn}
    return Comparison(job.name, repeats, rows, len(hashes) == 1)


def _row(runs: Sequence[Summary], firsts: Sequence[Summary]) -> Row:
    def median(values: Sequence[float]) -> float:
        return statistics.median(values)

    rounds = [statistics.median(run.seconds_by_round) for run in runs]
    first_rounds = [statistics.median(run.seconds_by_round) for run in firsts]
    return Row(
        policy=runs[0].policy,
        round_s=median(rounds),
        ratio=median([mine / first for mine, first in zip(rounds, first_rounds, strict=True)]),
        run_s=median([run.seconds for run in runs]),
        imbalance=median([max_over_mean(run.workers) for run in runs]),
        bytes_moved=int(median([run.bytes_moved["total"] for run in runs])),
        metric=runs[0].metric.train,
        model_sha256=runs[0].model_sha256,
    )
