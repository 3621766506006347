"""Callbacks at the time of the call: C functions by which compiled code lets Python run equations by NumPy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cotan.core.outside import checked_impl
from cotan.core.types import ArrayType
from cotan.engines.native.codegen.lower import Callback

if TYPE_CHECKING:
    from _ctypes import CFuncPtr as CFunction

__all__ = ["python_function"]

PYTHON = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)


def python_function(callback: Callback, failed: Callable[[BaseException], None]) -> CFunction:
    """The callback as a C function of a table of pointers."""
    op, multiple = callback.equation.op, callback.equation.op.multiple
    operands = [v.type for v in callback.equation.inputs]
    results = [v.type for v in callback.equation.outputs]
    types = operands if callback.in_place else [*operands, *results]
    count = len(operands)
    run = checked_impl(callback.equation)
    # Any: the stubs of NumPy do not know that an array of ctypes is a buffer.
    buffers: list[tuple[ArrayType, Any]] = [(t, ctypes.c_char * max(t.nbytes, 1)) for t in types]
    table_type = ctypes.c_void_p * max(len(types), 1)

    def call(table: int) -> int:
        try:
            pointers = table_type.from_address(table)
            arrays = [np.ndarray(t.shape, t.dtype, buffer.from_address(at)) for (t, buffer), at in zip(buffers, pointers, strict=False)]
            with np.errstate(all="ignore"):
                if callback.in_place:
                    assert op.update is not None
                    op.update(arrays[0], *[x if x.ndim else x[()] for x in arrays[1:]])
                    return 0
                for x in arrays[:count]:
                    x.flags.writeable = False
                found = run(*[x if x.ndim else x[()] for x in arrays[:count]])
            for target, y in zip(arrays[count:], found if multiple else (found,), strict=True):
                target[...] = y
            return 0
        except BaseException as error:
            failed(error)
            return 1

    return PYTHON(call)
