"""Bridges, namespaces and interfaces by ``ip``, and what holds them by ``tc``."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

from scheduler.errors import RunFailedError
from scheduler.lab.shaping import DELAY, RATE

INSIDE = "eth0"
"""What a node's interface is called in its own namespace."""

TOOLS = {"ip": "iproute2", "tc": "iproute2"}
"""Programs, and the packages that have them."""


def cannot() -> str | None:
    """Say why there can be no namespaces here, None if there can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(sorted({TOOLS[tool] for tool in missing}))
        return f"there is no {' and no '.join(missing)} here (apt-get install {packages})"
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    granted = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), 16)
    net_admin, sys_admin = 1 << 12, 1 << 21
    if granted & net_admin and granted & sys_admin:
        return None
    return "this container may not make network namespaces (it lacks CAP_NET_ADMIN or CAP_SYS_ADMIN)"


def used_subnets() -> list[IPv4Network]:
    """Return the networks of all addresses and routes of this machine."""
    routes = json.loads(_run("ip", "-json", "-4", "route", "show", "table", "all"))
    addresses = json.loads(_run("ip", "-json", "-4", "address"))
    texts = [route["dst"] for route in routes if route["dst"] != "default"]
    texts += [f"{one['local']}/{one['prefixlen']}" for link in addresses for one in link.get("addr_info", [])]
    return [IPv4Network(text, strict=False) for text in texts]


def make_bridge(name: str, address: str) -> None:
    """Make a bridge that has an ``address`` of this machine in a /24."""
    _run("ip", "link", "add", name, "type", "bridge", "forward_delay", "0")
    _run(
        "ip",
        "link",
        "set",
        name,
        "address",
        "02:" + ":".join(f"{int(part):02x}" for part in ["0", *address.split(".")]),
    )
    _run("ip", "address", "add", f"{address}/24", "dev", name)
    _run("ip", "link", "set", name, "up")


def make_node(name: str, bridge: str, address: str) -> None:
    """Make a namespace and a pair of interfaces between it and the bridge; namespace and outer end have one name."""
    _run("ip", "netns", "add", name)
    _run("ip", "link", "add", name, "type", "veth", "peer", "name", INSIDE, "netns", name)
    _run("ip", "link", "set", name, "master", bridge, "up")
    _run("ip", "-n", name, "link", "set", "lo", "up")
    _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", INSIDE)
    _run("ip", "-n", name, "link", "set", INSIDE, "up")


def inside(name: str, command: Sequence[str]) -> list[str]:
    """Return a command that runs in a namespace."""
    return ["ip", "netns", "exec", name, *command]


def known_queues(interface: str) -> tuple[str, ...]:
    """Return which kinds of queue the kernel knows, by trying them on an interface that has none."""
    trials = {RATE: ("rate", "1gbit", "burst", "1mb", "limit", "1mb"), DELAY: ("delay", "1ms")}
    known = []
    for kind, words in trials.items():
        if _try("tc", "qdisc", "add", "dev", interface, "root", kind, *words):
            known.append(kind)
            _run("tc", "qdisc", "del", "dev", interface, "root")
    return tuple(known)


def shape(name: str, queues: Sequence[Sequence[str]]) -> None:
    """Give both ends of a node's pair of interfaces these queues in place of those that they have."""
    for where in (("dev", name), ("-netns", name, "dev", INSIDE)):
        *options, _, interface = where
        _try("tc", *options, "qdisc", "del", "dev", interface, "root")
        for words in queues:
            _run("tc", *options, "qdisc", "add", "dev", interface, *words)


def set_link(name: str, up: bool) -> None:
    """Pull a node's cable, or plug it in."""
    _run("ip", "link", "set", name, "up" if up else "down")


def bytes_moved(name: str) -> tuple[int, int]:
    """Return the bytes that came to a node and that left it."""
    counters = Path("/sys/class/net") / name / "statistics"
    came, left = (int((counters / f"{way}_bytes").read_text()) for way in ("tx", "rx"))  # seen from this end
    return came, left


def remove_node(name: str) -> None:
    """Remove a node's interfaces and namespace, whichever are there."""
    _try("ip", "link", "delete", name)
    if (Path("/run/netns") / name).exists():
        _run("ip", "netns", "delete", name)


def remove_bridge(name: str) -> None:
    """Remove a bridge if it is there."""
    _try("ip", "link", "delete", name)


def _try(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603


def _run(*command: str) -> str:
    """Run a command, and return what it printed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise RunFailedError(f"'{' '.join(command)}' failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
