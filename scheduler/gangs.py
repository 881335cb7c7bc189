"""The gangs of several jobs that run at the same time: begun, seated, kept whole, and ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import ray

from policies.interface import Grant, JobView, Policy
from scheduler.driving import LONGEST_SILENCE_S, answer, spec_of
from scheduler.errors import LostActorError, RunFailedError, UserError
from scheduler.gang import Gang
from scheduler.preparation import Prepared
from scheduler.ray_cluster import RayCluster
from scheduler.run import Progress, RunResult, RunSpec
from scheduler.tending import Mending
from workers.errors import DataError

Ended = tuple[str, RunResult | Exception]
"""A job, and what it brought, or why it failed."""


class Gangs:
    """The gangs of the jobs that have begun, by name.

    Parameters
    ----------
    began_s
        The moment, as ``time.time()`` tells it, from which times are counted.

    Attributes
    ----------
    num_rounds
        How many rounds each job has done, as far as it was heard.
    """

    def __init__(self, cluster: RayCluster, policy: Policy, began_s: float) -> None:
        self._cluster, self._policy, self._began_s = cluster, policy, began_s
        self._gangs: dict[str, Gang] = {}
        self._mending: dict[str, Mending] = {}
        self._specs: dict[str, RunSpec] = {}
        self._done: dict[Any, str] = {}
        self._asked: dict[str, tuple[Any, float]] = {}  # and since when
        self.num_rounds: dict[str, int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The jobs that have begun, and have not ended."""
        return tuple(self._gangs)

    def seat(self, name: str, view: JobView, prepared: Prepared, leases: Sequence[Grant]) -> None:
        """Seat a job's workers on its leases; it begins when it has some for the first time."""
        if name in self._gangs:
            self._gangs[name].seat(leases)
        elif leases:
            gang = self._gangs[name] = Gang(self._cluster, view)
            gang.seat(leases)
            self._mending[name] = Mending(gang, prepared.shard_table.bytes)
            self._specs[name] = spec_of(prepared, self._policy, name, self._began_s, keeps_timeline=True)
            self._begin(name)

    def _begin(self, name: str) -> None:
        self._done[self._gangs[name].server.run.remote(self._specs[name])] = name

    def rest(self, name: str) -> None:
        """Tell a job's server that its workers are about to go."""
        self._gangs[name].seat(())

    def ended(self, within_s: float) -> list[Ended]:
        """Wait a moment for jobs to end, and return what they brought; who has lost its server goes on."""
        found: list[Ended] = []
        ready = ray.wait(list(self._done), num_returns=1, timeout=within_s)[0]
        for reference in ready and ray.wait(list(self._done), num_returns=len(self._done), timeout=0)[0]:
            name = self._done.pop(reference)
            try:
                found.append((name, answer(reference)))
            except LostActorError as error:
                found += self._revive(name, error)
            except (UserError, DataError, RunFailedError) as error:
                found.append((name, error))
        return found

    def _forget_run(self, name: str) -> None:
        """Wait no longer for a server's answers."""
        self._asked.pop(name, None)
        self._done = {reference: other for reference, other in self._done.items() if other != name}

    def _revive(self, name: str, error: LostActorError) -> list[Ended]:
        self._forget_run(name)
        try:
            self._mending[name].revive(error, self.num_rounds.get(name, 0))
        except RunFailedError as failed:
            return [(name, failed)]
        self._begin(name)
        return []

    @property
    def anyone_runs(self) -> bool:
        """Whether there is a job whose end can be waited for."""
        return bool(self._done)

    def tend(self) -> list[Ended]:
        """Hear how the jobs go on, replace their workers that are gone, and return the jobs that fail by it."""
        now_s = time.monotonic()
        for name, gang in self._gangs.items():
            if name not in self._asked:
                self._asked[name] = gang.server.progress.remote(sys.maxsize), now_s
        asked = [told for told, _ in self._asked.values()]
        answered = ray.wait(asked, num_returns=len(asked), timeout=0)[0] if asked else []
        failed: list[Ended] = []
        for name in [name for name, (told, _) in self._asked.items() if told in answered]:
            try:
                self._mend(name, answer(self._asked.pop(name)[0]))
            except LostActorError:
                continue  # the end of its run says so, too
            except RunFailedError as error:
                self._forget_run(name)
                failed.append((name, error))
        for name in [name for name, (_, since_s) in self._asked.items() if now_s - since_s > LONGEST_SILENCE_S]:
            failed += self._revive(name, LostActorError(f"its server has not answered for {LONGEST_SILENCE_S:g} s"))
        return failed

    def _mend(self, name: str, progress: Progress) -> None:
        gang = self._gangs[name]
        self.num_rounds[name] = max(self.num_rounds.get(name, 0), progress.num_rounds)
        _, changed = self._mending[name].mend(progress, progress.num_rounds)
        for lease in changed:
            gang.replace(lease)
        if changed:
            gang.seat(gang.leases)

    def end(self, name: str) -> None:
        """End a job's actors, and give its leases back, if it has begun."""
        self._forget_run(name)
        self._mending.pop(name, None)
        self._specs.pop(name, None)
        if gang := self._gangs.pop(name, None):
            gang.stop()

    def close(self) -> None:
        """End all actors."""
        for name in self.names:
            self.end(name)
