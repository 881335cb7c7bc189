"""``apportion predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scheduler.cli.arguments import AsJson, print_json
from scheduler.outputs import predictions_csv, write_predictions
from workers.data.features import read_table
from workers.model import load_model

ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="A run's output folder, or its model.json.")]
DataFile = Annotated[
    Path, typer.Argument(metavar="DATA", help="A .csv or .parquet with the model's columns, .libsvm, .npy or .npz.")
]
Predictions = Annotated[Path | None, typer.Option("--output", help="A CSV file to write (default: the terminal).")]


def predict(model: ModelFolder, data: DataFile, output: Predictions = None, as_json: AsJson = False) -> None:
    """Predict the target for every row of a file, with a saved model.

    Example: apportion predict runs/diabetes patients.csv --output predictions.csv
    """
    fitted = load_model(model)
    answers = fitted.predict(read_table(data, fitted.feature_names, fitted.columns)).tolist()
    if output is not None:
        write_predictions(output, fitted.target_name, answers)
        typer.echo(f"{len(answers):,} predictions written to {output}", err=True)
    if as_json:
        print_json({"target": fitted.target_name, "predictions": answers})
    elif output is None:
        typer.echo(predictions_csv(fitted.target_name, answers), nl=False)
