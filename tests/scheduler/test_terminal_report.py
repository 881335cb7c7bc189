"""The tables of the terminal: names are text, never markup."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from policies.interface import frozen
from policies.presets import resolve
from scheduler.inventory import LogicalView, NodeView, PhysicalView
from scheduler.job_file import load_job
from scheduler.outputs import Score, Summary, conclude
from scheduler.preparation import prepare
from scheduler.report.terminal import (
    MAX_ROWS,
    TerminalObserver,
    assignment_table,
    loss_table,
    nodes_table,
    score_table,
    size,
)
from scheduler.run import BytesMoved, RunResult, WorkerReport
from scheduler.session import Session
from workers.environment import environment
from workers.outcome import Outcome, RoundReport

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ARRAYS = {"weights": frozen([[2.0]]), "intercepts": frozen([0.0])}


def console() -> Console:
    return Console(width=100, record=True, file=io.StringIO(), force_terminal=True, color_system="standard")


def shown(what: Any) -> str:
    """Return the text of what is printed, without its styles."""
    on = console()
    on.print(what)
    return on.export_text()


def node(number: int = 0, **physical: Any) -> NodeView:
    logical = LogicalView(f"{number:08x}{'f' * 48}", "10.0.0.1", number == 0, (8.0, 1.0, 2.0**34), (7.5, 0.0, 2.0**33))
    view = {
        "hostname": "host",
        "processor": "Xeon",
        "num_cpus": 8,
        "load": 0.25,
        "memory_bytes": 2**34,
        "memory_free_bytes": 2**33,
        "numeric_class": "abc",
        **physical,
    }
    return NodeView(logical, PhysicalView(**view))


def worker(*shards: int, node: str = "0" * 56) -> WorkerReport:
    return WorkerReport(node, 1, shards, 10 * len(shards), 800 * len(shards), 0.5, 12345.6, environment())


def summary(**fields: Any) -> Summary:
    defaults: dict[str, Any] = {
        "job": "j",
        "policy": "equal",
        "solver": "local-svrg",
        "choice": "",
        "rounds": 3,
        "model_sha256": "ab" * 32,
        "metric_name": "mean squared error",
        "metric": Score(2.5, 3.5),
        "optimum": Score(2.0, None),
        "loss": 1.0,
        "learning_rate": 0.1,
        "seconds": 1.5,
        "seconds_by_round": (0.1,),
        "workers": (worker(0),),
        "bytes_moved": {"total": 1},
        "converged": True,
        "reason": "steady",
        "output": "/tmp/[red]out",  # noqa: S108
    }
    return Summary(**{**defaults, **fields})


@pytest.mark.parametrize("odd", ["[red]x", "[/]", "[bold]y[/bold]", "[link=x]"])
def test_names_are_text(odd: str) -> None:
    assert odd in shown(nodes_table([node(processor=odd)]))


def test_node_names_are_text() -> None:
    assert "[red]x" in shown(assignment_table([worker(0, node="[red]x")]))
    view = node()
    odd = NodeView(LogicalView("[red]x", "[fe80::1]", True, (1.0, 0.0, 1.0), (1.0, 0.0, 1.0)), None)
    text = shown(nodes_table([view, odd])).replace("\n", "")
    assert "[red]x" in text
    assert "[fe80::1" in text


def test_nodes() -> None:
    text = shown(nodes_table([node()]))
    for word in ("Nodes (free / all)", "00000000", "(head)", "7.5 / 8", "0 / 1", "8 GiB", "25%"):
        assert word in text.replace("8.0 GiB", "8 GiB")


def test_a_node_that_does_not_answer_says_so() -> None:
    assert "no answer" in shown(nodes_table([NodeView(node().logical, None)]))


def test_long_tables_are_cut() -> None:
    assert "and 5 more" in shown(nodes_table([node(number) for number in range(MAX_ROWS + 5)]))
    text = shown(assignment_table([worker(number) for number in range(MAX_ROWS + 1)]))
    assert "and 1 more" in text
    assert f"worker-{MAX_ROWS - 1}" in text
    assert f"worker-{MAX_ROWS} " not in text


@pytest.mark.parametrize(
    ("shards", "text"),
    [
        ((), "none"),
        ((3,), "1: 3"),
        ((0, 1), "2: 0-1"),
        ((0, 1, 2, 3, 7), "5: 0-3, 7"),
        ((0, 2, 4, 6, 8), "5: 0, 2, 4, 6, 8"),
        ((0, 2, 4, 6, 8, 10), "6: 0, 2, 4, 6, 8, ..."),
    ],
)
def test_shards_are_shown_as_ranges(shards: tuple[int, ...], text: str) -> None:
    cells = [cell.strip() for cell in shown(assignment_table([worker(*shards)])).split("│")]
    assert text in cells
    assert f"{10 * len(shards)}" in cells
    assert "12,346" in cells


def rounds_shown(num: int) -> list[int]:
    lines = shown(loss_table([(number, 1.0 / number) for number in range(1, num + 1)])).splitlines()
    cells = [line.split("│")[1].strip() for line in lines if line.count("│") == 3]
    return [int(cell) for cell in cells if cell.isdigit()]


@pytest.mark.parametrize("num", [1, 2, 7, 8, 9, 10, 16, 17, 60, 1000])
def test_losses_start_with_the_first_and_end_with_the_last(num: int) -> None:
    rounds = rounds_shown(num)
    assert (rounds[0], rounds[-1]) == (1, num)
    assert rounds == sorted(set(rounds))
    assert len(rounds) <= 9
    steps = np.diff(rounds[:-1])
    assert (steps == steps[:1]).all()


def test_scores_stand_beside_the_optimum() -> None:
    text = shown(score_table(summary()))
    for word in ("mean squared error", "this model", "2.5", "3.5", "exact optimum", "+2.50e-01"):
        assert word in text
    alone = shown(score_table(summary(optimum=None)))
    assert "optimum" not in alone
    assert "gap" not in alone


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (2**20, "1 MiB"), (2**42, "4,096.0 GiB")],
)
def test_sizes(num_bytes: int, text: str) -> None:
    assert size(num_bytes) == text


@pytest.mark.parametrize("odd", ["[red]x", "[/]"])
def test_a_whole_run(tmp_path: Path, odd: str) -> None:
    data, job_file = tmp_path / "rows.csv", tmp_path / "job.yaml"
    data.write_text(f"a,{odd}\n" + "\n".join(f"{i},{2 * i}" for i in range(20)))
    job_file.write_text(
        f"name: j\ndata: {{csv: rows.csv, target: '{odd}'}}\nmodel: {{objective: squared}}\nshards: 2\n"
        "training: {solver: local-svrg}\n"
    )
    prepared = prepare(load_job(job_file))
    policy = resolve("equal")
    policy.name = odd
    outcome = Outcome(
        {"weights": frozen([[2.0]]), "intercepts": frozen([0.0])},
        2,
        0.5,
        0.1,
        (0.1, 0.2),
        (0.1, 0.2),
        True,
        f"because {odd}",
    )
    workers = (worker(0), worker(1))
    on = console()
    observer = TerminalObserver(on)
    observer.connected(Session(f"{odd}:6379", "http://127.0.0.1:8265", embedded=False))
    observer.initialised([node()], prepared)
    observer.split(prepared, policy, workers)
    observer.trained(RoundReport("moments", 1, None))
    observer.trained(RoundReport("local-svrg", 1, 0.75))
    observer.trained(RoundReport("local-svrg", 2, 0.5))
    moved = BytesMoved(1, 2, 3)
    observer.communicated(RunResult(outcome, (), workers, (0.1, 0.2), moved, num_calls=1200, num_copies=7))
    observer.fused(summary(output=f"/somewhere/{odd}"))
    text = on.export_text()
    for part in (
        f"{odd}:6379",
        "[1/5] Initialise",
        f"target '{odd}'",
        f"[2/5] Split: 2 shards over 2 workers, policy {odd}",
        "[3/5] Train on each",
        "0.75",
        f"because {odd}",
        "[4/5] Communicate",
        "7 of 1,200 calls were copies",
        "[5/5] Fuse",
        f"/somewhere/{odd}",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("rule", "says"), [("sum", "sums the workers' updates, exactly"), ("median", "takes the median of all updates")]
)
def test_step_four_says_what_becomes_of_the_updates(rule: str, says: str) -> None:
    settings = {"training.aggregation": rule, "training.solver": "gradient-descent"}
    on, outcome = console(), Outcome(ARRAYS, 1, None, None, (0.1, 0.2), None, True, "steady")
    observer = TerminalObserver(on)
    observer.split(prepare(load_job(EXAMPLES / "diabetes.yaml", settings)), resolve("equal"), (worker(0),))
    observer.communicated(RunResult(outcome, (), (worker(0),), (0.1,), BytesMoved()))
    assert f"[4/5] Communicate: the parameter server {says}, in any order" in on.export_text()


def test_without_losses_there_is_no_table_of_them() -> None:
    on = console()
    observer = TerminalObserver(on)
    outcome = Outcome(
        {"weights": frozen([[2.0]]), "intercepts": frozen([0.0])},
        1,
        None,
        None,
        (0.1, 0.2),
        None,
        True,
        "solved exactly",
    )
    observer.communicated(RunResult(outcome, (), (worker(0),), (0.1,), BytesMoved()))
    text = on.export_text()
    assert "Loss by round" not in text
    assert "solved exactly" in text


def test_a_run_whose_last_round_was_kept_whole_needs_no_workers() -> None:
    on, outcome = console(), Outcome(ARRAYS, 3, None, None, (0.1, 0.2), None, True, "steady")
    result = RunResult(outcome, (), (), (), BytesMoved(), restored=3)
    TerminalObserver(on).communicated(result)
    assert "3 rounds; 0 B of shards read" in on.export_text()
    finished = conclude(prepare(load_job(EXAMPLES / "diabetes.yaml")), "equal", result, 1.0)
    assert finished.summary.workers == ()
    assert finished.model.provenance["environment"]["processor"] == environment().processor
