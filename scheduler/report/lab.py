"""What is shown of a lab."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

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
        network = [f"{node.mbit_per_s:g} Mbit/s"] * bool(node.mbit_per_s) + [f"{node.latency_ms:g} ms"] * bool(
            node.latency_ms
        )
        held = ", ".join([f"{node.processors:.3g} processors", *(network if lab.isolated else [])])
        lines.append(f"  {node.name}: CPU {node.cpus}, GPU {node.gpus}; {held}")
    return escape("\n".join([*lines, *(f"note: {note}" for note in lab.notes)]))


def status_table(lab: LabStatus) -> Table:
    """Return a row for each node."""
    table = Table(title=f"Lab '{escape(lab.name)}' at {lab.address}", title_justify="left")
    for column in ("node", "type", "address", "state"):
        table.add_column(column)
    for column in ("processors", "in use", "Mbit/s", "latency", "bytes in", "bytes out", "processes"):
        table.add_column(column, justify="right")
    for node in lab.nodes:
        table.add_row(*map(escape, _cells(node)))
    table.caption = escape("\n".join(lab.notes)) or None
    table.caption_justify = "left"
    return table


def _cells(node: NodeStatus) -> list[str]:
    state = "cut off" if node.is_cut else ("alive" if node.is_alive else "dead")
    return [
        node.name,
        node.node_type,
        node.address,
        state,
        "all" if node.processors is None else f"{node.processors:.3g}",
        f"{node.processors_in_use:.2f}",
        "" if node.mbit_per_s is None else f"{node.mbit_per_s:g}",
        "" if node.latency_ms is None else f"{node.latency_ms:g} ms",
        "" if node.bytes_in is None else size(node.bytes_in),
        "" if node.bytes_out is None else size(node.bytes_out),
        f"{len(node.pids)}" + (f" ({node.pids[0]}...)" if node.pids else ""),
    ]
