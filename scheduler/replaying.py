"""Computing the model of an asynchronous run again, from what it left in its output folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from scheduler.errors import Mistakes, RunFailedError, UserError
from scheduler.job import Job
from scheduler.preparation import Prepared, prepare
from scheduler.record_file import RECORD_FILE, StoredRecord, read_record
from workers.exact_sum import NonFiniteError
from workers.model import load_model, sha256_of
from workers.replay import RecordError, replay
from workers.training import DivergedError


@dataclass(frozen=True)
class Replayed:
    """The hash of the model that was computed again, that of the one that was saved, and from how many updates."""

    model_sha256: str
    saved_sha256: str
    num_updates: int

    @property
    def same(self) -> bool:
        """Whether both have the same bits."""
        return self.model_sha256 == self.saved_sha256


def replay_output(folder: Path) -> Replayed:
    """Compute a run's model again in this process, from the job and the record in its output folder.

    Raises
    ------
    UserError, DataError
        If something is missing or broken, or the data has changed since.
    RunFailedError
        If the numbers overflow.
    """
    path = folder / RECORD_FILE
    stored = read_record(path)
    saved = load_model(folder).sha256
    if saved != stored.model_sha256:
        raise UserError(f"{path}: is of another model than the one that was saved beside it: run the job again")
    prepared = _prepared(path, stored)
    shards = prepared.data.load(range(prepared.job.shards))
    try:
        with threadpool_limits(limits=1):  # as workers compute
            outcome = replay(prepared.training(), shards, stored.record)
    except RecordError as error:
        raise UserError(f"{path}: {error}") from None
    except (NonFiniteError, DivergedError) as error:
        raise RunFailedError(f"{path}: {error}") from None
    return Replayed(sha256_of(outcome.arrays), saved, len(stored.record.updates))


def _prepared(path: Path, stored: StoredRecord) -> Prepared:
    """Look at the job's data again; it must be the same."""
    try:
        job = Job.model_validate(stored.job)
    except ValidationError as error:
        mistakes = Mistakes(path)
        for one in error.errors(include_url=False):
            mistakes.add(1, f"job.{'.'.join(map(str, one['loc']))}", one["msg"])
        raise mistakes.error() from None
    prepared = prepare(job)
    prepared.refuse_other_data(path, stored.data_sha256)
    return prepared
