"""Calls cut into pieces that fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.interface import Call
from scheduler.rounds.pieces import Pieces


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (np.inf, [[0, 1, 2, 3]]),
        (100.0, [[0, 1, 2, 3]]),
        (60.0, [[0, 1, 2], [3]]),
        (50.0, [[0, 1], [2], [3]]),
        (30.0, [[0, 1], [2], [3]]),
        (1.0, [[0], [1], [2], [3]]),
    ],
)
def test_pieces_are_as_large_as_fits_and_a_shard_that_is_too_large_goes_alone(
    limit: float, expected: list[int]
) -> None:
    pieces = Pieces(np.array([10.0, 20.0, 30.0, 40.0]), np.array([np.inf, limit]))
    call = Call(1, np.arange(4))
    assert [(piece.worker, piece.shards.tolist()) for piece in pieces.of(call)] == [(1, one) for one in expected]
    assert pieces.first(call).shards.tolist() == expected[0]
    assert [piece.shards.tolist() for piece in pieces.of(Call(0, np.arange(4)))] == [[0, 1, 2, 3]]


def test_without_limits_a_call_is_what_it_was() -> None:
    call = Call(0, np.arange(3))
    assert Pieces(np.ones(3)).of(call) == (call,)


@given(st.lists(st.floats(0.0, 9.0), min_size=1, max_size=30), st.floats(0.0, 20.0))
def test_every_shard_once_in_order_and_no_piece_too_large(sizes: list[float], limit: float) -> None:
    found = Pieces(np.array(sizes), np.array([limit])).of(Call(0, np.arange(len(sizes))))
    assert np.concatenate([piece.shards for piece in found]).tolist() == list(range(len(sizes)))
    for piece in found:
        assert len(piece.shards) == 1 or np.cumsum(np.array(sizes)[piece.shards])[-1] <= limit
