"""The registry: who is let in, under which name, and what may become of a job."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turning_cases import World, untold

from policies.interface import NodeTable, Resources, Tenant
from scheduler.errors import UserError
from scheduler.service.journal import Journal
from scheduler.service.records import Heard, JobRecord, State, TenantRecord
from scheduler.service.registry import Registry
from scheduler.service.submission import Estimate, Submission, Wishes
from scheduler.service.tenants import read_tenant

GIB = 2.0**30
NODES = NodeTable.of(["ant", "bee"], [[4.0, 0.0, 4 * GIB], [2.0, 1.0, 2 * GIB]], [[0.0, 0.0, 0.0], [2.0, 1.0, 2 * GIB]])
QUOTA = Resources(cpu=3.0, gpu=0.0, memory=64 * GIB)


class Book:
    """A registry over a journal, of which one operation comes a second after the other."""

    def __init__(self) -> None:
        self.journal = Journal(":memory:")
        self.registry = Registry(self.journal)
        self.now_s = 0.0
        self.num = 0

    def submission(self, name: str = "job", user: str = "ada", **more: Any) -> Submission:
        self.num += 1
        workers = {"min": more.pop("least", 1), "max": more.pop("most", 2), "bundle": more.pop("bundle", {"cpu": 1.0})}
        job = {"workers": workers, "shards": more.pop("shards", 8)}
        estimate: Estimate | None = more.pop("estimate", None)
        wishes = Wishes(**more)
        return Submission(token=f"{self.num:016x}", name=name, job=job, user=user, wishes=wishes, estimate=estimate)

    def hand_in(self, submission: Submission) -> JobRecord:
        self.now_s += 1.0
        return self.registry.submit(submission, self.now_s, NODES)

    def submit(self, name: str = "job", **more: Any) -> JobRecord:
        return self.hand_in(self.submission(name, **more))

    def become(self, job: str, state: State, attempts: int = 0) -> JobRecord:
        self.now_s += 1.0
        return self.registry.change(self.registry[job], state=state, num_attempts=attempts)

    def control(self, job: str, act: str, user: str = "ada", force: bool = False) -> JobRecord:
        self.now_s += 1.0
        return self.registry.control(job, act, user, force, self.now_s)

    def resize(self, job: str, least: int | None, most: int | None) -> JobRecord:
        return self.registry.resize(job, least, most, "ada", False, self.now_s, NODES)

    def tenant(self, name: str, most_jobs: int | None = None, **more: Any) -> None:
        self.registry.set_tenant(TenantRecord(Tenant(name, **more), most_jobs), self.now_s)

    def admit(self) -> None:
        self.now_s += 1.0
        self.registry.admit(self.now_s)

    def again(self) -> Registry:
        """Return a registry that has taken up what is in the journal."""
        found = Registry(self.journal)
        found.load(self.journal.jobs(), self.journal.tenants(), self.journal.setting("policy"))
        return found


@pytest.fixture
def book() -> Book:
    return Book()


def test_the_same_token_twice_is_one_job(book: Book) -> None:
    submission = book.submission()
    first = book.hand_in(submission)
    assert book.hand_in(submission) is book.registry[first.id]
    assert len(book.registry) == 1
    book.become(first.id, State.FINISHED)
    assert book.hand_in(submission).state is State.FINISHED
    assert book.again().submit(submission, 9.0, NODES).id == first.id
    assert [one.id for one in book.journal.jobs()] == [first.id]


def test_a_name_is_taken_while_its_job_lives_and_numbered_afterwards(book: Book) -> None:
    book.submit("job")
    with pytest.raises(UserError, match="a job named 'job' is queued already: wait for it, stop it, or give this one"):
        book.submit("job")
    book.become("job", State.FINISHED)
    assert book.submit("job").id == "job.2"
    book.become("job.2", State.FAILED)
    assert [book.submit("job.3").id, book.submit("job").id] == ["job.3", "job.4"]


def test_a_name_means_its_newest_job_and_an_id_just_that_one(book: Book) -> None:
    book.submit("job")
    book.become("job", State.FINISHED)
    book.submit("job")
    book.submit("job.2")
    assert [one.id for one in book.registry.live] == ["job.2", "job.2.2"]
    assert book.registry.find("job").id == "job.2"
    assert book.registry.find("job.2").id == "job.2"
    assert book.control("job.2", "stop").submission.name == "job"
    assert book.registry["job.2.2"].state is State.QUEUED


def test_an_unknown_job_is_refused_with_the_nearest_one(book: Book) -> None:
    with pytest.raises(UserError, match="unknown job 'jbo': none has been submitted yet"):
        book.registry.find("jbo")
    book.submit("job")
    with pytest.raises(UserError, match=r"unknown job 'jbo'\. Did you mean 'job'"):
        book.control("jbo", "stop")


def test_an_unknown_tenant_is_refused_with_the_nearest_one(book: Book) -> None:
    book.tenant("research")
    with pytest.raises(UserError, match=r"unknown tenant 'reserch'\. Did you mean 'research'.*apportion tenant set"):
        book.submit(tenant="reserch")
    assert len(book.registry) == 0


@pytest.mark.parametrize("tenant", ["research", "vision"])
def test_a_job_beyond_a_quota_that_is_never_borrowed_beyond_is_refused(book: Book, tenant: str) -> None:
    book.tenant("research", quota=QUOTA, borrows=False)
    book.tenant("vision", parent="research")
    with pytest.raises(UserError) as told:
        book.submit(tenant=tenant, least=4, most=4)
    assert "can never have its 4 workers, since tenant research does not borrow" in str(told.value)
    assert "cpu 4 requested, 3 free" in str(told.value)
    assert book.submit(tenant=tenant, least=3, most=4).state is State.QUEUED
    book.tenant("research", quota=QUOTA, borrows=True)
    assert book.submit("other", tenant=tenant, least=4, most=4).state is State.QUEUED


def test_a_job_that_never_fits_is_refused_with_the_closest_node(book: Book) -> None:
    with pytest.raises(UserError) as told:
        book.submit(bundle={"cpu": 3.0, "gpu": 1.0})
    message = str(told.value)
    assert "cpu 3 requested, 2 free" in message
    assert "bee" in message
    assert "ant" not in message.replace("cannot", "").replace("wants", "").replace("granted", "")
    assert "it can never have its workers on this cluster" in message
    book.registry.growth = lambda: None
    assert book.submit(bundle={"cpu": 3.0, "gpu": 1.0}).state is State.QUEUED


def test_what_is_used_now_does_not_keep_a_job_out(book: Book) -> None:
    assert book.submit(least=6, most=6).state is State.QUEUED
    with pytest.raises(UserError, match="it can never have its workers"):
        book.submit("other", least=7, most=7)


def test_a_job_after_one_that_is_not_there_is_refused(book: Book) -> None:
    book.submit("first")
    with pytest.raises(UserError, match=r"unknown job 'frist'\. Did you mean 'first'"):
        book.submit("second", after=("frist",))


def test_a_job_waits_for_its_predecessors(book: Book) -> None:
    book.submit("a")
    book.submit("b")
    held = book.submit("c", after=("a", "b"))
    assert (held.state, held.reason) == (State.HELD, "comes after a, b")
    book.become("a", State.FINISHED)
    book.admit()
    assert (book.registry["c"].state, book.registry["c"].reason) == (State.HELD, "comes after b")
    book.become("b", State.FINISHED)
    book.admit()
    assert (book.registry["c"].state, book.registry["c"].reason) == (State.QUEUED, "")
    assert book.submit("d", after=("a",)).state is State.QUEUED


@pytest.mark.parametrize("state", [State.FAILED, State.STOPPED])
def test_who_comes_after_a_job_that_failed_fails_with_it_and_so_on(book: Book, state: State) -> None:
    book.submit("a")
    book.submit("b", after=("a",))
    book.submit("c", after=("b",))
    book.become("a", state)
    book.admit()
    for name, before in (("b", f"a, which has {state.value}"), ("c", "b, which has failed")):
        record = book.registry[name]
        assert (record.state, record.ended_s) == (State.FAILED, book.now_s)
        assert record.reason == f"it was to come after {before}"
    late = book.submit("d", after=("a",))
    assert (late.state, late.ended_s) == (State.FAILED, book.now_s)
    assert list(book.registry.live) == []


def test_a_predecessor_is_a_job_and_not_whoever_has_its_name_later(book: Book) -> None:
    book.submit("a")
    book.submit("b", after=("a",))
    book.become("a", State.FINISHED)
    assert book.submit("a", after=("b",)).id == "a.2"
    book.admit()
    assert [(one.id, one.state) for one in book.registry.live] == [("b", State.QUEUED), ("a.2", State.HELD)]


def test_a_job_that_was_paused_while_its_predecessor_failed_has_ended_when_it_is_resumed(book: Book) -> None:
    book.submit("a")
    book.submit("b", after=("a",))
    book.control("b", "pause")
    book.become("a", State.FAILED)
    resumed = book.control("b", "resume")
    assert (resumed.state, resumed.ended_s) == (State.FAILED, book.now_s)


def test_a_tenant_has_so_many_jobs_at_a_time(book: Book) -> None:
    book.tenant("red", most_jobs=2)
    for name in "abcd":
        book.submit(name, tenant="red")
    book.submit("other")
    states = {one.id: one.state for one in book.registry.live}
    assert [name for name, state in states.items() if state is State.HELD] == ["c", "d"]
    assert book.registry["c"].reason == "tenant red may have 2 jobs at a time"
    book.become("a", State.FINISHED)
    book.admit()
    assert [book.registry[name].state for name in "bcd"] == [State.QUEUED, State.QUEUED, State.HELD]
    book.tenant("red")
    book.admit()
    assert book.registry["d"].state is State.QUEUED


LIVE = [state for state in State if not state.has_ended]


@pytest.mark.parametrize("attempts", [0, 1])
@pytest.mark.parametrize("state", LIVE)
def test_a_job_is_stopped_in_every_state(book: Book, state: State, attempts: int) -> None:
    """At once where it holds nothing and never had a driver."""
    book.submit()
    book.become("job", state, attempts)
    stopped = book.control("job", "stop")
    at_once = state in (State.HELD, State.QUEUED, State.PAUSED) and not attempts
    assert stopped.state is (State.STOPPED if at_once else State.STOPPING)
    assert (stopped.reason, stopped.ended_s == book.now_s) == (("stopped by ada", True) if at_once else ("", False))
    assert book.journal.jobs()[0].state is stopped.state


@pytest.mark.parametrize("act", ["pause", "resume"])
@pytest.mark.parametrize("state", LIVE)
def test_a_job_is_paused_and_resumed_where_that_means_something(book: Book, state: State, act: str) -> None:
    book.submit()
    book.become("job", state)
    expected = {
        "pause": {State.HELD, State.QUEUED, State.STARTING, State.RUNNING},
        "resume": {State.PAUSED},
    }
    if state in expected[act]:
        assert book.control("job", act).state is (State.PAUSED if act == "pause" else State.QUEUED)
    else:
        with pytest.raises(UserError, match=f"job job is {state.value}: there is nothing to {act}"):
            book.control("job", act)
        assert book.registry["job"].state is state


@pytest.mark.parametrize("act", ["stop", "pause", "resume"])
@pytest.mark.parametrize("state", [state for state in State if state.has_ended])
def test_there_is_nothing_to_do_with_a_job_that_has_ended(book: Book, state: State, act: str) -> None:
    book.submit()
    book.become("job", state)
    with pytest.raises(UserError, match=f"job job has {state.value}: there is nothing to {act}"):
        book.control("job", act, force=True)
    with pytest.raises(UserError, match="there is nothing to resize"):
        book.resize("job", 1, 1)


def test_who_resumes_a_job_of_a_tenant_that_has_enough_waits(book: Book) -> None:
    book.tenant("red", most_jobs=1)
    book.submit("a", tenant="red")
    book.submit("b", tenant="red")
    book.control("b", "pause")
    assert book.control("b", "resume").state is State.HELD


@pytest.mark.parametrize("user", ["eve", ""])
def test_another_users_job_is_stopped_by_force_only(book: Book, user: str) -> None:
    book.submit()
    with pytest.raises(UserError, match=f"job job is ada's, and you are {user or 'nobody'}: to stop it .* --force"):
        book.control("job", "stop", user)
    assert book.registry["job"].state is State.QUEUED
    assert book.control("job", "stop", user, force=True).reason == f"stopped by {user or 'its user'}"
    book.submit("free", user="")
    assert book.control("free", "stop", user).state is State.STOPPED


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [(2, 4, (2, 4)), (None, 1, (1, 1)), (2, None, (2, 2)), (3, None, (3, 3)), (None, None, (1, 2)), (6, 9, (6, 8))],
)
def test_a_job_has_other_bounds(book: Book, least: int | None, most: int | None, expected: tuple[int, int]) -> None:
    """Its 8 shards are the most that it has workers for."""
    book.submit()
    assert book.resize("job", least, most).submission.gang == expected
    assert book.journal.jobs()[0].submission.gang == expected


@pytest.mark.parametrize(
    ("least", "most", "message"),
    [
        (3, 2, "min_workers is 3, but max_workers is 2"),
        (0, None, "min_workers: Input should be greater than or equal to 1, got 0"),
        (None, -1, "max_workers: Input should be greater than or equal to 1, got -1"),
        (7, 8, "it can never have its workers on this cluster"),
    ],
)
def test_bounds_that_are_none_are_refused(book: Book, least: int | None, most: int | None, message: str) -> None:
    before = book.submit()
    with pytest.raises(UserError) as told:
        book.resize("job", least, most)
    assert message in str(told.value)
    assert "pydantic" not in str(told.value)
    assert book.registry["job"] is before


@pytest.mark.parametrize(
    ("tenant", "message"),
    [
        (Tenant("red", parent="blue"), "tenant red is a part of itself: red -> blue -> red"),
        (Tenant("red", parent="red"), "tenant red is a part of itself"),
        (Tenant("red", weight=0.0), "tenant red: weight must be greater than 0, got 0"),
        (Tenant("red", weight=float("nan")), "tenant red: weight must be greater than 0, got nan"),
        (Tenant("red", weight=float("inf")), "tenant red: weight must be greater than 0, got inf"),
        (Tenant("red", parent="bleu"), r"unknown tenant 'bleu'. Did you mean 'blue'"),
        (Tenant(""), "a tenant's name must be 1 to 64 letters, digits, '.', '_' or '-' of ASCII, a letter or digit"),
        (Tenant("a b"), "first, got 'a b': choose another one"),
        (Tenant("x" * 65), f"got '{'x' * 65}'"),
        (Tenant("red", quota=Resources(cpu=-1.0)), "tenant red: a quota's cpu must be a number from 0 on, got -1.0"),
        (Tenant("red", quota=Resources(gpu=float("nan"))), "a quota's gpu must be a number from 0 on, got nan"),
        (Tenant("red", quota=Resources(memory=float("inf"))), "a quota's memory must be a number from 0 on, got inf"),
    ],
)
def test_a_tenant_that_is_none_is_refused(book: Book, tenant: Tenant, message: str) -> None:
    book.tenant("red")
    book.tenant("blue", parent="red")
    before = dict(book.registry.tenants)
    with pytest.raises(UserError) as told:
        book.registry.set_tenant(TenantRecord(tenant), 1.0)
    assert message in str(told.value)
    assert book.registry.tenants == before


@pytest.mark.parametrize("limit", [-1, 0, 1.5, True, float("nan")])
def test_a_limit_of_jobs_that_is_none_is_refused(book: Book, limit: Any) -> None:
    with pytest.raises(UserError) as told:
        book.tenant("red", limit)
    assert "tenant red: the limit of its jobs must be a whole number of at least 1, got" in str(told.value)
    assert "'--max-jobs 0' lifts it" in str(told.value)
    assert "red" not in book.registry.tenants


@pytest.mark.parametrize(
    "found", [{}, {"name": "red"}, {"name": "red", "quota": 3, "most_jobs": None}, {"name": "red", "quota": {"tpu": 1}}]
)
def test_what_is_no_tenant_is_refused_in_words(found: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="this is no tenant"):
        read_tenant(found)


def test_what_a_driver_tells_is_kept_with_the_next_change(book: Book) -> None:
    record = book.submit()
    book.registry.hear(record, Heard(3, 10, 0.5))
    assert book.journal.jobs()[0].heard == Heard()
    book.become("job", State.RUNNING)
    assert book.journal.jobs()[0].heard == Heard(3, 10, 0.5)


OPERATION = st.tuples(
    st.sampled_from(("submit", "control", "resize", "tenant", "become", "policy", "admit")),
    st.sampled_from(("a", "b", "a.2", "c")),
    st.integers(0, 8),
)
ACTS, STATES = ("stop", "pause", "resume"), tuple(State)


def operate(book: Book, what: str, name: str, number: int) -> None:
    if what == "submit":
        after = (name,) if number > 6 else ()
        tenant = ("default", "red")[number % 2]
        book.submit("abc"[number % 3], tenant=tenant, after=after, priority=float(number), least=1 + number % 2)
    elif what == "control":
        book.control(name, ACTS[number % 3])
    elif what == "resize":
        book.resize(name, number % 4, number)
    elif what == "tenant":
        book.tenant(("red", "blue")[number % 2], number or None, weight=float(number), parent=("", "blue")[number % 2])
    elif what == "become" and name in [one.id for one in book.registry.live]:
        book.become(name, STATES[number], number % 2)
    elif what == "policy":
        book.registry.set_policy(("fifo+spread+equal", {"order": "drf"})[number % 2], 0.0)
    elif what == "admit":
        book.admit()


@given(operations=st.lists(OPERATION, max_size=25))
def test_a_registry_from_the_journal_is_the_same(operations: list[tuple[str, str, int]]) -> None:
    book = Book()
    for operation in operations:
        with suppress(UserError):
            operate(book, *operation)
        again = book.again()
        assert [untold(one) for one in again.everyone] == [untold(one) for one in book.registry.everyone]
        assert [one.id for one in again.live] == [one.id for one in book.registry.live]
        assert again.tenants == book.registry.tenants
        assert again.policy == book.registry.policy
        for record in book.registry.everyone:
            assert again.submit(record.submission, 0.0, NODES).id == record.id
            assert record.state.has_ended or again.find(record.submission.name).id == record.id


def test_many_jobs_are_held_back_without_counting_each_others_jobs_anew() -> None:
    """What a turn looks at grows with the number of jobs, not with its square."""
    world = World()
    world.registry.set_tenant(TenantRecord(Tenant("red"), 1), 0.0)
    for number in range(50):
        world.hand_in(world.submission(f"j{number}", tenant="red"))
    looked: list[int] = []

    class Counting(dict[str, JobRecord]):
        def __getitem__(self, name: str) -> JobRecord:
            looked.append(1)
            return super().__getitem__(name)

    world.registry._records = Counting(world.registry._records)
    world.registry.admit(1.0)
    assert len(looked) <= 2 * 50
