"""Closed-over tracers as explicit operands.

A function with a custom rule may close over a traced value: ``c`` below is a tracer of the outer ``grad``.

    def loss(c):
        @cotan.custom_jvp
        def f(x): return c * x
        ...

The rules of ``f`` run under another trace than its body, so such values must become operands. `find_tracers` looks for them in the places
where Python stores the values that a function closes over: cells, defaults, partial arguments, attributes of bound instances, and
containers in these. `substitute` copies the function with other values in their positions, at once or later; until then each position holds
a `Hole`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from ..core.tracing import Tracer

__all__ = ["Hole", "find_tracers", "substitute"]

CONTAINERS = (tuple, list, dict)


class Hole:
    """A position in a function's closure for a value that is filled in later."""

    __slots__ = ()


PLACES = (Tracer, Hole)


def find_tracers(*functions: Any, kind: type = Tracer) -> list[Any]:
    """The distinct tracers (or holes) that these functions and containers hold, in order of discovery."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    todo = list(functions)
    while todo:
        x = todo.pop()
        if type(x) is kind:
            found.setdefault(id(x), x)
            continue
        if id(x) in seen or not holds_values(x):
            continue
        seen.add(id(x))
        todo.extend(held_values(x))
    return list(found.values())


def holds_values(x: Any) -> bool:
    return isinstance(x, (FunctionType, MethodType, partial, *CONTAINERS)) or hasattr(x, "closed_over") or is_instance(x)


def is_instance(x: Any) -> bool:
    """Whether ``x`` is an instance of a class that has a tracer, or a hole, in an attribute or in a container there."""
    if isinstance(x, (type, ModuleType)) or not hasattr(x, "__dict__"):
        return False
    found = vars(x).values()
    return any(type(v) in PLACES for v in found) or any(
        type(v) in PLACES for y in found if type(y) in CONTAINERS for v in (y.values() if type(y) is dict else y)
    )


def held_values(x: Any) -> list[Any]:
    """The values to which a function or container refers directly."""
    if isinstance(x, FunctionType):
        cells = [contents(c) for c in x.__closure__ or ()]
        return [*cells, *(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values()]
    if isinstance(x, MethodType):
        return [x.__func__, x.__self__]
    if isinstance(x, partial):
        return [x.func, *x.args, *x.keywords.values()]
    if isinstance(x, dict):
        return list(x.values())
    if isinstance(x, tuple | list):
        return list(x)
    return list((x.closed_over() if hasattr(x, "closed_over") else vars(x)).values())


def contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell: its name is assigned later
        return None


def substitute(x: Any, values: Mapping[int, Any], memo: dict[int, Any] | None = None) -> Any:
    """A copy of ``x`` in which each tracer or hole whose ``id`` is a key of ``values`` is replaced; ``x`` itself if it holds none."""
    memo = {} if memo is None else memo
    if type(x) is Tracer or type(x) is Hole:
        return values.get(id(x), x)
    if not holds_values(x) or not any(id(t) in values for kind in (Tracer, Hole) for t in find_tracers(x, kind=kind)):
        return x
    if id(x) in memo:
        return memo[id(x)]

    def again(y: Any) -> Any:
        return substitute(y, values, memo)

    if isinstance(x, FunctionType):
        return copy_function(x, again, memo)
    if isinstance(x, MethodType):
        return MethodType(again(x.__func__), again(x.__self__))
    if isinstance(x, partial):
        return partial(again(x.func), *map(again, x.args), **{k: again(v) for k, v in x.keywords.items()})
    if isinstance(x, CONTAINERS):
        return copy_container(x, again)
    if not hasattr(x, "closed_over"):
        new = memo[id(x)] = copy(x)
        new.__dict__.update({k: again(v) for k, v in vars(x).items()})
        return new
    return x.with_closed_over({k: again(v) for k, v in x.closed_over().items()})


def copy_container(x: Any, again: Callable[[Any], Any]) -> Any:
    """A tuple (named or not), list or dict with ``again`` applied to its items."""
    if isinstance(x, dict):
        return {k: again(v) for k, v in x.items()}
    items = [again(v) for v in x]
    return items if isinstance(x, list) else type(x)(*items) if hasattr(x, "_fields") else tuple(items)


def copy_function(x: FunctionType, again: Callable[[Any], Any], memo: dict[int, Any]) -> FunctionType:
    """A function with the same code, and ``again`` applied to the values of its cells and defaults."""
    cells = tuple(CellType() for _ in x.__closure__ or ())
    new = memo[id(x)] = FunctionType(x.__code__, x.__globals__, x.__name__, None, cells)
    for cell, old in zip(cells, x.__closure__ or (), strict=True):
        try:
            cell.cell_contents = again(old.cell_contents)
        except ValueError:  # an empty cell stays empty
            continue
    new.__defaults__ = tuple(map(again, x.__defaults__)) if x.__defaults__ else None
    new.__kwdefaults__ = {k: again(v) for k, v in x.__kwdefaults__.items()} if x.__kwdefaults__ else {}
    new.__dict__.update(x.__dict__)
    new.__module__, new.__qualname__ = x.__module__, x.__qualname__
    return new
