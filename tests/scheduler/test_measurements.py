"""What a run measures of its workers and nodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from policies.strategies import worker_table
from scheduler.rounds.measurements import TELLING_BYTES, Measurements


def measurements(probed: list[float], nodes: tuple[str, ...] = ()) -> Measurements:
    table = worker_table([(1.0, 0.0, 1e9)] * len(probed), probed, s_fixed=[1.0] * len(probed))
    return Measurements(replace(table, nodes=nodes) if nodes else table)


def test_nothing_is_known_at_first_though_workers_were_probed() -> None:
    assert np.isnan(measurements([1.0, 2.0]).s_per_work).all()


def test_seconds_are_divided_by_work_over_all_calls_of_a_round() -> None:
    known = measurements([1.0, 1.0])
    known.computed(0, 10.0, 1.0)
    known.computed(0, 10.0, 2.0)
    known.computed(1, 5.0, 1.0)
    assert known.s_per_work.tolist() == [0.15, 0.2]
    known.next_round()
    known.computed(0, 10.0, 5.0)
    assert known.s_per_work.tolist() == [0.5, 0.2]


def test_who_was_not_measured_is_as_fast_as_its_neighbour_or_its_probe_in_relation() -> None:
    known = measurements([1.0, 3.0, 9.0, np.nan], ("a", "b", "a", "c"))
    known.computed(0, 1.0, 10.0)
    assert known.s_per_work[:3].tolist() == [10.0, 30.0, 10.0]
    assert np.isnan(known.s_per_work[3])


def test_bytes_are_those_of_a_node_and_averaged() -> None:
    known = measurements([1.0, 1.0, 1.0], ("a", "b", "a"))
    assert known.network().s_per_byte.tolist() == [0.0] * 3
    known.read(0, 4 * TELLING_BYTES, 4.0 * TELLING_BYTES)
    known.read(2, 2 * TELLING_BYTES, 4.0 * TELLING_BYTES)
    assert known.network().s_per_byte.tolist() == [1.5, 0.0, 1.5]
    known.carried(1, TELLING_BYTES, 3.0)
    assert known.table().s_fixed.tolist() == [1.0, 3.0, 1.0]


def test_few_bytes_tell_nothing() -> None:
    known = measurements([1.0])
    known.read(0, TELLING_BYTES - 1, 5.0)
    known.carried(0, TELLING_BYTES - 1, 5.0)
    assert (known.network().s_per_byte[0], known.network().s_fixed[0]) == (0.0, 1.0)
