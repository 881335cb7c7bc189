"""From a job file to what a run needs: the data described, the problem stated, what does not go together refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policies.interface import JobView
from scheduler.errors import UserError
from scheduler.job import Job, Recipe
from workers.data.rows import Floats
from workers.data.shard import DataSet
from workers.data.source import Source
from workers.objectives import OBJECTIVES
from workers.problem import Problem, SolverOptions
from workers.solvers import SOLVERS
from workers.training import Stopping, Training


@dataclass(frozen=True)
class Prepared:
    """A job whose data has been looked at, and that can be trained, with or without a cluster.

    Attributes
    ----------
    initial
        The parameters to begin from, on raw columns; None for those of the architecture.
    """

    job: Recipe
    data: DataSet
    problem: Problem
    initial: Mapping[str, Floats] | None = None

    @property
    def stopping(self) -> Stopping:
        """When training ends."""
        return Stopping(self.job.training.rounds, self.job.training.tolerance)

    def training(self) -> Training:
        """Return the job's training before its first round."""
        return Training(self.problem, self.job.training.solver, self.stopping, self.job.training.standardise)

    def view(self, submitted_s: float) -> JobView:
        """Return what the job wants of a cluster."""
        least, most = self.job.workers.gang
        most = min(most, self.job.shards)
        return JobView(self.job.name, submitted_s, self.job.workers.bundle.resources(), least, max(least, most))


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
    objective = OBJECTIVES[job.model.objective]
    info = source.describe("classification" if objective.task == "classification" else "regression")
    num_classes = len(info.classes or ())
    options = job.training
    problem = Problem(
        objective=objective,
        num_features=info.num_features,
        num_outputs=objective.num_outputs(num_classes),
        intercept=job.model.intercept,
        l2=job.model.l2,
        num_rows=0,
        num_shards=job.shards,
        seed=options.seed,
        options=SolverOptions(
            batch_size=options.batch_size,
            local_epochs=options.local_epochs,
            learning_rate=None if options.learning_rate == "auto" else options.learning_rate,
            schedule=options.schedule,
        ),
        center=np.zeros(info.num_features),
        scale=np.ones(info.num_features),
    )
    refusals = [objective.refuse(num_classes), SOLVERS[options.solver].refuse(problem)]
    if any(refusals):
        raise UserError("\n".join(f"job {job.name}: {refusal}" for refusal in refusals if refusal))
    data = DataSet(source, info, job.test_fraction, options.seed, job.shards)
    return Prepared(job, data, problem.with_rows(data.num_train))
