"""The service from outside its cluster: a short job of Ray's asks, and its log has the answer.

A laptop sees no more of a remote cluster than its dashboard's address, through which the Jobs API takes jobs. What
it asks travels in an environment variable, and files in the job's ``working_dir``.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ray.job_submission import JobStatus, JobSubmissionClient

from policies.interface import PolicyError
from scheduler.errors import RunFailedError, UserError
from scheduler.service.client import find_service, hand_over, the_service
from scheduler.service.jobs_api import packed
from scheduler.session import connect
from workers.errors import DataError

QUESTION = "APPORTION_QUESTION"
MARK = "apportion-answer: "
LOOK_S = 0.3
WITHIN_S = 180.0


class Gateway:
    """Asks the service of a remote cluster; it is started with the first submission.

    Parameters
    ----------
    url
        Of the cluster's dashboard: ``http://HOST:8265``.
    folder
        What travels with a submission, beside our packages.
    """

    def __init__(self, url: str, folder: Path | None = None) -> None:
        self.url, self._folder = url, folder
        for name in ("ray", "ray.dashboard.modules.dashboard_sdk"):  # they would tell of every upload
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            self._jobs = JobSubmissionClient(url)
        except Exception as error:  # noqa: BLE001  (Ray raises whatever its HTTP client does)
            raise UserError(f"no Ray dashboard answers at {url}: {error}") from None

    def ask(self, method: str, *values: Any) -> Any:
        """Return the service's answer; raises ``UserError`` and ``RunFailedError`` as ``ServiceClient.ask``."""
        question = base64.b64encode(json.dumps([method, values]).encode()).decode()
        with tempfile.TemporaryDirectory(prefix="apportion-") as scratch:
            files = Path(scratch) / "files.zip"
            files.write_bytes(packed(self._folder))
            job = self._jobs.submit_job(
                entrypoint="python -m scheduler.service.gateway",
                runtime_env={"working_dir": str(files), "env_vars": {QUESTION: question}},
                metadata={"apportion": method},
            )
        return self._answer(job)

    def _answer(self, job: str) -> Any:
        until_s = time.monotonic() + WITHIN_S
        while (status := self._jobs.get_job_status(job)) in (JobStatus.PENDING, JobStatus.RUNNING):
            if time.monotonic() > until_s:
                raise RunFailedError(f"the cluster at {self.url} has not answered for {WITHIN_S:g} s (Ray job {job})")
            time.sleep(LOOK_S)
        log = self._jobs.get_job_logs(job)
        line = next((line for line in reversed(log.splitlines()) if line.startswith(MARK)), None)
        if line is None:
            told = log.strip().splitlines()[-1:] or [str(status)]
            raise RunFailedError(f"the cluster at {self.url} gave no answer (Ray job {job}): {told[0]}")
        found = json.loads(base64.b64decode(line.removeprefix(MARK)))
        if found["error"] is not None:
            raise (UserError if found["error"] == "bad input" else RunFailedError)(found["answer"])
        return found["answer"]


def answered(method: str, values: list[Any]) -> dict[str, Any]:
    """Ask the service of the cluster that this runs in, and return what it says or raises as plain data."""
    try:
        with connect():
            client = the_service() if method == "submit" else find_service()
            if client is None:
                raise UserError("no scheduler service runs on the cluster: the first 'apportion submit' starts it")
            if method == "submit" and values[0]["package"] == "":
                values[0]["package"] = hand_over(client, Path.cwd())
            return {"error": None, "answer": client.ask(method, *values)}
    except (UserError, DataError, PolicyError) as error:
        return {"error": "bad input", "answer": str(error)}
    except RunFailedError as error:
        return {"error": "failed", "answer": str(error)}


if __name__ == "__main__":
    found = answered(*json.loads(base64.b64decode(os.environ[QUESTION])))
    sys.stdout.write(f"{MARK}{base64.b64encode(json.dumps(found).encode()).decode()}\n")
