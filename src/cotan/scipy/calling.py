"""The calls of functions under SciPy's names: on arrays a function is SciPy's own; traced, it is defined in ops."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from typing import Any, ParamSpec

from ..numpy.calling import eager, fitted
from ..numpy.promotion import has_tracer

__all__ = ["scipys"]

P = ParamSpec("P")
WITHOUT_EFFECT = frozenset(
    {
        "check_finite",
        "overwrite_a",
        "overwrite_b",
        "overwrite_ab",
        "overwrite_c",
        "overwrite_x",
        "lapack_driver",
        "driver",
        "lwork",
        "balanced",
    }
)
"""Parameters of SciPy that choose how a result is computed. On traced values they have no effect."""


class ScipyFunction:
    """A function of SciPy, whose module is imported when it is called, or its signature read."""

    def __init__(self, module: str, name: str):
        self.__module__, self.__name__ = module, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(self.__module__), self.__name__)(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(getattr(import_module(self.__module__), self.__name__))


def given_any(definition: Callable[..., Any], names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call gives one of these parameters, other than None."""
    order = list(inspect.signature(definition).parameters)
    given = dict(zip(order, args, strict=False)) | dict(kwargs)
    return any(given.get(name) is not None for name in names)


def scipys(module: str, *, own: bool = False, own_with: Sequence[str] = ()) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Decorate the traced definition of the function of this name in a module of SciPy; its ``own`` definition computes on arrays, too, or
    where one of these arguments is given.
    """

    def decorate(definition: Callable[P, Any]) -> Callable[P, Any]:
        theirs = ScipyFunction(module, definition.__name__)
        function = (fitted if own else eager)(theirs)(definition)
        ours = fitted(theirs)(definition) if own_with else function

        @wraps(definition)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            if not WITHOUT_EFFECT.isdisjoint(kwargs) and (own or any(map(has_tracer, (*args, *kwargs.values())))):
                kwargs = {key: value for key, value in kwargs.items() if key not in WITHOUT_EFFECT}  # type: ignore[assignment]
            if own_with and given_any(definition, own_with, args, kwargs):
                return ours(*args, **kwargs)
            return function(*args, **kwargs)

        return call

    return decorate
