"""Arrays whose operators mean something else than an ndarray's: `numpy.matrix`, masked arrays, quantities with units.

The memory of such an array is an ndarray like any other. Computing with that memory would drop the mask or the unit, or make an elementwise
product of a matrix product, and nobody would see it. So such arrays are refused, by name, where values enter. A subclass that keeps the
meaning of all operators (`numpy.memmap`, a subclass with metadata) is taken as the ndarray that it is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .errors import ArgumentTypeError, teach

__all__ = ["refuse_other_meaning"]

ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
MEANING = (
    "__array_ufunc__",
    "__array_function__",
    *(f"__{name}__" for name in ("neg", "pos", "abs", "invert", "eq", "ne", "lt", "le", "gt", "ge")),
    *(f"__{side}{name}__" for side in ("", "r") for name in ARITHMETIC),
)
"""The methods by which an ndarray computes as cotan does."""


@lru_cache(maxsize=256)
def other_meaning(kind: type) -> str:
    """The meaning of objects of this class beyond their memory, as a message says it; empty for a harmless one."""
    if not issubclass(kind, np.ndarray):
        return "it carries units" if hasattr(kind, "units") and hasattr(kind, "__array_ufunc__") else ""
    if issubclass(kind, np.ma.MaskedArray):
        return "it has a mask"
    if issubclass(kind, np.matrix):
        return "its * is a product of matrices"
    changed = [name for name in MEANING if getattr(kind, name) is not getattr(np.ndarray, name)]
    if not changed:
        return ""
    return "it carries units" if hasattr(kind, "unit") or hasattr(kind, "units") else f"it has a {changed[0]} of its own"


def refuse_other_meaning(x: Any, name: str = "an argument") -> None:
    """Raise if the operators of ``x`` mean something else than an ndarray's.

    Raises:
        ArgumentTypeError: they do.
    """
    kind = type(x)
    meaning = other_meaning(kind)
    if not meaning:
        return
    full = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    if issubclass(kind, np.ma.MaskedArray):
        raise teach(
            ArgumentTypeError,
            f"{name} is a masked array ({full}), which takes no part in traced code.",
            do="pass its data, x.data, and use its mask in cotan.numpy.where.",
        )
    raise teach(
        ArgumentTypeError,
        f"{name} is a {full}, whose operators mean something else than those of an ndarray: {meaning}.",
        do="pass the numbers as a plain array: numpy.asarray(x), or what the library gives (x.value, x.magnitude).",
    )
