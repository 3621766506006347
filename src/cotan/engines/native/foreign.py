"""Routines of libraries that compiled code calls: where they are, and how they take their arguments.

A routine is named ``"library name"``. BLAS and LAPACK are SciPy's, by the capsules of ``cython_blas`` and ``cython_lapack``, whose names
are the signatures; the width of their integers is read from these. NumPy's functions that sort and search are found in the table of
functions of a dtype, and are tried out before they are trusted.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

import numpy as np

from .machine import machine

__all__ = ["Foreign", "any_threads", "foreign", "fortran_integer", "limit_blas"]


class Foreign(NamedTuple):
    """A routine that is there: its symbol, whether it takes numbers by address, and the LLVM type of its integers."""

    symbol: str
    by_address: bool
    integer: str


@lru_cache(maxsize=1024)
def foreign(name: str) -> Foreign | None:
    """A routine by its library and name, made known to LLVM; None if there is no such routine here, or not as it is known."""
    library, _, routine = name.partition(" ")
    found = LIBRARIES[library](routine)
    if found is None:
        return None
    address, by_address, integer = found
    symbol = f"cotan_{name.replace(' ', '_')}"
    machine().add_symbol(symbol, address)
    return Foreign(symbol, by_address, integer)


@lru_cache(maxsize=1)
def fortran_integer() -> np.dtype[Any]:
    """The integers of BLAS and LAPACK."""
    found = foreign("lapack dgetrf")
    return np.dtype(np.int64 if found is not None and found.integer == "i64" else np.int32)


# ---- threads of BLAS --------------------------------------------------------------------------------------------------------
_threads = (ctypes.c_int64 * 3)()
"""A lock; how many calls want a limit at the moment; how many threads there were before the first of them."""
COUNTING = """
@cotan_blas_threads = external global [3 x i64]
define internal void @limit_blas(i1 %begin, i32 %wanted) noinline nounwind {
entry:
  br label %wait
wait:
  %got = cmpxchg ptr @cotan_blas_threads, i64 0, i64 1 acquire monotonic
  %mine = extractvalue { i64, i1 } %got, 1
  br i1 %mine, label %locked, label %wait
locked:
  %count_at = getelementptr i64, ptr @cotan_blas_threads, i64 1
  %before_at = getelementptr i64, ptr @cotan_blas_threads, i64 2
  %old = load i64, ptr %count_at
  %step = select i1 %begin, i64 1, i64 -1
  %new = add i64 %old, %step
  store i64 %new, ptr %count_at
  %limit = select i1 %begin, i64 %old, i64 %new
  %outermost = icmp eq i64 %limit, 0
  br i1 %outermost, label %change, label %done
change:
  br i1 %begin, label %first, label %last
first:
  %threads = call i32 @cotan_blas_get_threads()
  %wide = zext i32 %threads to i64
  store i64 %wide, ptr %before_at
  %fewer = icmp slt i32 %wanted, %threads
  %now = select i1 %fewer, i32 %wanted, i32 %threads
  call void @cotan_blas_set_threads(i32 %now)
  br label %done
last:
  %kept = load i64, ptr %before_at
  %narrow = trunc i64 %kept to i32
  call void @cotan_blas_set_threads(i32 %narrow)
  br label %done
done:
  store atomic i64 0, ptr @cotan_blas_threads release, align 8
  ret void
}"""


@lru_cache(maxsize=1)
def limit_blas() -> str | None:
    """A function ``void limit_blas(i1, i32)`` as text: from true to false BLAS uses so many threads; None if it is not OpenBLAS.

    OpenBLAS has one number of threads for the whole process. The first call that wants a limit sets it, the last puts it back.
    """
    try:
        library = ctypes.CDLL(scipy_module("cython_blas").__file__)
    except (ImportError, OSError):
        return None
    for pattern in ("scipy_openblas_{}_num_threads", "openblas_{}_num_threads", "scipy_openblas_{}_num_threads64_"):
        names = {word: pattern.format(word) for word in ("get", "set")}
        if all(hasattr(library, name) for name in names.values()):
            for word, name in names.items():
                address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
                assert address is not None
                machine().add_symbol(f"cotan_blas_{word}_threads", address)
            machine().add_symbol("cotan_blas_threads", ctypes.addressof(_threads))
            return COUNTING
    return None


def any_threads(text: str) -> str:
    """The text of code that leaves the threads of BLAS alone."""
    rows = text.replace(COUNTING, "define internal void @limit_blas(i1 %begin, i32 %wanted) {\n  ret void\n}").split("\n")
    return "\n".join(row for row in rows if not (row.startswith("declare") and "_threads(" in row and "@cotan_blas_" in row))


# ---- SciPy's capsules ------------------------------------------------------------------------------------------------------
_loading = RLock()


def scipy_module(name: str) -> Any:
    """A Cython module of ``scipy.linalg``, loaded once: a module that another thread is loading is not whole yet."""
    with _loading:
        return load_alone(name)


@lru_cache(maxsize=2)
def load_alone(name: str) -> Any:
    """A Cython module of ``scipy.linalg``. It needs nothing of that package, whose import takes a hundred times as long: so it is loaded
    alone, and then forgotten by the import system, which finds the same module when somebody imports the package.
    """
    whole = f"scipy.linalg.{name}"
    if "scipy.linalg" in sys.modules:
        return import_module(whole)
    folder = Path(import_module("scipy").__file__ or "").parent / "linalg"
    spec = PathFinder.find_spec(whole, [str(folder)])
    if spec is None or not isinstance(spec.loader, ExtensionFileLoader):
        return import_module(whole)
    try:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:
        return import_module(whole)
    if "scipy.linalg" not in sys.modules:
        sys.modules.pop(whole, None)
    return module


def capsule_of(module: str) -> Callable[[str], tuple[int, bool, str] | None]:
    """Looks up routines among the capsules of a Cython module."""

    def look_up(routine: str) -> tuple[int, bool, str] | None:
        try:
            capsule = scipy_module(module).__pyx_capi__[routine]
        except (ImportError, KeyError):
            return None
        name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
        name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
        pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        signature: bytes = name_of(capsule)
        return pointer_of(capsule, signature), True, integer_of(signature.decode())

    return look_up


def integer_of(signature: str) -> str:
    """The LLVM type of the integers of a signature; they are the only arguments whose C type ends in int or long or names a width."""
    kinds = {kind.strip(" *)") for kind in signature[signature.index("(") + 1 :].split(",")}
    wide = {"long", "long long", "int64_t", "npy_int64", "blas_int64"}
    if kinds & wide or any("int64" in kind for kind in kinds):
        return "i64" if ctypes.sizeof(ctypes.c_long) == 8 or not kinds & {"long"} else "i32"
    return "i32"


# ---- NumPy's functions of a dtype -----------------------------------------------------------------------------------------
FUNCTIONS_OF, SLOTS = 365, {"argmax": 26, "sort": 33, "stable_sort": 35, "stable_argsort": 38, "argmin": 46}
"""Where NumPy's table of its C API has ``_PyDataType_GetArrFuncs``, and where a ``PyArray_ArrFuncs`` has the functions (both are part of
the binary interface of NumPy 2)."""
SORTING = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p)
ORDERING = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p)
FINDING = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p)


def function_of_dtype(routine: str) -> tuple[int, bool, str] | None:
    """``"sort float64"`` and its like, if it does on trial what NumPy says."""
    kind, _, name = routine.partition(" ")
    dtype = np.dtype(name)
    functions = functions_of(dtype)
    address = functions[SLOTS[kind]] if functions is not None else None
    return (address, False, "i64") if address and right(kind, dtype, address) else None


def functions_of(dtype: np.dtype[Any]) -> Any:
    """The table of a dtype's functions."""
    if np.lib.NumpyVersion(np.__version__) < "2.0.0" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    api = getattr(import_module("numpy._core._multiarray_umath"), "_ARRAY_API", None)
    if api is None:
        return None
    table = (ctypes.c_void_p * (FUNCTIONS_OF + 1)).from_address(pointer_of(api, None))
    look_up = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(table[FUNCTIONS_OF])
    where = look_up(dtype)
    return (ctypes.c_void_p * (max(SLOTS.values()) + 1)).from_address(where) if where else None


def right(kind: str, dtype: np.dtype[Any], address: int) -> bool:
    """Whether a function gives what NumPy's own call of it gives, on numbers with ties and nans."""
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
    "blas": capsule_of("cython_blas"),
    "lapack": capsule_of("cython_lapack"),
    "numpy": function_of_dtype,
}
