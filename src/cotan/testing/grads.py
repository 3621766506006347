"""check_grads with JAX's signature: derivatives along random directions against differences, to any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..api.arguments import boundary, check_callable
from ..api.differentiate import jvp, vjp
from ..core.errors import warn
from .findings import NotSmoothWarning, between, told, tuple_of_arguments, wrong_derivative
from .numeric import Estimate, Vector
from .trees import TreeFunction

__all__ = ["check_grads"]

MODES = ("fwd", "rev")


@boundary
def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] = MODES,
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check derivatives of ``f`` at ``args`` against finite differences, up to ``order``, as JAX's check_grads.

    Args:
        f: a function of trees of arrays. args: a tuple of arguments. order: 1 for first derivatives, 2 for second, ...
        modes: "fwd", "rev" or both. atol, rtol: tolerances; by default from the dtype. eps: the step; by default found by extrapolation.

    Derivatives of higher order are taken in the arguments and in the tangent or cotangent.

    Raises:
        RuleCheckError: a derivative is wrong.

    Warns:
        NotSmoothWarning: ``f`` has a kink or a jump at ``args``, or very near: a derivative between the one-sided derivatives passes.
    """
    names = (modes,) if isinstance(modes, str) else tuple(modes)
    rng = np.random.default_rng(0)
    check_callable("check_grads", f)
    check_order(f, tuple(tuple_of_arguments("check_grads", args)), order, names, atol, rtol, eps, rng)


def check_order(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    order: int,
    modes: tuple[str, ...],
    atol: float | None,
    rtol: float | None,
    eps: float | None,
    rng: Any,
    reached: int = 1,
) -> None:
    """First derivatives in the given modes, then the derivatives of the derivative; ``reached`` is their order."""
    function = TreeFunction(f, args)
    direction = rng.standard_normal(function.flat.point.size)
    if eps is None:
        estimate = function.flat.along(direction)
    else:
        up, down = function.flat(function.flat.point + eps * direction), function.flat(function.flat.point - eps * direction)
        estimate = smooth((up - down) / (2 * eps))
    default = 1e-6 if function.flat.precision < 1e-10 else 2e-2
    tolerance = (default if atol is None else atol) + (default if rtol is None else rtol) * np.abs(estimate.value) + 10 * estimate.error
    low, high = between(estimate, tolerance)
    if estimate.rough.any():
        warn(f"derivative of order {reached}: {told(estimate)} What to do: check at a point away from it.", NotSmoothWarning)

    def compare(what: str, found: Vector, low: Vector, high: Vector) -> None:
        bad = ~((low <= found) & (found <= high))
        if bad.any():
            k = int(np.argmax(bad))
            wanted = (low.flat[k] + high.flat[k]) / 2
            text = f"entry {k} is {found.flat[k]:.9g}, finite differences give {wanted:.9g}."
            raise wrong_derivative(f"{what} derivative of order {reached}: {text}", what)

    value = function.flat(function.flat.point)
    close = default * (1 + np.abs(value))

    def compare_values(mode: str, found: Vector, wanted: Vector, allowed: Vector) -> None:
        bad = ~((np.abs(found - wanted) <= allowed) | (found == wanted) | (np.isnan(found) & np.isnan(wanted)))
        if bad.any():
            k = int(np.argmax(bad))
            text = f"the value by {mode} mode: entry {k} is {found[k]:.9g}, but the function gives {wanted[k]:.9g}."
            raise wrong_derivative(text, "value")

    if "fwd" in modes:
        compare_values("forward", function.value_by_jvp(), value, close)
        compare("forward", function.push(direction), low, high)
        if order > 1:
            both, count = (*args, *function.tangent_trees(direction)), len(args)
            check_order(lambda *xs: jvp(f, xs[:count], xs[count:])[1], both, order - 1, modes, atol, rtol, eps, rng, reached + 1)
    if "rev" in modes:
        compare_values("reverse", function.value_by_vjp(), value, close)
        bar = rng.standard_normal(estimate.value.size)
        pulled = np.array([function.pull(bar) @ direction])
        least, most = np.minimum(bar * low, bar * high).sum(keepdims=True), np.maximum(bar * low, bar * high).sum(keepdims=True)
        compare("reverse", pulled, least, most)
        if order > 1:
            both = (*args, function.cotangent_tree(bar))
            check_order(lambda *xs: vjp(f, *xs[:-1])[1](xs[-1]), both, order - 1, modes, atol, rtol, eps, rng, reached + 1)


def smooth(value: Vector) -> Estimate:
    """An estimate of differences without error bounds."""
    none = np.zeros(value.shape)
    return Estimate(value, none, (value, value), none.astype(bool))
