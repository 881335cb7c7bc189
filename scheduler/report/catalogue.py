"""The catalogue of policies, for the terminal and as a page.

``python -m scheduler.report.catalogue > docs/policies.md`` writes the page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from itertools import groupby

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from policies.catalogue import Entry, catalogue

PAGE = "docs/policies.md"
COMMAND = f"python -m scheduler.report.catalogue > {PAGE}"
INTRODUCTION = f"""\
# Policies

Every policy that ships: what it does, when to use it, its options, its cost, and where it comes from.
`apportion policies` lists them, and `apportion policies NAME` shows one. How they are composed is in the
[README](../README.md#policies), how to bring one's own in [CONTRIBUTING](../CONTRIBUTING.md#a-policy-of-your-own).

*Cost* is that of one decision on n nodes, j jobs, w workers and s shards. A *promise* is a property that the
conformance kit (`policies.testing`) tests beyond what every policy of the family owes.

This page is made from the docstrings in `policies/`; to renew it: `{COMMAND}`.
"""


def catalogue_table(entries: Sequence[Entry]) -> Table:
    """Return the policies, a line each."""
    table = Table(header_style="bold")
    for column in ("family", "name", "what it does", "source", "cost"):
        table.add_column(column, overflow="fold", no_wrap=column in ("family", "name"))
    for entry in entries:
        cells = (entry.family, entry.name, entry.summary, entry.source, entry.cost)
        table.add_row(*(escape(_unmarked(cell)) for cell in cells))
    return table


def description(entries: Sequence[Entry]) -> Group:
    """Return everything about some policies, one after the other."""
    return Group(*(part for entry in entries for part in _described(entry)))


def _described(entry: Entry) -> Iterator[RenderableType]:
    yield Text(f"{entry.family}: {entry.name}", style="bold")
    for paragraph in (entry.summary, *entry.details):
        yield Padding(Text(_unmarked(_unwrapped(paragraph))), (0, 0, 1, 0))
    if entry.options:
        table = Table(header_style="bold")
        for column in ("option", "default", "meaning"):
            table.add_column(column, overflow="fold")
        for option in entry.options:
            table.add_row(*(escape(_unmarked(cell)) for cell in option))
        yield table
    facts = Table.grid(padding=(0, 2))
    for name, lines in _facts(entry):
        facts.add_row(f"{name}:", escape(_unmarked("\n".join(lines))))
    yield facts
    yield Text()


def page(entries: Sequence[Entry]) -> str:
    """Return the catalogue as a page of Markdown."""
    return "\n".join([INTRODUCTION, *_families(entries)])


def _families(entries: Iterable[Entry]) -> Iterator[str]:
    for family, group in groupby(entries, key=lambda entry: entry.family):
        members = list(group)
        yield f"## {family.capitalize()}\n"
        yield f"{(import_module(f'policies.{family}').__doc__ or '').strip()}\n"
        rows = [(f"[`{one.name}`](#{family}-{one.name.lower()})", one.summary, one.source, one.cost) for one in members]
        yield _markdown_table(("name", "idea", "source", "cost"), rows)
        for entry in members:
            yield from _section(entry)


def _section(entry: Entry) -> Iterator[str]:
    yield f"### {entry.family.capitalize()}: {entry.name}\n"
    for paragraph in (entry.summary, *entry.details):
        yield f"{paragraph}\n"
    if entry.options:
        rows = [(f"`{one.name}`", f"`{one.default}`", one.meaning) for one in entry.options]
        yield _markdown_table(("option", "default", "meaning"), rows)
    for name, lines in _facts(entry):
        code = name == "job file"
        yield f"- {name.capitalize()}: {', or '.join(f'`{line}`' if code else line for line in lines)}"
    yield ""


def _facts(entry: Entry) -> list[tuple[str, tuple[str, ...]]]:
    """Return what is said of a policy in single lines, by name; what there is nothing of is left out."""
    facts = [
        ("job file", entry.usage),
        ("note", ("; ".join(entry.traits),)),
        ("promises", (", ".join(entry.promises),)),
        ("cost", (entry.cost,)),
        ("source", (entry.reference or entry.source,)),
    ]
    return [(name, lines) for name, lines in facts if any(lines)]


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = ([cell.replace("|", "\\|") for cell in row] for row in (header, *rows))
    first, *others = (f"| {' | '.join(row)} |\n" for row in cells)
    return "".join([first, "|---" * len(header), "|\n", *others])


def _unmarked(text: str) -> str:
    return text.replace("`", "")


def _unwrapped(text: str) -> str:
    """Join the lines of a paragraph, but not those of a list."""
    return text if text.startswith("- ") else text.replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.write(page(catalogue()))
