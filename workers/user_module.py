"""Classes of a user's own, from a file beside the job file; the file's text travels to where they are needed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from workers.errors import DataError, did_you_mean
from workers.reading import PAGE_BYTES, read_text


def locate(spec: str, folder: Path) -> tuple[Path, str]:
    """Return the file and the name that ``module:Class`` means, relative to ``folder``; the file may be absent.

    Raises
    ------
    DataError
        If it is not written so.
    """
    module, colon, name = spec.rpartition(":")
    if not colon or not module or not name.isidentifier():
        raise DataError(f"a module of your own is written 'module:Class', got '{spec}'")
    return folder / f"{module.removesuffix('.py')}.py", name


def read_source(spec: str, folder: Path) -> str:
    """Return the text of ``module.py`` in ``folder``, which ``module:Class`` means.

    Raises
    ------
    DataError
        If there is no such file, or it is no text.
    """
    file, _ = locate(spec, folder)
    if not file.is_file():
        raise DataError(
            f"'{spec}' needs the file {file.name} in {file.parent.resolve()}, and there is none: put it there, "
            "or start from the folder that has it"
        )
    try:
        return read_text(file, PAGE_BYTES)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None


def load_class(spec: str, source: str) -> type:
    """Return the class that ``module:Class`` names, from the text of its module.

    Raises
    ------
    DataError
        If there is no such class, the module fails to import, or another module has its name.
    """
    file, name = locate(spec, Path())
    module = _executed(file, source)
    found = getattr(module, name, None)
    if isinstance(found, type):
        return found
    own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    raise DataError(f"{file} has no class '{name}'. {did_you_mean(name, own)}")


def _executed(file: Path, source: str) -> ModuleType:
    """Return the module of a text, executed once under the file's name."""
    present = sys.modules.get(file.stem)
    if present is not None and getattr(present, "__apportion_source__", None) == source:
        return present
    if present is not None and not hasattr(present, "__apportion_source__"):
        raise DataError(f"{file} would shadow the module '{file.stem}', which is loaded already: rename the file")
    module = ModuleType(file.stem)
    module.__dict__.update(__file__=str(file), __apportion_source__=source)
    sys.modules[file.stem] = module
    try:
        exec(compile(source, str(file), "exec"), module.__dict__)  # noqa: S102  (the user's own, named in the job file)
    except Exception as error:
        del sys.modules[file.stem]
        raise DataError(f"{file} failed to import: {type(error).__name__}: {error}") from error
    return module
