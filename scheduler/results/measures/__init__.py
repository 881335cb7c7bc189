"""What is measured of a run: one definition each, the same for live and simulated runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.results.measures.completion import COMPLETION
from scheduler.results.measures.decisions import DECISIONS
from scheduler.results.measures.learning import LEARNING
from scheduler.results.measures.measure import Measure
from scheduler.results.measures.use import USE

__all__ = ["MEASURES", "ON_THE_REAL_CLOCK", "Measure"]

MEASURES: Mapping[str, Measure] = {one.name: one for one in (*COMPLETION, *USE, *LEARNING, *DECISIONS)}
"""Every measure by its name, in the order of the report."""

ON_THE_REAL_CLOCK = ("decision_p50_s", "decision_p99_s")
"""What differs from run to run, even of a simulation."""
