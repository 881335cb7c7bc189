"""Reading a trace of any kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from scheduler import located_csv
from scheduler.errors import UserError, unknown
from scheduler.simulation.traces import alibaba, openb, philly, shockwave, trace_file
from scheduler.simulation.traces.trace import Trace

OPENB_NODES = "openb_node_list_gpu_node.csv"
"""The file with the nodes, beside the list of pods."""


def load_trace(path: Path, kind: str | None = None) -> Trace:
    """Return a trace; its ``kind``, one of ``KINDS``, is seen from its first line and its suffix if it is not given.

    Raises
    ------
    UserError
        If the kind is unknown, or the file is none of that kind.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(unknown("kind of trace", kind, KINDS))
    return KINDS[kind or _kind(path)](path)


def _kind(path: Path) -> str:
    """Return what kind of trace a file looks like."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix == ".jsonl" or trace_file.is_trace(path):
        return "apportion"
    if path.suffix == ".trace":
        return "shockwave"
    found = set(located_csv.columns(path))
    for kind, columns in COLUMNS.items():
        if found.issuperset(columns):
            return kind
    told = "; ".join(f"{kind}: {','.join(columns)}" for kind, columns in COLUMNS.items())
    raise UserError(
        f"{path}:1: looks like no trace that can be read. It may be a file that 'apportion simulate --record' wrote "
        f"(.jsonl), one of Shockwave (.trace), or a CSV with the columns of {told}"
    )


def _openb(path: Path) -> Trace:
    nodes = path.with_name(OPENB_NODES)
    return Trace(openb.read_workload(path), openb.read_fleet(nodes) if nodes.is_file() else None)


KINDS: Mapping[str, Callable[[Path], Trace]] = {
    "apportion": lambda path: Trace(trace_file.read_trace(path)),
    "openb": _openb,
    "shockwave": lambda path: Trace(shockwave.read_workload(path), shockwave.fleet()),
    "philly": lambda path: Trace(philly.read_workload(path)),
    "alibaba": alibaba.read_trace,
}
"""Kind of trace -> how it is read."""

COLUMNS = {"openb": (*openb.POD_COLUMNS, *openb.TIMES), "philly": philly.COLUMNS, "alibaba": alibaba.COLUMNS}
"""Kind of trace in a CSV -> the columns by which it is known."""
