"""What a run leaves behind: the model, and ``summary.json``."""

from __future__ import annotations

import csv
import datetime
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import scheduler
from scheduler.errors import UserError
from scheduler.preparation import Prepared
from scheduler.record_file import RECORD_FILE, StoredRecord, write_record
from scheduler.run import Loss, RunResult, WorkerReport
from workers.environment import environment
from workers.model import Model, atomic_text, write_json

SUMMARY_FILE = "summary.json"


@dataclass(frozen=True)
class Score:
    """A metric on the training rows and on the test rows (None where none were kept back)."""

    train: float
    test: float | None

    @staticmethod
    def of(pair: tuple[float, float]) -> Score:
        """Return the score for means over (training, test) rows."""
        return Score(pair[0], None if math.isnan(pair[1]) else pair[1])


@dataclass(frozen=True)
class Summary:
    """What is written to ``summary.json``; times in seconds, sizes in bytes.

    Attributes
    ----------
    solver, choice
        Resolved if it was ``auto``, and why; empty where the job names the solver.
    metric, optimum
        Of the model, and of the exact solution where there is one.
    seconds
        From when the cluster is there and the data is described; ``seconds_by_round`` has the solver's rounds.
    mode, staleness
        When updates were applied, and how late they were; None where rounds are synchronous.
    num_calls, num_copies
        Calls of workers, and how many of them gave shards of a call that was too slow to an idle worker too.
    losses, restored
        As in ``RunResult``.
    """

    job: str
    policy: str
    solver: str
    choice: str
    rounds: int
    model_sha256: str
    metric_name: str
    metric: Score
    optimum: Score | None
    loss: float | None
    learning_rate: float | None
    seconds: float
    seconds_by_round: tuple[float, ...]
    workers: tuple[WorkerReport, ...]
    bytes_moved: dict[str, int]
    converged: bool
    reason: str
    output: str
    mode: str = "synchronous"
    staleness: dict[str, Any] | None = None
    num_calls: int = 0
    num_copies: int = 0
    losses: tuple[Loss, ...] = ()
    restored: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        fields = asdict(self)
        name = fields.pop("metric_name")
        return {**fields, "metric": {"name": name, **fields["metric"]}}

    def brief(self) -> dict[str, Any]:
        """Return the figures that a list of jobs shows."""
        metric = {"name": self.metric_name, **asdict(self.metric)}
        names = ("model_sha256", "rounds", "loss", "seconds", "converged", "output", "restored")
        return {**{name: getattr(self, name) for name in names}, "metric": metric}


@dataclass(frozen=True)
class Finished:
    """A run's model and summary, and all that it brought."""

    model: Model
    summary: Summary
    result: RunResult | None = None

    def save(self, folder: Path | None = None) -> None:
        """Write the model, the record if there is one, then the summary; a run that is cut off leaves no model.

        Without a ``folder`` it is the recipe's ``output``; raises ``UserError`` where that is left out, too.
        """
        if folder is None and not self.summary.output:
            raise UserError("nowhere to save the model: set the recipe's 'output', or name a folder")
        folder = folder or Path(self.summary.output)
        self.model.save(folder)
        self._save_record(folder / RECORD_FILE)
        write_json(folder / SUMMARY_FILE, self.summary.as_json())

    def _save_record(self, path: Path) -> None:
        """Write the record of an asynchronous run; of any other none is left there, which would be an older run's."""
        record = None if self.result is None else self.result.record
        if record is None:
            path.unlink(missing_ok=True)
            return
        told = self.model.provenance
        write_record(path, StoredRecord(dict(told["job"]), told["data_sha256"], self.model.sha256, record))


def model_of(prepared: Prepared, policy: str, result: RunResult) -> Model:
    """Make a model of a run's result."""
    info = prepared.data.info
    return Model(
        name=prepared.job.name,
        objective=prepared.problem.objective,
        architecture=prepared.problem.architecture,
        feature_names=info.feature_names,
        target_name=info.target_name,
        classes=info.classes,
        columns=info.columns,
        arrays=result.outcome.arrays,
        provenance=_provenance(prepared, policy, result),
    )


def conclude(prepared: Prepared, policy: str, result: RunResult, seconds: float) -> Finished:
    """Make a model and a summary of a run's result."""
    outcome, job = result.outcome, prepared.job
    model = model_of(prepared, policy, result)
    moved = result.bytes_moved
    summary = Summary(
        job=job.name,
        policy=policy,
        solver=prepared.choice.solver,
        choice=prepared.choice.reason,
        rounds=outcome.rounds,
        model_sha256=model.sha256,
        metric_name=prepared.problem.objective.metric_name,
        metric=Score.of(outcome.metric),
        optimum=None if outcome.optimum is None else Score.of(outcome.optimum),
        loss=outcome.loss,
        learning_rate=outcome.learning_rate,
        seconds=seconds,
        seconds_by_round=result.seconds_by_round,
        workers=result.workers,
        bytes_moved={**asdict(moved), "total": moved.total},
        converged=outcome.converged,
        reason=outcome.reason,
        output="" if job.output is None else str(job.output.resolve()),
        mode=prepared.problem.options.mode.name,
        staleness=None if result.staleness is None else result.staleness.as_json(),
        num_calls=result.num_calls,
        num_copies=result.num_copies,
        losses=result.losses,
        restored=result.restored,
    )
    return Finished(model, summary, result)


def _provenance(prepared: Prepared, policy: str, result: RunResult) -> dict[str, Any]:
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "job": prepared.job.model_dump(mode="json"),
        "policy": policy,
        "data_sha256": prepared.data.info.fingerprint,
        "rounds": result.outcome.rounds,
        "learning_rate": result.outcome.learning_rate,
        "choice": asdict(prepared.choice),
        "apportion": scheduler.__version__,
        "environment": asdict(
            next((one.environment for one in result.workers if one.shards and one.environment), environment())
        ),
    }


def max_over_mean(workers: Sequence[WorkerReport]) -> float:
    """Return how uneven the workers were: the largest busy time over the mean, 1 when all were equal, or none needed.

    Nobody is needed where a server that goes on finds all of the last round's calls kept.
    """
    busy_s = [worker.busy_s for worker in workers]
    mean = sum(busy_s) / max(len(busy_s), 1)
    return max(busy_s) / mean if mean else 1.0


def predictions_csv(target: str, answers: Sequence[float | str]) -> str:
    """Return predictions as the text of a CSV of one column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([target])
    writer.writerows([answer] for answer in answers)
    return text.getvalue()


def write_predictions(path: Path, target: str, answers: Sequence[float | str]) -> None:
    """Write predictions as a CSV, whole or not at all."""
    with atomic_text(path) as file:
        file.write(predictions_csv(target, answers))
