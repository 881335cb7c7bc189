"""Who has been given which shards of a round, and what is kept back. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from policies.interface import Balance, Call, Floats, Ints, RoundView, frozen
from scheduler.errors import UserError
from scheduler.rounds.dealing import Dealer, Part
from scheduler.rounds.flights import Flights
from scheduler.rounds.pieces import Pieces


class HandOut:
    """The hand-out of one round: by the policy at first, to the idle as they ask, and anew of what the lost had.

    Attributes
    ----------
    view
        What the policy sees of the round.
    worker_of
        Which worker computes each shard, -1 where nobody does yet, or who did is not here any more.
    calls
        What was given to the living, no shard twice.
    pending
        What is kept back, ascending.
    divides_anew
        Whether the next round cannot have the same calls, so that it is divided anew.

    Parameters
    ----------
    flights
        Tell who lives; the lost are given nothing.
    """

    def __init__(self, balance: Balance, pieces: Pieces, flights: Flights, view: RoundView, missing: Ints) -> None:
        self._balance, self._pieces, self._flights = balance, pieces, flights
        self._dealer = Dealer(balance)
        self.open(view, missing)

    def open(self, view: RoundView, missing: Ints) -> None:
        """Divide the shards of a round that are missing, and let those who get none ask for what is kept back."""
        self.view = view
        self.worker_of: Ints = np.full(len(view.shards), -1, dtype=np.int64)
        self.calls: list[Call] = []
        self.pending: Ints = np.arange(0)
        self.divides_anew = len(missing) < len(view.shards)
        self._forecast: Ints | None = None
        remembers = not self.divides_anew or not view.state  # a policy's memory is that of whole rounds
        self._divide(view, missing, self._flights.living, remembers)
        self.refuse_to_wait_for_nobody(len(self.calls))

    def again(self, shards: Ints, idle: Ints) -> tuple[Call, ...]:
        """Divide some shards anew, as a round of their own: they are nobody's any more.

        Raises
        ------
        UserError
            If the policy cannot divide them among the living, or breaks a rule.
        """
        self.divides_anew = True
        self._forecast = None
        self.worker_of[shards] = -1
        return self._divide(replace(self.view, last_s=self.view.last_s[:0]), shards, idle, remembers=False)

    def _divide(self, view: RoundView, shards: Ints, idle: Ints, remembers: bool) -> tuple[Call, ...]:
        living = self._flights.living
        if not len(living):
            self.divides_anew = True
            self.pending = np.union1d(self.pending, shards)
        if not len(shards) or not len(living):
            return ()
        answer = self._dealer.divide(view, Part(living, shards))
        if remembers:
            self.view = replace(self.view, state=answer.state)
        self.worker_of[shards] = answer.worker_of[shards]
        kept_back = shards[answer.worker_of[shards] < 0]
        self.divides_anew |= len(kept_back) > 0
        self.pending = np.union1d(self.pending, kept_back)
        calls = [piece for call in answer.calls() for piece in self._pieces.of(call)]
        self.calls += calls
        for worker in sorted(set(idle.tolist()) - {call.worker for call in calls}):
            calls += self.give(worker)
        return tuple(calls)

    def give(self, worker: int) -> tuple[Call, ...]:
        """Ask the policy what an idle worker gets of what was kept back: a call, its pieces, or nothing."""
        if not len(self.pending):
            return ()
        view = replace(self.view, pending=frozen(self.pending, np.int64))
        given = self._dealer.more(view, self._flights.living, worker)
        if not len(given.shards):
            return ()
        calls = self._pieces.of(given)
        self.worker_of[given.shards] = worker
        self.pending = np.setdiff1d(self.pending, given.shards)
        self.calls += calls
        return calls

    def refuse_to_wait_for_nobody(self, num_awaited: int) -> None:
        """Raise ``UserError`` if a policy keeps shards back when nobody who lives computes anything any more."""
        if len(self.pending) and not num_awaited and len(self._flights.living):
            raise UserError(
                f"policy '{self._balance.name}' kept {len(self.pending)} shard(s) back, and gave them to no idle worker"
            )

    def calls_of_attempt(self, missing: Ints) -> list[Call]:
        """Return new calls for all that is missing and not kept back: the same as before, and for the lost others.

        They are new, so that no answer to one of the attempt before is taken for theirs.
        """
        dealt = np.concatenate([self.pending, *(call.shards for call in self.calls)])
        if len(dealt) < len(missing):
            self.again(np.setdiff1d(missing, dealt), self._flights.living[:0])
        self.calls = [Call(call.worker, call.shards) for call in self.calls]
        return self.calls

    def lose(self, worker: int) -> None:
        """Take everything from a worker that is not here any more."""
        self.calls = [call for call in self.calls if call.worker != worker]
        self.worker_of[self.worker_of == worker] = -1
        self.divides_anew = True
        self._forecast = None

    def pass_on(self, call: Call, is_dealt: bool) -> None:
        """Note that a call has its shards now, whoever was to compute them; or that it has, and will not again."""
        lives = self._flights.lives(call.worker)
        self.worker_of[call.shards] = call.worker if lives else -1
        self.pending = np.setdiff1d(self.pending, call.shards)
        if is_dealt and lives:
            self.calls.append(call)

    def after(self, busy_s: Floats) -> RoundView:
        """Return the view of the next round, if workers were busy for so long in this one."""
        last_s = frozen(np.where(busy_s > 0, busy_s, np.nan))
        resident = frozen(self.worker_of, np.int64)
        return replace(self.view, round=self.view.round + 1, resident=resident, last_s=last_s)

    def wanted_next(self, worker: int, busy_s: Callable[[], Floats]) -> Ints:
        """Return which shards a worker is likely to be given in the next round, and was not in this one.

        Parameters
        ----------
        busy_s
            Returns how long each worker is likely to be busy in this round, shape ``(w,)``; asked once a round.
        """
        if self._forecast is None:
            everything = Part(self._flights.living, np.arange(len(self.worker_of)))
            self._forecast = self._dealer.divide(self.after(busy_s()), everything).worker_of
        return np.flatnonzero((self._forecast == worker) & (self.worker_of != worker))
