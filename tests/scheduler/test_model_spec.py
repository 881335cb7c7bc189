"""What a job file says of layers and modules: what is built, and what is refused, with its line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scheduler.errors import UserError
from scheduler.job_file import load_job
from scheduler.preparation import prepare
from workers.architectures import Linear, Mlp

JOB = """name: job
data: {bundled: iris}
model:
  objective: softmax
  %s
"""
NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, inputs, outputs, width):
        super().__init__(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))
"""


def job_with(folder: Path, line: str) -> Path:
    (folder / "job.yaml").write_text(JOB % line)
    return folder / "job.yaml"


def test_hidden_layers_make_a_perceptron(tmp_path: Path) -> None:
    prepared = prepare(load_job(job_with(tmp_path, "hidden: [5, 4]\n  activation: tanh\n  intercept: false")))
    assert prepared.problem.architecture == Mlp(4, 3, False, (5, 4), "tanh")
    assert prepared.solver == "sgd"
    assert prepare(load_job(job_with(tmp_path, "hidden: []"))).problem.architecture == Linear(4, 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hidden: [5, 0]", r"5: model\.hidden\.1: must be greater than or equal to 1, got 0"),
        ("hidden: [2.5]", r"5: model\.hidden\.0: must be a whole number"),
        ("hidden: [true]", r"5: model\.hidden\.0: must be a whole number"),
        ("hidden: 64", r"5: model\.hidden: must be a .*list, got 64"),
        ("activation: rely", r"5: model\.activation: unknown activation 'rely'\. Did you mean 'relu'"),
        (
            "torch_arguments: {width: [1, .inf]}",
            r"5: model\.torch_arguments: must be plain: text, finite numbers, .* got",
        ),
        ("torch_arguments: {widths: {1: 2}}", r"5: model\.torch_arguments: must be plain: .*mappings by text, got"),
        ("torch_arguments: {width: 3}", "'torch_arguments' are for 'torch', which is left out"),
    ],
)
def test_bad_layers_are_told_with_their_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"job\.yaml:{message}" if message[0] == "5" else message):
        load_job(job_with(tmp_path, line))


def test_modules_are_found_beside_the_job_file_or_missed_with_the_line(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'apportion[torch]'")
    (tmp_path / "spec_net.py").write_text(NET)
    try:
        line = "torch: 'spec_net:Net'\n  torch_arguments: {width: 6}"
        architecture = prepare(load_job(job_with(tmp_path, line))).problem.architecture
        assert architecture.num_parameters == (4 + 1) * 6 + (6 + 1) * 3
        assert architecture.describe() == {"intercept": True, "module": "spec_net.py:Net", "arguments": {"width": 6}}
        for line, message in (
            ("torch: spec_net:Nett", "5: model.torch: .*has no class 'Nett'. Did you mean 'Net'"),
            ("torch: absent:Net", "5: model.torch: 'absent:Net' needs the file absent.py in .*, and there is none"),
            ("torch: spec_net:Net\n  hidden: [3]", "give 'hidden' or 'torch', not both"),
        ):
            with pytest.raises(UserError, match=message):
                load_job(job_with(tmp_path, line))
    finally:
        sys.modules.pop("spec_net", None)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        UserError, match=r"5: model\.torch: a torch module needs PyTorch: pip install 'apportion\[torch\]'"
    ):
        load_job(job_with(tmp_path, "torch: net:Net"))
