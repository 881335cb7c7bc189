"""A comparison: the same workloads under several policies, each with the same seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.results.outcome import RunOutcome


@dataclass(frozen=True)
class Comparison:
    """Runs in pairs: under every policy the same seeds, so the same arrivals and the same faults.

    Attributes
    ----------
    title
        What was compared: the jobs or the trace, and on which cluster.
    policies, seeds
        In the order asked for; the first policy is the yardstick.
    runs
        All of those that were finished, by policy and seed.
    command
        What to type to have it again.
    versions
        Of everything that the figures depend on: name -> version.
    """

    title: str
    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: tuple[RunOutcome, ...]
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def of(self, policy: str) -> tuple[RunOutcome, ...]:
        """Return a policy's runs, by seed in the order of ``seeds``."""
        found = {run.seed: run for run in self.runs if run.policy == policy}
        return tuple(found[seed] for seed in self.seeds if seed in found)

    def paired(self, policy: str, other: str) -> tuple[tuple[RunOutcome, RunOutcome], ...]:
        """Return the runs of two policies with equal seeds."""
        theirs = {run.seed: run for run in self.of(other)}
        return tuple((run, theirs[run.seed]) for run in self.of(policy) if run.seed in theirs)

    def models(self) -> Mapping[str, frozenset[str]]:
        """Return, for each job that was trained, the SHA-256 of its models: one, unless the runs' bits differ."""
        found: dict[str, set[str]] = {}
        for job in (job for run in self.runs for job in run.jobs if job.model_sha256):
            found.setdefault(job.id, set()).add(job.model_sha256)
        return {name: frozenset(hashes) for name, hashes in found.items()}
