"""The model: what it predicts, and that a file which is not whole is never mistaken for one."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workers.model
from workers.architectures import Linear
from workers.data.source import Column
from workers.errors import DataError
from workers.model import (
    FORMAT_VERSION,
    MODEL_FILE,
    WEIGHTS_FILE,
    Model,
    atomic_text,
    load_model,
    write_bytes,
    write_json,
)
from workers.objectives import OBJECTIVES


def model_of(objective: str = "softmax", seed: int = 0) -> Model:
    outputs = 3 if objective == "softmax" else 1
    random = np.random.default_rng(seed)
    classes = {"softmax": ("ant", "bee", "wasp ü"), "logistic": (3, 7), "squared": None}[objective]
    return Model(
        name="insects",
        objective=OBJECTIVES[objective],
        architecture=Linear(3, outputs),
        feature_names=("length", "color=red", "color=blue"),
        target_name="species",
        classes=classes,  # type: ignore[arg-type]
        columns=(Column(0, "length"), Column(2, "color", ("red", "blue"))),
        arrays={"weights": random.standard_normal((3, outputs)), "intercepts": random.standard_normal(outputs)},
        provenance={"data_sha256": "ab", "rounds": 12, "metric": 0.1},
    )


ROWS = np.random.default_rng(1).standard_normal((20, 3))


@pytest.mark.parametrize("objective", ["squared", "logistic", "softmax"])
def test_what_is_saved_is_loaded(objective: str, tmp_path: Path) -> None:
    model = model_of(objective)
    path = model.save(tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / MODEL_FILE
    for place in (path, path.parent):
        loaded = load_model(place)
        assert loaded.weights.tobytes() == model.weights.tobytes()
        assert loaded.intercepts.tobytes() == model.intercepts.tobytes()
        assert loaded.sha256 == model.sha256
        other = {**model.arrays, "weights": np.asfortranarray(model.weights)}
    assert replace(model, arrays=other, name="other").sha256 == model.sha256


# --- files that are not whole --------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the folder of a saved model."""
    model_of().save(tmp_path)
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    description = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
    (folder / MODEL_FILE).write_text(json.dumps({**description, **changes}), encoding="utf-8")


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_truncated_weights(saved: Path, size: int) -> None:
    content = (saved / WEIGHTS_FILE).read_bytes()
    (saved / WEIGHTS_FILE).write_bytes(content[:size])
    with pytest.raises(DataError, match=r"weights\.npz: does not match its checksum"):
        load_model(saved)


def test_any_flipped_byte(saved: Path) -> None:
    content = (saved / WEIGHTS_FILE).read_bytes()
    for position in range(0, len(content), 37):
        flipped = bytearray(content)
        flipped[position] ^= 1
        (saved / WEIGHTS_FILE).write_bytes(flipped)
        with pytest.raises(DataError, match="does not match its checksum"):
            load_model(saved)


def test_missing_weights(saved: Path) -> None:
    (saved / WEIGHTS_FILE).unlink()
    with pytest.raises(DataError, match=r"weights\.npz: no such file, but the model's description names it"):
        load_model(saved)


def test_a_newer_format(saved: Path) -> None:
    edit(saved, format_version=FORMAT_VERSION + 1)
    with pytest.raises(DataError, match="format_version is 2, this program reads 1: update apportion"):
        load_model(saved)


@pytest.mark.parametrize("text", ["", "{", "weights: 1", "\x00", "[" * 100_000, "[]", "3", '"model"', "{}"])
def test_what_is_no_description(saved: Path, text: str) -> None:
    (saved / MODEL_FILE).write_text(text)
    with pytest.raises(DataError, match=r"model\.json: not a model description"):
        load_model(saved)


def test_what_is_no_text(saved: Path) -> None:
    (saved / MODEL_FILE).write_bytes(b"\xff\xfe\x80")
    with pytest.raises(DataError, match="not a model description"):
        load_model(saved)


