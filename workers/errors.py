"""What goes wrong with data, said so that it can be mended."""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from workers.exact_sum import Ints

MAX_PROBLEMS = 10
MAX_ALIKE = 3
_MAX_LISTED = 30
_MAX_SHOWN = 80
_MAX_WORDS = 1000
MOST_CHARACTERS = 12_000
"""Of a message, whatever names and values it repeats."""


class DataError(ValueError):
    """Data that cannot be used; the message says what is wrong, where, what was got and what to do."""

    def __init__(self, message: str = "") -> None:
        super().__init__(brief(message, MOST_CHARACTERS))


def brief(text: str, most: int = _MAX_SHOWN) -> str:
    """Return a text as a message has it: not longer than `most`, and in characters that can be written anywhere."""
    text = text if len(text) <= most else text[: most - 3] + "..."
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(value: Any) -> str:
    """Return a value as a file has it, in one short line."""
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else str(value).lower()
    try:
        return brief(repr(value))
    except ValueError:  # Python spells no whole number of over 4300 digits
        return "a number of thousands of digits"


class CheckpointError(ValueError):
    """A checkpoint that is damaged, of another version, or of another job; the message says which."""


class BadUpdateError(ValueError):
    """An update that no sound worker sends: of a wrong shape or type, or not finite; names worker and shards."""


class CorruptionError(ArithmeticError):
    """Two updates of the same shards differ, so one of the two workers computes wrongly; the message names both."""


def bad_update(worker: str, shards: Ints, what: str) -> BadUpdateError:
    """Return the error for an update; an exception with arguments of its own would not travel between processes."""
    return BadUpdateError(f"{f'worker {worker}, ' if worker else ''}shards {listed(shards)}: {what}")


def listed(shards: Ints) -> str:
    """Return shards as a message names them."""
    more = f" and {len(shards) - _MAX_LISTED} more" if len(shards) > _MAX_LISTED else ""
    return f"{shards[:_MAX_LISTED].tolist()}{more}"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return `"Did you mean 'x'? The choices are x, y."` for a `name` that is none of `choices`."""
    names = list(choices)
    folded = {choice.casefold(): choice for choice in names if len(choice) <= _MAX_SHOWN}
    close = get_close_matches(name[:_MAX_SHOWN].casefold(), list(folded)[:_MAX_WORDS], n=1)
    guess = f"Did you mean {folded[close[0]]!r}? " if close else ""
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"{guess}The choices are {', '.join(map(brief, names[:_MAX_LISTED]))}{more}."


class Problems:
    """The problems of one file, gathered to be reported at once: the first 10 places in one `DataError`."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[tuple[str, str, str]] = []
        self._times: Counter[tuple[str, str]] = Counter()

    def add(self, row: str, column: str, what: str, hint: str) -> None:
        """Note one problem and list three of a kind (column, `hint`); the tenth listed raises `DataError`."""
        column, what, hint = brief(column), brief(what, _MAX_WORDS), brief(hint, _MAX_WORDS)
        kind = (column, hint)
        self._times[kind] += 1
        if self._times[kind] <= MAX_ALIKE:
            self._found.append((f"{row}, {column}: {what}" if column else f"{row}: {what}", *kind))
        if len(self._found) == MAX_PROBLEMS:
            self.check()

    def check(self) -> None:
        """Raise `DataError` with every problem noted so far, if there is any."""
        if not self._found:
            return
        hints = " ".join(dict.fromkeys(hint for _, _, hint in self._found))
        if self._times.total() == 1:
            raise DataError(f"{self.file}, {self._found[0][0]}. {hints}")
        lines = [f"\n  {place}" for place, _, _ in self._found]
        for (column, _), times in self._times.items():
            if times > MAX_ALIKE:
                lines.append(f"\n  and {times - MAX_ALIKE:,} more like it{f' in {column}' if column else ''}")
        count = f"the first {MAX_PROBLEMS}" if len(self._found) == MAX_PROBLEMS else f"{self._times.total():,}"
        raise DataError(f"{self.file}: {count} problems:{''.join(lines)}\n{hints}")
