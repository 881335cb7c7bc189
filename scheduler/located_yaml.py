"""YAML with line numbers: what was read, and on which line each field stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from scheduler.errors import MOST_CHARACTERS, MOST_MISTAKES, Mistakes, UserError, shown
from workers.errors import brief
from workers.reading import PAGE_BYTES, TooLargeError, read_text


class _Loader(yaml.SafeLoader):
    """Plain YAML without dates (``name: 2024-01-31`` is text); whatever cannot be read is named with its line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            what = f"aliases (*{event.anchor}) are not allowed; write the value out"
            raise _AliasError(None, None, what, event.start_mark)
        return super().compose_node(parent, index)


class _AliasError(yaml.MarkedYAMLError):
    """A few lines of aliases of aliases may stand for more than any memory holds."""


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
    _children: dict[int, dict[str | int, tuple[int, yaml.Node]]] = field(default_factory=dict, repr=False)

    def line(self, location: Sequence[str | int]) -> int:
        """Return the line (from 1) of the deepest part of ``location`` that the file has."""
        node, line = self.root, 1
        for part in location:
            if id(node) not in self._children:
                self._children[id(node)] = _children(node)
            children = self._children[id(node)]
            child = children.get(part if isinstance(node, yaml.SequenceNode) else str(part))
            if child is None:
                break
            line, node = child
        return line

    def told(self, error: ValidationError, explain: Callable[[ErrorDetails], str]) -> str:
        """Return a line for each of the first mistakes, as they stand in the file, and how many more there are."""
        details = error.errors(include_url=False)
        details.sort(key=lambda detail: self.line(detail["loc"]))
        lines = [brief(explain(detail), MOST_CHARACTERS) for detail in details[:MOST_MISTAKES]]
        more = [f"... and {len(details) - MOST_MISTAKES} more"] if len(details) > MOST_MISTAKES else []
        return "\n".join(dict.fromkeys([*lines, *more]))


def read(path: Path) -> LocatedYaml:
    """Read one YAML mapping.

    Raises
    ------
    UserError
        If the file is missing, too large, no text, no YAML, no mapping, or names a key twice (line named).
    """
    try:
        text = read_text(path, PAGE_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except TooLargeError as error:
        raise UserError(f"{path}: {error}; a job file is a page of text") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    try:
        root, value = _composed(text)
    except _AliasError as error:
        raise UserError(f"{path}:{_line(error)}: {brief(str(error.problem))}") from None
    except yaml.MarkedYAMLError as error:
        raise UserError(f"{path}:{_line(error)}: not valid YAML: {brief(error.problem or str(error), 300)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{path}:{line}: not valid YAML: {error.reason}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML: nested too deeply") from None
    if root is None or not isinstance(value, dict):
        raise UserError(f"{path}:1: expected a mapping of fields, such as 'name: my-job'")
    mistakes = Mistakes(path)
    for line, key in _repeated_keys(root):
        mistakes.add(line, "", f"{shown(key)} is given twice")
    mistakes.tell()
    return LocatedYaml(path, value, root)


def parse(text: str) -> Any:
    """Return the value of a YAML text; raises ``yaml.YAMLError``, for aliases, too, or ``RecursionError``."""
    return _composed(text)[1]


def _composed(text: str) -> tuple[yaml.Node | None, Any]:
    """Return the nodes of a text, and its value."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        return root, None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def _line(error: yaml.MarkedYAMLError) -> int:
    return error.problem_mark.line + 1 if error.problem_mark else 1


def _children(node: yaml.Node) -> dict[str | int, tuple[int, yaml.Node]]:
    """Return the parts of a node by key or place, each with the line where it stands."""
    found: dict[str | int, tuple[int, yaml.Node]] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found.setdefault(str(key.value), (key.start_mark.line + 1, value))
    elif isinstance(node, yaml.SequenceNode):
        found |= {place: (child.start_mark.line + 1, child) for place, child in enumerate(node.value)}
    return found


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
