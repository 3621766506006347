"""The outcomes of a call, by NumPy and by cotan under each transformation; and a comparison of two outcomes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import cotan
from cotan.core.array import Array
from cotan.core.tracing import Tracer

from .arguments import Call
from .recipes import Operand, bare
from .running import flat

Outcome = list[Any] | Exception


# ---- the operands of a call --------------------------------------------------------------------------------------------------
def leaves_of(x: Any) -> list[Any]:
    """The numbers and arrays in a (nested) list; None is none."""
    if isinstance(x, list | tuple):
        return [leaf for part in x for leaf in leaves_of(part)]
    return [] if x is None else [x]


def rebuilt(x: Any, leaves: list[Any]) -> Any:
    """``x`` with the next of ``leaves``, which are taken away, in place of its own."""
    if isinstance(x, list | tuple):
        return type(x)([rebuilt(part, leaves) for part in x])
    return None if x is None else leaves.pop(0)


def operands_of(call: Call) -> list[Any]:
    return [leaf for x in (*call.args, *call.kwargs.values()) if isinstance(x, Operand) for leaf in leaves_of(x.value)]


def with_operands(function: Callable[..., Any], call: Call, leaves: Sequence[Any]) -> Any:
    """The call with these numbers and arrays as operands."""
    rest = list(leaves)
    put = lambda x: rebuilt(x.value, rest) if isinstance(x, Operand) else x  # noqa: E731
    args = [put(x) for x in call.args]
    return function(*args, **{key: put(x) for key, x in call.kwargs.items()})


# ---- ways to run ---------------------------------------------------------------------------------------------------------------
def plainly(function: Callable[..., Any], call: Call) -> list[Any]:
    return flat(function(*map(bare, call.args), **{key: bare(x) for key, x in call.kwargs.items()}))


def under(
    transform: Callable[..., list[Any]], traced: Callable[[int, Any], bool] = lambda k, x: True
) -> Callable[[Callable[..., Any], Call], list[Any]]:
    """The way to run a call under a transformation of the operands that are ``traced`` (by place and value), with the others as they are.

    Results that are no arrays (shapes, dtypes) are kept apart.
    """

    def run(function: Callable[..., Any], call: Call) -> list[Any]:
        apart: dict[int, Any] = {}
        operands = operands_of(call)
        chosen = [k for k, x in enumerate(operands) if traced(k, x)]

        def arrays(*leaves: Any) -> list[Any]:
            values = dict(zip(chosen, leaves, strict=True))
            results = flat(with_operands(function, call, [values.get(k, x) for k, x in enumerate(operands)]))
            apart.clear()
            apart.update({k: y for k, y in enumerate(results) if not isinstance(y, Tracer | np.ndarray | np.generic)})
            return [y for k, y in enumerate(results) if k not in apart]

        got = list(transform(arrays, [operands[k] for k in chosen]))
        for k, y in sorted(apart.items()):
            got.insert(k, y)
        return got

    return run


def mapped(function: Callable[..., list[Any]], leaves: list[Any]) -> list[Any]:
    """The first of two examples, of which the second is the first turned round; Python numbers, which have no batch, are shared."""
    axes = [None if type(x) in (bool, int, float, complex) else 0 for x in leaves]
    if all(axis is None for axis in axes):
        return function(*leaves)
    stacked = [x if axis is None else np.stack([x, np.flip(x)]) for x, axis in zip(leaves, axes, strict=True)]
    return [y[0] for y in cotan.vmap(function, in_axes=tuple(axes))(*stacked)]


WAYS: dict[str, Callable[[Callable[..., Any], Call], list[Any]]] = {
    "eager": plainly,
    "vjp": under(lambda f, leaves: cotan.vjp(f, *leaves)[0], lambda k, x: type(x) is not int),  # a derivative by an int is one by a float
    "jit": under(lambda f, leaves: cotan.jit(f, engine="numpy")(*leaves)),
    "half": under(lambda f, leaves: cotan.jit(f, engine="numpy")(*leaves), lambda k, x: k % 2 == 0),
    "vmap": under(mapped),
}


COMPILED = {"compiled": under(lambda f, leaves: cotan.jit(f)(*leaves))}


def outcome(run: Callable[..., list[Any]], function: Callable[..., Any], call: Call) -> Outcome:
    """The flat results of a call, or the error that it raises."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return run(function, call)
        except Exception as error:
            return error


# ---- whether they agree ----------------------------------------------------------------------------------------------------------
RTOL = {2: 1e-2, 4: 1e-4, 8: 1e-10}


def precision(x: Any) -> float:
    """The relative error that numbers of this dtype may have."""
    return RTOL[np.finfo(x.dtype).dtype.itemsize] if x.dtype.kind in "fc" else 0.0


def size_and_precision(call: Call) -> tuple[float, float]:
    """The greatest finite number among the operands of a call, and the precision of the coarsest: rounding is measured by them."""
    operands = [np.asarray(x) for x in operands_of(call)]
    sizes = [float(np.abs(x[np.isfinite(x)]).max(initial=0)) for x in operands if x.dtype.kind in "fc"]
    return max([1.0, *sizes]), max(map(precision, operands), default=0.0)


def difference(got: Any, expected: Any, scale: tuple[float, float]) -> str:
    """How one result differs from NumPy's; empty if it does not. ``scale`` is the `size_and_precision` of the operands."""
    if isinstance(got, np.ndarray) and type(got) not in (Array, np.ndarray):
        return f"a {type(got).__name__}"
    if isinstance(expected, np.ndarray | np.generic) and not isinstance(got, np.ndarray | np.generic | bool | int | float | complex):
        return f"a {type(got).__name__} instead of an array"
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape:
        return f"shape {got.shape}, not {expected.shape}"
    if got.dtype != expected.dtype:
        return f"dtype {got.dtype}, not {expected.dtype}"
    if expected.dtype.kind not in "fc":
        return "" if np.array_equal(got, expected) else f"{got.tolist()}, not {expected.tolist()}"
    size, coarsest = scale
    rtol = max(precision(expected), coarsest)
    finite = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    with np.errstate(all="ignore"):
        near = np.isclose(got, expected, rtol=rtol, atol=rtol * max(float(finite), size), equal_nan=True)
    near |= np.isnan(got) & np.isnan(expected)
    return "" if near.all() else f"{got.tolist()}, not {expected.tolist()}"


def disagreement(got: Outcome, expected: Outcome, scale: tuple[float, float]) -> str:
    """How an outcome differs from NumPy's; empty if it does not."""
    if isinstance(expected, Exception):
        return "" if isinstance(got, Exception) else f"taken; NumPy refuses: {type(expected).__name__}: {expected}"
    if isinstance(got, Exception):
        return f"refused: {type(got).__name__}: {got}"
    if len(got) != len(expected):
        return f"{len(got)} results, not {len(expected)}"
    return next(
        (f"result {k}: {text}" for k, (g, e) in enumerate(zip(got, expected, strict=True)) if (text := difference(g, e, scale))), ""
    )
