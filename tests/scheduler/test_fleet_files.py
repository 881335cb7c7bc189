"""Fleets from CSV files, by suffix, and like a live cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.interface import Resources
from scheduler.cluster_file import MEMORY_PER_CPU, read_fleet
from scheduler.errors import UserError
from scheduler.fleet_files import GIB, load_fleet, read_fleet_csv
from scheduler.inventory import LogicalView
from scheduler.live_fleet import fleet_like
from scheduler.simulation.fleet import Fleet

HERE = Path(__file__).resolve().parents[2]


def fleet_of(text: str, folder: Path) -> Fleet:
    path = folder / "f.csv"
    path.write_text(text, encoding="utf-8")
    return load_fleet(path)


def refusal(text: str, folder: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        fleet_of(text, folder)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_a_row_is_a_machine_or_several_of_a_kind(tmp_path: Path) -> None:
    fleet = fleet_of(
        "kind,count,id,cpu,gpu,memory_gib,speed,mbit_per_s,latency_ms,price_per_hour,label:zone\n"
        "fast,2,,8,1,16,2,8,3,0.5,a\n\nfast,,,4,,,,,,,\nslow,1,mine,1,,,,,,,b\nnone,0,,1,,,,,,,\n",
        tmp_path,
    )
    assert [one.id for one in fleet.machines] == ["fast-0", "fast-1", "fast-2", "mine"]
    first, _, third, mine = fleet.machines
    assert (first.capacity, first.kind) == (Resources(8, 1, 16 * GIB), "fast")
    assert (first.speed, first.s_per_byte, first.price_per_hour, first.labels) == (2.0, 1e-6, 0.5, {"zone": "a"})
    assert [one.latency_s for one in fleet.machines] == [0.003, 0.003, 0.0, 0.0]
    assert third.capacity == Resources(4, 0, 4 * MEMORY_PER_CPU)
    assert (third.speed, third.s_per_byte, third.price_per_hour, third.labels) == (1.0, 0.0, 0.0, {})
    assert (mine.kind, mine.labels) == ("slow", {"zone": "b"})
    assert len(fleet.table()) == 4


@given(counts=st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any))
def test_ids_are_unique_and_as_many_as_counted(counts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = "".join(f"k{number % 2},{count},1\n" for number, count in enumerate(counts))
    fleet = fleet_of(f"kind,count,cpu\n{rows}", tmp_path_factory.mktemp("fleet"))
    assert len({one.id for one in fleet.machines}) == len(fleet) == sum(counts)


def test_all_errors_are_told_at_once_with_line_and_column(tmp_path: Path) -> None:
    text = (
        "kind,count,cpu,gpu,speed,id\n"
        "a,-1,1,,,\nb,1,-2,1,0,\nc,1,nan,1.5,,\n,1,1,,,\nd,2,1,,,x\n"
        "e,1,1,,,y\nf,1,1,,,y\na,1\n"
    )
    assert refusal(text, tmp_path) == [
        "f.csv:2: count: must be a whole number of at least 0, got '-1'",
        "f.csv:3: cpu: must be a finite number of at least 0, got '-2'",
        "f.csv:3: speed: must be a finite number of at least 0.001, got '0'",
        "f.csv:4: cpu: must be a finite number of at least 0, got 'nan'",
        "f.csv:4: gpu: must be a whole number of at least 0 and at most 1,024, got '1.5'",
        "f.csv:5: id: is empty, and so is 'kind'; give one of them",
        "f.csv:6: count: a machine with an 'id' is one; leave one of them out, got 2",
        "f.csv:6: id: there is a machine 'x' already; give this one another",
        "f.csv:8: id: there is a machine 'y' already; give this one another",
        "f.csv:9: has 2 fields, but there are 6 columns",
    ]


def test_no_more_than_twenty_mistakes_are_told(tmp_path: Path) -> None:
    lines = refusal("kind,cpu\n" + "a,-1\n" * 30, tmp_path)
    assert (len(lines), lines[-1]) == (21, "... and 10 more")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f.csv: is empty; its first line names the columns"),
        ("kind,cpu\n", "f.csv: has no rows below the names of the columns"),
        ("kind,cpus\na,1\n", "f.csv:1: unknown column 'cpus'. Did you mean 'cpu'? The choices are id, "),
        ("kind,cpu,label:\na,1,2\n", "f.csv:1: unknown column 'label:'."),
        ("kind,cpu,cpu\na,1,2\n", "f.csv:1: column 'cpu' is given twice"),
        ("kind,count,cpu\na,0,1\n", "f.csv: every 'count' is 0: there is nothing to simulate"),
        ("kind,count,cpu\na,200001,1\n", "f.csv:2: count: a fleet has at most 200,000 machines, got 200001 more"),
        ("kind\na\n", "f.csv:2: cpu: a machine has CPU or GPU above 0, got none of either"),
        ("kind,gpu\na,1000000000\n", "f.csv:2: gpu: must be a whole number of at least 0 and at most 1,024, got '1"),
        ('kind,cpu\na,"1\n', "f.csv:2: not valid CSV: "),
    ],
)
def test_what_is_wrong_is_named(text: str, expected: str, tmp_path: Path) -> None:
    (line,) = refusal(text, tmp_path)
    assert line.startswith(expected)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file"):
        read_fleet_csv(tmp_path / "absent.csv")
    (tmp_path / "bytes.csv").write_bytes(b"kind,cpu\n\xff\xfe,1\n")
    with pytest.raises(UserError, match=r"bytes\.csv: cannot be read"):
        load_fleet(tmp_path / "bytes.csv")
    with pytest.raises(UserError, match=r"unknown kind of fleet file '.yamll'. Did you mean '.yaml'"):
        load_fleet(tmp_path / "c.yamll")


def test_the_suffix_says_what_a_file_is() -> None:
    assert load_fleet(HERE / "cluster.yaml") == read_fleet(HERE / "cluster.yaml")


def test_a_fleet_like_a_live_cluster() -> None:
    labels = {"apportion.dev/kind": "big", "apportion.dev/speed": "2", "apportion.dev/mbit-per-s": "8"}
    views = [
        LogicalView("head", "10.0.0.1", True, (0.0, 0.0, 8.0), (0.0, 0.0, 8.0)),
        LogicalView("a", "10.0.0.2", False, (8.0, 1.0, 64.0), (1.0, 0.0, 2.0), labels),
    ]
    (machine,) = fleet_like(views).machines
    assert (machine.id, machine.capacity, machine.kind) == ("a", Resources(8, 1, 64), "big")
    assert (machine.speed, machine.s_per_byte, machine.labels) == (2.0, 1e-6, labels)
    with pytest.raises(UserError, match="none of its 1 nodes"):
        fleet_like(views[:1])
