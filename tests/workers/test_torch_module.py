"""PyTorch modules: the same numbers as our own layers, pure, refused where they cannot be, saved without code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learning_cases import classification, cut, fused, learn, problem_for
from scipy.sparse import csr_array

from workers.architectures import Mlp, TorchModule
from workers.choice import Wishes, choose
from workers.columns import Columns
from workers.data.rows import Rows
from workers.errors import DataError
from workers.exact_sum import Floats
from workers.kernels import FAST
from workers.model import Model, load_model
from workers.objectives import OBJECTIVES
from workers.problem import Problem
from workers.user_module import load_class, read_source
from workers.wire import decode, encode

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'apportion[torch]'")

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, inputs, outputs, width=8):
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.last = nn.Linear(width, outputs)

    def forward(self, rows):
        return self.last(torch.tanh(self.first(rows)))

class Dropping(Net):
    def forward(self, rows):
        return nn.functional.dropout(super().forward(rows), 0.5)

class Normed(Net):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.norm = nn.BatchNorm1d(8)

class Mixing(Net):
    def forward(self, rows):
        answers = super().forward(rows)
        return answers - answers.mean(dim=0)

class Wide(Net):
    def forward(self, rows):
        return self.first(rows)

class Frozen(Net):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.first.requires_grad_(False)
        self.unused = nn.Linear(2, 2)

class Lazy(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, outputs))

    def forward(self, rows):
        return self.layers(rows)

class Empty(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, rows):
        return rows[:, :1].expand(-1, self.outputs)

class NoModule:
    def __init__(self, inputs, outputs):
        pass
"""
COLUMNS = Columns(np.array([0.5, 100.0, 0.0]), np.array([2.0, 30.0, 0.01]))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Be in a folder with a module of a user's own; forget it afterwards."""
    (tmp_path / "own_net.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_net", None)


def module(name: str = "Net", outputs: int = 3, **arguments: object) -> TorchModule:
    return TorchModule(3, outputs, True, f"own_net:{name}", arguments)


def as_mlp(own: TorchModule, parameters: Floats) -> tuple[Mlp, Floats]:
    """Return our own layers with the parameters of a ``Net``."""
    arrays = own.to_arrays(parameters, Columns.raw(3))
    mlp = Mlp(3, own.num_outputs, True, (8,), "tanh")
    named = {
        f"layer_{number}.{ours}": arrays[f"{layer}.{theirs}"].T
        for number, layer in ((1, "first"), (2, "last"))
        for ours, theirs in (("weights", "weight"), ("intercepts", "bias"))
    }
    return mlp, mlp.from_arrays(named, Columns.raw(3))


def problem_of(own: TorchModule, objective: str = "softmax") -> tuple[Problem, Rows]:
    X, y = classification(3 if objective == "softmax" else 2, 60)
    problem = problem_for(X, y, 4, objective, l2=0.01)
    return replace(problem, architecture=own, columns=COLUMNS), Rows(X, y)


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_and_gradients_are_those_of_our_own_layers(objective: str, weighted: bool) -> None:
    own = module(outputs=3 if objective == "softmax" else 1)
    problem, rows = problem_of(own, objective)
    rows = replace(rows, weights=np.linspace(0.5, 2.0, len(rows)) if weighted else None)
    parameters = problem.start()
    mlp, theirs = as_mlp(own, parameters)
    loss, gradient = problem.loss_and_gradient(parameters, rows)
    their_loss, their_gradient = replace(problem, architecture=mlp).loss_and_gradient(theirs, rows)
    assert loss == pytest.approx(their_loss, rel=1e-10)
    np.testing.assert_allclose(as_mlp(own, gradient)[1], their_gradient, rtol=1e-8, atol=1e-10)


def test_the_target_s_zero_and_unit_are_those_of_our_own_layers() -> None:
    own = replace(module(outputs=1), offset=50.0, unit=8.0)
    problem, rows = problem_of(own, "squared")
    parameters = problem.start()
    plain, theirs = as_mlp(replace(own, offset=0.0, unit=1.0), parameters)
    mlp = replace(plain, offset=50.0, unit=8.0)
    loss, gradient = problem.loss_and_gradient(parameters, rows)
    their_loss, their_gradient = replace(problem, architecture=mlp).loss_and_gradient(theirs, rows)
    assert loss == pytest.approx(their_loss, rel=1e-10)
    np.testing.assert_allclose(as_mlp(module(outputs=1), gradient)[1], their_gradient, rtol=1e-8, atol=1e-8)
    arrays = own.to_arrays(parameters, COLUMNS)
    np.testing.assert_allclose(module(outputs=1).margins(arrays, rows.X, FAST), problem.margins(parameters, rows.X))


