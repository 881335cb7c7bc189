"""Who works for a job, told by one thread to another."""

from __future__ import annotations

import threading

from scheduler.run import Seat
from scheduler.server.seating import Seating


def seats(*names: str) -> tuple[Seat, ...]:
    return tuple(Seat(name, number, "node", (1.0, 0.0, 0.0), 0.0, 0.0, None) for number, name in enumerate(names))


def test_whoever_drives_waits_for_somebody() -> None:
    seating = Seating()
    threading.Timer(0.05, seating.change, (1, seats("a"))).start()
    assert [seat.id for seat in seating.someone()] == ["a"]


def test_a_change_is_seen_at_once_or_within_a_moment() -> None:
    seating = Seating()
    seating.change(1, seats("a"))
    mine = seating.someone()
    assert not seating.differs(mine)
    threading.Timer(0.05, seating.change, (2, ())).start()
    assert seating.differs(mine, within_s=10.0)
    assert seating.differs(mine)


def test_a_change_that_was_overtaken_does_not_stand() -> None:
    seating = Seating()
    seating.change(2, seats("b"))
    seating.change(1, seats("a"))
    assert [seat.id for seat in seating.someone()] == ["b"]
