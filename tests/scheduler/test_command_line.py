"""The program from outside: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import scheduler.cli.main as program
from scheduler import __version__
from scheduler.cli import run as run_command
from scheduler.cli.arguments import job_of
from scheduler.data_spec import NAMED_COLUMNS
from scheduler.errors import RunFailedError, UserError
from workers.architectures import Linear
from workers.data.source import Column
from workers.model import Model
from workers.objectives import OBJECTIVES

HOME = Path(__file__).resolve().parents[2]
COMMANDS = ("run", "compare", "simulate", "nodes", "policies", "predict")
JOB = "name: j\ndata: {bundled: diabetes}\nmodel: {objective: squared}\n"


class Ended(NamedTuple):
    """How the program ended."""

    code: int | str | None
    out: str
    err: str


Program = Callable[..., Ended]


@pytest.fixture
def apportion(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Program]:
    """Return a function that runs the program in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["apportion", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            program.main()
        return Ended(caught.value.code, *capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(JOB)
    return path


def is_one_error(ended: Ended, code: int, *parts: str) -> None:
    """Assert that nothing but one error was printed, which says all of ``parts``."""
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    assert "\x1b" not in ended.err
    for part in parts:
        assert part in ended.err


def test_the_module_runs_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scheduler", "run", "nope.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60, check=False
    )
    is_one_error(Ended(ended.returncode, ended.stdout, ended.stderr), 2, "error: nope.yaml: no such file\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_an_example(apportion: Program, command: str) -> None:
    ended = apportion(command, "--help")
    assert ended.code == 0
    assert f"Example: apportion {command}" in ended.out
    assert "\x1b" not in ended.out


def test_help_lists_every_command(apportion: Program) -> None:
    ended = apportion("--help")
    assert ended.code == 0
    assert all(f" {command} " in ended.out for command in COMMANDS)


def test_version(apportion: Program) -> None:
    assert apportion("--version") == (0, f"apportion {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["run"], "Missing argument 'JOB'"),
        (["policies", "--bogus"], "No such option: --bogus"),
        (["run", "job.yaml", "--workers", "0"], "Invalid value for '--workers'"),
        (["run", "job.yaml", "--workers", "many"], "Invalid value for '--workers'"),
        (["compare", "job.yaml", "--seeds", "0"], "Invalid value for '--seeds'"),
        (["compare", "job.yaml", "--policies", " , "], "name at least one policy"),
        (["predict", "model"], "Missing argument 'DATA'"),
        (["nodes", "--cpus", "-1"], "Invalid value for '--cpus'"),
    ],
)
def test_wrong_usage(apportion: Program, job_file: Path, arguments: list[str], reason: str) -> None:
    ended = apportion(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert reason in ended.err
    assert "Traceback" not in ended.err


def test_no_arguments_show_the_help(apportion: Program) -> None:
    ended = apportion()
    assert ended.code == 2
    assert "Usage:" in ended.out + ended.err


def test_a_bad_job_file_shows_all_its_errors(apportion: Program, job_file: Path) -> None:
    job_file.write_text(JOB + "shard: 3\ntraining: {rounds: -1}\n")
    ended = apportion("run", "job.yaml")
    is_one_error(ended, 2, "error: job.yaml:4: shard: unknown key", "\njob.yaml:5: training.rounds: must be")


def test_bad_settings_are_errors_of_the_command_line(apportion: Program, job_file: Path) -> None:
    is_one_error(apportion("run", job_file, "--set", "shards"), 2, "--set shards: expected FIELD=VALUE")
    ended = apportion("run", job_file, "--set", "shards=x", "--set", "training.rounds=0")
    is_one_error(ended, 2, "--set shards: must be a whole number", "--set training.rounds: must be")


def test_paths_of_settings_are_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    job_file = tmp_path / "elsewhere" / "job.yaml"
    job_file.write_text(JOB)
    (tmp_path / "rows.csv").write_text("a,t\n1,2\n")
    monkeypatch.chdir(tmp_path)
    for kind in ("csv", "parquet", "libsvm", "npy", "npz"):
        settings = ["data.bundled=null", f"data.{kind}=rows.csv", *(["data.target=t"] if kind in NAMED_COLUMNS else [])]
        data = job_of(job_file, None, None, settings).data
        assert getattr(data, kind) == (tmp_path / "rows.csv").resolve()
    assert job_of(job_file, None, None, ["data.data_home=home"]).data.data_home == tmp_path / "home"
    assert job_of(job_file, None, None, ["data.csv=null", "data.data_home=null"]).data.bundled == "diabetes"
    with pytest.raises(UserError, match=r"--set data\.csv: must be a path, got 3"):
        job_of(job_file, None, None, ["data.csv=3"])


def test_a_bad_address(apportion: Program, job_file: Path) -> None:
    is_one_error(apportion("run", job_file, "--address", "nonsense"), 2, "address 'nonsense': expected HOST:PORT")
    is_one_error(apportion("nodes", "--address", "127.0.0.1:1"), 2, "no Ray cluster answers at 127.0.0.1:1")


@pytest.mark.parametrize("where", [["--debug", "run", "nope.yaml"], ["run", "nope.yaml", "--debug"]])
def test_debug_shows_where_and_keeps_the_exit_code(apportion: Program, where: list[str]) -> None:
    ended = apportion(*where)
    assert ended.code == 2
    assert "Traceback" in ended.err
    assert "located_yaml.py" in ended.err
    assert ended.err.endswith("error: nope.yaml: no such file\n")


class TestPolicies:
    def test_the_catalogue(self, apportion: Program) -> None:
        ended = apportion("policies")
        assert ended.code == 0
        for word in ("family", "speed-proportional", "round-robin", "fifo", "spread", "pack"):
            assert word in ended.out
        assert "\x1b" not in ended.out

    def test_the_catalogue_for_scripts(self, apportion: Program) -> None:
        ended = apportion("policies", "--json")
        entries = json.loads(ended.out)
        assert (ended.code, ended.err) == (0, "")
        assert all(len(entry) == len(entries[0]) for entry in entries)
        assert all(entry["name"] and entry["summary"] and entry["source"] and entry["cost"] for entry in entries)

    def test_everything_about_one(self, apportion: Program) -> None:
        ended = apportion("policies", "topology")
        assert (ended.code, ended.err) == (0, "")
        for words in ("place: topology", "label", "ray.io/availability-zone", "policy: {place: topology}", "KEP-2724"):
            assert words in ended.out
        assert "\x1b" not in ended.out and "`" not in ended.out

    def test_everything_about_one_for_scripts(self, apportion: Program) -> None:
        ended = apportion("policies", "capacity-proportional", "--json")
        (entry,) = json.loads(ended.out)
        assert (entry["family"], entry["name"]) == ("balance", "capacity-proportional")
        assert [(option["name"], option["default"]) for option in entry["options"]] == [("weights", "none")]
        assert entry["usage"][0] == "policy: capacity-proportional"

    def test_a_name_that_is_none(self, apportion: Program) -> None:
        ended = apportion("policies", "tetriss")
        is_one_error(ended, 2, "unknown policy 'tetriss'; did you mean 'tetris'? choose from: fifo,", "equal")
        is_one_error(apportion("policies", "[red]", "--json"), 2, "unknown policy '[red]'; choose from: fifo,")

    @pytest.mark.parametrize(
        ("policy", "parts"),
        [
            ("eqal", ["unknown policy 'eqal'; did you mean 'equal'", "speed-proportional"]),
            ("mine:Mine", ["no module 'mine' in"]),
            ("own:Mine", ["'own:Mine': own (", "has no 'Mine'; its policies are: Mien; did you mean 'Mien'?"]),
            ("own:", ["a policy of your own is written 'module:Class', but got 'own:'"]),
            ("broken:Mine", ["'broken' failed to import: SyntaxError"]),
            ("own:number", ["'own:number' is a int, but must be a Policy, Order, Place or Balance"]),
        ],
    )
    def test_a_policy_that_is_none(
        self, apportion: Program, job_file: Path, tmp_path: Path, policy: str, parts: list[str]
    ) -> None:
        (tmp_path / "own.py").write_text(
            "from policies.balance.equal import Equal\nnumber = 3\nclass Mien(Equal): pass\ndel Equal\n"
        )
        (tmp_path / "broken.py").write_text("def\n")
        is_one_error(apportion("run", job_file, "--policy", policy), 2, *parts)
        is_one_error(apportion("compare", job_file, "--policies", f"equal,{policy}"), 2, *parts)
        job_file.write_text(f"{JOB}policy: '{policy}'\n")
        is_one_error(apportion("run", job_file), 2, *parts)


class TestHowARunEnds:
    """``run_job`` is replaced by something that raises."""

    @pytest.fixture
    def ends(self, monkeypatch: pytest.MonkeyPatch, apportion: Program, job_file: Path) -> Callable[..., Ended]:
        def raising(error: BaseException, *arguments: str) -> Ended:
            def run_job(*_: Any) -> Any:
                raise error

            monkeypatch.setattr(run_command, "run_job", run_job)
            return apportion("run", str(job_file), *arguments)

        return raising

    def test_a_failed_run(self, ends: Callable[..., Ended]) -> None:
        is_one_error(ends(RunFailedError("a worker died")), 1, "error: a worker died\n")

    def test_a_defect_of_ours_is_one_line(self, ends: Callable[..., Ended]) -> None:
        ended = ends(KeyError("spam"))
        is_one_error(ended, 1, "error: unexpected KeyError: 'spam'; '--debug' shows where\n")
        assert len(ended.err.splitlines()) == 1

    def test_a_defect_of_ours_with_debug(self, ends: Callable[..., Ended]) -> None:
        ended = ends(KeyError("spam"), "--debug")
        assert ended.code == 1
        assert "Traceback" in ended.err
        assert "in run_job" in ended.err

    def test_ctrl_c(self, ends: Callable[..., Ended]) -> None:
        assert ends(KeyboardInterrupt()) == (130, "", "interrupted\n")
        assert ends(KeyboardInterrupt(), "--debug") == (130, "", "interrupted\n")

    def test_sigterm_ends_as_ctrl_c_does(
        self, monkeypatch: pytest.MonkeyPatch, apportion: Program, job_file: Path
    ) -> None:
        monkeypatch.setattr(run_command, "run_job", lambda *_: signal.raise_signal(signal.SIGTERM))
        assert apportion("run", job_file) == (130, "", "interrupted\n")


class Terminal:
    """A stream that says it is a terminal, over one that was captured."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_has_colours_unless_it_wants_none(
    apportion: Program, monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys, "stderr", Terminal(sys.stderr))
    assert ("\x1b[31m" in apportion("run", "nope.yaml").err) == coloured


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the folder of a saved model: y = 2 a - b + 0.5."""
    saved = Model(
        name="m",
        objective=OBJECTIVES["squared"],
        architecture=Linear(2, 1),
        feature_names=("a", "b"),
        target_name="y",
        classes=None,
        columns=(),
        arrays={"weights": np.array([[2.0], [-1.0]]), "intercepts": np.array([0.5])},
        provenance={},
    )
    saved.save(tmp_path / "model")
    return tmp_path / "model"


class TestPredict:
    def test_a_csv_with_its_columns_in_any_order(self, apportion: Program, model: Path) -> None:
        Path("rows.csv").write_text("b,other,a\n1,x,1\n0,y,3\n")
        for given in (model, model / "model.json"):
            assert apportion("predict", given, "rows.csv") == (0, "y\n1.5\n6.5\n", "")

    def test_arrays(self, apportion: Program, model: Path) -> None:
        rows = np.array([[1.0, 1.0], [3.0, 0.0]])
        np.save("rows.npy", rows)
        np.savez("rows.npz", X=rows, y=np.zeros(2))
        np.save("whole.npy", rows.astype(np.int32))
        for name in ("rows.npy", "rows.npz", "whole.npy"):
            assert apportion("predict", model, name) == (0, "y\n1.5\n6.5\n", "")

    def test_json(self, apportion: Program, model: Path) -> None:
        Path("rows.csv").write_text("a,b\n1,1\n")
        ended = apportion("predict", model, "rows.csv", "--json")
        assert json.loads(ended.out) == {"target": "y", "predictions": [1.5]}

    def test_class_labels(self, apportion: Program, tmp_path: Path) -> None:
        columns = (Column(0, "size"), Column(1, "kind", ("big, fat", "thin")))
        Model(
            name="m",
            objective=OBJECTIVES["logistic"],
            architecture=Linear(3, 1),
            feature_names=("size", "kind=big, fat", "kind=thin"),
            target_name="animal",
            classes=("ant", "bee"),
            columns=columns,
            arrays={"weights": np.array([[0.0], [1.0], [-1.0]]), "intercepts": np.array([0.0])},
            provenance={},
        ).save(tmp_path / "classes")
        Path("rows.csv").write_text('kind,size\n"big, fat",1\nthin,2\n')
        assert apportion("predict", "classes", "rows.csv").out == "animal\nbee\nant\n"

    def test_output_is_written_whole(self, apportion: Program, model: Path, tmp_path: Path) -> None:
        Path("rows.csv").write_text("a,b\n1,1\n3,0\n")
        ended = apportion("predict", model, "rows.csv", "--output", "new/answers.csv")
        assert ended == (0, "", "2 predictions written to new/answers.csv\n")
        assert (tmp_path / "new" / "answers.csv").read_bytes().splitlines() == [b"y", b"1.5", b"6.5"]
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["answers.csv"]

    def test_output_that_fails_leaves_what_was_there(
        self, apportion: Program, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any, **__: Any) -> Any:
            raise OSError(28, "No space left on device")

        folder = tmp_path / "out"
        folder.mkdir()
        (folder / "answers.csv").write_text("old")
        Path("rows.csv").write_text("a,b\n1,1\n")
        monkeypatch.setattr("scheduler.outputs.csv.writer", full)
        ended = apportion("predict", model, "rows.csv", "--output", folder / "answers.csv")
        is_one_error(ended, 2, "answers.csv cannot be written: No space left on device")
        assert (folder / "answers.csv").read_text() == "old"
        assert len(list(folder.iterdir())) == 1

    def test_output_that_is_no_file(self, apportion: Program, model: Path) -> None:
        Path("rows.csv").write_text("a,b\n1,1\n")
        Path("folder").mkdir()
        for output, reason in (("folder", "is no regular file"), ("rows.csv/answers.csv", "rows.csv is no folder")):
            is_one_error(apportion("predict", model, "rows.csv", "--output", output), 2, "cannot be written", reason)

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("a,c\n1,2\n", ["rows.csv: no column 'b'", "The choices are a, c"]),
            ("a,b\n1,2\n3,spam\n", ["rows.csv", "column 'b'", "'spam'"]),
            ("a,b\n1,nan\n", ["rows.csv", "column 'b'"]),
            ("a,b\n1,\n", ["rows.csv", "column 'b'", "Fill the cells, or leave the rows out; a model trained with"]),
            ("a,b\n1,inf\n", ["rows.csv", "column 'b'"]),
            ("a,b\n1\n", ["rows.csv"]),
            ("", ["rows.csv"]),
        ],
    )
    def test_bad_rows(self, apportion: Program, model: Path, text: str, parts: list[str]) -> None:
        Path("rows.csv").write_text(text)
        is_one_error(apportion("predict", model, "rows.csv"), 2, *parts)

    @pytest.mark.parametrize(
        ("rows", "parts"),
        [
            (np.zeros((3, 5)), ["the model takes 2 columns, got shape (3, 5)"]),
            (np.zeros(2), ["the model takes 2 columns, got shape (2,)"]),
            (np.array([[1.0, np.nan]]), ["row 0, column 'b': got nan, not finite"]),
            (np.array([["a", "b"]]), ["expected numbers, got <U1"]),
        ],
    )
    def test_bad_arrays(self, apportion: Program, model: Path, rows: Any, parts: list[str]) -> None:
        np.save("rows.npy", rows)
        np.savez("rows.npz", X=rows)
        is_one_error(apportion("predict", model, "rows.npy"), 2, "rows.npy: ", *parts)
        is_one_error(apportion("predict", model, "rows.npz"), 2, "rows.npz: ", *parts)

    def test_files_that_are_none(self, apportion: Program, model: Path) -> None:
        Path("rows.txt").write_text("a,b\n1,2\n")
        Path("rows.npy").write_text("a,b\n1,2\n")
        Path("folder.csv").mkdir()
        np.savez("rows.npz", Z=np.zeros((1, 2)))
        is_one_error(
            apportion("predict", model, "rows.txt"),
            2,
            "expected a .csv, .parquet, .libsvm, .svm, .npy or .npz file, got '.txt'",
        )
        is_one_error(apportion("predict", model, "rows.npy"), 2, "rows.npy cannot be read as NumPy data")
        is_one_error(apportion("predict", model, "rows.npz"), 2, "no array 'X'. ", "The choices are Z")
        for absent in ("nope.csv", "nope.npy", "nope.npz", "folder.csv"):
            is_one_error(apportion("predict", model, absent), 2, absent)

    def test_models_that_are_none(self, apportion: Program, model: Path) -> None:
        Path("rows.csv").write_text("a,b\n1,2\n")
        is_one_error(apportion("predict", "nope", "rows.csv"), 2, "nope: no such file")
        is_one_error(apportion("predict", "rows.csv", "rows.csv"), 2, "rows.csv: not a model description")
        (model / "weights.npz").write_bytes(b"damaged")
        is_one_error(apportion("predict", model, "rows.csv"), 2, "does not match its checksum")
