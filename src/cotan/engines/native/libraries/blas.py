"""BLAS and LAPACK: the addresses of their routines, the width of their integers, and their number of threads.

NumPy's wheels bring a whole OpenBLAS, which is in the process anyway. Where its routines are found by name, compiled code
calls them, so that products of NumPy and of cotan share one set of threads: the workers of OpenBLAS poll for work for some
120 ms after a product, on processors that the workers of another copy would need. Elsewhere the routines are SciPy's, by the
capsules of ``cython_blas`` and ``cython_lapack``, whose names are their C signatures, from which the width of their integers
is read. All routines are from one library, so widths are not mixed. `registry` looks routines up here; `codegen.kernels`
limits the threads (`LIMIT`).
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
from types import ModuleType

import numpy as np

from cotan.core.emitting import DType
from cotan.engines.native.runtime.capi import capsule_address, capsule_name
from cotan.engines.native.runtime.symbols import Jit, runtime_symbol
from cotan.engines.native.target import Target
from cotan.ops.openblas import SharedLibrary, of_numpy

__all__ = ["LIMIT", "fortran_integer", "has_count", "look_up", "look_up_fortran"]


def look_up(library: str, routine: str) -> tuple[int, bool, str] | None:
    """A routine of "blas" or "lapack": its address, True for numbers by address, and the LLVM type of its integers."""
    numpys = of_numpy()
    if numpys is None:
        return capsule_of(f"cython_{library}", routine)
    address = numpys.address(f"scipy_{routine}_64_")
    return None if address is None else (address, True, "i64")


def look_up_fortran(library: str, routine: str) -> tuple[int, bool, str] | None:
    """SciPy's routine, with the interface of Fortran; None if its integers are not of 32 bits."""
    found = capsule_of(f"cython_{library}", routine)
    return found if found is not None and found[2] == "i32" else None


def fortran_integer(target: Target) -> DType:
    """The dtype of the integers of BLAS and LAPACK."""
    if target is Target.STANDALONE:
        return np.dtype(np.int32)
    found = look_up("lapack", "dgetrf")
    return np.dtype(np.int64 if found is not None and found[2] == "i64" else np.int32)


# ---- SciPy's capsules ------------------------------------------------------------------------------------------------------
_loading = RLock()


def scipy_module(name: str) -> ModuleType:
    """A Cython module of ``scipy.linalg``, loaded under a lock: a module that another thread is loading is incomplete."""
    with _loading:
        return load_alone(name)


@lru_cache(maxsize=2)
def load_alone(name: str) -> ModuleType:
    """A Cython module of ``scipy.linalg``, without the package, whose import takes a hundred times as long and which it does not need.

    The import system forgets the module afterwards, and finds it again when somebody imports the package.
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
"""A lock; the number of calls with a limit at the moment; the number of threads before the first of them."""
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
    """The addresses of OpenBLAS's functions that return ("get") and set ("set") its number of threads; None if BLAS has none."""
    for library, pattern in candidates():
        get, set_ = (library.address(pattern.format(verb)) for verb in ("get", "set"))
        if get is not None and set_ is not None:
            return {"get": get, "set": set_}
    return None


def has_count() -> bool:
    """Whether the number of threads of BLAS can be read and set."""
    return thread_functions() is not None


def make_known(jit: Jit) -> bool:
    """Make the functions for the number of threads known to the JIT; whether they exist."""
    found = thread_functions()
    for verb, address in (found or {}).items():
        jit.add_symbol(f"cotan_blas_{verb}_threads", address)
    jit.add_symbol("cotan_blas_threads", ctypes.addressof(_threads))
    return found is not None


def candidates() -> Iterator[tuple[SharedLibrary, str]]:
    """Libraries, and possible names of their functions for the number of threads."""
    numpys = of_numpy()
    if numpys is not None:
        yield numpys, "scipy_openblas_{}_num_threads64_"
        return
    try:
        scipys = SharedLibrary(ctypes.CDLL(scipy_module("cython_blas").__file__))
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
"""``void limit_blas(i1 begin, i32 threads)``: between a call with true and one with false, BLAS uses at most so many threads. It exists if
BLAS `has_count`.

OpenBLAS has one number of threads for the whole process. The first call with a limit sets it, the last one restores it. Code that runs
outside of this process does not limit the threads of BLAS."""
