"""``apportion lab``."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scheduler.cli.arguments import AsJson, print_json
from scheduler.errors import UserError
from scheduler.lab import building, state
from scheduler.lab.lab import Lab, plan_of
from scheduler.lab.status import status_of
from scheduler.report.lab import notes_text, plan_text, status_table

lab = typer.Typer(
    name="lab",
    no_args_is_help=True,
    help="Start a mixed cluster on this machine, and slow or cut off its nodes while jobs run.",
)

ClusterFileArgument = Annotated[Path, typer.Argument(metavar="CLUSTER", help="A Ray cluster file: cluster.yaml.")]
Name = Annotated[str, typer.Option("--name", help="Which lab, if there are several.")]
Node = Annotated[str, typer.Argument(metavar="NODE", help="A node, such as cpu-0, or the beginning of its name.")]
Nodes = Annotated[
    list[str] | None,
    typer.Option("--nodes", metavar="TYPE=NUMBER", help="How many nodes of a type; may be repeated."),
]
Processors = Annotated[
    float | None,
    typer.Option("--processors", min=0.05, help="What all nodes together may use (default: most of this machine's)."),
]
WithoutRoot = Annotated[bool, typer.Option("--without-root", help="Put nodes side by side, even as root.")]
Dashboard = Annotated[bool, typer.Option("--dashboard", help="Start Ray's dashboard with the head.")]
Factor = Annotated[float, typer.Argument(metavar="FACTOR", help="Part of its own processors; 1 gives them back.")]
MbitPerS = Annotated[
    float | None, typer.Option("--mbit-per-s", help="The node's bandwidth from now on (default: its own).")
]


@lab.command()
def up(
    cluster: ClusterFileArgument,
    name: Name = state.DEFAULT_NAME,
    nodes: Nodes = None,
    processors: Processors = None,
    without_root: WithoutRoot = False,
    dashboard: Dashboard = False,
    as_json: AsJson = False,
) -> None:
    """Start a Ray cluster on this machine as a cluster file describes it.

    A node gets its CPU times its label apportion.dev/speed of this machine's processors, or all a part of it where
    that is more than there is, and with root on Linux a network of its own with its bandwidth and latency.

    Example: apportion lab up cluster.yaml --nodes cpu=2 --nodes spot=0
    """
    console = Console(stderr=as_json)
    state.folder_of(name)
    plan = plan_of(cluster, _counts(nodes or []), processors)
    isolated = False if without_root else None
    with console.status("looking at this machine") as line:
        made = building.build(name, plan, line.update, isolated=isolated, is_bound=False, dashboard=dashboard)
    if as_json:
        print_json(asdict(status_of(Lab(name))))
        return
    console.print(plan_text(made), highlight=False)
    _print_environment(Lab(name))


@lab.command()
def status(name: Name = state.DEFAULT_NAME, as_json: AsJson = False) -> None:
    """Show every node: whether it is alive, what it is held to, and what it uses.

    Example: apportion lab status --json
    """
    found = status_of(Lab(name))
    if as_json:
        print_json(asdict(found))
    else:
        console = Console()
        console.print(status_table(found))
        console.print(notes_text(found.notes), highlight=False, markup=False)


@lab.command()
def env(name: Name = state.DEFAULT_NAME) -> None:
    """Print the lines that make a shell's programs clients of the lab.

    Example: eval "$(apportion lab env)"
    """
    _print_environment(Lab(name))


@lab.command()
def slow(node: Node, factor: Factor, mbit_per_s: MbitPerS = None, name: Name = state.DEFAULT_NAME) -> None:
    """Hold a node to a part of its processors, at once, whatever runs there.

    Example: apportion lab slow cpu-0 0.5
    """
    Lab(name).slow(node, factor, mbit_per_s)


@lab.command()
def cut(node: Node, name: Name = state.DEFAULT_NAME) -> None:
    """Take a node's network away. Ray counts it as dead after about a minute.

    Example: apportion lab cut cpu-0
    """
    Lab(name).cut(node)


@lab.command()
def mend(node: Node, name: Name = state.DEFAULT_NAME) -> None:
    """Give a node its network back; it is started again if Ray has given it up meanwhile.

    Example: apportion lab mend cpu-0
    """
    if Lab(name).mend(node):
        typer.echo(f"'{node}' had been given up, and was started again")


@lab.command()
def down(name: Name = state.DEFAULT_NAME) -> None:
    """End a lab, also one whose 'up' was killed, and leave nothing of it.

    Example: apportion lab down
    """
    Lab(name).down()


def _counts(texts: list[str]) -> dict[str, int]:
    """Read ``TYPE=NUMBER``."""
    counts: dict[str, int] = {}
    for text in texts:
        node_type, _, number = text.partition("=")
        if not node_type or not number.isdecimal():
            raise UserError(f"--nodes: expected TYPE=NUMBER, such as cpu=2, got {text!r}")
        counts[node_type] = int(number)
    return counts


def _print_environment(one: Lab) -> None:
    typer.echo("unset RAY_AUTH_TOKEN")  # it would be taken before the file
    for variable, value in one.environment.items():
        typer.echo(f"export {variable}={shlex.quote(value)}")
