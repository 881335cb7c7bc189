"""Running a case, and judging what came of it, in a process that may die of it."""

from __future__ import annotations

import importlib
import os
import random
import resource
import signal
import tempfile
import time
import traceback
import warnings
from contextlib import chdir, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType

from benchmarks.fuzz.cases import Case, drawn, seeds_of
from benchmarks.fuzz.targets import TARGETS
from policies.interface import PolicyError
from scheduler.errors import RunFailedError, UserError
from workers.errors import DataError

LIMIT_S = 10.0
LIMIT_MB = 500.0
MOST_CHARACTERS = 16_000
"""Of a message."""


Name = tuple[str, int, int]
"""Kind, seed and number of a case."""


@dataclass(frozen=True)
class Verdict:
    """What came of a case: ``accepted``, ``refused``, or a finding that ``where`` sums up and ``told`` explains."""

    outcome: str
    took_s: float
    peak_mb: float
    where: str = ""
    told: str = ""
    after_mb: float = 0.0


class HangError(BaseException):
    """A case took too long."""


def judged(case: Case) -> Verdict:
    """Run a case in this process; it must have been prepared by ``guard``."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name, chdir(name):
        folder = Path(name)
        case.write(folder)
        before = {path.name for path in folder.iterdir()}
        _forget_peak()
        began_s = time.perf_counter()
        outcome, where, told = _outcome(case, folder)
        took_s, peak_mb, after_mb = time.perf_counter() - began_s, _mb("VmHWM:"), _mb("VmRSS:")
        made = {path.name for path in folder.iterdir()} - before - {"again.jsonl"}
    if outcome != "finding" and peak_mb > LIMIT_MB:
        outcome, where = "finding", f"{case.kind}: {peak_mb:.0f} MB"
    if outcome != "finding" and made:
        outcome, where = "finding", f"{case.kind}: made {sorted(made)}"
    return Verdict(outcome, took_s, peak_mb, where, told, after_mb)


def _outcome(case: Case, folder: Path) -> tuple[str, str, str]:
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        TARGETS[case.kind](folder, random.Random(case.option))  # noqa: S311
    except (UserError, DataError, PolicyError) as error:
        text = str(error)
        if not text.strip() or len(text) > MOST_CHARACTERS or "Traceback" in text:
            return "finding", f"{case.kind}: a message of {len(text)} characters", text[:2000]
        return "refused", "", text
    except RunFailedError as error:  # a replay may overflow: exit code 1, with its reason
        return ("refused", "", str(error)) if case.kind == "record" else ("finding", f"{case.kind}: {error!r}", "")
    except BaseException as error:  # noqa: BLE001  (whatever it is, it is a finding)
        return "finding", f"{case.kind}: {_place(error)}", "".join(traceback.format_exception(error))[-6000:]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    return "accepted", "", ""


def _place(error: BaseException) -> str:
    """Return what was raised, and where in our own code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/benchmarks/" not in frame.filename]
    ours = [one for one in frames if any(f"/{part}/" in one.filename for part in ("scheduler", "workers", "policies"))]
    last = (ours or frames or [None])[-1]
    return f"{type(error).__name__} in {'/'.join(last.filename.split('/')[-2:])}:{last.lineno}" if last else repr(error)


def guard() -> None:
    """Limit this process's memory, let a case that takes too long be interrupted, and keep warnings quiet."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise HangError(f"over {LIMIT_S:g} s")

    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, interrupt)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 30), resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return float(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def warm_up(kinds: list[str]) -> None:
    """Make the seeds, and read each once unbroken, so that the processes that are forked need not."""
    for kind in kinds:
        for files in seeds_of(kind):
            if kind == "parquet":  # its threads would not be there in a fork
                importlib.import_module("pyarrow.parquet")
                continue
            with tempfile.TemporaryDirectory() as name, chdir(name), suppress(DataError, UserError):
                Case(kind, files, 0).write(Path(name))
                TARGETS[kind](Path(name), random.Random(0))  # noqa: S311


class Child:
    """A forked process that judges case after case; one that dies or hangs is started again."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.first_mb = _mb("VmRSS:")
        self.connection, theirs = Pipe()
        self.pid = os.fork()
        if self.pid:
            theirs.close()
            return
        self.connection.close()
        _serve(theirs)

    def begin(self, name: Name) -> None:
        """Name a case to it."""
        self.began_s = time.monotonic()
        self.connection.send(name)

    @property
    def hangs(self) -> bool:
        """Whether not even the alarm has ended the case."""
        return time.monotonic() - self.began_s > LIMIT_S + 5.0

    def answer(self, name: Name) -> Verdict | None:
        """Return the verdict if there is one; a dead or hanging process is one, too."""
        if wait([self.connection], timeout=0):
            with suppress(EOFError, OSError):
                found: Verdict = self.connection.recv()
                if found.after_mb > self.first_mb + 150.0:  # what one case leaves behind is not the next one's
                    self.end()
                    self._start()
                return found
            how = f"died: {os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])}"
        elif self.hangs:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            how = "hangs in code that cannot be interrupted"
        else:
            return None
        self.connection.close()
        self._start()
        return Verdict("finding", time.monotonic() - self.began_s, 0.0, f"{name[0]}: {how}")

    def end(self) -> None:
        """End the process; closing the connection would not do, since later children hold copies of it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.connection.close()


def _serve(connection: Connection) -> None:
    """Judge cases until there are no more; never returns."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 1)
        os.dup2(devnull, 2)
        guard()
        while True:
            connection.send(judged(drawn(*connection.recv())))
    finally:  # the parent sees that it died
        os._exit(1)
