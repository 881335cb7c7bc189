"""Runs whose driver is gone: what goes on, what is left, and how another driver goes on to the same model."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from process_cases import HOME, JOB, Head, Running, apportion, environment, start_endless, survivors

from scheduler.job_file import load_job
from scheduler.preparation import prepare
from workers.model import sha256_of
from workers.sequential import train

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("nothing_goes_on")]

ROUNDS = 4000
FIELDS = {"training.rounds": ROUNDS, "training.solver": "gradient-descent", "training.tolerance": 0}
OPTIONS = [word for name, value in FIELDS.items() for word in ("--set", f"{name}={value}")]
OPTIONS += ["--set", "recovery.every_s=0.2"]


@pytest.fixture(scope="module")
def wanted() -> str:
    """Return the hash of the model that the run would have had."""
    prepared = prepare(load_job(HOME / JOB, FIELDS))
    return sha256_of(train(prepared.training(), prepared.data.load(range(prepared.job.shards))).arrays)


def until_kept(output: Path) -> None:
    """Wait until there is a checkpoint."""
    deadline_s = time.monotonic() + 60
    while not list((output / "checkpoints").glob("*.checkpoint")):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def resumed(home: Path, output: Path, *options: str, **extra: str) -> dict[str, Any]:
    done = apportion(home, "resume", str(output), *options, "--json", **extra)
    assert done.returncode == 0, done.stderr
    assert "rounds are restored from the run's checkpoint" in " ".join(done.stderr.split())
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def ended(running: Running, sent: signal.Signals) -> str:
    running.process.send_signal(sent)
    output, _ = running.process.communicate(timeout=60)
    assert running.process.returncode == (-sent if sent == signal.SIGKILL else 130), output
    return output


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_whose_driver_ends_leaves_no_process_and_goes_on_elsewhere(
    tmp_path: Path, sent: signal.Signals, wanted: str
) -> None:
    running = start_endless(tmp_path, "--cpus", "2", *OPTIONS)
    until_kept(tmp_path / "out")
    told = ended(running, sent)
    assert "Traceback" not in told
    assert survivors(running.family, within_s=120.0) == [], "after a kill, Ray's own look now and then who is there"
    assert not (tmp_path / "out" / "model.json").exists()
    if sent != signal.SIGKILL:
        assert "apportion resume" in told
    summary = resumed(tmp_path, tmp_path / "out", "--policy", "adaptive-pull", "--workers", "1", "--cpus", "2")
    assert (summary["model_sha256"], summary["rounds"]) == (wanted, ROUNDS)
    assert not (tmp_path / "out" / "checkpoints").exists(), "what is not needed any more is removed"


def test_sigterm_is_obeyed_before_ray_kills(tmp_path: Path) -> None:
    running = start_endless(tmp_path, "--cpus", "2", *OPTIONS)
    until_kept(tmp_path / "out")
    ended(running, signal.SIGTERM)
    files = sorted(path.name for path in (tmp_path / "out" / "checkpoints").iterdir())
    assert "run.json" in files and not [name for name in files if name.startswith(".writing")]


def test_killed_twice_and_resumed_twice_on_a_running_head(head: Head, tmp_path: Path, wanted: str) -> None:
    env = environment(head.home, RAY_AUTH_MODE="token")
    running = start_endless(tmp_path, "--address", head.address, *OPTIONS, env=env)
    until_kept(tmp_path / "out")
    ended(running, signal.SIGKILL)
    actors = [process for process in running.family if process.is_running()]
    assert survivors(actors, within_s=60.0) == []
    refused = apportion(head.home, "run", JOB, "--output", str(tmp_path / "out"), RAY_ADDRESS=head.address)
    assert refused.returncode == 2
    assert "of an unfinished run" in refused.stderr and "apportion resume" in refused.stderr
    own = {"RAY_AUTH_MODE": "token", "RAY_ADDRESS": head.address}
    summary = resumed(head.home, tmp_path / "out", "--workers", "3", "--output", str(tmp_path / "new"), **own)
    assert summary["model_sha256"] == wanted
    assert len([worker for worker in summary["workers"] if worker["shards"]]) == 3
    assert (tmp_path / "new" / "model.json").is_file()


@pytest.mark.long
def test_one_output_has_one_run_at_a_time(tmp_path: Path, wanted: str) -> None:
    output = tmp_path / "out"
    running = start_endless(tmp_path, "--cpus", "2", *OPTIONS, "--set", "training.rounds=1000000")
    until_kept(output)
    for arguments in (["run", JOB, "--output", str(output), "--anew"], ["resume", str(output)]):
        refused = apportion(tmp_path, *arguments, "--cpus", "2")
        text = " ".join(refused.stderr.split())
        assert refused.returncode == 2, text
        assert f"{output}: another run is writing there (process {running.process.pid} on " in text
        assert "Traceback" not in text
    ended(running, signal.SIGINT)
    assert [path.name for path in output.iterdir()] == ["checkpoints"]
    begun = apportion(tmp_path, "run", JOB, "--output", str(output), "--anew", *OPTIONS, "--cpus", "2", "--json")
    assert begun.returncode == 0, begun.stderr
    assert json.loads(begun.stdout)["model_sha256"] == wanted
    assert not [path.name for path in output.iterdir() if path.name.startswith(".")]


def test_damaged_checkpoints_are_told_without_a_traceback(tmp_path: Path) -> None:
    running = start_endless(tmp_path, "--cpus", "2", *OPTIONS)
    until_kept(tmp_path / "out")
    ended(running, signal.SIGINT)
    for path in (tmp_path / "out" / "checkpoints").glob("*.checkpoint"):
        path.write_bytes(path.read_bytes()[:-3])
    done = apportion(tmp_path, "resume", str(tmp_path / "out"), "--cpus", "2")
    assert done.returncode == 1
    assert "no checkpoint is whole" in done.stderr and "it is cut off" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root")
def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_room(tmp_path: Path, wanted: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        running = start_endless(tmp_path, "--cpus", "2", *OPTIONS, "--output", str(disk / "out"))
        until_kept(disk / "out")
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        told, _ = running.process.communicate(timeout=120)
        text = " ".join(told.split())
        assert "was not kept" in text and "No space left on device" in text
        assert "Traceback" not in told
        if running.process.returncode:  # the model could not be written: nothing is lost
            filler.unlink(missing_ok=True)
            assert resumed(tmp_path, disk / "out", "--cpus", "2")["model_sha256"] == wanted
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
