"""The documentation says what is: options, fields, links, tables and the walkthrough."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ByteSize, TypeAdapter
from typer.testing import CliRunner

import scheduler
from policies.catalogue import catalogue
from policies.presets import FAMILIES
from scheduler.cli.main import app
from scheduler.job import Job
from scheduler.job_file import load_job
from scheduler.outputs import Summary
from scheduler.report import catalogue as report
from scheduler.run import WorkerReport
from workers.data.named_source import BUNDLED, FETCHED
from workers.objectives import OBJECTIVES
from workers.problem import SCHEDULES
from workers.solvers import SOLVERS

ROOT = Path(__file__).parent.parent
OWN = ROOT / "examples" / "policy_of_my_own"
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/learning.md",
    "docs/asynchronous.md",
    "docs/convergence.md",
    "docs/policies.md",
    "docs/metrics.md",
    "docs/published.md",
    "docs/service.md",
)
COMMANDS = (
    *("run", "resume", "compare", "simulate", "nodes", "policies", "predict", "export", "replay"),
    *("submit", "jobs", "queue", "status", "logs", "stop", "pause", "resize", "history", "why"),
    *("tenant set", "tenant list", "policy set", "policy show", "service restart"),
    *("lab up", "lab status", "lab env", "lab slow", "lab cut", "lab mend", "lab down"),
)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def help_of(*command: str) -> set[str]:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 0
    return set(OPTION.findall(re.sub(r"\x1b\[[0-9;]*m", "", result.output)))


def rows_of(section: str) -> list[list[str]]:
    """Return the cells of the tables of a section of the README, without headings."""
    body = text_of("README.md").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in body.splitlines() if line.startswith("| ")]
    return [
        [re.sub(r"^`([^`]*)`$", r"\1", cell.strip()) for cell in line.strip("|").split(" | ")] for line in lines[1:]
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_table_has_all_options_and_no_others(command: str) -> None:
    (row,) = [row for row in rows_of("Commands") if row[0].startswith(f"apportion {command}")]
    assert set(OPTION.findall(row[2])) == help_of(*command.split()) - {"--help"}


def test_the_commands_table_has_every_command() -> None:
    rows = [row[0].removeprefix("apportion ") for row in rows_of("Commands") if row[0].startswith("apportion ")]
    listed = {" ".join(word for word in row.split() if word.islower()) for row in rows}
    assert listed == {*COMMANDS, *named_commands()} == {*COMMANDS}


def named_commands() -> set[str]:
    """Return every command that is not hidden."""
    groups = {group.typer_instance.info.name: group.typer_instance for group in app.registered_groups}
    own = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback and not one.hidden}
    below = {
        f"{name} {one.name or one.callback.__name__}"
        for name, group in groups.items()
        for one in group.registered_commands
        if one.callback
    }
    return own | below


@pytest.mark.parametrize("page", PAGES)
def test_every_option_of_an_example_exists(page: str) -> None:
    calls = re.findall(r"(?:apportion|-m scheduler) (?:(--\w+ )?)(\w+)([^`|\n#]*)", text_of(page))
    for before, command, rest in calls:
        name, _, options = rest.strip().partition(" ")
        if f"{command} {name}" in COMMANDS:
            assert set(OPTION.findall(options)) <= help_of(command, name), f"{page}: {command} {name} {options}"
        elif command in COMMANDS:
            assert set(OPTION.findall(rest)) <= help_of(command), f"{page}: {command} {rest}"
            assert set(OPTION.findall(before)) <= help_of()


def test_cheap_commands_work() -> None:
    version = CliRunner().invoke(app, ["--version"])
    assert version.output.strip() == f"apportion {scheduler.__version__}"
    listed = CliRunner().invoke(app, ["policies", "--json"])
    named = {(entry["family"], entry["name"]) for entry in json.loads(listed.output)}
    assert named == {(entry.family, entry.name) for entry in catalogue()}


def test_the_policies_table_is_complete() -> None:
    named = {family: policies.replace("`", "").split(", ") for family, _, policies in rows_of("Policies")}
    assert named == {family: list(members) for family, (_, members) in FAMILIES.items()}


def test_the_page_of_the_policies_is_what_their_docstrings_say() -> None:
    assert text_of(report.PAGE) == report.page(catalogue()), f"renew it: {report.COMMAND}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text_of(page), re.MULTILINE)) <= targets, page


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        file, _, anchor = target.partition("#")
        if file.startswith("http"):
            continue
        there = (ROOT / page).parent.joinpath(file) if file else ROOT / page
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_files_that_are_named_exist() -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        for name in re.findall(r"\b(?:examples|tests|policies|workers|scheduler)/[\w/]+\.(?:py|yaml)\b", text_of(page)):
            assert (ROOT / name).is_file(), f"{page}: {name}"


def defaults(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Return the dotted fields of a job with their defaults, ``needed`` for those without."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= defaults(kind, f"{prefix}{name}.")
        else:
            found[prefix + name] = "needed" if field.is_required() else field.default
    return found


def test_the_job_file_table_has_all_fields_and_their_defaults() -> None:
    stated = {row[0]: row[1] for row in rows_of("The job file")}
    real = defaults(Job)
    assert stated.keys() == real.keys()
    assert stated.pop("output") == "runs/NAME"
    assert TypeAdapter(ByteSize).validate_python(stated.pop("workers.bundle.memory")) == real["workers.bundle.memory"]
    for name, cell in stated.items():
        assert (None if cell == "none" else yaml.safe_load(cell)) == real[name], name


@pytest.mark.parametrize(
    ("field", "choices"),
    [
        ("data.bundled", BUNDLED | FETCHED),
        ("model.objective", OBJECTIVES),
        ("training.solver", SOLVERS),
        ("training.schedule", SCHEDULES),
    ],
)
def test_the_job_file_table_lists_every_choice(field: str, choices: dict[str, Any]) -> None:
    (meaning,) = [row[2] for row in rows_of("The job file") if row[0] == field]
    assert set(re.findall(r"[a-z0-9_-]+", meaning)) >= choices.keys()


def test_the_solvers_table_says_what_goes_together() -> None:
    lines = [
        line for line in text_of("docs/learning.md").splitlines() if line.startswith("| `") and line.count("|") == 8
    ]
    rows = {
        cells[0].strip("`"): cells[2:] for cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    }
    for name, solver in SOLVERS.items():
        flags = (
            solver.takes_layers,
            solver.takes_corners,
            solver.takes_lasso,
            solver.takes_server,
            solver.takes_robust,
        )
        corners = solver.takes_corners and name != "exact"  # it takes one loss, which has none
        assert rows[name] == ["yes" if flag else "no" for flag in (flags[0], corners, *flags[2:])], name


def test_the_outputs_table_has_all_fields() -> None:
    names = {field.name for field in fields(Summary)} - {"metric_name"}
    table = {row[0]: row[1] for row in rows_of("Outputs")}
    assert table.keys() == names
    assert re.findall(r"`(\w+)`", table["workers"]) == [field.name for field in fields(WorkerReport)]


def test_the_changelog_has_this_version() -> None:
    assert f"\n## [{scheduler.__version__}]" in text_of("CHANGELOG.md")
    assert "\n## [Unreleased]" in text_of("CHANGELOG.md")


@pytest.mark.parametrize("name", ["diabetes", "breast_cancer", "digits", "digits_mlp", "policy_of_my_own/job"])
def test_example_jobs_are_valid(name: str) -> None:
    load_job(ROOT / "examples" / f"{name}.yaml")


@pytest.mark.parametrize("name", ["california", "boston"])
def test_example_jobs_take_the_path_of_their_csv(name: str, tmp_path: Path) -> None:
    csv = tmp_path / "data.csv"
    csv.write_text("a,b\n1,2\n", encoding="utf-8")
    assert load_job(ROOT / "examples" / f"{name}.yaml", {"data.csv": str(csv)}).data.csv == csv.resolve()


def test_the_walkthrough_shows_the_example_as_it_is() -> None:
    source = (OWN / "mine.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 20
    assert f"```python\n{source}```" in text_of("CONTRIBUTING.md")


def test_the_policy_of_ones_own_passes_its_conformance_test() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    ended = subprocess.run(command, cwd=OWN, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
