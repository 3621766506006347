"""A stack of matrices is factorized by several threads, each matrix by one of them; one wrong matrix is an error."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.engines.native.runtime.thread_pool import limited

STACKED = {
    "solve": lambda a: cnp.linalg.solve(a, a[..., :3]),
    "one right-hand side": lambda a: cnp.linalg.solve(a, a[..., 0][..., None]),
    "inv": cnp.linalg.inv,
    "det": cnp.linalg.slogdet,
    "gradient of det": lambda a: cotan.grad(lambda a: cnp.sum(cnp.linalg.det(a / 9.0).real))(a),
    "svd": lambda a: (lambda u, s, vh: ((u * s[..., None, :]) @ vh, s))(*cnp.linalg.svd(a)),
    "svdvals": cnp.linalg.svdvals,
    "eigh": lambda a: cnp.linalg.eigh(a @ cnp.conj(a.mT))[0],
    "eigvalsh": lambda a: cnp.linalg.eigvalsh(a @ cnp.conj(a.mT)),
    "cholesky": lambda a: cnp.linalg.cholesky(a @ cnp.conj(a.mT)),
    "qr": cnp.linalg.qr,
}


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
@pytest.mark.parametrize("name", STACKED)
def test_a_stack_is_shared_by_threads(name, dtype):
    """A matrix is computed by one thread, in the same way by each."""
    a = (np.random.default_rng(0).normal(size=(2, 60, 18, 18)) + 9.0 * np.eye(18)).astype(dtype)
    f = cotan.jit(STACKED[name])
    with limited(1):
        expected = cotan.tree.leaves(f(a))
    with limited(2):
        found = cotan.tree.leaves(f(a))
    for x, y, z in zip(found, expected, cotan.tree.leaves(STACKED[name](a)), strict=True):
        np.testing.assert_array_equal(x, y)
        np.testing.assert_allclose(x, z, rtol=0, atol=300 * np.finfo(dtype).eps * np.abs(z).max())


@pytest.mark.parametrize("bad", [0, 59, 119])
@pytest.mark.parametrize("f", [cnp.linalg.inv, cnp.linalg.cholesky, lambda a: cnp.linalg.solve(a, a)])
def test_one_wrong_matrix_in_a_shared_stack_has_no_result(f, bad):
    a = np.tile(np.eye(18), (120, 1, 1))
    a[bad, 3, 3] = 0.0
    with limited(2):
        found = np.asarray(cotan.jit(lambda a: f(a))(a))
    np.testing.assert_array_equal(np.isnan(found).any((1, 2)), np.arange(120) == bad)
