"""The calls of the surface's functions: eager, a function is NumPy's own; traced, it is a definition in terms of ops.

A definition may rename parameters of NumPy, and omit some. A call may still use NumPy's names and order: `as_defined` maps its arguments to
the definition, and refuses, by name, an omitted parameter. Parameters annotated as `Numbers` are operands: lists of traced values become
arrays before the definition sees them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import Any, NoReturn, ParamSpec

from ..core.errors import ArgumentTypeError, teach
from ..core.tracing import Tracer
from .promotion import SIMPLE, has_tracer, operand, wrap

__all__ = ["eager", "fitted", "refuse_arguments"]

P = ParamSpec("P")
READY = frozenset({*SIMPLE, Tracer})
RENAMED = 2
"""The number of leading parameters that a definition may rename."""


def eager(numpy_function: Callable[..., Any], check: Callable[..., None] | None = None) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Decorate the traced definition of a function: if no argument is traced, ``numpy_function`` is called instead.

    ``check`` is called after a ValueError of NumPy, with the same arguments, to raise a better error.
    """

    def decorate(definition: Callable[P, Any]) -> Callable[P, Any]:
        defined = Definition(definition, numpy_function)

        most = sys.maxsize if defined.open_ended else defined.count

        @wraps(definition)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            if kwargs and kwargs.pop("out", None) is not None:
                refuse_arguments(definition.__name__, ("out",))
            if len(args) > most:
                args, kwargs = as_defined(definition, numpy_function, args, kwargs)  # type: ignore[assignment] - refuses out=
            for x in args:
                kind = type(x)
                if kind is Tracer or (kind not in SIMPLE and has_tracer(x)):
                    break
            else:
                if not (kwargs and any(map(has_tracer, kwargs.values()))):
                    try:
                        return wrap(numpy_function(*args, **kwargs))
                    except ValueError:
                        if check is not None:
                            check(*args, **kwargs)
                        raise
                    except TypeError:
                        if defined.has_alone(kwargs):
                            return wrap(definition(*args, **kwargs))
                        raise
            return defined.traced(args, kwargs)

        return call

    return decorate


def fitted(numpy_function: Callable[..., Any]) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
    """Decorate a definition that is also used eagerly: it accepts the names and the order of NumPy's parameters."""

    def decorate(definition: Callable[P, Any]) -> Callable[P, Any]:
        defined = Definition(definition, numpy_function)

        @wraps(definition)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return defined.traced(args, kwargs)

        return call

    return decorate


class Definition:
    """The traced definition of a function, and the facts about its parameters."""

    def __init__(self, function: Callable[..., Any], numpy_function: Callable[..., Any]):
        self.function, self.numpy_function = function, numpy_function
        code = function.__code__  # type: ignore[attr-defined]
        names, total = code.co_varnames, code.co_argcount + code.co_kwonlyargcount
        self.count, self.open_ended, self.any_keyword = code.co_argcount, bool(code.co_flags & 4), bool(code.co_flags & 8)
        self.known = frozenset(names[code.co_posonlyargcount : total])
        self.operands = frozenset(key for key, kind in function.__annotations__.items() if kind.startswith("Numbers"))
        self.places = [name in self.operands for name in names[: self.count]]
        self.rest = self.open_ended and names[total] in self.operands

    def has_alone(self, kwargs: dict[str, Any]) -> bool:
        """Whether the definition has all these keywords, and NumPy lacks one of them."""
        return self.known.issuperset(kwargs) and not parameters_of(self.numpy_function).keys() >= kwargs.keys()

    def traced(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call of the definition."""
        count = self.count
        if (kwargs and not self.any_keyword and not self.known.issuperset(kwargs)) or (len(args) > count and not self.open_ended):
            args, kwargs = as_defined(self.function, self.numpy_function, args, kwargs)
        for k, x in enumerate(args):
            if type(x) not in READY and (self.places[k] if k < count else self.rest):
                args = (*args[:k], operand(x), *args[k + 1 :])
        if kwargs:
            for key, x in kwargs.items():
                if type(x) not in READY and key in self.operands:
                    kwargs[key] = operand(x)
        y = self.function(*args, **kwargs)
        return y if type(y) is Tracer else wrap(y)


@cache
def parameters_of(function: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a function by name, in order."""
    return dict(inspect.signature(function).parameters)


def as_defined(definition: Any, numpy_function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Arguments that fit NumPy's signature, as arguments of ``definition``. A parameter that it lacks may have its default value.

    Raises:
        ArgumentTypeError: there is no such parameter here.
    """
    theirs, ours = parameters_of(numpy_function), parameters_of(definition)
    places = [name for name, p in ours.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = {name for name, p in ours.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    own = {key: value for key, value in kwargs.items() if key not in theirs and key in named}
    bound = inspect.signature(numpy_function).bind(*args, **{key: value for key, value in kwargs.items() if key not in own})
    first: list[Any] = []
    rest, refused = own, list[str]()
    for place, (name, parameter) in enumerate(theirs.items()):
        if name not in bound.arguments:
            continue
        value, kind = bound.arguments[name], parameter.kind
        if place == len(first) < len(places) and (name == places[place] or (name not in named and place < RENAMED)):
            first.append(value)
        elif name in named:
            rest[name] = value
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            first += value
        elif kind is inspect.Parameter.VAR_KEYWORD:
            refused += value
        elif value is not parameter.default and not (isinstance(value, str | bool) and value == parameter.default):
            refused.append(name)
    if refused:
        refuse_arguments(definition.__name__, refused)
    return tuple(first), rest


REMEDIES = {
    "out": "the result is a new array: write y = {name}(x).",
    "where": "write cotan.numpy.where(condition, {name}(x), other).",
    "dtype": "convert before or after: {name}(x).astype(dtype).",
    "casting": "convert with x.astype(dtype) first.",
    "order": "leave it out: arrays of cotan have no memory order.",
}


def refuse_arguments(name: str, keywords: Sequence[str] | dict[str, Any]) -> NoReturn:
    """Raise: ``name`` does not take these keyword arguments of NumPy."""
    names = list(keywords)
    remedy = REMEDIES.get(names[0], f"leave out {names[0]}=.").format(name=name)
    raise teach(ArgumentTypeError, f"{name}: cotan.numpy does not take {', '.join(f'{key}=' for key in names)} here.", do=remedy)
