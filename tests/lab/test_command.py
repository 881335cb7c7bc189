"""What ``apportion lab`` says, and how a process becomes a lab's client."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from scheduler.cli.main import app
from scheduler.cluster_file import read_cluster_file
from scheduler.errors import UserError
from scheduler.lab import state
from scheduler.lab.plan import plan_lab
from scheduler.lab.state import LabState
from scheduler.lab.status import LabStatus, NodeStatus
from scheduler.report.lab import plan_text, status_table

HOME = Path(__file__).resolve().parents[2]
CLUSTER = HOME / "cluster.yaml"


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "ROOT", tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("up", str(CLUSTER), "--nodes", "cpu"), "--nodes: expected TYPE=NUMBER, such as cpu=2, got 'cpu'"),
        (("up", str(CLUSTER), "--nodes", "cpi=1"), "--nodes: unknown node type 'cpi'. Did you mean 'cpu'?"),
        (("up", str(CLUSTER), "--name", "No!"), "a lab's name has 1 to 12 small letters, digits and '-'"),
        (("up", "none.yaml"), "none.yaml: no such file"),
        (("status",), "there is no lab called 'lab'; 'apportion lab up' starts one"),
        (("slow", "cpu-0", "0.5", "--name", "x"), "there is no lab called 'x'"),
        (("down", "--name", "x"), "there is no lab called 'x'"),
    ],
)
def test_bad_input_is_told_before_anything_is_made(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["lab", *words])
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith(message)
    assert not list(tmp_path.glob(f"*/*/{state.STATE_FILE}"))


def test_what_is_held_and_what_cannot_be_is_said() -> None:
    plan = plan_lab(read_cluster_file(CLUSTER), {"spot": 0, "gpu": 0}, 2.0).at("10.213.5")
    lab = replace(LabState.begin("mine", plan, isolated=True, is_bound=False), port=99, queues=("tbf",), notes=("so",))
    assert plan_text(lab).splitlines() == [
        "lab 'mine' is up at 10.213.5.1:99",
        "all nodes do not fit: a CPU of speed 1 is 0.125 of a processor here",
        "  cpu-0: CPU 8, GPU 0; 1 processors, 2500 Mbit/s",
        "  high-memory-0: CPU 8, GPU 0; 1 processors, 2500 Mbit/s",
        "note: so",
    ]
    assert "Mbit/s" not in plan_text(replace(lab, isolated=False)) + plan_text(replace(lab, queues=()))


def test_the_table_has_a_row_for_each_node() -> None:
    head = NodeStatus("head-0", "head", "10.0.0.1", "a", True, False, None, 0.02, None, None, None, None, (7, 8))
    node = NodeStatus("cpu-0", "cpu", "10.0.0.2", None, False, True, 0.5, 0.25, 80.0, 5.0, 2048, 0, ())
    console = Console(width=100)
    with console.capture() as printed:
        console.print(status_table(LabStatus("m", "a:1", {}, (), (head, node))))
    rows = [" ".join(line.split()) for line in printed.get().splitlines()]
    assert "head-0 10.0.0.1 alive 0.02 7" in rows
    assert "cpu-0 10.0.0.2 cut off, dead 0.25/0.5 80, 5 ms 2 KiB 0 B" in rows


CLIENT = """
import json, os
from scheduler import authentication
names = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
seen = lambda: {name: os.environ[name] for name in names if name in os.environ}
inner = {"RAY_ADDRESS": "lab:1", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "lab"}
for name in names:
    os.environ.pop(name, None)
os.environ["RAY_AUTH_TOKEN"] = "own"
found = [seen()]
with authentication.as_client(inner):
    found.append(seen())
    with authentication.as_client(inner):
        found.append(seen())
found.append(seen())
print(json.dumps(found))
"""


def test_a_client_gets_its_own_variables_back() -> None:
    done = subprocess.run([sys.executable, "-c", CLIENT], cwd=HOME, capture_output=True, text=True, check=True)
    inner = {"RAY_ADDRESS": "lab:1", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "lab"}
    own = {"RAY_AUTH_TOKEN": "own"}
    assert json.loads(done.stdout) == [own, inner, inner, own]
