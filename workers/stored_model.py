"""What a model's files say, checked field by field: they may come from anybody, and nothing in them is executed."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from workers.architectures import ARCHITECTURES, Architecture
from workers.columns import Columns
from workers.data.npy_file import UNREADABLE, Archive, unreadable
from workers.data.rows import Floats
from workers.data.source import Classes, Column
from workers.errors import DataError, brief, did_you_mean, shown
from workers.objectives import OBJECTIVES, Objective
from workers.reading import DOCUMENT_BYTES, read_bytes, read_text

FORMAT, FORMAT_VERSION = "apportion-model", 1
MODEL_FILE, WEIGHTS_FILE = "model.json", "weights.npz"


@dataclass(frozen=True)
class Description:
    """What ``model.json`` says; the fields are those of ``Model``, and checksums of what lies beside it."""

    file: Path
    name: str
    objective: Objective
    architecture: Architecture
    feature_names: tuple[str, ...]
    target_name: str
    classes: Classes | None
    columns: tuple[Column, ...]
    provenance: Mapping[str, Any]
    weights_file: Path
    weights_sha256: str
    model_sha256: str


def read_description(file: Path) -> Description:
    """Read ``model.json``; raises ``DataError`` for what is none, of another version, or incomplete."""
    try:
        found = json.loads(read_text(file, DOCUMENT_BYTES))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; a finished run writes {MODEL_FILE} into its output folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: not a model description: {brief(str(error), 300)}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError(f"{file}: not a model description: 'format' must be '{FORMAT}'")
    version = found.get("format_version")
    if isinstance(version, bool) or version != FORMAT_VERSION:
        told = shown(version)
        raise DataError(f"{file}: format_version is {told}, this program reads {FORMAT_VERSION}: update apportion")
    try:
        return _described(file, found)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        kind = "" if isinstance(error, DataError) else f"{type(error).__name__}: "
        raise DataError(f"{file}: incomplete or damaged: {kind}{brief(str(error), 600)}") from None


def read_weights(told: Description) -> dict[str, Floats]:
    """Read the arrays beside a description, in the order of its architecture.

    What is kept is stored and not packed, so that it takes no more memory than its file.

    Raises
    ------
    DataError
        If it does not match its checksum, is no such archive, or has other arrays than the architecture.
    """
    path = told.weights_file
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, but the model's description names it") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if hashlib.sha256(content).hexdigest() != told.weights_sha256:
        raise DataError(f"{path}: does not match its checksum; the run that wrote it was cut off, or it is damaged")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            return _arrays(told, Archive(path, opened), len(content))
    except DataError:
        raise
    except UNREADABLE as error:
        raise unreadable(path, error) from None


def _arrays(told: Description, archive: Archive, num_bytes: int) -> dict[str, Floats]:
    if archive.is_packed:
        raise DataError(
            f"{archive.path}: is packed, and a model's weights are not; the run that writes them stores them"
        )
    shapes = {name: archive.header(name).shape for name in archive.names}
    if 8 * sum(map(math.prod, shapes.values())) > num_bytes or shapes != _expected(told, num_bytes // 8):
        listed = brief(", ".join(f"{name} {shape}" for name, shape in shapes.items()), 300)
        raise DataError(f"{archive.path}: arrays of shape {listed} do not match {told.file}")
    arrays = {}
    for name in shapes:
        array = archive.array(name)
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise DataError(f"{archive.path}, array {name!r}: has values that are no finite numbers")
        arrays[name] = array.astype(np.float64)
    return arrays


def _expected(told: Description, most_values: int) -> dict[str, tuple[int, ...]] | None:
    """Return the shapes of the architecture's arrays; None where they would not fit into the file."""
    architecture = told.architecture
    if architecture.num_parameters > most_values:
        return None
    zeros, columns = np.zeros(architecture.num_parameters), Columns.raw(architecture.num_features)
    return {name: array.shape for name, array in architecture.to_arrays(zeros, columns).items()}


