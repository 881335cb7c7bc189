"""Fault schedules on a virtual clock: the same bits after each, and a check that differences would be seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.fault_play import Play
from benchmarks.fault_schedules import main, played, summary
from scheduler.rounds.flights import Flight, Flights
from scheduler.rounds.synchronous import Rounds
from workers.fingerprint import AcceptedCalls
from workers.parameter_store import ParameterStore


def test_two_hundred_schedules_end_with_the_bits_of_the_undisturbed_jobs() -> None:
    found = summary(played(range(200)))
    assert found["failed"] == []
    assert found["kills"] > 100 and found["kills_mid_round"] >= 0.9
    assert found["server_restarts"] > 20 and found["given_up_by_the_watch"] > 20
    assert found["answers_refused"] > 100 and found["answers_to_an_earlier_team"] > 20
    assert found["updates_computed"] > found["updates_needed"]


@pytest.mark.long
def test_ten_thousand_schedules(tmp_path: Path) -> None:
    path = tmp_path / "schedules.json"
    assert main(["--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["schedules"] == 10_000 and found["differences"] == 0


def test_a_schedule_is_the_same_each_time() -> None:
    for seed in (3, 5, 8):
        one, two = (Play(seed).run() for _ in range(2))
        assert one == two


def test_a_shard_that_counts_twice_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes duplicates too: it is what the schedules are there to find."""

    def offer(self: ParameterStore, version: int, shards: object, sums: object, worker: str = "") -> object:
        if version == self.message.version:
            self._arrived[shards] = False
        return known(self, version, shards, sums, worker)  # type: ignore[arg-type]

    known = ParameterStore.offer
    monkeypatch.setattr(ParameterStore, "offer", offer)
    monkeypatch.setattr(AcceptedCalls, "differ", lambda *_: False)
    assert summary(played(range(60)))["differences"] > 0


def test_shards_that_nobody_computes_any_more_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(self: Flights, worker: int) -> list[Flight]:
        known(self, worker)
        return []

    known = Flights.lose
    monkeypatch.setattr(Flights, "lose", lose)
    found = summary(played(range(40)))
    assert any("waits for ever" in failed["error"] for failed in found["failed"])


def test_the_command_prints_and_writes_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "schedules.json"
    assert main(["--schedules", "3", "--first", "7", "--json", str(path)]) == 0
    assert "differences                  0" in capsys.readouterr().out
    assert json.loads(path.read_text())["schedules"] == 3

    def fails(*_: object) -> None:
        raise ValueError("broken on purpose")

    monkeypatch.setattr(Rounds, "answered", fails)
    assert main(["--schedules", "2"]) == 1
    assert "broken on purpose" in capsys.readouterr().out
