"""A function without its static arguments: those of `jit`, and texts and functions among the arguments, which have no derivative."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from ..api.jit import Jitted
from ..api.named import Named
from ..api.signature import split
from ..core import tree
from ..core.errors import ArgumentError, teach
from ..core.origin import describe_function

__all__ = ["without_static"]


def without_static(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], argnums: Sequence[int]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[int]]:
    """The function of the other arguments, jitted or not, these arguments, and the numbers ``argnums`` among them.

    Raises:
        ArgumentError: one of the numbers is that of a static argument.
    """
    static = Named(tuple(k for k, x in enumerate(args) if is_static(x)), tuple(name for name, x in kwargs.items() if is_static(x)))
    while isinstance(f, Jitted):
        static = Named((*static.numbers, *(k % len(args) for k in f.static.numbers)), (*static.names, *f.static.names))
        f = f.fun
    if not static:
        return f, args, kwargs, list(argnums)
    (dynamic, keyword), given = split(f, static, args, kwargs)
    positions = sorted(key for key, *_ in given if isinstance(key, int))
    for k in argnums:
        if k in positions:
            raise teach(ArgumentError, f"explain: argument {k} of {describe_function(f)} is static.", do="give argnums of arrays.")

    @wraps(f)
    def rest(*args: Any, **kwargs: Any) -> Any:
        every = list(args)
        for key, _, value in given:
            if isinstance(key, int):
                every.insert(key, value)
            else:
                kwargs[key] = value
        return f(*every, **kwargs)

    names = {key for key, *_ in given if not isinstance(key, int)}
    parameters = [p for k, p in enumerate(inspect.signature(f).parameters.values()) if k not in positions and p.name not in names]
    rest.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return rest, tuple(dynamic), dict(keyword), [k - sum(p < k for p in positions) for k in argnums]


def is_static(x: Any) -> bool:
    """Whether an argument is a text or a function."""
    return tree.structure(x).is_leaf() and (isinstance(x, str | bytes) or callable(x))
