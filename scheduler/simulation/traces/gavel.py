"""The jobs of Gavel's evaluation, made as its generator makes them, and its measured throughputs.

The generator is that of the repository stanford-futuredata/gavel at commit c4fa400, published with Narayanan et al.,
OSDI 2020: the same draws from Python's ``random`` in the same order, so that a seed gives the same jobs. Durations are
those on a V100, 10^1.5 to 10^3 minutes for four jobs in five and 10^3 to 10^4 for the fifth.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from math import inf, log
from pathlib import Path
from typing import Any

from policies.interface import Floats, JobView, Resources, frozen
from scheduler.errors import UserError, shown, unknown
from scheduler.simulation.fleet import Fleet, Machine
from workers.reading import DOCUMENT_BYTES, read_text

KINDS = ("v100", "p100", "k80")
PER_KIND = 36
"""GPUs of each kind; every GPU is a node of its own."""

BUNDLE = Resources(gpu=1.0)

MODELS = (
    *((f"ResNet-18 (batch size {size})", True) for size in (16, 32, 64, 128, 256)),
    *((f"ResNet-50 (batch size {size})", True) for size in (16, 32, 64, 128)),
    *((f"Transformer (batch size {size})", True) for size in (16, 32, 64, 128, 256)),
    *((f"LM (batch size {size})", True) for size in (5, 10, 20, 40, 80)),
    *((f"Recommendation (batch size {size})", False) for size in (512, 1024, 2048, 4096, 8192)),
    ("A3C", False),
    ("CycleGAN", False),
)
"""What is trained, and whether several GPUs may train it."""

MOST = 1e12
"""Steps per second."""

Rates = Mapping[str, Floats]


def fleet(per_kind: int = PER_KIND) -> Fleet:
    """Return the cluster: so many GPUs of each kind, one a node."""
    machines = [Machine(f"{kind}-{number:02d}", BUNDLE, kind=kind) for kind in KINDS for number in range(per_kind)]
    return Fleet(tuple(machines), "Gavel")


def read_rates(path: Path, kinds: Sequence[str] = KINDS) -> dict[tuple[str, int], Rates]:
    """Return the steps per second of each model with so many GPUs, by kind; as ``JobView.rates`` has them.

    Raises
    ------
    UserError
        If the file is no JSON of throughputs; what is wrong with it, and where.
    """
    measured = _measured(path)
    found: dict[tuple[str, int], dict[str, Floats]] = {}
    for kind in kinds:
        if kind not in measured:
            raise UserError(f"{path}: {unknown('kind', kind, measured)}")
        if not isinstance(measured[kind], dict):
            raise UserError(f"{path}: {kind}: must be an object of models, got {shown(measured[kind])}")
        for name, beside in measured[kind].items():
            match = re.fullmatch(r"\('(.*)', ([1-9]\d?)\)", name)
            if match:
                gpus, rate = int(match[2]), beside.get("null") if isinstance(beside, dict) else None
                if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= MOST:
                    where = f"{path}: {kind}: {name}: null"
                    raise UserError(
                        f"{where}: must be a finite number of at least 0 and at most {MOST:g}, got {shown(rate)}"
                    )
                found.setdefault((match[1], gpus), {})[kind] = gang_rate(rate, gpus)
    return dict(found)


def gang_rate(rate: float, gpus: int) -> Floats:
    """Return the rates of a job that runs with so many GPUs and no fewer."""
    return frozen([0.0] * (gpus - 1) + [rate])


def _measured(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(path, DOCUMENT_BYTES))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: column {error.colno}: not valid JSON: {error.msg}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: must be an object of kinds, such as 'v100', got {shown(found)}")
    return found


def jobs(
    rates: Mapping[tuple[str, int], Rates], seed: int, per_hour: float = inf, several_gpus: bool = True
) -> Iterator[JobView]:
    """Make jobs without end, in the order of their arrival; all at once without a rate."""
    draw, arrival = random.Random(seed + 2), random.Random(seed + 3)  # noqa: S311
    number, now_s = 0, 0.0
    while True:
        gpus = _gpus(draw.uniform(0, 1))
        long = draw.random() >= 0.8
        duration_s = 60 * 10 ** (draw.uniform(3, 4) if long else draw.uniform(1.5, 3))
        gpus = gpus if several_gpus else 1
        model, scales = draw.choice(MODELS)
        while gpus > 1 and not scales:
            model, scales = draw.choice(MODELS)
        mine = rates[model, gpus]
        work = duration_s * float(mine["v100"][-1])
        yield JobView(f"job-{number:05d}", now_s, BUNDLE, gpus, gpus, work=work, rates=mine)
        number += 1
        now_s += 3600 * -log(1.0 - arrival.random()) / per_hour


def _gpus(drawn: float) -> int:
    """Return how many GPUs a job has: 1, 2, 4 or 8, at 70, 10, 15 and 5 %."""
    return 1 if drawn < 0.7 else 2 if drawn < 0.8 else 4 if drawn < 0.95 else 8
