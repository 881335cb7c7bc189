"""What a run writes down: told the time, it leaves no gap and no overlap."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.results.outcome import Activity, Interval
from scheduler.run_log import RunLog


def test_a_worker_starts_computes_waits_and_is_sent_more() -> None:
    log = RunLog("job", keeps_timeline=True)
    log.seat(1.0, [(0, "a"), (1, "b")], [0.5, None])
    log.read(100)
    log.answered(0, sent_s=1.0, now_s=4.0, busy_s=2.0, num_bytes=10, num_new=3)
    log.answered(1, sent_s=1.0, now_s=3.0, busy_s=1.5, num_bytes=10, num_new=0)
    log.round_ended(5.0, loss=0.25)
    (done,) = log.rounds
    assert (done.ended_s, done.seconds, done.busy_s) == (5.0, 4.0, (2.0, 1.5))
    assert (done.bytes_moved, done.shards_moved, done.loss) == (120, 3, 0.25)
    first = [one for one in log.intervals if one.worker == 0]
    assert first == [
        Interval("a", "job", 0, Activity.STARTING, 0.5, 2.0, 0),
        Interval("a", "job", 0, Activity.BUSY, 2.0, 4.0, 0),
        Interval("a", "job", 0, Activity.WAITING, 4.0, 5.0, 0),
    ]
    second = [(one.activity, one.from_s, one.to_s) for one in log.intervals if one.worker == 1]
    assert second == [(Activity.MOVING, 1.0, 1.5), (Activity.BUSY, 1.5, 3.0), (Activity.WAITING, 3.0, 5.0)]


def test_a_round_that_begins_again_is_counted_once_and_its_bytes_are_not_forgotten() -> None:
    log = RunLog("job", keeps_timeline=False)
    log.seat(0.0, [(0, "a")], [0.0])
    log.answered(0, 0.0, 1.0, 1.0, num_bytes=7, num_new=1)
    log.leave(2.0)
    log.seat(10.0, [(5, "b")], [9.0])
    log.answered(0, 10.0, 12.0, 2.0, num_bytes=5, num_new=1)
    log.round_ended(12.0, None)
    (done,) = log.rounds
    assert (done.seconds, done.busy_s, done.bytes_moved, done.shards_moved) == (2.0, (2.0,), 12, 2)
    assert log.intervals == []


@given(
    st.lists(
        st.tuples(st.sampled_from(["answer", "round", "reseat"]), st.integers(0, 2), st.floats(0, 3), st.floats(0, 4)),
        max_size=30,
    )
)
def test_nobody_is_in_two_places_at_a_time(events: list[tuple[str, int, float, float]]) -> None:
    log, now_s = RunLog("job", keeps_timeline=True), 0.0
    places = [(0, "a"), (1, "b"), (2, "c")]
    log.seat(0.0, places, [0.0] * 3)
    for what, place, lasts_s, busy_s in events:
        sent_s, now_s = now_s, now_s + lasts_s
        if what == "answer":
            log.answered(place, sent_s, now_s, busy_s, 1, 0)
        elif what == "round":
            log.round_ended(now_s, None)
        else:
            log.leave(now_s)
            log.seat(now_s, places, [now_s if place == 0 else None] * 3)
    for worker in range(3):
        mine = sorted((one.from_s, one.to_s) for one in log.intervals if one.worker == worker)
        assert all(to_s <= next_s for (_, to_s), (next_s, _) in itertools.pairwise(mine))
    assert [done.ended_s for done in log.rounds] == pytest.approx(sorted(done.ended_s for done in log.rounds))
