"""LAPACK of NumPy, by address, for large matrices.

NumPy and SciPy each bring an OpenBLAS with threads of its own. The workers of one poll for work for some 120 ms after a product, on the
processors that the workers of the other need: a rule that uses both takes up to a hundred times as long. So large matrices that a rule
gives to LAPACK go to the library that its products are from. Where that cannot be called, and for small matrices, SciPy is called.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

__all__ = ["SharedLibrary", "numpys_function", "of_numpy"]

LETTERS = {"f": "s", "d": "d", "F": "c", "D": "z"}


class SharedLibrary(NamedTuple):
    """A shared library and its dependencies."""

    library: ctypes.CDLL

    def address(self, symbol: str) -> int | None:
        """The address of a function; None if the library does not have it."""
        return ctypes.cast(getattr(self.library, symbol), ctypes.c_void_p).value if hasattr(self.library, symbol) else None


NEEDED = (
    *("scipy_dgemm_64_", "scipy_dgetrf_64_", "scipy_zheevd_64_"),
    *("scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"),
)
"""The symbols by which the OpenBLAS of NumPy's wheels is recognized: it has integers of 64 bits and all of LAPACK."""


@lru_cache(maxsize=1)
def of_numpy() -> SharedLibrary | None:
    """The OpenBLAS of NumPy's wheels; None if NumPy has another library, or one whose symbols cannot be looked up."""
    try:
        found = SharedLibrary(ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__))
    except (ImportError, OSError):
        return None
    return found if all(found.address(symbol) is not None for symbol in NEEDED) else None


@lru_cache(maxsize=64)
def numpys_function(name: str, dtype: np.dtype[Any]) -> Callable[..., Any] | None:
    """SciPy's function for a routine of LAPACK (trtrs, getrf or getri, with the arguments that rules give) by the library of NumPy."""
    library = of_numpy()
    if library is None or name not in FUNCTIONS:
        return None
    address = library.address(f"scipy_{LETTERS[dtype.char]}{name}_64_")
    if address is None:
        return None
    routine, function = ctypes.CFUNCTYPE(None)(address), FUNCTIONS[name]
    return lambda *args, **kwargs: function(routine, *args, **kwargs)


def integer(n: int) -> Any:
    """The address of a number."""
    return ctypes.byref(ctypes.c_int64(n))


def memory(x: Any) -> Any:
    """The address of an array."""
    return ctypes.c_void_p(x.ctypes.data)


def getrf(routine: Any, a: Any) -> tuple[Any, Any, int]:
    """(factors, pivots, info)."""
    m, n = a.shape
    factors, pivots, info = np.array(a, order="F"), np.empty(min(m, n), np.int64), ctypes.c_int64()
    routine(integer(m), integer(n), memory(factors), integer(max(m, 1)), memory(pivots), ctypes.byref(info))
    return factors, pivots - 1, info.value


def getri(routine: Any, factors: Any, pivots: Any, lwork: int, overwrite_lu: bool = False) -> tuple[Any, int]:
    """(inverse, info)."""
    n = len(factors)
    inverse = factors if overwrite_lu and factors.flags.f_contiguous else np.array(factors, order="F")
    places, work, info = np.asarray(pivots, np.int64) + 1, np.empty(max(lwork, 1), factors.dtype), ctypes.c_int64()
    routine(integer(n), memory(inverse), integer(max(n, 1)), memory(places), memory(work), integer(lwork), ctypes.byref(info))
    return inverse, info.value


def trtrs(routine: Any, a: Any, b: Any, lower: bool = False, trans: int = 0, unitdiag: bool = False) -> tuple[Any, int]:
    """(x, info). A matrix whose rows lie in memory one after the other is taken as its transpose, as SciPy's function takes it."""
    n, m = b.shape
    x, info = np.array(b, order="F"), ctypes.c_int64()
    uplo = b"L" if lower else b"U"
    if a.flags.c_contiguous and not a.flags.f_contiguous and (trans != 2 or a.dtype.kind != "c"):
        uplo, trans = (b"U" if lower else b"L"), 0 if trans else 1
    else:
        a = np.asarray(a, order="F")
    letters = uplo, b"NTC"[trans : trans + 1], b"U" if unitdiag else b"N"
    sizes = integer(n), integer(m), memory(a), integer(max(n, 1)), memory(x), integer(max(n, 1))
    routine(*letters, *sizes, ctypes.byref(info), *[ctypes.c_size_t(1)] * 3)
    return x, info.value


FUNCTIONS: dict[str, Callable[..., Any]] = {"getrf": getrf, "getri": getri, "trtrs": trtrs}