def test_the_seed_decides_the_start_and_leaves_torchs_own_alone() -> None:
    own = module()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (own.start(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert torch.equal(before, torch.random.get_rng_state())


def test_threads_and_settings_are_put_back_and_change_no_bit() -> None:
    own = module()
    problem, rows = problem_of(own)
    parameters = problem.start()
    threads = torch.get_num_threads()
    try:
        found = []
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(problem.gradient(parameters, rows).tobytes())
            assert torch.get_num_threads() == number
        assert found[0] == found[1]
    finally:
        torch.set_num_threads(threads)
    assert not torch.are_deterministic_algorithms_enabled()


def test_single_precision_is_kept() -> None:
    own = module()
    X = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    Z, backward = own.forward(own.start(np.random.default_rng(0)), X, COLUMNS, FAST)
    assert Z.dtype == np.float32
    assert backward(np.ones_like(Z)).dtype == np.float64


def test_frozen_and_unused_parameters_stay() -> None:
    own = module("Frozen")
    problem, rows = problem_of(own)
    arrays = own.to_arrays(problem.gradient(problem.start(), rows) + problem.ridge, COLUMNS)
    for name in ("first.weight", "first.bias", "unused.bias"):
        assert not arrays[name].any(), name
    assert arrays["last.weight"].any()


def test_lazy_layers_come_to_be() -> None:
    assert module("Lazy").num_parameters == 3 * 4 + 4 + 4 + 4 + 4 * 3 + 3


def test_training_here_and_where_the_file_is_not() -> None:
    X, y = classification(3)
    own = module(width=6)
    problem = replace(problem_for(X, y, 4, "softmax", l2=0.01), architecture=own)
    choice = choose(problem, Wishes())
    assert (choice.solver, choice.options.server.name) == ("sgd", "adam")
    shards = cut(X, y, 4)
    outcome, training = learn(choice.applied(problem), shards, choice.solver, 80)
    assert outcome.metric[0] > 0.75
    blob = encode(choice.applied(problem))
    sys.modules.pop("own_net")
    Path("own_net.py").unlink()
    _, elsewhere = learn(decode(blob), shards, choice.solver, 80)
    assert fused(elsewhere).tobytes() == fused(training).tobytes()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Dropping", "returns something else each time, as Dropout does: a round must be a pure function"),
        ("Normed", r"has buffers \(norm.running_mean, .*not one of them; use LayerNorm"),
        ("Mixing", "outputs depend on the other rows of the batch"),
        ("Wide", r"must return 3 values for each row, shape \(rows, 3\); for 5 rows it returned \(5, 8\)"),
        ("Empty", "has no parameters to train"),
        ("NoModule", r"must be a torch.nn.Module, got a NoModule"),
        ("Nett", "has no class 'Nett'. Did you mean 'Net'"),
    ],
)
def test_what_is_no_pure_function_of_parameters_and_rows_is_refused(name: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        module(name)


def test_errors_of_the_users_code_are_told() -> None:
    with pytest.raises(DataError, match=r"Net\(3, 3, widht=3\), or a call of it, raised TypeError: .*widht"):
        module(widht=3)
    Path("broken.py").write_text("import torch\n1 / 0\n")
    with pytest.raises(DataError, match=r"broken.py failed to import: ZeroDivisionError"):
        load_class("broken:Net", read_source("broken:Net", Path()))
    assert "broken" not in sys.modules
    with pytest.raises(DataError, match=r"would shadow the module 'json', which is loaded already: rename the file"):
        load_class("json:Net", "class Net: pass")
    with pytest.raises(DataError, match="written 'module:Class', got 'own_net'"):
        read_source("own_net", Path())


def test_sparse_rows_are_refused() -> None:
    own = module()
    with pytest.raises(DataError, match=r"takes dense rows, but the data's are sparse: use 'model.hidden' instead"):
        own.forward(own.start(np.random.default_rng(0)), csr_array(np.eye(3)), COLUMNS, FAST)


def test_a_saved_model_needs_its_module_in_the_present_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = module(width=5)
    parameters = own.start(np.random.default_rng(0))
    arrays = own.to_arrays(parameters, COLUMNS)
    model = Model("m", OBJECTIVES["softmax"], own, ("a", "b", "c"), "t", ("x", "y", "z"), (), arrays, {})
    path = model.save(folder / "saved")
    X = np.random.default_rng(3).standard_normal((6, 3))
    assert load_model(path).margins(X).tobytes() == own.forward(parameters, X, COLUMNS, FAST)[0].tobytes()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    with pytest.raises(DataError, match=r"'own_net:Net' needs the file own_net.py in .*, and there is none"):
        load_model(path)
    (elsewhere / "own_net.py").write_text(SOURCE.replace("width, outputs)", "width, outputs, bias=False)"))
    with pytest.raises(DataError, match="do not match"):
        load_model(path)
