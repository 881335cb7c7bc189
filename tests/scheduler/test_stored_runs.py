"""Runs in a folder: what is kept comes back, what is not ours does not, and what was interrupted goes on."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scheduler.stored_runs as module
from policies.interface import Resources
from policies.presets import resolve
from scheduler.errors import UserError
from scheduler.results.measures import ON_THE_REAL_CLOCK
from scheduler.results.outcome import (
    Activity,
    Interval,
    JobOutcome,
    NodeOutcome,
    RoundOutcome,
    RunOutcome,
    Status,
    Use,
)
from scheduler.stored_runs import COMPARISON_FILE, StoredRuns
from workers.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
NUMBER = st.floats(allow_nan=True, allow_infinity=True)
TEXT = st.text(max_size=5)
AMOUNT = st.builds(Resources, NUMBER, NUMBER, NUMBER)
RUNS = st.builds(
    RunOutcome,
    policy=st.just("equal"),
    seed=st.integers(0, 3),
    live=st.booleans(),
    ended_s=NUMBER,
    nodes=st.lists(st.builds(NodeOutcome, TEXT, TEXT, AMOUNT, NUMBER, NUMBER), max_size=2).map(tuple),
    jobs=st.lists(
        st.builds(
            JobOutcome,
            id=TEXT,
            submitted_s=NUMBER,
            bundle=AMOUNT,
            status=st.sampled_from(Status),
            ended_s=NUMBER,
            rounds=st.lists(
                st.builds(RoundOutcome, NUMBER, NUMBER, st.tuples(NUMBER), NUMBER, st.integers(0), st.none() | NUMBER),
                max_size=2,
            ).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    uses=st.lists(st.builds(Use, NUMBER, AMOUNT, AMOUNT, NUMBER, NUMBER, NUMBER), max_size=2).map(tuple),
    intervals=st.lists(
        st.builds(Interval, TEXT, TEXT, st.integers(-1, 9), st.sampled_from(Activity), NUMBER, NUMBER), max_size=2
    ).map(tuple),
    decisions_s=st.lists(NUMBER, max_size=2).map(tuple),
    lower_bound_s=NUMBER,
    faults=st.lists(st.tuples(NUMBER, TEXT), max_size=2).map(tuple),
)
RUN = RunOutcome("equal", 0, False, 2.0, (), (JobOutcome("a", 0.0, Resources(1.0)),), decisions_s=(0.5, math.nan))


def stored(folder: Path, *specs: Any, **facts: Any) -> StoredRuns:
    return StoredRuns(folder, {"copies": 3, **facts}, [resolve(spec) for spec in specs or ("equal",)])


@given(RUNS)
def test_a_run_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, run: RunOutcome) -> None:
    folder = tmp_path_factory.mktemp("runs") / "new"
    stored(folder).keep(run)
    again = stored(folder)
    assert repr(again.find("equal", run.seed)) == repr(run)  # NaN is not equal to itself
    assert again.trouble == []


def test_what_was_not_kept_is_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    runs = stored(folder, "equal", "pull")
    assert runs.find("equal", 0) is None
    runs.keep(RUN)
    runs.keep(replace(RUN, seed=2))
    assert [(run.policy, run.seed) for run in runs.found(["equal", "pull"], range(3))] == [("equal", 0), ("equal", 2)]
    assert runs.trouble == []


@pytest.mark.parametrize("name", ["las+fgd", "mine:Mine", "../../up", "a b\n", "x" * 300, "ü", ""])
def test_any_name_of_a_policy_is_a_file_in_the_folder(tmp_path: Path, name: str) -> None:
    policy = resolve("equal")
    policy.name = name
    runs = StoredRuns(tmp_path / "runs", {}, [policy])
    runs.keep(replace(RUN, policy=name, seed=7))
    (file,) = (tmp_path / "runs").glob("*-seed7.json")
    assert file.parent == tmp_path / "runs"
    assert runs.find(name, 7) is not None


def test_options_of_a_policy_count(tmp_path: Path) -> None:
    plain, other = ({"balance": {"pid": {"dead_band": band}}} for band in (0.05, 0.2))
    run = replace(RUN, policy="fifo+spread+pid")
    stored(tmp_path, plain).keep(run)
    assert stored(tmp_path, {"balance": "pid"}).find("fifo+spread+pid", 0) is not None
    changed = stored(tmp_path, other)
    assert changed.find("fifo+spread+pid", 0) is None
    assert changed.trouble == []


def test_the_source_of_ones_own_policy_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(tmp_path).keep(RUN)
    monkeypatch.setattr(module, "_source_digest", lambda name: name)
    assert stored(tmp_path).find("equal", 0) is None


def test_runs_of_another_comparison_are_refused(tmp_path: Path) -> None:
    stored(tmp_path, numpy="2.1").keep(RUN)
    with pytest.raises(UserError) as caught:
        stored(tmp_path, copies=4, drift=0.5)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / COMPARISON_FILE}: the runs are of another comparison: ")
    assert "copies is 3 there, 4 here; drift is nothing there, 0.5 here; numpy is '2.1' there, nothing here" in said


def file_of(folder: Path) -> Path:
    runs = stored(folder)
    runs.keep(RUN)
    return runs.path("equal", 0)


def changed(path: Path, keys: str, value: Any) -> None:
    found = json.loads(path.read_text("utf-8"))
    *parents, last = keys.split(".")
    place = found
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    place[last] = value
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        ("run.seed", 1, "run.seed: must be 0, got 1"),
        ("run.policy", "pull", "run.policy: must be 'equal', got 'pull'"),
        ("comparison", "0" * 64, "comparison: must be '"),
        ("policy", "0" * 64, "policy: must be '"),
        ("run.ended_s", "later", "run.ended_s: Input should be a valid number"),
        ("run.jobs.0.status", "great", "run.jobs.0.status: Input should be 'finished'"),
        ("run.jobs.0.colour", 3, "run.jobs.0.colour: "),
        ("more", 3, "more: Extra inputs are not permitted, got 3"),
    ],
)
def test_a_file_that_is_not_ours_is_told_and_not_taken(tmp_path: Path, keys: str, value: Any, said: str) -> None:
    path = file_of(tmp_path)
    changed(path, keys, value)
    runs = stored(tmp_path)
    assert runs.find("equal", 0) is None
    (line,) = runs.trouble
    assert line.startswith(f"{path}: {said}")


@given(st.data())
def test_a_file_that_was_cut_is_never_taken(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = file_of(tmp_path_factory.mktemp("runs"))
    whole = path.read_bytes().rstrip()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    runs = stored(path.parent)
    assert runs.find("equal", 0) is None
    assert len(runs.trouble) == 1


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_of(tmp_path)
    runs = stored(tmp_path)
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    assert runs.find("equal", 0) is None
    assert "over 100 bytes" in runs.trouble[0]
    assert str(path) in runs.trouble[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"version": 1', "Invalid JSON"),
        ('{"version": 2, "depends_on": {}}', "version: must be 1, got 2"),
        ('{"depends_on": {}}', "version: Field required"),
        ('{"version": 1, "depends_on": {"a": []}}', "depends_on.a."),
    ],
)
def test_a_folder_that_says_something_else_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / COMPARISON_FILE).write_text(content)
    with pytest.raises(UserError, match="name another folder") as caught:
        stored(tmp_path)
    assert f"{tmp_path / COMPARISON_FILE}: {said}" in str(caught.value)


def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        stored(tmp_path / "file" / "runs")


def test_runs_that_nobody_answers_for_are_refused(tmp_path: Path) -> None:
    file_of(tmp_path)
    (tmp_path / COMPARISON_FILE).unlink()
    with pytest.raises(UserError, match=f"has no {COMPARISON_FILE}"):
        stored(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no folder"):
        stored(tmp_path / "file")


POLICY = """\
import time
from pathlib import Path

