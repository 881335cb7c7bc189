"""From a job file to what a run needs: the data described, the problem stated, what does not go together refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from policies.interface import JobView, ShardTable, frozen
from scheduler.errors import UserError
from scheduler.job import Job, Recipe
from scheduler.learning_spec import TrainingSpec
from workers.choice import Choice, choose
from workers.columns import Columns
from workers.data.shard import DataSet
from workers.data.source import Source
from workers.errors import brief
from workers.kernels import FAST, STRICT
from workers.outcome import WarmStart
from workers.problem import Problem
from workers.solvers import SOLVERS
from workers.stopping import Stopping
from workers.training import Training


@dataclass(frozen=True)
class Prepared:
    """A job whose data has been looked at, and that can be trained, with or without a cluster.

    Attributes
    ----------
    choice
        What ``auto`` was resolved to, and why.
    initial
        The parameters to begin from, on raw columns; None for those of the architecture.
    """

    job: Recipe
    data: DataSet
    problem: Problem
    choice: Choice
    initial: WarmStart | None = None

    @property
    def solver(self) -> str:
        """The solver's name, resolved if it was ``auto``."""
        return self.choice.solver

    @property
    def shard_table(self) -> ShardTable:
        """The shards as policies see them."""
        return ShardTable(frozen(self.data.work), frozen(self.data.nbytes))

    @property
    def stopping(self) -> Stopping:
        """When training ends."""
        return self.job.training.stopping()

    def training(self) -> Training:
        """Return the job's training before its first round."""
        return Training(self.problem, self.solver, self.stopping, self.job.training.standardise, self.initial)

    def with_training(self, **fields: Any) -> Prepared:
        """Return the job with other fields of ``training``; the data need not be looked at again.

        Raises
        ------
        ValueError
            For fields on which the data or the arithmetic depend: those need ``prepare``.
        """
        if fixed := {"seed", "reproducible"} & fields.keys():
            raise ValueError(f"{', '.join(sorted(fixed))} cannot change once the data has been looked at")
        training = TrainingSpec.model_validate({**self.job.training.model_dump(), **fields})
        choice = choose(self.problem, training.wishes())
        job = self.job.model_copy(update={"training": training})
        return replace(self, job=job, problem=choice.applied(self.problem), choice=choice)

    def refuse_other_data(self, where: Path, data_sha256: str) -> None:
        """Refuse to go on with what ``where`` tells of where the data is not that of then.

        Raises
        ------
        UserError
            If it has another fingerprint.
        """
        found = self.data.info.fingerprint
        if found != data_sha256:
            raise UserError(f"{where}: the data has changed since the run: it was {brief(data_sha256)}, and is {found}")

    def view(self, submitted_s: float) -> JobView:
        """Return what the job wants of a cluster."""
        least, most = self.job.workers.gang
        most = min(most, self.job.shards)
        workers = self.job.workers
        return JobView(
            self.job.name,
            submitted_s,
            workers.bundle.resources(),
            least,
            max(least, most),
            selector=workers.labels,
            data_bytes=float(self.data.nbytes.sum()),
        )


def prepare(job: Job) -> Prepared:
    """Read the job's data once, check it, and state the problem; raises what ``prepare_source`` raises."""
    return prepare_source(job, job.data.source())


def prepare_source(job: Recipe, source: Source) -> Prepared:
    """Read a source once, check it, and state the problem that a recipe poses with it.

    Raises
    ------
    DataError
        If the data cannot be used; says where and why.
    UserError
        If objective, solver and data do not go together.
    """
    kernels = STRICT if job.training.reproducible == "strict" else FAST
    objective = job.model.loss().with_kernels(kernels)
    info = source.describe("classification" if objective.task == "classification" else "regression")
    data = DataSet(
        source,
        info,
        job.test_fraction,
        job.training.seed,
        job.shards,
        split=job.split,
        validation_fraction=job.validation_fraction,
        class_weight=None if job.data is None else job.data.class_weight,
    )
    num_classes = len(info.classes or ())
    architecture = job.model.architecture(info.num_features, objective.num_outputs(num_classes))
    problem = Problem(
        objective=objective,
        architecture=architecture,
        penalty=job.model.penalty(),
        num_rows=data.num_train,
        total_weight=None if data.weighted else float(data.num_train),
        num_shards=job.shards,
        seed=job.training.seed,
        columns=Columns.raw(info.num_features),
        kernels=kernels,
    )
    choice = choose(problem, job.training.wishes())
    problem = choice.applied(problem)
    refusals = [objective.refuse(num_classes), architecture.refuse(kernels, info.row_values is not None)]
    refusals.append(SOLVERS[choice.solver].refuse(problem))
    if job.training.stopping().needs_validation and not data.num_validation:
        refusals.append("training.patience and training.target need validation rows: set validation_fraction")
    if job.training.stopping().needs_validation and not problem.options.mode.is_synchronous:
        refusals.append(
            f"training.patience and training.target judge the parameters of a round, and in mode "
            f"'{problem.options.mode.name}' there are none that all its calls began with: leave them out, or set "
            "'training.mode: synchronous'"
        )
    if any(refusals):
        raise UserError("\n".join(f"job {job.name}: {refusal}" for refusal in refusals if refusal))
    return Prepared(job, data, problem, choice)
