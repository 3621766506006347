"""BLAS and LAPACK: where their routines are, how wide their integers are, and how many threads they take.

NumPy brings a whole OpenBLAS with it, and the process has it anyway: where its routines are found by name, compiled code calls these. So
there is one set of threads for what the user multiplies with NumPy and what cotan does. OpenBLAS's workers go on looking for work for some
120 ms after a product, on processors that those of another copy of it need.
Elsewhere the routines are SciPy's, by the capsules of ``cython_blas`` and ``cython_lapack``, whose names are the signatures; the width of
their integers is read from these. One library serves all: widths are not mixed.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

import numpy as np

from cotan.core.emitting import DType
from cotan.engines.native.runtime.capi import capsule_address, capsule_name
from cotan.engines.native.runtime.symbols import Jit, runtime_symbol
from cotan.engines.native.target import Target

__all__ = ["LIMIT", "fortran_integer", "has_count", "look_up", "look_up_fortran"]


def look_up(library: str, routine: str) -> tuple[int, bool, str] | None:
    """The address of a routine of "blas" or "lapack", that it takes numbers by address, and the LLVM type of its integers."""
    numpys = of_numpy()
    if numpys is None:
        return capsule_of(f"cython_{library}", routine)
    address = numpys.address(f"scipy_{routine}_64_")
    return None if address is None else (address, True, "i64")


def look_up_fortran(library: str, routine: str) -> tuple[int, bool, str] | None:
    """SciPy's routine, whose interface is Fortran's; None if its integers have other widths than 32 bits."""
    found = capsule_of(f"cython_{library}", routine)
    return found if found is not None and found[2] == "i32" else None


def fortran_integer(target: Target) -> DType:
    """The integers of BLAS and LAPACK."""
    if target is Target.STANDALONE:
        return np.dtype(np.int32)
    found = look_up("lapack", "dgetrf")
    return np.dtype(np.int64 if found is not None and found[2] == "i64" else np.int32)


# ---- NumPy's ----------------------------------------------------------------------------------------------------------------
class Shared(NamedTuple):
    """A shared library and those that it is linked to."""

    library: ctypes.CDLL

    def address(self, symbol: str) -> int | None:
        """Where a function is."""
        return ctypes.cast(getattr(self.library, symbol), ctypes.c_void_p).value if hasattr(self.library, symbol) else None


NEEDED = (
    *("scipy_dgemm_64_", "scipy_dgetrf_64_", "scipy_zheevd_64_"),
    *("scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"),
)
"""What tells the OpenBLAS of NumPy's wheels, with integers of 64 bits and all of LAPACK, from other ones."""


@lru_cache(maxsize=1)
def of_numpy() -> Shared | None:
    """The OpenBLAS that NumPy is linked to; None if it is another library, or cannot be searched for names."""
    try:
        found = Shared(ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__))
    except (ImportError, OSError):
        return None
    return found if all(found.address(symbol) is not None for symbol in NEEDED) else None


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


def capsule_of(module: str, routine: str) -> tuple[int, bool, str] | None:
    """A routine among the capsules of a Cython module."""
    try:
        capsule = scipy_module(module).__pyx_capi__[routine]
    except (ImportError, KeyError):
        return None
    signature = capsule_name(capsule)
    return capsule_address(capsule, signature), True, integer_of(signature.decode())


def integer_of(signature: str) -> str:
    """The LLVM type of the integers of a signature; they are the only arguments whose C type ends in int or long or names a width."""
    kinds = {kind.strip(" *)") for kind in signature[signature.index("(") + 1 :].split(",")}
    wide = {"long", "long long", "int64_t", "npy_int64", "blas_int64"}
    if kinds & wide or any("int64" in kind for kind in kinds):
        return "i64" if ctypes.sizeof(ctypes.c_long) == 8 or not kinds & {"long"} else "i32"
    return "i32"


# ---- threads of BLAS --------------------------------------------------------------------------------------------------------
_threads = (ctypes.c_int64 * 3)()
"""A lock; how many calls want a limit at the moment; how many threads there were before the first of them."""
COUNTING = """define internal void @limit_blas(i1 %begin, i32 %wanted) noinline nounwind {
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
def thread_functions() -> dict[str, int] | None:
    """Where BLAS says ("get") and takes ("set") how many threads it uses, as OpenBLAS does; None if it does not."""
    for library, pattern in candidates():
        addresses = {word: library.address(pattern.format(word)) for word in ("get", "set")}
        if None not in addresses.values():
            return {word: address for word, address in addresses.items() if address is not None}
    return None


def has_count() -> bool:
    """Whether BLAS says and takes how many threads it uses."""
    return thread_functions() is not None


def make_known(jit: Jit) -> bool:
    """Make the functions for the number of threads known; whether they are there."""
    found = thread_functions()
    for word, address in (found or {}).items():
        jit.add_symbol(f"cotan_blas_{word}_threads", address)
    jit.add_symbol("cotan_blas_threads", ctypes.addressof(_threads))
    return found is not None


def candidates() -> Iterator[tuple[Shared, str]]:
    """Libraries, and what their functions for the number of threads may be called."""
    numpys = of_numpy()
    if numpys is not None:
        yield numpys, "scipy_openblas_{}_num_threads64_"
        return
    try:
        scipys = Shared(ctypes.CDLL(scipy_module("cython_blas").__file__))
    except (ImportError, OSError):
        return
    for pattern in ("scipy_openblas_{}_num_threads", "openblas_{}_num_threads", "scipy_openblas_{}_num_threads64_"):
        yield scipys, pattern


COUNTERS = (
    runtime_symbol("cotan_blas_threads", "@cotan_blas_threads = external global [3 x i64]", make_known=make_known, standalone=""),
    runtime_symbol("cotan_blas_get_threads", "declare i32 @cotan_blas_get_threads()", make_known=make_known, standalone=""),
    runtime_symbol("cotan_blas_set_threads", "declare void @cotan_blas_set_threads(i32)", make_known=make_known, standalone=""),
)
LIMIT = runtime_symbol(
    "limit_blas", COUNTING, needs=COUNTERS, standalone="define internal void @limit_blas(i1 %begin, i32 %wanted) {\n  ret void\n}"
)
"""``void limit_blas(i1, i32)``: from true to false BLAS uses so many threads. It is there if BLAS `has_count`.

OpenBLAS has one number of threads for the whole process. The first call that wants a limit sets it, the last puts it back. Code outside
of this process leaves the threads of BLAS alone."""