def test_no_model_at_all(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", tmp_path / MODEL_FILE):
        with pytest.raises(DataError, match=r"no such file; a finished run writes model\.json"):
            load_model(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": {"name": "hing"}},
        {"feature_names": None},
        {"columns": [{"position": 0}]},
        {"columns": 3},
        {"weights": {"file": WEIGHTS_FILE}},
        {"weights": None},
        {"classes": 5},
    ],
)
def test_damaged_descriptions(saved: Path, changes: dict[str, Any]) -> None:
    edit(saved, **changes)
    with pytest.raises(DataError, match=r"model\.json: incomplete or damaged"):
        load_model(saved)


def test_weights_that_do_not_match_the_description(saved: Path) -> None:
    edit(saved, feature_names=["one"], columns=[])
    with pytest.raises(DataError, match=r"arrays of shape weights \(3, 3\), intercepts \(3,\) do not match"):
        load_model(saved)
    edit(saved, feature_names=["a", "b", "c"], columns=[], model_sha256="0" * 64)
    with pytest.raises(DataError, match="do not match 'model_sha256'"):
        load_model(saved)


def test_a_description_cannot_name_a_file_elsewhere(saved: Path) -> None:
    elsewhere = saved / "elsewhere"
    model_of(seed=9).save(elsewhere)
    description = json.loads((saved / MODEL_FILE).read_text(encoding="utf-8"))
    edit(saved, weights={**description["weights"], "file": f"elsewhere/{WEIGHTS_FILE}"})
    assert load_model(saved).sha256 == model_of().sha256


# --- saving --------------------------------------------------------------------------------------------------


def test_saving_leaves_two_readable_files(tmp_path: Path) -> None:
    for seed in range(3):
        model_of(seed=seed).save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [MODEL_FILE, WEIGHTS_FILE]
    assert {oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()} == {"0o644"}
    assert load_model(tmp_path).sha256 == model_of(seed=2).sha256


def test_nothing_is_pickled(saved: Path) -> None:
    with zipfile.ZipFile(saved / WEIGHTS_FILE) as archive:
        assert sorted(archive.namelist()) == ["intercepts.npy", "weights.npy"]
        for name in archive.namelist():
            assert archive.read(name).startswith(b"\x93NUMPY") and b"'|O'" not in archive.read(name)[:128]
    with np.load(saved / WEIGHTS_FILE, allow_pickle=False) as arrays:
        assert {arrays[name].dtype for name in arrays.files} == {np.dtype("<f8")}


def test_a_save_cut_off_between_its_files_is_seen(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(path: Path, value: Any) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(workers.model, "write_json", cut_off)
    with pytest.raises(KeyboardInterrupt):
        model_of(seed=5).save(saved)
    with pytest.raises(DataError, match="does not match its checksum; the run that wrote it was cut off"):
        load_model(saved)


def test_a_save_cut_off_in_the_weights_leaves_the_old_model(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(file: Any, **arrays: Any) -> None:
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workers.model.np, "savez", cut_off)
    with pytest.raises(DataError, match=r"weights\.npz cannot be written: No space left"):
        model_of(seed=5).save(saved)
    assert load_model(saved).sha256 == model_of().sha256
    assert sorted(file.name for file in saved.iterdir()) == [MODEL_FILE, WEIGHTS_FILE]


def test_what_json_cannot_hold_leaves_no_file(tmp_path: Path) -> None:
    for value in (float("nan"), object()):
        with pytest.raises((ValueError, TypeError)):
            write_json(tmp_path / "value.json", {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_what_json_cannot_hold_replaces_nothing(saved: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        replace(model_of(seed=5), provenance={"rate": float("inf")}).save(saved)
    assert load_model(saved).sha256 == model_of().sha256


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old", encoding="utf-8")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == b"new"
    for target, reason in (
        ("pipe", "is no regular file"),
        (".", "is no regular file"),
        ("file/x", "file is no folder"),
    ):
        with pytest.raises(DataError, match=f"cannot be written: .*{reason}"):
            write_bytes(tmp_path / target, b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "pipe"]


def test_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.csv"
    with atomic_text(path) as file:
        file.write("a\r\nü\n")
        assert not path.exists()
    assert path.read_bytes() == "a\r\nü\n".encode()
    with pytest.raises(KeyboardInterrupt), atomic_text(path) as file:
        file.write("half")
        raise KeyboardInterrupt
    assert path.read_bytes() == "a\r\nü\n".encode()
    assert [file.name for file in path.parent.iterdir()] == ["table.csv"]
