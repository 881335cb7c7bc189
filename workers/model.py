"""The trained model: what it predicts, and how it is written and read (no pickle)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from workers.architectures import Architecture
from workers.conversion import to_onnx, to_sklearn
from workers.data.rows import Floats, Matrix
from workers.data.source import Classes, Column
from workers.errors import DataError
from workers.objectives import Objective
from workers.stored_model import FORMAT, FORMAT_VERSION, MODEL_FILE, WEIGHTS_FILE, read_description, read_weights

WRITING = ".writing-"
"""How the names of files begin that are being written."""


@dataclass(frozen=True)
class Model:
    """A trained model, on raw columns.

    Attributes
    ----------
    architecture, arrays
        How margins come from rows, and the parameters by name.
    classes
        The labels that class numbers stand for; None for regression.
    columns
        Of a CSV: which of its columns become which features.
    provenance
        Where the model comes from: data, job, solver, versions.
    """

    name: str
    objective: Objective
    architecture: Architecture
    feature_names: tuple[str, ...]
    target_name: str
    classes: Classes | None
    columns: tuple[Column, ...]
    arrays: Mapping[str, Floats]
    provenance: Mapping[str, Any]

    @property
    def weights(self) -> Floats:
        """A linear model's weights, shape ``(features, outputs)``."""
        return self.arrays["weights"]

    @property
    def intercepts(self) -> Floats:
        """A linear model's intercepts, shape ``(outputs,)``."""
        return self.arrays["intercepts"]

    @property
    def sha256(self) -> str:
        """That of ``arrays``, as ``sha256_of`` says."""
        return sha256_of(self.arrays)

    def margins(self, X: Matrix) -> Floats:
        """Return the margins ``(rows, outputs)`` of dense or sparse rows.

        Raises
        ------
        DataError
            If ``X`` has another number of columns than the model.
        """
        if X.ndim != 2 or X.shape[1] != len(self.feature_names):
            raise DataError(f"model {self.name} takes {len(self.feature_names)} columns, got shape {X.shape}")
        return self.architecture.margins(self.arrays, X, self.objective.kernels)

    def predict(self, X: Matrix) -> np.ndarray[Any, Any]:
        """Return the prediction for each row of ``X`` (rows, features): numbers, or class labels.

        Raises
        ------
        DataError
            If ``X`` has another number of columns than the model, or the numbers overflow.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is found
            margins = self.margins(X)
            answers = self.objective.predict(margins)
        bad = np.flatnonzero(~(np.isfinite(margins).all(axis=1) & np.isfinite(answers)))
        if bad.size:
            raise DataError(f"model {self.name}: the numbers of row {bad[0]} are too large, its prediction overflows")
        return answers if self.classes is None else np.asarray(self.classes)[answers.astype(np.int64)]

    def save(self, folder: Path) -> Path:
        """Write ``weights.npz``, then ``model.json`` with its checksum, each under a temporary name and renamed.

        A run that is cut off leaves no ``model.json`` that matches its weights. Returns the path of ``model.json``.

        Raises
        ------
        DataError
            If a file cannot be written.
        ValueError, TypeError
            If JSON cannot hold the description; nothing has been replaced then.
        """
        description = self._description()
        json.dumps(description, allow_nan=False)
        with atomic_bytes(folder / WEIGHTS_FILE) as file:
            np.savez(file, **dict(self.arrays))  # type: ignore[arg-type]
        return write_json(folder / MODEL_FILE, {**description, "weights": self._weights_entry(folder)})

    def to_sklearn(self) -> Any:
        """Return a fitted estimator of scikit-learn that predicts the same; see ``workers.conversion``."""
        return to_sklearn(self)

    def to_onnx(self) -> bytes:
        """Return the model as an ONNX graph; see ``workers.conversion``."""
        return to_onnx(self)

    def _description(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "objective": {"name": self.objective.name, **self.objective.describe()},
            "architecture": {"kind": self.architecture.kind, **self.architecture.describe()},
            "feature_names": self.feature_names,
            "target_name": self.target_name,
            "classes": self.classes,
            "columns": [vars(column) for column in self.columns],
            "model_sha256": self.sha256,
            "provenance": self.provenance,
        }

    def _weights_entry(self, folder: Path) -> dict[str, Any]:
        content = (folder / WEIGHTS_FILE).read_bytes()
        return {"file": WEIGHTS_FILE, "sha256": hashlib.sha256(content).hexdigest()}


def sha256_of(arrays: Mapping[str, Floats]) -> str:
    """Return the SHA-256 of the arrays' bytes, one after the other (weights, intercepts), little-endian float64."""
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(array.astype("<f8").tobytes())
    return digest.hexdigest()


def load_model(path: Path) -> Model:
    """Read a model from its folder, or from its ``model.json``.

    Raises
    ------
    DataError
        If something is missing, of another version, or does not match its checksum.
    """
    told = read_description(path / MODEL_FILE if path.is_dir() else path)
    model = Model(
        name=told.name,
        objective=told.objective,
        architecture=told.architecture,
        feature_names=told.feature_names,
        target_name=told.target_name,
        classes=told.classes,
        columns=told.columns,
        arrays=read_weights(told),
        provenance=told.provenance,
    )
    if model.sha256 != told.model_sha256:
        raise DataError(f"{told.weights_file}: the parameters do not match 'model_sha256' of {told.file}")
    return model


def write_json(path: Path, value: Any) -> Path:
    """Write ``value`` as JSON, whole or not at all."""
    with atomic_text(path) as file:
        json.dump(value, file, indent=2, allow_nan=False)
        file.write("\n")
    return path


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content``, whole or not at all."""
    with atomic_bytes(path) as file:
        file.write(content)


@contextmanager
def atomic_text(path: Path) -> Iterator[IO[str]]:
    """Open a temporary file beside ``path`` for text; see ``atomic_bytes``."""
    with atomic_bytes(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        yield text
        text.detach()  # flushes it, and leaves the file open


@contextmanager
def atomic_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` for writing; it is renamed to ``path`` if all goes well, else removed.

    What it holds is on the disk before it has its name, so that not even a machine that fails leaves half of it there.

    Raises
    ------
    DataError
        If the file cannot be written, or ``path`` is something that a rename would destroy, such as a device.
    """
    temporary: Path | None = None
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} cannot be written: it is there already, and is no regular file. Name another.")
        target = Path(os.path.realpath(path))  # what a link leads to is replaced, not the link
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=WRITING, delete=False) as file:
            temporary = Path(file.name)
            yield file.file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
        temporary = None
    except OSError as error:
        no_folder = isinstance(error, FileExistsError | NotADirectoryError)
        reason = f"{path.parent} is no folder" if no_folder else error.strerror or error
        raise DataError(f"{path} cannot be written: {reason}. Name another, or make room.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
