"""``apportion replay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scheduler.cli.arguments import AsJson, print_json
from scheduler.errors import RunFailedError
from scheduler.replaying import replay_output

OutputFolder = Annotated[
    Path, typer.Argument(metavar="OUTPUT", help="The output folder of a run in mode asp, ssp or backup.")
]


def replay(output: OutputFolder, as_json: AsJson = False) -> None:
    """Compute an asynchronous run's model again from its record, and say whether it has the same bits.

    Example: apportion replay runs/diabetes
    """
    done = replay_output(output)
    if as_json:
        print_json({"same": done.same, "model_sha256": done.model_sha256, "num_updates": done.num_updates})
    if not done.same:
        raise RunFailedError(
            f"{output}: {done.num_updates} updates replayed give another model, {done.model_sha256}; saved was "
            f"{done.saved_sha256}. The last bits depend on processor and libraries: replay where the run ran, or set "
            "'training.reproducible: strict'"
        )
    if not as_json:
        typer.echo(f"{done.num_updates} updates replayed: the same model, sha256 {done.model_sha256}")
