"""Some cases through the real command line, without Ray: exit codes, and what stands on stderr."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.fuzz.cases import Case
from benchmarks.fuzz.judging import Verdict
from benchmarks.fuzz.seeds import ROOT, models

LIMIT_S = 60.0
"""Of a command: Python and its libraries start within it on a busy machine."""

KINDS = ("job", "cluster", "trace", "csv", "libsvm", "model", "record", "npy")


def run_command(case: Case) -> Verdict:
    """Run the command that reads such a case, in its folder; good is 0 or 2 without a traceback."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        case.write(folder)
        command = [sys.executable, "-m", "scheduler", *_arguments(case, folder)]
        try:
            ended = subprocess.run(
                command, cwd=ROOT, capture_output=True, timeout=LIMIT_S, text=True, errors="replace", check=False
            )
        except subprocess.TimeoutExpired:
            return Verdict("finding", LIMIT_S, 0.0, f"{case.kind}: the command hangs")
    error = ended.stderr.strip()
    if ended.returncode not in (0, 2) or "Traceback" in error or (ended.returncode == 2 and not error):
        return Verdict("finding", 0.0, 0.0, f"{case.kind}: exit code {ended.returncode}", error[-3000:])
    return Verdict("accepted" if ended.returncode == 0 else "refused", 0.0, 0.0)


def _arguments(case: Case, folder: Path) -> list[str]:
    """Return a command that reads the case and starts no Ray; what could be run is simulated."""
    if case.kind == "job":
        return ["simulate", str(folder / "job.yaml"), "--cluster", str(ROOT / "cluster.yaml")]
    if case.kind == "cluster":
        (fleet,) = folder.glob("fleet.*")
        trace = folder / "jobs.jsonl"
        trace.write_text('{"apportion-trace": 1}\n{"id": "a", "cpu": 1, "work": 5}\n', encoding="utf-8")
        return ["simulate", "--trace", str(trace), "--cluster", str(fleet), "--patience", "60"]
    if case.kind == "trace":
        (trace,) = folder.glob("t.*")
        return ["simulate", "--trace", str(trace), "--cluster", str(ROOT / "cluster.yaml"), "--patience", "60"]
    if case.kind == "record":
        return ["replay", str(folder)]
    if case.kind == "model":
        return ["predict", str(folder), str(folder / "rows.csv"), "--json"]
    (data,) = folder.glob("t.*")
    saved = folder / "saved"
    saved.mkdir()
    Case("model", random.Random(case.option).choice(models()), 0).write(saved)  # noqa: S311
    return ["predict", str(saved), str(data)]
