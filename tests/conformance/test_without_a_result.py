"""Matrices for which an op has no result: where Python sees it, it is NumPy's error; in traced code it is nan.

Next to others in a batch it changes nothing of these. What a mask leaves out has the derivative zero.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.core.tracing import type_of

from .cases import ALL_CASES, Case, params, results
from .test_failing_values import failing, with_operand


def refused(case: Case) -> Case | None:
    """The case with finite numbers for which NumPy's error is raised."""
    declared = [k for k in failing(case) if np.asarray(case.operands[k]).dtype.kind in "fc"]
    for k, value in itertools.product([[k] for k in declared] + [declared], (0.0, -1.0, 1.0)):
        other = case
        for j in k:
            other = with_operand(other, j, np.full_like(case.operands[j], value))
        try:
            with np.errstate(all="ignore"):
                results(other.op, other.operands)
        except np.linalg.LinAlgError:
            return other
        except (ValueError, IndexError):
            pass
    return None


REFUSED = [(case, other) for case in ALL_CASES if failing(case) and (other := refused(case)) is not None]
WAYS = {
    "eager": lambda f: f,
    "native": functools.partial(cotan.jit, engine="native"),
    "numpy": functools.partial(cotan.jit, engine="numpy"),
}


def test_the_ops_are_known():
    names = {case.op.name for case, _ in REFUSED}
    assert names >= {
        "banded_cholesky", "banded_solve", "banded_triangular_solve", "cholesky", "continuous_riccati", "discrete_riccati",
        "hermitian_banded_solve", "inverse", "lyapunov", "positive_solve", "solve", "solve_toeplitz", "sylvester", "triangular_solve",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["eager", "native", pytest.param("numpy", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    ("case", "other"), [pytest.param(*pair, id=p.id) for pair, p in zip(REFUSED, params([c for c, _ in REFUSED]), strict=True)]
)
def test_in_a_batch_it_is_nan_alone(case: Case, other: Case, way):
    stacks = [np.stack([x, y, x]) for x, y in zip(case.operands, other.operands, strict=True)]
    found = WAYS[way](cotan.vmap(lambda *xs: results(case.op, xs)))(*stacks)
    for y, expected in zip(found, results(case.op, case.operands), strict=True):
        for k in (0, 2):
            np.testing.assert_allclose(y[k], expected, rtol=1e-9, atol=1e-11)
        assert not type_of(expected).inexact or not y[1].size or getattr(case.op, "strong_zero", False) or np.isnan(y[1]).any()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["eager", "native", pytest.param("numpy", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    ("case", "other"), [pytest.param(*pair, id=p.id) for pair, p in zip(REFUSED, params([c for c, _ in REFUSED]), strict=True)]
)
def test_what_is_left_out_has_the_derivative_zero(case: Case, other: Case, way):
    stacks = [np.stack([x, y]) for x, y in zip(case.operands, other.operands, strict=True)]
    kept, floats = np.array([True, False]), case.floats

    def of_floats(operands, point):
        operands = list(operands)
        for k, x in zip(floats, point, strict=True):
            operands[k] = x
        return operands

    def size(kept, *operands):
        return sum(cnp.sum(cnp.abs(cnp.where(kept, y, 0.0)) ** 2) for y in results(case.op, operands))

    def loss(*point):
        return cnp.sum(cotan.vmap(size)(kept, *of_floats(stacks, point)))

    def alone(*point):
        return size(np.True_, *of_floats(case.operands, point))

    every = tuple(range(len(floats)))
    expected = cotan.grad(alone, every)(*[case.operands[k] for k in floats])
    for x, y in zip(WAYS[way](cotan.grad(loss, every))(*[stacks[k] for k in floats]), expected, strict=True):
        np.testing.assert_allclose(x[0], y, rtol=1e-9, atol=1e-11)
        assert not np.any(x[1])
    slopes = WAYS[way](lambda *xs: cotan.jvp(cotan.grad(loss, every), xs, xs)[1])(*[stacks[k] for k in floats])
    assert all(np.all(np.isfinite(x)) and not np.any(x[1]) for x in slopes)
