"""The embedded cluster of 8 logical processors that the tests in this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scheduler.session import Session, connect


@pytest.fixture(scope="package")
def session() -> Iterator[Session]:
    """Connect once to an embedded cluster."""
    with connect("local", cpus=8) as connected:
        yield connected
