"""LAPACK of NumPy's library gives what SciPy's functions give."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.linalg import lapack

from cotan.ops.openblas import numpys_function, of_numpy

pytestmark = pytest.mark.skipif(of_numpy() is None, reason="NumPy has another library")
N, M = 60, 7
SCIPYS = {"f": "s", "d": "d", "F": "c", "D": "z"}


def numbers(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if dtype.kind == "c" else x).astype(dtype)


def layouts(a):
    return a, np.asfortranarray(a), a.T, a[::-1, ::-1]


@pytest.mark.parametrize("dtype", [np.dtype(c) for c in "fdFD"], ids=str)
def test_its_functions_are_scipys(dtype):
    a, b = numbers((N, N), dtype, 0) + (3 * N) ** 0.5 * np.eye(N, dtype=dtype), numbers((N, M), dtype, 1)
    close = {"rtol": 100 * np.finfo(dtype).eps * N, "atol": 100 * np.finfo(dtype).eps * N}

    def both(name):
        return numpys_function(name, dtype), getattr(lapack, SCIPYS[dtype.char] + name)

    for matrix in layouts(a):
        for side, lower, trans, unit in itertools.product((b, np.asfortranarray(b)), (0, 1), (0, 1, 2), (0, 1)):
            triangle = matrix / N if unit else matrix
            (x, info), (y, other) = (solve(triangle, side, lower=lower, trans=trans, unitdiag=unit) for solve in both("trtrs"))
            assert info == other == 0
            np.testing.assert_allclose(x, y, **close)
        (factors, pivots, info), (others, places, _) = (factorize(matrix) for factorize in both("getrf"))
        assert info == 0
        np.testing.assert_array_equal(pivots, places)
        np.testing.assert_allclose(factors, others, **close)
        inverse, info = numpys_function("getri", dtype)(factors, pivots, 64 * N, overwrite_lu=True)
        assert info == 0
        np.testing.assert_allclose(inverse @ matrix, np.eye(N), **close)


def test_a_singular_matrix_has_their_status():
    zero = np.zeros((N, N))
    for name in ("trtrs", "getrf"):
        operands = (zero, zero) if name == "trtrs" else (zero,)
        assert numpys_function(name, zero.dtype)(*operands)[-1] == getattr(lapack, "d" + name)(*operands)[-1] > 0
