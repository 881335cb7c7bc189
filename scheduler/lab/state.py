"""What is known of a lab beyond the process that made it: one JSON file in a folder of the user's own."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from scheduler.errors import UserError, unknown
from scheduler.lab.plan import LabNode, LabPlan
from workers.model import write_json
from workers.reading import DOCUMENT_BYTES, read_bytes

ROOT = Path("/tmp")  # noqa: S108  (Ray's sockets lie below, whose paths may have 107 characters: TMPDIR is often long)
STATE_FILE, LOCK_FILE, TOKEN_FILE = "lab.json", "lock", "token"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,11}")
DEFAULT_NAME = "lab"


@dataclass(frozen=True)
class ProcessId:
    """A process: its id may come again, the time at which it was started does not."""

    pid: int
    started_s: float

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Return that of a process that is there."""
        return cls(pid, psutil.Process(pid).create_time())

    def is_alive(self) -> bool:
        """Say whether it still runs."""
        try:
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - self.started_s) < 1.0
        except psutil.Error:
            return False


@dataclass(frozen=True)
class NodeState:
    """A node and what it is held to at present: a part of its processors, a bandwidth, and whether it is cut off."""

    node: LabNode
    factor: float = 1.0
    mbit_per_s: float = 0.0
    is_cut: bool = False

    @property
    def processors(self) -> float:
        """Return the processors that it may use now."""
        return self.node.processors * self.factor


@dataclass(frozen=True)
class LabState:
    """A lab.

    Attributes
    ----------
    id
        Drawn for this lab; all that it makes is called ``thing`` or marked with it, so that this is written first.
    owner, is_bound, is_up
        The process that makes it; whether it ends with it; whether it is complete.
    isolated
        Whether nodes have namespaces and control groups, or lie side by side.
    port
        Of the head.
    subnet
        The first three numbers of its addresses, empty until chosen.
    queues
        The kinds of queue that the kernel knows (``shaping``).
    unit
        As in ``LabPlan``.
    notes
        What is not as the cluster file has it.
    """

    id: str
    name: str
    owner: ProcessId
    is_bound: bool
    isolated: bool
    head: LabNode
    nodes: tuple[NodeState, ...]
    unit: float
    port: int = 0
    subnet: str = ""
    queues: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_up: bool = False

    @classmethod
    def begin(cls, name: str, plan: LabPlan, isolated: bool, is_bound: bool) -> LabState:
        """Return the state of a lab of which nothing is made yet; this process is its owner."""
        nodes = tuple(NodeState(node, mbit_per_s=node.mbit_per_s) for node in plan.nodes)
        owner = ProcessId.of(os.getpid())
        return cls(secrets.token_hex(3), name, owner, is_bound, isolated, plan.head, nodes, plan.unit)

    @property
    def address(self) -> str:
        """Return ``HOST:PORT`` of the head."""
        return f"{self.head.address}:{self.port}"

    @property
    def all_nodes(self) -> tuple[LabNode, ...]:
        """Return the head and the other nodes."""
        return (self.head, *(one.node for one in self.nodes))

    def thing(self, number: int | None = None) -> str:
        """Return what the bridge is called, or a node's namespace, interface and control group."""
        return f"ap{self.id}" if number is None else f"ap{self.id}-{number}"

    def node(self, name: str) -> NodeState:
        """Return a node by its name, or the beginning of it.

        Raises
        ------
        UserError
            If there is no such node, or several; the head is none that can be changed.
        """
        names = [one.node.name for one in self.nodes]
        matching = [one for one in self.nodes if one.node.name == name] or [
            one for one in self.nodes if name and one.node.name.startswith(name)
        ]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise UserError(f"node '{name}' may be any of {', '.join(one.node.name for one in matching)}: write more")
        if name == self.head.name:
            raise UserError(f"'{name}' is the head, which is left as it is. The other nodes are {', '.join(names)}.")
        raise UserError(unknown("node", name, names))

    def at(self, subnet: str) -> LabState:
        """Return the lab with addresses in ``subnet``."""
        plan = LabPlan(self.head, tuple(one.node for one in self.nodes)).at(subnet)
        nodes = tuple(replace(one, node=node) for one, node in zip(self.nodes, plan.nodes, strict=True))
        return replace(self, subnet=subnet, head=plan.head, nodes=nodes)

    def with_node(self, changed: NodeState) -> LabState:
        """Return the lab with one of its nodes changed."""
        nodes = tuple(changed if one.node.name == changed.node.name else one for one in self.nodes)
        return replace(self, nodes=nodes)


