"""The conformance kit of balances; imported from ``policies.testing``."""

# ruff: noqa: S101

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from policies.conformance import Conformance, plain, quick, same
from policies.interface import MEMORY, Assignment, Balance, Floats, Ints, RoundView, Unplaced, frozen
from policies.referee import violations
from policies.rehearsal import rehearse
from policies.strategies import calm_views, degenerate_views, huge_view, round_views

Promise = Callable[["BalanceConformance", st.DataObject], None]

ROUNDS = 4
"""How many rounds are played one after another."""


class BalanceConformance(Conformance):
    """The kit of a balance: every shard once, within memory, or refused for true reasons, round after round."""

    kind = Balance

    def answer(self, policy: Balance, view: RoundView) -> Any:
        """Ask for the first hand-out."""
        return policy.divide(view)

    def check_division(self, view: RoundView) -> None:
        """Assert that the referee passes it, and that what fits in one worker is never refused."""
        answer = self.policy().divide(view)
        assert violations(answer, view) == ()
        if isinstance(answer, Unplaced):
            limit = {f"worker {w}": m for w, m in zip(view.workers.ids, view.workers.bundle[:, MEMORY], strict=True)}
            assert all(item.free <= limit.get(item.where, 0.0) for item in answer.shortfalls), "free over the limit"
            assert view.shards.bytes.sum() > max(limit.values(), default=-1.0), "all shards fit in one worker"

    def check_rounds(self, view: RoundView) -> None:
        """Assert that rounds that follow each other end with every shard computed once, by calls within memory."""
        policy, limit = self.policy(), view.workers.bundle[:, MEMORY]
        for _ in range(ROUNDS):
            played = rehearse(policy, view, seconds_of(view))
            if isinstance(played, Unplaced):
                return
            computed = np.concatenate([[], *(call.shards for call in played.calls)])
            assert np.array_equal(np.sort(computed), np.arange(len(view.shards))), "not every shard was given once"
            for call in played.calls:
                assert view.shards.bytes[call.shards].sum() <= limit[call.worker], "a call is over memory"
            assert same(played.state, pickle.loads(pickle.dumps(played.state))), "the state does not travel"  # noqa: S301
            view = played.following(view)
            self.check_division(view)
            self.check_repeatable(view)

    def check_next(self, view: RoundView) -> None:
        """Assert that what an idle worker is given is a pure function of the view."""
        policy = self.policy()
        answer = policy.divide(view)
        if isinstance(answer, Unplaced):
            return
        left = np.flatnonzero(np.asarray(answer.worker_of) < 0)
        asked = replace(view, pending=frozen(left, np.int64), state=answer.state)
        before = plain(asked)
        for worker in range(len(view.workers)):
            shards = policy.next(asked, worker)
            assert same(shards, policy.next(asked, worker)), "a second call of the same instance answers differently"
            assert same(shards, self.policy().next(asked, worker)), "a new instance answers differently"
        assert before == plain(asked), "the view was changed"

    @quick
    @given(view=round_views())
    def test_every_shard_once_or_a_true_refusal(self, view: RoundView) -> None:
        """No shard is lost, doubled or over memory; a refusal says what is short."""
        self.check_division(view)

    @quick
    @given(view=round_views())
    def test_is_a_pure_function(self, view: RoundView) -> None:
        """Equal views get equal answers and stay as they were."""
        self.check_repeatable(view)
        self.check_next(replace(view, pulls=True))

    @quick
    @given(view=round_views())
    def test_rounds_end(self, view: RoundView) -> None:
        """Whoever is idle is given more until every shard of a round is computed, and the next round goes as well."""
        self.check_rounds(view)

    @quick
    @given(data=st.data())
    def test_keeps_its_promises(self, data: st.DataObject) -> None:
        """Each promise is known, and kept."""
        for promise in sorted(self.policy().promises):
            assert promise in self.PROMISES, f"unknown promise {promise!r}: {', '.join(self.PROMISES)}"
            self.PROMISES[promise](self, data)

    def test_degenerate_views(self) -> None:
        """No workers, no shards, no memory, no speeds; idle workers that ask for more."""
        for view in degenerate_views():
            for pulls in (False, True):
                self.check_division(replace(view, pulls=pulls))
                self.check_repeatable(replace(view, pulls=pulls))
                self.check_rounds(replace(view, pulls=pulls))

    def test_a_million_shards(self) -> None:
        """A large job is divided, and divided again."""
        view = huge_view()
        self.check_division(view)
        resident = np.arange(len(view.shards)) % len(view.workers)
        last_s = np.linspace(1.0, 2.0, len(view.workers))
        self.check_division(replace(view, round=1, resident=frozen(resident, np.int64), last_s=frozen(last_s)))

    def check_monotone(self, data: st.DataObject) -> None:
        """Of even shards a faster worker never has fewer, all else being equal."""
        view = data.draw(calm_views())
        order = np.argsort(view.workers.s_per_work)
        counts, s_per_work = _work_of(self.policy(), view)[order], view.workers.s_per_work[order]
        faster = np.diff(s_per_work) > 0
        assert (np.diff(counts)[faster] <= 0).all(), f"work {counts} at {s_per_work} seconds each"

    def check_within_one_shard(self, data: st.DataObject) -> None:
        """Of even shards no worker's work is a whole shard off what its speed alone would give it."""
        view = data.draw(calm_views())
        speeds = 1.0 / view.workers.s_per_work
        off = np.abs(_work_of(self.policy(), view) - view.shards.work.sum() * speeds / speeds.sum())
        assert (off < view.shards.work.max(initial=1.0)).all(), f"off by {off}"

    def check_no_better_move(self, data: st.DataObject) -> None:
        """No single shard could go to another worker and be done there before the worker that has it is done."""
        view = data.draw(calm_views(even=False))
        worker_of, s_per_work = _owners(self.policy(), view), view.workers.s_per_work
        load = np.bincount(worker_of, view.shards.work, len(s_per_work))
        for shard, worker in enumerate(worker_of.tolist()):
            there = (load + view.shards.work[shard]) * s_per_work
            there[worker] = np.inf
            assert load[worker] * s_per_work[worker] <= there.min() * (1 + 1e-9), f"shard {shard} should move"

    def check_stays_put(self, data: st.DataObject) -> None:
        """After a round in which everyone was busy equally long, nothing moves."""
        view = data.draw(calm_views(even=data.draw(st.booleans())))
        num_workers, more = len(view.workers), len(view.shards) - len(view.workers)
        if more < 0:
            return
        drawn = data.draw(st.lists(st.integers(0, num_workers - 1), min_size=more, max_size=more))
        resident = data.draw(st.permutations([*range(num_workers), *drawn]))
        last_s = np.full(num_workers, 2.0)
        later = replace(view, round=1, resident=frozen(resident, np.int64), last_s=frozen(last_s))
        assert _owners(self.policy(), later).tolist() == resident

    PROMISES: ClassVar[Mapping[str, Promise]] = {
        "monotone": check_monotone,
        "within-one-shard": check_within_one_shard,
        "no-better-move": check_no_better_move,
        "stays-put": check_stays_put,
    }


def seconds_of(view: RoundView) -> Callable[[int, Ints], float]:
    """Return how long calls take on workers as fast as the view says, or as fast as any where it does not."""
    s_per_work = view.workers.s_per_work
    known = (s_per_work > 1e-9) & (s_per_work < 1e9)
    step = np.where(known, s_per_work, 1.0)

    def seconds(worker: int, shards: Ints) -> float:
        return float(1e-3 + view.shards.work[shards].sum() * step[worker])

    return seconds


def _owners(policy: Balance, view: RoundView) -> Ints:
    answer = policy.divide(view)
    assert isinstance(answer, Assignment), f"refused: {answer}"
    return np.asarray(answer.worker_of)


def _work_of(policy: Balance, view: RoundView) -> Floats:
    work: Floats = np.bincount(_owners(policy, view), view.shards.work, len(view.workers)).astype(np.float64)
    return work
