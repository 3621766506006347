"""The C interfaces of Python and NumPy: the functions that compiled code calls, capsules, and NumPy's table of functions.

NumPy publishes a table of pointers for extension modules; its slots are those of ``numpy/__multiarray_api.h``, and part of the binary
interface of NumPy 2.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from cotan.core.emitting import DType

from .symbols import Jit

__all__ = [
    "DtypeSlot", "Slot", "add_python_functions", "address_of", "capsule_address", "capsule_name", "dtype_functions", "keep_forever",
    "new_capsule", "new_function", "numpy_function",
]  # fmt: skip


# ---- Python ------------------------------------------------------------------------------------------------------------------------
def address_of(function: Any) -> int:
    """The address of a function of ctypes."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def add_python_functions(jit: Jit, *names: str) -> None:
    """Make functions of Python's C interface known to compiled code, ``PyErr_Occurred`` as ``cotan_PyErr_Occurred``."""
    for name in names:
        jit.add_symbol(f"cotan_{name}", address_of(getattr(ctypes.pythonapi, name)))


def keep_forever(x: object) -> None:
    """Let an object live until the process ends, beyond the end of Python modules."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(x))


NEW_FUNCTION = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
    ("PyCFunction_NewEx", ctypes.pythonapi)
)
NEW_CAPSULE = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(("PyCapsule_New", ctypes.pythonapi))
CAPSULE_NAME = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
CAPSULE_ADDRESS = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))


def new_function(definition: int, owner: object) -> Any:
    """A function that Python calls, by the address of its PyMethodDef; it gets ``owner`` as its self, and holds it."""
    return NEW_FUNCTION(definition, owner, None)


def new_capsule(address: int, name: bytes) -> Any:
    """A capsule with a pointer. The caller keeps the name, whose memory the capsule refers to."""
    return NEW_CAPSULE(address, name, None)


def capsule_name(capsule: Any) -> bytes:
    """The name of a capsule: in Cython's, the C signature of the function."""
    return CAPSULE_NAME(capsule)


def capsule_address(capsule: Any, name: bytes | None) -> int:
    """The pointer in a capsule of this name."""
    return CAPSULE_ADDRESS(capsule, name) or 0


# ---- NumPy -------------------------------------------------------------------------------------------------------------------------
class Slot(IntEnum):
    """Where a function, or the pointer to a variable, is in NumPy's table."""

    NEW_FROM_DESCR = 94
    SET_HANDLER = 304
    GET_HANDLER = 305
    DEFAULT_HANDLER = 306
    """Of a variable."""
    DTYPE_FUNCTIONS = 365
    """``_PyDataType_GetArrFuncs``."""


class DtypeSlot(IntEnum):
    """Where a function is in the table of a dtype's functions, ``PyArray_ArrFuncs``."""

    ARGMAX = 26
    SORT = 33
    STABLE_SORT = 35
    STABLE_ARGSORT = 38
    ARGMIN = 46


@lru_cache(maxsize=len(Slot))
def numpy_function(slot: Slot) -> int:
    """The address of PyArray_NewFromDescr and the like; 0 if there is no table where NumPy 2 has it."""
    try:
        table = capsule_address(vars(import_module("numpy._core._multiarray_umath"))["_ARRAY_API"], None)
    except (ImportError, KeyError):
        return 0
    return int((ctypes.c_void_p * (max(Slot) + 1)).from_address(table)[slot] or 0)


def dtype_functions(dtype: DType) -> Any:
    """The table of a dtype's functions, indexed by `DtypeSlot`; None where there is none."""
    if np.lib.NumpyVersion(np.__version__) < "2.0.0" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    look_up = numpy_function(Slot.DTYPE_FUNCTIONS)
    at = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(look_up)(dtype) if look_up else None
    return (ctypes.c_void_p * (max(DtypeSlot) + 1)).from_address(at) if at else None
