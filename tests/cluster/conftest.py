"""The embedded cluster of 8 logical processors, and the head, that the tests in this folder share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.session import Session, connect

sys.path.insert(0, str(Path(__file__).parent))

from process_cases import head, nothing_goes_on

__all__ = ["head", "nothing_goes_on", "session"]


@pytest.fixture(scope="package")
def session() -> Iterator[Session]:
    """Connect once to an embedded cluster."""
    with connect("local", cpus=8) as connected:
        yield connected
