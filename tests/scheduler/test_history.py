"""Questions to the journal of a scheduler service: what happened, why, whether again, and as a trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from service_cases import BEGAN_S, Service
from typer.testing import CliRunner

from policies.interface import Tenant
from policies.presets import resolve
from scheduler.cli import history as command
from scheduler.cli.main import app
from scheduler.errors import UserError
from scheduler.report.history import replay_text, story_text
from scheduler.service.answers import summary
from scheduler.service.history import Entry, now, story, timeline, workload
from scheduler.service.journal import Journal
from scheduler.service.records import State, TenantRecord
from scheduler.service.replays import PAGE, replay
from scheduler.service.submission import Estimate
from scheduler.simulation.traces.trace_file import read_trace, write_trace


def busy(policy: str | dict[str, Any] = "fifo+pack+equal") -> Service:
    """A cluster of ten processors: ``first`` has eight, ``second`` waits for six of them, ``third`` after that."""
    service = Service(policy)
    service.registry.set_tenant(TenantRecord(Tenant("red")), service.cluster.time_s)
    service.submit("first", 8, 8)
    service.submit("second", 6, 6, tenant="red")
    service.submit("third", 5, 5)
    service.touch()
    service.end("first")
    service.end("second", State.FAILED)
    return service


def change(journal: Journal, query: str, values: tuple[Any, ...] = ()) -> None:
    """Let a journal be another one than was written."""
    assert journal._db.execute(query, values).rowcount > 0


class TestTimeline:
    def test_events_and_decisions_are_told_in_the_order_of_time(self) -> None:
        entries = timeline(busy().journal.rows, 100)
        assert [entry.at_s for entry in entries] == sorted(entry.at_s for entry in entries)
        assert [(one.kind, one.job) for one in entries if one.job] == [
            ("submitted", "first"),
            ("submitted", "second"),
            ("decision", "first"),
            ("submitted", "third"),
            ("finished", "first"),
            ("decision", "second"),
            ("failed", "second"),
            ("decision", "third"),
        ]

    def test_a_decision_says_what_it_gave_and_by_whom(self) -> None:
        (entry,) = timeline(busy().journal.rows, 100, job="first", kind="decision")
        assert entry.what == "+4 workers on node ant00000, +4 workers on node bee00000"
        assert entry.policy == "fifo+pack+equal"
        assert entry.version == 1
        assert entry.took_s is not None
        assert entry.took_s > 0

    def test_what_was_taken_back_is_told_too(self) -> None:
        service = Service("fair-share+pack+equal")
        service.submit("wide", 1, 10)
        service.submit("other", 2, 2, priority=1.0)
        whats = [entry.what for entry in timeline(service.journal.rows, 100, job="wide", kind="decision")]
        assert len(whats) == 2
        assert whats[1].startswith("-")
        taken = sum(int(part.split()[0]) for part in whats[1].split(", "))
        assert taken == -2

    def test_the_last_ones_are_listed(self) -> None:
        rows = busy().journal.rows
        everything = timeline(rows, 100)
        for limit in (1, 3, len(everything)):
            assert timeline(rows, limit) == everything[-limit:]

    @pytest.mark.parametrize(
        ("filters", "kept"),
        [
            ({"job": "second"}, lambda one: one.job == "second"),
            ({"tenant": "red"}, lambda one: one.job == "second"),
            ({"tenant": "default"}, lambda one: one.job in ("first", "third")),
            ({"kind": "submitted"}, lambda one: one.kind == "submitted"),
            ({"kind": "decision", "tenant": "default"}, lambda one: one.kind == "decision" and one.job != "second"),
        ],
    )
    def test_filters(self, filters: dict[str, str], kept: Any) -> None:
        rows = busy().journal.rows
        found = timeline(rows, 100, **filters)
        assert found
        assert found == [one for one in timeline(rows, 100) if kept(one)]

    def test_what_is_unknown_is_refused(self) -> None:
        rows = busy().journal.rows
        with pytest.raises(UserError, match=r"unknown tenant 'rad'.*red"):
            timeline(rows, 9, tenant="rad")
        with pytest.raises(UserError, match=r"unknown kind 'decisions'.*decision"):
            timeline(rows, 9, kind="decisions")

    def test_details_of_events_are_told_in_words(self) -> None:
        service = busy()
        now_s = service.cluster.time_s
        service.registry.resize("third", 2, None, "ada", False, now_s, service.cluster.observe())
        service.cluster.bad = {"ant00000ffff"}
        service.turn()
        service.journal.note(now_s, "driver lost", "third", why="its process has ended")
        by_kind = {entry.kind: entry for entry in timeline(service.journal.rows, 100)}
        assert by_kind["resized"].what == "at least 2 workers"
        assert by_kind["resized"].user == "ada"
        assert by_kind["nodes lost"].what == "4 workers on node ant00000"
        assert by_kind["driver lost"].what == "its process has ended"
        assert by_kind["policy"].what == "fifo+pack+equal"
        assert by_kind["finished"].what == ""


class TestStory:
    def test_a_job_that_waited(self) -> None:
        entries = story(busy().journal.rows, "second")
        assert [one.kind for one in entries] == ["submitted", "waits", "decision", "failed"]
        assert entries[1].what.startswith("second: only 2 of 6 fit")
        assert "cat00000ffff" in entries[1].what
        assert (entries[1].policy, entries[1].version) == ("fifo+pack+equal", 3)

    def test_a_reason_is_told_once_and_again_when_it_has_changed(self) -> None:
        service = busy()
        refused = "SELECT count(*) AS num FROM decisions WHERE unplaced LIKE '%\"third\"%'"
        waits = [one.what for one in story(service.journal.rows, "third") if one.kind == "waits"]
        assert service.journal.rows(refused)[0]["num"] > len(waits)
        assert len(waits) == 2
        assert len(set(waits)) == 2

    def test_the_same_reason_is_told_again_after_it_had_workers(self) -> None:
        service = Service("fifo+pack+equal")
        service.submit("one", 8, 8)
        service.submit("late", 8, 8)
        acts = [("one", "pause"), ("late", "pause"), ("one", "resume"), ("late", "resume")]
        for name, act in acts:
            service.registry.control(name, act, "ada", False, service.cluster.time_s)
            service.turn()
        entries = [one for one in story(service.journal.rows, "late") if one.kind in ("waits", "decision")]
        assert [one.kind for one in entries] == ["waits", "decision", "waits"]
        assert entries[0].what == entries[2].what

    def test_what_it_does_now(self) -> None:
        service = busy()
        status = {**summary(service.registry.find("second"), 0), "leases": []}
        assert now(status) == "failed"
        held = {**status, "state": "held", "reason": "comes after first"}
        assert now(held) == "held: comes after first"
        waits = {**status, "state": "queued", "waits": {"reason": "it has just come", "fits_in_s": 61.2}}
        assert now(waits) == "queued: it has just come\nits workers will fit: in 61 s at the earliest"
        waits["waits"]["fits_in_s"] = None
        assert now(waits).endswith("it is not known when")
        runs = {**status, "state": "running", "leases": [{"worker": 0, "node": "ant00000ffff"}]}
        assert now(runs) == "running, with 1 worker on node ant00000"

    def test_text_of_users_is_no_markup(self) -> None:
        entry = Entry(BEGAN_S, "driver lost", "j", "it said [red] and left")
        assert r"\[red]" in story_text("j", [entry], "[bold]")


class TestReplay:
    @pytest.mark.parametrize("policy", ["fifo+pack+equal", "fair-share+fgd+adaptive-pull"])
    def test_an_untouched_journal_agrees_everywhere(self, policy: str) -> None:
        journal = busy(policy).journal
        found = replay(journal.rows)
        assert found.agree == journal.rows("SELECT count(*) AS num FROM decisions")[0]["num"]
        assert (found.differ, found.first, dict(found.skipped)) == (0, None, {})

    def test_a_changed_row_is_found_with_both_plans(self) -> None:
        journal = busy().journal
        (row,) = journal.rows("SELECT number, version, grants FROM decisions WHERE grants LIKE '%second%'")
        grants = json.loads(row["grants"])[:-1]
        change(journal, "UPDATE decisions SET grants = ? WHERE number = ?", (json.dumps(grants), row["number"]))
        found = replay(journal.rows)
        assert found.differ >= 1
        assert found.first is not None
        assert (found.first.number, found.first.version) == (row["number"], row["version"])
        assert (len(found.first.grants), len(found.first.grants_again)) == (5, 6)
        assert set(found.first.grants) < set(found.first.grants_again)
        assert f"the first is decision {row['number']}" in replay_text(found)

    def test_a_plan_that_breaks_a_rule_now_is_one_that_differs(self) -> None:
        journal = busy().journal
        change(journal, "UPDATE nodes SET nodes = replace(nodes, '\"ant', '\"gnu')")
        found = replay(journal.rows)
        assert found.first is not None
        assert found.first.grants != found.first.grants_again

    def test_options_of_a_policy_are_those_that_it_was_set_with(self) -> None:
        spec = {"order": "fifo", "place": {"power-of-two-choices": {"choices": 3}}, "balance": "equal"}
        assert replay(busy(spec).journal.rows).differ == 0

    def test_a_policy_changes_with_the_time(self) -> None:
        service = busy()
        service.registry.set_policy("fifo+spread+equal", service.cluster.time_s)
        service.submit("fourth", 2, 2)
        service.touch()
        found = replay(service.journal.rows)
        names = {row["policy"] for row in service.journal.rows("SELECT policy FROM decisions")}
        assert names == {"fifo+pack+equal", "fifo+spread+equal"}
        assert (found.differ, dict(found.skipped)) == (0, {})

    def test_who_cannot_be_asked_again_is_named(self) -> None:
        journal = busy().journal
        change(journal, "UPDATE decisions SET policy = 'mine:Own' WHERE number > 2")
        found = replay(journal.rows)
        assert found.agree == 2
        assert list(found.skipped) == ["mine:Own"]
        assert replay(busy("max-sum-throughput").journal.rows).skipped == {
            "max-sum-throughput": "it keeps a memory, which the journal does not have"
        }

    def test_a_journal_is_read_page_by_page(self) -> None:
        service = busy()
        service.submit("more", 1, 1)
        for _ in range(PAGE):
            service.touch()
        found = replay(service.journal.rows)
        assert found.agree > PAGE
        assert found.differ == 0


class TestWorkload:
    def test_what_was_measured(self) -> None:
        service = busy()
        found = workload(service.journal.rows, service.cluster.time_s, "here")
        views = {job.view.id: job.view for job in found.jobs}
        leases = service.journal.rows("SELECT until_s - since_s AS held_s FROM leases WHERE job = 'first'")
        assert len(leases) == 8
        assert views["first"].work == sum(row["held_s"] for row in leases) > 0
        assert views["first"].rate(8) == 8.0
        assert [view.submitted_s for view in views.values()] == [0.0, 1.0]
        assert views["second"].tenant == "red"
        assert (views["second"].min_workers, views["second"].bundle.cpu) == (6, 1.0)

    def test_estimates_go_before_what_was_measured(self) -> None:
        service = busy()
        estimate = Estimate(work=40.0, rates={"slow": (1.0, 1.5), "": (2.0, 3.0)})
        service.submit("known", 9, 9, estimate=estimate, deadline_s=30.0)
        service.submit("unknown", 9, 9)
        found = workload(service.journal.rows, service.cluster.time_s, "here")
        views = {job.view.id: job.view for job in found.jobs}
        assert "unknown" not in views
        assert (views["known"].work, views["known"].rate(2, "slow"), views["known"].rate(2, "fast")) == (40.0, 1.5, 3.0)
        assert views["known"].deadline_s == views["known"].submitted_s + 30.0
        assert found.meta["left out"] == "1"

    def test_it_is_a_trace(self, tmp_path: Path) -> None:
        service = busy()
        found = workload(service.journal.rows, service.cluster.time_s, "here")
        write_trace(found, tmp_path / "jobs.jsonl")
        again = read_trace(tmp_path / "jobs.jsonl")
        assert [job.view.id for job in again.jobs] == [job.view.id for job in found.jobs]
        assert [job.view.work for job in again.jobs] == [job.view.work for job in found.jobs]
        assert again.meta == found.meta

    def test_nothing_to_simulate(self) -> None:
        with pytest.raises(UserError, match="here: no job has had workers yet"):
            workload(Service().journal.rows, 0.0, "here")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service that commands reach instead of that of a cluster."""
    found = busy()

    def status(name: str) -> dict[str, Any]:
        return {**summary(found.registry.find(name), 0), "leases": []}

    def ask(method: str, *values: Any) -> Any:
        answer = {"rows": found.journal.rows, "status": status}[method](*values)
        return json.loads(json.dumps(answer))

    @contextmanager
    def reached(address: str | None) -> Iterator[Any]:
        yield SimpleNamespace(ask=ask)

    monkeypatch.setattr(command, "reached", reached)
    return found


