"""Objects that staged code has read as constants: the instance of a jitted method, a static argument that is known by its identity.

A Program holds the attributes that such an object had when it was staged. `Watched` remembers them, so that a later change is seen and the
function staged anew; and it finds a traced value that the function has left in an attribute, which nobody could use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from copy import copy
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import EscapedTracerError, teach
from ..core.tracing import Tracer
from .transformed import Transformed

__all__ = ["Guard", "Watched", "captured_objects", "changing_parts", "kind_of", "known_by_identity"]

VALUES = (int, float, complex, str, bytes, type(None), np.generic)
SEQUENCES = (tuple, list, set, frozenset, deque)
NUMPY_FUNCTIONS = (np.ufunc, type(np.concatenate))
OPAQUE = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType, *NUMPY_FUNCTIONS, Tracer)
OURS = "_cotan_jitted"
"""The attribute in which an instance keeps its jitted methods."""


class Leaf(NamedTuple):
    """Something that an object refers to: a number, text, an array; of anything else its identity counts."""

    path: str
    value: Any


def leaves(x: Any, path: str, seen: dict[int, str]) -> Iterator[Leaf]:
    """The objects that ``x`` refers to, through its attributes and containers, in order."""
    waiting = [Leaf(path, x)]
    while waiting:
        path, x = leaf = waiting.pop()
        if isinstance(x, (*VALUES, np.ndarray)):
            yield leaf
            continue
        if id(x) in seen:
            yield Leaf(path, seen[id(x)])
            continue
        seen[id(x)] = path
        if isinstance(x, SEQUENCES):
            yield Leaf(f"len({path})", len(x))
            below = [Leaf(f"{path}[{k}]", y) for k, y in enumerate(x)]
        elif isinstance(x, dict):
            below = [Leaf(f"{path}[{key!r}]", y) for key, y in x.items()]
        else:
            yield leaf
            below = [] if isinstance(x, OPAQUE) else [Leaf(f"{path}.{name}", y) for name, y in attributes(x)]
        waiting += reversed(below)


def attributes(x: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of an instance: its own, in its dict and in slots, and the data of its class."""
    for name, y in getattr(x, "__dict__", {}).items():
        if name != OURS:
            yield name, y
    for cls in type(x).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(x, name):
                yield name, getattr(x, name)
    yield from class_data(type(x))


def class_data(cls: type) -> Iterator[tuple[str, Any]]:
    """The data among the attributes of a class and its bases."""
    for c in cls.__mro__:
        if c.__module__ != "builtins":
            for name, y in c.__dict__.items():
                if not name.startswith("__") and name != OURS and isinstance(y, (*VALUES, np.ndarray, tuple, list, dict)):
                    yield name, y


def of(x: Any, path: str) -> Iterator[Leaf]:
    """The leaves of an object, or of the data of a class."""
    if isinstance(x, type):
        seen: dict[int, str] = {}
        return (found for name, y in class_data(x) for found in leaves(y, f"{path}.{name}", seen))
    return leaves(x, path, {})


def kept(leaf: Leaf) -> Leaf:
    """A leaf as it is now: a copy of an array, which may be changed in place."""
    return Leaf(leaf.path, leaf.value.copy()) if isinstance(leaf.value, np.ndarray) and not leaf.value.dtype.hasobject else leaf


