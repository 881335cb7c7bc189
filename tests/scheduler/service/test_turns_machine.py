"""Whatever happens to jobs, drivers and nodes, and wherever the service is killed, its books agree afterwards."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from turning_cases import Killed, World, check_books, check_jobs

from policies.interface import Tenant
from scheduler.errors import UserError
from scheduler.service import turns
from scheduler.service.records import State, TenantRecord

POLICIES = ("fair-share+fgd+adaptive-pull", "fifo+spread+equal", "las+pack+equal")
NAMES = tuple("abcdef")
LEAST, MORE, WHICH = st.integers(1, 4), st.integers(0, 4), st.integers(0, 5)
FUSES = st.one_of(st.none(), st.integers(0, 12))


class ServiceMachine(RuleBasedStateMachine):
    """Every rule may be the one in which the service is killed; the next one begins from the journal."""

    @initialize(policy=st.sampled_from(POLICIES), bounds=st.lists(st.tuples(LEAST, MORE), min_size=1, max_size=4))
    def begin(self, policy: str, bounds: list[tuple[int, int]]) -> None:
        self.world = World(policy)
        self.excused: frozenset[str] = frozenset()
        self.stopping: dict[str, int] = {}
        self.world.registry.set_tenant(TenantRecord(Tenant("red")), self.world.now_s)
        for name, (least, more) in zip(NAMES, bounds, strict=False):
            self.world.submit(name, least, least + more)

    def _one(self, number: int, *states: State) -> str:
        """Return one of the jobs that have not ended, of those in certain states if there are any; or a stranger."""
        live = [one for one in self.world.registry.live if not states or one.state in states]
        return live[number % len(live)].id if live else "nobody"

    def _let(self, fuse: int | None, act: object = None, num_turns: int = 2) -> None:
        """Let something happen and turns pass; the service may be killed meanwhile, and begins again then."""
        world = self.world
        world.fuse.left = fuse
        try:
            try:
                if callable(act):
                    act()
            except UserError:  # there is nothing to do, it can never fit, its name is taken
                pass
            world.turn(num_turns)
        except Killed:
            self._begin_again()
        world.fuse.left = None
        world.turn(num_turns)
        while any(one.state.has_ended and one.id in world.ledger for one in world.registry.everyone):
            world.turn(1)  # who has ended in the last turn gives back in the next one
        held = {one.id for one in world.registry.everyone if world.num_held(one.id) >= one.submission.gang[0]}
        self.excused -= held

    @rule(
        fuse=FUSES,
        name=st.sampled_from(NAMES),
        least=LEAST,
        more=MORE,
        cpu=st.sampled_from((0.5, 1.0, 2.0)),
        gpu=st.sampled_from((0.0, 0.0, 0.5, 1.0)),
        tenant=st.sampled_from(("default", "red")),
        after=st.one_of(st.none(), st.none(), WHICH),
        refusals=st.sampled_from((0, 0, 1, 6, 20)),
    )
    def submit(
        self,
        fuse: int | None,
        name: str,
        least: int,
        more: int,
        cpu: float,
        gpu: float,
        tenant: str,
        after: int | None,
        refusals: int,
    ) -> None:
        before = () if after is None else (self._one(after),)
        submission = self.world.submission(name, least, least + more, cpu, gpu, tenant=tenant, after=before)
        self.world.cluster.refusals = refusals  # plans that take leases back, and cannot be carried out
        self._let(fuse, lambda: self.world.hand_in(submission))
        check_books(self.world)
        self.world.cluster.refusals = 0
        self.world.turn(3)

    @rule(fuse=FUSES, which=WHICH, act=st.sampled_from(("pause", "stop")))
    def control(self, fuse: int | None, which: int, act: str) -> None:
        job = self._one(which)
        self._let(fuse, lambda: self.world.control(job, act))

    @rule(fuse=FUSES, which=WHICH)
    def resume(self, fuse: int | None, which: int) -> None:
        job = self._one(which, State.PAUSED)
        self._let(fuse, lambda: self.world.control(job, "resume"))

    @rule(fuse=FUSES, which=WHICH, least=LEAST, more=MORE)
    def resize(self, fuse: int | None, which: int, least: int, more: int) -> None:
        job = self._one(which)
        self.excused |= {job}
        self._let(fuse, lambda: self.world.resize(job, least, least + more))

    @rule(fuse=FUSES, which=WHICH)
    def finish(self, fuse: int | None, which: int) -> None:
        job = self._one(which, State.RUNNING)
        if job in self.world.ledger:
            self._let(fuse, lambda: self.world.finish(job))

    @rule(fuse=FUSES, which=WHICH, rounds=st.integers(0, 1))
    def driver_dies(self, fuse: int | None, which: int, rounds: int) -> None:
        job = self._one(which)
        for driver in self.world.drivers.of(job):
            driver.rounds += rounds
        self.world.turn(1)
        self.world.drivers.die(job)
        self._let(fuse, num_turns=7)

    @rule(which=WHICH)
    def driver_is_deaf(self, which: int) -> None:
        for driver in self.world.drivers.of(self._one(which)):
            driver.is_deaf = not driver.is_deaf

    @rule(fuse=FUSES, limit=st.sampled_from((None, 1, 2)), weight=st.sampled_from((1.0, 3.0)))
    def tenant(self, fuse: int | None, limit: int | None, weight: float) -> None:
        record = TenantRecord(Tenant("red", weight), limit)
        self._let(fuse, lambda: self.world.registry.set_tenant(record, self.world.now_s))

    @rule(fuse=FUSES)
    def node_goes(self, fuse: int | None) -> None:
        node, cluster = "bee00000ffff", self.world.cluster
        self.excused |= {one.id for one in self.world.registry.live}
        cluster.lose(node)
        cluster.bad = {node}
        self._let(fuse, num_turns=1)
        cluster.bad = set()

    @rule(node=st.sampled_from((None, "ant00000ffff", "bee00000ffff")))
    def service_is_killed(self, node: str | None) -> None:
        """Without it nobody notices what is lost."""
        if node is not None:
            self.excused |= {one.id for one in self.world.registry.live}
            self.world.cluster.lose(node)
        self._begin_again()
        self._let(None)

    def _begin_again(self) -> None:
        world = self.world
        world.begin()
        check_books(world)
        for record in world.registry.live:
            assert world.num_held(record.id) or record.state not in (State.STARTING, State.RUNNING)

    @invariant()
    def who_stops_does_not_grow(self) -> None:
        world = self.world
        stopping = {one.id: world.num_held(one.id) for one in world.registry.live if one.state is State.STOPPING}
        assert all(num <= self.stopping.get(name, num) for name, num in stopping.items())
        self.stopping = stopping

    @invariant()
    def everything_agrees(self) -> None:
        check_books(self.world)
        check_jobs(self.world, self.excused)


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "REST_S", 0.0)


class TestServiceMachine(ServiceMachine.TestCase):
    """Runs the machine."""

    settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
