"""The generator of the convergence page, on a small case."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks import convergence, problems


@pytest.fixture(scope="module")
def runs() -> list[convergence.Run]:
    made = problems.least_squares(600, features=3)
    case = convergence.shuffled("small", "squared", made.X, made.y, 0.0)
    return list(convergence.measure(case, limit_s=2.0, max_rounds=60))


def test_every_solver_that_fits_is_measured_on_both_kinds_of_shards(runs: list[convergence.Run]) -> None:
    kinds = {run.solver: set() for run in runs}
    for run in runs:
        kinds[run.solver].add(run.shards)
    assert {"exact", "gradient-descent", "local-sgd", "local-svrg"} <= set(kinds)
    assert all(found == {"iid", "sorted"} for found in kinds.values())


def test_the_exact_solver_is_there_after_one_round_and_others_later(runs: list[convergence.Run]) -> None:
    for run in runs:
        if run.solver == "exact":
            assert run.rounds == [1, 1, 1]
            assert abs(run.last_gap) < 1e-9
        if run.solver == "gradient-descent":
            assert run.rounds[0] is not None
        assert sorted(number or math.inf for number in run.rounds) == [number or math.inf for number in run.rounds]


def test_solvers_that_do_not_fit_are_left_out() -> None:
    made = problems.logistic(300, features=3)
    case = convergence.shuffled("small", "logistic", made.X, made.y, 1e-2)
    assert "exact" not in {run.solver for run in convergence.measure(case, limit_s=0.2, max_rounds=3)}


def test_sorted_shards_hold_parts_of_the_targets_that_do_not_overlap() -> None:
    case = convergence.synthetic(800)
    ends = [(shard.train.y.min(), shard.train.y.max()) for shard in case.shards(by_target=True)]
    assert all(below[1] <= above[0] for below, above in pairwise(ends))
    together = np.concatenate([shard.train.y for shard in case.shards(by_target=False)])
    assert (together == case.y).all()


def test_only_what_lies_between_the_markers_is_replaced(tmp_path: Path, runs: list[convergence.Run]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{convergence.BEGIN}\nold\n{convergence.END}\nbelow\n", encoding="utf-8")
    text = convergence.markdown({"small": runs}, convergence.facts(), convergence.parsed(["--limit", "2"]))
    for _ in range(2):  # twice: the markers stay
        convergence.write_page(page, text)
    written = page.read_text(encoding="utf-8")
    assert written.startswith("above\n")
    assert written.endswith("\nbelow\n")
    assert "old" not in written
    assert "--rounds 500 --limit 2`" in written
    assert written.count("| exact | iid | 1 (") == 1


def test_a_page_without_markers_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="add them where the tables belong"):
        convergence.write_page(page, "text")
