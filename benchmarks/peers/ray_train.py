"""Ray Train: PyTorch's DistributedDataParallel over gloo, two workers with half of the rows each in a tensor."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import numpy as np

from benchmarks.peers.base import Goal, Limits, Peer, Point, Points, Settings
from benchmarks.peers.numpy_loop import DECAYS, TWO_BATCHES
from benchmarks.problems import LearningProblem
from benchmarks.reference import Reference

NUM_WORKERS = 2


class RayTrain(Peer):
    """``TorchTrainer`` with the usual loop: a linear module, a loss, ``torch.optim.SGD``."""

    name = "Ray Train (torch DDP, gloo)"
    timed = "the loop over batches on rank 0; rows in the workers' memory"
    library = "torch"
    needs_ray = True

    def tuner(self) -> Peer:
        """Take the rate found in one process, with the batches of both workers as one."""
        return TWO_BATCHES

    def points(self, problem: LearningProblem, settings: Settings, goal: Goal, limits: Limits) -> Points:
        """Yield the parameters after every pass, all at the end: the workers stop by themselves."""
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        with tempfile.TemporaryDirectory() as storage:
            config = {
                "files": problem.files, "objective": problem.objective, "l2": problem.l2,
                "batch_size": problem.batch_size, "goal": goal.value,
                "rates": [settings["rate"] * DECAYS[settings["decay"]](epoch) for epoch in range(limits.epochs)],
                "limit_s": limits.seconds,
            }  # fmt: skip
            trainer = TorchTrainer(
                train_loop,
                train_loop_config=config,
                torch_config=TorchConfig(backend="gloo"),
                scaling_config=ScalingConfig(num_workers=NUM_WORKERS),
                run_config=RunConfig(storage_path=storage),
            )
            points = trainer.fit().return_value
        for number, (seconds, parameters) in enumerate(points):
            yield Point(seconds, number + 1, np.array(parameters))


def train_loop(config: dict[str, Any]) -> list[tuple[float, list[float]]]:
    """Train on this worker's half; return seconds and parameters after every pass.

    Rank 0 says, untimed, when it is enough; its return value is what the trainer gives.
    """
    import torch
    from ray.train import get_context
    from ray.train.torch import prepare_model

    torch.set_num_threads(1)
    rank = get_context().get_world_rank()
    all_X, all_y = (np.load(config["files"] / f"{name}.npy", mmap_mode="r") for name in "Xy")
    rows = slice(len(all_y) * rank // NUM_WORKERS, len(all_y) * (rank + 1) // NUM_WORKERS)
    X, y = torch.from_numpy(np.array(all_X[rows])), torch.from_numpy(np.array(all_y[rows]))
    module = torch.nn.Linear(X.shape[1], 1)
    torch.nn.init.zeros_(module.weight)
    torch.nn.init.zeros_(module.bias)
    model = prepare_model(module)
    groups = [{"params": [module.weight], "weight_decay": config["l2"]}, {"params": [module.bias]}]
    optimiser = torch.optim.SGD(groups, lr=config["rates"][0])
    loss = _half_squared if config["objective"] == "squared" else torch.nn.functional.binary_cross_entropy_with_logits
    reference = Reference(config["objective"], all_X, all_y, config["l2"])
    num_steps = -(-(len(all_y) // NUM_WORKERS) // config["batch_size"])  # the same on both: a step waits for the other
    points: list[tuple[float, list[float]]] = []
    seconds = 0.0
    for rate in config["rates"]:
        for group in optimiser.param_groups:
            group["lr"] = rate
        torch.distributed.barrier()
        started_s = time.perf_counter()
        for step in range(num_steps):
            batch = slice(step * config["batch_size"], (step + 1) * config["batch_size"])
            optimiser.zero_grad()
            loss(model(X[batch])[:, 0], y[batch]).backward()
            optimiser.step()
        seconds += time.perf_counter() - started_s
        parameters = torch.cat([module.weight.detach().ravel(), module.bias.detach()]).double().numpy()
        points.append((seconds, parameters.tolist()))
        enough = torch.zeros(1)
        if rank == 0:
            value = reference.value(parameters)
            enough += float(not value > config["goal"] or seconds > config["limit_s"])
        torch.distributed.broadcast(enough, src=0)
        if enough.item():
            break
    return points


def _half_squared(margins: Any, targets: Any) -> Any:
    return 0.5 * ((margins - targets) ** 2).mean()
