"""Every job and tenant of the cluster, and what may become of them. Pure: events in, records out, through a journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Protocol

from policies.interface import JobView, NodeTable, PolicyError, Tenant
from scheduler.errors import UserError, unknown
from scheduler.service.growth import Growth
from scheduler.service.hopeless import refuse_beyond_quotas, refuse_too_large
from scheduler.service.records import Heard, JobRecord, State, TenantRecord
from scheduler.service.submission import EVERYONE, Submission
from scheduler.service.tenants import refuse_tenant

DEFAULT_POLICY = "fair-share+fgd+adaptive-pull"


class Storing(Protocol):
    """Where records are kept; each call is on the disk when it returns."""

    def together(self) -> AbstractContextManager[None]:
        """Let everything that is written meanwhile be there together, or not at all."""

    def save(self, record: JobRecord) -> None:
        """Keep a job's record in place of the one before."""

    def save_tenant(self, record: TenantRecord) -> None:
        """Keep a tenant's record in place of the one before."""

    def save_setting(self, name: str, value: Any) -> None:
        """Keep a setting of the service."""

    def note(self, at_s: float, kind: str, job: str = "", user: str = "", **details: Any) -> None:
        """Write down what has happened."""


class Registry:
    """All that was handed in, by event.

    Attributes
    ----------
    policy
        The cluster's: a name, or parts.
    tenants
        By name; ``default`` is always there.
    growth
        Returns what an autoscaler may make of the cluster; None if that is not known, and nothing is too large.
    """

    def __init__(self, storing: Storing) -> None:
        self._storing = storing
        self._records: dict[str, JobRecord] = {}
        self._live: dict[str, None] = {}
        self._ids_by_token: dict[str, str] = {}
        self._before: dict[str, JobRecord | None] = {}
        self.tenants: dict[str, TenantRecord] = {EVERYONE: TenantRecord(Tenant(EVERYONE))}
        self.policy: str | dict[str, Any] = DEFAULT_POLICY
        self.growth: Callable[[], Growth | None] = Growth

    def load(self, records: list[JobRecord], tenants: list[TenantRecord], policy: str | dict[str, Any] | None) -> None:
        """Take up what was kept by the service before this one."""
        for record in records:
            self._enter(record)
        self.tenants |= {one.tenant.name: one for one in tenants}
        self.policy = policy or self.policy

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let all that is changed meanwhile be changed together, on the disk and here, or not at all."""
        self._before = {}
        try:
            with self._storing.together():
                yield
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        for name, before in self._before.items():
            if before is None:
                del self._ids_by_token[self._records.pop(name).submission.token]
            else:
                self._records[name] = before
        self._live = dict.fromkeys(name for name, one in self._records.items() if not one.state.has_ended)

    def _enter(self, record: JobRecord) -> None:
        self._before.setdefault(record.id, self._records.get(record.id))
        self._records[record.id] = record
        self._ids_by_token[record.submission.token] = record.id
        if record.state.has_ended:
            self._live.pop(record.id, None)
        else:
            self._live[record.id] = None

    def change(self, record: JobRecord, **fields: Any) -> JobRecord:
        """Replace fields of a job's record, on the disk too, and return it."""
        changed = replace(record, **fields)
        self._storing.save(changed)
        self._enter(changed)
        return changed

    def hear(self, record: JobRecord, heard: Heard) -> None:
        """Take note of a driver's word; it is not kept, the next one comes soon."""
        self._records[record.id] = replace(record, heard=heard)

    def __len__(self) -> int:
        """Count all jobs that there ever were."""
        return len(self._records)

    def __getitem__(self, name: str) -> JobRecord:
        """Return a record by its id; raises ``KeyError``."""
        return self._records[name]

    def get(self, name: str) -> JobRecord | None:
        """Return a record by its id, if there is one."""
        return self._records.get(name)

    @property
    def everyone(self) -> tuple[JobRecord, ...]:
        """All jobs, in the order of their submission."""
        return tuple(self._records.values())

    @property
    def live(self) -> Iterator[JobRecord]:
        """The jobs that have not ended."""
        return (self._records[name] for name in tuple(self._live))

    def find(self, name: str) -> JobRecord:
        """Return a job by its id, or the newest of a name.

        Raises
        ------
        UserError
            If there is none.
        """
        if name in self._records:
            if self._records[name].submission.name != name:
                return self._records[name]  # a numbered id: some other job may have it as its name
            return [one for one in self._records.values() if one.submission.name == name][-1]
        if not self._records:
            raise UserError(f"unknown job '{name}': none has been submitted yet ('apportion submit JOB')")
        raise UserError(unknown("job", name, self._records))

    def submit(self, submission: Submission, now_s: float, nodes: NodeTable) -> JobRecord:
        """Take a job in, once for each token.

        Raises
        ------
        UserError
            If its tenant is unknown, its name is taken, or it can never have its workers.
        """
        if submission.token in self._ids_by_token:
            return self._records[self._ids_by_token[submission.token]]
        submission = self._among_known(submission)
        record = JobRecord(self._new_id(submission.name), submission, State.HELD, now_s)
        self._refuse_hopeless(record.view, nodes)
        record = self._admitted(record, self._at_work, now_s)
        with self.together():
            self._storing.note(now_s, "submitted", record.id, submission.user, reason=record.reason)
            return self.change(record)

    def _among_known(self, submission: Submission) -> Submission:
        """Return a submission whose predecessors are ids, since names pass on; refuse it if it names a stranger."""
        tenant = submission.wishes.tenant
        if tenant not in self.tenants:
            raise UserError(
                f"{unknown('tenant', tenant, self.tenants)} A new one is declared by 'apportion tenant set {tenant}'"
            )
        after = tuple(self.find(other).id for other in submission.wishes.after)
        return submission.model_copy(update={"wishes": submission.wishes.model_copy(update={"after": after})})

    def _new_id(self, name: str) -> str:
        same = [one for one in self._records.values() if one.submission.name == name]
        if alive := [one for one in same if not one.state.has_ended]:
            raise UserError(
                f"a job named '{name}' is {alive[0].state.value} already: wait for it, stop it, or give this one "
                "another name (--name)"
            )
        number = len(same) + 1
        while (fresh := name if number == 1 else f"{name}.{number}") in self._records:
            number += 1
        return fresh

    def _refuse_hopeless(self, view: JobView, nodes: NodeTable) -> None:
        """Refuse a job that could not have its workers if it were alone, or that its tenant's quota never allows."""
        refuse_beyond_quotas(view, {name: one.tenant for name, one in self.tenants.items()})
        refuse_too_large(view, nodes.emptied(), self.growth())

    def admit(self, now_s: float) -> None:
        """Let those wait for workers who are held no longer, and fail those whose predecessors have failed."""
        held = [record for record in self.live if record.state is State.HELD]
        at_work = self._at_work() if held else Counter[str]()
        for record in held:
            after = self._admitted(record, lambda: at_work, now_s)
            if after.state is not record.state or after.reason != record.reason:
                self.change(after)
                self._storing.note(now_s, after.state.value, record.id, reason=after.reason)
                at_work[record.tenant] += after.state is State.QUEUED

    def _at_work(self) -> Counter[str]:
        """Count the jobs of each tenant that want workers or have some."""
        return Counter(one.tenant for one in self.live if one.state not in (State.HELD, State.PAUSED))

    def _admitted(self, record: JobRecord, at_work: Callable[[], Mapping[str, int]], now_s: float) -> JobRecord:
        """Return the record as it is to be now: held, waiting, or failed with its predecessor."""
        before = [self._records[name] for name in record.submission.wishes.after]
        if lost := [one for one in before if one.state in (State.FAILED, State.STOPPED)]:
            reason = f"it was to come after {lost[0].id}, which has {lost[0].state.value}"
            return replace(record, state=State.FAILED, reason=reason, ended_s=now_s)
        if open_ones := [one.id for one in before if one.state is not State.FINISHED]:
            return replace(record, state=State.HELD, reason=f"comes after {', '.join(open_ones)}")
        limit = self.tenants[record.tenant].most_jobs
        if limit is not None and at_work()[record.tenant] >= limit:
            return replace(record, state=State.HELD, reason=f"tenant {record.tenant} may have {limit} jobs at a time")
        return replace(record, state=State.QUEUED, reason="")

    def control(self, name: str, act: str, user: str, force: bool, now_s: float) -> JobRecord:
        """Stop, pause or continue a job.

        Raises
        ------
        UserError
            If there is none, it has ended, or it is another user's and ``force`` is not given.
        """
        record = self._own(name, act, user, force)
        acts: Mapping[str, Mapping[State, State]] = {
            "stop": dict.fromkeys(State, State.STOPPING)
            | {one: State.STOPPED for one in (State.HELD, State.QUEUED, State.PAUSED) if not record.num_attempts},
            "pause": dict.fromkeys((State.HELD, State.QUEUED, State.STARTING, State.RUNNING), State.PAUSED),
            "resume": {State.PAUSED: State.HELD},
        }
        if record.state not in acts[act]:
            raise UserError(f"job {record.id} is {record.state.value}: there is nothing to {act}")
        state = acts[act][record.state]
        changed = replace(record, state=state, reason="")
        if state.has_ended:
            changed = replace(changed, ended_s=now_s, reason=f"stopped by {user or 'its user'}")
        elif state is State.HELD:
            changed = self._admitted(changed, self._at_work, now_s)
        with self.together():
            self._storing.note(now_s, act, record.id, user)
            return self.change(changed)

    def _own(self, name: str, act: str, user: str, force: bool) -> JobRecord:
        record = self.find(name)
        if record.state.has_ended:
            raise UserError(f"job {record.id} has {record.state.value}: there is nothing to {act}")
        owner = record.submission.user
        if owner and user != owner and not force:
            raise UserError(
                f"job {record.id} is {owner}'s, and you are {user or 'nobody'}: to {act} it all the same, --force"
            )
        return record

    def resize(
        self, name: str, least: int | None, most: int | None, user: str, force: bool, now_s: float, nodes: NodeTable
    ) -> JobRecord:
        """Let a job have other bounds of its number of workers.

        Raises
        ------
        UserError
            As ``control``; and if the bounds are none, or it can never have so many.
        """
        record = self._own(name, "resize", user, force)
        submission = record.submission.bounded(least, most)
        try:
            self._refuse_hopeless(submission.view(record.id, record.submitted_s), nodes)
        except PolicyError as error:
            raise UserError(str(error)) from None
        with self.together():
            self._storing.note(now_s, "resized", record.id, user, least=least, most=most)
            return self.change(record, submission=submission)

    def set_tenant(self, record: TenantRecord, now_s: float) -> None:
        """Declare a tenant, or declare it anew.

        Raises
        ------
        UserError
            As ``refuse_tenant``.
        """
        refuse_tenant(record, {name: one.tenant for name, one in self.tenants.items()})
        with self.together():
            self._storing.save_tenant(record)
            self._storing.note(now_s, "tenant", **record.as_json())
        self.tenants[record.tenant.name] = record

    def set_policy(self, spec: str | dict[str, Any], now_s: float) -> None:
        """Let the cluster have another policy; it has been resolved before."""
        with self.together():
            self._storing.save_setting("policy", spec)
            self._storing.note(now_s, "policy", spec=spec)
        self.policy = spec
