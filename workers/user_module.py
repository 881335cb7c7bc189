"""Classes of a user's own, from a file beside the job file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from workers.errors import DataError, did_you_mean


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


def load_class(spec: str, folder: Path) -> type:
    """Return the class that ``module:Class`` names, from ``module.py`` in ``folder``.

    Raises
    ------
    DataError
        If there is no such file or class, it fails to import, or another module has its name.
    """
    file, name = locate(spec, folder)
    if not file.is_file():
        raise DataError(
            f"'{spec}' needs the file {file.name} in {file.parent.resolve()}, and there is none: put it there, "
            "or start from the folder that has it"
        )
    module = _loaded(file.resolve())
    found = getattr(module, name, None)
    if isinstance(found, type):
        return found
    own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    raise DataError(f"{file} has no class '{name}'. {did_you_mean(name, own)}")


def _loaded(file: Path) -> ModuleType:
    """Return the module of a file, imported once under the file's name; cloudpickle finds it there."""
    present = sys.modules.get(file.stem)
    if present is not None and getattr(present, "__file__", None) == str(file):
        return present
    if present is not None and not getattr(present, "__apportion_user_module__", False):
        raise DataError(f"{file} would shadow the module '{file.stem}', which is loaded already: rename the file")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise DataError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__apportion_user_module__"] = True
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[file.stem]
        raise DataError(f"{file} failed to import: {type(error).__name__}: {error}") from error
    return module
