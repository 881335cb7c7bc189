"""Whether a Ray head lets us in, asked before Ray itself does: its own answer takes 20 seconds and says little."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

from scheduler.errors import UserError

TIMEOUT_S = 3.0


class Door(Enum):
    """What a head says to a client."""

    OPEN = "open"
    TOKEN_NEEDED = "a token is needed"  # noqa: S105
    TOKEN_WRONG = "the token is wrong"  # noqa: S105
    UNKNOWN = "unknown"


def find_token() -> str | None:
    """Return the token where Ray looks for it: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def reaches(host: str, port: int) -> str | None:
    """Try a TCP connection, and return why there is none, or None."""
    try:
        socket.create_connection((host, port), timeout=TIMEOUT_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        return str(error)
    return None


def knock(address: str, token: str | None) -> Door:
    """Ask the head at ``address`` whether it is alive, without and with ``token``.

    This is one call of Ray's own protocol; whatever it does not answer as expected counts as unknown, and is
    left to Ray.
    """
    try:
        if _is_let_in(address, None):
            return Door.OPEN
        if token is None:
            return Door.TOKEN_NEEDED
        return Door.OPEN if _is_let_in(address, token) else Door.TOKEN_WRONG
    except Exception:  # noqa: BLE001  (private protocol: any failure means that we cannot tell)
        return Door.UNKNOWN


def _is_let_in(address: str, token: str | None) -> bool:
    # Generated modules without types, loaded only here: a run on an embedded cluster does not need them.
    grpc: Any = import_module("grpc")
    messages: Any = import_module("ray.core.generated.gcs_service_pb2")
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(
            "/ray.rpc.NodeInfoGcsService/CheckAlive",
            request_serializer=messages.CheckAliveRequest.SerializeToString,
            response_deserializer=messages.CheckAliveReply.FromString,
        )
        metadata = None if token is None else (("authorization", f"Bearer {token}"),)
        try:
            ask(messages.CheckAliveRequest(), timeout=TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                return False
            raise
    return True


@contextmanager
def as_client(environment: Mapping[str, str]) -> Iterator[None]:
    """Let this process be a client of another cluster, whose address and token ``environment`` has.

    Ray reads these variables once, when it is imported, so it is told to read them again.

    Raises
    ------
    UserError
        If there is a connection, which would lose its own token.
    """
    names = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    before = {name: os.environ[name] for name in names if name in os.environ}
    if before == environment:
        yield
        return
    ray: Any = import_module("ray")
    if ray.is_initialized():
        raise UserError("this process is connected to a Ray cluster already: call ray.shutdown() first")
    _read_again(names, environment)
    try:
        yield
    finally:
        _read_again(names, before)


def _read_again(names: Sequence[str], environment: Mapping[str, str]) -> None:
    for name in names:
        os.environ.pop(name, None)
    os.environ.update(environment)
    core: Any = import_module("ray._raylet")
    core.Config.initialize("")
    core.AuthenticationTokenLoader.instance().reset_cache()
