"""The tables of a report: what is in them, what is best, how much of them there is."""

from __future__ import annotations

import json
import math
import re

import pytest

from policies.interface import Resources
from scheduler.report.html import tables
from scheduler.report.html.tables import JOB_COLUMNS, job_tables, measures_table, ranking_table
from scheduler.results.comparison import Comparison
from scheduler.results.outcome import JobOutcome, RunOutcome, Status

CPU = Resources(1.0)
EVIL = "<b>&"


def run(policy: str, seed: int, *ends_s: float) -> RunOutcome:
    jobs = tuple(
        JobOutcome(f"job {number}", 0.0, CPU, reason="gave up", status=Status.FAILED)
        if math.isnan(end_s)
        else JobOutcome(f"job {number}", 0.0, CPU, 1, Status.FINISHED, 1.0, end_s, alone_s=2.0)
        for number, end_s in enumerate(ends_s)
    )
    return RunOutcome(policy, seed, False, max(ends_s), (), jobs)


def compared(*runs: RunOutcome) -> Comparison:
    policies = tuple(dict.fromkeys(one.policy for one in runs))
    return Comparison("t", policies, tuple(sorted({one.seed for one in runs})), runs)


BOTH = compared(run("slow", 0, 4.0, 8.0), run(EVIL, 0, 2.0, 4.0), run("slow", 1, 6.0, math.nan), run(EVIL, 1, 3.0, 5.0))


def cells(html: str) -> list[list[str]]:
    return [
        re.findall(r"<t[dh][^>]*>(?:<button[^>]*>)?(.*?)(?:</button>)?</t[dh]>", row) for row in html.split("<tr")[1:]
    ]


def test_the_ranking_has_the_best_first_and_how_it_compares() -> None:
    head, best, other = cells(ranking_table(BOTH))
    assert head[:3] == ["policy", "jct mean, s", "x slow"]
    assert (best[0], other[0]) == ("&lt;b&gt;&amp;", "slow")
    assert best[1].startswith("3.5 ±")
    assert other[2] == "1.000"
    assert re.fullmatch(r"0\.\d{3} \(\d.*? to \d.*?\)", best[2])
    assert len(head) == len(best) <= 3 + tables.MOST_COLUMNS


def test_the_best_of_every_measure_is_marked() -> None:
    html = measures_table(BOTH)
    row = next(row for row in html.split("<tr")[1:] if "jct mean" in row)
    assert re.findall(r'class="number( best)?"', row) == [" best", ""]
    assert 'title="Mean job completion time' in row
    assert "Lower is better." in row
    same = measures_table(compared(run("a", 0, 4.0), run("b", 0, 4.0)))
    assert " best" not in same


def test_jobs_are_shown_as_means_and_for_each_seed() -> None:
    found = job_tables(BOTH)
    json.dumps(found, allow_nan=False)
    assert [(one["policy"], one["of"]) for one in found["tables"]] == [
        ("slow", "mean over 2 seeds"),
        (EVIL, "mean over 2 seeds"),
        ("slow", "seed 0"),
        (EVIL, "seed 0"),
        ("slow", "seed 1"),
        (EVIL, "seed 1"),
    ]
    jct = 2 + list(JOB_COLUMNS).index("JCT, s")
    first, second = found["tables"][0]["rows"]
    assert (first[0], first[1], first[jct], first[jct + 1], first[-1]) == ("job 0", "finished", 5, 2.5, "")
    assert (second[1], second[jct], second[-1]) == ("finished in 1 of 2", 8, "gave up")  # of the one that is known
    lost = found["tables"][4]["rows"][1]
    assert (lost[1], lost[jct]) == ("failed", None)
    assert all(len(row) == len(found["columns"]) for one in found["tables"] for row in one["rows"])
    assert found["note"] == ""


def test_one_seed_needs_no_mean() -> None:
    assert [one["of"] for one in job_tables(compared(run("a", 3, 4.0)))["tables"]] == ["seed 3"]


def test_the_file_stays_small_and_says_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_JOBS", 3)
    monkeypatch.setattr(tables, "MOST_ROWS", 7)
    found = job_tables(compared(*(run("a", seed, *([4.0] * 5)) for seed in range(4))))
    assert [(one["of"], len(one["rows"])) for one in found["tables"]] == [("mean over 4 seeds", 3), ("seed 0", 3)]
    assert found["note"] == "Shown: the first 3 of 5 jobs, 2 of 5 tables; the rest would make this file too large."


def test_nothing_was_run() -> None:
    empty = Comparison("t", ("a",), (), ())
    assert job_tables(empty)["tables"] == []
    assert len(cells(ranking_table(empty))) == 1
    assert len(cells(measures_table(empty))) == 1