_STATE = TypeAdapter(LabState)


def home() -> Path:
    """Return the folder of this user's labs, which nobody else may look into.

    Raises
    ------
    UserError
        If it is there already and somebody else's, or there are no users as on Unix.
    """
    if not hasattr(os, "getuid"):
        raise UserError("a lab needs Linux or macOS: what it starts is known by its user and held by signals")
    folder = ROOT / f"apportion-lab-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise UserError(f"{folder} must be a folder of your own that nobody else may enter: remove it, or chmod 700 it")
    return folder


def folder_of(name: str) -> Path:
    """Return the folder of the lab ``name``, which need not be there.

    Raises
    ------
    UserError
        If labs cannot be called so.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"a lab's name has 1 to 12 small letters, digits and '-', which is not the first, got {name!r}")
    return home() / name


@contextmanager
def locked(name: str = "") -> Iterator[None]:
    """Hold the lock of a lab's state, or of what all labs of this user share."""
    import fcntl  # noqa: PLC0415  (there is none on Windows, where there are no labs)

    with (folder_of(name) if name else home()).joinpath(LOCK_FILE).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def load(name: str) -> LabState | None:
    """Return the state of a lab, None if there is none."""
    try:
        return _STATE.validate_json(read_bytes(folder_of(name) / STATE_FILE, DOCUMENT_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{folder_of(name) / STATE_FILE} cannot be read: {error.strerror or error}") from None
    except ValidationError as error:
        path = folder_of(name) / STATE_FILE
        what = error.errors()[0]["msg"]
        raise UserError(f"{path} is not of this version of apportion, end the lab with that version: {what}") from None


def readable(name: str) -> LabState | None:
    """Return the state of a lab, None if there is none that this version of us can read."""
    try:
        return load(name)
    except UserError:
        return None


def names() -> list[str]:
    """Return the names of this user's labs, whole or not."""
    return sorted(path.parent.name for path in home().glob(f"*/{STATE_FILE}"))


def save(state: LabState) -> LabState:
    """Write a lab's state, whole or not at all, and return it."""
    folder = folder_of(state.name)
    folder.mkdir(mode=0o700, exist_ok=True)
    write_json(folder / STATE_FILE, _STATE.dump_python(state, mode="json"))
    return state


def change(name: str, changed: Callable[[LabState], LabState]) -> LabState:
    """Change a lab's state while nobody else does, and return it.

    Raises
    ------
    UserError
        If there is no such lab.
    """
    found(name)
    with locked(name):
        return save(changed(found(name)))


def found(name: str) -> LabState:
    """Return the state of a lab.

    Raises
    ------
    UserError
        If there is no such lab; the message names those that are there.
    """
    state = load(name)
    if state is None:
        there = f"there are {', '.join(names())}: choose with '--name'" if names() else "'apportion lab up' starts one"
        raise UserError(f"there is no lab called '{name}'; {there}")
    return state


def forget(name: str) -> None:
    """Remove the folder of a lab, and the state in it last."""
    folder = folder_of(name)
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != STATE_FILE:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def write_token(name: str) -> Path:
    """Draw the token of a lab, and write it where nobody else may read it."""
    path = folder_of(name) / TOKEN_FILE
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return path
