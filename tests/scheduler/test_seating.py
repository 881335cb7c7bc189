"""Who works for a job, told by one thread to another."""

from __future__ import annotations

import threading

from scheduler.run import Seat
from scheduler.server.seating import Beats, Seating


def seats(*names: str) -> tuple[Seat, ...]:
    return tuple(Seat(name, number, "node", (1.0, 0.0, 0.0), 0.0, 0.0, None) for number, name in enumerate(names))


def test_whoever_drives_waits_for_somebody() -> None:
    seating = Seating()
    threading.Timer(0.05, seating.change, (1, seats("a"))).start()
    assert [seat.id for seat in seating.someone_but(())] == ["a"]


def test_who_is_lost_is_nobody() -> None:
    seating = Seating()
    seating.change(1, seats("a", "b"))
    threading.Timer(0.05, seating.change, (2, seats("b", "c"))).start()
    assert [seat.id for seat in seating.someone_but({"a", "b"})] == ["b", "c"]


def test_a_change_is_another_object() -> None:
    seating = Seating()
    seating.change(1, seats("a"))
    mine = seating.someone_but(())
    assert seating.seats is mine
    seating.change(2, ())
    assert seating.seats is not mine


def test_a_change_that_was_overtaken_does_not_stand() -> None:
    seating = Seating()
    seating.change(2, seats("b"))
    seating.change(1, seats("a"))
    assert [seat.id for seat in seating.someone_but(())] == ["b"]


def test_the_last_sign_of_life_counts_and_is_told_once() -> None:
    beats = Beats()
    beats.note("a", 1.0, 3)
    beats.note("a", 2.0, 4)
    beats.note("b", 1.5, 0)
    assert beats.take() == {"a": (2.0, 4), "b": (1.5, 0)}
    assert beats.take() == {}
