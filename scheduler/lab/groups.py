"""Control groups that hold processes to a number of processors, of either version of the kernel's interface."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from scheduler.errors import RunFailedError

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 8_000
"""Short, so that calls of some tens of milliseconds already go at the node's pace."""

LEAST_QUOTA_US, MOST_PERIOD_US = 1_000, 1_000_000
"""The kernel's bounds."""

REMOVED_WITHIN_S = 10.0


def quota(processors: float) -> tuple[int, int]:
    """Return quota and period in microseconds; the period is longer where the quota would be too short."""
    period_us = min(MOST_PERIOD_US, max(PERIOD_US, int(LEAST_QUOTA_US / processors)))
    return max(LEAST_QUOTA_US, round(processors * period_us)), period_us


def cannot() -> str | None:
    """Say why processes cannot be held here, None if they can."""
    if (ROOT / "cgroup.controllers").exists():
        if "cpu" not in (ROOT / "cgroup.controllers").read_text().split():
            return f"the control groups in {ROOT} have no controller 'cpu'"
        try:
            _hand_down("cpu")
        except OSError as error:
            return f"the control groups in {ROOT} cannot be used: {error.strerror}"
        return None
    if not (ROOT / "cpu" / "cpu.cfs_quota_us").exists() or not (ROOT / "cpuacct").exists():
        return f"there are no control groups for processors in {ROOT}"
    return None if os.access(ROOT / "cpu", os.W_OK) else f"{ROOT / 'cpu'} cannot be written"


def _hand_down(controller: str) -> None:
    """Let groups below the root use a controller; raises ``OSError`` where that cannot be, as in some containers."""
    control = ROOT / "cgroup.subtree_control"
    if controller not in control.read_text().split():
        control.write_text(f"+{controller}")


class Group:
    """A control group by its name, which may not be there yet."""

    def __init__(self, name: str) -> None:
        self._is_v2 = (ROOT / "cgroup.controllers").exists()
        controllers = ("",) if self._is_v2 else ("cpu", "cpuacct")
        self._folders = list(dict.fromkeys((ROOT / controller).resolve() / name for controller in controllers))

    @property
    def members(self) -> list[Path]:
        """Return the files to which a process writes its id to be in the group, and all that it starts."""
        return [folder / "cgroup.procs" for folder in self._folders]

    def make(self) -> None:
        """Make the group; nothing is held yet."""
        for folder in self._folders:
            folder.mkdir()

    def hold(self, processors: float) -> None:
        """Let the group use so many processors from now on."""
        quota_us, period_us = quota(processors)
        folder = self._folders[0]
        if self._is_v2:
            (folder / "cpu.max").write_text(f"{quota_us} {period_us}")
            return
        (folder / "cpu.cfs_quota_us").write_text("-1")  # else a new period may be refused for the old quota
        (folder / "cpu.cfs_period_us").write_text(str(period_us))
        (folder / "cpu.cfs_quota_us").write_text(str(quota_us))

    def used_s(self) -> float:
        """Return the seconds of processor time that the group has used."""
        if self._is_v2:
            lines = (self._folders[0] / "cpu.stat").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("usage_usec")) / 1e6
        return int((self._folders[-1] / "cpuacct.usage").read_text()) / 1e9

    def pids(self) -> list[int]:
        """Return the processes that are in the group, none if there is no group."""
        try:
            return [int(pid) for pid in self.members[0].read_text().split()]
        except FileNotFoundError:
            return []

    def remove(self) -> None:
        """Remove the group, once its processes have ended; it is no error if there is none.

        Raises
        ------
        RunFailedError
            If it cannot be removed.
        """
        until_s = time.monotonic() + REMOVED_WITHIN_S
        for folder in self._folders:
            while folder.exists():
                for part in (*sorted(folder.glob("**/"), reverse=True), folder):  # what ran there may have made groups
                    with suppress(OSError):
                        part.rmdir()
                if folder.exists() and time.monotonic() > until_s:
                    raise RunFailedError(f"{folder} cannot be removed: something still runs there")
                time.sleep(0.02)
