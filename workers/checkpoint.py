"""The bytes of a checkpoint: a tree of plain values and arrays, checked before anything of it is used (no pickle).

One line of JSON says the version, the lengths and the SHA-256 of what follows: the tree as JSON, in which arrays are
``{"array": [type, shape]}``, and the arrays' bytes in the order in which they stand in the tree. Several may follow one
another in a file: each says where it ends.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from workers.errors import CheckpointError

FORMAT_VERSION = 1
LONGEST_HEAD = 200
TYPES = ("<f8", "<i8", "<i2", "<u8", "|b1")
"""The arrays that there are, little-endian wherever they were made."""

_ARRAY = "array"
_HEAD = re.compile(
    rb'\{"apportion_checkpoint":(\d{1,9}),"tree_bytes":(\d{1,12}),"num_bytes":(\d{1,15}),"sha256":"([0-9a-f]{64})"\}\n'
)


def encode(tree: Mapping[str, Any]) -> bytes:
    """Return the bytes of a tree of mappings, lists, texts, numbers, truths, ``None`` and arrays.

    Raises
    ------
    TypeError
        If it holds anything else.
    """
    return b"".join(pieces(tree))


def pieces(tree: Mapping[str, Any]) -> tuple[bytes | memoryview, ...]:
    """Return the same bytes in pieces: arrays are not copied, and must not be changed until the pieces are written."""
    arrays: list[memoryview] = []
    text = json.dumps(_plain(tree, arrays), separators=(",", ":")).encode()
    digest = hashlib.sha256(text)
    for array in arrays:
        digest.update(array)
    head = {
        "apportion_checkpoint": FORMAT_VERSION,
        "tree_bytes": len(text),
        "num_bytes": len(text) + sum(len(array) for array in arrays),
        "sha256": digest.hexdigest(),
    }
    return json.dumps(head, separators=(",", ":")).encode() + b"\n", text, *arrays


def decode(blob: bytes) -> dict[str, Any]:
    """Return the tree of which ``blob`` has the bytes, and nothing else.

    Raises
    ------
    CheckpointError
        If it is cut off, damaged, or of another version.
    """
    tree, end = _first(memoryview(blob))
    if end != len(blob):
        raise CheckpointError(f"{len(blob) - end} bytes follow its end")
    return tree


def decode_all(blob: bytes) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the trees that follow one another, each with where it ends, up to the first that is cut off or damaged."""
    whole, at = memoryview(blob), 0
    while at < len(whole):
        try:
            tree, length = _first(whole[at:])
        except CheckpointError:
            return
        at += length
        yield tree, at


def _first(blob: memoryview) -> tuple[dict[str, Any], int]:
    """Return the first tree, and where it ends."""
    head = _HEAD.match(blob[:LONGEST_HEAD])
    if head is None:
        raise CheckpointError("it does not begin as a checkpoint does")
    version, tree_bytes, num_bytes, digest = int(head[1]), int(head[2]), int(head[3]), head[4].decode()
    if version != FORMAT_VERSION:
        raise CheckpointError(f"it has version {version}, this program reads {FORMAT_VERSION}: update apportion")
    body = blob[head.end() : head.end() + num_bytes]
    if len(body) != num_bytes:
        raise CheckpointError(f"it is cut off: {len(body)} of {num_bytes} bytes are there")
    if hashlib.sha256(body).hexdigest() != digest:
        raise CheckpointError("it is damaged: its bytes do not match its checksum")
    try:
        return _tree(body[:tree_bytes], body[tree_bytes:]), head.end() + num_bytes
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"it was not written by this program: {error}") from None


def _plain(value: Any, arrays: list[memoryview]) -> Any:
    """Return a value as JSON has it; bytes of arrays are put aside."""
    if isinstance(value, np.ndarray):
        kind = value.dtype.newbyteorder("<").str
        if kind not in TYPES:
            raise TypeError(f"a checkpoint has no arrays of {value.dtype}")
        arrays.append(np.ascontiguousarray(value, dtype=kind).reshape(-1).view(np.uint8).data)
        return {_ARRAY: [kind, list(value.shape)]}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value) or _ARRAY in value:
            raise TypeError(f"a checkpoint's mappings have texts for keys, and none is '{_ARRAY}'")
        return {key: _plain(inner, arrays) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, arrays) for inner in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__}")


def _tree(text: memoryview, rest: memoryview) -> dict[str, Any]:
    """Return the tree whose JSON is ``text``; the arrays lie in ``rest``."""

    def restored(value: Any) -> Any:
        nonlocal rest
        if isinstance(value, list):
            return [restored(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        if _ARRAY not in value:
            return {key: restored(inner) for key, inner in value.items()}
        kind, shape = value[_ARRAY]
        if kind not in TYPES or not all(isinstance(length, int) and length >= 0 for length in shape):
            raise ValueError(f"an array of type {kind!r} and shape {shape!r}")
        size = np.dtype(kind).itemsize * math.prod(shape)
        if size > len(rest):
            raise ValueError(f"an array of {size} bytes, {len(rest)} are left")
        array = np.frombuffer(rest[:size], dtype=kind).astype(np.dtype(kind).newbyteorder("="))
        rest = rest[size:]
        return array.reshape(shape)

    tree = restored(json.loads(bytes(text)))
    if not isinstance(tree, dict) or len(rest):
        raise ValueError("its arrays do not fill it")
    return tree
