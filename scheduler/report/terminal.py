"""A run in the terminal: its five steps, the tables of nodes and workers, the progress of the rounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from policies.interface import Policy
from scheduler.inventory import NodeView
from scheduler.observer import Observer
from scheduler.outputs import Summary, max_over_mean
from scheduler.preparation import Prepared
from scheduler.record_file import RECORD_FILE, in_ranges
from scheduler.run import Loss, RunResult, WorkerReport
from scheduler.session import Session
from workers.aggregation import SUM
from workers.modes import SYNCHRONOUS
from workers.outcome import RoundReport
from workers.record import Staleness

MAX_ROWS = 40
MAX_RANGES = 5
LOSS_LINES = 8


class TerminalObserver(Observer):
    """Prints a run as it goes on: a heading for each step, a progress bar for the rounds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._losses: list[tuple[int, float]] = []
        self._solver = ""
        self._objective = ""
        self._rule = SUM
        self._mode = SYNCHRONOUS.name
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rounds"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_interactive)
        self._task = self._progress.add_task("training", total=None)

    def _step(self, number: int, title: str) -> None:
        self._console.print(f"\n[bold]\\[{number}/5] {title}[/bold]", highlight=False)

    def close(self) -> None:
        """Take the progress bar away, whatever happened."""
        self._progress.stop()

    def connected(self, session: Session) -> None:
        """Say where the cluster is."""
        kind = "embedded Ray cluster" if session.embedded else "Ray cluster"
        dashboard = f", dashboard {session.dashboard_url}" if session.dashboard_url else ""
        self._console.print(f"{kind} at {escape(session.address)}{escape(dashboard)}", style="dim", highlight=False)
        if session.dashboard_url:
            self._console.print("the dashboard asks for the token that 'ray get-auth-token' prints", style="dim")

    def waits(self, reason: str) -> None:
        """Print why the job waits."""
        self._console.print(f"[dim]waiting for workers: {escape(reason)}[/dim]", highlight=False)

    def initialised(self, nodes: Sequence[NodeView], prepared: Prepared) -> None:
        """Print the nodes and what the data is."""
        data, info = prepared.data, prepared.data.info
        self._step(1, "Initialise nodes and data")
        self._console.print(nodes_table(nodes))
        kinds = f", {len(info.classes)} classes" if info.classes else ""
        self._console.print(
            f"{escape(prepared.job.name)}: {info.num_rows:,} rows x {info.num_features} features{kinds}, "
            f"target {escape(repr(info.target_name))}; {data.num_train:,} rows to train on, {data.num_test:,} to test",
            highlight=False,
        )

    def split(self, prepared: Prepared, policy: Policy, workers: Sequence[WorkerReport]) -> None:
        """Print which worker has which shards, and show the progress bar."""
        training = prepared.job.training
        self._solver, self._objective = prepared.solver, prepared.problem.objective.name
        self._rule = prepared.problem.options.aggregation.rule
        self._mode = prepared.problem.options.mode.name
        self._step(
            2, f"Split: {prepared.data.num_shards} shards over {len(workers)} workers, policy {escape(policy.name)}"
        )
        self._console.print(assignment_table(workers))
        self._step(3, f"Train on each: {self._solver} on its own shards, objective {self._objective}")
        if prepared.choice.reason:
            self._console.print(f"solver auto: {escape(prepared.choice.reason)}", highlight=False)
        if prepared.choice.remark:
            self._console.print(escape(prepared.choice.remark), highlight=False)
        self._progress.update(self._task, total=training.rounds)
        self._progress.start()

    def trained(self, report: RoundReport) -> None:
        """Move the progress bar."""
        if report.stage != self._solver:
            self._progress.update(self._task, description=report.stage)
            return
        description = "training"
        if report.loss is not None:
            self._losses.append((report.round, report.loss))
            description = f"loss {report.loss:.6g}"
        self._progress.update(self._task, completed=report.round, description=description)

    def restored(self, num_rounds: int) -> None:
        """Say what need not be computed again."""
        self._console.print(f"\n{num_rounds} rounds are restored from the run's checkpoint", highlight=False)

    def lost(self, loss: Loss) -> None:
        """Say who is gone."""
        self._console.print(f"note: {escape(str(loss))}; the others go on with its shards", highlight=False)

    def kept(self, output: Path) -> None:
        """Say how to go on."""
        self.close()
        self._console.print(f"what was done is kept: 'apportion resume {escape(str(output))}' goes on", highlight=False)

    def warned(self, text: str) -> None:
        """Say what a user should know."""
        self._console.print(f"note: {escape(text)}", style="yellow", highlight=False)

    def communicated(self, result: RunResult) -> None:
        """Print the losses, and what was sent."""
        self.close()
        if self._losses:
            self._console.print(loss_table(self._losses))
        self._console.print(f"stopped: {escape(result.outcome.reason)}", highlight=False)
        moved, seconds = result.bytes_moved, sorted(result.seconds_by_round)
        self._step(4, f"Communicate: the parameter server {self._does()}")
        median = f", median {1000 * seconds[len(seconds) // 2]:.2f} ms" if seconds else ""
        self._console.print(
            f"{result.outcome.rounds} rounds{median}; "
            f"{size(moved.shards)} of shards read, {size(moved.parameters)} of parameters sent, "
            f"{size(moved.updates)} of updates received; busiest worker {max_over_mean(result.workers):.2f}x the mean",
            highlight=False,
        )
        if result.num_copies:
            self._console.print(
                f"{result.num_copies:,} of {result.num_calls:,} calls were copies by idle workers of what was too slow",
                highlight=False,
            )
        if result.staleness is not None:
            self._console.print(staleness_line(result.staleness), highlight=False)

    def _does(self) -> str:
        if self._mode != SYNCHRONOUS.name:
            return f"applies the workers' updates, mode {self._mode}"
        does = "sums the workers' updates, exactly" if self._rule == SUM else f"takes the {self._rule} of all updates"
        return f"{does}, in any order"

    def fused(self, summary: Summary) -> None:
        """Print how good the model is and where it was saved."""
        self._step(5, "Fuse and evaluate")
        self._console.print(score_table(summary))
        self._console.print(f"model sha256 {summary.model_sha256}", highlight=False)
        record = "" if summary.staleness is None else f"{RECORD_FILE}, "
        self._console.print(
            f"saved in {escape(summary.output)}: model.json, weights.npz, {record}summary.json "
            f"({summary.seconds:.1f} s after the cluster was there)",
            highlight=False,
            soft_wrap=True,
        )


