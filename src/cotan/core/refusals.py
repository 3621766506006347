"""The errors of the gate between traced and untraced code: refused conversions of tracers, escaped tracers, values that are no arrays.

A tracer is named in a message by its ``repr``, so nothing here knows its class.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextvars import ContextVar
from dis import get_instructions
from types import CodeType, TracebackType
from typing import NoReturn

from .errors import ArgumentTypeError, EscapedTracerError, TracerConversionError, UnsupportedFunctionError, teach
from .operators import surface
from .origin import PACKAGE, library_call, user_frame

__all__ = [
    "LOCALLY_CONSTANT",
    "lost_refusal",
    "refuse_assignment",
    "refuse_conversion",
    "refuse_escaped",
    "refuse_lost_derivative",
    "refused_value",
]

LOCALLY_CONSTANT = frozenset({"bool", "int", "index", "floor", "ceil", "trunc", "format"})
"""Conversions of a number under differentiation by which nothing is lost."""
CONVERSIONS = {
    "bool": (
        "its truth is asked for (by `if`, `while`, `and`, `or`, `not` or `assert`), but it has no value yet",
        (
            "write cotan.numpy.where(condition, a, b) to choose between values, cotan.lax.cond for a branch, cotan.lax.while_loop for a "
            "loop; make an argument that chooses what is computed static: jit(f, static_argnums=...)."
        ),
    ),
    "int": (
        "int() of it is asked for, but it has no value yet",
        "keep it as an array: x.astype(int); or make it a static argument: jit(f, static_argnums=...).",
    ),
    "index": (
        "it is used as a Python integer (by range(), a slice bound or a shape), but it has no value yet",
        "make it a static argument: jit(f, static_argnums=...); loop with cotan.lax.fori_loop; index with it a cotan.numpy array.",
    ),
    "float": (
        "float() of it is asked for, but it has no value yet",
        "leave out float(); a 0-d array takes part in arithmetic as it is; for math.sin write cotan.numpy.sin.",
    ),
    **{
        name: (
            f"math.{name}() of it is asked for, but it has no value yet",
            f"call cotan.numpy.{name}(x), whose result is an array of floats; for a Python int make x a static argument.",
        )
        for name in ("floor", "ceil", "trunc")
    },
    "format": (
        "it is to be printed as a number (f'{x:.2f}'), but it has no value yet",
        "print its type with f'{x}', or return the value and print it outside.",
    ),
    "complex": ("complex() of it is asked for, but it has no value yet", "leave out complex(); write x.astype(complex) or x + 0j."),
    "item": ("its .item() is asked for, but it has no value yet", "leave out .item(); a 0-d array takes part in arithmetic as it is."),
    "tolist": ("its .tolist() is asked for, but it has no value yet", "work with the array, or return it and convert it outside."),
    "array": (
        "NumPy would make a plain array of it",
        (
            "instead of np.array([a, b]) write np.stack([a, b]) (or cotan.numpy.stack), which is traced; instead of np.full(n, a) "
            "cotan.numpy.full(n, a); to fill an array write a = a.at[i].set(v), and to index one a[i], with a = cotan.numpy.asarray(a). "
            "For a plain number without derivative, under grad, jvp or vjp, write np.asarray(cotan.stop_gradient(x))."
        ),
    ),
}


SUBSCRIPTS = {
    "BINARY_SUBSCR": (
        "it is used as an index of a NumPy array",
        "write a = cotan.numpy.asarray(a), then a[i]; or make the index a static argument: jit(f, static_argnums=...).",
    ),
    "STORE_SUBSCR": (
        "it is put into a NumPy array (a[i] = v), as its value or its index",
        "write a = a.at[i].set(v) with a = cotan.numpy.asarray(a); or collect the values in a list and write cotan.numpy.stack(values).",
    ),
}
"""What is said of a plain array where the user's instruction is a subscript, by its name."""


def users_instruction() -> str:
    """The name of the instruction of the user's code that runs now."""
    frame = user_frame(sys._getframe(1))
    if frame is None:
        return ""
    found = next((i for i in get_instructions(frame.f_code) if i.offset == frame.f_lasti), None)
    if found is None:
        return ""
    return "BINARY_SUBSCR" if found.opname == "BINARY_OP" and found.argrepr == "[]" else found.opname  # an operator since Python 3.14


