"""``apportion simulate`` and ``apportion compare --simulate``, without Ray."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.cli import main as program

JOB = """\
name: {name}
data: {{bundled: diabetes}}
model: {{objective: squared}}
training: {{solver: gradient-descent, rounds: 5, learning_rate: 0.1}}
shards: 4
workers: {{count: {workers}, bundle: {{cpu: 1, memory: 64MiB}}}}
"""

CLUSTER = """\
max_workers: 2
head_node_type: head
available_node_types:
  head: {resources: {CPU: 0}}
  node: {resources: {CPU: 1}}
"""

Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def apportion(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    Path("a.yaml").write_text(JOB.format(name="a", workers=2))
    Path("big.yaml").write_text(JOB.format(name="big", workers=3))
    Path("cluster.yaml").write_text(CLUSTER)

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["apportion", *arguments])
        with pytest.raises(SystemExit) as caught:
            program.main()
        return caught.value.code, *capsys.readouterr()

    return run


def test_a_simulation_shows_every_measure(apportion: Run) -> None:
    code, out, _ = apportion("simulate", "a.yaml", "--copies", "3")
    assert code == 0
    assert "a.yaml on cluster.yaml (2 nodes), simulated, 1 seed" in out
    assert all(word in out for word in ("makespan_s", "jct_mean_s", "queueing_s", "cpu_utilisation"))


def test_policies_are_compared_in_the_same_worlds(apportion: Run) -> None:
    arguments = (
        "--policies",
        "equal,round-robin,equal",
        "--simulate",
        "--drift",
        "0.5",
        "--seeds",
        "3",
        "--csv",
        "r.csv",
    )
    code, out, _ = apportion("compare", "a.yaml", *arguments, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["seeds"], list(found["policies"])) == ([0, 1, 2], ["equal", "round-robin"])
    assert found["command"].startswith("apportion compare a.yaml --policies equal,round-robin,equal")
    assert {run["live"] for run in found["runs"]} == {False}
    makespans = {
        policy: [run["makespan_s"] for run in found["runs"] if run["policy"] == policy] for policy in found["policies"]
    }
    assert makespans["equal"] == makespans["round-robin"]  # four equal shards on two workers
    assert len(set(makespans["equal"])) == 3
    assert found["verdicts"] == ["the difference between equal and round-robin on makespan_s is within noise"]
    rows = list(csv.DictReader(Path("r.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["policy"], row["seed"]) for row in rows] == [(p, s) for s in "012" for p in ("equal", "round-robin")]
    assert float(rows[0]["makespan_s"]) == makespans["equal"][0]


def test_a_table_for_the_terminal(apportion: Run) -> None:
    code, out, _ = apportion("compare", "a.yaml", "--simulate", "--copies", "4", "--per-hour", "1e5")
    assert code == 0
    assert "are alike on" in out or "beats" in out
    assert "█" in out
    assert "CPU and GPU in use over time" in out


def test_what_never_fits_is_told_and_the_rest_goes_on(apportion: Run) -> None:
    code, out, _ = apportion("simulate", "a.yaml", "big.yaml")
    assert code == 0
    assert "never fits" in out
    assert "3 workers are needed at the least" in out
    assert "makespan_s" in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("simulate", "nope.yaml"), "nope.yaml: no such file"),
        (("simulate", "a.yaml", "--cluster", "nope.yaml"), "nope.yaml: no such file"),
        (("simulate", "a.yaml", "--cluster", "a.yaml"), "a.yaml:1: available_node_types: is missing"),
        (("simulate", "a.yaml", "--policy", "eqaul"), "equal"),
        (("simulate",), "name at least one job file, or a trace with --trace"),
        (("compare", "--trace", "t.jsonl"), "--trace: only for a simulation; add --simulate, or leave it out"),
        (("compare",), "name at least one job file; jobs of a trace can be simulated, with --simulate"),
        (("compare", "a.yaml", "--simulate", "--cpus", "2"), "--cpus is for a live comparison"),
        (("simulate", "a.yaml", "--address", "x:1"), "to simulate one like it, add --like-live"),
        (("simulate", "a.yaml", "--cluster", "c.csv", "--like-live"), "--cluster and --like-live both name a cluster"),
        (("simulate", "--trace", "a.yaml"), "looks like no trace that can be read"),
        (
            ("simulate", "a.yaml", "--per-hour", "5", "--bursts", "2"),
            "--per-hour and --bursts both say when jobs come: leave one out",
        ),
        (("simulate", "a.yaml", "a.yaml"), "there is a job 'a' already; to have it several times, use --copies"),
        (
            ("compare", "a.yaml", "--drift", "0.5", "--mtbf", "9"),
            "--drift, --mtbf: only for a simulation; add --simulate, or leave it out",
        ),
    ],
)
def test_bad_input(apportion: Run, arguments: tuple[str, ...], reason: str) -> None:
    code, out, err = apportion(*arguments)
    assert (code, out) == (2, "")
    assert reason in err
    assert "Traceback" not in err


def test_a_trace_is_recorded_and_replayed_to_the_same_figures(apportion: Run) -> None:
    arguments = ("--copies", "5", "--per-hour", "2e5", "--json")
    code, first, _ = apportion("simulate", "a.yaml", "--record", "t.jsonl", *arguments)
    assert code == 0
    code, second, _ = apportion("simulate", "--trace", "t.jsonl", "--json")
    assert code == 0
    one, two = (json.loads(out)["runs"][0] for out in (first, second))
    clocks = {"decision_p50_s", "decision_p99_s"}
    assert {k: v for k, v in one.items() if k not in clocks} == {k: v for k, v in two.items() if k not in clocks}


def test_machines_may_come_from_a_csv(apportion: Run) -> None:
    Path("machines.csv").write_text("kind,count,cpu,speed\nold,2,1,0.5\nnew,1,2,2\n")
    code, out, _ = apportion("simulate", "a.yaml", "--cluster", "machines.csv")
    assert code == 0
    assert "a.yaml on machines.csv (3 nodes)" in out


def test_jobs_may_come_in_bursts_and_give_up(apportion: Run) -> None:
    apportion("simulate", "a.yaml", "--record", "t.jsonl")

    def figures(*options: str) -> dict[str, float]:
        code, out, _ = apportion("simulate", "--trace", "t.jsonl", "--copies", "6", "--json", *options)
        assert code == 0
        found: dict[str, float] = json.loads(out)["runs"][0]
        return found

    assert figures("--bursts", "3", "--burst-every", "900")["makespan_s"] > 900
    assert figures()["queueing_s"] > 0
    assert figures("--patience", "0")["queueing_s"] == 0


def test_everything_that_is_slower_takes_longer(apportion: Run) -> None:
    apportion("simulate", "a.yaml", "--record", "t.jsonl")

    def makespan_s(*options: str) -> float:
        code, out, _ = apportion("simulate", "--trace", "t.jsonl", "--json", *options)
        assert code == 0
        return float(json.loads(out)["runs"][0]["makespan_s"])

    least_s = makespan_s("--worker-start", "0", "--call-overhead", "0")
    assert makespan_s("--worker-start", "5", "--call-overhead", "0") == pytest.approx(least_s + 5)
    assert makespan_s("--worker-start", "0", "--call-overhead", "1") > least_s + 5  # of 5 rounds, and more
    slow_s, shared_s = (
        makespan_s("--worker-start", "0", "--call-overhead", "0", "--server-rate", "100", "--servers", servers)
        for servers in ("1", "2")
    )
    assert slow_s - least_s == pytest.approx(2 * (shared_s - least_s), rel=0.05)
    queue = ("--copies", "40", "--worker-start", "20")
    assert makespan_s(*queue, "--foreign", "0.2", "--foreign-for", "50") > makespan_s(*queue) + 40


@pytest.mark.parametrize(
    "option",
    [
        "--copies",
        "--seeds",
        "--drift",
        "--mtbf",
        "--per-hour",
        "--every",
        "--bursts",
        "--burst-every",
        "--patience",
        "--foreign",
        "--foreign-for",
        "--worker-start",
        "--call-overhead",
        "--server-rate",
        "--servers",
    ],
)
def test_numbers_have_bounds(apportion: Run, option: str) -> None:
    code, _, err = apportion("simulate", "a.yaml", option, "-1")
    assert code == 2
    assert option in err


def test_jobs_of_kept_runs_are_measured_once(apportion: Run) -> None:
    arguments = ("compare", "a.yaml", "--simulate", "--runs", "kept", "--json")
    code, first, _ = apportion(*arguments)
    assert code == 0
    assert apportion(*arguments) == (0, first, "")
    _, replayed, _ = apportion("simulate", "--trace", "kept/measured.jsonl", "--json")
    assert json.loads(replayed)["runs"][0]["makespan_s"] == json.loads(first)["runs"][0]["makespan_s"]
    code, out, err = apportion(*arguments, "--set", "training.rounds=6")
    assert (code, out) == (2, "")
    assert "kept/comparison.json: the runs are of another comparison: jobs is '1, sha256 " in err


def test_a_run_that_cannot_be_read_is_told_and_simulated_again(apportion: Run) -> None:
    arguments = ("simulate", "a.yaml", "--runs", "kept", "--json")
    _, first, _ = apportion(*arguments)
    (path,) = Path("kept").glob("equal-*-seed0.json")
    path.write_text("{")
    code, second, err = apportion(*arguments)
    assert code == 0
    assert f"{path}: Invalid JSON" in err.replace("\n", " ")
    assert "it is run again" in err
    one, two = (json.loads(out)["runs"][0]["makespan_s"] for out in (first, second))
    assert one == two


def test_two_policies_of_one_name_are_refused(apportion: Run) -> None:
    code, _, err = apportion("compare", "a.yaml", "--simulate", "--policies", "las+fgd,pull,las+fgd+equal")
    assert code == 2
    assert "the policies 'las+fgd' and 'las+fgd+equal' are both called 'las+fgd+equal': leave one out" in err