def staleness_line(staleness: Staleness) -> str:
    """Return how late updates were, and whether that is within the mode's bound."""
    bound = "no bound" if staleness.bound is None else f"the bound is {staleness.bound}"
    verdict = "" if staleness.bound_held else ", and was broken"
    return (
        f"staleness: at most {staleness.max} updates, {staleness.mean:.2f} on average; {staleness.clocks} clocks "
        f"behind ({bound}{verdict}); {staleness.num_dropped} calls dropped"
    )


def size(num_bytes: float) -> str:
    """Return bytes in the unit that suits them."""
    for unit in ("B", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.4g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.1f} GiB"


def _table(title: str, *columns: str, text: int = 1) -> Table:
    """Return an empty table; the first ``text`` columns are text, the others are numbers."""
    table = Table(title=title, title_justify="left", title_style="", header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < text else "right", overflow="fold")
    return table


def nodes_table(nodes: Sequence[NodeView]) -> Table:
    """Return both views of every node."""
    table = _table("Nodes (free / all)", "node", "processor", "CPU", "GPU", "memory", "physical", "load", text=2)
    for node in nodes[:MAX_ROWS]:
        logical, physical = node.logical, node.physical
        pairs = zip(logical.free, logical.capacity, strict=True)
        cpu, gpu, memory = (f"{free:g} / {all_:g}" for free, all_ in pairs)
        memory = f"{size(logical.free[2])} / {size(logical.capacity[2])}"
        name = escape(f"{logical.id[:8]} {logical.address}{' (head)' if logical.is_head else ''}")
        seen = ("no answer", "", "")
        if physical is not None:
            free = f"{physical.num_cpus} CPU, {size(physical.memory_free_bytes)} / {size(physical.memory_bytes)}"
            seen = (escape(physical.processor), free, f"{physical.load:.0%}")
        table.add_row(name, seen[0], cpu, gpu, memory, seen[1], seen[2])
    if len(nodes) > MAX_ROWS:
        table.caption = f"and {len(nodes) - MAX_ROWS} more"
    return table


def assignment_table(workers: Sequence[WorkerReport]) -> Table:
    """Return which worker has how much, and how fast it is."""
    table = _table("Assignment", "worker", "node", "shards", "rows", "memory", "probed rows/s", text=3)
    for number, worker in enumerate(workers[:MAX_ROWS]):
        shards = f"{len(worker.shards)}: {_ranges(worker.shards)}" if worker.shards else "none"
        speed = "-" if worker.probed_rows_per_s is None else f"{worker.probed_rows_per_s:,.0f}"
        table.add_row(
            f"worker-{number}", escape(worker.node[:8]), shards, f"{worker.rows:,}", size(worker.bytes), speed
        )
    if len(workers) > MAX_ROWS:
        table.caption = f"and {len(workers) - MAX_ROWS} more"
    return table


def _ranges(shards: Sequence[int]) -> str:
    """Return ``0-3, 7`` for shards 0, 1, 2, 3 and 7, cut after a few ranges."""
    ranges = in_ranges(shards).split(",")
    return ", ".join([*ranges[:MAX_RANGES], *["..."] * (len(ranges) > MAX_RANGES)])


def loss_table(losses: Sequence[tuple[int, float]]) -> Table:
    """Return the loss by round: the first ones, evenly spaced ones, and the last."""
    table = _table("Loss by round", "round", "loss", text=0)
    step = max(1, -(-len(losses) // LOSS_LINES))
    chosen = [*losses[:-1:step], *losses[-1:]]
    for round_, loss in chosen:
        table.add_row(str(round_), f"{loss:.8g}")
    return table


def score_table(summary: Summary) -> Table:
    """Return the model's metric, beside the exact optimum where there is one."""
    table = _table("", summary.metric_name, "train", "test")
    scores = [("this model", summary.metric)]
    if summary.optimum is not None:
        scores.append(("exact optimum", summary.optimum))
    for name, score in scores:
        table.add_row(name, f"{score.train:.6g}", "-" if score.test is None else f"{score.test:.6g}")
    if summary.optimum is not None and summary.optimum.train:
        gap = summary.metric.train / summary.optimum.train - 1.0
        table.add_row("gap", f"{gap:+.2e}", "")
    return table
