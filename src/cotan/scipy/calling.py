"""The calls of functions under SciPy's names: on arrays a function is SciPy's own; traced, it is defined in ops."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from typing import Any, ParamSpec

from ..core.errors import TracerConversionError, teach
from ..core.tracing import Tracer
from ..numpy.calling import eager, fitted
from ..numpy.promotion import has_tracer, wrap

__all__ = ["concrete_only", "known_value", "scipys"]

P = ParamSpec("P")
WITHOUT_EFFECT = frozenset(
    {
        *("check_finite", "lapack_driver", "driver", "workers", "lwork", "balanced"),
        *("overwrite_a", "overwrite_a_band", "overwrite_ab", "overwrite_b", "overwrite_c", "overwrite_x"),
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


def known_value(x: Any) -> Any | None:
    """The value of a number or an array, as for a comparison; None if it is traced and has no value yet."""
    if type(x) is not Tracer:
        return x
    try:
        return x.owner.concrete(x, "bool")
    except TracerConversionError:
        return None


def concrete_only(module: str, name: str, sentence: str, do: str) -> Callable[..., Any]:
    """SciPy's function of arguments whose values are known (they may be only differentiated); its arrays are returned as `Array`."""
    theirs = ScipyFunction(module, name)

    def known(x: Any) -> Any:
        found = known_value(x)
        if found is None and x is not None:
            raise teach(TracerConversionError, f"{name}: the values of {x!r} are not known.", do=do)
        return found

    def call(*args: Any, **kwargs: Any) -> Any:
        return wrap(theirs(*map(known, args), **{key: known(x) for key, x in kwargs.items()}))

    call.__wrapped__ = theirs  # type: ignore[attr-defined] - its signature
    call.__name__ = call.__qualname__ = name
    call.__module__ = f"cotan.{module}"
    call.__doc__ = f"{sentence}\n\nThe arguments are those of ``{module}.{name}``, and their values must be known.\n"
    return call
