"""Rounds in which every worker goes on by itself, without Ray: modes, policies, workers that come and go."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from asynchronous_cases import NUM_SHARDS, Drive, bits, prepared
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from policies.interface import Assignment, Balance, Call, RoundView
from policies.presets import BALANCES, resolve
from scheduler.report.terminal import TerminalObserver, staleness_line
from scheduler.rounds.synchronous import Instructions
from workers.sequential import train
from workers.training import DivergedError
from workers.worker_state import CallResult

MODES: list[Any] = ["asp", "ssp", "backup", {"ssp": {"staleness": 0}}, {"backup": {"drop": 2}}]


@pytest.mark.parametrize("balance", sorted(BALANCES))
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_every_mode_under_every_policy_learns_and_replays(mode: Any, balance: str) -> None:
    drive = Drive(prepared(mode), BALANCES[balance]())
    drive.work([1.0, 1.5, 4.0])
    outcome = drive.outcome()
    synchronous = prepared("synchronous")
    wanted = train(synchronous.training(), synchronous.data.load(range(NUM_SHARDS)))
    assert outcome.rounds == 12 and outcome.metric[0] > wanted.metric[0] - 0.02
    assert drive.store.staleness.bound_held
    assert bits(drive.replayed()) == bits(outcome) != bits(wanted)
    solver = [report for report in drive.reports if report.stage == "local-sgd"]
    assert [report.round for report in solver] == list(range(1, 13))
    assert all(report.loss is not None for report in solver)


def test_the_stages_before_and_after_have_the_bits_of_synchronous_ones() -> None:
    drive = Drive(prepared("asp"), BALANCES["adaptive-pull"]())
    drive.work([1.0, 2.0])
    stages = Counter(report.stage for report in drive.reports)
    synchronous = prepared("synchronous")
    training = synchronous.training()
    train(training, synchronous.data.load(range(NUM_SHARDS)))
    assert stages.keys() >= {"moments", "curvature", "evaluate"}
    assert drive.store.training.problem.columns.scale.tobytes() == training.problem.columns.scale.tobytes()
    assert drive.store.training.problem.options.learning_rate == training.problem.options.learning_rate


def test_a_slow_worker_slows_ssp_and_not_asp() -> None:
    took_s, shares = {}, {}
    for mode in ("asp", {"ssp": {"staleness": 1, "damping": 1}}):
        drive = Drive(prepared(mode, rounds=30))
        drive.work([1.0, 1.0, 20.0])
        took_s[str(mode)] = drive.now_s
        workers = Counter(call.worker for update in drive.record().updates for call in update)
        shares[str(mode)] = min(workers.values()) / max(workers.values())
    (asp, ssp), (asp_share, ssp_share) = took_s.values(), shares.values()
    assert asp < ssp / 2
    assert asp_share < 0.2 and ssp_share > 0.8


def test_backup_does_not_wait_for_the_slow_one() -> None:
    drive = Drive(prepared("backup"))
    drive.work([1.0, 1.0, 50.0])
    assert {call.worker for update in drive.record().updates for call in update} == {"w0", "w1"}
    assert {call.worker for call in drive.calls} == {0, 1, 2}


class Turning(Balance):
    """Gives every worker the next one's shards after every round, and says what it was told."""

    name, source, redivides = "turning", "this test", True

    def __init__(self) -> None:
        self.views: list[RoundView] = []

    def divide(self, view: RoundView) -> Assignment:
        self.views.append(view)
        return Assignment((np.arange(len(view.shards)) * len(view.workers) // len(view.shards) + view.round) % 3)


def test_a_policy_that_redivides_is_told_what_was_measured() -> None:
    balance = Turning()
    drive = Drive(prepared("ssp", rounds=9), balance)
    drive.work([1.0, 2.0, 4.0])
    views = [view for view in balance.views if not view.pulls and len(view.last_s) and not np.isnan(view.last_s).any()]
    assert len(views) >= 5
    for view in views:  # seconds for what each holds now
        held = np.bincount(view.resident, weights=drive.job.data.work, minlength=3)
        np.testing.assert_allclose(view.last_s, held * [1.0, 2.0, 4.0])
    assert [view.round for view in balance.views if not view.pulls] == sorted(
        view.round for view in balance.views if not view.pulls
    )
    owners = [{call.worker for call in drive.calls if shard in call.shards} for shard in range(NUM_SHARDS)]
    assert all(len(owner) == 3 for owner in owners)


def test_a_faster_worker_gets_more_under_an_adaptive_policy() -> None:
    drive = Drive(prepared("asp", rounds=20), BALANCES["adaptive"]())
    drive.work([1.0, 6.0])
    assert len(drive.rounds.queue(0)) > len(drive.rounds.queue(1)) > 0


@settings(max_examples=12, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    seats=st.lists(st.lists(st.floats(0.5, 9.0), min_size=1, max_size=4), min_size=1, max_size=4),
    balance=st.sampled_from(["equal", "adaptive", "round-robin"]),
)
def test_workers_that_come_and_go_change_nothing_of_what_is_promised(
    mode: Any, seats: list[list[float]], balance: str
) -> None:
    drive = Drive(prepared(mode), BALANCES[balance]())
    for s_per_row in seats:
        stop = len(drive.reports) + 8
        drive.work(s_per_row, lambda stop=stop: len(drive.reports) >= stop)  # type: ignore[misc]
        if drive.done:
            break
        assert set(drive.store.workers) <= {f"w{worker}" for worker in range(len(s_per_row))}  # those before have left
    if not drive.done:
        drive.work([1.0, 2.0])
    assert drive.outcome().rounds == 12
    assert drive.store.staleness.bound_held
    assert bits(drive.replayed()) == bits(drive.outcome())


def test_more_workers_than_shards_wait_for_none_that_has_nothing() -> None:
    drive = Drive(prepared({"ssp": {"staleness": 0}}))
    drive.work([1.0] * (NUM_SHARDS + 3))
    assert drive.outcome().rounds == 12 and len({call.worker for call in drive.calls}) == NUM_SHARDS


def test_what_comes_after_the_stage_is_dropped_even_if_it_is_not_finite() -> None:
    drive = Drive(prepared("asp"))
    late: list[Call] = []

    def keep(found: Instructions) -> None:
        if drive.store.is_open:
            late.extend(found.calls)

    drive.hook = keep
    drive.work([1.0, 3.0], lambda: drive.store.training.stage == "evaluate")
    result = CallResult(1, None, 0.0, "3 of 4 values are not finite")
    assert drive.rounds.answered(late[-1], result) == Instructions()
    drive.work([1.0])
    assert drive.done


def test_an_update_that_is_not_finite_ends_the_run() -> None:
    drive = Drive(prepared("asp", learning_rate=1e300))
    with pytest.raises(DivergedError, match="local-sgd, round"):
        drive.work([1.0, 2.0])


def test_the_result_tells_the_mode_and_the_staleness() -> None:
    drive = Drive(prepared("ssp"))
    drive.work([1.0, 2.0, 3.0])
    told = drive.finished().summary.as_json()
    assert told["mode"] == "ssp"
    staleness = told["staleness"]
    assert staleness["bound"] == 3 and staleness["bound_held"] and 0 < staleness["mean"] <= staleness["max"]
    assert sum(staleness["histogram"].values()) == len(drive.record().updates)
    assert drive.finished().model.provenance["job"]["training"]["mode"] == "ssp"
    broken = replace(drive.store.staleness, clocks=4)
    assert not broken.bound_held and not broken.as_json()["bound_held"]


@pytest.mark.parametrize("mode", ["ssp", "asp"])
def test_the_terminal_tells_the_mode_and_the_staleness(mode: str) -> None:
    drive = Drive(prepared(mode, rounds=3))
    drive.work([1.0, 2.0])
    finished = drive.finished()
    assert finished.result is not None
    on = Console(width=200, record=True, file=io.StringIO())
    observer = TerminalObserver(on)
    observer.split(drive.job, resolve("equal"), finished.result.workers)
    observer.communicated(finished.result)
    observer.fused(finished.summary)
    text, staleness = on.export_text(), drive.store.staleness
    assert f"the parameter server applies the workers' updates, mode {mode}" in text
    bound = "the bound is 3" if mode == "ssp" else "no bound"
    assert f"at most {staleness.max} updates" in text and f"{staleness.clocks} clocks behind ({bound})" in text
    assert "record.jsonl" in text
    assert "the bound is 3, and was broken" in staleness_line(replace(staleness, clocks=4, bound=3))


# --- workers that are lost ---


def seated(mode: Any, num: int, balance: str = "equal") -> Drive:
    """Return a drive in the solver's stage, with so many workers that compute."""
    drive = Drive(prepared(mode), BALANCES[balance]())
    drive.work([1.0] * num, lambda: drive.store.is_open)
    drive.rounds = drive.rounds_for([1.0] * num)
    return drive


@pytest.mark.parametrize("balance", ["equal", "adaptive"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_what_a_lost_worker_had_is_the_others_and_nobody_waits_for_it(mode: Any, balance: str) -> None:
    drive = seated(mode, 3, balance)
    first = drive.rounds.begin()
    assert {call.worker for call in first.calls} == {0, 1, 2}
    late = drive.computed(next(call for call in first.calls if call.worker == 1))
    dropped = drive.store.staleness.num_dropped
    found = drive.rounds.lost(1)
    assert drive.store.staleness.num_dropped == dropped + 1
    assert "w1" not in drive.store.workers
    assert set(drive.rounds.worker_of.tolist()) == {0, 2}
    assert drive.rounds.lost(1) == Instructions()
    before = drive.store.version
    drive.rounds.answered(*late)  # too late to count
    assert drive.store.version == before
    drive.go_on([*(call for call in first.calls if call.worker != 1), *found.calls])
    assert drive.outcome().rounds == 12
    assert bits(drive.replayed()) == bits(drive.outcome())


def test_a_round_that_waited_for_the_lost_alone_ends() -> None:
    """Of three workers two make an update of ``backup``, of two workers one: and one has answered."""
    drive = seated("backup", 3)
    first = drive.rounds.begin()
    found = drive.rounds.answered(*drive.computed(first.calls[0]))
    assert found == Instructions()
    found = drive.rounds.lost(2)
    assert found.report is not None and found.report.round == 1
    assert [call.worker for call in found.calls] == [0]
    drive.go_on([*first.calls[1:2], *found.calls])
    assert drive.outcome().rounds == 12 and bits(drive.replayed()) == bits(drive.outcome())


def test_a_round_that_waited_for_who_is_not_seated_any_more_is_reported_at_the_beginning() -> None:
    drive = seated("backup", 3)
    first = drive.rounds.begin()
    drive.rounds.answered(*drive.computed(first.calls[0]))
    drive.rounds = drive.rounds_for([1.0, 1.0])
    found = drive.rounds.begin()
    assert found.report is not None and {call.worker for call in found.calls} == {0, 1}
    assert drive.rounds.begin().report is None


def test_all_are_lost_in_the_stage_and_others_go_on() -> None:
    drive = seated("ssp", 2)
    drive.rounds.begin()
    drive.rounds.lost(0)
    drive.rounds.lost(1)
    assert drive.rounds.is_deserted and drive.store.workers == ()
    drive.work([1.0, 2.0])
    assert drive.outcome().rounds == 12 and bits(drive.replayed()) == bits(drive.outcome())
