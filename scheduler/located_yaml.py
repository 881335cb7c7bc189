"""YAML with line numbers: what was read, and on which line each field stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scheduler.errors import UserError

LARGEST_FILE_BYTES = 1024 * 1024


class _Loader(yaml.SafeLoader):
    """Plain YAML without dates (``name: 2024-01-31`` is text); whatever cannot be read is named with its line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class LocatedYaml:
    """A YAML document: its ``value``, and where its parts stand.

    Attributes
    ----------
    path
        The file that was read.
    """

    path: Path
    value: Any
    root: yaml.Node

    def line(self, location: Sequence[str | int]) -> int:
        """Return the line (from 1) of the deepest part of ``location`` that the file has."""
        node, line = self.root, 1
        for part in location:
            child = _child(node, part)
            if child is None:
                break
            line, node = child
        return line


def read(path: Path) -> LocatedYaml:
    """Read one YAML mapping.

    Raises
    ------
    UserError
        If the file is missing, too large, no text, no YAML, no mapping, or names a key twice (line named).
    """
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise UserError(f"{path}: over {LARGEST_FILE_BYTES:,} bytes; a job file is a page of text")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    try:
        root = yaml.compose(text, Loader=_Loader)
        for token in yaml.scan(text):
            if isinstance(token, yaml.AliasToken):
                line = token.start_mark.line + 1
                raise UserError(f"{path}:{line}: aliases (*{token.value}) are not allowed; write the value out")
        value = parse(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}:{line}: not valid YAML: {error.problem or error}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{path}:{line}: not valid YAML: {error.reason}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML: nested too deeply") from None
    if root is None or not isinstance(value, dict):
        raise UserError(f"{path}:1: expected a mapping of fields, such as 'name: my-job'")
    twice = list(_repeated_keys(root))
    if twice:
        raise UserError("\n".join(f"{path}:{line}: '{key}' is given twice" for line, key in twice))
    return LocatedYaml(path, value, root)


def parse(text: str) -> Any:
    """Return the value of a YAML text; raises ``yaml.YAMLError`` or ``RecursionError``."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)


def _child(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child = node.value[part]
        return child.start_mark.line + 1, child
    return None


def _repeated_keys(node: yaml.Node) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    yield key.start_mark.line + 1, key.value
                seen.add(key.value)
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated_keys(value)
