"""The journal: what was acknowledged is there after any death, once, and files that are none are refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from service_cases import BEGAN_S

from policies.interface import Grant, Resources, Tenant
from scheduler.errors import UserError
from scheduler.service.journal import VERSION, Journal
from scheduler.service.records import JobRecord, Lease, State, TenantRecord
from scheduler.service.submission import Submission

WRITER = """
import sys
from policies.interface import Grant, Resources
from scheduler.service.journal import Journal
from scheduler.service.records import JobRecord, Lease, State
from scheduler.service.submission import Submission

journal, number = Journal(sys.argv[1]), int(sys.argv[2])
while True:
    name = f"job-{number}"
    submission = Submission(token=f"{number:016x}", name=name, job={})
    record = JobRecord(name, submission, State.QUEUED, float(number))
    lease = Lease(Grant(name, 0, "ant", (1,)), f"group-{number}", float(number))
    with journal.together():
        journal.save(record)
        journal.note(0.0, "submitted", name)
    print("submitted", number, flush=True)
    with journal.together():
        journal.save(JobRecord(name, submission, State.STARTING, float(number), num_attempts=1))
        journal.open_lease(lease, "default", Resources(cpu=1.0))
        journal.note(0.0, "started", name)
    print("started", number, flush=True)
    journal.end_lease(lease, 1.0)
    print("ended", number, flush=True)
    number += 1
"""


def record(name: str, state: State = State.QUEUED) -> JobRecord:
    return JobRecord(name, Submission(token="0" * 16, name=name, job={}), state, BEGAN_S)


def written_until_killed(path: Path, first: int, num_lines: int) -> list[tuple[str, int]]:
    """Let a process write until it has acknowledged so many writes, kill it, and return what it has acknowledged."""
    command = [sys.executable, "-c", WRITER, str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(num_lines)]
        writer.kill()
        lines += writer.stdout.readlines()
    acknowledged = [line.split() for line in lines if line.endswith("\n")]
    return [(what, int(number)) for what, number in acknowledged]


def test_what_was_acknowledged_is_there_after_a_kill_and_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    acknowledged: list[tuple[str, int]] = []
    for num_lines in (1, 2, 47):
        first = max((number for _, number in acknowledged), default=-1) + 2
        acknowledged += written_until_killed(path, first, num_lines)
        journal = Journal(path)
        jobs = {one.id: one for one in journal.jobs()}
        leases = {row["job"]: row for row in journal.rows("SELECT * FROM leases")}
        events = [(row["kind"], row["job"]) for row in journal.rows("SELECT * FROM events")]
        assert len(jobs) == len(journal.jobs())
        assert len(leases) == len(journal.rows("SELECT job FROM leases"))
        assert len(events) == len(set(events))
        for what, number in acknowledged:
            name = f"job-{number}"
            assert ("submitted", name) in events
            if what != "submitted":
                assert (jobs[name].state, ("started", name) in events) == (State.STARTING, True)
            if what == "ended":
                assert leases[name]["until_s"] == 1.0
        for name, found in jobs.items():  # what was written together is there together
            assert ("submitted", name) in events
            assert (found.state is State.STARTING) == (("started", name) in events) == (name in leases)
        assert {one.grant.job for one in journal.open_leases()} == {
            name for name, row in leases.items() if row["until_s"] is None
        }
        journal.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_text("these are the notes of a very long meeting " * 50)
    before = path.read_bytes()
    with pytest.raises(UserError, match="not a journal of the scheduler service: file is not a database"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a journal of the scheduler service: unable to open database file"):
        Journal(tmp_path)


@pytest.mark.parametrize("version", [VERSION + 1, VERSION - 1 or 7])
def test_a_journal_of_another_version_is_refused_and_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "journal.sqlite"
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {version}")
    database.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"a journal of version {version}, this program writes {VERSION}: move it away"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE recipes (name TEXT)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match="but another database: move it away"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_journal_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    first = Journal(path)
    lease = Lease(Grant("job", 0, "ant", (0, 1)), "group", 2.0)
    first.save(record("job"))
    first.save(record("other"))
    first.save(record("job", State.RUNNING))
    first.save_tenant(TenantRecord(Tenant("red", quota=Resources(cpu=1.0)), 3))
    first.save_setting("policy", {"order": "drf"})
    first.open_lease(lease, "red", Resources(cpu=1.0))
    first.close()
    again = Journal(path)
    assert [(one.id, one.state) for one in again.jobs()] == [("job", State.RUNNING), ("other", State.QUEUED)]
    assert again.tenants() == [TenantRecord(Tenant("red", quota=Resources(cpu=1.0)), 3)]
    assert (again.setting("policy"), again.setting("colour")) == ({"order": "drf"}, None)
    assert again.open_leases() == [lease]
    again.end_lease(lease, 3.0)
    assert again.open_leases() == []


def test_what_is_written_together_is_there_together_or_not_at_all() -> None:
    journal = Journal(":memory:")
    journal.save(record("first"))

    def write_and_raise(error: BaseException) -> None:
        with journal.together():
            journal.save(record("second"))
            journal.save(record("first", State.FAILED))
            journal.note(0.0, "failed")
            raise error

    for error in (ValueError("no"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            write_and_raise(error)
        assert [(one.id, one.state) for one in journal.jobs()] == [("first", State.QUEUED)]
        assert journal.rows("SELECT * FROM events") == []
    with journal.together():
        journal.save(record("second"))
    assert [one.id for one in journal.jobs()] == ["first", "second"]


def test_a_full_disk_is_told_and_the_journal_goes_on_when_there_is_room(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.save(record("first"))
    journal._db.execute("PRAGMA max_page_count = 1")  # no more than there are
    with pytest.raises(sqlite3.OperationalError, match="disk is full"), journal.together():
        for number in range(1000):
            journal.note(0.0, "event", details="x" * 1000, number=number)
    assert journal.rows("SELECT * FROM events") == []
    journal._db.execute("PRAGMA max_page_count = 1000000")
    with journal.together():
        journal.note(0.0, "event")
    assert len(journal.rows("SELECT * FROM events")) == 1


def test_a_commit_that_fails_is_taken_back_whole(tmp_path: Path) -> None:
    """Whoever waits for the disk longer than it may finds the journal ready for the next one."""
    journal = Journal(tmp_path / "journal.sqlite")
    journal._db.execute("CREATE TABLE promises (job TEXT REFERENCES jobs (id) DEFERRABLE INITIALLY DEFERRED)")
    journal._db.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError), journal.together():
        journal.save(record("first"))
        journal._db.execute("INSERT INTO promises VALUES ('nobody')")
    with journal.together():
        journal.save(record("second"))
    assert [one.id for one in journal.jobs()] == ["second"]
