"""Shockwave's traces: jobs whose batch size grows as they learn, published with Zheng et al., NSDI 2023.

A line has twelve fields with tabs between them. How the batch size grows is not in the trace but in the repository
uw-mad-dash/shockwave (``scheduler/utils.py`` at commit e07dd20): from there are the epochs at which it changes, and the
samples of the data sets. The durations that are worked out there count whole epochs, and in mode ``gns`` the last one
at the first batch size; here a job has the samples of its steps, so a static one takes its steps over its throughput.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, groupby
from pathlib import Path
from typing import IO

from policies.interface import JobView, Resources
from scheduler.errors import Mistakes, UserError, shown, unknown
from scheduler.simulation.fleet import Fleet, Machine
from scheduler.simulation.traces.gavel import BUNDLE, Rates, gang_rate, read_rates
from scheduler.simulation.workload import Phase, SimulatedJob, Workload
from workers.reading import limited_lines

KIND = "v100"
THROUGHPUTS = "tacc_throughputs.json"
"""The file with the throughputs that belong to a trace, beside it."""

FIELDS = (
    *("job_type", "command", "working_directory", "num_steps_arg", "needs_data_dir", "total_steps"),
    *("scale_factor", "mode", "priority_weight", "SLO", "duration", "arrival_time"),
)

MOST_EPOCHS = 100_000

MODES = ("static", "accordion", "gns")

SAMPLES = {
    "ResNet-18": 50_000,
    "ResNet-50": 100_000,
    "Transformer": 10_000,
    "LM": 59_675,
    "Recommendation": 117_907,
    "A3C": 4,
    "CycleGAN": 6_287,
}
"""Model -> samples of an epoch."""

LARGEST = {"ResNet-18": 256, "ResNet-50": 128, "Transformer": 128, "LM": 80, "Recommendation": 8192}
"""Model -> the largest batch size."""

GNS = {
    ("ResNet-18", 16, 1): (31, 41, 51, 71),
    ("ResNet-18", 32, 1): (21, 31, 51),
    ("ResNet-18", 64, 1): (11, 31),
    ("ResNet-18", 128, 1): (11,),
    ("ResNet-18", 16, 2): (21, 31, 91, 111),
    ("ResNet-18", 32, 2): (11, 21, 41),
    ("ResNet-18", 64, 2): (21, 41),
    ("ResNet-18", 128, 2): (41,),
    ("ResNet-18", 16, 4): (11, 21, 81, 91),
    ("ResNet-18", 32, 4): (21, 31, 61),
    ("ResNet-18", 64, 4): (11, 61),
    ("ResNet-18", 128, 4): (11,),
    ("ResNet-50", 64, 1): (101,),
    ("ResNet-50", 32, 2): (101, 111),
    ("ResNet-50", 64, 2): (81,),
    ("ResNet-50", 32, 4): (131, 221),
    ("ResNet-50", 64, 4): (191,),
    ("LM", 5, 1): (31, 41, 61, 71),
    ("LM", 10, 1): (11, 21, 41),
    ("LM", 20, 1): (11, 41),
    ("LM", 40, 1): (11,),
    ("LM", 5, 2): (31, 51, 61, 71),
    ("LM", 10, 2): (11, 31, 41),
    ("LM", 20, 2): (31, 41),
    ("LM", 40, 2): (11,),
    ("LM", 5, 4): (11, 31, 71, 91),
    ("LM", 10, 4): (11, 31, 61),
    ("LM", 20, 4): (11, 61),
    ("LM", 40, 4): (61,),
    ("Recommendation", 512, 1): (21, 41, 71, 91),
    ("Recommendation", 1024, 1): (21, 51, 91),
    ("Recommendation", 2048, 1): (21, 41),
    ("Recommendation", 4096, 1): (41,),
}
"""Model, first batch size, GPUs -> the epochs (from 0) at which the batch size doubles."""


@dataclass(frozen=True)
class Line:
    """A job as a line of a trace has it.

    Attributes
    ----------
    name
        ``job-000`` and so on, in the order of the file.
    number
        Of the line, from 1.
    batch
        The first batch size.
    mode
        How the batch grows, one of ``MODES``.
    steps
        How many there were to do if the batch did not grow.
    duration_s, slo
        As published; a job is to end within ``slo`` times its duration, where that is over 0.
    at_s
        When it arrives.
    """

    name: str
    number: int
    model: str
    batch: int
    gpus: int
    mode: str
    steps: int
    duration_s: float
    slo: float
    at_s: float


def fleet(num_gpus: int = 32, gpus_per_node: int = 4) -> Fleet:
    """Return the cluster of the published table: V100s, four a node."""
    capacity = Resources(gpu=float(gpus_per_node))
    names = [f"node-{number}" for number in range(num_gpus // gpus_per_node)]
    return Fleet(tuple(Machine(name, capacity, kind=KIND) for name in names), "Shockwave")


def read_workload(path: Path, throughputs: Path | None = None) -> Workload:
    """Return the jobs; their work is counted in epochs of so many samples, with a phase for every batch size.

    A job has one worker for each GPU, and all or none of them. Priorities are not read: they are all alike.

    Parameters
    ----------
    throughputs
        Steps per second by model and GPUs, in Gavel's format; without it, ``THROUGHPUTS`` beside the trace.

    Raises
    ------
    UserError
        With the first 20 mistakes of the trace, or what is wrong with the throughputs.
    """
    rates = read_rates(throughputs or path.with_name(THROUGHPUTS), (KIND,))
    mistakes = Mistakes(path)
    made = [(line, _phases(line, rates, mistakes)) for line in _lines(path, mistakes)]
    mistakes.tell()
    return workload((job_of(line, phases) for line, phases in made), str(path))


def read_lines(path: Path) -> tuple[Line, ...]:
    """Return the jobs as the lines have them.

    Raises
    ------
    UserError
        With the first 20 mistakes of the trace.
    """
    mistakes = Mistakes(path)
    lines = tuple(_lines(path, mistakes))
    mistakes.tell()
    return lines


def workload(jobs: Iterable[SimulatedJob], source: str) -> Workload:
    """Return the jobs by time of arrival.

    Raises
    ------
    UserError
        If there is none.
    """
    some = tuple(sorted(jobs, key=lambda job: job.view.submitted_s))
    if not some:
        raise UserError(f"{source}: has no job: there is nothing to simulate")
    return Workload(some, source)


def job_of(line: Line, phases: tuple[Phase, ...]) -> SimulatedJob:
    """Return a job with these phases."""
    view = JobView(
        line.name,
        line.at_s,
        BUNDLE,
        line.gpus,
        line.gpus,
        deadline_s=line.at_s + line.slo * line.duration_s if line.slo > 0 else math.inf,
        work=sum(phase.work for phase in phases),
        rates=phases[0].rates,
    )
    return SimulatedJob(view, phases=phases)


def batch_sizes(model: str, batch: int, gpus: int, mode: str, epochs: int) -> list[int]:
    """Return the batch size of each epoch."""
    if mode == "accordion" and model in ("ResNet-18", "ResNet-50", "LM", "Recommendation"):
        small = (_is_critical(model, batch, epoch) or epoch <= epochs * 0.3 for epoch in range(epochs))
        return [batch if one else LARGEST[model] for one in small]
    if mode == "gns":
        doublings = GNS.get((model, batch, gpus), ())
        most = LARGEST.get(model, batch)
        return [min(batch * 2 ** sum(epoch >= at for at in doublings), most) for epoch in range(epochs)]
    return [batch] * epochs


def throughput(rates: Mapping[tuple[str, int], Rates], line: Line, batch: int) -> float:
    """Return the steps per second of a job with this batch size, 0 where they are not known."""
    return float(rates.get((_type(line.model, batch), line.gpus), {KIND: [0.0]})[KIND][-1])


def _type(model: str, batch: int) -> str:
    return model if model in ("A3C", "CycleGAN") else f"{model} (batch size {batch})"


def _is_critical(model: str, batch: int, epoch: int) -> bool:
    """Say whether Accordion keeps the batch small in an epoch: gradients change fast then."""
    if model == "ResNet-18":
        return epoch < (20 if batch == 256 else 10) or 150 <= epoch < 160 or 250 <= epoch < 260
    if model == "ResNet-50":
        return epoch < 600 and epoch % 30 < 10
    if model == "LM":
        return epoch < 10
    first = {512: 30, 1024: 30, 2048: 40}.get(batch, 10)
    return epoch < first or 60 <= epoch < 70 or 80 <= epoch < 90


def _lines(path: Path, mistakes: Mistakes) -> Iterator[Line]:
    """Yield the lines that are jobs, and note what is wrong with the others."""
    try:
        with path.open(encoding="utf-8") as file:
            yield from _jobs(file, mistakes)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _jobs(file: IO[str], mistakes: Mistakes) -> Iterator[Line]:
    names = count()
    for number, text in enumerate(limited_lines(file), 1):
        line = _parsed(text.rstrip("\r\n"), number, mistakes) if text.strip() else None
        if line is not None:
            yield replace(line, name=f"job-{next(names):03d}")


def _parsed(text: str, number: int, mistakes: Mistakes) -> Line | None:
    fields = text.split("\t")
    if len(fields) != len(FIELDS):
        mistakes.add(number, "", f"must have {len(FIELDS)} fields with tabs between them, got {len(fields)}")
        return None
    found = dict(zip(FIELDS, fields, strict=True))
    job_type = re.fullmatch(r"(\S+)(?: \(batch size ([1-9]\d{0,6})\))?", found["job_type"])
    if not job_type or job_type[1] not in SAMPLES:
        model = found["job_type"].split(" ")[0]
        mistakes.add(number, "job_type", f"must be such as 'LM (batch size 5)'; {unknown('model', model, SAMPLES)}")
        return None
    if found["mode"] not in MODES:
        mistakes.add(number, "mode", unknown("mode", found["mode"], MODES))
        return None
    numbers = {field: _number(found, field, number, mistakes) for field in ("total_steps", "scale_factor", "duration")}
    at_s = _number(found, "arrival_time", number, mistakes, above=False)
    slo = _number(found, "SLO", number, mistakes, least=-math.inf)
    if at_s is None or slo is None or None in numbers.values():
        return None
    steps, gpus, duration_s = (float(one or 0) for one in numbers.values())
    batch, mode = int(job_type[2] or 1), found["mode"]
    return Line("", number, job_type[1], batch, int(gpus), mode, int(steps), duration_s, slo, at_s)


def _number(
    fields: Mapping[str, str], name: str, line: int, mistakes: Mistakes, least: float = 0.0, above: bool = True
) -> float | None:
    try:
        found = float(fields[name])
    except ValueError:
        found = math.nan
    whole = name not in ("total_steps", "scale_factor") or found == found // 1
    if whole and math.isfinite(found) and (found > least if above else found >= least):
        return found
    bound = "" if least == -math.inf else f" above {least:g}" if above else f" of at least {least:g}"
    kind = "whole" if name in ("total_steps", "scale_factor") else "finite"
    mistakes.add(line, name, f"must be a {kind} number{bound}, got {shown(fields[name])}")
    return None


def _phases(line: Line, rates: Mapping[tuple[str, int], Rates], mistakes: Mistakes) -> tuple[Phase, ...]:
    """Return a phase for every run of epochs with one batch size; none if a throughput is not known."""
    samples = SAMPLES[line.model]
    left = line.steps * line.batch / samples
    if left > MOST_EPOCHS:
        mistakes.add(line.number, "total_steps", f"makes over {MOST_EPOCHS:,} epochs, got {line.steps}")
        return ()
    phases = []
    for batch, run in groupby(batch_sizes(line.model, line.batch, line.gpus, line.mode, math.ceil(left))):
        steps_per_s = throughput(rates, line, batch)
        if steps_per_s <= 0:
            what = _type(line.model, batch)
            mistakes.add(line.number, "job_type", f"no throughput above 0 is known of {what} with {line.gpus} GPUs")
            return ()
        work = min(float(len(list(run))), left)  # the last epoch may be a part of one
        left -= work
        phases.append(Phase(work, {KIND: gang_rate(steps_per_s * batch / samples, line.gpus)}))
    return tuple(phases)
