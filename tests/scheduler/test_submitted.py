"""The driver of a submitted job: it goes on with the run that a driver of this job began, and with no other."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scheduler import runner, submitted
from scheduler.checkpoints.manifest import Kept, Manifest, read_manifest
from scheduler.job_file import load_job
from scheduler.observer import Observer
from scheduler.service.submission import Submission, Wishes

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "diabetes.yaml"


class Killed(BaseException):
    """The driver's process ends here."""


class Drivers:
    """Drivers of one job; each is killed as soon as it has begun or taken up its run."""

    def __init__(self, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.job = load_job(EXAMPLE, {"output": str(output)})
        submission = Submission.of(self.job, "ada", Wishes()).model_dump(mode="json")
        client = SimpleNamespace(ask=lambda *_: {"submission": submission, "policy": "equal"})
        monkeypatch.setattr(submitted, "connect", nullcontext)
        monkeypatch.setattr(submitted, "the_service", lambda: client)
        monkeypatch.setattr(runner, "_run", self._run)
        self.is_early = False

    def _run(self, job: Any, policy: Any, options: Any, observer: Any, kept: Kept, manifest: Any) -> Any:
        if not self.is_early:
            info = SimpleNamespace(fingerprint="0" * 64)
            manifest(SimpleNamespace(data=SimpleNamespace(info=info), refuse_other_data=lambda *_: None))
        raise Killed

    def drive(self, attempt: int, is_early: bool = False) -> Manifest:
        """Let a driver run, and return the run that is in the output then."""
        self.is_early = is_early
        with pytest.raises(Killed):
            submitted.drive_job("job", attempt, Observer())
        return read_manifest(str(self.job.output))


@pytest.fixture
def drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drivers:
    return Drivers(tmp_path / "out", monkeypatch)


def test_the_next_driver_goes_on_with_what_the_one_before_has_begun(drivers: Drivers) -> None:
    first = drivers.drive(1)
    assert (drivers.drive(2).run, drivers.drive(3).run) == (first.run, first.run)


def test_another_jobs_unfinished_run_is_not_gone_on_with(drivers: Drivers) -> None:
    """The first driver was killed before it had begun, and so before the other run was forgotten."""
    other = Manifest.of(drivers.job, "0" * 64, (), "00000000000000ff")
    Kept.of(drivers.job).begin(other)
    assert drivers.drive(1, is_early=True) == other
    mine = drivers.drive(2)
    assert (mine.run != other.run, mine.submission != other.submission) == (True, True)
    assert drivers.drive(3).run == mine.run