def same(a: Any, b: Any) -> bool:
    """Whether two values are the same: arrays by their bytes, other values by type and value, the rest by identity."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if a.dtype.hasobject:
            return a is b
        return np.array_equal(np.ascontiguousarray(a).reshape(-1).view(np.uint8), np.ascontiguousarray(b).reshape(-1).view(np.uint8))
    return a is b or (isinstance(a, VALUES) and ((bool(a == b) and kind_of(a) == kind_of(b)) or (a != a and b != b)))


def kind_of(value: Any) -> Any:
    """What tells a value from others that are equal to it: its class, the sign of a zero, and those of the items of a tuple."""
    cls = type(value)
    if cls is tuple:
        return cls, *map(kind_of, value)
    return (cls, str(value)) if cls in ZEROS and value == 0 else cls


ZEROS = frozenset({float, complex, np.float64, np.float32, np.complex128, np.complex64})
"""The classes of numbers that have a zero of either sign."""


class Watched:
    """Objects by name, with the objects to which they referred when it was made."""

    def __init__(self, objects: Sequence[tuple[str, Any]]):
        self.objects = list(objects)
        self.then = [list(map(kept, of(x, name))) for name, x in self.objects]

    def change(self) -> str:
        """The change since then, as a message says it; empty if there is none."""
        for (name, x), then in zip(self.objects, self.then, strict=True):
            now = list(of(x, name))
            if [leaf.path for leaf in now] != [leaf.path for leaf in then]:
                return f"{name} has other attributes or items"
            for a, b in zip(then, now, strict=True):
                if not same(a.value, b.value):
                    return f"{b.path} has changed"
        return ""


def known_by_identity(x: Any) -> bool:
    """Whether the hash of an object is its identity, though its contents may change."""
    return type(x).__hash__ is object.__hash__ and not isinstance(x, OPAQUE) and (hasattr(x, "__dict__") or hasattr(type(x), "__slots__"))


def changing_parts(x: Any, name: str) -> list[tuple[str, Any]]:
    """``x``, a static argument, if its hash does not say all that is in it: it is, or holds, an object that is known by identity."""
    if isinstance(x, partial):
        return [found for y in (x.func, *x.args, *x.keywords.values()) for found in (*captured_objects(y), *changing_parts(y, name))]
    if isinstance(x, type):
        return [(name, x)] if x.__module__ != "builtins" and any(True for _ in class_data(x)) else []
    return [(name, x)] if not isinstance(x, OPAQUE) and any(known_by_identity(leaf.value) for leaf in of(x, name)) else []


def captured_objects(fun: Any) -> list[tuple[str, Any]]:
    """The instances that a callable carries along: the instance of a bound method, a callable instance, the instances in a partial."""
    if isinstance(fun, partial):
        return [found for f in (fun.func, *fun.args, *fun.keywords.values()) for found in captured_objects(f)]
    if isinstance(fun, Transformed):
        return [found for f in (*fun.args, *fun.kwargs.values()) for found in captured_objects(f)]
    if isinstance(fun, MethodType):
        return [("self" if not isinstance(fun.__self__, type) else fun.__self__.__name__, fun.__self__)]
    return [(type(fun).__name__, fun)] if known_by_identity(fun) and not type(fun).__module__.startswith("cotan.") else []


class Guard:
    """Looks after objects while a function is staged. A traced value that it leaves in their attributes, or in containers there, is found,
    and everything is put back as it was.
    """

    def __init__(self, objects: Sequence[tuple[str, Any]]):
        self.objects = [(name, x) for name, x in objects if not isinstance(x, type)]
        self.known = {id(leaf.value) for name, x in self.objects for leaf in of(x, name) if type(leaf.value) is Tracer}
        self.before: dict[int, tuple[Any, Any]] = {}
        for _, x in self.objects:
            self.remember(x)

    def remember(self, x: Any) -> None:
        """Keep the present attributes or items of ``x``, and of these objects in turn."""
        waiting = [x]
        while waiting:
            x = waiting.pop()
            if id(x) in self.before or isinstance(x, (*VALUES, *OPAQUE, np.ndarray)):
                continue
            if isinstance(x, (*SEQUENCES, dict)):
                self.before[id(x)] = x, copy(x)
                waiting += x.values() if isinstance(x, dict) else x
            elif hasattr(x, "__dict__"):
                self.before[id(x)] = x, dict(vars(x))
                waiting += vars(x).values()

    def check(self, function: str) -> None:
        """Raise if there is a tracer that was not there before."""
        for name, x in self.objects:
            for leaf in of(x, name):
                if type(leaf.value) is Tracer and id(leaf.value) not in self.known:
                    error = left_behind(leaf, function)
                    for y, then in self.before.values():
                        put_back(y, then)
                    raise error


def put_back(x: Any, then: Any) -> None:
    """Restore the attributes or the items of ``x``."""
    if isinstance(x, list | deque):
        x.clear()
        x.extend(then)
    elif isinstance(x, dict | set):
        x.clear()
        x.update(then)
    elif not isinstance(x, tuple | frozenset):
        ours = {key: value for key, value in vars(x).items() if key == OURS}
        vars(x).clear()
        vars(x).update(then | ours)


def left_behind(leaf: Leaf, function: str) -> EscapedTracerError:
    return teach(
        EscapedTracerError,
        f"jit: {function} has put a traced value into {leaf.path}, which outlives the call: {leaf.value!r}.",
        do=f"return the new value and assign it outside, as in {leaf.path} = f(...): a compiled call runs no Python code, so it assigns "
        "no attribute.",
    )
