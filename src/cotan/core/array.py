"""`Array`: what cotan's functions return. An ndarray to everyone else, with ``.at`` besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import ArgumentTypeError, teach
from .operators import surface
from .tracing import TYPE_READERS, Tracer

__all__ = ["Array", "plain", "to_array"]


class Array(np.ndarray[Any, np.dtype[Any]]):
    """An ndarray with the functional updates of JAX: ``x.at[i].set(v)`` is a changed copy.

    Every NumPy function takes it, and its arithmetic is NumPy's own. It is writable, like any ndarray.
    """

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        if type(index) is Tracer or (type(index) is tuple and any(type(i) is Tracer for i in index)):
            return surface().getitem(self, index)
        return super().__getitem__(index)

    @property
    def at(self) -> Any:
        return surface().at(self)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return surface()


TYPE_READERS[Array] = TYPE_READERS[np.ndarray]


def to_array(x: Any, given: Sequence[Any] = ()) -> Any:
    """A result on its way to the user: an Array of its own memory; a tracer as it is.

    What only views other memory is copied, and so is what is one of the arrays ``given`` in.
    """
    kind = type(x)
    for other in given:
        if x is other and kind is np.ndarray:
            return x.copy().view(Array)
    if kind is np.ndarray:
        return x.view(Array) if x.base is None and x.flags.writeable else x.copy().view(Array)
    return x if kind is Tracer or kind is Array else np.array(x).view(Array)


def plain(x: Any) -> Any:
    """An argument on its way in: a base-class ndarray in native byte order; scalars and tracers as they are."""
    if isinstance(x, np.ndarray):
        if type(x) is not np.ndarray:
            if type(x) is not Array and isinstance(x, np.ma.MaskedArray):
                what = "a masked array takes no part in traced code."
                raise teach(ArgumentTypeError, what, do="use its data, and its mask in cotan.numpy.where.")
            x = x.view(np.ndarray)
        return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
    return x
