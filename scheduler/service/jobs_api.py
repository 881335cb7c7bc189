"""Drivers through Ray's Jobs API: each is a job of Ray's with the user's files, our metadata and its own log."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import ray
from ray.job_submission import JobStatus, JobSubmissionClient

from scheduler.errors import UserError
from scheduler.service.records import CONNECTION, JobRecord
from scheduler.session import HOME, PACKAGES
from workers.model import atomic_bytes

MOST_PACKAGE_BYTES = 500 * 1024**2
"""What Ray takes at most."""

NOBODY_YET, LONGEST_START_S = "No available agent", 60.0

SKIPPED = ("__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules")


class JobsApi:
    """Starts, ends and looks after drivers; requests are made on threads, and nobody waits for them.

    Parameters
    ----------
    url
        Of the cluster's dashboard.
    packages
        The folder of what travels with jobs.
    """

    def __init__(self, url: str, packages: Path) -> None:
        self._url, self._packages = url, packages
        self._pool = ThreadPoolExecutor(4, "jobs-api")
        self._client: JobSubmissionClient | None = None
        self._lock = Lock()
        self._ended: dict[str, str] = {}
        self._asked: set[str] = set()
        self._starting: set[str] = set()  # Ray does not know these yet

    def _jobs(self) -> JobSubmissionClient:
        with self._lock:
            if self._client is None:
                self._client = JobSubmissionClient(self._url)
            return self._client

    def start(self, record: JobRecord) -> None:
        """Start the driver of a job's present attempt."""
        self._starting.add(record.driver)
        self._pool.submit(self._start, record)

    def _start(self, record: JobRecord) -> None:
        wishes = record.submission.wishes
        metadata = {
            "apportion_job": record.id,
            "tenant": wishes.tenant,
            "user": record.submission.user,
            "attempt": str(record.num_attempts),
            "name": record.id,
        }
        try:
            self._submit(
                entrypoint=f"{sys.executable} -m scheduler drive {record.id} --attempt {record.num_attempts}",
                submission_id=record.driver,
                runtime_env={"working_dir": str(self._package(record.submission.package))},
                metadata=metadata,
            )
        except Exception as error:  # noqa: BLE001  (whatever it is, this attempt is over)
            self._ended[record.driver] = f"Ray's Jobs API did not start its driver: {error}"
        finally:
            self._starting.discard(record.driver)

    def _submit(self, **request: Any) -> None:
        """Hand a driver in; a head that has just been started has nobody yet who takes it."""
        until_s = time.monotonic() + LONGEST_START_S
        while True:
            try:
                self._jobs().submit_job(**request)
            except RuntimeError as error:
                if NOBODY_YET not in str(error) or time.monotonic() > until_s:
                    raise
                time.sleep(1.0)
            else:
                return

    def _package(self, sha256: str) -> Path:
        return self._packages / f"{sha256}.zip" if sha256 else self._own

    @cached_property
    def _own(self) -> Path:
        """The package of a job that brings no files: our own code, which stays what it is while this runs."""
        content = packed(None)
        return keep(self._packages / f"own-{hashlib.sha256(content).hexdigest()[:16]}.zip", content)

    def stop(self, record: JobRecord) -> None:
        """End a driver's process."""
        if not record.submission.is_driven:
            self._pool.submit(self._stop, record.driver)

    def _stop(self, driver: str) -> None:
        try:
            self._jobs().stop_job(driver)
        except (RuntimeError, OSError):
            return  # it is not there, or the dashboard is not: it is looked after again

    def ended(self, suspects: Sequence[str]) -> Mapping[str, str]:
        """Return the drivers that are known to have ended, and what is told of it; ``suspects`` are looked after."""
        for driver in suspects:
            if driver not in self._asked | self._starting and driver not in self._ended:
                self._asked.add(driver)
                self._pool.submit(self._look, driver)
        return self._ended

    def has_left(self, record: JobRecord) -> bool:
        """Say whether the client that drives this job is known to Ray to be gone."""
        return record.submission.is_driven and _has_left(record.driver)

    def _look(self, driver: str) -> None:
        try:
            if driver.startswith(CONNECTION):
                if _has_left(driver):
                    self._ended[driver] = "its driver's process has ended"
                return
            info = self._jobs().get_job_info(driver)
            if info.status in (JobStatus.FAILED, JobStatus.STOPPED, JobStatus.SUCCEEDED):
                last = [line for line in (info.message or "").splitlines() if line.strip()][-1:]  # of its log
                self._ended[driver] = ": ".join([f"its driver's process has {info.status.value.lower()}", *last])[:500]
        except RuntimeError as error:
            if "does not exist" in str(error):
                self._ended[driver] = "its driver is not known to Ray any more"
        except OSError:
            pass  # the dashboard does not answer: asked again
        finally:
            self._asked.discard(driver)


def _has_left(driver: str) -> bool:
    """Say whether a client's connection has ended. Ray has no public call for it."""
    name = driver.removeprefix(CONNECTION)
    return any(job["IsDead"] for job in ray._private.state.state.job_table() if job["JobID"] == name)


def packed(folder: Path | None) -> bytes:
    """Return our packages, and a user's folder, as a ZIP; equal files give equal bytes.

    Raises
    ------
    UserError
        If it is larger than what Ray takes.
    """
    files: dict[str, Path] = {} if folder is None else dict(_files(folder, ""))
    for name in PACKAGES:
        files |= dict(_files(HOME / name, f"{name}/"))
    total = sum(path.stat().st_size for path in files.values())
    if total > MOST_PACKAGE_BYTES:
        raise UserError(
            f"{folder}: {total / 1024**2:,.0f} MiB would travel with the job, at most "
            f"{MOST_PACKAGE_BYTES / 1024**2:g} can: "
            "name a smaller folder (--working-dir), and put large data where the cluster sees it"
        )
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name), files[name].read_bytes(), zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _files(folder: Path, prefix: str) -> list[tuple[str, Path]]:
    """Return the files of a folder by the names that they travel under, but hidden ones."""
    found = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one not in SKIPPED and not one.startswith("."))
        for name in names:
            path = Path(where) / name
            if not name.startswith(".") and not name.endswith(".pyc") and path.is_file():
                found.append((prefix + path.relative_to(folder).as_posix(), path))
    return found


def keep(path: Path, content: bytes) -> Path:
    """Write a package, whole or not at all, and return its path."""
    with atomic_bytes(path) as file:
        file.write(content)
    return path


def logs_of(url: str) -> Any:
    """Return a client of the Jobs API at an address, which reads drivers' logs."""
    return JobSubmissionClient(url)
