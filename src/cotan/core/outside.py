"""Functions of the user that run outside of tracing: what type their results have, and whether each call keeps to it.

The type rule of an op whose meaning is such a function (`External`, a primitive of `cotan.extend`) runs it once on example arrays. What is
staged then holds for the types found, so each later call is checked against them: a result of another shape or dtype is refused, never
broadcast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .errors import NonlinearTangentError, RuleError, teach
from .origin import Origin, describe_error
from .program import Equation
from .tracing import EVAL, running
from .types import ArrayType, array_type, is_known, refuse_foreign_dtype

__all__ = ["as_array", "check_declared_linear", "checked_impl", "result_types", "types_at_examples"]

LINEAR_TO = 1e-2
"""Relative: a solver's result may be linear in its right-hand side only as far as it has converged."""


def as_array(subject: str, y: Any) -> np.ndarray[Any, Any]:
    """A result of a user's function as an array.

    Raises:
        DtypeError: it is of a dtype that there is not here, or no array at all.
    """
    try:
        array = np.asarray(y)
    except ValueError:  # a list of lists of unlike lengths
        array = np.asarray(None)
    if not is_known(array.dtype):
        refuse_foreign_dtype(f"{subject} returned {f'a {type(y).__name__}' if array.dtype.kind == 'O' else 'an array'}", array.dtype)
    return array


def result_types(subject: str, results: Iterable[Any]) -> tuple[ArrayType, ...]:
    """The types of results of a user's function, as the arrays that they become."""
    arrays = [as_array(subject, y) for y in results]
    return tuple(array_type(y.shape, y.dtype.newbyteorder("=")) for y in arrays)


def types_at_examples(subject: str, function: Callable[..., Sequence[Any]], types: Sequence[ArrayType], do: str) -> tuple[ArrayType, ...]:
    """The types of the results of ``function`` for example arrays of these types: ones, or, where it raises an error for these, numbers
    about one, with positive definite matrices. ``do`` says how the user states them himself.

    Raises:
        RuleError: it raises an error for both.
    """
    try:
        results = at_examples(function, [np.ones(t.shape, t.dtype) for t in types])
    except Exception as first:
        rng = np.random.default_rng(0)
        try:
            results = at_examples(function, [about_one(t, rng) for t in types])
        except Exception:
            given = ", ".join(t.long_name() for t in types)
            raise teach(
                RuleError,
                f"{subject}: to find the type of its result it was called on arrays of ones ({given}), and raised {describe_error(first)}",
                do=do,
            ) from first
    return result_types(subject, results)


def at_examples(function: Callable[..., Sequence[Any]], examples: Sequence[Any]) -> Sequence[Any]:
    with running(EVAL), np.errstate(all="ignore"):
        return function(*examples)


def about_one(t: ArrayType, rng: np.random.Generator) -> Any:
    """Numbers between 0.5 and 1.5; of square matrices positive definite ones."""
    x = rng.uniform(0.5, 1.5, t.shape)
    if t.ndim > 1 and t.shape[-1] == t.shape[-2]:
        x = (x + np.swapaxes(x, -1, -2)) / 2 + 2 * t.shape[-1] * np.eye(t.shape[-1])
    return np.asarray(x).astype(t.dtype)


def checked_impl(equation: Equation) -> Callable[..., Any]:
    """``impl`` of the op of an equation; where this is a function of the user, each result must have the type the equation gives it."""
    op = equation.op
    if not op.user_code:
        return op.impl
    wanted = [(v.type.shape, v.type.dtype) for v in equation.outputs]
    names, impl, multiple, origin = [v.type.long_name() for v in equation.outputs], op.impl, op.multiple, equation.origin

    def run(*operands: Any) -> Any:
        found = impl(*operands)
        results = found if multiple else (found,)
        if len(results) != len(wanted) or any(
            np.shape(y) != shape or (y.dtype if hasattr(y, "dtype") else np.asarray(y).dtype) != dtype
            for y, (shape, dtype) in zip(results, wanted, strict=True)
        ):
            raise misfit(op.user_code, results, names, origin)
        return found

    return run


def misfit(subject: str, results: Sequence[Any], names: Sequence[str], origin: Origin | None) -> RuleError:
    """The error that a call returned something else than the staged program was made for."""
    have = ", ".join(t.long_name() for t in result_types(subject, results))
    return teach(
        RuleError,
        f"{subject} returned {have}, where the staged program was made for {', '.join(names)}.",
        do="make shape and dtype of its result depend on those of its arguments alone; where it is not staged (by jit, scan, cond) it may "
        "return anything.",
        origin=origin,
        locate=False,
    )


def check_declared_linear(
    subject: str, function: Callable[..., Sequence[Any]], types: Sequence[ArrayType], members: Sequence[int], declared: str
) -> None:
    """Refuse a function that is not linear in the operands ``members`` together: f(u + 2 v) is f(u) + 2 f(v), the others being the same.

    A function passes if the test cannot decide: if it raises an error for the numbers tried, or returns a value that is not finite.

    Raises:
        NonlinearTangentError: it is not linear there.
    """
    rng = np.random.default_rng(0)

    def at(values: Sequence[Any]) -> list[Any]:
        found = iter(values)
        operands = [next(found) if k in members else x for k, x in enumerate(fixed)]
        return [np.asarray(y) for y in at_examples(function, operands)]

    fixed = [about_one(t, rng) for t in types]
    u, v = ([about_one(types[k], rng) for k in members] for _ in range(2))
    try:
        first, second, both = at(u), at(v), at([a + 2 * b for a, b in zip(u, v, strict=True)])
    except Exception:  # outside of its domain, say
        return
    for a, b, c in zip(first, second, both, strict=True):
        if a.dtype.kind not in "fc":
            continue
        size = np.abs(a).max(initial=0.0) + 2 * np.abs(b).max(initial=0.0)
        if np.isfinite(size) and np.isfinite(c).all() and not np.abs(a + 2 * b - c).max(initial=0.0) <= LINEAR_TO * size:
            raise teach(
                NonlinearTangentError,
                f"{subject} is declared linear ({declared}), but it is not: f(u + 2 v) is not f(u) + 2 f(v).",
                detail=f"on random numbers they differ by {np.abs(a + 2 * b - c).max():.3g}, where the values are up to {size:.3g}",
                do="state its derivative by jvp or vjp instead.",
            )
