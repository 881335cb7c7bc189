"""A model in other people's formats predicts what it predicts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from scheduler.cli.main import app
from workers.architectures import Linear
from workers.errors import DataError
from workers.model import Model
from workers.objectives import OBJECTIVES

CLASSES: dict[str, Any] = {
    "logistic": ("no", "yes"),
    "hinge": (3, 7),
    "squared-hinge": (0, 1),
    "softmax": ("ant", "bee", "wasp"),
}
ROWS = np.random.default_rng(1).standard_normal((300, 4))


def model_of(objective: str, classes: Any = None) -> Model:
    classes = classes or CLASSES.get(objective)
    outputs = len(classes) if objective == "softmax" else 1
    random = np.random.default_rng(0)
    return Model(
        name="m",
        objective=OBJECTIVES[objective],
        architecture=Linear(4, outputs),
        feature_names=tuple("abcd"),
        target_name="t",
        classes=classes,
        columns=(),
        arrays={"weights": random.standard_normal((4, outputs)), "intercepts": random.standard_normal(outputs)},
        provenance={},
    )


MODELS = [*map(model_of, OBJECTIVES), model_of("softmax", (1, 2))]
NAMES = [f"{model.objective.name}-{model.intercepts.size}" for model in MODELS]


def probabilities(model: Model) -> Any:
    return model.objective.probabilities(model.margins(ROWS))  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_scikit_learn_predicts_the_same(model: Model) -> None:
    estimator = model.to_sklearn()
    assert type(estimator).__module__.startswith("sklearn.")
    if model.classes is None:
        np.testing.assert_allclose(estimator.predict(ROWS), model.predict(ROWS), rtol=1e-12)
    else:
        np.testing.assert_array_equal(estimator.predict(ROWS), model.predict(ROWS))
    if model.objective.name in ("logistic", "softmax"):
        np.testing.assert_allclose(estimator.predict_proba(ROWS), probabilities(model), atol=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_onnxruntime_predicts_the_same(model: Model) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("skl2onnx")
    session = onnxruntime.InferenceSession(model.to_onnx())
    answers = session.run(None, {"X": ROWS})
    if model.classes is None:
        np.testing.assert_allclose(answers[0][:, 0], model.predict(ROWS), rtol=1e-12)
    else:
        np.testing.assert_array_equal(answers[0], model.predict(ROWS))
    if model.objective.name in ("logistic", "softmax"):
        np.testing.assert_allclose(answers[1], probabilities(model), atol=1e-6)


def test_the_command_writes_what_the_model_gives(tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx")
    model = model_of("logistic")
    model.save(tmp_path / "run")
    done = CliRunner().invoke(app, ["export", str(tmp_path / "run"), "--onnx", str(tmp_path / "out" / "m.onnx")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "m.onnx").read_bytes() == model.to_onnx()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(DataError, match=r"pip install 'apportion\[onnx\]'"):
        model_of("squared").to_onnx()