def output_of(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.usefixtures("service")
class TestCommands:
    def test_history(self) -> None:
        text = output_of("history", "--job", "first")
        assert "+4 workers on node ant00000, +4 workers on node bee00000" in text
        found = json.loads(output_of("history", "--job", "second", "--limit", "2", "--json"))
        assert [(one["kind"], one["job"]) for one in found] == [("decision", "second"), ("failed", "second")]

    def test_why(self) -> None:
        text = output_of("why", "second")
        assert "waits: second: only 2 of 6 fit" in text
        assert text.rstrip().endswith("now  failed")
        found = json.loads(output_of("why", "second", "--json"))
        assert (found["job"], found["status"]["state"], len(found["story"])) == ("second", "failed", 4)

    def test_trace(self, tmp_path: Path) -> None:
        path = tmp_path / "jobs.jsonl"
        found = json.loads(output_of("history", "--trace", str(path), "--json"))
        assert found["jobs"] == len(read_trace(path)) > 0
        assert f"apportion simulate --trace {path}" in output_of("history", "--trace", str(path))

    def test_replay(self, service: Service) -> None:
        assert json.loads(output_of("history", "--replay", "--json"))["differ"] == 0
        change(service.journal, "UPDATE decisions SET grants = '[]' WHERE grants LIKE '%second%'")
        text = output_of("history", "--replay", code=1)
        assert "in the journal:\n  nothing\nnow:\n  + second worker 0" in text

    def test_one_at_a_time(self) -> None:
        result = CliRunner().invoke(app, ["history", "--replay", "--trace", "x"])
        assert isinstance(result.exception, UserError)
        assert "either --trace or --replay" in str(result.exception)


def test_names_of_compositions_are_how_they_are_resolved() -> None:
    """A decision has its policy's name only: without options it is enough."""
    for name in ("fair-share+fgd+adaptive-pull", "lpt", "relocate"):
        assert resolve(resolve(name).name).name == resolve(name).name
