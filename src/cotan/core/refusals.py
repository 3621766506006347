"""The errors of the gate between traced and untraced code: refused conversions of tracers, escaped tracers, values that are no arrays.

A tracer is named in a message by its ``repr``, so nothing here knows its class.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from types import CodeType, FrameType, TracebackType
from typing import Any, NoReturn

from .errors import ArgumentTypeError, CotanError, E, EscapedTracerError, TracerConversionError, UnsupportedFunctionError, teach
from .operators import surface
from .origin import PACKAGE, inner_function, library_call, user_frame
from .uses import STATIC, use_of

__all__ = [
    "LOCALLY_CONSTANT",
    "arguments_of",
    "entries",
    "lost_refusal",
    "refuse_assignment",
    "refuse_conversion",
    "refuse_deletion",
    "refuse_escaped",
    "refuse_scalar",
    "refused_value",
    "stack",
]

LOCALLY_CONSTANT = frozenset({"bool", "int", "index", "slice", "floor", "ceil", "trunc", "format"})
"""Conversions of a number under differentiation by which nothing is lost."""


def refuse_conversion(tracer: object, conversion: str, why: str, static: str) -> NoReturn:
    """Raise the error of a tracer-to-Python conversion. ``why`` there is no number; ``static``, how there may be one, or empty."""
    refuse_library(tracer)
    frame = user_frame(sys._getframe(1))
    use = use_of(frame, conversion)
    remedies = [static if remedy is STATIC else remedy for remedy in use.remedies]
    error = teach(TracerConversionError, f"{tracer!r}: {use.problem}, {why}.", do=f"{'; or '.join(filter(None, remedies))}.")
    raise error if conversion == "bool" else remembered(error, frame)  # Python itself loses no error


def stack() -> Iterator[FrameType]:
    """The frames that run, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def arguments_of(function: Any, frames: Iterable[FrameType]) -> dict[str, Any]:
    """The parameters of ``function`` that take one argument each, and what they are in the first of ``frames`` that runs it."""
    code = getattr(inner_function(function), "__code__", None)
    frame = next((f for f in frames if f.f_code is code), None)
    if frame is None:
        return {}
    names = frame.f_code.co_varnames[: frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount]
    return {name: frame.f_locals[name] for name in names if name in frame.f_locals}


def refuse_library(tracer: object) -> None:
    """Raise if it is a function of an installed package that asks for the number."""
    frame = sys._getframe(1)
    library = library_call(frame)
    if library is not None:
        what = f"{library} cannot be traced: it asks for the numbers behind {tracer!r}."
        error = teach(UnsupportedFunctionError, what, do=surface().what_instead(library))
        raise remembered(error, user_frame(frame))


_last_refusal: ContextVar[tuple[CotanError, CodeType, int] | None] = ContextVar("last_refusal", default=None)
"""The last refused conversion, and the user's instruction that asked for it: its code object and its offset."""


def remembered(error: E, frame: FrameType | None) -> E:
    """``error``, the refusal of a conversion that the user's ``frame`` asks for, kept for `lost_refusal`."""
    if frame is not None:
        _last_refusal.set((error, frame.f_code, frame.f_lasti))
    return error


def lost_refusal(error: BaseException) -> CotanError | None:
    """The refusal in whose place ``error`` came out of the same call of a library; None if there is none.

    Code in C may raise another error in its place (NumPy does, for a shape), or go on after a conversion has failed, with the exception
    still set (the solvers of scipy.optimize do). Whether that exception survives depends on the contents of the interpreter's caches. A
    refusal was lost so, and not caught, if its traceback has frames of cotan alone.
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


ESCAPES = {
    "jit": "return further results from the function, as in `return y, z`",
    "vmap": "return further results from the function, as in `return y, z`",
    "scan": "return what is to be collected as y: scan stacks the ys of all steps",
    "map": "return what is to be collected: map stacks the results of all steps",
    "fori_loop": "put it into the carry; to collect a value of each step, write cotan.lax.scan",
    "while_loop": "put it into the carry",
    "cond": "return it from the branches",
    "switch": "return it from the branches",
}
"""How a value gets out of what a transformation or a loop traces."""


def refuse_escaped(tracer: object, transformation: str) -> NoReturn:
    """Raise: a tracer is used outside the ``transformation`` that it belongs to."""
    way = ESCAPES.get(transformation.partition(" in ")[0], "return it from the traced function; auxiliary results go out with has_aux=True")
    raise teach(
        EscapedTracerError,
        f"a value traced by {transformation} is used after that has returned, or outside it: {tracer!r}.",
        do=f"{way}; keep no traced value in a global, an attribute, a list outside or a cache.",
    )


def refuse_assignment(tracer: object) -> NoReturn:
    """Raise: an element of a traced array is assigned to."""
    raise teach(
        TracerConversionError,
        f"a traced array cannot be changed in place (x is {tracer!r}).",
        do="write `x = x.at[i].set(v)` instead of `x[i] = v` (also .add, .multiply, .min, .max).",
    )


def refuse_deletion(tracer: object) -> NoReturn:
    """Raise: an element of a traced array is deleted."""
    raise teach(
        TracerConversionError,
        f"elements of a traced array cannot be deleted in place (x is {tracer!r}).",
        do="write `x = cotan.numpy.delete(x, i)` with a known i, or `x = x[1:]`, instead of `del x[i]`.",
    )


def refuse_scalar(tracer: object, problem: str) -> NoReturn:
    """Raise: a traced scalar is used like a sequence."""
    do = "give an array with an axis; under vmap the function gets one example, which lacks the mapped axis."
    raise teach(ArgumentTypeError, f"{problem}: {tracer!r}.", do=do)


def refused_value(x: object) -> ArgumentTypeError:
    """The error of a value that is not an array of numbers."""
    return teach(
        ArgumentTypeError,
        f"{x!r:.80} (of type {type(x).__name__}) is not an array of numbers.",
        do="pass numbers, arrays of bool, integer, float or complex dtype, or trees (tuples, lists, dicts) of them.",
    )
