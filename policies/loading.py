"""Bringing in a user's own policy: ``module:Name``, from a file beside the job or from what is installed."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from policies.interface import Balance, Order, Place, Policy, PolicyError

PLUGIN_TYPES = (Policy, Order, Place, Balance)

_user_modules: dict[str, str] = {}  # what was imported from search folders: name -> file


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the choice closest to ``word``, or nothing."""
    close = get_close_matches(word, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown(what: str, word: Any, choices: Iterable[str], hint: str = "") -> PolicyError:
    """Return the error for a name that does not exist, with ``hint`` or the closest one that does, and all choices."""
    names = list(choices)
    hint = f"; {hint};" if hint else did_you_mean(str(word), names) or ";"
    return PolicyError(f"unknown {what} {word!r}{hint} choose from: {', '.join(names)}")


def load(spec: str, search: Sequence[Path] = ()) -> Any:
    """Return the object that ``module:Name`` names; ``search`` folders come before what is installed.

    Raises
    ------
    PolicyError
        If there is no such module or name, or the module fails to import.
    """
    module_name, _, name = spec.partition(":")
    if not (module_name and name):
        raise PolicyError(f"a policy of your own is written 'module:Class', but got {spec!r}")
    module = _module(module_name, search)
    if hasattr(module, name):
        return getattr(module, name)
    found = [key for key, value in vars(module).items() if _is_plugin(value)]
    raise PolicyError(
        f"{spec!r}: {module_name} ({getattr(module, '__file__', 'built in')}) has no {name!r}; "
        f"its policies are: {', '.join(found) or 'none'}{did_you_mean(name, found)}"
    )


def create(spec: str, plugin: Any, options: dict[str, Any]) -> Any:
    """Return ``plugin(**options)`` for a class; an instance is returned as it is, and takes no options.

    Raises
    ------
    PolicyError
        If it is no policy, or its constructor raises; ``spec`` is what the message calls it.
    """
    if not isinstance(plugin, type):
        if options:
            raise PolicyError(f"{spec!r} is an instance, which takes no options, but got {', '.join(options)}")
        instance = plugin
    elif not issubclass(plugin, PLUGIN_TYPES):
        raise PolicyError(f"{spec!r} is a {plugin.__name__}, but must be a Policy, Order, Place or Balance")
    else:
        instance = _constructed(spec, plugin, options)
    if not isinstance(instance, PLUGIN_TYPES):
        raise PolicyError(f"{spec!r} is a {type(instance).__name__}, but must be a Policy, Order, Place or Balance")
    needed = ("name", "balance", "plan") if isinstance(instance, Policy) else ("name",)
    missing = [attribute for attribute in needed if not hasattr(instance, attribute)]
    if missing:
        raise PolicyError(f"{spec!r} must have the attribute {missing[0]!r} (see policies/interface.py)")
    return instance


def _constructed(spec: str, plugin: type, options: dict[str, Any]) -> Any:
    _check_names(spec, plugin, options)
    try:
        return plugin(**options)
    except PolicyError as error:
        raise PolicyError(f"{spec}: {error}") from error
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise PolicyError(f"{spec}: {plugin.__name__}({given}) raised {type(error).__name__}: {error}") from error


def _check_names(spec: str, plugin: type, options: dict[str, Any]) -> None:
    """Refuse options that the constructor does not have, and the lack of those that it needs."""
    signature = inspect.signature(plugin).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in signature):
        return
    parameters = {one.name: one for one in signature if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    strange = [str(name) for name in options if name not in parameters]
    if strange and not parameters:
        raise PolicyError(f"{spec} has no options, but got {', '.join(strange)}")
    if strange:
        hint = did_you_mean(strange[0], parameters)
        raise PolicyError(
            f"unknown option {strange[0]!r} of {spec}{hint or ';'} its options are: {', '.join(parameters)}"
        )
    missing = [name for name, one in parameters.items() if one.default is one.empty and name not in options]
    if missing:
        raise PolicyError(f"{spec} needs the option {missing[0]!r}; its options are: {', '.join(parameters)}")


def _is_plugin(value: Any) -> bool:
    if isinstance(value, type):
        return issubclass(value, PLUGIN_TYPES) and value not in PLUGIN_TYPES
    return isinstance(value, PLUGIN_TYPES)


def _module(name: str, search: Sequence[Path]) -> ModuleType:
    with _searching(search) as folders:
        top = name.partition(".")[0]
        ours = PathFinder.find_spec(top, folders)
        if ours and top in sys.modules and not _same_file(ours.origin, sys.modules[top]):
            raise PolicyError(
                f"{ours.origin} would shadow the module {top!r}, which is loaded already: rename the file"
            )
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (name, top):
                raise PolicyError(f"{name!r} failed to import: {error}") from error
            files = sorted(file.stem for folder in folders for file in Path(folder).glob("*.py"))
            where = ", ".join(folders) or "what is installed"
            raise PolicyError(f"no module {name!r} in {where}{did_you_mean(name, files)}") from error
        except Exception as error:
            raise PolicyError(f"{name!r} failed to import: {type(error).__name__}: {error}") from error


def _same_file(origin: str | None, module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file == origin or bool(file and origin and Path(file).resolve() == Path(origin).resolve())


@contextmanager
def _searching(search: Sequence[Path]) -> Iterator[list[str]]:
    """Put the folders first on ``sys.path``, and forget user modules from other folders."""
    folders = [str(Path(folder).resolve()) for folder in search]
    importlib.invalidate_caches()
    for name, origin in list(_user_modules.items()):
        if "." in name:
            continue
        here = PathFinder.find_spec(name, folders)
        if here is None or here.origin != origin:
            for loaded in [key for key in _user_modules if key == name or key.startswith(f"{name}.")]:
                del _user_modules[loaded]
                sys.modules.pop(loaded, None)
    path, before = list(sys.path), set(sys.modules)
    sys.path[:0] = folders
    try:
        yield folders
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and any(Path(file).is_relative_to(folder) for folder in folders):
                _user_modules[name] = file
