"""One run at a time in a folder: who comes second is told who is there, and nothing is left of a lock."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from policies.presets import resolve
from scheduler.checkpoints.lock import LOCK_FILE, alone_in
from scheduler.checkpoints.manifest import Kept, Manifest
from scheduler.errors import UserError
from scheduler.job import Job
from scheduler.job_file import load_job
from scheduler.observer import Observer
from scheduler.runner import RunOptions, run_job

HOME = Path(__file__).resolve().parents[3]
HOLD = "import sys; from pathlib import Path; from scheduler.checkpoints.lock import alone_in\n"
HOLD += "with alone_in(Path(sys.argv[1])): print('here', flush=True); input()"

COUNT = """
import sys
from pathlib import Path
from scheduler.checkpoints.lock import alone_in
from scheduler.errors import UserError
folder, counter, num_left = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
while num_left:
    try:
        with alone_in(folder):
            counter.write_text(str(int(counter.read_text()) + 1))
            num_left -= 1
    except UserError:
        pass
"""


@contextmanager
def another_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process be in a folder."""
    arguments = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(arguments, cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "here\n"
        try:
            yield process
        finally:
            process.kill()


def job(output: Path, **fields: Any) -> Job:
    return load_job(HOME / "examples" / "diabetes.yaml", {"output": str(output), **fields})


def test_who_comes_second_is_told_who_is_there(tmp_path: Path) -> None:
    with another_run(tmp_path / "out") as process, pytest.raises(UserError) as refused, alone_in(tmp_path / "out"):
        pytest.fail("two runs in one folder")
    text = str(refused.value)
    assert str(tmp_path / "out") in text and "another run is writing there" in text
    assert f"process {process.pid} on {socket.gethostname()}, since 20" in text
    assert "wait until it has ended, stop it, or name another output" in text


def test_whoever_is_killed_keeps_nobody_out(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with another_run(folder) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (folder / LOCK_FILE).exists(), "a run that is killed removes nothing"
    with alone_in(folder):
        assert f"process {os.getpid()} " in (folder / LOCK_FILE).read_text()
    assert not folder.exists()


def test_folders_are_left_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "model.json").touch()
    before = sorted(tmp_path.rglob("*"))
    for name in ("empty", "full", "new/newer"):
        with alone_in(tmp_path / name):
            assert (tmp_path / name / LOCK_FILE).exists()
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_run_has_written_stays(tmp_path: Path) -> None:
    with alone_in(tmp_path / "new" / "newer"):
        (tmp_path / "new" / "newer" / "model.json").touch()
    assert [path.name for path in (tmp_path / "new" / "newer").iterdir()] == ["model.json"]


def test_many_that_come_and_go_are_never_there_together(tmp_path: Path) -> None:
    """The lock's file and its folder are made and removed by all of them all the time."""
    counter, num_runs, num_times = tmp_path / "counter", 4, 150
    counter.write_text("0")
    arguments = [sys.executable, "-c", COUNT, str(tmp_path / "out"), str(counter), str(num_times)]
    running = [subprocess.Popen(arguments, cwd=HOME) for _ in range(num_runs)]
    assert [process.wait(120) for process in running] == [0] * num_runs
    assert int(counter.read_text()) == num_runs * num_times
    assert not (tmp_path / "out" / LOCK_FILE).exists()


def test_a_file_that_was_removed_by_hand_is_not_taken_from_the_next(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        (tmp_path / LOCK_FILE).unlink()
        (tmp_path / LOCK_FILE).write_text("of another run")
    assert (tmp_path / LOCK_FILE).read_text() == "of another run"


def test_where_nothing_can_be_locked_nobody_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def cannot(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", cannot)
    with alone_in(tmp_path / "out"), alone_in(tmp_path / "out"):
        assert not (tmp_path / "out" / LOCK_FILE).exists()
    assert not (tmp_path / "out").exists()


def test_on_a_full_disk_others_are_kept_out_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with alone_in(tmp_path), pytest.raises(UserError, match="another run is writing there: wait"), alone_in(tmp_path):
        pytest.fail("two runs in one folder")


def test_where_nothing_can_be_written_nobody_is_kept_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with alone_in(tmp_path / "file" / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_clearing_removes_no_lock(tmp_path: Path) -> None:
    wanted = job(tmp_path / "out", recovery={"checkpoints": str(tmp_path / "kept")})
    kept = Kept.of(wanted)
    with kept.alone(wanted.output):
        kept.begin(Manifest.of(wanted, "0" * 64, ()))
        kept.clear()
        for folder in (tmp_path / "out", tmp_path / "kept"):
            with pytest.raises(UserError, match=f"process {os.getpid()} "), alone_in(folder):
                pytest.fail("two runs in one folder")
    assert list(tmp_path.iterdir()) == []


def test_one_folder_by_two_names_is_locked_once(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "out")
    wanted = job(tmp_path / "out", recovery={"checkpoints": str(tmp_path / "link")})
    with Kept.of(wanted).alone(wanted.output):
        assert (tmp_path / "out" / LOCK_FILE).exists()


@pytest.mark.parametrize("place", ["out", "kept"])
@pytest.mark.parametrize("anew", [False, True])
def test_a_run_is_refused_before_it_connects(tmp_path: Path, place: str, anew: bool) -> None:
    wanted = job(tmp_path / "out", recovery={"checkpoints": str(tmp_path / "kept")})
    with another_run(tmp_path / place), pytest.raises(UserError, match=f"{place}: another run is writing there"):
        run_job(wanted, resolve("equal"), RunOptions("nonsense", anew=anew), Observer())


def test_a_run_that_could_not_begin_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="address 'nonsense'"):
        run_job(job(tmp_path / "runs" / "out"), resolve("equal"), RunOptions("nonsense"), Observer())
    assert list(tmp_path.iterdir()) == []
