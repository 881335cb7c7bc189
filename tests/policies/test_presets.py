from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from policies.balance.capacity_proportional import CapacityProportional
from policies.composed import Composed
from policies.interface import PolicyError
from policies.joint.min_makespan import MinMakespan
from policies.order.fifo import Fifo
from policies.place.pack import Pack
from policies.place.spread import Spread
from policies.presets import BALANCES, PRESETS, names_own_code, resolve

LAST_TAKES_ALL = '''
"""A user's own balance."""
import numpy as np

from policies.interface import Assignment, Balance


class LastTakesAll(Balance):
    """Give everything to the last worker."""

    name = "last-takes-all"
    source = "our own"

    def __init__(self, extra=0):
        if extra < 0:
            raise RuntimeError("extra is negative")
        self.extra = extra

    def divide(self, view):
        return Assignment(np.full(len(view.shards), len(view.workers) - 1))


class Needy(LastTakesAll):
    """Cannot do without."""

    def __init__(self, first, *others, extra=0, **rest):
        super().__init__(extra)
        self.first, self.others, self.rest = first, others, rest


class Strict(LastTakesAll):
    """Takes what it names, and nothing else."""

    def __init__(self, first, *others, extra=0):
        super().__init__(extra)
        self.first, self.others = first, others


ready = LastTakesAll(extra=3)
number = 7
'''

WHOLE = """
from policies.interface import ClusterPlan, Policy
from policies.balance.equal import Equal

class Idle(Policy):
    name = "idle"
    balance = Equal()

    def plan(self, snapshot):
        return ClusterPlan(snapshot.version)

class Nameless(Policy):
    def plan(self, snapshot):
        return ClusterPlan(snapshot.version)
"""


def refused(spec: Any, *search: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        resolve(spec, search)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(LAST_TAKES_ALL)
    (tmp_path / "whole.py").write_text(WHOLE)
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("las+fgd+pull", "las+fgd+pull"),
        ("drf+adaptive-pull", "drf+spread+adaptive-pull"),
        ("random+random", "fifo+random+random"),
        ("las+random", "las+random+equal"),
    ],
)
def test_names_may_be_joined(spec: str, name: str) -> None:
    assert resolve(spec).name == name


def test_joined_names_are_an_order_a_place_and_a_balance() -> None:
    assert refused("fgd+las").startswith("unknown balance 'las'; choose from: equal")
    assert "unknown order or place or balance 'lsa'" in refused("lsa+fgd")
    assert "unknown part of a policy 'equal'" in refused("fifo+spread+equal+equal")


@pytest.mark.parametrize(
    ("spec", "own"),
    [
        ("fifo+pack+pull", False),
        ("mine:LastTakesAll", True),
        ({"joint": {"max-min-throughput": {"round_s": 30.0}}, "balance": "pull"}, False),
        ({"order": "fifo", "balance": {"mine:LastTakesAll": {"round_s": 30.0}}}, True),
        ({"order": "mine:First"}, True),
    ],
)
def test_own_code_is_told_from_options(spec: str | dict[str, Any], own: bool) -> None:
    assert names_own_code(spec) is own


def test_each_balance_is_a_preset() -> None:
    assert list(PRESETS) == list(BALANCES)
    assert list(PRESETS)[:3] == ["equal", "round-robin", "random"]
    for name in PRESETS:
        policy = resolve(name)
        assert isinstance(policy, Composed)
        assert (type(policy.order), type(policy.place), type(policy.balance)) == (
            Fifo,
            Spread,
            BALANCES[name],
        )


def test_a_joint_policy_by_name_and_with_parts() -> None:
    assert isinstance(resolve("min-makespan"), MinMakespan)
    policy: Any = resolve(
        {"joint": {"pop": {"parts": 2, "inner": "min-makespan"}}, "place": "spread", "balance": "random"}
    )
    assert (policy.parts, type(policy.inner), type(policy.place), policy.balance.name) == (
        2,
        MinMakespan,
        Spread,
        "random",
    )
    assert isinstance(resolve({"joint": "policies.joint.min_makespan:MinMakespan"}), MinMakespan)


def test_mapping() -> None:
    policy = resolve({"place": "pack", "balance": {"capacity-proportional": {"weights": {"gpu": 1}}}})
    assert isinstance(policy, Composed)
    assert isinstance(policy.place, Pack)
    assert isinstance(policy.balance, CapacityProportional)
    assert policy.balance.weights == {"gpu": 1.0}
    assert policy.name == "fifo+pack+capacity-proportional"
    assert resolve({}).name == "fifo+spread+equal"
    assert isinstance(resolve({"balance": {"equal": None}}), Composed)