from policies.order.fifo import Fifo


class Slow(Fifo):
    '''Waits in the world of seed 1 until it is told to go.'''

    name = "slow"

    def rank(self, snapshot):
        while snapshot.seed == 1 and not Path("go").exists():
            Path("waits").touch()
            time.sleep(0.01)
        return super().rank(snapshot)
"""
JOB = (
    '{"id": "%s", "cpu": 1, "workers": [1, 2], "learning": '
    '{"rounds": 2, "work": [1, 2], "bytes": [1, 1], "s_per_work": 1}, "balance_seed": 1}\n'
)
HEADER = '{"apportion-trace": 1}\n'
CLUSTER = "kind,count,cpu,speed\nold,1,1,0.5\nnew,2,1,1\n"
COMPARE = ("--simulate", "--policies", "equal,slow:Slow,pull", "--seeds", "3", "--drift", "0.5", "--json")
COMPARE += ("--copies", "3", "--per-hour", "1000", "--cluster", "machines.csv", "--trace", "jobs.jsonl")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scheduler", "compare", *COMPARE, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def plain(out: str) -> dict[str, Any]:
    """Return what was printed, without what is of the real clock or tells the command."""
    found: dict[str, Any] = json.loads(out)
    for one in (*found["runs"], *found["policies"].values()):
        for name in ON_THE_REAL_CLOCK:
            del one[name]
    return {key: value for key, value in found.items() if key != "command"}


def interrupted(folder: Path, *arguments: str) -> tuple[str, str]:
    """Start a comparison, stop it as Ctrl-C does in the world of seed 1, and return what it printed."""
    (folder / "slow.py").write_text(POLICY)
    (folder / "jobs.jsonl").write_text(HEADER + JOB % "a" + JOB % "b")
    (folder / "machines.csv").write_text(CLUSTER)
    process = start(folder, *arguments)
    until_s = time.monotonic() + 60
    while not (folder / "waits").exists() and process.poll() is None and time.monotonic() < until_s:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    return out, err


def test_an_interrupted_comparison_goes_on_where_it_was(tmp_path: Path) -> None:
    out, err = interrupted(tmp_path, "--runs", "runs", "--csv", "part.csv")
    done = [("equal", 0), ("slow+spread+equal", 0), ("pull", 0), ("equal", 1)]
    assert [(run["policy"], run["seed"]) for run in plain(out)["runs"]] == done
    assert len((tmp_path / "part.csv").read_text().splitlines()) == 1 + len(done)
    assert "interrupted after 4 of 9 runs: they are in runs; the same command goes on from there" in err
    assert "Traceback" not in err
    (tmp_path / "go").touch()
    kept = {path: path.read_bytes() for path in (tmp_path / "runs").glob("*-seed*.json")}
    results = []
    for arguments in (("--runs", "runs"), ("--runs", "runs"), ()):
        process = start(tmp_path, *arguments)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        results.append(out)
    assert len(kept) == 4
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert results[0] == results[1]  # nothing was run again, the real clock's times are the same
    assert plain(results[1]) == plain(results[2])


def test_without_a_folder_what_was_finished_is_shown(tmp_path: Path) -> None:
    out, err = interrupted(tmp_path)
    assert len(plain(out)["runs"]) == 4
    assert "interrupted after 4 of 9 runs: with --runs FOLDER they would be kept" in err
