"""SciPy's routines, loaded at their first use: importing scipy.special takes longer than importing all of cotan."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from .openblas import numpys_function

__all__ = ["lapack_function", "special", "special_function"]


class Routines:
    """A module that is imported at the first use of one of its functions."""

    def __init__(self, module: str):
        self._module = module

    def __getattr__(self, name: str) -> Any:
        routine = getattr(import_module(self._module), name)
        setattr(self, name, routine)
        return routine


special, lapack = Routines("scipy.special"), Routines("scipy.linalg.lapack")


THREADED = 48
"""From so many rows on, OpenBLAS may use threads."""
LETTERS = {"f": "s", "d": "d", "F": "c", "D": "z"}


def lapack_function(name: str, dtype: Any, size: int = 0) -> Callable[..., Any]:
    """SciPy's function for a routine of LAPACK on matrices of this dtype (``trtrs``, ``getrf``) and of this many rows; for many of them it
    is that of NumPy's library, if there is one.
    """
    found = numpys_function(name, dtype) if size >= THREADED else None
    return getattr(lapack, LETTERS[dtype.char] + name) if found is None else found


def special_function(name: str) -> Callable[..., Any]:
    """The function ``name`` of scipy.special as the ``numpy`` of an op; results have the dtype of the operands."""

    def call(*operands: Any) -> Any:
        y = getattr(special, name)(*operands)
        dtype = getattr(operands[-1], "dtype", y.dtype)
        return y if y.dtype == dtype else y.astype(dtype)

    return staticmethod(call)  # type: ignore[return-value]
