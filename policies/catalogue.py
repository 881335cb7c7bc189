"""What every policy that ships is, read from its class: the docstring, the constructor's signature, the attributes.

The docstring of a policy has, in this order or with ``Cost`` before the parameters: one sentence; paragraphs that say
when to use it and how it differs from its source; ``Parameters`` and ``Raises`` as numpydoc has them; a paragraph that
begins with ``Cost:``; and one that begins with ``Source:``.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from policies.loading import unknown
from policies.presets import FAMILIES, PRESETS

TRAITS = {
    "preemptive": "may take nodes from running jobs",
    "blocking": "a job that does not fit holds up those behind it",
    "wants_speeds": "the speed of the workers is measured first",
    "redivides": "asked again in every round",
}
"""What it means where these attributes of a class are true."""

NEEDED = "needed"
"""In place of the default of an option that has none."""


class Option(NamedTuple):
    """An option of a policy: its name in a job file, its default there, and what it means."""

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Entry:
    """A policy of the catalogue.

    Attributes
    ----------
    family, name
        Its family (``order``, ``place``, ...) and its name in it.
    summary
        What it does, in one sentence.
    details
        When to use it and how it differs from its source, one text a paragraph.
    options
        What may be set, in the order of the constructor.
    cost
        The complexity of a decision.
    traits, promises
        Facts about it, and properties that the conformance kit tests.
    source, reference
        Where it comes from, in short and in full.
    usage
        How it is written in a job file, one line a way.
    """

    family: str
    name: str
    summary: str
    details: tuple[str, ...]
    options: tuple[Option, ...]
    cost: str
    traits: tuple[str, ...]
    promises: tuple[str, ...]
    source: str
    reference: str
    usage: tuple[str, ...]


def catalogue() -> list[Entry]:
    """List every policy that ships, by family."""
    return [_entry(family, name, kind) for family, (_, members) in FAMILIES.items() for name, kind in members.items()]


def described(name: str) -> list[Entry]:
    """Return the policies of this name, one a family.

    Raises
    ------
    PolicyError
        If there is none; the message lists the choices.
    """
    entries = catalogue()
    found = [entry for entry in entries if entry.name == name]
    if not found:
        raise unknown("policy", name, dict.fromkeys(entry.name for entry in entries))
    return found


def _entry(family: str, name: str, kind: type) -> Entry:
    doc = _Docstring(inspect.cleandoc(kind.__doc__ or ""))
    options = tuple(_options(kind, doc))
    return Entry(
        family=family,
        name=name,
        summary=" ".join(doc.body[0].split()),
        details=tuple(doc.body[1:]),
        options=options,
        cost=doc.cost,
        traits=tuple(text for flag, text in TRAITS.items() if getattr(kind, flag, False)),
        promises=tuple(sorted(getattr(kind, "promises", ()))),
        source=getattr(kind, "source", ""),
        reference=doc.source,
        usage=tuple(_usage(family, name, options)),
    )


class _Docstring:
    """The parts of a policy's docstring.

    Attributes
    ----------
    body
        The paragraphs outside sections, at least one.
    cost, source
        The paragraphs of these names, in one line each; empty where there is none.
    parameters
        Name -> meaning, in one line.
    """

    def __init__(self, text: str) -> None:
        self.body: list[str] = []
        self.cost = self.source = ""
        self.parameters: dict[str, str] = {}
        self._described: list[str] = []
        section = ""
        for block in text.split("\n\n"):
            lines = block.split("\n")
            if len(lines) > 1 and not lines[1].strip("-"):
                section = lines.pop(0)
                lines.pop(0)
            elif not lines[0].startswith(" "):
                section = next((name for name in ("Cost", "Source") if block.startswith(f"{name}:")), "")
            self._add(section, lines)

    def _add(self, section: str, lines: list[str]) -> None:
        if section == "Parameters":
            for line in lines:
                self._add_parameter(line)
        elif section == "Cost":
            self.cost = _line(" ".join(lines).removeprefix("Cost:"))
        elif section == "Source":
            self.source = _line(" ".join(lines).removeprefix("Source:"))
        elif not section:
            self.body.append(_plain("\n".join(lines)))

    def _add_parameter(self, line: str) -> None:
        """Take a line with names of parameters, or one that describes those of the line before."""
        if not line.startswith(" "):
            self._described = [name.strip() for name in line.partition(" : ")[0].split(",")]
            self.parameters |= dict.fromkeys(self._described, "")
            return
        for name in self._described:
            self.parameters[name] = f"{self.parameters[name]} {_line(line)}".strip()


def _plain(text: str) -> str:
    """Return a docstring's text as Markdown has it: one backtick around code."""
    return text.replace("``", "`")


def _line(text: str) -> str:
    return " ".join(_plain(text).split())


def _options(kind: type, doc: _Docstring) -> list[Option]:
    parameters = inspect.signature(kind).parameters.values()
    return [Option(one.name, _default(one.default), doc.parameters.get(one.name, "")) for one in parameters]


def _default(value: Any) -> str:
    """Return a default as a job file has it."""
    if value is inspect.Parameter.empty:
        return NEEDED
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value, default=str)


def _usage(family: str, name: str, options: Sequence[Option]) -> list[str]:
    alone = family == "joint" or PRESETS.get(name, {}).get(family) == name
    ways = [f"policy: {name}"] if alone else []
    ways.append(f"policy: {{{family}: {name}}}")
    given = ", ".join(f"{one.name}: {one.default}" for one in options if one.default not in (NEEDED, "none"))
    return [*ways, f"policy: {{{family}: {{{name}: {{{given}}}}}}}"] if given else ways
