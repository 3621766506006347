"""Calls of the user that meet equal eigenvalues or singular values: derivatives are limits there, where they have one.

`transforms.limit` says how the limit is computed. Here the call is made again under its trace, once with the vectors that were found and
once with others. What is the same is the limit; what is not depends on the choice of vectors, and has no derivative. With
COTAN_DEBUG_SPECTRA=1 a warning names the values whose vectors it depends on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..core import tree
from ..core.array import to_array
from ..core.errors import CotanError, EqualValuesError, warn
from ..core.program import Program, evaluate
from ..core.tracing import EVAL, Tracer, current_trace, running
from ..ops.clusters import Turn
from ..ops.families import add
from ..ops.gaps import InverseGap, Undetermined, up_to_rounding
from ..transforms.limit import LimitTrace, NoLimit, OffsetTrace, OrderTooLow

__all__ = ["EqualValuesWarning", "at_equal_values", "settled"]

HIGHEST = 4
"""The highest order of derivatives whose limit is tried."""
AGREE = 1e-6
"""Two results are the same up to this part of the largest number of the array (times the unit of rounding over that of doubles)."""
SAME = 1e-14
"""And but for rounding up to this part."""
MOST_PAIRS = 100
"""So many pairs of equal values are tried to find those that a result depends on."""


class EqualValuesWarning(UserWarning):
    """A derivative does not exist, because the function depends on the choice of the vectors of equal eigenvalues or singular values."""


def divides_by_gaps(program: Program) -> bool:
    """Whether a Program has derivatives of eigenvalues or singular values: then a call may be made again, on the same arguments."""
    return any(
        isinstance(e.op, InverseGap | Undetermined) or any(divides_by_gaps(region.program) for region in e.op.regions())
        for e in program.equations
    )


def at_equal_values(program: Program, operands: Sequence[Any], error: EqualValuesError) -> list[Any]:
    """The results of a Program whose code has failed, because it divides by a gap that counts as zero."""

    def again() -> list[Any]:
        return [y if type(y) is Tracer else to_array(y, operands) for y in evaluate(program, *operands)]

    with np.errstate(all="ignore"):
        try:
            plain: Any = again()
        except np.linalg.LinAlgError as failure:
            plain = failure
        found: list[Any] = settled(plain, again)
    return found


def settled(result: Any, again: Callable[[], Any]) -> Any:
    """The result of a call of the user that divides by gaps of equal values: its limit. ``again`` makes the call anew.

    ``result`` may be the error that the call raised: a decomposition of what was not finite.
    """
    if current_trace() is EVAL:
        for power in range(1, HIGHEST + 1):
            try:
                found = limits(again, power)
            except OrderTooLow:
                continue
            except (NoLimit, CotanError, np.linalg.LinAlgError):
                break
            if found is not None:
                if isinstance(result, Exception):
                    result = tree.map(nan_like, found.first)
                if os.environ.get("COTAN_DEBUG_SPECTRA", "0") not in ("", "0"):
                    report(result, again, power, found)
                return tree.map(partial(combined, noise=found.trace.noise), result, found.first, found.second, found.exactly)
    if isinstance(result, Exception):
        raise result
    return result


def nan_like(x: Any) -> Any:
    """An array of nan, if ``x`` is one of floating-point numbers."""
    return np.full_like(x, np.nan) if is_array(x) else x


class Limits(NamedTuple):
    """The limits of a call: with the vectors that were found, and with others; the result if only values that are equal but for rounding
    count as equal (False for each array if there are no others); and the first trace.
    """

    first: Any
    second: Any
    exactly: Any
    trace: LimitTrace


def limits(again: Callable[[], Any], power: int) -> Limits | None:
    """The limits of a call, for derivatives of an order; None if no values are equal for these."""
    first, trace = limit_of(again, power)
    if not trace.splittings:
        return None
    second, _ = limit_of(again, power, turned=True)
    if all(s.equal for s in trace.splittings):
        return Limits(first, second, tree.map(lambda _: False, first), trace)
    with up_to_rounding():
        return Limits(first, second, again(), trace)


def limit_of(again: Callable[[], Any], power: int, *, turned: bool = False, pair: Turn = None) -> tuple[Any, LimitTrace]:
    """The limit of what a call returns, with series up to this power, and its trace."""
    trace = LimitTrace(EVAL, power, power, turned=turned, pair=pair)
    with running(trace):
        found = again()
    if all(s.equal for s in trace.splittings):
        return tree.map(trace.limit, found), trace
    trace = LimitTrace(EVAL, power + 1, power, turned=turned, pair=pair)
    offset = OffsetTrace(trace, "limit")
    with running(offset):
        found = again()

    def continued(x: Any) -> Any:
        y, dy = offset.split(x)
        return trace.limit(y) if dy is None else add(trace.limit(y), trace.limit(dy))

    return tree.map(continued, found), trace


def is_array(x: Any) -> bool:
    """Whether ``x`` is an array of floating-point numbers."""
    return isinstance(x, np.ndarray | np.generic) and x.dtype.kind in "fc"


def agreement(first: Any, second: Any, part: float = AGREE, noise: float = 0) -> Any:
    """Where two arrays are the same, but for this part of the largest number and for ``noise``, and finite."""
    unit = part * np.finfo(first.dtype).eps / np.finfo(float).eps
    size = np.abs(first[np.isfinite(first)]).max(initial=0)
    with np.errstate(all="ignore"):
        return (np.abs(first - second) <= unit * size + noise) & np.isfinite(first)


def agreements(plain: Any, first: Any, second: Any, noise: float) -> tuple[Any, Any]:
    """Where the plain result stays, and where it is replaced by the limit. It stays where it is the limit but for rounding. It also stays
    where it depends on the choice of vectors, but does not divide by a gap: as a value, or as a derivative of values.
    """
    agree = agreement(first, second, noise=noise)
    return np.where(agree, agreement(first, plain, SAME), agreement(first, plain) & np.isfinite(second)), agree


def combined(plain: Any, first: Any, second: Any, exactly: Any, noise: float) -> Any:
    """One array of the result. Where there is no limit, it is infinite where values are equal. Where they are not quite, an array with such
    an element is the plain derivative: the poles of its other elements may be too small beside those to be seen.
    """
    if not is_array(plain):
        return plain
    first, second = np.asarray(first, plain.dtype), np.asarray(second, plain.dtype)
    stays, agree = agreements(plain, first, second, noise)
    if exactly is not False and not np.all(stays | agree | ~np.isfinite(exactly)):
        return to_array(np.where(stays, plain, exactly).astype(plain.dtype, copy=False))
    rest = np.where(np.isfinite(plain), np.inf, plain) if exactly is False else exactly
    return to_array(np.where(stays, plain, np.where(agree, first, rest)).astype(plain.dtype, copy=False))


# ---- what depends on the choice of vectors -------------------------------------------------------------------------------------------
def depends(plain: Any, first: Any, second: Any, noise: float) -> bool:
    """Whether an array of the result is a derivative that depends on the choice of vectors."""
    if not is_array(plain):
        return False
    stays, agree = agreements(plain, np.asarray(first, plain.dtype), np.asarray(second, plain.dtype), noise)
    return not bool(np.all(stays | agree))


def report(result: Any, again: Callable[[], Any], power: int, found: Limits) -> None:
    """Warn of a result that depends on the choice of vectors, and name the values that these belong to: what is left of the poles is
    another when the vectors of the pair are turned.
    """
    different = partial(depends, noise=found.trace.noise)
    if not any(tree.leaves(tree.map(different, result, found.first, found.second))):
        return

    def poles(pair: Turn) -> Any:
        trace = LimitTrace(EVAL, power, power, turned=pair is not None, pair=pair)
        with running(trace):
            return tree.map(trace.pole, again())

    plain, lines = poles(None), list[str]()
    for pair in sorted({pair for s in found.trace.splittings for pair in s.pairs})[:MOST_PAIRS]:
        if any(tree.leaves(tree.map(different, result, plain, poles(pair)))):
            places = {origin for origin, s in zip(found.trace.origins, found.trace.splittings, strict=True) if pair in s.pairs}
            lines += [f"values {pair[0]} and {pair[1]} of {place}" for place in sorted(places)]
    message = "a derivative does not exist here: the result depends on the choice of the vectors of equal values.\n"
    message += "\n".join(f"  {line}" for line in lines)
    do = "make the function one that is the same for all bases of their space (V f(w) V^H, U S V^H), or keep the values apart."
    warn(f"{message}\nWhat to do: {do}", EqualValuesWarning)
