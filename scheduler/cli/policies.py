"""``apportion policies``."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from policies.presets import catalogue
from scheduler.cli.arguments import AsJson, print_json


def policies(as_json: AsJson = False) -> None:
    """List every policy: what it does in one line, and where it comes from.

    Example: apportion policies --json
    """
    entries = catalogue()
    if as_json:
        print_json([entry._asdict() for entry in entries])
        return
    table = Table(header_style="bold")
    for column in ("family", "name", "what it does", "source"):
        table.add_column(column, overflow="fold", no_wrap=column in ("family", "name"))
    for entry in entries:
        table.add_row(*map(escape, entry))
    Console().print(table)
