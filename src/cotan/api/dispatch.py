"""How the calls of a jitted function find their code: entries, each for one signature, that are tried one after the other.

An entry takes a call apart with a function written for its tree alone, and hands the leaves to its code, which takes them only if their
types are those that it was made for. So a call that was seen before costs neither a signature nor a look at a tree's structure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
import optree

from ..core import tree
from ..core.array import Array, to_array
from ..core.tracing import TYPE_READERS
from ..core.types import ArrayType
from .watched import kind_of

__all__ = ["Entry", "never", "numpy_entry", "taking_apart"]

MOST_LEAVES = 1000
"""A function for a larger tree would take longer to make than it is worth."""
Leaves = Sequence[Any]


class Entry(NamedTuple):
    """The code for calls of one signature.

    ``launch(*leaves)`` is the result, the tuple of results, or the status of a failure (an int); NotImplemented if the leaves are not quite
    what it takes. ``call(leaves)`` converts them first. ``apart(args, kwargs)`` gives the leaves, or None if the tree is another one; if it
    is None itself, the positional arguments are the leaves. ``spec`` is the structure of the results, None for one array.
    """

    launch: Callable[..., Any]
    call: Callable[[Leaves], Any]
    fail: Callable[[int], NoReturn]
    apart: Callable[..., Leaves | None] | None
    spec: Any


# ---- the NumPy engine ---------------------------------------------------------------------------------------------------------
SCALARS = {kind: TYPE_READERS[kind](kind(0)) for kind in (float, np.float64)}


def numpy_entry(run: Callable[[list[Any]], list[Any]], constants: list[Any], types: tuple[ArrayType, ...], apart: Any, spec: Any) -> Entry:
    """An entry for what the NumPy engine runs."""
    wanted = [(t, t.dtype, t.shape) for t in types]
    kept = frozenset(map(id, constants))
    array, ours = np.ndarray, Array

    def launch(*leaves: Any) -> Any:
        if len(leaves) != len(wanted):
            return NotImplemented
        for x, (t, dtype, shape) in zip(leaves, wanted, strict=True):
            kind = type(x)
            if kind is array or kind is ours:
                if x.shape != shape or (x.dtype is not dtype and x.dtype != dtype):
                    return NotImplemented
            elif SCALARS.get(kind) is not t:
                return NotImplemented
        return call(leaves)

    def call(leaves: Leaves) -> Any:
        found = run([*constants, *leaves])
        if spec is None and type(found[0]) is array and id(found[0]) not in kept:
            return to_array(found[0], leaves)
        taken = {*kept, *map(id, leaves)}
        results = [owned(y, taken) for y in found]
        return results[0] if spec is None else results

    def fail(status: int) -> NoReturn:
        raise AssertionError(status)

    return Entry(launch, call, fail, apart, spec)


def owned(y: Any, taken: set[int]) -> Any:
    """A result as an Array of its own memory: a copy if ``taken`` has its id, because it is an argument, a constant or another result."""
    if isinstance(y, np.ndarray):
        if id(y) in taken:
            y = y.copy()
        taken.add(id(y))
    return to_array(y)


# ---- trees --------------------------------------------------------------------------------------------------------------------
class _Writer:
    """Writes a function that takes a tree of one structure apart."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.known: dict[str, Any] = {}
        self.leaves: list[str] = []
        self.count = 0

    def constant(self, value: Any) -> str:
        """A name for a value that the function compares with or looks up."""
        if type(value) is str:
            return repr(value)
        name = f"k{len(self.known)}"
        self.known[name] = value
        return name

    def node(self, x: str, spec: Any) -> bool:
        """Take ``x`` apart; whether that can be written."""
        if spec.is_leaf():
            self.leaves.append(x)
            return True
        kind, children = spec.type, spec.children()
        if kind is type(None):
            self.lines.append(f"if {x} is not None: return None")
            return True
        if kind not in (tuple, list, dict) and spec.kind != optree.PyTreeKind.NAMEDTUPLE:
            return False
        self.lines.append(f"if type({x}) is not {self.constant(kind)} or len({x}) != {len(children)}: return None")
        if kind is dict:
            return all(self.node(f"{x}[{self.constant(key)}]", child) for key, child in zip(spec.entries(), children, strict=True))
        return self.items(x, children)

    def items(self, x: str, children: Sequence[Any]) -> bool:
        """Take a sequence of known length apart."""
        names = [f"x{self.count + k}" for k in range(len(children))]
        self.count += len(names)
        if names:
            self.lines.append(f"{', '.join(names)}, = {x}")
        return all(self.node(name, child) for name, child in zip(names, children, strict=True))

    def fixed(self, x: str, kind: Any, value: Any) -> None:
        """A static argument must have its value and its kind."""
        other = f"type({x}) is not" if isinstance(kind, type) else f"{self.constant(kind_of)}({x}) !="
        self.lines.append(f"if {other} {self.constant(kind)} or not ({x} == {self.constant(value)}): return None")

    def function(self) -> Any:
        body = "\n        ".join([*self.lines, f"return ({''.join(f'{leaf}, ' for leaf in self.leaves)})"])
        exec(f"def apart(args, kwargs):\n    try:\n        {body}\n    except KeyError:\n        return None", self.known)
        return self.known["apart"]


def never(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Takes no call apart: for trees that the structure alone says how to flatten."""


def taking_apart(spec: Any, static: Sequence[tuple[Any, Any, Any]]) -> Callable[..., Leaves | None] | None:
    """The function that gives the leaves of (args, kwargs) if they have this structure and these static values, else None.

    It is None for arguments that are leaves themselves, and `never` for trees of registered classes and very large ones.
    """
    if not static and spec == tree.structure(((0,) * spec.num_leaves, {})):
        return None
    if spec.num_leaves > MOST_LEAVES:
        return never
    positional, keyword = tree.children(spec)
    by_position = {key: (kind, value) for key, kind, value in static if isinstance(key, int)}
    by_name = {key: (kind, value) for key, kind, value in static if not isinstance(key, int)}
    writer = _Writer()
    count = positional.num_children + len(by_position)
    writer.lines.append(f"if len(args) != {count} or len(kwargs) != {keyword.num_children + len(by_name)}: return None")
    if count:
        writer.lines.append(f"{', '.join(f'a{k}' for k in range(count))}, = args")
    children = iter(positional.children())
    for k in range(count):
        if k in by_position:
            writer.fixed(f"a{k}", *by_position[k])
        elif not writer.node(f"a{k}", next(children)):
            return never
    for key, child in zip(keyword.entries(), keyword.children(), strict=True):
        if not writer.node(f"kwargs[{key!r}]", child):
            return never
    for key, fixed in by_name.items():
        writer.fixed(f"kwargs[{key!r}]", *fixed)
    return writer.function()
