"""What is known of a lab, and who may know it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from scheduler.cluster_file import ClusterFile, NodeType
from scheduler.errors import UserError
from scheduler.lab import processes, state
from scheduler.lab.building import is_living
from scheduler.lab.lab import Lab
from scheduler.lab.plan import plan_lab
from scheduler.lab.state import LabState, ProcessId

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="labs are for Linux and macOS")


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "ROOT", tmp_path)


def begun(name: str = "mine", is_bound: bool = False) -> LabState:
    file = ClusterFile(
        available_node_types={
            "head": NodeType(resources={"CPU": 0.0}),
            "cpu": NodeType(resources={"CPU": 1.0}, min_workers=2, labels={"apportion.dev/mbit-per-s": "80"}),
            "gpu": NodeType(resources={"CPU": 1.0, "GPU": 1.0}),
        },
        head_node_type="head",
    )
    return state.save(LabState.begin(name, plan_lab(file, {}, 3.0), isolated=True, is_bound=is_bound))


def test_what_is_saved_is_found_and_only_by_its_user() -> None:
    lab = begun()
    assert state.load("mine") == state.found("mine") == lab
    assert (state.names(), state.load("other")) == (["mine"], None)
    token = state.write_token("mine")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (state.home(), token.parent, token)] == [0o700, 0o700, 0o600]
    assert len(token.read_text()) == 64
    state.forget("mine")
    assert state.names() == [] and not state.folder_of("mine").exists()


def test_a_folder_that_others_may_enter_is_refused() -> None:
    state.home().chmod(0o755)
    with pytest.raises(UserError, match="must be a folder of your own that nobody else may enter"):
        state.home()


def test_a_link_is_no_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"apportion-lab-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="must be a folder of your own"):
        state.home()


@pytest.mark.parametrize("name", ["", "Mine", "-a", "a/b", "..", "a" * 13])
def test_a_name_is_short_and_plain(name: str) -> None:
    with pytest.raises(UserError, match="a lab's name has 1 to 12 small letters"):
        state.folder_of(name)


def test_the_message_for_a_lab_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UserError, match="no lab called 'x'; 'apportion lab up' starts one"):
        state.found("x")
    begun()
    with pytest.raises(UserError, match="no lab called 'x'; there are mine: choose with '--name'"):
        state.found("x")


def test_a_state_of_another_version_is_refused() -> None:
    begun()
    (state.folder_of("mine") / state.STATE_FILE).write_text('{"id": 1}')
    with pytest.raises(UserError, match=r"lab.json is not of this version of apportion, end the lab with that version"):
        state.load("mine")


def test_a_node_is_named_by_the_beginning_of_its_name() -> None:
    lab = begun()
    assert [lab.node(name).node.name for name in ("cpu-1", "g", "gpu-0")] == ["cpu-1", "gpu-0", "gpu-0"]
    for name, message in {
        "cpu": "node 'cpu' may be any of cpu-0, cpu-1: write more",
        "head-0": "'head-0' is the head, which is left as it is. The other nodes are cpu-0, cpu-1, gpu-0.",
        "gpx-0": "unknown node 'gpx-0'. Did you mean 'gpu-0'? The choices are cpu-0, cpu-1, gpu-0.",
        "": "unknown node ''. The choices are cpu-0, cpu-1, gpu-0.",
    }.items():
        with pytest.raises(UserError) as caught:
            lab.node(name)
        assert str(caught.value) == message


def test_changes_made_at_the_same_time_are_all_kept() -> None:
    begun()

    def slower(number: int) -> None:
        name = f"cpu-{number % 2}"
        state.change("mine", lambda lab: lab.with_node(replace(lab.node(name), factor=lab.node(name).factor + 1)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(slower, range(40)))
    assert [one.factor for one in state.found("mine").nodes] == [21.0, 21.0, 1.0]


def test_names_of_things_are_short_and_addresses_are_the_subnets() -> None:
    lab = begun().at("10.213.9")
    things = [lab.thing(), *(lab.thing(node.number) for node in lab.all_nodes), lab.thing(99)]
    assert len(set(things)) == len(things) and all(len(thing) <= 15 for thing in things)
    assert [node.address for node in lab.all_nodes] == [f"10.213.9.{number}" for number in (1, 2, 3, 4)]
    assert replace(lab, port=77).address == "10.213.9.1:77"


def test_a_process_whose_number_has_come_again_is_another() -> None:
    this = ProcessId.of(os.getpid())
    assert this.is_alive()
    assert not replace(this, started_s=this.started_s - 100).is_alive()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    theirs = ProcessId.of(child.pid)
    assert theirs.is_alive()
    child.kill()
    psutil.Process(child.pid).wait()
    assert not theirs.is_alive()


def test_a_lab_lives_while_it_is_made_or_its_head_is_there() -> None:
    lab = begun()
    nobody = replace(lab.owner, started_s=0.0)
    assert is_living(lab)
    assert not is_living(replace(lab, owner=nobody))
    assert not is_living(replace(lab, is_up=True))  # nothing bears the mark of its head
    assert is_living(replace(lab, is_up=True, is_bound=True))
    assert not is_living(replace(lab, is_up=True, is_bound=True, owner=nobody))


def test_only_what_bears_the_mark_is_ended() -> None:
    lab = begun()
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    marked, others, plain = (
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=os.environ | mark)
        for mark in (processes.mark(lab.id, "cpu-0"), processes.mark("0ther", "cpu-0"), {})
    )
    try:
        while len(processes.of_lab(lab.id).get("cpu-0", [])) < 2:
            assert marked.poll() is None
        processes.end(lambda: [one for those in processes.of_lab(lab.id).values() for one in those])
        assert processes.of_lab(lab.id) == {}
        assert marked.poll() is not None and others.poll() is None and plain.poll() is None
    finally:
        left = [psutil.Process(one.pid) for one in (others, plain)]
        left += [child for one in left for child in one.children()]
        processes.end(lambda: left)


def test_what_cannot_be_changed_is_said() -> None:
    begun()
    lab = Lab("mine")
    for call, message in (
        (lambda: lab.slow("cpu-0", 0.5), "the lab 'mine' is not up yet"),
        (lambda: lab.slow("cpu-0", 0.0), "the factor must be above 0 and at most 100, got 0"),
        (lambda: lab.slow("cpu-0", 1.0, -1.0), "the bandwidth must be from 0.001 to 1e6 Mbit/s, got -1"),
        (lambda: Lab("none").cut("cpu-0"), "there is no lab called 'none'"),
    ):
        with pytest.raises(UserError, match=message):
            call()
