"""What may go wrong with text: fields, lines, bytes, and the values of a YAML or JSON tree."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import yaml

NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 1000, 10**6, 10**9, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**15, 10**30, 10**400),
    *(0.5, -0.0, 1e-308, 5e-324, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # what is tested has a loader of its own


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


TEXTS = (
    *("", " ", "\0", "\n", "nan", "1e999", "0x10", "1_000", "٣", "-", ".", "..", "../../x", "/etc/passwd", "/dev/zero"),
    *("x" * 5000, "x" * 200_000, "é\u202e\ufeff", "\ud800", "9" * 5000, "*", "&a", "!!python/object:os.system", "a:b"),
    *("true", "null", "a" + "-b" * 300, "0-9999999", "{}", "[" * 3000, '"', "'", "qid:1", "1:1", "#"),
)
VALUES: tuple[Any, ...] = (*NUMBERS, *TEXTS, True, False, None, [], {}, [[]], {"a": 1}, ["a"], [0, 1])
TOKENS = (
    *(
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b'"',
        b"'",
        b",",
        b",,,,",
        b":",
        b"\t",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"#",
        b"&a ",
    ),
    *(
        b"*a",
        b"<<: ",
        b"!!binary ",
        b"!!set ",
        b"? ",
        b"- ",
        b"---\n",
        b"...\n",
        b"%YAML 9.9\n",
        b"{",
        b"}",
        b"[",
        b"]",
    ),
    *(b"[" * 2000, b"{a: " * 500, b"1e999", b"-", b"9" * 5000, b"0x" + b"f" * 5000, b"1:" * 300, b"\xed\xa0\x80"),
    *(b"a," * 20_000, b"x" * 150_000, b"\xe2\x80\xa8", b"\x85", b"1:1 " * 2000, b"nan", b"inf", b"\\ud800"),
)


def _spelled(value: Any) -> bytes:
    text = value if isinstance(value, str) else "1" + "0" * 400 if value == 10**400 else str(value)
    return text.encode("utf-8", "surrogatepass")


def _place(draw: random.Random, content: bytes) -> int:
    return draw.randint(0, len(content))


def flip(draw: random.Random, content: bytes) -> bytes:
    """Change single bytes, or bits of them."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        if changed:
            changed[draw.randrange(len(changed))] ^= draw.choice((1, 2, 4, 8, 16, 32, 64, 128, 255))
    return bytes(changed)


def cut(draw: random.Random, content: bytes) -> bytes:
    """Leave out a part, often the end."""
    begin = _place(draw, content)
    end = len(content) if draw.random() < 0.5 else begin + draw.choice((1, 2, 4, 16, 100))
    return content[:begin] + content[end:]


def insert(draw: random.Random, content: bytes) -> bytes:
    """Put something in, or a part once more."""
    at, begin = _place(draw, content), _place(draw, content)
    part = content[begin : begin + draw.choice((1, 4, 16, 256))] * draw.choice((1, 1, 3, 200))
    random_bytes = draw.randbytes(draw.choice((1, 4, 8, 64)))
    return content[:at] + draw.choice((part, random_bytes, b"\0" * 8, b"\xff" * 8)) + content[at:]


def splice(draw: random.Random, content: bytes, other: bytes) -> bytes:
    """Go on with another file."""
    return content[: _place(draw, content)] + other[_place(draw, other) :]


def tokens(draw: random.Random, content: bytes) -> bytes:
    """Put in what has a meaning to some reader."""
    at = _place(draw, content)
    return content[:at] + draw.choice(TOKENS) + content[at:]


def lines(draw: random.Random, content: bytes) -> bytes:
    """Drop, double, swap, join, indent or empty lines."""
    found = content.split(b"\n")
    one, other = draw.randrange(len(found)), draw.randrange(len(found))
    what = draw.randrange(7)
    if what == 0:
        del found[one]
    elif what == 1:
        found.insert(other, found[one])
    elif what == 2:
        found[one], found[other] = found[other], found[one]
    elif what == 3:
        found[one] = b" " * draw.randint(1, 4) + found[one]
    elif what == 4:
        found[one] = b""
    elif what == 5:
        found[one:one] = [found[other]] * draw.choice((10, 300))
    else:
        found[one] = draw.choice((b",", b"\t", b" ", b"")).join(found)
    return b"\n".join(found)


