"""A user's own PyTorch module, beside the job file: it travels to the workers, and they change no bit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from policies.presets import resolve
from scheduler.job_file import load_job
from scheduler.observer import Observer
from scheduler.preparation import prepare
from scheduler.runner import run_connected
from scheduler.session import Session
from workers.model import load_model
from workers.sequential import train

pytestmark = pytest.mark.cluster
pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'apportion[torch]'")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "torch_module"


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    """Copy the example under names of its own: its module cannot be found anywhere but beside the job file."""
    (tmp_path / "residual_net.py").write_text((EXAMPLE / "net.py").read_text())
    text = (EXAMPLE / "job.yaml").read_text().replace("net:Residual", "residual_net:Residual")
    (tmp_path / "job.yaml").write_text(text)
    return tmp_path / "job.yaml"


def test_a_module_of_the_users_own_trains_on_workers_as_alone(
    session: Session, job_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del session
    changes = {"training.rounds": 4, "workers.count": 2, "output": str(job_file.parent / "runs")}
    finished = run_connected(prepare(load_job(job_file, changes)), resolve("random"), Observer())
    with threadpool_limits(limits=1):
        prepared = prepare(load_job(job_file, {"training.rounds": 4}))
        alone = train(prepared.training(), prepared.data.load(range(prepared.data.num_shards)))
    assert {name: array.tobytes() for name, array in alone.arrays.items()} == {
        name: array.tobytes() for name, array in finished.model.arrays.items()
    }
    finished.save(job_file.parent / "runs")
    sys.modules.pop("residual_net")
    monkeypatch.chdir(job_file.parent)
    assert load_model(job_file.parent / "runs").sha256 == finished.model.sha256
