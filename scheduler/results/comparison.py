"""A comparison: the same workloads under several policies, each with the same seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from scheduler.results.measures import MEASURES
from scheduler.results.outcome import RunOutcome


@dataclass(frozen=True)
class Comparison:
    """Runs side by side: under every policy the same seeds, so the same arrivals and the same faults.

    Attributes
    ----------
    title
        What was compared: the jobs or the trace, and on which cluster.
    policies, seeds
        In the order asked for; the first policy is the yardstick.
    runs
        All of those that were finished, by policy and seed; some are missing where it was interrupted.
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

    @cached_property
    def _by_seed(self) -> Mapping[str, Mapping[int, RunOutcome]]:
        found: dict[str, dict[int, RunOutcome]] = {policy: {} for policy in self.policies}
        for run in self.runs:
            found.setdefault(run.policy, {})[run.seed] = run
        return found

    @cached_property
    def shared(self) -> tuple[int, ...]:
        """The seeds with which every policy that was run at all was run; policies are compared on these alone."""
        known = [runs.keys() for policy in self.policies if (runs := self._by_seed[policy])]
        return tuple(seed for seed in self.seeds if known and all(seed in runs for runs in known))

    @property
    def extent(self) -> str:
        """How many seeds the figures are of, and which policies were not run."""
        if len(self.shared) == len(self.seeds):
            return f"{len(self.seeds)} seed{'s' if len(self.seeds) != 1 else ''}"
        missing = [policy for policy in self.policies if not self._by_seed[policy]]
        left = f"; not run: {', '.join(missing)}" if missing else ""
        return f"{len(self.shared)} of {len(self.seeds)} seeds, those that all policies were run with{left}"

    def of(self, policy: str) -> tuple[RunOutcome, ...]:
        """Return a policy's runs with the shared seeds, in the order of these; none if it was not run."""
        found = self._by_seed.get(policy, {})
        return tuple(found[seed] for seed in self.shared) if found else ()

    @cached_property
    def measured(self) -> Mapping[tuple[str, int], Mapping[str, float]]:
        """Every measure of each run, by policy and seed: worked out once."""
        return {(run.policy, run.seed): {name: one.of(run) for name, one in MEASURES.items()} for run in self.runs}

    def figures(self, policy: str, measure: str) -> tuple[float, ...]:
        """Return a measure of a policy's runs with the shared seeds, in the order of these."""
        return tuple(self.measured[policy, run.seed][measure] for run in self.of(policy))

    def models(self) -> Mapping[str, frozenset[str]]:
        """Return, for each job that was trained, the SHA-256 of its models: one, unless the runs' bits differ."""
        found: dict[str, set[str]] = {}
        for job in (job for run in self.runs for job in run.jobs if job.model_sha256):
            found.setdefault(job.id, set()).add(job.model_sha256)
        return {name: frozenset(hashes) for name, hashes in found.items()}
