"""The bytes of a checkpoint: what went in comes out, and what is damaged is refused, wherever it was cut or flipped."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from workers.checkpoint import FORMAT_VERSION, decode, decode_all, encode, pieces
from workers.errors import CheckpointError

KINDS = [np.float64, np.int64, np.int16, np.uint64, np.bool_]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(KINDS).flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, min_side=0)))
)
KEYS = st.text().filter(lambda key: key != "array")
TREES = st.dictionaries(
    KEYS, st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)


@given(TREES)
def test_what_goes_in_comes_out(tree: dict[str, Any]) -> None:
    blob = encode(tree)
    assert same(decode(blob), tree)
    assert b"".join(pieces(tree)) == blob
    assert encode(decode(blob)) == blob


def test_infinities_and_nan_keep_their_bits() -> None:
    values = np.array([np.nan, -np.inf, -0.0, 5e-324])
    found = decode(encode({"values": values, "loss": math.inf}))
    assert found["values"].tobytes() == values.tobytes()
    assert found["loss"] == math.inf


TREE = {"round": 7, "state": {"parameters": np.arange(5.0), "solved": ""}, "peaks": [np.arange(3, dtype=np.int16)]}


def test_a_checkpoint_that_is_cut_at_any_byte_is_refused() -> None:
    blob = encode(TREE)
    for length in range(len(blob)):
        with pytest.raises(CheckpointError):
            decode(blob[:length])


def test_any_flipped_bit_is_seen() -> None:
    blob = bytearray(encode(TREE))
    for place in range(len(blob)):
        for bit in range(8):
            blob[place] ^= 1 << bit
            with pytest.raises(CheckpointError):
                decode(bytes(blob))
            blob[place] ^= 1 << bit
    assert same(decode(bytes(blob)), TREE)


def test_of_several_that_follow_one_another_all_before_a_damaged_one_are_found() -> None:
    blobs = [encode({"number": number}) for number in range(4)]
    whole = b"".join(blobs)
    ends = np.cumsum([len(blob) for blob in blobs]).tolist()
    for length in range(len(whole) + 1):
        found = list(decode_all(whole[:length]))
        num = sum(end <= length for end in ends)
        assert [tree["number"] for tree, _ in found] == list(range(num))
        assert [end for _, end in found] == ends[:num]
    torn = bytearray(whole)
    torn[ends[1] + len(blobs[2]) - 1] ^= 1
    assert [tree["number"] for tree, _ in decode_all(bytes(torn))] == [0, 1]


def test_another_version_is_named() -> None:
    blob = encode(TREE).replace(b'"apportion_checkpoint":1', b'"apportion_checkpoint":9', 1)
    with pytest.raises(CheckpointError, match=f"version 9, this program reads {FORMAT_VERSION}"):
        decode(blob)


@pytest.mark.parametrize("value", [object(), b"", {1: 2}, {"array": 3}, np.array(["a"]), np.zeros(2, dtype=np.float32)])
def test_what_it_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        encode({"value": value})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (["<f8", [1 << 40]], "bytes are left|are left"),
        (["<f8", [-1]], "shape"),
        (["|O8", [1]], "type"),
        ([["<f8"], [1]], "type|unhashable"),
        ("<f8", "not enough values|too many values|shape"),
    ],
)
def test_arrays_that_are_not_there_are_refused_although_the_checksum_is_right(array: Any, message: str) -> None:
    import hashlib
    import json

    text = json.dumps({"x": {"array": array}}).encode()
    digest = hashlib.sha256(text).hexdigest()
    head = f'{{"apportion_checkpoint":1,"tree_bytes":{len(text)},"num_bytes":{len(text)},"sha256":"{digest}"}}\n'
    with pytest.raises(CheckpointError, match=message):
        decode(head.encode() + text)
