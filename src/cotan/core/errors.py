"""The errors that users see. One class per kind, each also a built-in error, all with one layout:

    what is wrong, in one sentence

      model.py:12, in loss
        return 0., tangents[0]**3
                   ^^^^^^^^^^^^^^
      the op and the types of its operands

    What to do: ...
    See docs/errors.md#the-class

`teach` builds that text, so that a message is written as its parts and every message has them.
"""

from __future__ import annotations

import os
import sys
import warnings
from types import TracebackType
from typing import TypeVar

from .origin import PACKAGE, Origin, user_frame

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "BorrowedArrayError",
    "CotanError",
    "DtypeError",
    "EngineError",
    "EscapedTracerError",
    "IndexingError",
    "IntegerRangeError",
    "MissingRuleError",
    "NonlinearTangentError",
    "ProgramError",
    "RuleError",
    "ShapeError",
    "SingularPointError",
    "TracerConversionError",
    "UnsupportedFunctionError",
    "hide_internal_frames",
    "teach",
    "warn",
]


class CotanError(Exception):
    """Base of all errors that cotan raises on purpose."""


class ArgumentError(CotanError, ValueError):
    """An argument of a transformation has an impossible value (``argnums`` out of range, trees that do not match)."""


class IntegerRangeError(ArgumentError, OverflowError):
    """A Python int is too large for an array."""


class ArgumentTypeError(CotanError, TypeError):
    """An argument of a transformation has a type it cannot work with (a string, an integer where a derivative is wanted)."""


class ShapeError(CotanError, ValueError):
    """Shapes that do not fit each other in an operation."""


class DtypeError(CotanError, TypeError):
    """Dtypes that do not fit each other, or that an operation does not take."""


class IndexingError(CotanError, IndexError):
    """An index that an array cannot take."""


class NonlinearTangentError(CotanError, TypeError):
    """A derivative rule, or a function said to be linear, applies an operation that is not linear to a tangent."""


class TracerConversionError(CotanError, TypeError):
    """A traced value was asked for the number it does not have yet (``if x:``, ``float(x)``, ``range(x)``, ``np.asarray(x)``)."""


class BorrowedArrayError(CotanError, ValueError):
    """A NumPy array is changed in place inside a traced function that still needs its old contents."""


class EscapedTracerError(CotanError, RuntimeError):
    """A traced value is used after the transformation that made it has returned."""


class MissingRuleError(CotanError, NotImplementedError):
    """An operation lacks the rule that a transformation needs."""


class RuleError(CotanError, TypeError):
    """A custom derivative rule returned something of the wrong structure, shape or dtype."""


class SingularPointError(CotanError, ArithmeticError):
    """Under ``strict=True``, a derivative was asked for at a point where there is none."""


class EqualValuesError(SingularPointError):
    """A derivative divides by the gap of eigenvalues, or singular values, that are equal."""


class UnsupportedFunctionError(CotanError, TypeError):
    """A function of NumPy or another package that cannot be traced was called on a traced value."""


class ProgramError(CotanError, ValueError):
    """A Program breaks one of the invariants of the IR. Seeing this is a defect of cotan or of an op defined outside it."""


class EngineError(CotanError, RuntimeError):
    """Compiled code was about to leave the memory of an array (``COTAN_CHECK=1`` looks). A defect of cotan, or of an op outside it."""


E = TypeVar("E", bound=CotanError)


def teach(error: type[E], what: str, *, detail: str = "", do: str = "", origin: Origin | None = None, locate: bool = True) -> E:
    """An ``error`` whose text has the common layout. ``origin`` defaults to the innermost user's line now running."""
    if origin is None and locate:
        frame = user_frame(sys._getframe(1))
        origin = Origin(frame.f_code, frame.f_lasti) if frame is not None else None
    parts = [what]
    place = [origin.excerpt()] if origin is not None and origin.code is not None else []
    if detail:
        place.append("\n".join(f"  {line}" for line in detail.splitlines()))
    if place:
        parts.append("\n".join(place))
    closing = ([f"What to do: {do}"] if do else []) + [f"See docs/errors.md#{error.__name__.lower()}"]
    parts.append("\n".join(closing))
    return error("\n\n".join(parts))


def warn(message: str, category: type[Warning]) -> None:
    """Give a warning at the innermost user's line now running, where filters look for it."""
    frame = user_frame(sys._getframe(1))
    if frame is None:
        warnings.warn(message, category, stacklevel=2)
        return
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    place = (frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__"))
    warnings.warn_explicit(message, category, *place, registry=registry)


def hide_internal_frames(error: BaseException) -> None:
    """Drop cotan's own frames from the traceback of ``error``, unless COTAN_FULL_TRACEBACK is set."""
    if os.environ.get("COTAN_FULL_TRACEBACK"):
        return
    kept: list[TracebackType] = []
    tb = error.__traceback__
    while tb is not None:
        if not tb.tb_frame.f_code.co_filename.startswith(PACKAGE):
            kept.append(tb)
        tb = tb.tb_next
    rebuilt: TracebackType | None = None
    for tb in reversed(kept):
        rebuilt = TracebackType(rebuilt, tb.tb_frame, tb.tb_lasti, tb.tb_lineno)
    error.__traceback__ = rebuilt
