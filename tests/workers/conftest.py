"""What the tests of learning share: one BLAS thread, and the helpers of ``learning_cases``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module", autouse=True)
def _one_blas_thread() -> Iterator[None]:
    """Compute as workers do: the last bits of a product depend on the number of threads."""
    with threadpool_limits(limits=1):
        yield
