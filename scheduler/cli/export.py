"""``apportion export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers.model import load_model, write_bytes

ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="A run's output folder, or its model.json.")]
OnnxFile = Annotated[Path, typer.Option("--onnx", metavar="FILE", help="The ONNX file to write.")]


def export(model: ModelFolder, onnx: OnnxFile) -> None:
    """Write a saved model for other programs: as an ONNX graph.

    Example: apportion export runs/diabetes --onnx diabetes.onnx
    """
    content = load_model(model).to_onnx()
    write_bytes(onnx, content)
    typer.echo(f"{len(content):,} bytes written to {onnx}", err=True)
