"""Ops that have a routine instead of a defining equation, against plain Python loops and the definition of their result."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import cotan
from cotan.core.errors import IndexingError
from cotan.ops.banded import (
    BandedOuter,
    BandedProduct,
    BandedSolve,
    BandedTriangularSolve,
    TransposedBands,
)
from cotan.ops.banded_cholesky import BandedCholesky, BandedGram, FactorTangent, HermitianBandedSolve
from cotan.ops.banded_spectra import EighBanded, EighTridiagonal
from cotan.ops.determinant import Cofactors, Det, Slogdet
from cotan.ops.factorization import Eigh, Svd
from cotan.ops.indexing import MAY_RAISE, SCATTER_KINDS, Gather, Scatter
from cotan.ops.linalg import Cholesky, Solve, TriangularSolve
from cotan.ops.qr import PivotedQr, Qr
from cotan.ops.running import Cumlogsumexp, Cummax, Cummin, Cumprod, Cumsum, Recurrence
from cotan.ops.searching import Argmax, Argmin, Argsort, Searchsorted
from cotan.ops.sorting import Sort
from cotan.ops.toeplitz import DiagonalSums, SolveToeplitz, Toeplitz

from .cases import examples

RUNNING = {
    Cumsum: lambda a, b: a + b,
    Cumprod: lambda a, b: a * b,
    Cummax: max,
    Cummin: min,
    Cumlogsumexp: lambda a, b: np.log(np.exp(a) + np.exp(b)),
}


def all_examples(*classes):
    return [pytest.param(case.op, case.operands, id=f"{case.op}-{k}") for cls in classes for k, case in enumerate(examples(cls))]


@pytest.mark.parametrize(("op", "operands"), all_examples(*RUNNING))
def test_running_reductions_are_loops(op, operands):
    x = np.moveaxis(operands[0], op.axis, 0)
    expected = np.array(x)
    places = range(len(x))[::-1] if op.reverse else range(len(x))
    for before, k in pairwise(places):
        expected[k] = np.vectorize(RUNNING[type(op)], otypes=[float])(expected[before], x[k]) if x[k].size else x[k]
    np.testing.assert_allclose(op(*operands), np.moveaxis(expected, 0, op.axis), rtol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 2, 31, 33, 100, 1023])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("width", [(), (3,), (100,)])
def test_the_recurrence_is_a_loop(n, reverse, width):
    rng = np.random.default_rng(n)
    c, u = rng.uniform(-1, 1, (n, *width)), rng.normal(size=(n, *width))
    expected, carry = np.zeros_like(u), np.zeros(width)
    for k in range(n)[::-1] if reverse else range(n):
        carry = expected[k] = c[k] * carry + u[k]
    np.testing.assert_allclose(Recurrence(0, reverse)(c, u), expected, rtol=1e-10, atol=1e-12)


def test_the_recurrence_starts_afresh_at_a_zero_factor_whatever_overflows_before():
    c, u = np.full(100, 1e200), np.zeros(100)
    c[60], u[60] = 0.0, 1.0
    c[61:] = 0.5
    expected = np.zeros(100)
    expected[60:] = 0.5 ** np.arange(40)
    np.testing.assert_allclose(Recurrence(0)(c, u), expected)


def resolved(index, shape, mode):
    """One index tuple by its mode: the place, or None if there is none."""
    place = []
    for j, n in zip(index, shape, strict=False):
        if mode == "clip":
            place.append(min(max(j, 0), n - 1))
        elif mode == "wrap":
            place.append(j % n)
        else:
            place.append(j + n if j < 0 else j)
            if not 0 <= place[-1] < n:
                return None
    return tuple(place)


@pytest.mark.parametrize(("op", "operands"), all_examples(Scatter))
def test_scatter_is_a_loop(op, operands):
    x, updates, *indices = operands
    expected, combine = (
        np.array(x),
        {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum, "set": lambda old, new: new}[op.kind],
    )
    axes = op.axes or range(len(indices))
    for s in np.ndindex(np.shape(indices[0])):
        found = resolved([int(np.asarray(j)[s]) for j in indices], [x.shape[k] for k in axes], op.mode)
        if found is not None:
            place = tuple(dict(zip(axes, found, strict=True)).get(k, slice(None)) for k in range(x.ndim))
            expected[place] = combine(expected[place], np.asarray(updates)[s])
    np.testing.assert_allclose(op(*operands), expected, rtol=1e-14)
    assert set(SCATTER_KINDS) == {"add", "set", "mul", "min", "max"}


@pytest.mark.parametrize(("op", "operands"), [case for case in all_examples(Gather) if case.values[0].mode in MAY_RAISE])
def test_gather_is_a_loop(op, operands):
    x, *indices = operands
    axes, found = op.axes or range(len(indices)), np.asarray(op(*operands))
    for s in np.ndindex(np.shape(indices[0])):
        place = dict(zip(axes, [int(np.asarray(j)[s]) for j in indices], strict=True))
        np.testing.assert_array_equal(found[s], x[tuple(place.get(k, slice(None)) for k in range(x.ndim))])


def test_axes_of_indices_are_different_axes_of_the_array():
    x, i = np.zeros((3, 4)), np.array([0])
    for axes, indices in (((2,), (i,)), ((0, 0), (i, i)), ((1,), (i, i))):
        with pytest.raises(IndexingError):
            cotan.stage(Gather("raise", axes))(x, *indices)
        with pytest.raises(IndexingError):
            cotan.stage(Scatter("add", "raise", axes))(x, np.zeros((1, 3)), *indices)


def test_indices_out_of_bounds_raise_only_in_mode_raise():
    x = np.arange(4.0)
    with pytest.raises(IndexError):
        Gather()(x, np.array([4]))
    with pytest.raises(IndexError):
        Scatter("add")(x, np.ones(1), np.array([-5]))
    with pytest.raises(IndexError):
        Scatter("add")(x.reshape(2, 2), np.ones(1), np.array([1]), np.array([2]))
    with pytest.raises(IndexingError, match="length 0"):
        Gather("clip")(np.zeros(0), np.array([0]))
    np.testing.assert_array_equal(Gather("fill")(np.arange(4), np.array([4, -1])), [np.iinfo(np.int64).min, 3])
    np.testing.assert_array_equal(Gather("fill")(np.arange(4, dtype=np.uint8), np.array([4, -1])), [255, 3])


@pytest.mark.parametrize(("op", "operands"), all_examples(Sort, Argsort))
def test_sorting_is_pythons_sorting(op, operands):
    x = np.moveaxis(operands[0], op.axis, 0)
    expected = np.zeros(x.shape, np.asarray(op(*operands)).dtype)
    for rest in np.ndindex(x.shape[1:]):
        line = [float(v) for v in x[(slice(None), *rest)]]
        expected[(slice(None), *rest)] = sorted(line) if isinstance(op, Sort) else sorted(range(len(line)), key=line.__getitem__)
    np.testing.assert_array_equal(op(*operands), np.moveaxis(expected, 0, op.axis))


@pytest.mark.parametrize(("op", "operands"), all_examples(Argmax, Argmin))
def test_positions_point_to_the_first_extremum_or_nan(op, operands):
    x = np.moveaxis(operands[0], op.axis, 0)
    found = np.asarray(op(*operands))
    assert found.shape == x.shape[1:]
    for rest in np.ndindex(x.shape[1:]):
        line = [float(v) for v in x[(slice(None), *rest)]]
        best = next((v for v in line if v != v), (max if isinstance(op, Argmax) else min)(line))
        assert found[rest] == next(k for k, v in enumerate(line) if v == best or (v != v and best != best))


@pytest.mark.parametrize(("op", "operands"), all_examples(Searchsorted))
def test_searchsorted_counts_what_stands_before(op, operands):
    x, values = operands
    found = np.asarray(op(x, values))
    for s in np.ndindex(values.shape):
        line = x[s[: x.ndim - 1]]
        assert found[s] == np.sum(line < values[s] if op.side == "left" else line <= values[s])


@pytest.mark.parametrize(("op", "operands"), all_examples(Cholesky))
def test_cholesky_factors_the_lower_triangle(op, operands):
    a = np.array(operands[0])
    factor = op(a)
    np.testing.assert_allclose(factor @ np.conj(np.swapaxes(factor, -1, -2)), a, atol=1e-12)
    np.testing.assert_array_equal(factor, np.tril(factor))
    np.testing.assert_array_equal(op(np.tril(a)), factor)


@pytest.mark.parametrize(("op", "operands"), all_examples(Solve, TriangularSolve))
def test_solves_solve(op, operands):
    a, b = operands
    x = op(a, b)
    if isinstance(op, TriangularSolve):
        a = np.tril(a) if op.lower else np.triu(a)
        if op.unit_diagonal:
            a = a - a * np.eye(a.shape[-1]) + np.eye(a.shape[-1])
        a = np.swapaxes(a, -1, -2) if op.transpose_a else a
        a = np.conj(a) if op.transpose_a == 2 else a
    np.testing.assert_allclose(a @ x if isinstance(op, Solve) or op.left_side else x @ a, b, atol=1e-12)


def test_a_singular_matrix_is_an_error():
    with pytest.raises(np.linalg.LinAlgError):
        TriangularSolve()(np.zeros((2, 2)), np.ones((2, 1)))
    with pytest.raises(np.linalg.LinAlgError):
        Solve()(np.ones((2, 2)), np.ones((2, 1)))


@pytest.mark.parametrize(("op", "operands"), all_examples(Svd))
def test_svd_is_a_factorization(op, operands):
    a = operands[0]
    u, s, vh = op(a)
    k = s.shape[-1]
    np.testing.assert_allclose((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], a, atol=1e-12)
    assert np.all(np.diff(s) <= 0)
    for vectors in (u, np.conj(np.swapaxes(vh, -1, -2))):
        identity = np.eye(vectors.shape[-2] if op.full else k)
        np.testing.assert_allclose(
            np.conj(np.swapaxes(vectors, -1, -2)) @ vectors, np.broadcast_to(identity, (*s.shape[:-1], *identity.shape)), atol=1e-12
        )


@pytest.mark.parametrize(("op", "operands"), all_examples(Eigh))
def test_eigh_diagonalizes(op, operands):
    a = operands[0]
    w, v = op(a)
    np.testing.assert_allclose(a @ v, v * w[..., None, :], atol=1e-12)
    assert np.all(np.diff(w) >= 0)
    triangle = np.tril if op.lower else np.triu
    for got, expected in zip(op(triangle(a)), (w, v), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("op", "operands"), all_examples(Qr, PivotedQr))
def test_qr_is_a_factorization(op, operands):
    a = operands[0]
    q, r, *order = op(a)
    if order:
        a = np.take_along_axis(a, order[0][..., None, :], -1)
        assert np.all(np.diff(np.abs(np.diagonal(r, axis1=-2, axis2=-1)), axis=-1) <= 1e-14)
    np.testing.assert_allclose(q @ r, a, atol=1e-12)
    np.testing.assert_array_equal(r, np.triu(r))
    k = q.shape[-1]
    np.testing.assert_allclose(np.conj(np.swapaxes(q, -1, -2)) @ q, np.broadcast_to(np.eye(k), (*q.shape[:-2], k, k)), atol=1e-12)


@pytest.mark.parametrize(("op", "operands"), all_examples(Det, Slogdet))
def test_determinants_are_products_of_eigenvalues(op, operands):
    a = operands[0]
    expected = np.prod(np.linalg.eigvals(a).astype(complex), axis=-1)
    found = op(a) if isinstance(op, Det) else op(a)[0] * np.exp(op(a)[1])
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    "a", [np.diag([3.0, 0.0, 2.0]), np.ones((3, 3)), np.zeros((2, 2)), np.random.default_rng(0).normal(size=(4, 4))], ids=str
)
def test_cofactors_are_signed_minors(a):
    n = len(a)
    minors = [[(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(n)] for i in range(n)]
    np.testing.assert_allclose(Cofactors()(a), minors, atol=1e-12)


# ---- banded and Toeplitz matrices ------------------------------------------------------------------------------------------------------
def full(ab, lower, upper):
    """The full matrices with these bands."""
    *lead, _, n = ab.shape
    a = np.zeros((*lead, n, n), ab.dtype)
    for i in range(n):
        for j in range(max(i - lower, 0), min(i + upper + 1, n)):
            a[..., i, j] = ab[..., upper + i - j, j]
    return a


def lower_of(bands):
    return full(bands, bands.shape[-2] - 1, 0)


def of_triangle(bands, lower):
    """The Hermitian matrices with these lower or upper bands."""
    u = bands.shape[-2] - 1
    half = full(bands, *((u, 0) if lower else (0, u)))
    diagonal = np.eye(half.shape[-1]) * half
    return half - diagonal + np.conj(np.swapaxes(half - diagonal, -1, -2)) + diagonal.real


def hermitian_parts(x, y):
    """X Y^H + Y X^H."""
    product = x @ np.conj(np.swapaxes(y, -1, -2))
    return product + np.conj(np.swapaxes(product, -1, -2))


def in_bands(a, like):
    """The elements of full matrices in the bands below the diagonal."""
    return np.tril(a) - np.tril(a, -like.shape[-2])


def turned(ab, b):
    return ab + 0.3j * np.cos(np.arange(ab.size)).reshape(ab.shape), b * (1 + 0.5j)


BANDED = [BandedProduct, BandedOuter, BandedSolve, HermitianBandedSolve, BandedTriangularSolve, TransposedBands]


@pytest.mark.parametrize("complex_too", [False, True])
@pytest.mark.parametrize(("op", "operands"), all_examples(*BANDED))
def test_banded_matrices_are_full_ones_without_their_zeros(op, operands, complex_too):
    ab, b = operands if len(operands) > 1 else (operands[0], operands[0])
    ab, b = turned(ab, b) if complex_too else (ab, b)
    if isinstance(op, TransposedBands):
        wanted = np.swapaxes(full(ab, op.lower, op.upper), -1, -2)
        np.testing.assert_array_equal(full(op(ab), op.upper, op.lower), wanted)
    elif isinstance(op, BandedProduct):
        np.testing.assert_allclose(op(ab, b), full(ab, op.lower, op.upper) @ b, atol=1e-12)
    elif isinstance(op, BandedOuter):
        product = ab @ np.swapaxes(b, -1, -2)
        np.testing.assert_allclose(full(op(ab, b), op.lower, op.upper), np.triu(np.tril(product, op.upper), -op.lower), atol=1e-12)
    elif isinstance(op, BandedSolve):
        a = full(ab, op.lower, op.upper)
        np.testing.assert_allclose((np.swapaxes(a, -1, -2) if op.transposed else a) @ op(ab, b), b, atol=1e-12)
    elif isinstance(op, HermitianBandedSolve):
        np.testing.assert_allclose(of_triangle(ab, op.lower) @ op(ab, b), b, atol=1e-12)
    else:
        u = ab.shape[-2] - 1
        a = full(ab, *((u, 0) if op.lower else (0, u)))
        a = np.swapaxes(a, -1, -2) if op.transpose_a else a
        np.testing.assert_allclose((np.conj(a) if op.transpose_a == 2 else a) @ op(ab, b), b, atol=1e-12)


@pytest.mark.parametrize("complex_too", [False, True])
@pytest.mark.parametrize(("op", "operands"), all_examples(BandedCholesky, BandedGram, FactorTangent))
def test_factors_of_banded_matrices_and_their_derivatives_solve_their_equations(op, operands, complex_too):
    a, b = operands if len(operands) > 1 else (operands[0], operands[0])
    if complex_too:
        a, b = turned(a, b)
    if isinstance(op, BandedCholesky):
        factor = lower_of(op(a))
        np.testing.assert_allclose(factor @ np.conj(np.swapaxes(factor, -1, -2)), of_triangle(a, True), atol=1e-12)
    elif isinstance(op, BandedGram):
        np.testing.assert_allclose(lower_of(op(a, b)), in_bands(hermitian_parts(lower_of(a), lower_of(b)), a), atol=1e-12)
    else:
        a[..., 0, :], b[..., 0, :] = a[..., 0, :].real, b[..., 0, :].real
        x = lower_of(op(a, b))
        np.testing.assert_allclose(in_bands(hermitian_parts(lower_of(a), x), a), lower_of(b), atol=1e-11)
        np.testing.assert_array_equal(np.einsum("...ii->...i", x).imag, 0)


@pytest.mark.parametrize(("op", "operands"), all_examples(Toeplitz, DiagonalSums, SolveToeplitz))
def test_toeplitz_matrices_are_constant_along_diagonals(op, operands):
    t = operands[0]
    if isinstance(op, Toeplitz):
        for i in range(op.rows):
            for j in range(op.columns):
                np.testing.assert_array_equal(op(t)[..., i, j], t[..., op.rows - 1 - i + j])
    elif isinstance(op, DiagonalSums):
        rows, columns = t.shape[-2:]
        sums = [np.trace(t, k - rows + 1, -2, -1) for k in range(max(rows + columns - 1, 0))]
        np.testing.assert_allclose(op(t), np.stack(sums, -1) if sums else np.zeros(0), atol=1e-13)
    else:
        n = operands[1].shape[-2]
        np.testing.assert_allclose(Toeplitz(n, n)(t) @ op(*operands), operands[1], atol=1e-12)


@pytest.mark.parametrize(("op", "operands"), all_examples(EighTridiagonal, EighBanded))
def test_spectra_of_banded_matrices_are_those_of_full_ones(op, operands):
    w, v = op(*operands)
    if isinstance(op, EighBanded):
        a = of_triangle(operands[0], op.lower)
    else:
        d, e = operands
        n = d.shape[-1]
        a = np.zeros((*d.shape, n))
        a[..., range(n), range(n)] = d
        a[..., range(n - 1), range(1, n)] = a[..., range(1, n), range(n - 1)] = e
    np.testing.assert_allclose(a @ v, v * w[..., None, :], atol=1e-12)
    np.testing.assert_allclose(np.conj(np.swapaxes(v, -1, -2)) @ v, np.broadcast_to(np.eye(w.shape[-1]), v.shape), atol=1e-12)
    assert np.all(np.diff(w) >= 0)
