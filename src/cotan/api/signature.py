"""The signature of a call: the structure of its arguments, the types of their leaves, the values of the static ones.

A function is staged once for each signature. `split` takes a call apart into its dynamic and its static arguments, `Signature.arguments`
puts it together again; a `ShapeDtypeStruct` stands for an array of which the type is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..core import tree
from ..core.errors import ArgumentTypeError, teach
from ..core.origin import describe_function
from ..core.program import Program
from ..core.tracing import type_of
from ..core.types import DTYPES, ArrayType, array_type, refuse_foreign_dtype
from .arguments import leaf
from .named import Named
from .watched import Watched, kind_of

__all__ = ["ShapeDtypeStruct", "Signature", "Staged", "abstract", "argument_names", "split", "static_name"]


@dataclass(frozen=True)
class ShapeDtypeStruct:
    """The shape and dtype of an array, without the array."""

    shape: tuple[int, ...]
    dtype: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        if self.dtype not in DTYPES:
            refuse_foreign_dtype("this ShapeDtypeStruct is", self.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


def abstract(x: Any, name: str) -> ArrayType:
    """The type of an argument that may be an array or a `ShapeDtypeStruct`."""
    if isinstance(x, ShapeDtypeStruct):
        return array_type(x.shape, x.dtype)
    return type_of(leaf(x, name))


class Signature(NamedTuple):
    """The key of a staged Program."""

    spec: Any
    """The structure of (args, kwargs) without the static arguments."""
    types: tuple[ArrayType, ...]
    static: tuple[Any, ...]
    """(position or name, `kind_of`, value) of each static argument."""

    def arguments(self, leaves: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call with these leaves: the inverse of `split`."""
        positional, keyword = tree.unflatten(self.spec, leaves)
        args, kwargs = list(positional), dict(keyword)
        for key, _, value in self.static:
            if isinstance(key, int):
                args.insert(key, value)
            else:
                kwargs[key] = value
        return args, kwargs

    def differences(self, new: Signature) -> list[str]:
        """The differences between this signature and a ``new`` one, each as a message says it."""
        if self.spec != new.spec:
            return [f"the arguments form another tree: {tree.describe(new.spec)}, where {tree.describe(self.spec)} was known"]
        names = argument_names(new.spec)
        found = [f"{name} is {b}, where {a} was known" for name, a, b in zip(names, self.types, new.types, strict=True) if a != b]
        if self.static != new.static:
            found += [
                f"the static argument {static_name(b[0])} is {b[2]!r}, where {a[2]!r} was known"
                for a, b in zip(self.static, new.static, strict=False)
                if a != b
            ]
        return found


class Staged(NamedTuple):
    """A function staged at one signature: its Program, the values it captured, the structure of its result."""

    program: Program
    constants: list[Any]
    out_spec: Any
    watched: Watched | None = None
    """The static arguments that are known by their identity."""


def argument_names(spec: Any) -> list[str]:
    """``args[0]['w']`` for each leaf of (args, kwargs)."""
    positional, keyword = tree.children(spec)
    return tree.leaf_names(positional, "args") + tree.leaf_names(keyword, "kwargs")


def static_name(key: int | str) -> str:
    """The name of a static argument, by its position or keyword."""
    return f"args[{key}]" if isinstance(key, int) else key


def split(fun: Callable[..., Any], static: Named, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    """The dynamic arguments of a call of ``fun`` as a tree, and the static ones as a hashable tuple.

    Raises:
        ArgumentTypeError: a static argument has no hash.
    """
    if not static:
        return (args, kwargs), ()
    positions = {k % len(args) for k in static.numbers if -len(args) <= k < len(args)}
    given: list[Any] = [(k, args[k]) for k in sorted(positions)] + [(k, kwargs[k]) for k in sorted(kwargs) if k in static.names]
    for key, value in given:
        try:
            hash(value)
        except TypeError:
            name = static_name(key)
            raise teach(
                ArgumentTypeError,
                f"jit: the static argument {name} of {describe_function(fun)} is a {type(value).__name__}, which has no hash.",
                do="make it hashable (a tuple instead of a list, a frozen dataclass), or pass arrays as ordinary arguments.",
            ) from None
    dynamic_args = tuple(x for k, x in enumerate(args) if k not in positions)
    dynamic_kwargs = {k: v for k, v in kwargs.items() if k not in static.names}
    return (dynamic_args, dynamic_kwargs), tuple((key, kind_of(value), value) for key, value in given)
