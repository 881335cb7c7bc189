"""One Ray cluster for the whole test session, with a home folder and a token of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure: no test has a deadline.
settings.register_profile("apportion", deadline=None)
settings.load_profile("apportion")


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user's home and cluster out of the tests."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            patch.delenv(name, raising=False)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield home


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of public data; tests that need it are skipped where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("APPORTION_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"public data is absent: {folder} (set APPORTION_DATA)")
    return folder
