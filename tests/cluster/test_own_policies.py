"""A user's own policy, beside the job file: it works, and its defects are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.presets import resolve
from scheduler.errors import UserError
from scheduler.job_file import load_job
from scheduler.observer import Observer
from scheduler.preparation import prepare
from scheduler.runner import run_connected
from scheduler.session import Session
from workers.model import load_model

pytestmark = pytest.mark.cluster
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

HEAD = """
import numpy as np
from policies.interface import Assignment, Balance

class Mine(Balance):
    "Give everything to one worker."
    name = "mine"
    source = "a test"

    def divide(self, view):
"""

BODIES = {
    "works": ("return Assignment(np.zeros(len(view.shards), dtype=int))", None),
    "raises": ("return 1 / 0", "policy 'mine' raised ZeroDivisionError: division by zero"),
    "forgets": ("return Assignment(np.zeros(1, dtype=int))", "but there are 4 shards"),
    "invents": ("return Assignment(np.full(len(view.shards), 7))", "shard 3 is assigned to worker 7"),
    "nonsense": ("return 'equal'", "returned a str"),
}


def test_a_recipe_has_a_policy_and_an_output(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del session
    (tmp_path / "mine.py").write_text(f"{HEAD}        {BODIES['works'][0]}\n")
    monkeypatch.chdir(tmp_path)
    fields = {"training.rounds": 2, "policy": "mine:Mine", "output": "out"}
    finished = run_connected(prepare(load_job(EXAMPLES / "diabetes.yaml", fields)))
    assert [len(worker.shards) for worker in finished.summary.workers] == [4, 0]
    finished.save()
    assert load_model(tmp_path / "out").sha256 == finished.summary.model_sha256


@pytest.mark.parametrize("case", BODIES)
def test_a_policy_of_the_users_own(session: Session, tmp_path: Path, case: str) -> None:
    del session
    body, message = BODIES[case]
    (tmp_path / "mine.py").write_text(f"{HEAD}        {body}\n")
    job = load_job(EXAMPLES / "diabetes.yaml", {"training.rounds": 2})
    policy = resolve("mine:Mine", search=[tmp_path])
    if message is None:
        summary = run_connected(prepare(job), policy, Observer()).summary
        assert [len(worker.shards) for worker in summary.workers] == [4, 0]
        return
    with pytest.raises(UserError) as error:
        run_connected(prepare(job), policy, Observer())
    assert message in str(error.value)
