"""``apportion policies``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from policies.catalogue import catalogue, described
from scheduler.cli.arguments import AsJson, print_json
from scheduler.report.catalogue import catalogue_table, description

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show everything about the policies of this name.")]


def policies(name: Name = None, as_json: AsJson = False) -> None:
    """List every policy with its source and cost, or show all about one: when to use it, options, promises.

    Example: apportion policies capacity-proportional
    """
    entries = catalogue() if name is None else described(name)
    if as_json:
        print_json([{**asdict(entry), "options": [one._asdict() for one in entry.options]} for entry in entries])
    else:
        Console().print(catalogue_table(entries) if name is None else description(entries), highlight=False)
