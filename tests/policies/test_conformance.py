"""Every member that ships goes through the kit that ships."""

from __future__ import annotations

from typing import Any

from policies.balance.capacity_proportional import CapacityProportional
from policies.interface import Balance
from policies.presets import BALANCES, ORDERS, PLACES, PRESETS, resolve
from policies.testing import BalanceConformance, OrderConformance, PlaceConformance, PolicyConformance


def _kit(kit: type, name: str, make: Any) -> None:
    title = "Test" + "".join(part.title() for part in f"{kit.__name__} {name}".replace("-", " ").split())
    globals()[title] = type(title, (kit,), {"policy": lambda self: make(), "__module__": __name__})


for _name, _balance in BALANCES.items():
    _kit(BalanceConformance, _name, _balance)
for _name, _place in PLACES.items():
    _kit(PlaceConformance, _name, _place)
for _name, _order in ORDERS.items():
    _kit(OrderConformance, _name, _order)
_kit(PolicyConformance, "equal", lambda: resolve("equal"))
_kit(PolicyConformance, "pack", lambda: resolve({"place": "pack"}))


class TestWeighted(BalanceConformance):
    def policy(self) -> Balance:
        return CapacityProportional(weights={"gpu": 2, "memory": 1})


def test_every_preset_is_named_after_itself() -> None:
    assert [resolve(name).name for name in PRESETS] == list(PRESETS)
