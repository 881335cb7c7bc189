"""The one idea, as a product: solver x policy x workers, and other settings of BLAS, NumPy and the C library."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cases import NUM_SHARDS, digest, fitting, shards_of, training_of

from policies.interface import ShardTable, WorkerTable, frozen
from policies.presets import BALANCES
from scheduler.rounds.synchronous import Rounds
from workers.data.rows import Floats
from workers.objectives import OBJECTIVES
from workers.parameter_store import ParameterStore
from workers.sequential import train
from workers.training import Training
from workers.update import call_update
from workers.worker_state import CallResult

ROOT = Path(__file__).resolve().parents[2]
OBJECTIVE_OF = {solver: objective for objective in ("squared", "softmax") for solver in fitting(objective)}


def workers(number: int) -> WorkerTable:
    """Return workers of very different size and speed."""
    sizes = np.column_stack([np.arange(1.0, number + 1), np.zeros(number), np.full(number, 1e9)])
    names = tuple(f"worker-{worker}" for worker in range(number))
    speeds, zeros = frozen(np.geomspace(1e-6, 1e-4, number)), frozen(np.zeros(number))
    return WorkerTable(names, names, frozen(sizes), frozen(sizes), speeds, zeros, zeros)


def trained(training: Training, policy: str, number: int, objective: str) -> str:
    """Train over the calls that a policy deals out; answers arrive in the reverse order."""
    shards = shards_of(objective)
    table = ShardTable(frozen([len(shard.train) for shard in shards]), frozen([shard.nbytes for shard in shards]))
    rounds = Rounds("job", 3, ParameterStore(training), BALANCES[policy](), workers(number), table)
    held: list[dict[int, Floats]] = [{} for _ in range(number)]
    calls = rounds.begin().calls
    while calls:
        message = rounds.store.message
        results = [
            (call, call_update(training.problem, message, [shards[s] for s in call.shards], held[call.worker]))
            for call in reversed(calls)
        ]
        calls = ()
        for call, sums in results:
            calls += rounds.answered(call, CallResult(message.version, sums, 0.0)).calls
    assert training.outcome is not None
    return digest(training.outcome)


@cache
def alone(solver: str) -> str:
    objective = OBJECTIVE_OF[solver]
    return digest(train(training_of(solver, objective), shards_of(objective)))


@pytest.mark.parametrize("number", [1, 2, 3, 7])
@pytest.mark.parametrize("policy", sorted(BALANCES))
@pytest.mark.parametrize("solver", sorted(OBJECTIVE_OF))
def test_every_solver_under_every_policy_with_any_number_of_workers(solver: str, policy: str, number: int) -> None:
    objective = OBJECTIVE_OF[solver]
    assert trained(training_of(solver, objective), policy, number, objective) == alone(solver)


def test_the_product_is_complete() -> None:
    assert set(OBJECTIVE_OF) == {solver for objective in OBJECTIVES for solver in fitting(objective)}
    assert NUM_SHARDS == 7


def hashes(arithmetic: str, **environment: str) -> dict[str, str]:
    """Return the hashes of a process with other settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS", "NPY", "GLIBC"))}
    command = [sys.executable, str(ROOT / "tests" / "bits" / "cases.py"), arithmetic]
    done = subprocess.run(
        command, env=clean | {"PYTHONPATH": str(ROOT)} | environment, capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_threads_change_nothing() -> None:
    assert hashes("usual", OPENBLAS_NUM_THREADS="1") == hashes("usual", OPENBLAS_NUM_THREADS="2")


@pytest.mark.long
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the switches are those of x86-64")
def test_strict_is_the_same_on_other_processors() -> None:
    without = "AVX512_ICL X86_V4 X86_V3"
    others = [
        {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "2"},
        {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": without},
        {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F", "OPENBLAS_CORETYPE": "SkylakeX"},
    ]
    first = hashes("strict", OPENBLAS_CORETYPE="Haswell")
    for environment in others:
        found = hashes("strict", **environment)
        assert found == first, environment
    usual = [hashes("usual", **environment) for environment in others[:2]]
    assert usual[0] != usual[1], "the switches do nothing here, so this test proves nothing"
