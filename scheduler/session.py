"""The connection to Ray: the only place that calls ``ray.init``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray import cloudpickle

from scheduler import authentication
from scheduler.authentication import Door
from scheduler.errors import UserError

PACKAGES = ("scheduler", "workers", "policies")
HOME = Path(__file__).resolve().parent.parent
NAMESPACE = "apportion"
HOW_TO_BE_LET_IN = (
    "set RAY_AUTH_MODE=token, and have the cluster's token (on its head: 'ray get-auth-token') "
    "in ~/.ray/auth_token or in RAY_AUTH_TOKEN"
)


@dataclass(frozen=True)
class Session:
    """A connection: where the cluster is, where its dashboard is, and whether it ends with this process."""

    address: str
    dashboard_url: str | None
    embedded: bool


def refuse_shadows(search: list[str] | None = None) -> None:
    """Refuse to start where another ``scheduler``, ``workers`` or ``policies`` would be imported instead of ours.

    Raises
    ------
    UserError
        Naming every culprit: a file or folder on the path, and the distribution that it belongs to.
    """
    folders = [Path(entry or ".").resolve() for entry in (sys.path if search is None else search)]
    culprits = [
        f"  - {other}{_owner(folder, name)}"
        for folder in folders
        for name in PACKAGES
        for other in (folder / name / "__init__.py", folder / f"{name}.py")
        if other.is_file() and not other.resolve().is_relative_to(HOME / name)
    ]
    if culprits:
        listed = "\n".join(dict.fromkeys(culprits))
        raise UserError(
            f"these would be imported in place of apportion's own packages, here or on the workers:\n{listed}\n"
            "rename or uninstall them, or start from another folder"
        )


def _owner(folder: Path, name: str) -> str:
    if folder.name not in ("site-packages", "dist-packages"):
        return ""
    owners = importlib.metadata.packages_distributions().get(name, [])
    return f" (from the installed distribution {', '.join(owners)})" if owners else ""


@contextmanager
def connect(address: str | None = None, cpus: int | None = None) -> Iterator[Session]:
    """Connect to the cluster at ``address`` (default: ``RAY_ADDRESS``), or start an embedded one with ``cpus``.

    Raises
    ------
    UserError
        If this process is connected already, another package shadows ours, no cluster answers, or its
        authentication token is missing or wrong.
    """
    refuse_shadows([str(Path.cwd()), *sys.path])
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    embedded = where == "local"
    if not embedded and cpus is not None:
        raise UserError(f"--cpus is for an embedded cluster, but the cluster at {where} has its own")
    shipped = None if embedded or is_submitted() else _stage_packages()
    started, ours = False, None
    try:
        if not embedded:
            _check_door(where)
        if ray.is_initialized():
            raise UserError(
                f"this process is connected already, to the Ray cluster at {ray.get_runtime_context().gcs_address}: "
                "use scheduler.session.join() to stay there, or call ray.shutdown() first"
            )
        started = True
        _init(where, cpus, shipped)
        ours = connection()
        yield Session(ray.get_runtime_context().gcs_address, dashboard_url(), embedded)
    finally:
        if started and (ours is None or connection() == ours):  # the user may have closed ours, and opened another
            ray.shutdown()
        if shipped is not None:
            shutil.rmtree(shipped, ignore_errors=True)


def dashboard_url() -> str | None:
    """Return where the connected cluster's dashboard is, None if it has none."""
    url = ray._private.worker.get_dashboard_url()
    return f"http://{url}" if url else None


def connection() -> str | None:
    """Return what tells this process's connection to Ray from earlier and later ones, None if there is none."""
    if not ray.is_initialized():
        return None
    context = ray.get_runtime_context()
    return f"{context.get_node_id()}/{context.get_job_id()}"  # a new cluster counts its jobs from 1 again


@contextmanager
def join(address: str | None = None) -> Iterator[Session]:
    """Use the connection that this process has, which is left as it is, or else ``connect`` to ``address``."""
    if not ray.is_initialized():
        with connect(address) as session:
            yield session
        return
    yield Session(ray.get_runtime_context().gcs_address, None, embedded=False)


def _init(where: str, cpus: int | None, shipped: str | None) -> None:
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=where,
            num_cpus=cpus,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=None if shipped is None else {"working_dir": shipped},
        )
    except (ConnectionError, TimeoutError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(f"cannot connect to the Ray cluster at {where}: {error}\n{HOW_TO_BE_LET_IN}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own in place, which does not clean up


def is_submitted() -> bool:
    """Say whether Ray's Jobs API started this process; the job's own ``working_dir`` then has our packages."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def _stage_packages() -> str:
    """Copy our packages alone into a folder for ``working_dir``: nothing else of the user's travels."""
    staged = tempfile.mkdtemp(prefix="apportion-")
    for name in PACKAGES:
        shutil.copytree(HOME / name, Path(staged) / name, ignore=shutil.ignore_patterns("__pycache__"))
    return staged


def _check_door(where: str) -> None:
    """Refuse an address where nobody answers, or where we are not let in: Ray itself retries for many seconds."""
    if where.startswith("ray://"):
        raise UserError(
            f"address {where}: Ray Client is not supported; give HOST:PORT of the head, or use 'ray job submit'"
        )
    if where == "auto":
        running = sorted(ray._private.services.find_gcs_addresses())
        if not running:
            raise UserError("address 'auto': no Ray cluster runs on this machine; start one with 'ray start --head'")
        where = running[0]
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"address '{where}': expected HOST:PORT of a Ray head (port 6379 by default), or 'auto'")
    reason = authentication.reaches(host, int(port))
    if reason is not None:
        raise UserError(f"no Ray cluster answers at {where}: {reason}; is 'ray start --head' running there?")
    token = authentication.find_token()
    door = authentication.knock(where, token)
    if door is Door.TOKEN_WRONG:
        raise UserError(f"the Ray cluster at {where} refuses our authentication token\n{HOW_TO_BE_LET_IN}")
    if door is Door.TOKEN_NEEDED or (token and os.environ.get("RAY_AUTH_MODE") != "token" and _wants_token(where)):
        raise UserError(f"the Ray cluster at {where} asks for an authentication token\n{HOW_TO_BE_LET_IN}")


def _wants_token(where: str) -> bool:
    return authentication.knock(where, None) is Door.TOKEN_NEEDED


def ship_by_value(*things: object) -> None:
    """Let what is of the user's own, such as a policy, travel with its code: its module need not be on the cluster."""
    for thing in things:
        module = sys.modules.get(type(thing).__module__)
        if module is not None and module.__name__.partition(".")[0] not in (*PACKAGES, "builtins"):
            cloudpickle.register_pickle_by_value(module)
