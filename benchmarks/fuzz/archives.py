"""What may go wrong with NumPy's files: headers that lie, members that bite; checksums are made right again."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle
import random
import struct
import warnings
import zipfile

import numpy as np

from benchmarks.fuzz import mutations
from workers.data.npy_file import UNREADABLE
from workers.model import sha256_of

MAGIC = b"\x93NUMPY"
DTYPES = (
    *(
        "<f8",
        "<f4",
        "<f2",
        ">f8",
        "<f16",
        "<i8",
        "|b1",
        "<c16",
        "|O",
        "<U5",
        "<U0",
        "|V8",
        "<M8[s]",
        "|S3",
        "<u1",
        "f8,i4",
    ),
    *("<U1000000", "|V0", "|S0", "<f999", "9" * 50, "<i4", "|i1"),
)
SIZES = (0, 1, 2, 3, 10**6, 10**9, 10**15, 2**31, 2**63, 10**30, -1, -(10**15), True)


class Bite:
    """Creates a file when it is unpickled, as anything could be done."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        """Say how it is made again."""
        return open, ("bitten", "w")


def header(draw: random.Random, content: bytes) -> bytes:
    """Rewrite the header of an array, or the values of one."""
    if not content.startswith(MAGIC) or len(content) < 10:
        return mutations.flip(draw, content)
    end = 10 + struct.unpack("<H", content[8:10])[0]
    told, values = content[10:end], content[end:]
    what = draw.randrange(8)
    if what == 0:
        told = told.replace(b"False", b"True") if b"False" in told else told.replace(b"True", b"False")
    elif what == 1:
        told = mutations.tokens(draw, told)
    elif what == 2:
        told = b"(" * draw.choice((50, 5000)) + told
    elif what == 3:
        values = draw.choice(
            (b"", values[:-1], values * 2, b"\xff" * len(values), b"\0" * len(values), b"\x7f\xf0" * 40)
        )
    elif what == 4:
        values = pickle.dumps(np.array([Bite()], dtype=object), protocol=3)
        told = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    else:
        sizes = tuple(draw.choice(SIZES) for _ in range(draw.choice((0, 1, 2, 2, 3, 40))))
        kind = draw.choice(DTYPES) if draw.random() < 0.5 else "<f8"
        told = f"{{'descr': '{kind}', 'fortran_order': {draw.random() < 0.3}, 'shape': {sizes}, }}\n".encode()
    version = draw.choice((b"\x01\x00",) * 8 + (b"\x02\x00", b"\x03\x00", b"\x09\x09"))
    size = struct.pack("<I" if version != b"\x01\x00" else "<H", len(told) % 65536)
    return MAGIC + version + size + told + values


def members(draw: random.Random, files: dict[str, bytes], name: str, other: bytes) -> None:
    """Rewrite an archive with a member changed, and its checksums right; then a model's checksum of it, too."""
    del other
    try:
        with zipfile.ZipFile(io.BytesIO(files[name])) as archive:
            found = [(member, archive.read(member)) for member in archive.namelist()]
    except UNREADABLE:
        return
    if found:
        at = draw.randrange(len(found))
        member, content = found[at]
        what = draw.randrange(8)
        if what == 0:
            del found[at]
        elif what == 1:
            found.append((member, header(draw, content)))
        elif what == 2:
            found.append((draw.choice(("../x.npy", "/x.npy", "a/", "x", "weights.npy", "y.npy", "X.npy")), content))
        elif what == 3:
            found[at] = member, content + b"\0" * draw.choice((1, 10**3, 10**5))
        else:
            found[at] = member, header(draw, content)
    packing = draw.choice((zipfile.ZIP_STORED,) * 3 + (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are given twice
        with zipfile.ZipFile(written := io.BytesIO(), "w", packing) as archive:
            for member, content in found:
                archive.writestr(member, content)
    files[name] = written.getvalue()
    resigned(files, name)


def resigned(files: dict[str, bytes], name: str) -> None:
    """Write the checksum of an archive into the model's description beside it."""
    try:
        told = json.loads(files.get("model.json", b""))
        told["weights"]["sha256"] = hashlib.sha256(files[name]).hexdigest()
        with contextlib.suppress(*UNREADABLE), np.load(io.BytesIO(files[name])) as arrays:
            told["model_sha256"] = sha256_of({one: arrays[one] for one in arrays.files})
        files["model.json"] = json.dumps(told).encode("utf-8", "surrogatepass")
    except (ValueError, TypeError, KeyError, RecursionError):
        return
