"""What is shown of a lab."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from scheduler.lab.shaping import DELAY, RATE
from scheduler.lab.state import LabState
from scheduler.lab.status import LabStatus, NodeStatus
from scheduler.report.terminal import size


def plan_text(lab: LabState) -> str:
    """Return what a lab came to: its nodes, what each is held to, and what is not as the file has it."""
    lines = [f"lab '{lab.name}' is up at {lab.address}"]
    if lab.unit < 1:
        lines.append(f"all nodes do not fit: a CPU of speed 1 is {lab.unit:.3g} of a processor here")
    for one in lab.nodes:
        node = one.node
        held = [f"{node.processors:.3g} processors"]
        if lab.isolated and node.mbit_per_s and RATE in lab.queues:
            held.append(f"{node.mbit_per_s:g} Mbit/s")
        if lab.isolated and node.latency_ms and DELAY in lab.queues:
            held.append(f"{node.latency_ms:g} ms")
        lines.append(f"  {node.name}: CPU {node.cpus}, GPU {node.gpus}; {', '.join(held)}")
    return escape("\n".join([*lines, notes_text(lab.notes)]).rstrip())


def notes_text(notes: Sequence[str]) -> str:
    """Return what is not as the cluster file has it, a line for each."""
    return "\n".join(f"note: {note}" for note in notes)


def status_table(lab: LabStatus) -> Table:
    """Return a row for each node."""
    table = Table(title=f"Lab '{escape(lab.name)}' at {lab.address}", title_justify="left", title_style="")
    table.box, table.padding, table.pad_edge = SIMPLE_HEAD, (0, 1, 0, 0), False  # so that it fits into 80 columns
    for column in ("node", "address", "state"):
        table.add_column(column, overflow="fold")
    for column in ("CPU", "Mbit/s", "in", "out", "pid"):
        table.add_column(column, justify="right", overflow="fold")
    for node in lab.nodes:
        table.add_row(*map(escape, _cells(node)))
    return table


def _cells(node: NodeStatus) -> list[str]:
    state = ["cut off"] * node.is_cut + ["dead"] * (not node.is_alive)
    allowed = "" if node.processors is None else f"/{node.processors:.3g}"
    latency = f", {node.latency_ms:g} ms" if node.latency_ms else ""
    return [
        node.name,
        node.address,
        ", ".join(state) or "alive",
        f"{node.processors_in_use:.2f}{allowed}",
        "" if node.mbit_per_s is None else f"{node.mbit_per_s:g}{latency}",
        "" if node.bytes_in is None else size(node.bytes_in),
        "" if node.bytes_out is None else size(node.bytes_out),
        str(min(node.pids, default="")),
    ]
