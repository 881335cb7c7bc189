"""A case: a few files that belong together, made from a seed and a number, and mutated."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.fuzz import archives, mutations, seeds

Files = dict[str, bytes]

MOST_BYTES = 1 << 20
"""Of a file: it is what it says that is to hurt, not how long it is."""


@dataclass(frozen=True)
class Case:
    """The files of a case, by their names in a folder of their own, and what draws the options of its reader."""

    kind: str
    files: Mapping[str, bytes]
    option: int

    def write(self, folder: Path) -> None:
        """Put the files into a folder."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    def save(self, path: Path) -> None:
        """Keep the case as a file, so that it can be run again."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = f"{self.kind} {self.option}".encode()
            for name, content in self.files.items():
                archive.writestr(name, content)

    @classmethod
    def load(cls, path: Path) -> Case:
        """Return a case that was kept."""
        with zipfile.ZipFile(path) as archive:
            kind, option = archive.comment.decode().split()
            return cls(kind, {name: archive.read(name) for name in archive.namelist()}, int(option))


def drawn(kind: str, seed: int, number: int) -> Case:
    """Return a case, the same for the same kind, seed and number."""
    draw = random.Random(f"{kind} {seed} {number}")  # noqa: S311
    some = seeds_of(kind)
    files = dict(draw.choice(some))
    for _ in range(draw.choice((1, 1, 1, 1, 2, 3, 6))):
        name = draw.choice(sorted(files))
        draw.choice(_mutations(name))(draw, files, name, draw.choice(some).get(name, b""))
        files[name] = files[name][:MOST_BYTES]
    return Case(kind, files, draw.randrange(1 << 30))


@cache
def seeds_of(kind: str) -> list[Files]:
    """Return the files of a kind that are to be broken."""
    return seeds.SEEDS[kind]()


def _mutations(name: str) -> list[Callable[[random.Random, Files, str, bytes], None]]:
    """Return what can be done to a file, by how its name ends; what gets deep comes up more often."""
    suffix = Path(name).suffix
    rough = [_each(mutations.flip), _each(mutations.cut), _each(mutations.insert), _splice]
    text = [_each(mutations.lines), _each(mutations.fields), _each(mutations.fields), _each(mutations.tokens)]
    if suffix in (".yaml", ".json"):
        return [*rough, *text, *[_each(mutations.tree_of(suffix))] * 12]
    if suffix == ".jsonl":
        return [*rough, *text, *[_each(mutations.json_line)] * 12]
    if suffix == ".npy":
        return [*rough, *[_each(archives.header)] * 6]
    if suffix == ".npz":
        return [*rough, *[archives.members] * 10]
    if suffix == ".parquet":
        return rough
    return [*rough, *text, *text]


def _each(mutate: Callable[[random.Random, bytes], bytes]) -> Callable[[random.Random, Files, str, bytes], None]:
    def mutated(draw: random.Random, files: Files, name: str, other: bytes) -> None:
        del other
        files[name] = mutate(draw, files[name])

    return mutated


def _splice(draw: random.Random, files: Files, name: str, other: bytes) -> None:
    files[name] = mutations.splice(draw, files[name], other)
