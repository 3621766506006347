"""The registry of library routines that compiled code calls: their addresses, and how they take their arguments.

A routine is named ``"library name"``. `blas` finds routines of BLAS and LAPACK. NumPy's functions for sorting and searching
come from the table of functions of a dtype, and are tested before they are used. `codegen.kernels` asks for routines,
`llvm.builder` calls them, and `cache` binds recalled IR to them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache, partial
from importlib import import_module
from typing import NamedTuple

import numpy as np

from cotan.core.emitting import DType
from cotan.engines.native.runtime.capi import DtypeSlot, dtype_functions
from cotan.engines.native.target import Target

from . import blas

__all__ = ["Routine", "routine", "sorts_in_vectors"]


class Routine(NamedTuple):
    """A library routine: its symbol, whether it takes numbers by address, the LLVM type of its integers, its address in this process."""

    symbol: str
    by_address: bool
    integer: str
    address: int


@lru_cache(maxsize=1024)
def routine(name: str, target: Target = Target.IN_PROCESS) -> Routine | None:
    """A routine by its library and name; None if it does not exist, or fails its test."""
    library, _, rest = name.partition(" ")
    if target is Target.STANDALONE and library in ("blas", "lapack"):
        found = blas.look_up_fortran(library, rest)
        return None if found is None else Routine(f"{rest}_", found[1], found[2], 0)
    found = LIBRARIES[library](rest)
    if found is None:
        return None
    address, by_address, integer = found
    return Routine(f"cotan_{name.replace(' ', '_')}{'_64' * (by_address and integer == 'i64')}", by_address, integer, address)


def sorts_in_vectors(name: str) -> bool:
    """Whether a routine is a sort of NumPy with AVX-512 on this processor, which is two to three times as fast as a radix sort."""
    library, kind, dtype = (*name.split(), "")[:3]
    features = getattr(import_module("numpy._core._multiarray_umath"), "__cpu_features__", {})
    return (library, kind) == ("numpy", "sort") and np.dtype(dtype).itemsize in (4, 8) and bool(features.get("AVX512_SKX"))


# ---- NumPy's functions of a dtype -----------------------------------------------------------------------------------------
SORTING = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p)
ORDERING = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p)
FINDING = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p)


def function_of_dtype(routine: str) -> tuple[int, bool, str] | None:
    """A function of a dtype by name (``"sort float64"``), if it passes its test."""
    kind, _, name = routine.partition(" ")
    dtype = np.dtype(name)
    functions = dtype_functions(dtype)
    address = functions[DtypeSlot[kind.upper()]] if functions is not None else None
    return (address, False, "i64") if address and passes_test(kind, dtype, address) else None


def passes_test(kind: str, dtype: DType, address: int) -> bool:
    """Whether a function gives the result of NumPy's own call of it, on numbers with ties and nans."""
    for n in (1, 2, 7, 40, 300, 3000):
        x = (np.random.default_rng(n).normal(size=n) * 5).round().astype(dtype)
        if dtype.kind in "fc":
            x[n // 2 :: 7] = np.nan
        y, order = x.copy(), np.arange(n)
        if kind in ("sort", "stable_sort"):
            failed = SORTING(address)(y.ctypes.data, n, None)
            good = np.array_equal(y, np.sort(x, kind="stable"), equal_nan=dtype.kind in "fc")
        elif kind == "stable_argsort":
            failed = ORDERING(address)(y.ctypes.data, order.ctypes.data, n, None)
            good = np.array_equal(order, np.argsort(x, kind="stable"))
        else:
            failed = FINDING(address)(y.ctypes.data, n, order.ctypes.data, None)
            good = order[0] == getattr(np, kind)(x)
        if failed or not good:
            return False
    return True


LIBRARIES: dict[str, Callable[[str], tuple[int, bool, str] | None]] = {
    "blas": partial(blas.look_up, "blas"),
    "lapack": partial(blas.look_up, "lapack"),
    "numpy": function_of_dtype,
}
