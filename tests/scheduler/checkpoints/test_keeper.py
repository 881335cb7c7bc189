"""Checkpoints in a folder: the last good one is found whatever was cut, flipped or killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scheduler.checkpoints.keeper import LARGEST_INTERVAL_S, LEAST_INTERVAL_S, Keeper
from scheduler.checkpoints.storage import LocalFolder, Url, storage_at, sweep
from scheduler.errors import RunFailedError, UserError
from scheduler.section import is_url
from workers.errors import CheckpointError

HOME = Path(__file__).resolve().parents[3]
RUN = "0123456789abcdef"


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def keeper_in(folder: Path, run: str = RUN, every_s: float | None = 1.0, keep: int = 2) -> Keeper:
    return Keeper(LocalFolder(folder), run, every_s, keep, Clock())


def saved(keeper: Keeper, number: int, **tree: Any) -> None:
    keeper.save(number, tree)
    keeper.wait()


def test_the_newest_is_found_and_as_many_are_kept_as_was_asked(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path, keep=3)
    assert keeper.latest() is None
    for number in (1, 5, 9, 12):
        saved(keeper, number, value=np.arange(number))
    found = keeper.latest()
    assert found is not None and (found.number, found.damaged) == (12, ())
    assert found.tree["value"].tolist() == list(range(12))
    assert keeper.numbers() == [5, 9, 12]
    assert keeper.warnings == []


def test_checkpoints_of_another_run_are_none(tmp_path: Path) -> None:
    saved(keeper_in(tmp_path, run="f" * 16), 3)
    assert keeper_in(tmp_path).latest() is None
    saved(keeper := keeper_in(tmp_path), 2, value=1)
    assert keeper.latest().number == 2  # type: ignore[union-attr]


def test_one_is_due_when_its_time_has_come(tmp_path: Path) -> None:
    clock = Clock()
    keeper = Keeper(LocalFolder(tmp_path), RUN, 10.0, 2, clock)
    assert not keeper.is_due
    clock.now_s = 10.0
    assert keeper.is_due
    saved(keeper, 1)
    assert not keeper.is_due
    clock.now_s = 20.0
    assert keeper.is_due


def test_the_interval_follows_the_cost(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path, every_s=None)
    assert keeper.interval_s == pytest.approx((2 * 0.02 * 3600) ** 0.5)
    keeper._cost_s = 2.0
    assert keeper.interval_s == pytest.approx(120.0)
    keeper._cost_s = 0.0
    assert keeper.interval_s == LEAST_INTERVAL_S
    keeper._cost_s = 1e9
    assert keeper.interval_s == LARGEST_INTERVAL_S


def test_cut_at_every_byte_the_one_before_is_found(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path)
    saved(keeper, 1, value=np.arange(3))
    saved(keeper, 2, value=np.arange(4))
    newest = tmp_path / "000000002.checkpoint"
    whole = newest.read_bytes()
    for length in range(len(whole)):
        newest.write_bytes(whole[:length])
        found = keeper.latest()
        assert found is not None and found.number == 1
        assert len(found.damaged) == 1 and found.damaged[0].startswith("checkpoint 2: ")
    newest.write_bytes(whole)
    assert keeper.latest().number == 2  # type: ignore[union-attr]


def test_a_flipped_bit_anywhere_is_seen(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path)
    saved(keeper, 1, value=np.arange(3))
    saved(keeper, 2, value=np.arange(4))
    newest = tmp_path / "000000002.checkpoint"
    whole = newest.read_bytes()
    for place in range(len(whole)):
        newest.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert keeper.latest().number == 1  # type: ignore[union-attr]


def test_where_all_are_damaged_each_is_named(tmp_path: Path) -> None:
    keeper = keeper_in(tmp_path)
    for number in (1, 2):
        saved(keeper, number)
        path = tmp_path / f"00000000{number}.checkpoint"
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"no checkpoint is whole:\n  - checkpoint 2: .*\n  - checkpoint 1: "):
        keeper.latest()


def test_what_cannot_be_written_is_a_warning_and_the_last_one_stays(tmp_path: Path) -> None:
    class Full(LocalFolder):
        def write(self, name: str, pieces: Any) -> None:
            raise RunFailedError(f"{name} cannot be written: No space left on device")

    saved(keeper_in(tmp_path), 3, value=1)
    keeper = Keeper(Full(tmp_path), RUN, 1.0, 2, Clock())
    saved(keeper, 4, value=2)
    (warning,) = keeper.warnings
    assert warning.startswith("checkpoint 4 was not kept, those before it are as they were: ")
    assert "No space left on device" in warning
    assert keeper.latest().number == 3  # type: ignore[union-attr]


WRITER = """
import sys, time, numpy as np
from pathlib import Path
from scheduler.checkpoints.keeper import Keeper
from scheduler.checkpoints.storage import LocalFolder, sweep
folder = LocalFolder(Path(sys.argv[1]))
sweep(folder)
keeper = Keeper(folder, "0123456789abcdef", 0.0, 2, time.monotonic)
number = max(keeper.numbers(), default=0)
print("ready", flush=True)
while True:
    number += 1
    keeper.save(number, {"value": np.full(20_000, number)})
    keeper.wait()
"""


def test_killed_while_it_writes_it_leaves_no_broken_checkpoint(tmp_path: Path) -> None:
    random, keeper, last = np.random.default_rng(0), keeper_in(tmp_path), 0
    for _ in range(12):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=HOME, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.uniform(0.02, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        found = keeper.latest()
        assert found is not None and found.damaged == (), "the newest is whole"
        assert found.number >= last, "and not older than the one before"
        assert (found.tree["value"] == found.number).all()
        last = found.number
    assert last > 12
    sweep(keeper.storage)
    assert len(list(tmp_path.iterdir())) <= 3, "nothing half written is left"


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "none")
    assert (folder.names(), folder.read("x")) == ([], None)
    folder.remove("x")
    folder.clear()
    folder.write("a", [b"12", memoryview(b"3")])
    assert (folder.names(), folder.read("a")) == (["a"], b"123")
    folder.write("run.json", [b"{}"])
    folder.write("000000003.checkpoint", [b""])
    folder.clear()
    assert folder.names() == ["a"], "what is not ours stays"
    folder.remove("a")
    folder.clear()
    assert not folder.path.exists()


def test_a_folder_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFailedError, match="file is no folder"):
        LocalFolder(tmp_path / "file").write("a", [b""])


def test_an_address_is_for_fsspec(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    assert is_url("s3://bucket/x") and is_url("memory://x") and not is_url("runs/x") and not is_url("C:/x")
    place = storage_at("memory://apportion-test/run")
    assert isinstance(place, Url)
    assert (place.names(), place.read("x")) == ([], None)
    keeper = Keeper(place, RUN, 1.0, 2, Clock())
    for number in (1, 2, 3):
        saved(keeper, number, value=np.arange(number))
    assert keeper.warnings == []
    assert keeper.numbers() == [2, 3]
    assert keeper.latest().tree["value"].tolist() == [0, 1, 2]  # type: ignore[union-attr]
    place.clear()
    assert place.names() == []
    with pytest.raises(UserError, match=r"nothing://x: .*[Pp]rotocol"):
        storage_at("nothing://x")


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UserError, match=r"pip install apportion\[fsspec\]"):
        storage_at("s3://bucket/x")
