"""Submissions and records travel as plain data, and what is none is refused in words."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.conformance import same
from policies.interface import Resources, Tenant
from scheduler.errors import UserError
from scheduler.service.records import Heard, JobRecord, State, TenantRecord
from scheduler.service.submission import API, Estimate, Submission, Wishes, read_submission

NAMES = st.from_regex(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
FINITE = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.one_of(st.just(math.nan), st.floats(0, 1e10))
GANGS = st.tuples(st.integers(1, 20), st.integers(0, 20))


@st.composite
def submissions(draw: st.DrawFn) -> Submission:
    least, more = draw(GANGS)
    wished_least, wished_more = draw(GANGS)
    rates = st.dictionaries(NAMES, st.lists(st.floats(0, 1e6), min_size=1, max_size=3).map(tuple), max_size=2)
    wishes = Wishes(
        tenant=draw(NAMES),
        priority=draw(FINITE),
        deadline_s=draw(st.none() | st.floats(1e-3, 1e9)),
        min_workers=draw(st.sampled_from((None, wished_least))),
        max_workers=draw(st.sampled_from((None, wished_least + wished_more))),
        after=draw(st.lists(NAMES, max_size=3).map(tuple)),
    )
    bundle = {"cpu": draw(st.floats(0.1, 64)), "gpu": draw(st.sampled_from((0.0, 0.5, 1.0, 2.0)))}
    return Submission(
        token=draw(st.from_regex(r"^[0-9a-f]{16}\Z")),
        name=draw(NAMES),
        job={"workers": {"min": least, "max": least + more, "bundle": bundle}, "shards": draw(st.integers(1, 64))},
        search=draw(st.lists(st.text(max_size=5), max_size=2).map(tuple)),
        user=draw(st.text(max_size=10)),
        wishes=wishes,
        estimate=draw(st.none() | st.builds(Estimate, work=st.floats(1e-3, 1e9), rates=rates)),
        package=draw(st.sampled_from(("", "0f" * 32))),
        is_driven=draw(st.booleans()),
        driven_by=draw(st.sampled_from(("", "0a1b"))),
    )


def travelled(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


@given(submission=submissions())
def test_a_submission_is_what_it_was(submission: Submission) -> None:
    again = read_submission(travelled(submission.model_dump(mode="json")))
    assert again == submission
    assert same(again.view("job", 1.0), submission.view("job", 1.0))


@given(submission=submissions())
def test_a_gang_is_within_what_was_wished(submission: Submission) -> None:
    least, most = submission.gang
    wishes, (own, _) = submission.wishes, (submission.job["workers"]["min"], 0)
    assert 1 <= least <= most
    assert most <= max(submission.job["shards"], least)
    assert least == min(wishes.min_workers or own, wishes.max_workers or 10**9)
    assert wishes.max_workers is None or most <= wishes.max_workers


@given(
    submission=submissions(),
    state=st.sampled_from(State),
    times=st.tuples(st.floats(0, 1e10), TIMES, TIMES),
    heard=st.builds(Heard, st.integers(0, 99), st.integers(0, 99), st.none() | FINITE),
    reason=st.text(max_size=20),
    result=st.dictionaries(st.text(max_size=5), st.none() | FINITE | st.text(max_size=5), max_size=3),
)
def test_a_record_is_what_it_was(
    submission: Submission,
    state: State,
    times: tuple[float, float, float],
    heard: Heard,
    reason: str,
    result: dict[str, Any],
) -> None:
    record = JobRecord("job", submission, state, *times, 3, reason, heard, 2, result)
    found = travelled(record.as_json())
    again = JobRecord.of_json(found)
    assert again.as_json() == record.as_json()
    for name in ("state", "submission", "heard", "result", "num_attempts", "preemptions", "reason", "driver"):
        assert getattr(again, name) == getattr(record, name)
    for name in ("submitted_s", "started_s", "ended_s"):
        assert same(getattr(again, name), getattr(record, name))


@given(
    quota=st.none() | st.builds(Resources, st.floats(0, 1e3), st.floats(0, 1e3), st.floats(0, 1e15)),
    weight=st.floats(0.1, 10),
    parent=st.text(max_size=5),
    borrows=st.booleans(),
    most_jobs=st.none() | st.integers(1, 9),
)
def test_a_tenant_is_what_it_was(
    quota: Resources | None, weight: float, parent: str, borrows: bool, most_jobs: int | None
) -> None:
    record = TenantRecord(Tenant("red", weight, quota, parent, borrows), most_jobs)
    assert TenantRecord.of_json(travelled(record.as_json())) == record


GOOD: dict[str, Any] = {
    "api": API,
    "token": "0" * 16,
    "name": "job",
    "job": {"workers": {"min": 1, "max": 2}, "shards": 8},
}


def test_the_one_that_the_others_are_made_from_is_good() -> None:
    assert read_submission(GOOD).gang == (1, 2)


@pytest.mark.parametrize(
    ("version", "what"),
    [
        (API - 1, "update the client"),
        (API + 1, "update the cluster's, by 'apportion service restart'"),
        (None, "update the cluster's"),
        (True, "update the cluster's"),
        ("1", "update the cluster's"),
    ],
)
def test_a_submission_of_another_version_is_refused(version: Any, what: str) -> None:
    with pytest.raises(UserError) as told:
        read_submission({**GOOD, "api": version})
    assert f"the cluster's service version {API}: {what}" in str(told.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("token", "xyz", "token: String should match"),
        ("token", 5, "token: Input should be a valid string, got 5"),
        ("name", "../up", "name: String should match"),
        ("name", "a" * 65, "name: String should match"),
        ("job", [1], "job: Input should be a valid dictionary"),
        ("job", {"workers": {"min": 3, "max": 2}}, "min is 3, but max is 2"),
        ("job", {"workers": {"wrokers": 3}}, "Extra inputs are not permitted"),
        ("job", {"workers": "many"}, "got 'many'"),
        ("job", {"shards": "many"}, "shards must be a whole number of at least 1, got {'shards': 'many'}"),
        ("job", {"shards": 0}, "shards must be a whole number of at least 1, got {'shards': 0}"),
        ("job", {"shards": None}, "shards must be a whole number of at least 1"),
        ("job", {"shards": True}, "shards must be a whole number of at least 1"),
        ("job", {"rate": math.nan}, "must be plain"),
        ("job", {"rate": {1, 2}}, "must be plain"),
        (
            "job",
            {"workers": {"bundle": {"gpu": 1.5}}},
            "must be a whole number, or a part of one GPU (at most 1), got 1.5",
        ),
        ("wishes", {"priority": math.nan}, "wishes.priority: Input should be a finite number"),
        ("wishes", {"priority": math.inf}, "wishes.priority: Input should be a finite number"),
        ("wishes", {"deadline_s": 0}, "wishes.deadline_s: Input should be greater than 0"),
        ("wishes", {"min_workers": 0}, "wishes.min_workers: Input should be greater than or equal to 1"),
        ("wishes", {"min_workers": 3, "max_workers": 2}, "min_workers is 3, but max_workers is 2"),
        ("wishes", {"prioritiy": 1.0}, "wishes.prioritiy: Extra inputs are not permitted"),
        ("wishes", {"tenant": ""}, "wishes.tenant: String should match"),
        ("wishes", {"after": ["a b"]}, "wishes.after.0: String should match"),
        ("estimate", {"work": 0, "rates": {}}, "estimate.work: Input should be greater than 0"),
        ("estimate", {"work": 1, "rates": {"fast": ["x"]}}, "estimate.rates.fast.0"),
        ("package", "0f", "package: String should match"),
        ("user", "u" * 257, "user: String should have at most 256 characters"),
        ("driven_by", "me", "driven_by: String should match"),
        ("colour", "red", "colour: Extra inputs are not permitted, got 'red'"),
    ],
)
def test_what_is_no_submission_is_refused_with_its_first_mistake(field: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as told:
        read_submission({**GOOD, field: value})
    assert message in str(told.value)
    assert "pydantic" not in str(told.value)
