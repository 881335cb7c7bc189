"""What a server keeps of its job so that another can go on, and how that other one begins."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scheduler.checkpoints.journal import Journal, sums_of
from scheduler.checkpoints.keeper import Keeper
from scheduler.checkpoints.storage import LocalFolder, storage_at, sweep
from scheduler.errors import RunFailedError
from scheduler.rounds.asynchronous import store_of
from scheduler.run import Keeping
from workers.asynchronous_store import AsynchronousStore
from workers.errors import CheckpointError, CorruptionError
from workers.exact_sum import Ints
from workers.outcome import RoundReport
from workers.parameter_store import ParameterStore, Verdict
from workers.training import Training
from workers.update import CallSums

Store = ParameterStore | AsynchronousStore


class KeptStore(ParameterStore):
    """A parameter store that writes down what it accepts, once it has a journal."""

    journal: Journal | None = None

    def offer(self, version: int, shards: Ints, sums: CallSums, worker: str = "") -> Verdict:
        """Take the sums of a call, as ``ParameterStore`` does."""
        verdict = super().offer(version, shards, sums, worker)
        if verdict is Verdict.ACCEPTED and self.journal is not None:
            self.journal.accepted(version, shards, sums, worker)
        return verdict


class Recovery:
    """The checkpoints and the journal of one run, and the state that they restore.

    Attributes
    ----------
    training, store
        Where the run goes on: at its beginning, or where the last server was when it died.
    reports
        Of the rounds that were restored.
    told
        What the last checkpoint's server had counted; empty at the beginning.

    Raises
    ------
    RunFailedError
        If there are checkpoints, and none of them is any good.
    """

    def __init__(self, training: Training, run: str, keeping: Keeping | None) -> None:
        self.training, self.reports, self.told = training, list[RoundReport](), dict[str, Any]()
        self._keeper: Keeper | None = None
        self._journal: Journal | None = None
        self.warnings: list[str] = []
        if keeping is None:
            self.store = store_of(training)
            return
        clock, storage = time.monotonic, storage_at(keeping.where)
        sweep(storage)
        self._keeper = Keeper(storage, run, keeping.every_s, keeping.keep, clock)
        self.warnings = self._keeper.warnings
        is_synchronous = training.problem.options.mode.is_synchronous
        if isinstance(storage, LocalFolder) and is_synchronous:
            self._journal = Journal(storage, run, clock)
        try:
            self.store = self._restored(self._keeper)
        except CheckpointError as error:
            raise RunFailedError(f"{keeping.where}: {error}") from None

    def _restored(self, keeper: Keeper) -> Store:
        """Return the store of the last checkpoint, with the calls that were accepted since."""
        found = keeper.latest()
        state: Mapping[str, Any] = {}
        if found is not None:
            self.warnings += found.damaged
            state = self._take_over(found.tree)
        number = 0 if found is None else found.number
        if not self.training.problem.options.mode.is_synchronous:
            return AsynchronousStore.resumed(self.training, state) if state else AsynchronousStore(self.training)
        store = KeptStore(self.training, **state)
        if self._journal is not None:
            for entry in self._journal.since(number):
                try:
                    self._again(store, entry)
                except (KeyError, TypeError, ValueError, CorruptionError) as error:
                    raise CheckpointError(f"its journal does not go together with the job: {error}") from None
            self._journal.begin(len(self.reports))
            store.journal = self._journal
        return store

    def _take_over(self, tree: Mapping[str, Any]) -> Mapping[str, Any]:
        """Go on where a checkpoint was made, and return what it says of the store."""
        try:
            self.training.resume(tree["training"])
            self.told = dict(tree["told"])
            self.reports += reports_of(self.told["reports"])
            return dict(tree["store"])
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"it was not written by this program: {error!r}") from None

    def _again(self, store: KeptStore, entry: Mapping[str, Any]) -> None:
        """Accept a call again."""
        if self.training.outcome is not None:
            return
        if store.offer(entry["version"], entry["shards"], sums_of(entry), entry["worker"]) is not Verdict.ACCEPTED:
            return
        if store.complete and (report := store.commit().report) is not None:
            self.reports.append(report)

    def committed(self, number: int, told: Callable[[], Mapping[str, Any]]) -> None:
        """Keep a checkpoint after round ``number``, with what the server has counted, which ``told`` returns."""
        began_s = time.monotonic()
        keeper = self._keeper
        if keeper is None or self.training.outcome is not None:
            return
        store = self.store.snapshot()
        tree = {"training": self.training.snapshot(), "store": store, "told": told()}
        keeper.save(number, tree, time.monotonic() - began_s)
        if self._journal is not None:
            self._journal.begin(number)
            self._journal.forget(min(keeper.numbers(), default=0))

    @property
    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._keeper is not None and self._keeper.is_due

    def close(self) -> None:
        """Wait until what is being written is there."""
        if self._keeper is not None:
            self._keeper.wait()
        if self._journal is not None:
            self._journal.close()


def columns_of(reports: Sequence[RoundReport]) -> dict[str, Any]:
    """Return reports as columns: there are many."""
    stages = list(dict.fromkeys(report.stage for report in reports))
    rows = [
        (report.round, *map(_number, (report.loss, report.gradient_norm, *(report.validation or (None, None)))))
        for report in reports
    ]
    return {
        "stages": stages,
        "stage": np.array([stages.index(report.stage) for report in reports], dtype=np.int16),
        "figures": np.array(rows, dtype=np.float64).reshape(len(reports), 5),
    }


def reports_of(columns: Mapping[str, Any]) -> list[RoundReport]:
    """Return the reports of columns."""
    found = []
    for stage, row in zip(columns["stage"].tolist(), columns["figures"].tolist(), strict=True):
        loss, gradient_norm, *validation = (None if math.isnan(value) else value for value in row[1:])
        told = None if validation[0] is None or validation[1] is None else (validation[0], validation[1])
        found.append(RoundReport(columns["stages"][stage], int(row[0]), loss, gradient_norm, told))
    return found


def _number(value: float | None) -> float:
    return math.nan if value is None else value