def refuse_conversion(tracer: object, conversion: str, why: str = "") -> NoReturn:
    """Raise the error of a tracer-to-Python conversion."""
    refuse_library(tracer)
    problem, remedy = CONVERSIONS[conversion]
    if conversion == "array":
        problem, remedy = SUBSCRIPTS.get(users_instruction(), (problem, remedy))
    raise teach(TracerConversionError, f"{tracer!r}: {why if why and conversion != 'array' else problem}.", do=remedy)


def refuse_lost_derivative(tracer: object, conversion: str) -> NoReturn:
    """Raise: the number is known, but as a plain Python number it would silently lose its derivative."""
    if conversion == "array":
        refuse_conversion(tracer, conversion)
    refuse_library(tracer)
    call = {"item": "{}.item()", "tolist": "{}.tolist()"}.get(conversion, conversion + "({})")
    raise teach(
        TracerConversionError,
        f"{tracer!r}: {call.format('x')} would silently lose the derivative.",
        do="keep it as an array (use cotan.numpy or np functions on it instead of math's); "
        f"if you mean to treat it as a constant, write {call.format('cotan.stop_gradient(x)')}.",
    )


def refuse_library(tracer: object) -> None:
    """Raise if it is a function of an installed package that asks for the number."""
    frame = sys._getframe(1)
    library = library_call(frame)
    if library is not None:
        what = f"{library} cannot be traced: it asks for the numbers behind {tracer!r}."
        error = teach(UnsupportedFunctionError, what, do=surface().what_instead(library))
        caller = user_frame(frame)
        if caller is not None:
            _last_refusal.set((error, caller.f_code, caller.f_lasti))
        raise error


_last_refusal: ContextVar[tuple[UnsupportedFunctionError, CodeType, int] | None] = ContextVar("last_refusal", default=None)
"""The last error of `refuse_library`, and the user's call of the library: its code object and the offset of its instruction."""


def lost_refusal(error: BaseException) -> UnsupportedFunctionError | None:
    """The refusal in whose place ``error`` came out of the same call of a library; None if there is none.

    Code in C may go on after a conversion has failed, with the exception still set (the solvers of scipy.optimize do). Whether that
    exception survives depends on the contents of the interpreter's caches. A refusal was lost so, and not caught, if its traceback
    has frames of cotan alone.
    """
    last = _last_refusal.get()
    _last_refusal.set(None)
    if last is None:
        return None
    refusal, code, offset = last
    lost = all(tb.tb_frame.f_code.co_filename.startswith(PACKAGE) for tb in entries(refusal))
    return refusal if lost and any(tb.tb_frame.f_code is code and tb.tb_lasti == offset for tb in entries(error)) else None


def entries(error: BaseException) -> Iterator[TracebackType]:
    """The entries of the traceback of ``error``, from the outermost frame inwards."""
    tb = error.__traceback__
    while tb is not None:
        yield tb
        tb = tb.tb_next


def refuse_escaped(tracer: object, transformation: str) -> NoReturn:
    """Raise: a tracer is used outside the ``transformation`` that it belongs to."""
    raise teach(
        EscapedTracerError,
        f"a value traced by {transformation} is used after that has returned, or outside it: {tracer!r}.",
        do="return the value from the traced function instead of keeping it in a global, an attribute, a list outside or a cache; "
        "auxiliary results go out with has_aux=True.",
    )


def refuse_assignment(tracer: object) -> NoReturn:
    """Raise: an element of a traced array is assigned to."""
    raise teach(
        TracerConversionError,
        f"a traced array cannot be changed in place (x is {tracer!r}).",
        do="write `x = x.at[i].set(v)` instead of `x[i] = v` (also .add, .multiply, .min, .max).",
    )


def refused_value(x: object) -> ArgumentTypeError:
    """The error of a value that is not an array of numbers."""
    return teach(
        ArgumentTypeError,
        f"{x!r:.80} (of type {type(x).__name__}) is not an array of numbers.",
        do="pass numbers, arrays of bool, integer, float or complex dtype, or trees (tuples, lists, dicts) of them.",
    )
