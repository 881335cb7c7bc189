"""What fault schedules are played on: small jobs, their undisturbed result, and updates that are computed once."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np

from policies.interface import ShardTable, frozen
from scheduler.job import Job
from scheduler.preparation import Prepared, prepare
from workers import sequential
from workers.data.shard import Shard
from workers.exact_sum import Floats, Ints
from workers.outcome import Outcome
from workers.parameter_store import ParameterStore
from workers.training import Training
from workers.update import CallSums, Message, call_update, shard_update

SOLVERS = ("gradient-descent", "local-sgd", "local-svrg", "exact")
BALANCES = ("equal", "lpt", "pid", "pull", "adaptive", "adaptive-pull")
NUMS_SHARDS = (1, 3, 5, 8)
NUM_ROUNDS = 3


@dataclass(frozen=True)
class Case:
    """A job to be disturbed."""

    solver: str
    num_shards: int

    def training(self) -> Training:
        """Return its training, before the first round."""
        return _prepared(self).training()

    @property
    def seed(self) -> int:
        """Return its seed."""
        return _prepared(self).problem.seed

    @property
    def shards(self) -> ShardTable:
        """Return its shards."""
        data = _prepared(self).data
        return ShardTable(frozen(data.work), frozen(data.nbytes))

    def undisturbed(self) -> str:
        """Return the hash of what it learns in one process, shard after shard."""
        return _undisturbed(self)

    def num_updates(self) -> int:
        """Return how many updates of shards that takes: what is quantised again in a second attempt counts once."""
        return _num_updates(self)

    def sums(self, training: Training, message: Message, shards: Ints) -> CallSums:
        """Return the sums of a call, by the code of a worker; equal updates are computed once in all schedules."""
        parts = [message.payload[name].tobytes() for name in sorted(message.payload)]
        key = (self, message.stage, message.round, *parts)
        known = _UPDATES.setdefault(key, {})
        held: dict[int, Floats] = {}
        chosen = [_loaded(self)[shard] for shard in shards.tolist()]
        for shard in chosen:
            if shard.index not in known:
                known[shard.index] = shard_update(training.problem, message, shard)
            held[shard.index] = known[shard.index]
        return call_update(training.problem, message, chosen, held)


_UPDATES: dict[tuple[object, ...], dict[int, Floats]] = {}


def digest(outcome: Outcome) -> str:
    """Return a hash of the bits of all that was learnt."""
    found = hashlib.sha256(repr((outcome.rounds, outcome.loss, outcome.metric, outcome.optimum)).encode())
    for name in sorted(outcome.arrays):
        found.update(np.ascontiguousarray(outcome.arrays[name]).tobytes())
    return found.hexdigest()


def saved(store: ParameterStore) -> ParameterStore:
    """Return a copy of a store that shares nothing with it which changes."""
    problem = store.training.problem
    return copy.deepcopy(store, {id(problem): problem})


@cache
def _prepared(case: Case) -> Prepared:
    training = {"solver": case.solver, "batch_size": 64, "rounds": NUM_ROUNDS, "tolerance": 0.0}
    if case.solver != "exact":
        training["learning_rate"] = 0.05
    fields = {"name": "j", "data": {"bundled": "diabetes"}, "model": {"objective": "squared"}}
    return prepare(Job.model_validate({**fields, "shards": case.num_shards, "training": training}))


@cache
def _loaded(case: Case) -> list[Shard]:
    return _prepared(case).data.load(range(case.num_shards))


@cache
def _undisturbed(case: Case) -> str:
    return digest(sequential.train(case.training(), _loaded(case)))


@cache
def _num_updates(case: Case) -> int:
    return case.num_shards * sum(1 for _ in sequential.rounds(case.training(), _loaded(case)))
