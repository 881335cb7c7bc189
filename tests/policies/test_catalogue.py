"""The catalogue is read from docstrings: how they are read, and that every policy that ships has what it needs."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import yaml

from policies import catalogue as module
from policies.balance.equal import Equal
from policies.catalogue import Entry, catalogue, described
from policies.composed import Composed
from policies.interface import PolicyError
from policies.presets import FAMILIES, resolve

ENTRIES = catalogue()
NAMES = [f"{entry.family}-{entry.name}" for entry in ENTRIES]


class Example(Equal):
    """Do it in one
    sentence.

    Use it ``now``:

    - or then
    - or never

    Cost: O(n) for
    each.

    Parameters
    ----------
    one, two
        What they are,
        with a tail.
    three : float
        The third.

        In two paragraphs.

    Raises
    ------
    PolicyError
        If not.

    A word on it.

    Source: Somebody, "A
    title", 1966.
    """

    promises = frozenset({"b", "a"})
    redivides = True

    def __init__(self, one: Any, two: Any = None, three: float = 0.5, four: str = "x", five: Any = (1, True)) -> None:
        self.options = one, two, three, four, five


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Entry:
    monkeypatch.setattr(module, "FAMILIES", {"balance": (Equal, {"example": Example})})
    (entry,) = described("example")
    return entry


def test_a_docstring_is_taken_apart(example: Entry) -> None:
    assert example.summary == "Do it in one sentence."
    assert example.details == ("Use it `now`:", "- or then\n- or never", "A word on it.")
    assert example.cost == "O(n) for each."
    assert example.reference == 'Somebody, "A title", 1966.'
    assert (example.source, example.promises) == ("Zinkevich et al., NIPS 2010", ("a", "b"))
    assert example.traits == ("asked again in every round",)


def test_options_are_those_of_the_constructor(example: Entry) -> None:
    assert [tuple(option) for option in example.options] == [
        ("one", "needed", "What they are, with a tail."),
        ("two", "none", "What they are, with a tail."),
        ("three", "0.5", "The third. In two paragraphs."),
        ("four", "x", ""),
        ("five", "[1, true]", ""),
    ]
    assert example.usage == (
        "policy: {balance: example}",
        "policy: {balance: {example: {three: 0.5, four: x, five: [1, true]}}}",
    )


def test_a_name_may_be_in_several_families(monkeypatch: pytest.MonkeyPatch) -> None:
    families = {family: (Equal, {"equal": Equal}) for family in ("order", "balance")}
    monkeypatch.setattr(module, "FAMILIES", families)
    assert [entry.family for entry in described("equal")] == ["order", "balance"]


def test_an_unknown_name_lists_the_choices() -> None:
    with pytest.raises(
        PolicyError, match=r"unknown policy 'eqal'; did you mean 'equal'\? choose from: fifo, spread, pack"
    ):
        described("eqal")


def test_every_member_is_in_the_catalogue() -> None:
    assert [(entry.family, entry.name) for entry in ENTRIES] == [
        (family, name) for family, (_, members) in FAMILIES.items() for name in members
    ]


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_every_policy_says_what_when_at_what_cost_and_whence(entry: Entry) -> None:
    assert entry.summary.endswith(".") and len(entry.summary) <= 220, "one sentence of two lines"
    assert entry.details, "a paragraph that says when to use it"
    assert entry.cost and entry.source and entry.reference


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_every_option_is_explained_and_there_are_no_others(entry: Entry) -> None:
    assert all(option.meaning for option in entry.options)
    kind: type = FAMILIES[entry.family][1][entry.name]
    named = module._Docstring(inspect.cleandoc(kind.__doc__ or "")).parameters
    assert list(named) == [option.name for option in entry.options]


@pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)
def test_every_way_of_writing_it_is_one(entry: Entry) -> None:
    for line in entry.usage:
        policy = resolve(yaml.safe_load(line)["policy"])
        kind = FAMILIES[entry.family][1][entry.name]
        assert isinstance(getattr(policy, entry.family) if isinstance(policy, Composed) else policy, kind)