@pytest.mark.parametrize(
    ("spec", "messages"),
    [
        (
            "round-robbin",
            ["unknown policy 'round-robbin'; did you mean 'round-robin'?", "equal, round-robin, random"],
        ),
        ("xyzzy", ["unknown policy 'xyzzy'; choose from: equal"]),
        ({"place": "spred"}, ["unknown place 'spred'; did you mean 'spread'? choose from: spread, pack"]),
        ({"balanse": "equal"}, ["unknown part of a policy 'balanse'; did you mean 'balance'?"]),
        (
            "tetris",
            ["unknown policy 'tetris'; as place it is written {place: tetris}, or joined to others as in fifo+"],
        ),
        ({"balance": {"equal": {"speed": 1}}}, ["equal has no options, but got speed"]),
        ({"balance": {"equal": {3: 1}}}, ["equal has no options, but got 3"]),
        (
            {"balance": {"capacity-proportional": {"weigths": {"cpu": 1}}}},
            ["unknown option 'weigths' of capacity-proportional; did you mean 'weights'? its options are: weights"],
        ),
        ({"place": {"topology": {"xyz": 1}}}, ["unknown option 'xyz' of topology; its options are: label"]),
        ({"place": {"topology": {"label": ""}}}, ["topology: label must be the name of a label, but got label=''"]),
        (
            {"place": {"power-of-two-choices": {"choices": 0}}},
            ["power-of-two-choices: choices must be a whole number of at least 1, but got choices=0"],
        ),
        (
            {"balance": {"capacity-proportional": {"weights": {"cpu": -1}}}},
            ["weights.cpu must be", "got cpu=-1"],
        ),
        ({"joint": "min-makespan", "order": "fifo"}, ["unknown option 'order' of min-makespan"]),
        ({"joint": "min-makspan"}, ["unknown joint 'min-makspan'; did you mean 'min-makespan'?"]),
        ({"joint": {"pop": {"parts": 0}}}, ["pop: parts must be a whole number of at least 1, but got parts=0"]),
        ({"balance": ["equal"]}, ["balance must be a name or {name: {option: value}}, but got ['equal']"]),
        ({"balance": {"equal": 3}}, ["balance must be a name"]),
        (3, ["policy must be a name or a mapping of order, place, balance, joint, but got 3"]),
        (":Class", ["written 'module:Class', but got ':Class'"]),
        ("module:", ["written 'module:Class', but got 'module:'"]),
    ],
)
def test_wrong_specs_say_what_to_do(spec: Any, messages: list[str]) -> None:
    found = refused(spec)
    for message in messages:
        assert message in found


def test_a_users_balance_takes_the_rest_from_the_defaults(folder: Path) -> None:
    before = list(sys.path)
    policy = resolve("mine:LastTakesAll", [folder])
    assert isinstance(policy, Composed)
    assert policy.name == "fifo+spread+last-takes-all"
    assert pickle.loads(pickle.dumps(policy)).name == policy.name  # noqa: S301
    assert sys.path == before


def test_a_users_balance_with_options(folder: Path) -> None:
    policy: Any = resolve({"balance": {"mine:LastTakesAll": {"extra": 2}}, "place": "pack"}, [folder])
    assert policy.balance.extra == 2
    assert resolve("mine:ready", [folder]).balance.extra == 3


def test_the_options_of_a_users_policy_are_those_of_its_constructor(folder: Path) -> None:
    policy: Any = resolve({"balance": {"mine:Needy": {"first": 1, "anything": 2}}}, [folder])
    assert (policy.balance.first, policy.balance.rest) == (1, {"anything": 2})
    assert resolve({"balance": {"mine:Strict": {"first": 1}}}, [folder]).balance.name == "last-takes-all"
    missing = refused({"balance": {"mine:Strict": {"extra": 1}}}, folder)
    assert missing == "mine:Strict needs the option 'first'; its options are: first, extra"
    unknown = refused({"balance": {"mine:Strict": {"first": 1, "frist": 2}}}, folder)
    assert unknown == "unknown option 'frist' of mine:Strict; did you mean 'first'? its options are: first, extra"
    assert "unknown option 'others' of mine:Strict" in refused({"balance": {"mine:Strict": {"others": 2}}}, folder)


def test_a_users_whole_policy(folder: Path) -> None:
    assert resolve("whole:Idle", [folder]).name == "idle"


def test_a_users_order_and_place_are_told_apart() -> None:
    assert isinstance(resolve("policies.place.pack:Pack").place, Pack)
    assert isinstance(resolve("policies.order.fifo:Fifo").order, Fifo)


def test_users_errors(folder: Path) -> None:
    (folder / "broken.py").write_text("def f(:\n")
    (folder / "needy.py").write_text("import no_such_thing_at_all\n")
    assert "no module 'mime' in" in refused("mime:LastTakesAll", folder)
    assert "did you mean 'mine'?" in refused("mime:LastTakesAll", folder)
    found = refused("mine:LastTakesAl", folder)
    assert (
        "has no 'LastTakesAl'; its policies are: LastTakesAll, Needy, Strict, ready; did you mean 'LastTakesAll'?"
        in found
    )
    assert "'mine:number' is a int, but must be a Policy, Order, Place or Balance" in refused("mine:number", folder)
    assert "'mine:np' is a module" in refused("mine:np", folder)
    assert "broken' failed to import: SyntaxError" in refused("broken:X", folder)
    assert "needy' failed to import: No module named 'no_such_thing_at_all'" in refused("needy:X", folder)
    options = {"balance": {"mine:LastTakesAll": {"extra": -1}}}
    assert "LastTakesAll(extra=-1) raised RuntimeError: extra is negative" in refused(options, folder)
    assert "is an instance, which takes no options" in refused({"balance": {"mine:ready": {"extra": 1}}}, folder)
    assert "order must be a Order, but 'mine:ready' is a LastTakesAll" in refused({"order": "mine:ready"}, folder)
    assert "'whole:Nameless' must have the attribute 'name'" in refused("whole:Nameless", folder)
    assert "Balance() raised TypeError" in refused("policies.interface:Balance")


def test_files_of_the_same_name_are_not_mixed_up(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helper_of_mine.py").write_text(f"NAME = '{name}'\n")
        source = LAST_TAKES_ALL.replace('"last-takes-all"', "helper_of_mine.NAME")
        (tmp_path / name / "mine.py").write_text(f"import helper_of_mine\n{source}")
    for name in ("one", "two", "two", "one"):
        assert resolve("mine:LastTakesAll", [tmp_path / name]).name == f"fifo+spread+{name}"


def test_a_file_may_not_shadow_a_loaded_module(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text(LAST_TAKES_ALL)
    assert "would shadow the module 'numpy', which is loaded already: rename the file" in refused("numpy:X", tmp_path)
