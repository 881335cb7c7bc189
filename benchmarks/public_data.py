"""Where public data lie, and how to get them where they do not."""

from __future__ import annotations

import csv
import os
from pathlib import Path

DATA = Path(os.environ.get("APPORTION_DATA", Path(__file__).resolve().parents[1] / ".." / "shared" / "data"))
"""The folder of public data; the environment variable ``APPORTION_DATA`` says another."""

SOURCES = {
    "openb": "files openb_node_list_gpu_node.csv and openb_pod_list_default.csv of the folder data/csv of "
    "https://github.com/hkust-adsl/kubernetes-scheduler-simulator (Apache-2.0)",
    "shockwave": "a trace of the folder scheduler/traces/reproduce and file scheduler/tacc_throughputs.json of "
    "https://github.com/uw-mad-dash/shockwave (MIT)",
    "alibaba-minibatch": "files job_*_norm.csv of the folder cluster-trace-gpu-v2020/mini-batch-time/data of "
    "https://github.com/alibaba/clusterdata (CC BY 4.0)",
    "gavel": "file simulation_throughputs.json of the folder scheduler of "
    "https://github.com/stanford-futuredata/gavel (MIT)",
}
"""Folder -> where its files are published."""


class AbsentDataError(SystemExit):
    """A file of public data is not there; as the end of a program, the message says how to get it."""


def path(folder: str, name: str) -> Path:
    """Return the path of a file.

    Raises
    ------
    AbsentDataError
        If it is not there.
    """
    found = DATA / folder / name
    if not found.is_file():
        raise AbsentDataError(
            f"{found} is not there: put the {SOURCES[folder]} into a folder {folder!r}, and name the folder above it "
            "in APPORTION_DATA"
        )
    return found


def rows(folder: str, name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file, each by column."""
    with path(folder, name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
