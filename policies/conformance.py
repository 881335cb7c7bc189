"""What every conformance kit asks; imported from ``policies.testing``."""

# ruff: noqa: S101

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
from hypothesis import HealthCheck, settings

from policies.interface import Described, Policy

Test = TypeVar("Test", bound=Callable[..., None])


def quick(test: Test) -> Test:
    """Run a property test with few examples, no deadline, and in as many subclasses as there are."""
    checks = [HealthCheck.differing_executors, HealthCheck.too_slow]
    return settings(max_examples=20, deadline=None, suppress_health_check=checks)(test)


def same(one: Any, other: Any) -> bool:
    """Say whether two answers are equal: arrays by value and type, NaN equal to NaN."""
    return bool(plain(one) == plain(other))


def plain(value: Any) -> Any:
    """Spell a value out in tuples, bytes and text, which can be kept and compared; of a dataclass, its fields."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, (tuple, list)):
        return tuple(plain(item) for item in value)
    if isinstance(value, Mapping):
        return tuple(sorted((repr(key), plain(item)) for key, item in value.items()))
    if is_dataclass(value):  # beside its fields there are only values that are derived from them
        return (type(value).__name__, *(plain(getattr(value, field.name)) for field in fields(value)))
    return (type(value).__name__, plain(vars(value))) if hasattr(value, "__dict__") else repr(value)


class Conformance:
    """What every kit asks; a subclass in a test says which policy, anew at each call.

    ``kind`` is the family, ``answer`` the method that is asked.
    """

    kind: type[Described | Policy]

    def policy(self) -> Any:
        """Return a new instance of the policy under test."""
        raise NotImplementedError("a conformance test must define policy(self), which returns a new instance")

    def answer(self, policy: Any, view: Any) -> Any:
        """Ask ``policy`` about ``view``."""
        raise NotImplementedError

    def check_repeatable(self, view: Any) -> None:
        """Assert that an equal view gets an equal answer, from any instance, and stays as it was."""
        before = plain(view)
        policy, again = self.policy(), pickle.loads(pickle.dumps(view))  # noqa: S301
        first = self.answer(policy, view)
        assert same(first, self.answer(policy, view)), "a second call of the same instance answers differently"
        assert same(first, self.answer(self.policy(), again)), "a new instance answers an equal view differently"
        copy = pickle.loads(pickle.dumps(policy))  # noqa: S301
        assert same(first, self.answer(copy, view)), "a pickled copy answers differently"
        assert before == plain(view), "the view was changed"

    def test_is_described(self) -> None:
        """It is of its family, and has a name, a source and a docstring."""
        policy = self.policy()
        assert isinstance(policy, self.kind), f"must be a {self.kind.__name__}"
        assert isinstance(policy.name, str) and policy.name, "must have a name"
        if isinstance(policy, Described):
            assert isinstance(policy.source, str) and policy.source, "must cite a source"
            assert policy.summary(), "must have a docstring"