def fields(draw: random.Random, content: bytes) -> bytes:
    """Replace a field of a line by an extreme one, or leave it out."""
    found = content.split(b"\n")
    at = draw.randrange(len(found))
    separator = draw.choice([one for one in (b",", b"\t", b":", b" ") if one in found[at]] or [b","])
    parts = found[at].split(separator)
    place = draw.randrange(len(parts))
    if draw.random() < 0.15:
        del parts[place]
    elif draw.random() < 0.1:
        parts[place:place] = [parts[place]] * draw.choice((1, 3, 500))
    else:
        parts[place] = _spelled(draw.choice(VALUES))
    found[at] = separator.join(parts)
    return b"\n".join(found)


def json_line(draw: random.Random, content: bytes) -> bytes:
    """Change the tree of one line."""
    found = content.split(b"\n")
    at = draw.randrange(len(found))
    found[at] = tree_of(".json")(draw, found[at])
    return b"\n".join(found)


def tree_of(suffix: str) -> Callable[[random.Random, bytes], bytes]:
    """Return what changes a tree of values that is written as YAML or as JSON; text that is none it leaves alone."""

    def mutated(draw: random.Random, content: bytes) -> bytes:
        try:
            value = json.loads(content) if suffix == ".json" else yaml.load(content, _LOADER)  # noqa: S506
            changed = tree(draw, value)
            text = json.dumps(changed) if suffix == ".json" else yaml.dump(changed, Dumper=_Dumper, sort_keys=False)
        except (ValueError, TypeError, yaml.YAMLError, RecursionError, OverflowError):
            return content
        return text.encode("utf-8", "surrogatepass")

    return mutated


def tree(draw: random.Random, value: Any) -> Any:
    """Return a tree in which one place, any of them, is another."""
    place = draw.choice(list(_places(value)))
    return _changed(draw, value, place)


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    parts: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from _places(part, (*at, key))


def _changed(draw: random.Random, value: Any, place: tuple[Any, ...]) -> Any:
    if len(place) > 1:
        copy = value.copy()
        copy[place[0]] = _changed(draw, value[place[0]], place[1:])
        return copy
    if not place:
        return _another(draw, value)
    copy, (key,) = value.copy(), place
    what = draw.random()
    if what < 0.15:
        del copy[key]
    elif what < 0.3 and isinstance(copy, dict):
        copy[draw.choice((*copy, *(text for text in TEXTS if "\ud800" not in text), 1, "kind"))] = copy[key]
    elif what < 0.3:
        copy[key:key] = [copy[key]] * draw.choice((1, 2, 300))
    elif what < 0.4:
        other = draw.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
        copy[key], copy[other] = copy[other], copy[key]
    else:
        copy[key] = _another(draw, copy[key])
    return copy


def _another(draw: random.Random, value: Any) -> Any:
    """Return something else for a value: of another type, extreme, wrapped, or nested deeply."""
    what = draw.random()
    if what < 0.55:
        return draw.choice(NUMBERS if isinstance(value, int | float) and draw.random() < 0.7 else VALUES)
    if what < 0.65:
        return str(value)
    if what < 0.75:
        return draw.choice(([value], {"a": value}, [value, value]))
    if what < 0.85 and isinstance(value, int | float) and not isinstance(value, bool):
        return draw.choice((-value, value + 1, value * 1000, value + 0.5))
    if what < 0.9:
        return [draw.choice(VALUES) for _ in range(draw.choice((2, 50, 2000)))]
    nested = value
    for _ in range(draw.choice((3, 60, 300))):
        nested = [nested] if draw.random() < 0.5 else {"a": nested}
    return nested
