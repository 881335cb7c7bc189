"""``apportion``: the program, its commands, and how errors become exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from policies.interface import PolicyError
from scheduler import __version__
from scheduler.cli.compare import compare
from scheduler.cli.control import pause, resize, stop
from scheduler.cli.drive import drive
from scheduler.cli.export import export
from scheduler.cli.history import history, why
from scheduler.cli.jobs import jobs, logs, queue, status
from scheduler.cli.lab import lab
from scheduler.cli.nodes import nodes
from scheduler.cli.policies import policies
from scheduler.cli.predict import predict
from scheduler.cli.replay import replay
from scheduler.cli.resume import resume
from scheduler.cli.run import run
from scheduler.cli.simulate import simulate
from scheduler.cli.submit import submit
from scheduler.cli.tenants import policy, service, tenant
from scheduler.errors import RunFailedError, UserError
from workers.errors import DataError

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130

app = typer.Typer(
    name="apportion",
    help="A resource scheduler for Ray clusters: allocation changes the time, never the result.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (run, resume, compare, simulate, nodes, policies, predict, export, replay):
    app.command()(command)
for command in (submit, jobs, status, logs, queue, stop, pause, resize, history, why):
    app.command()(command)
app.command(hidden=True)(drive)
for group in (lab, tenant, policy, service):
    app.add_typer(group)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"apportion {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Submit jobs to a Ray cluster, and compare allocation policies on it."""
    del version, debug  # main() reads --debug itself: an error may come before any option is parsed


def main() -> NoReturn:
    """Run the program; exit code 2 for bad input, 1 for a failed run, 130 when interrupted."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(arguments)
    except (UserError, DataError, PolicyError) as error:
        _fail(error, BAD_INPUT, debug)
    except RunFailedError as error:
        _fail(error, FAILED, debug)
    except KeyboardInterrupt:
        _exit("interrupted", INTERRUPTED)
    except SystemExit as ended:  # typer makes one of every end, of KeyboardInterrupt too
        if ended.code == INTERRUPTED:
            _exit("interrupted", INTERRUPTED)
        raise
    except Exception as error:  # noqa: BLE001  (a defect of ours: say so, without a wall of text)
        _fail(error, FAILED, debug, f"unexpected {type(error).__name__}: {error}; '--debug' shows where")
    sys.exit(0)


def _interrupt(*_: object) -> NoReturn:
    """End as Ctrl-C does: the run cleans up after itself."""
    raise KeyboardInterrupt


def _fail(error: Exception, code: int, debug: bool, message: str | None = None) -> NoReturn:
    if debug:
        traceback.print_exception(error)
    _exit(f"error: {message or error}", code)


def _exit(message: str, code: int) -> NoReturn:
    typer.secho(message, fg="red", err=True, color=False if os.environ.get("NO_COLOR") else None)
    sys.exit(code)


if __name__ == "__main__":
    main()
