"""Ray Train on the same nodes: equal shards, all-reduce after every batch, or local SGD averaged once a round."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from typing import Any

from benchmarks.mixed import problem as mixed
from benchmarks.mixed.problem import MixedProblem

BATCHES, ROUNDS = "all-reduce a batch", "local SGD, averaged a round"
WAYS = (BATCHES, ROUNDS)
PARTS = 8
"""Of a pass: where every batch is reduced, parameters are looked at after each; elsewhere once a round, as ours."""


@dataclass(frozen=True)
class Fit:
    """Seconds on rank 0 between looks at the parameters, and the objective at each."""

    way: str
    look_s: list[float]
    objectives: list[float]


def fit(problem: MixedProblem, workers: int, way: str, rounds: int, limit_s: float) -> Fit:
    """Train until the target is reached, or for so many rounds or seconds; starting and reading rows are not timed."""
    from ray import cloudpickle
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with tempfile.TemporaryDirectory() as storage:
        config = {
            "file": str(problem.file), "way": way, "batch": mixed.BATCH, "epochs": mixed.EPOCHS, "l2": mixed.L2,
            "rates": [mixed.RATE / (1.0 + number) ** 0.5 for number in range(rounds)], "limit_s": limit_s,
        }  # fmt: skip
        trainer = TorchTrainer(
            train_loop,
            train_loop_config=config,
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(storage_path=storage, worker_runtime_env={"env_vars": {"GLOO_SOCKET_IFNAME": "eth0"}}),
        )
        points = trainer.fit().return_value
    seconds, objectives = [], []
    for took_s, parameters in points:
        seconds.append(took_s)
        objectives.append(problem.reference.value(parameters))
        if objectives[-1] <= problem.target:
            break
    return Fit(way, seconds, objectives)


def train_loop(config: dict[str, Any]) -> list[tuple[float, Any]]:
    """Train on this worker's equal part of the rows; return seconds and parameters after every round."""
    import time

    import numpy as np
    import torch
    from ray.train import get_context
    from ray.train.torch import prepare_model

    torch.set_num_threads(1)
    rank, size = get_context().get_world_rank(), get_context().get_world_size()
    table = np.load(config["file"], mmap_mode="r")
    rows = torch.from_numpy(np.array(table[len(table) * rank // size : len(table) * (rank + 1) // size]))
    X, y = rows[:, :-1].contiguous(), rows[:, -1].contiguous()
    module = torch.nn.Linear(X.shape[1], 1)
    torch.nn.init.zeros_(module.weight)
    torch.nn.init.zeros_(module.bias)
    each_batch = config["way"] == BATCHES
    model = prepare_model(module) if each_batch else module
    groups = [{"params": [module.weight], "weight_decay": config["l2"]}, {"params": [module.bias]}]
    optimiser = torch.optim.SGD(groups, lr=config["rates"][0])
    num_steps = len(table) // size // config["batch"]  # as many everywhere: a step waits for the others
    round_steps = num_steps * config["epochs"]
    stretch = max(num_steps // PARTS, 1) if each_batch else round_steps  # after which parameters are looked at
    points: list[tuple[float, Any]] = []
    began_s = time.perf_counter()
    for done in range(0, round_steps * len(config["rates"]), stretch):
        for group in optimiser.param_groups:
            group["lr"] = config["rates"][done // round_steps]
        torch.distributed.barrier()
        started_s = time.perf_counter()
        for step in torch.randint(num_steps, (stretch,)).tolist():
            batch = slice(step * config["batch"], (step + 1) * config["batch"])
            optimiser.zero_grad()
            (0.5 * ((model(X[batch])[:, 0] - y[batch]) ** 2).mean()).backward()
            optimiser.step()
        if not each_batch:
            for parameter in module.parameters():
                torch.distributed.all_reduce(parameter.data)
                parameter.data /= size
        torch.distributed.barrier()
        seconds = time.perf_counter() - started_s
        parameters = torch.cat([module.weight.detach().ravel(), module.bias.detach()]).double().numpy()
        points.append((seconds, parameters))
        enough = torch.tensor([float(time.perf_counter() - began_s > config["limit_s"])])
        torch.distributed.broadcast(enough, src=0)
        if enough.item():
            break
    return points
