"""What a process keeps from one fit to the next: a connection to Ray, and a pool of gangs on it."""

from __future__ import annotations

import atexit
import threading
from contextlib import ExitStack

from policies.interface import Policy
from scheduler.driving import train
from scheduler.errors import UserError
from scheduler.observer import Observer
from scheduler.pool import Pool
from scheduler.preparation import Prepared
from scheduler.run import RunResult
from scheduler.session import Session, connection, join

ANYWHERE = (None, "auto")


class Warm:
    """Trains jobs one after the other on a connection and actors that stay, until ``close``.

    The first job connects: to Ray as this process knows it already, or else as ``apportion run`` does. Threads wait
    for one another.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._stack = ExitStack()
        self._pool = Pool()
        self._session: Session | None = None
        self._connection: str | None = None
        self._asked: str | None = None

    def train(self, prepared: Prepared, policy: Policy, address: str | None) -> RunResult:
        """Train on the cluster at ``address`` (None: wherever we are, ``RAY_ADDRESS``, or an embedded one).

        Raises
        ------
        UserError, DataError
            If there is no cluster, the job does not fit, or another cluster is connected.
        RunFailedError
            If the run failed.
        """
        with self._lock:
            self._connect(address)
            view = prepared.view(0.0)
            return self._pool.lend(
                view, policy, prepared.problem.seed, lambda gang: train(gang, prepared, policy, Observer())
            )

    def _connect(self, address: str | None) -> None:
        if self._session is None or connection() != self._connection:
            self.close()
            self._asked = address if connection() is None else None  # a connection that is there is used as it is
            self._session = self._stack.enter_context(join(address))
            self._connection = connection()
        here = self._session.address
        if address not in (*ANYWHERE, here, self._asked):
            raise UserError(
                f"this process is connected to the Ray cluster at {here}, not {address}: call shutdown() first "
                "(ray.shutdown() if the connection is your own), or leave the address out"
            )

    def close(self) -> None:
        """End all actors, give back their leases, and close the connection if it was opened here."""
        with self._lock:
            if connection() == self._connection:
                self._pool.close()
            self._pool, self._session = Pool(), None  # actors of a connection that is gone have ended with it
            self._stack.close()


WARM = Warm()
"""This process's own."""

atexit.register(WARM.close)  # before Ray's own, which was registered earlier
