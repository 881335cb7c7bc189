"""Our own trace: what is written is read again, and what is wrong is told."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.interface import JobView, Resources, ShardTable, frozen
from scheduler.errors import UserError
from scheduler.simulation.traces.trace_file import is_trace, read_trace, write_trace
from scheduler.simulation.workload import Learning, Phase, SimulatedJob, Workload

HEADER = '{"apportion-trace": 1, "source": "here"}\n'

amounts = st.floats(0, 1e300)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
rates = st.dictionaries(texts, st.lists(amounts, max_size=4).map(frozen), max_size=3)


@st.composite
def jobs(draw: st.DrawFn, name: str) -> SimulatedJob:
    least = draw(st.integers(1, 9))
    gpu = draw(st.one_of(st.floats(0, 1), st.integers(0, 8).map(float)))
    view = JobView(
        name,
        draw(amounts),
        Resources(draw(amounts), gpu, draw(amounts)),
        least,
        draw(st.integers(least, 99)),
        selector=draw(st.dictionaries(texts, st.lists(texts, max_size=2).map(tuple), max_size=2)),
        tenant=draw(texts),
        priority=draw(st.floats(-1e9, 1e9)),
        deadline_s=draw(st.one_of(st.just(math.inf), amounts)),
        work=draw(st.one_of(st.just(math.nan), amounts)),
        done=draw(amounts),
        rates=draw(rates),
        attained_s=draw(amounts),
        started_s=draw(st.one_of(st.just(math.nan), amounts)),
        data_bytes=draw(amounts),
        resident=draw(st.dictionaries(texts, amounts, max_size=2)),
    )
    num = draw(st.integers(1, 4))
    columns = st.lists(amounts, min_size=num, max_size=num).map(frozen)
    losses = st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), max_size=3).map(tuple)
    learning = st.builds(
        Learning,
        st.integers(1, 999),
        st.builds(ShardTable, columns, columns),
        amounts,
        amounts,
        amounts,
        amounts,
        losses,
    )
    phases = st.lists(st.builds(Phase, amounts, rates), max_size=3).map(tuple)
    return SimulatedJob(view, draw(st.one_of(st.none(), learning)), draw(phases), draw(st.integers(-99, 2**40)))


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    names = draw(st.lists(texts.filter(bool), min_size=1, max_size=3, unique=True))
    meta = draw(st.dictionaries(texts, texts, max_size=2))
    return Workload(tuple(draw(jobs(name)) for name in names), draw(texts), meta)


def plain(value: Any) -> Any:
    """Return a value that compares by what it holds: arrays as lists, NaN as text."""
    if is_dataclass(value):
        return [type(value).__name__, *(plain(getattr(value, field.name)) for field in fields(value))]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.tolist()]
    if isinstance(value, dict):
        return {key: plain(held) for key, held in value.items()}
    if isinstance(value, tuple | list):
        return [plain(held) for held in value]
    return "nan" if isinstance(value, float) and math.isnan(value) else value


@settings(max_examples=60, deadline=None)
@given(workload=workloads())
def test_what_is_written_is_read_again(workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("trace") / "t.jsonl"
    write_trace(workload, path)
    again = read_trace(path)
    assert plain(again) == plain(workload)
    assert is_trace(path)
    first = path.read_bytes()
    write_trace(again, path)
    assert path.read_bytes() == first


def test_a_job_is_one_short_line(tmp_path: Path) -> None:
    view = JobView("a", 1.5, Resources(1.0), 1, 2, work=8.0)
    write_trace(Workload((SimulatedJob(view),), "s"), tmp_path / "t.jsonl")
    assert (tmp_path / "t.jsonl").read_text().splitlines() == [
        '{"apportion-trace":1,"source":"s"}',
        '{"id":"a","at":1.5,"cpu":1.0,"workers":[1,2],"work":8.0}',
    ]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("old")
    view = JobView("a", math.nan, Resources(1.0), 1, 1)
    with pytest.raises(ValueError, match="at"):
        write_trace(Workload((SimulatedJob(view),)), path)
    assert [one.name for one in tmp_path.iterdir()] == ["t.jsonl"]
    assert path.read_text() == "old"


def refusal(text: str, folder: Path) -> list[str]:
    (folder / "t.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_trace(folder / "t.jsonl")
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    lines = [
        '{"id": "a", "at": -1}',
        '{"id": "b", "cpu": 1,, "gpu": 1}',
        "",
        '{"id": "c", "workes": [1, 1]}',
        '{"id": "d", "workers": [3, 1]}',
        '{"at": NaN}',
        '{"id": "e", "gpu": 1.5}',
        '{"id": "f", "cpu": true}',
        '{"id": "g"}',
        '{"id": "g"}',
        '{"id": "h", "learning": {"rounds": 1, "work": [1], "bytes": [1, 2], "s_per_work": 1}}',
        '{"id": "i", "phases": [{"wrk": 1, "rates": {"": [-1]}}]}',
        "[1]",
    ]
    expected = [
        "t.jsonl:2: at: must be greater than or equal to 0, got -1",
        "t.jsonl:3: column 22: not valid JSON: ",
        "t.jsonl:5: workes: unknown field 'workes'. Did you mean 'workers'?",
        "t.jsonl:6: job d: a gang has at least 1 worker",
        "t.jsonl:7: id: is missing",
        "t.jsonl:7: at: must be a finite number, got nan",
        "t.jsonl:8: job e: a bundle has a part of one GPU",
        "t.jsonl:9: cpu: must be a valid number, got true",
        "t.jsonl:11: id: there is a job 'g' already",
        "t.jsonl:12: learning: 'work' and 'bytes' must be of one length, got 1 and 2",
        "t.jsonl:13: phases.0.work: is missing",
        "t.jsonl:13: phases.0.rates..0: must be greater than or equal to 0, got -1",
        "t.jsonl:13: phases.0.wrk: unknown field 'wrk'. Did you mean 'work'?",
        "t.jsonl:14: must be an object, got [1]",
    ]
    found = refusal(HEADER + "\n".join(lines), tmp_path)
    assert len(found) == len(expected)
    for got, start in zip(found, expected, strict=True):
        assert got.startswith(start)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "t.jsonl:1: column 1: not valid JSON"),
        ("{}\n", 't.jsonl:1: apportion-trace: is missing; the first line of a trace is {"apportion-trace": 1}'),
        ('{"apportion-trace": 2}\n', "t.jsonl:1: apportion-trace: must be less than or equal to 1, got 2"),
        ('{"apportion-trace": 1, "sorce": ""}\n', "t.jsonl:1: sorce: unknown field 'sorce'. Did you mean 'source'?"),
        (HEADER, "t.jsonl: has a header and no job: there is nothing to simulate"),
    ],
)
def test_what_is_wrong_with_the_header_is_named(text: str, expected: str, tmp_path: Path) -> None:
    (line,) = refusal(text, tmp_path)
    assert line.startswith(expected)


def test_a_line_nested_too_deeply_is_named(tmp_path: Path) -> None:
    assert refusal(HEADER + "[" * 100_000, tmp_path)[0].startswith("t.jsonl:2: column ")


def test_a_broken_file_of_many_lines_tells_the_first_twenty(tmp_path: Path) -> None:
    found = refusal(HEADER + "{\n" * 100, tmp_path)
    assert (len(found), found[-1]) == (21, "... and 80 more")


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_trace(tmp_path / "absent.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        read_trace(tmp_path / "bytes.jsonl")
    assert not is_trace(tmp_path / "bytes.jsonl")
