"""Placements by bytes over bandwidth, by price, and by alignment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from policies.interface import Claim, JobView, NodeTable, Place, PlaceView, PolicyError, Resources, Unplaced
from policies.place.cost import Cost
from policies.place.locality import Locality
from policies.place.spread import Spread
from policies.place.tetris import Tetris
from policies.testing import PlaceConformance

GB = 1e9


class TestTetrisThatMindsNoDataConforms(PlaceConformance):
    def policy(self) -> Place:
        return Tetris(remote_penalty=0)


def claim_of(num: int, bundle: Resources, **fields: Any) -> Claim:
    return Claim(JobView("j", 0.0, bundle, num, num, **fields), num, num)


def ids_of(place: Place, claim: Claim, nodes: NodeTable, seed: int = 0) -> list[str]:
    answer = place.place(claim, PlaceView(nodes, seed))
    assert not isinstance(answer, Unplaced)
    return [nodes.ids[slot.node] for slot in answer]


class TestLocality:
    def nodes(self, **s_per_gb: float) -> NodeTable:
        """Return nodes of 8 processors, and how long a gigabyte takes to each."""
        seconds = np.array(list(s_per_gb.values())) / GB
        return NodeTable.of(tuple(s_per_gb), [[8.0, 0.0, 0.0]] * len(s_per_gb), s_per_byte=seconds)

    def place(self, nodes: NodeTable, num: int, data_gb: float, **resident_gb: float) -> list[str]:
        resident = {node: gb * GB for node, gb in resident_gb.items()}
        claim = claim_of(num, Resources(cpu=1), data_bytes=data_gb * GB, resident=resident)
        return ids_of(Locality(), claim, nodes)

    def test_to_where_the_data_is(self) -> None:
        assert self.place(self.nodes(a=8, b=8, c=8), 1, 10, b=10) == ["b"]

    def test_bytes_over_bandwidth(self) -> None:
        nodes = self.nodes(slow=8.0, fast=1.0)
        assert self.place(nodes, 1, 10, slow=8) == ["fast"]  # 2 GB at 8 s, or 10 GB at 1 s
        assert self.place(nodes, 1, 10, slow=9) == ["slow"]  # 1 GB at 8 s

    def test_workers_use_up_what_is_there(self) -> None:
        nodes = self.nodes(a=8, b=8, c=8)
        assert sorted(self.place(nodes, 4, 8, a=4, b=2)) == ["a", "a", "b", "c"]  # 2 GB for each of four workers
        assert self.place(nodes, 4, 8, a=8) == ["a"] * 4

    def test_a_part_that_is_partly_there(self) -> None:
        nodes = self.nodes(a=8, b=8, fast=6)
        assert sorted(self.place(nodes, 2, 4, a=0.4, b=1)) == ["b", "fast"]  # 8, 12 and 12.8 s; a second on b: 16 s

    def test_without_data_to_the_emptiest(self) -> None:
        nodes = NodeTable.of(("a", "b"), [[8.0, 0, 0]] * 2, [[7.0, 0, 0], [8.0, 0, 0]], s_per_byte=[0.0, 1.0])
        for seed in range(4):
            assert ids_of(Locality(), claim_of(2, Resources(cpu=1)), nodes, seed)[0] == "b"

    def test_long_transfers_are_told_apart(self) -> None:
        nodes = self.nodes(a=1e6, b=1.001e6)
        for seed in range(4):
            assert ids_of(Locality(), claim_of(1, Resources(cpu=1), data_bytes=GB), nodes, seed) == ["a"]


class TestCost:
    def nodes(self, **rows: tuple[float, float, float]) -> NodeTable:
        """Return nodes by their processors, how many of these are free, and their price."""
        cpus = [[cpus, 0.0, 0.0] for cpus, _, _ in rows.values()]
        free = [[free, 0.0, 0.0] for _, free, _ in rows.values()]
        return NodeTable.of(tuple(rows), cpus, free, price_per_hour=[price for _, _, price in rows.values()])

    def test_a_node_in_use_is_paid_for(self) -> None:
        nodes = self.nodes(idle=(8, 8, 0.1), used=(8, 1, 9.0))
        assert ids_of(Cost(), claim_of(2, Resources(cpu=1)), nodes) == ["used", "idle"]

    def test_the_price_is_that_of_the_bundles_share(self) -> None:
        nodes = self.nodes(small=(2, 2, 1.0), large=(16, 16, 4.0))  # a processor costs 0.5 and 0.25 an hour
        assert ids_of(Cost(), claim_of(3, Resources(cpu=1)), nodes) == ["large"] * 3

    def test_a_node_that_was_opened_is_filled_before_the_next(self) -> None:
        nodes = self.nodes(a=(4, 4, 1.0), b=(4, 4, 1.0), c=(4, 4, 1.1))
        found = ids_of(Cost(), claim_of(6, Resources(cpu=1)), nodes)
        assert found[:4] in (["a"] * 4, ["b"] * 4)
        assert "c" not in found

    def test_the_share_is_the_dominant_one(self) -> None:
        nodes = NodeTable.of(("gpus", "cpus"), [[8.0, 2.0, 0.0], [32.0, 1.0, 0.0]], price_per_hour=[2.0, 1.5])
        assert ids_of(Cost(), claim_of(1, Resources(cpu=4, gpu=1)), nodes) == ["gpus"]  # a half of 2, all of 1.5
        assert ids_of(Cost(), claim_of(1, Resources(cpu=8, gpu=0.25)), nodes) == ["cpus"]  # all of 2, a quarter of 1.5

    def test_of_equal_prices_the_fullest(self) -> None:
        nodes = self.nodes(a=(8, 5, 1.0), b=(8, 2, 1.0), c=(8, 7, 1.0))
        for seed in range(4):
            assert ids_of(Cost(), claim_of(3, Resources(cpu=1)), nodes, seed) == ["b", "b", "a"]

    def test_the_bill_is_at_most_that_of_spread(self) -> None:
        nodes = self.nodes(**{f"n{row}": (8, 8, 0.1 + row % 3) for row in range(12)})
        bill = sum(
            nodes.price_per_hour[nodes.ids.index(node)]
            for node in {*ids_of(Cost(), claim_of(16, Resources(cpu=1)), nodes)}
        )
        assert bill == pytest.approx(0.2)  # two of the cheapest


class TestTetris:
    MIX = NodeTable.of(("cpu-left", "memory-left"), [[10.0, 0.0, 10.0]] * 2, [[9.0, 0.0, 3.0], [3.0, 0.0, 9.0]])

    def test_demand_goes_to_what_is_left_over(self) -> None:
        assert ids_of(Tetris(), claim_of(1, Resources(cpu=3, memory=1)), self.MIX) == ["cpu-left"]  # 0.30 and 0.18
        assert ids_of(Tetris(), claim_of(1, Resources(cpu=1, memory=3)), self.MIX) == ["memory-left"]

    def test_a_gang_stays_with_what_it_needs_where_spread_would_go_to_both(self) -> None:
        claims = [claim_of(2, Resources(cpu=3, memory=1)), claim_of(2, Resources(cpu=1, memory=3))]
        assert [set(ids_of(Tetris(), claim, self.MIX)) for claim in claims] == [{"cpu-left"}, {"memory-left"}]
        assert [len(set(ids_of(Spread(), claim, self.MIX))) for claim in claims] == [2, 2]

    def test_remote_data_costs_a_tenth_of_the_score(self) -> None:
        nodes = NodeTable.of(("local", "remote"), [[10.0, 0, 0]] * 2, [[9.1, 0, 0], [10.0, 0, 0]])
        data = {"data_bytes": GB, "resident": {"local": GB}}
        claim = claim_of(1, Resources(cpu=1), **data)
        assert ids_of(Tetris(), claim, nodes) == ["local"]  # 0.091 against 0.9 x 0.1
        assert ids_of(Tetris(remote_penalty=0.05), claim, nodes) == ["remote"]
        assert ids_of(Tetris(), claim_of(1, Resources(cpu=1)), nodes) == ["remote"]

    @pytest.mark.parametrize("penalty", [-0.1, 1.1, float("nan"), "0.1", True, None])
    def test_the_penalty_is_checked(self, penalty: Any) -> None:
        with pytest.raises(PolicyError) as caught:
            Tetris(remote_penalty=penalty)
        assert str(caught.value) == f"remote_penalty must be a number from 0 to 1, but got remote_penalty={penalty!r}"
