"""The page of traces and fleets: its examples can be read, and it names every field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scheduler.fleet_files import COLUMNS, load_fleet
from scheduler.simulation.traces.load import COLUMNS as TRACES
from scheduler.simulation.traces.load import KINDS, load_trace
from scheduler.simulation.traces.trace_line import JobLine, LearningLine

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "traces.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_the_examples_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(example("json"))
    assert [job.view.id for job in load_trace(tmp_path / "t.jsonl").workload.jobs] == ["a", "b"]
    (tmp_path / "f.csv").write_text(example("csv"))
    assert len(load_fleet(tmp_path / "f.csv")) == 14


@pytest.mark.parametrize(
    "names",
    [JobLine.model_fields, LearningLine.model_fields, [kind for kind in KINDS if kind != "apportion"]]
    + [list(columns) for columns in TRACES.values()],
)
def test_every_field_kind_and_column_is_named(names: list[str]) -> None:
    assert [name for name in names if f"`{name}`" not in PAGE] == []


def test_the_example_of_a_fleet_has_known_columns() -> None:
    columns = example("csv").splitlines()[0].split(",")
    assert {name for name in columns if not name.startswith("label:")} <= set(COLUMNS)
