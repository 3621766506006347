"""Ways to run a function of the surface: eagerly, staged and evaluated, and in forward mode against finite differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cotan.core.array import plain
from cotan.core.program import evaluate
from cotan.core.staging import stage_flat
from cotan.core.tracing import type_of
from cotan.transforms.jvp import jvp_flat


def flat(results: Any) -> list[Any]:
    """The arrays of a (nested) result, in order."""
    if isinstance(results, tuple | list):
        return [part for result in results for part in flat(result)]
    return [results]


def staged(function: Callable[..., Any], *args: Any) -> list[Any]:
    """The flat results of ``function`` staged on the types of ``args``, and evaluated on them."""
    program, constants = stage_flat(lambda *xs: flat(function(*xs)), [type_of(x) for x in args])
    return evaluate(program, *constants, *[plain(x) for x in args])


def assert_same(got: Any, expected: Any, *, rtol: float = 0.0, weak: bool = False) -> None:
    """Equal values (to ``rtol``), shapes and dtypes. ``weak``: a Python scalar may stand for its dtype."""
    expected = np.asarray(expected)
    assert np.shape(got) == expected.shape, f"shape {np.shape(got)}, not {expected.shape}"
    got = np.asarray(got)
    assert got.dtype == expected.dtype, f"dtype {got.dtype}, not {expected.dtype}"
    if expected.dtype.kind in "fc":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            eps = np.finfo(expected.dtype).eps
            np.testing.assert_allclose(got, expected, rtol=max(rtol, 8 * eps), atol=8 * eps * (1 if rtol == 0 else 4))
    else:
        np.testing.assert_array_equal(got, expected)


def assert_jvp(function: Callable[..., Any], *args: Any, rtol: float = 2e-6, seed: int = 0) -> None:
    """The forward derivative of ``function`` at float64 ``args``, in a random direction, is what central differences give."""
    rng = np.random.default_rng(seed)
    args = tuple(np.asarray(x, np.result_type(x, np.float64)) for x in args)
    tangents = [rng.normal(size=x.shape) if x.dtype.kind == "f" else rng.normal(size=x.shape) + 1j * rng.normal(size=x.shape) for x in args]
    _, got = jvp_flat(lambda *xs: flat(function(*xs)), list(args), tangents)
    step = 1e-6
    with np.errstate(all="ignore"):
        above, below = (flat(function(*[x + sign * step * t for x, t in zip(args, tangents, strict=True)])) for sign in (1, -1))
    for g, a, b in zip(got, above, below, strict=True):
        want = (np.asarray(a) - np.asarray(b)) / (2 * step)
        np.testing.assert_allclose(
            np.zeros(want.shape) if g is None else np.asarray(g), want, rtol=rtol, atol=1e-7 * (1 + np.abs(want).max(initial=0))
        )


def arrays(*shapes: Sequence[int], seed: int = 0) -> list[Any]:
    """Random normal arrays of these shapes."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=tuple(shape)) for shape in shapes]
