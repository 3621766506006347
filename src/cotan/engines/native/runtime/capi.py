"""NumPy's C interface, by the table that it publishes for extension modules: the places are those of ``numpy/__multiarray_api.h``."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from functools import lru_cache
from importlib import import_module

__all__ = ["Place", "numpy_function"]


class Place(IntEnum):
    """Where a function, or the pointer to a variable, is in the table."""

    NEW_FROM_DESCR = 94
    SET_HANDLER = 304
    GET_HANDLER = 305
    DEFAULT_HANDLER = 306
    """Of a variable."""


@lru_cache(maxsize=len(Place))
def numpy_function(place: Place) -> int:
    """The address of PyArray_NewFromDescr and the like; 0 if there is no table where NumPy 2 has it."""
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    try:
        table = pointer_of(vars(import_module("numpy._core._multiarray_umath"))["_ARRAY_API"], None)
    except (ImportError, KeyError):
        return 0
    return int((ctypes.c_void_p * (max(Place) + 1)).from_address(table)[place] or 0)
