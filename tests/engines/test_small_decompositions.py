"""Decompositions of many small matrices in the lanes of vectors are as accurate as LAPACK's and have its signs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.engines.native.engine import compile_with_report
from cotan.engines.native.options import codegen_options
from cotan.engines.native.runtime.thread_pool import limited
from cotan.ops import small_batch, small_qr, small_singular_values, small_spectra

COUNT = 67
TOLERANCE = 50
"""Units of rounding of the largest eigenvalue, or of one."""
DTYPES = [np.float64, np.complex128, pytest.param(np.float32, marks=pytest.mark.exhaustive), np.complex64]
ORDERS = [1, 2, 3, 5, 8]


@lru_cache
def compiled(f, shape, dtype, option):
    """A function for each type, none of which warns that it is compiled often."""
    return cotan.jit(lambda a: f(a, option))


def eigh(a, triangle="L"):
    return compiled(cnp.linalg.eigh, a.shape, a.dtype, triangle)(a)


def eigvalsh(a, triangle="L"):
    return compiled(cnp.linalg.eigvalsh, a.shape, a.dtype, triangle)(a)


def qr(a, mode="reduced"):
    return compiled(cnp.linalg.qr, a.shape, a.dtype, mode)(a)


def svdvals(a, _=None):
    return compiled(values_alone, a.shape, a.dtype, None)(a)


def values_alone(a, _):
    return cnp.linalg.svd(a, compute_uv=False)


def normal(rng, shape, dtype):
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


@lru_cache
def stacks(n, dtype):
    """Hermitian matrices of one order, by kind; the flag says whether they have vectors that are determined."""
    rng = np.random.default_rng(n)
    x = normal(rng, (COUNT, n, n), dtype)
    q, _ = np.linalg.qr(x)
    real = np.finfo(dtype).dtype

    def of(values):
        y = (q * np.asarray(values).astype(real)) @ adjoint(q)
        return ((y + adjoint(y)) / 2).astype(dtype)

    h = x + adjoint(x)
    scales = (10.0 ** -np.arange(n)).astype(real)
    blocks = h * (np.arange(n)[:, None] // 2 == np.arange(n) // 2)
    return {
        "of random numbers": (h, True),
        "graded": (of(10.0 ** -np.arange(n)), n < 5 or real == np.float64),
        "scaled": (h * scales[:, None] * scales, False),
        "with values near to each other": (of(1 + 1e-3 * np.arange(n)), True),
        "with equal values": (of(np.arange(n) // 2 + 1.0), n < 2),
        "of rank one": (of(np.arange(n) == 0), n < 3),
        "zero": (0 * h, True),
        "identities": (0 * h + np.eye(n, dtype=dtype), True),
        "diagonal": (h * np.eye(n, dtype=dtype), True),
        "of blocks": (blocks, True),
        "with zeros on the diagonal": (h * (1 - np.eye(n, dtype=dtype)), n < 2 or n > 3 or np.dtype(dtype).kind == "c"),
    }


KINDS = list(stacks(2, np.float64))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_eigenvalues_and_vectors_are_those_of_lapack(dtype, n, kind):
    a, determined = stacks(n, dtype)[kind]
    limit = TOLERANCE * np.finfo(dtype).eps
    for triangle, given in (("L", np.tril(a) + 7 * np.triu(a, 1)), ("U", np.triu(a) - 3 * np.tril(a, -1))):
        w, v = eigh(given, triangle)
        expected, vectors = np.linalg.eigh(given, triangle)
        size = np.abs(expected).max(axis=-1, keepdims=True)
        assert (np.abs(w - expected) <= limit * size).all()
        assert (np.abs(eigvalsh(given, triangle) - expected) <= limit * size).all()
        assert (np.diff(w) >= 0).all()
        assert (np.abs(a @ v - v * w[:, None, :]) <= limit * size[..., None]).all()
        assert np.abs(adjoint(v) @ v - np.eye(n)).max() <= limit
        if determined and np.finfo(dtype).dtype == np.float64:
            np.testing.assert_allclose(np.sum(np.conj(vectors) * v, axis=-2), 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", ORDERS)
@pytest.mark.parametrize("power", [-310, -150, 150, 300])
def test_matrices_too_large_or_small_to_be_squared_are_left_to_lapack(n, power):
    """To the last bit, between others that are not."""
    a = stacks(n, np.float64)["of random numbers"][0].copy()
    some = np.arange(COUNT) % 5 == 1
    a[some] *= 10.0**power
    (w, v), (expected, vectors) = eigh(a), np.linalg.eigh(a)
    np.testing.assert_array_equal(w[some], expected[some])
    np.testing.assert_array_equal(v[some], vectors[some])
    np.testing.assert_allclose(w[~some], expected[~some], rtol=0, atol=1e-13)
    np.testing.assert_allclose(v[~some], vectors[~some], rtol=0, atol=1e-11)
    for x, y in zip(qr(a), np.linalg.qr(a), strict=True):
        np.testing.assert_array_equal(x[some], y[some])


@pytest.mark.parametrize("n", ORDERS)
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_have_lapacks_results(n, number):
    for place in ((0, 0), (n - 1, 0), (n - 1, n - 1)):
        a = stacks(n, np.float64)["of random numbers"][0].copy()
        a[(11, *place)] = number
        for f, oracle in ((eigh, cnp.linalg.eigh), (eigvalsh, cnp.linalg.eigvalsh)):
            expected = cotan.jit(oracle, engine="numpy")(a)
            for x, y in zip(cotan.tree.leaves(f(a)), cotan.tree.leaves(expected), strict=True):
                np.testing.assert_array_equal(np.isnan(x), np.isnan(y))


SHAPES = [(1, 1), (2, 2), (3, 3), (3, 1), (1, 3), (5, 3), (3, 7), (8, 8), (16, 8), (8, 16)]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("mode", ["reduced", "complete"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_qr_is_that_of_lapack(dtype, shape, mode):
    rng = np.random.default_rng(sum(shape))
    a = normal(rng, (COUNT, *shape), dtype)
    a[3], a[4], a[5] = 0, np.eye(*shape), np.triu(a[5])
    a[6] *= 1e3
    limit = 10 * TOLERANCE * np.finfo(dtype).eps
    q, r = qr(a, mode)
    for x, y in zip((q, r), np.linalg.qr(a, mode), strict=True):
        size = np.abs(y).max(axis=(-1, -2), keepdims=True)
        assert (np.abs(x - y) <= limit * size).all()
    assert np.abs(adjoint(q) @ q - np.eye(q.shape[-1])).max() <= limit
    assert (np.abs(q @ r - a) <= limit * np.abs(a).max(axis=(-1, -2), keepdims=True)).all()
    assert (np.tril(r, -1) == 0).all()


def test_qr_of_dependent_columns_has_orthonormal_columns():
    a = normal(np.random.default_rng(0), (COUNT, 5, 4), np.float64)
    a[:, :, 2] = 2 * a[:, :, 0] - a[:, :, 1]
    q, r = qr(a)
    assert np.abs(adjoint(q) @ q - np.eye(4)).max() <= 1e-14
    np.testing.assert_allclose(q @ r, a, rtol=0, atol=1e-13)
    np.testing.assert_allclose(r[:, 2, 2], 0, atol=1e-14)


@pytest.mark.parametrize("count", [4, 5, 64, 65, 66, 67, 68])
def test_every_matrix_of_a_stack_is_decomposed_once(count):
    """The last block overlaps the one before. A matrix has the same results at each place."""
    a = np.broadcast_to(stacks(3, np.float64)["of random numbers"][0][0], (count, 3, 3)).copy()
    for results in (eigh(a), qr(a)):
        for x in results:
            np.testing.assert_array_equal(x, np.broadcast_to(x[0], x.shape))
    np.testing.assert_allclose(eigvalsh(a), np.linalg.eigvalsh(a), rtol=0, atol=1e-13)


@pytest.mark.parametrize("f", [lambda a: cnp.linalg.eigh(a), lambda a: cnp.linalg.qr(a)])
def test_threads_share_a_stack_of_small_matrices(f):
    a = np.tile(stacks(5, np.float64)["of random numbers"][0], (40, 1, 1))
    with codegen_options(kernel_products=1 << 10, small_kernel_products=1 << 10):
        shared = cotan.jit(lambda a: f(a))
        with limited(1):
            expected = shared(a)
        with limited(2):
            found = shared(a)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_allclose(found[0], f(a)[0], rtol=0, atol=1e-10)


def test_a_transposed_stack_and_a_slice_are_read_where_they_lie():
    x = normal(np.random.default_rng(1), (COUNT, 4, 5), np.float64)
    q, r = cotan.jit(lambda x: cnp.linalg.qr(x[:, 1:].mT))(x)
    for found, expected in zip((q, r), np.linalg.qr(x[:, 1:].mT), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("name", ["values", "vectors", "projector", "qr"])
def test_gradients_of_compiled_code_are_those_outside(name, n):
    x = stacks(n, np.float64)["of random numbers"][0] + 3 * np.arange(n) * np.eye(n)
    losses = {
        "values": lambda a: cnp.sum(cnp.sin(cnp.linalg.eigvalsh(a))),
        "vectors": lambda a: cnp.sum(cnp.sin(cnp.linalg.eigh(a)[1])),
        "projector": lambda a: cnp.sum(cnp.cos(cnp.linalg.eigh(a)[1][..., :1] * cnp.linalg.eigh(a)[1][..., :1].mT)),
        "qr": lambda a: cnp.sum(cnp.sin(cnp.linalg.qr(a)[0])) + cnp.sum(cnp.linalg.qr(a)[1] ** 2),
    }
    gradient = cotan.grad(losses[name])
    np.testing.assert_allclose(cotan.jit(gradient)(x), gradient(x), rtol=1e-8, atol=1e-9)


# ---- singular values ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_singular_values_are_those_of_lapack(dtype, shape):
    rng, (m, n) = np.random.default_rng(sum(shape)), shape
    a = normal(rng, (COUNT, *shape), dtype)
    u, _, vh = np.linalg.svd(a, full_matrices=False)
    k = np.arange(min(shape))
    a[0], a[1], a[2], a[3] = 0, np.eye(m, n), 1, 0.1 * np.eye(m, n)
    a[4:8] = (u * (k < k[-1]))[4:8] @ vh[4:8]
    a[8:12] = (u * (k < 1))[8:12] @ vh[8:12]
    a[12:16] = (u * 10.0**-k)[12:16] @ vh[12:16]
    a[16:20] = u[16:20] @ vh[16:20]
    a[20:24] *= 10.0 ** -np.arange(n)
    a[24:28] *= 10.0 ** -np.arange(m)[:, None]
    a[28, -1], a[29, :, -1] = 0, 0
    found, expected = svdvals(a), np.linalg.svd(a, compute_uv=False)
    assert (np.abs(found - expected) <= TOLERANCE * np.finfo(dtype).eps * expected.max(axis=-1, keepdims=True)).all()
    assert (np.diff(found) <= 0).all()


@pytest.mark.parametrize("power", [-310, -60, 60, 300])
def test_extreme_singular_values_are_lapacks(power):
    a = normal(np.random.default_rng(0), (COUNT, 4, 3), np.float64)
    some = np.arange(COUNT) % 5 == 1
    a[some] *= 10.0**power
    found, expected = svdvals(a), np.linalg.svd(a, compute_uv=False)
    np.testing.assert_array_equal(found[some], expected[some])
    np.testing.assert_allclose(found[~some], expected[~some], rtol=1e-13)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_singular_values_of_numbers_that_are_not_finite_are_numpys(number):
    a = normal(np.random.default_rng(0), (COUNT, 4, 3), np.float64)
    a[5, 2, 1] = number
    expected = cotan.jit(cnp.linalg.svdvals, engine="numpy")(a)
    np.testing.assert_array_equal(np.isnan(svdvals(a)), np.isnan(expected))


# ---- which matrices are left to LAPACK -----------------------------------------------------------------------------------------
def without_lapack(f, a, monkeypatch):
    """The results of compiled code that are nan for a matrix that is left to LAPACK."""

    def decompose(w, a, results, body, one, work):
        def refused(k):
            status = w.scratch((), w.integer)
            status[()] = w.emitter.constant(1, w.integer)
            return status

        small_batch.decompose(w, a, results, body, refused, work)

    for module in (small_spectra, small_qr, small_singular_values):
        monkeypatch.setattr(module, "decompose", decompose)
    return compile_with_report(cotan.stage(f)(a))[0]([a])


FUNCTIONS = {"eigh": cnp.linalg.eigh, "eigvalsh": cnp.linalg.eigvalsh, "qr": cnp.linalg.qr, "svdvals": lambda a: values_alone(a, None)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_usual_matrix_is_left_to_lapack(name, kind, monkeypatch):
    for dtype, n in ((np.float64, 2), (np.float64, 8), (np.complex64, 3)):
        a, _ = stacks(n, dtype)[kind]
        found, expected = without_lapack(FUNCTIONS[name], a, monkeypatch)[0], np.asarray(cotan.tree.leaves(FUNCTIONS[name](a))[0])
        assert found.shape == expected.shape
        assert not np.isnan(found).any()
        if name != "qr":
            np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.finfo(dtype).eps * max(np.abs(expected).max(), 1))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_unusual_matrix_is_left_to_lapack(name, monkeypatch):
    a = stacks(3, np.float64)["of random numbers"][0].copy()
    a[7] *= 1e200
    for y in without_lapack(FUNCTIONS[name], a, monkeypatch):
        np.testing.assert_array_equal(np.isnan(np.asarray(y).reshape(COUNT, -1)).any(-1), np.arange(COUNT) == 7)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_few_matrices_are_decomposed_by_lapack_alone(name):
    """To the last bit."""
    for count, n in ((3, 3), (63, 4)):
        a = stacks(n, np.float64)["of random numbers"][0][:count]
        for x, y in zip(cotan.tree.leaves(cotan.jit(FUNCTIONS[name])(a)), cotan.tree.leaves(FUNCTIONS[name](a)), strict=True):
            np.testing.assert_array_equal(x, y)
