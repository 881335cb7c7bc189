"""A server that died goes on from what it kept: with the same bits, and only what is missing is computed again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.checkpoints import journal as journal_module
from scheduler.errors import RunFailedError
from scheduler.job_file import load_job
from scheduler.preparation import Prepared, prepare
from scheduler.run import Keeping
from scheduler.server.recovery import Recovery, columns_of, reports_of
from workers.asynchronous_store import AsynchronousStore
from workers.data.shard import Shard
from workers.exact_sum import Floats
from workers.outcome import Outcome, RoundReport
from workers.parameter_store import ParameterStore
from workers.replay import replay
from workers.sequential import train
from workers.update import call_update

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SHARDS, RUN = 4, "0123456789abcdef"


def prepared_job(**training: object) -> Prepared:
    fields = {"solver": "local-sgd", "rounds": 5, "local_epochs": 1, "tolerance": 0.0, **training}
    return prepare(load_job(EXAMPLES / "diabetes.yaml", {"shards": SHARDS, "training": fields}))


JOBS = {solver: prepared_job(solver=solver) for solver in ("local-sgd", "lbfgs", "local-svrg", "gradient-descent")}


class Server:
    """Plays a server that keeps what it needs, and computes shards itself, one call a shard."""

    def __init__(self, prepared: Prepared, folder: Path, every_s: float = 0.0) -> None:
        self._shards: Sequence[Shard] = prepared.data.load(range(SHARDS))
        self.recovery = Recovery(prepared.training(), RUN, Keeping(str(folder), every_s))
        self.num_computed = 0
        self._held: dict[int, Floats] = {}

    @property
    def store(self) -> ParameterStore:
        assert isinstance(self.recovery.store, ParameterStore)
        return self.recovery.store

    @property
    def outcome(self) -> Outcome | None:
        return self.recovery.training.outcome

    def step(self) -> None:
        """Compute one shard, and commit if it was the last."""
        store = self.store
        if store.complete:
            self._commit()
            return
        shard = self._shards[int(store.missing[0])]
        sums = call_update(self.recovery.training.problem, store.message, [shard], self._held)
        self.num_computed += 1
        store.offer(store.message.version, np.array([shard.index]), sums, "worker-0")
        if store.complete:
            self._commit()

    def _commit(self) -> None:
        report = self.store.commit().report
        if report is None:
            return
        self.recovery.reports.append(report)
        if self.recovery.is_due:
            reports = self.recovery.reports
            self.recovery.committed(len(reports), lambda: {"reports": columns_of(reports)})

    def die(self) -> None:
        """Leave files as they are; a thread that writes is let finish, since a kill of it is tested elsewhere."""
        self.recovery.close()


@pytest.fixture(autouse=True)
def _journal_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SHARE", float("inf"))


def bits(outcome: Outcome | None) -> bytes:
    assert outcome is not None
    return b"".join(array.tobytes() for array in outcome.arrays.values())


def sequential(prepared: Prepared) -> Outcome:
    return train(prepared.training(), prepared.data.load(range(SHARDS)))


@pytest.mark.parametrize("solver", JOBS)
@pytest.mark.parametrize("every_s", [0.0, 1e9])
def test_a_server_that_dies_after_every_few_shards_computes_none_of_them_twice(
    solver: str, every_s: float, tmp_path: Path
) -> None:
    wanted, whole = sequential(JOBS[solver]), Server(JOBS[solver], tmp_path / "whole", every_s)
    while whole.outcome is None:
        whole.step()
    assert bits(whole.outcome) == bits(wanted)
    num_computed, outcome, reports = 0, None, 0
    while outcome is None:
        server = Server(JOBS[solver], tmp_path / "torn", every_s)
        assert len(server.recovery.reports) >= reports, "no round is lost"
        for _ in range(3):
            if server.outcome is None:
                server.step()
        num_computed, outcome = num_computed + server.num_computed, server.outcome
        reports = len(server.recovery.reports)
        server.die()
    assert bits(outcome) == bits(wanted)
    assert num_computed == whole.num_computed, "only the missing shards are computed again"


DAMAGE = st.tuples(st.integers(0, 99), st.booleans(), st.floats(0, 1), st.integers(0, 7))


def damage(folder: Path, which: int, flips: bool, where: float, bit: int) -> None:
    """Flip a bit of a file, or cut it: any but the oldest checkpoint, without which nothing is whole."""
    paths = sorted(folder.glob("*.journal")) + sorted(folder.glob("*.checkpoint"))[1:]
    path = paths[which % len(paths)]
    content = bytearray(path.read_bytes())
    place = min(int(where * len(content)), len(content) - 1)
    if content and flips:
        content[place] ^= 1 << bit
    else:
        del content[max(place, 0) :]
    path.write_bytes(content)


@settings(max_examples=25)
@given(
    solver=st.sampled_from(sorted(JOBS)),
    steps=st.integers(1, 30),
    damages=st.lists(DAMAGE, max_size=3),
    more=st.lists(st.integers(0, 9), min_size=2, max_size=2),
)
def test_files_that_were_torn_or_damaged_cost_work_but_no_bit(
    tmp_path_factory: pytest.TempPathFactory, solver: str, steps: int, damages: list[Any], more: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    for place, num in enumerate([steps, *more]):  # what is written after a restoration must be readable, too
        server = Server(JOBS[solver], folder)
        for _ in range(num):
            if server.outcome is None:
                server.step()
        server.die()
        for one in damages if place == 0 else ():
            damage(folder, *one)
    server = Server(JOBS[solver], folder)
    while server.outcome is None:
        server.step()
    assert bits(server.outcome) == bits(sequential(JOBS[solver]))


def test_without_time_for_it_there_is_no_journal_and_the_bits_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SHARE", 0.0)
    server = Server(JOBS["lbfgs"], tmp_path)
    for _ in range(10):
        server.step()
    server.die()
    assert all(path.stat().st_size == 0 for path in tmp_path.glob("*.journal"))
    again = Server(JOBS["lbfgs"], tmp_path)
    while again.outcome is None:
        again.step()
    assert bits(again.outcome) == bits(sequential(JOBS["lbfgs"]))


def test_where_every_checkpoint_is_damaged_it_is_said(tmp_path: Path) -> None:
    server = Server(JOBS["lbfgs"], tmp_path)
    for _ in range(9):
        server.step()
    server.die()
    for path in tmp_path.glob("*.checkpoint"):
        path.write_bytes(b"nonsense")
    with pytest.raises(RunFailedError, match=r"no checkpoint is whole:\n  - checkpoint \d+: it does not begin as"):
        Server(JOBS["lbfgs"], tmp_path)


def test_a_checkpoint_of_another_job_is_refused(tmp_path: Path) -> None:
    server = Server(JOBS["lbfgs"], tmp_path)
    while server.recovery.training.stage != "lbfgs":
        server.step()
    server.step()
    server.die()
    with pytest.raises(RunFailedError, match="does not go together with the job"):
        Server(JOBS["local-sgd"], tmp_path)


def test_an_asynchronous_run_goes_on_with_its_record(tmp_path: Path) -> None:
    prepared = prepared_job(mode="asp", rounds=6)
    shards = {shard.index: shard for shard in prepared.data.load(range(SHARDS))}
    parts = {"worker-0": np.array([0, 1]), "worker-1": np.array([2, 3])}
    outcome, random = None, np.random.default_rng(3)
    while outcome is None:
        recovery = Recovery(prepared.training(), RUN, Keeping(str(tmp_path), 0.0))
        store, training = recovery.store, recovery.training
        assert isinstance(store, AsynchronousStore)
        for _ in range(5):
            if training.outcome is not None:
                break
            report = _asynchronous_step(store, parts, shards, random)
            if report is not None:
                recovery.reports.append(report)
                columns = {"reports": columns_of(recovery.reports)}
                recovery.committed(len(recovery.reports), lambda columns=columns: columns)  # type: ignore[misc]
        recovery.close()
        outcome = training.outcome
    assert isinstance(store, AsynchronousStore)
    replayed = replay(prepared.training(), list(shards.values()), store.record())
    assert bits(replayed) == bits(outcome)
    assert sum(store.staleness.histogram.values()) == sum(map(len, store.record().updates))


def _asynchronous_step(
    store: AsynchronousStore, parts: dict[str, np.ndarray], shards: dict[int, Shard], random: np.random.Generator
) -> RoundReport | None:
    training = store.training
    if not training.is_asynchronous:
        inner = store.synchronous
        every = np.arange(SHARDS)
        held: dict[int, Floats] = {}
        while True:
            sums = call_update(training.problem, inner.message, shards.values(), held)
            inner.offer(inner.message.version, every, sums)
            if (report := inner.commit().report) is not None:
                return report
    if not store.is_open:
        store.open()
    for worker in parts:
        store.come(worker)
    worker = str(random.choice(sorted(parts)))
    for other, mine in parts.items():
        if store.may_pull(other):
            store.pull(other, mine)
    message = store.message_for(worker)
    sums = call_update(training.problem, message, [shards[int(shard)] for shard in parts[worker]], {})
    return store.offer(worker, message.version, parts[worker], sums).report


@given(
    st.lists(
        st.builds(
            RoundReport,
            st.sampled_from(["moments", "lbfgs", "evaluation"]),
            st.integers(0, 10**6),
            st.none() | st.floats(allow_nan=False),
            st.none() | st.floats(allow_nan=False),
            st.none() | st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
        )
    )
)
def test_reports_are_the_same_after_a_journey_as_columns(reports: list[RoundReport]) -> None:
    assert reports_of(columns_of(reports)) == reports