def _described(file: Path, found: Mapping[str, Any]) -> Description:
    classes, names = _classes(found["classes"]), _texts("feature_names", found["feature_names"])
    if not names:
        raise DataError("feature_names: must be a list of names, got none")
    objective = _objective(found["objective"])
    if (objective.task == "classification") != (classes is not None):
        raise DataError(f"classes: {shown(found['classes'])} do not go together with objective {objective.name}")
    if refusal := objective.refuse(len(classes or ())):
        raise DataError(f"classes: {refusal}")
    weights = _mapping("weights", found["weights"])
    if Path(_text("weights.file", weights["file"])).name != WEIGHTS_FILE:
        raise DataError(f"weights.file: must be {WEIGHTS_FILE}, got {shown(weights['file'])}")
    return Description(
        file=file,
        name=_text("name", found["name"]),
        objective=objective,
        architecture=_architecture(found["architecture"], len(names), objective.num_outputs(len(classes or ()))),
        feature_names=names,
        target_name=_text("target_name", found["target_name"]),
        classes=classes,
        columns=_columns(found["columns"], names),
        provenance=_mapping("provenance", found["provenance"]),
        weights_file=file.parent / WEIGHTS_FILE,
        weights_sha256=_text("weights.sha256", weights["sha256"]),
        model_sha256=_text("model_sha256", found["model_sha256"]),
    )


def _objective(found: Any) -> Objective:
    options = dict(_mapping("objective", found))
    name = _text("objective.name", options.pop("name"))
    if name not in OBJECTIVES:
        raise DataError(f"objective.name: unknown objective {brief(name)!r}. {did_you_mean(name, OBJECTIVES)}")
    known = OBJECTIVES[name]
    if options.keys() != known.describe().keys():
        raise DataError(f"objective: {name} has the options {list(known.describe())}, got {shown(list(options))}")
    numbers: dict[str, Any] = {option: _number(f"objective.{option}", value) for option, value in options.items()}
    return replace(known, **numbers)


def _architecture(found: Any, num_features: int, num_outputs: int) -> Architecture:
    """Return an architecture made of known settings alone: a module's code is never one of them."""
    settings = dict(_mapping("architecture", found))
    kind = _text("architecture.kind", settings.pop("kind"))
    if kind not in ARCHITECTURES:
        raise DataError(f"architecture.kind: unknown kind {brief(kind)!r}. {did_you_mean(kind, ARCHITECTURES)}")
    for name, value in settings.items():
        if name not in _SETTINGS:
            raise DataError(f"architecture: unknown setting {brief(name)!r}. {did_you_mean(name, _SETTINGS)}")
        _SETTINGS[name](f"architecture.{name}", value)
    return ARCHITECTURES[kind](num_features=num_features, num_outputs=num_outputs, **settings)


def _columns(found: Any, names: tuple[str, ...]) -> tuple[Column, ...]:
    columns = tuple(
        Column(
            _whole("columns.position", column["position"]),
            _text("columns.name", column["name"]),
            _texts("columns.categories", column["categories"]),
            tuple(_number("columns.means", mean) for mean in column.get("means", ())),
        )
        for column in (_mapping("columns", one) for one in _list("columns", found))
    )
    if columns and tuple(name for column in columns for name in column.feature_names) != names:
        raise DataError(f"columns: are {len(columns)} that do not make the {len(names)} features")
    if sum(len(column.means) for column in columns) not in (0, len(names)):
        raise DataError("columns.means: must be one for each feature, or none at all")
    return columns


def _classes(found: Any) -> Classes | None:
    if found is None:
        return None
    classes = _list("classes", found)
    if len(set(map(str, classes))) != len(classes) or len(classes) < 2:
        raise DataError(f"classes: must be at least two different labels, got {shown(classes)}")
    if all(isinstance(one, str) for one in classes):
        return _texts("classes", classes)
    return tuple(_whole("classes", one, -(2**63)) for one in classes)


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise DataError(f"{where}: must be a list, got {shown(value)}")
    return value


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be a mapping, got {shown(value)}")
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: must be text, got {shown(value)}")
    value.encode("utf-8")  # a ValueError for half a character, which no file could hold
    return value


def _texts(where: str, value: Any) -> tuple[str, ...]:
    return tuple(_text(where, one) for one in _list(where, value))


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{where}: must be a finite number, got {shown(value)}")
    return float(value)


def _whole(where: str, value: Any, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise DataError(f"{where}: must be a whole number of 64 bits and at least {least}, got {shown(value)}")
    return value


def _truth(where: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise DataError(f"{where}: must be true or false, got {shown(value)}")


def _sizes(where: str, value: Any) -> None:
    for size in _list(where, value):
        _whole(where, size, least=1)


def _module(where: str, value: Any) -> None:
    """Let a class be named in a file of the present folder, and nowhere else."""
    if Path(_text(where, value)).name != value:
        raise DataError(f"{where}: must be FILE:Class without a folder, got {shown(value)}")


_SETTINGS: Mapping[str, Callable[[str, Any], Any]] = {
    "intercept": _truth,
    "offset": _number,
    "unit": _number,
    "hidden": _sizes,
    "activation": _text,
    "module": _module,
    "arguments": _mapping,
}
"""What an architecture may be told in a file, and what checks it."""
