"""The C interfaces of Python and NumPy: functions that compiled code calls, capsules, the layout of arrays, NumPy's tables of functions.

This is the one module that touches `ctypes.pythonapi` and NumPy's tables. NumPy publishes a table of pointers for extension modules, whose
slots are numbered in ``numpy/__multiarray_api.h`` and belong to the binary interface of NumPy 2.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cotan.core.emitting import DType

from .symbols import Jit

if TYPE_CHECKING:
    from _ctypes import CFuncPtr as CFunction

__all__ = [
    "SCALAR_OFFSET", "TYPE_OFFSET", "ArrayFlag", "ArrayOffset", "Capsule", "DtypeSlot", "Slot", "add_python_functions", "address_of",
    "capsule_address", "capsule_name", "dtype_functions", "keep_forever", "new_capsule", "new_function", "numpy_function",
]  # fmt: skip


Capsule: TypeAlias = object
"""A capsule of Python, which has no type of its own there."""


TYPE_OFFSET = 8
"""The offset in bytes of the type of any object, ``ob_type``."""
SCALAR_OFFSET = 16
"""The offset in bytes of the number in a scalar object, other than an int. `call.caller.layouts_are_known` verifies these offsets and
`ArrayOffset`."""


# ---- Python ------------------------------------------------------------------------------------------------------------------------
def address_of(function: CFunction) -> int:
    """The address of a function of ctypes."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def add_python_functions(jit: Jit, *names: str) -> None:
    """Make functions of Python's C interface known to compiled code, ``PyErr_Occurred`` as ``cotan_PyErr_Occurred``."""
    for name in names:
        jit.add_symbol(f"cotan_{name}", address_of(getattr(ctypes.pythonapi, name)))


def keep_forever(x: object) -> None:
    """Keep an object alive until the process ends, after Python's modules are gone."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(x))


NEW_FUNCTION = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
    ("PyCFunction_NewEx", ctypes.pythonapi)
)
NEW_CAPSULE = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(("PyCapsule_New", ctypes.pythonapi))
CAPSULE_NAME = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
CAPSULE_ADDRESS = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))


def new_function(definition: int, owner: object) -> Callable[..., Any]:
    """A Python function by the address of its PyMethodDef; ``owner`` is its self, and lives as long."""
    return NEW_FUNCTION(definition, owner, None)


def new_capsule(address: int, name: bytes) -> Capsule:
    """A capsule with a pointer. The caller keeps ``name`` alive: the capsule refers to its memory."""
    return NEW_CAPSULE(address, name, None)


def capsule_name(capsule: Capsule) -> bytes:
    """The name of a capsule. Cython names capsules by the C signatures of their functions."""
    return CAPSULE_NAME(capsule)


def capsule_address(capsule: Capsule, name: bytes | None) -> int:
    """The pointer in a capsule of this name."""
    return CAPSULE_ADDRESS(capsule, name) or 0


# ---- NumPy -------------------------------------------------------------------------------------------------------------------------
class Slot(IntEnum):
    """The slot of a function, or of the pointer to a variable, in NumPy's table."""

    NEW_FROM_DESCR = 94
    SET_HANDLER = 304
    GET_HANDLER = 305
    DEFAULT_HANDLER = 306
    """A pointer to a variable."""
    DTYPE_FUNCTIONS = 365
    """``_PyDataType_GetArrFuncs``."""


class ArrayOffset(IntEnum):
    """The offset in bytes of each field of an array, ``PyArrayObject``, that machine code reads or writes."""

    DATA = 16
    NDIM = 24
    DIMENSIONS = 32
    BASE = 48
    DESCR = 56
    FLAGS = 64


class ArrayFlag(IntEnum):
    """The bits of `ArrayOffset.FLAGS` that machine code knows."""

    C_CONTIGUOUS = 0x1
    OWNS_DATA = 0x4
    ALIGNED = 0x100
    WRITEABLE = 0x400


class DtypeSlot(IntEnum):
    """The slot of a function in the table of a dtype's functions, ``PyArray_ArrFuncs``."""

    ARGMAX = 26
    SORT = 33
    STABLE_SORT = 35
    STABLE_ARGSORT = 38
    ARGMIN = 46


@lru_cache(maxsize=len(Slot))
def numpy_function(slot: Slot) -> int:
    """The address in a slot of NumPy's table; 0 if this NumPy has no such table."""
    try:
        table = capsule_address(vars(import_module("numpy._core._multiarray_umath"))["_ARRAY_API"], None)
    except (ImportError, KeyError):
        return 0
    return int((ctypes.c_void_p * (max(Slot) + 1)).from_address(table)[slot] or 0)


def dtype_functions(dtype: DType) -> Sequence[int | None] | None:
    """The addresses of a dtype's functions, indexed by `DtypeSlot`; None if this NumPy has no such table."""
    if np.lib.NumpyVersion(np.__version__) < "2.0.0" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    look_up = numpy_function(Slot.DTYPE_FUNCTIONS)
    at = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(look_up)(dtype) if look_up else None
    return list((ctypes.c_void_p * (max(DtypeSlot) + 1)).from_address(at)) if at else None
