"""The fuzzer: its seeds are good, what is wrong is found, and nothing that is read hurts."""

from __future__ import annotations

import os
import random
import sys
import time
from contextlib import chdir
from pathlib import Path

import pytest

from benchmarks.fuzz import judging, targets
from benchmarks.fuzz.__main__ import names_of, run
from benchmarks.fuzz.cases import Case, drawn, seeds_of
from benchmarks.fuzz.commands import run_command
from scheduler.errors import UserError
from workers.errors import DataError

KINDS = list(targets.TARGETS)

needs_proc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured in /proc, on Linux")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_broken_is_read(kind: str, tmp_path: Path) -> None:
    accepted = 0
    for number, files in enumerate(seeds_of(kind)):
        folder = tmp_path / str(number)
        folder.mkdir()
        Case(kind, files, 0).write(folder)
        with chdir(folder):
            accepted += any(is_read(kind, folder, option) for option in range(20))
    assert accepted >= len(seeds_of(kind)) / 2


def is_read(kind: str, folder: Path, option: int) -> bool:
    try:
        targets.TARGETS[kind](folder, random.Random(option))  # noqa: S311
    except (UserError, DataError):
        return False
    return True


def test_a_case_is_the_same_again(tmp_path: Path) -> None:
    for kind in KINDS:
        assert drawn(kind, 1, 2) == drawn(kind, 1, 2)
        assert len({tuple(drawn(kind, 1, number).files.items()) for number in range(20)}) > 10
    case = drawn("model", 0, 5)
    case.save(tmp_path / "case.zip")
    assert Case.load(tmp_path / "case.zip") == case


def _dies() -> None:
    os._exit(7)


def _hangs() -> None:
    time.sleep(60)


def _fails() -> None:
    raise KeyError("x")


def _says_nothing() -> None:
    raise UserError("")


def _fills() -> None:
    bytearray(600 << 20)


def _writes() -> None:
    Path("bitten").touch()


@needs_proc
@pytest.mark.parametrize(
    ("does", "said"),
    [
        (_dies, "csv: died: 7"),
        (_hangs, "csv: HangError"),
        (_fails, "csv: KeyError"),
        (_says_nothing, "csv: a message of 0 characters"),
        (_fills, " MB"),
        (_writes, "csv: made ['bitten']"),
    ],
)
def test_what_is_wrong_is_found(does: object, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "LIMIT_S", 4.0)
    wrong = {"csv": lambda folder, draw: does()}  # type: ignore[operator]
    monkeypatch.setattr(judging, "TARGETS", wrong)
    monkeypatch.setattr("benchmarks.fuzz.__main__.warm_up", lambda kinds: None)
    ((_, verdict),) = run([("csv", 0, 0)], 1)
    assert verdict.outcome == "finding" and said in verdict.where


def findings(num: int, seed: int) -> list[str]:
    return [
        f"{name}: {verdict.where}\n{verdict.told}"
        for name, verdict in run(names_of(KINDS, num, seed))
        if verdict.outcome == "finding"
    ]


@needs_proc
def test_a_few_broken_files() -> None:
    assert findings(2000, 11) == []


@needs_proc
@pytest.mark.long
def test_many_broken_files() -> None:
    assert findings(10_000, 12) == []


@pytest.mark.long
@pytest.mark.parametrize("number", range(16))
def test_commands_end_with_0_or_2(number: int) -> None:
    kind = ("job", "cluster", "trace", "csv", "libsvm", "model", "record", "npy")[number % 8]
    verdict = run_command(drawn(kind, 13, number))
    assert verdict.outcome != "finding", verdict.told
