"""The functions that are not ufuncs: eager equal to NumPy, staged equal to eager in values and dtypes, derivatives by differences."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import cotan.numpy as cnp
from cotan import vjp
from cotan.core.array import Array
from cotan.core.tracing import Tracer
from cotan.transforms.jvp import jvp_flat

from .cases import CASES, DIFFERENTIABLE, Case
from .running import assert_jvp, assert_same, flat, staged

ALL = [pytest.param(case, id=f"{group}-{k}") for group, cases in CASES.items() for k, case in enumerate(cases)]
LOOSE = {2: 4e-3, 4: 2e-5, 8: 1e-11, 16: 1e-11}


@pytest.mark.parametrize("case", ALL)
def test_function_equals_numpy_eager_and_staged(case: Case) -> None:
    function, args = case
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = flat(function(np, *args))
        eager = flat(function(cnp, *args))
        traced = staged(lambda *xs: function(cnp, *xs), *args)
    assert len(expected) == len(eager) == len(traced)
    for want, now, later in zip(expected, eager, traced, strict=True):
        want = np.asarray(want)
        assert not isinstance(now, np.ndarray) or type(now) in (Array, np.ndarray)
        rtol = 1e-9 if want.dtype.kind not in "fc" else LOOSE.get(want.dtype.itemsize // (2 if want.dtype.kind == "c" else 1), 1e-11)
        assert_same(now, want, rtol=rtol)
        assert_same(later, want, rtol=rtol)


@pytest.mark.parametrize("name", sorted(DIFFERENTIABLE))
def test_derivative_is_that_of_finite_differences(name: str) -> None:
    function, args = DIFFERENTIABLE[name]
    assert_jvp(lambda *xs: function(cnp, *xs), *args, rtol=1e-5)


def test_eager_results_are_arrays_that_numpy_takes() -> None:
    for y in (
        cnp.sum(np.ones(3)),
        cnp.zeros(3),
        cnp.linspace(0, 1, 3),
        cnp.where(True, 1.0, 2.0),
        cnp.concatenate([np.ones(2)]),
        *cnp.split(np.ones(4), 2),
    ):
        assert type(y) is Array
        assert isinstance(y, np.ndarray)


@pytest.mark.parametrize(
    "function", [cnp.linalg.norm, cnp.std, lambda x: cnp.linalg.norm(x, axis=0), lambda x: cnp.linalg.vector_norm(x - x)]
)
def test_norms_have_derivative_zero_at_zero(function: Any) -> None:
    _, (dy,) = jvp_flat(lambda x: [function(x)], [np.zeros(3)], [np.ones(3)])
    assert np.asarray(dy) == 0.0


def test_piecewise_calls_no_function_for_nothing() -> None:
    def refuse(v: Any) -> Any:
        raise AssertionError(f"called with {v}")

    x, nowhere, first = np.array([1.0, 2.0]), np.array([False, False]), np.array([True, False])
    for conditions, functions, expected in (
        ([nowhere, first], [refuse, lambda v: 3 * v], [3.0, 0.0]),
        ([first, ~first], [lambda v: 3 * v, 7, refuse], [3.0, 7.0]),
        ([nowhere], [refuse, lambda v: -v], [-1.0, -2.0]),
        ([nowhere], [refuse], [0.0, 0.0]),
    ):
        assert cnp.piecewise(x, conditions, functions).tolist() == np.piecewise(x, conditions, functions).tolist() == expected
        y, _ = vjp(lambda x, c=conditions, f=functions: cnp.piecewise(x, c, f), x)
        assert y.tolist() == expected
    assert cnp.piecewise(nowhere[:1], [nowhere[:1]] * 2, [lambda v: v * 2, lambda v: -v]).tolist() == [False]
    assert cnp.piecewise(x[:0], [x[:0] > 1], [refuse]).shape == (0,)


def test_large_constants_are_ops_and_not_captured() -> None:
    from cotan.core.staging import stage_flat
    from cotan.core.tracing import type_of

    program, constants = stage_flat(lambda x: [cnp.zeros((100, 100)) + x], [type_of(1.0)])
    assert constants == []
    assert "broadcast_in_dim" in str(program)


def test_concrete_values_stay_concrete_while_tracing() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append(cnp.sin(np.ones(2)))
        return [x * seen[0]]

    staged(f, 1.0)
    assert type(seen[0]) is not Tracer


def test_python_loops_over_arrays() -> None:
    assert staged(lambda x: sum(v * v for v in x), np.array([1.0, 2.0, 3.0])) == [14.0]
