"""A record in an output folder: written, read, replayed, and refused where it is broken."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from asynchronous_cases import Drive, prepared
from hypothesis import given
from hypothesis import strategies as st

import scheduler.cli.main as program
from policies.presets import resolve
from scheduler.errors import RunFailedError, UserError
from scheduler.job import Job
from scheduler.observer import Observer
from scheduler.preparation import prepare
from scheduler.record_file import RECORD_FILE, StoredRecord, in_ranges, read_record, write_record
from scheduler.replaying import replay_output
from scheduler.runner import RunOptions, run_job
from scheduler.simulation.profile import profile
from workers.record import Record, RecordedCall

Broken = Callable[[list[str]], list[str]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output folder of a finished run."""
    folder = tmp_path_factory.mktemp("run") / "out"
    drive = Drive(prepared("ssp", str(folder), rounds=5))
    drive.work([1.0, 2.0, 5.0])
    drive.finished().save()
    return folder


@pytest.fixture
def output(saved: Path, tmp_path: Path) -> Path:
    """Return a copy that can be broken."""
    return Path(shutil.copytree(saved, tmp_path / "out"))


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["apportion", *arguments])
    with pytest.raises(SystemExit) as caught:
        program.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_command_says_that_it_is_the_same(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", str(output)], monkeypatch) == 0
    sha256 = json.loads((output / "model.json").read_text())["model_sha256"]
    assert f"the same model, sha256 {sha256}" in capsys.readouterr().out
    assert run(["replay", str(output), "--json"], monkeypatch) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "same": True,
        "model_sha256": sha256,
        "num_updates": len(read_record(output / RECORD_FILE).record.updates),
    }


def test_another_order_is_found_out(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two updates that were computed on other parameters than the record says."""
    path = output / RECORD_FILE
    lines = path.read_text().splitlines()
    last = json.loads(lines[-1])
    last[0][1] -= 1
    path.write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")
    assert run(["replay", str(output)], monkeypatch) == 1
    assert "replayed give another model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [], "record.jsonl:1: not the header of a record"),
        (lambda lines: ["{", *lines[1:]], "record.jsonl:1: not the header of a record: Invalid JSON"),
        (lambda lines: [lines[0].replace(":1,", ":2,", 1), *lines[1:]], "apportion_record: Input should be 1, got 2"),
        (lambda lines: lines[:-2], "updates are announced, the file has"),
        (lambda lines: [*lines[:3], "[]", *lines[4:]], "record.jsonl:4: not an update: "),
        (lambda lines: [*lines[:3], '[["w",-1,0,"0"]]', *lines[4:]], "record.jsonl:4: not an update: 0.1: "),
        (lambda lines: [*lines[:3], '[["w",0,0,"3-1"]]', *lines[4:]], "such as '0-3,7', got '3-1'"),
        (lambda lines: [*lines[:3], '[["w",0,0,"2,1"]]', *lines[4:]], "such as '0-3,7', got '2,1'"),
        (lambda lines: [*lines[:3], '[["w",9,0,"1"]]', *lines[4:]], ":4: an update cannot have read 9 others: 2 are"),
        (
            lambda lines: [*lines[:3], '[["w",0,0,"8"]]', *lines[4:]],
            r"update 3 of \d+: shards \[8\], expected some of 0..7",
        ),
        (
            lambda lines: [lines[0].replace('"solver":"local-sgd"', '"solver":"local-sdg"'), *lines[1:]],
            "job.training.solver: (?s:.)*Did you mean 'local-sgd'",
        ),
        (lambda lines: [lines[0].replace('"rounds":5', '"rounds":4'), *lines[1:]], "training had ended before it"),
    ],
)
def test_a_broken_record_says_where(output: Path, change: Broken, message: str) -> None:
    path = output / RECORD_FILE
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(UserError, match=message):
        replay_output(output)


def test_what_is_missing_or_belongs_to_something_else(output: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file; a run writes it in the modes asp, ssp and backup"):
        replay_output(tmp_path)
    path = output / RECORD_FILE
    stored = read_record(path)
    write_record(path, StoredRecord(stored.job, stored.data_sha256, "0" * 64, stored.record))
    with pytest.raises(UserError, match="is of another model than the one that was saved beside it"):
        replay_output(output)
    write_record(path, StoredRecord(stored.job, "0" * 64, stored.model_sha256, stored.record))
    with pytest.raises(UserError, match="the data has changed since the run"):
        replay_output(output)
    write_record(
        path, StoredRecord({**stored.job, "data": None}, stored.data_sha256, stored.model_sha256, stored.record)
    )
    with pytest.raises(UserError, match=r"record.jsonl:1: job.data: "):
        replay_output(output)
    rate = {**stored.job["training"], "learning_rate": 1e300}
    write_record(
        path, StoredRecord({**stored.job, "training": rate}, stored.data_sha256, stored.model_sha256, stored.record)
    )
    with pytest.raises(RunFailedError, match="not finite"):
        replay_output(output)


def test_a_synchronous_run_leaves_no_older_record_behind(output: Path) -> None:
    drive = Drive(prepared("asp", str(output), rounds=2))
    drive.work([1.0])
    finished = drive.finished()
    assert finished.result is not None
    replace(finished, result=replace(finished.result, record=None)).save()
    assert not (output / RECORD_FILE).exists()


calls = st.builds(
    RecordedCall,
    st.text(max_size=5),
    st.just(0),
    st.integers(0, 99),
    st.sets(st.integers(0, 20), min_size=1).map(lambda shards: tuple(sorted(shards))),
)


@given(st.lists(st.lists(calls, min_size=1, max_size=3).map(tuple), max_size=5), st.text(max_size=9))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, updates: list[tuple[RecordedCall, ...]], reason: str
) -> None:
    path = tmp_path_factory.getbasetemp() / RECORD_FILE
    stored = StoredRecord({"name": "j"}, "a", "b", Record(tuple(updates), reason))
    write_record(path, stored)
    assert read_record(path) == stored


def test_ranges() -> None:
    assert [in_ranges(shards) for shards in ((3,), (0, 1, 2, 7), (1, 3, 5, 6), ())] == ["3", "0-2,7", "1,3,5-6", ""]


# --- what is refused ------------------------------------------------------------------------------------------


def test_simulations_refuse_asynchronous_jobs() -> None:
    with pytest.raises(UserError, match="job j: in mode 'asp' the allocation decides what is learnt"):
        profile(prepared("asp"))


def test_a_run_is_not_recorded_as_a_trace(tmp_path: Path) -> None:
    job = prepared("asp", str(tmp_path / "out")).job
    assert isinstance(job, Job)
    with pytest.raises(UserError, match=r"use 'apportion run' without --record"):
        run_job(job, resolve("equal"), RunOptions(record=tmp_path / "trace.jsonl"), Observer())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"mode": "ssp", "solver": "newton"}, "solver 'newton' needs the sums over all shards, which mode 'ssp'"),
        ({"mode": "asp", "server": "adam"}, "the server optimiser 'adam' is for one step a round: leave it out"),
        ({"mode": "backup", "aggregation": "median"}, "cannot take the median of updates that are not all there"),
        ({"mode": "asp", "patience": 3}, "in mode 'asp' there are none that all its calls began with"),
    ],
)
def test_what_does_not_go_together_is_refused(training: dict[str, object], message: str) -> None:
    fields = {"solver": "local-sgd", **training}
    job = {"name": "j", "data": {"bundled": "diabetes"}, "model": {"objective": "squared"}, "validation_fraction": 0.2}
    with pytest.raises(UserError, match=message):
        prepare(Job.model_validate({**job, "training": fields}))
