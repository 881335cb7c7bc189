"""Every example loads, or says what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from policies.presets import resolve
from scheduler.errors import UserError
from scheduler.job_file import load_job

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_loads_or_names_the_file_that_it_needs(path: Path) -> None:
    data = yaml.safe_load(path.read_text())["data"]
    files = [path.parent / data[kind] for kind in ("csv", "npy", "npz") if kind in data]
    absent = [file for file in files if not file.is_file()]
    if absent:
        with pytest.raises(UserError, match="no such file: ") as caught:
            load_job(path)
        assert str(absent[0]) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1, "something else is wrong too"
        return
    job = load_job(path)
    assert resolve(job.policy, search=[path.parent]).balance


def test_there_are_examples() -> None:
    assert EXAMPLES
