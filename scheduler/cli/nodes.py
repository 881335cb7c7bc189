"""``apportion nodes``."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Console

from scheduler.cli.arguments import Address, AsJson, Cpus, print_json
from scheduler.inventory import Inspection
from scheduler.report.terminal import nodes_table
from scheduler.session import connect


def nodes(address: Address = None, cpus: Cpus = None, as_json: AsJson = False) -> None:
    """Show what every node has: what Ray may hand out, and what the machine itself sees.

    Example: apportion nodes --address 10.0.0.1:6379
    """
    with connect(address, cpus):
        views = Inspection().result()
    if as_json:
        print_json([asdict(view) for view in views])
    else:
        Console().print(nodes_table(views))
