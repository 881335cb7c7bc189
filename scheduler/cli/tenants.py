"""``apportion tenant``, ``policy`` and ``service``: how a cluster is shared, and by whom."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer
import yaml
from rich.console import Console

from policies.interface import Resources, Tenant
from scheduler.cli.arguments import AsJson, print_json
from scheduler.cli.reaching import ServiceAddress, reached
from scheduler.errors import UserError, unknown
from scheduler.report.jobs import tenants_table
from scheduler.service.client import restart_service
from scheduler.service.records import TenantRecord
from scheduler.session import connect

tenant = typer.Typer(name="tenant", no_args_is_help=True, help="Declare who shares the cluster, and how.")
policy = typer.Typer(name="policy", no_args_is_help=True, help="Show and set the policy of a cluster.")
service = typer.Typer(name="service", no_args_is_help=True, help="Look after the scheduler service itself.")

AMOUNTS = ("cpu", "gpu", "memory_gib")
Weight = Annotated[float | None, typer.Option("--weight", help="Its share beside the others' (default: 1).")]
Quota = Annotated[
    list[str] | None,
    typer.Option(
        "--quota", metavar="RESOURCE=AMOUNT", help="cpu, gpu or memory_gib; may be repeated. 'none' lifts it."
    ),
]
Borrows = Annotated[
    bool | None, typer.Option("--borrow/--no-borrow", help="Whether it may use more while others do not need it.")
]
MostJobs = Annotated[int | None, typer.Option("--max-jobs", min=0, help="Jobs at a time; 0 lifts the limit.")]
Parent = Annotated[str | None, typer.Option("--parent", help="The tenant that it is a part of.")]


@tenant.command("set")
def set_tenant(
    name: Annotated[str, typer.Argument(metavar="TENANT")],
    weight: Weight = None,
    quota: Quota = None,
    borrow: Borrows = None,
    max_jobs: MostJobs = None,
    parent: Parent = None,
    address: ServiceAddress = None,
    as_json: AsJson = False,
) -> None:
    """Declare a tenant, or change one; what is not given stays as it is.

    Example: apportion tenant set research --weight 2 --quota cpu=32 --no-borrow --address auto
    """
    amounts = _amounts(quota or [])
    with reached(address, starts=True) as found:
        known = {one["name"]: one for one in found.ask("tenants")}
        before = TenantRecord.of_json(_declared(known[name])) if name in known else TenantRecord(Tenant(name))
        told = replace(
            before.tenant,
            weight=before.tenant.weight if weight is None else weight,
            quota=before.tenant.quota if amounts is None else amounts or None,
            parent=before.tenant.parent if parent is None else parent,
            borrows=before.tenant.borrows if borrow is None else borrow,
        )
        record = TenantRecord(told, before.most_jobs if max_jobs is None else max_jobs or None)
        answer = found.ask("set_tenant", record.as_json())
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"tenant {name}: weight {told.weight:g}")


def _declared(found: dict[str, object]) -> dict[str, object]:
    return {name: found[name] for name in ("name", "weight", "quota", "parent", "borrows", "most_jobs")}


def _amounts(texts: list[str]) -> Resources | tuple[()] | None:
    """Return a quota; nothing given is None, ``none`` an empty one."""
    if not texts:
        return None
    if texts == ["none"]:
        return ()
    endless = dict.fromkeys(AMOUNTS, 1e12)
    for text in texts:
        name, _, amount = text.partition("=")
        if name not in AMOUNTS:
            raise UserError(f"--quota {text}: {unknown('resource', name, AMOUNTS)}")
        try:
            endless[name] = float(amount)
        except ValueError:
            raise UserError(f"--quota {text}: expected {name}=NUMBER, got {amount!r}") from None
        if not 0 <= endless[name] < 1e12:
            raise UserError(f"--quota {text}: must be a number from 0 on")
    return Resources(endless["cpu"], endless["gpu"], endless["memory_gib"] * 2**30)


@tenant.command("list")
def tenants(address: ServiceAddress = None, as_json: AsJson = False) -> None:
    """Show every tenant: weight, quota, what it uses now, and what it has used.

    Example: apportion tenant list --address auto
    """
    with reached(address) as found:
        answer = found.ask("tenants")
    if as_json:
        print_json(answer)
    else:
        Console().print(tenants_table(answer))


@policy.command("set")
def set_policy(
    spec: Annotated[str, typer.Argument(metavar="POLICY", help="A preset, parts joined by +, or a YAML mapping.")],
    address: ServiceAddress = None,
    as_json: AsJson = False,
) -> None:
    """Let the cluster have another policy, from the next decision on.

    Example: apportion policy set drf+fgd+adaptive-pull --address auto
    """
    wanted = yaml.safe_load(spec) if spec.lstrip().startswith("{") else spec
    with reached(address, starts=True) as found:
        answer = found.ask("set_policy", wanted)
    _print_policy(answer, as_json)


@policy.command("show")
def show_policy(address: ServiceAddress = None, as_json: AsJson = False) -> None:
    """Print the cluster's policy, and what keeps it from deciding, if anything does.

    Example: apportion policy show --address auto
    """
    with reached(address) as found:
        answer = found.ask("policy")
    _print_policy(answer, as_json)


def _print_policy(answer: dict[str, object], as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"policy: {answer['policy']}")
        if answer["trouble"]:
            typer.echo(f"it decides nothing: {answer['trouble']}", err=True)


@service.command("restart")
def restart(address: ServiceAddress = None) -> None:
    """Start the service anew with this program's code; jobs run on, and it goes on from its journal.

    Example: apportion service restart --address auto
    """
    with connect(address):
        found = restart_service().ask("hello", 1)
    typer.echo(f"the scheduler service runs (process {found['pid']}); its journal is {found['journal']}")
