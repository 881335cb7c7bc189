"""What travels between server and workers in a round: one blob, encoded once for all workers.

Ray encodes the arguments of every call anew, and an object with arrays costs it more than a string of bytes
does: a blob made a round 0.85x as long (``make bench-overhead`` times rounds). Blobs pass between actors of one
run and are never written to a file, so pickle is safe here.
"""

from __future__ import annotations

import pickle
from typing import Any


def encode(value: Any) -> bytes:
    """Return ``value`` as bytes."""
    return pickle.dumps(value, protocol=5)


def decode(blob: bytes) -> Any:
    """Return what was encoded."""
    return pickle.loads(blob)  # noqa: S301  (made by encode() in an actor of the same run)
