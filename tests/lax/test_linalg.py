"""``cotan.lax.linalg``: the results are what their names say, and JAX's; the derivatives agree with differences."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from scipy.linalg import lapack

import cotan
from cotan.errors import DtypeError, ShapeError, UnsupportedFunctionError
from cotan.lax import linalg
from cotan.testing import check_grads

RNG = np.random.default_rng(5)
A = RNG.normal(size=(4, 4))
C = A + 1j * RNG.normal(size=(4, 4))
POSITIVE, HERMITIAN = A @ A.T + np.eye(4), C @ C.conj().T + 4 * np.eye(4)
REGULAR, SIDES = A + 4 * np.eye(4), RNG.normal(size=(4, 2))
PACKED = lapack.dgeqrf(A[:, :3])[:2]
UNITARY = lapack.zgeqrf(C[:, :3])[:2]
SOLVE = {"left_side": False, "lower": False, "transpose_a": False, "conjugate_a": False, "unit_diagonal": False}
CASES = {
    "cholesky": (lambda m, a: m.cholesky(a), [(POSITIVE,), (HERMITIAN,)]),
    "cholesky, one triangle": (lambda m, a: m.cholesky(a, symmetrize_input=False), [(POSITIVE,), (HERMITIAN,)]),
    "cholesky_update": (lambda m, r, w: m.cholesky_update(r, w), [(np.linalg.cholesky(POSITIVE).T.copy(), SIDES[:, 0])]),
    "eig": (lambda m, a: m.eig(a), [(A,), (C,)]),
    "eig, right": (lambda m, a: m.eig(a, compute_left_eigenvectors=False), [(A,)]),
    "eig, values": (lambda m, a: m.eig(a, compute_left_eigenvectors=False, compute_right_eigenvectors=False), [(C,)]),
    "eigh": (lambda m, a: tuple(m.eigh(a)), [(POSITIVE,), (HERMITIAN,)]),
    "eigh, upper, some": (lambda m, a: tuple(m.eigh(a, lower=False, symmetrize_input=False, subset_by_index=(0, 4))), [(HERMITIAN,)]),
    "hessenberg": (lambda m, a: m.hessenberg(a), [(A,), (C,), (A[:1, :1],), (A[:2, :2],), (C[:2, :2],)]),
    "householder_product": (lambda m, a, t: m.householder_product(a, t), [PACKED, UNITARY, (PACKED[0], PACKED[1][:2])]),
    "lu": (lambda m, a: m.lu(a), [(A,), (C[:, :2],)]),
    "qdwh": (lambda m, a: m.qdwh(a)[:2], [(A,), (C[:, :3],)]),
    "qr": (lambda m, a: m.qr(a), [(A,), (A[:, :3],), (C[:2],)]),
    "qr, reduced": (lambda m, a: m.qr(a, full_matrices=False), [(A[:, :2],), (C[:, :2],)]),
    "qr, pivoted": (lambda m, a: m.qr(a, pivoting=True), [(A,), (C[:2],)]),
    "schur": (lambda m, a: m.schur(a), [(A,), (C,)]),
    "svd": (lambda m, a: m.svd(a), [(A,), (C,)]),
    "svd, reduced": (lambda m, a: m.svd(a, full_matrices=False), [(A[:, :2],)]),
    "svd, values": (lambda m, a: m.svd(a, compute_uv=False), [(C[:, :2],)]),
    "symmetric_product": (lambda m, a, c: m.symmetric_product(a, c, alpha=2.0, beta=0.5, symmetrize_output=True), [(SIDES, POSITIVE)]),
    "tridiagonal": (lambda m, a: m.tridiagonal(a)[1:], [(POSITIVE,), (HERMITIAN,), (HERMITIAN[:2, :2],)]),
    "tridiagonal, upper": (lambda m, a: m.tridiagonal(a, lower=False)[1:], [(POSITIVE,), (HERMITIAN,)]),
    "tridiagonal_solve": (lambda m, a, b: m.tridiagonal_solve(a[..., 0, :], a[..., 1, :] + 4, a[..., 2, :], b), [(A, SIDES)]),
    **{
        f"triangular_solve, {name}": (
            lambda m, a, b, name=name: m.triangular_solve(a, b, **{**SOLVE, name: True}),
            [
                (REGULAR, SIDES if name == "left_side" else SIDES.T),
                (REGULAR + 1j * A, (1 + 1j) * (SIDES if name == "left_side" else SIDES.T)),
            ],
        )
        for name in SOLVE
    },
    "triangular_solve, adjoint": (lambda m, a, b: m.triangular_solve(a, b, transpose_a=True, conjugate_a=True), [(C + 4 * np.eye(4), C)]),
    "triangular_solve, vector": (lambda m, a, b: m.triangular_solve(a, b, left_side=True), [(REGULAR, SIDES[:, 0])]),
}
UP_TO_SIGNS = {"eig", "eigh", "svd"}
PARAMS = [pytest.param(f, args, id=f"{name}-{k}") for name, (f, cases) in CASES.items() for k, args in enumerate(cases)]


def flat(results):
    return [np.asarray(y) for y in (results if isinstance(results, tuple | list) else [results])]


def test_every_function_has_a_case():
    assert set(linalg.__all__) == {name.partition(",")[0] for name in CASES} | {"lu_pivots_to_permutation"}
    np.testing.assert_array_equal(cotan.jit(lambda p: linalg.lu_pivots_to_permutation(p, 4))(np.int32([2, 1])), [2, 1, 0, 3])


@pytest.mark.parametrize(("f", "args"), PARAMS)
def test_compiled_code_and_stacks_give_the_same(f, args):
    wanted = flat(f(linalg, *args))
    run = cotan.jit(lambda *xs: f(linalg, *xs))
    for y, right in zip(flat(run(*args)), wanted, strict=True):
        assert (y.shape, y.dtype) == (right.shape, right.dtype)
        np.testing.assert_allclose(y, right, atol=1e-11)
    for y, right in zip(flat(run(*[np.stack([x, x]) for x in args])), wanted, strict=True):
        np.testing.assert_allclose(y[1], right, atol=1e-11)
    assert not cotan.compile_report(run)(*args).outside


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("f", "args"), [p for p in PARAMS if np.isrealobj(p.values[1][0]) and p.id.partition("-")[0].partition(",")[0] != "eig"]
)
def test_derivatives_agree_with_differences_to_second_order(f, args):
    check_grads(cotan.jit(lambda *xs: [y for y in flat_of(f(linalg, *xs)) if y.dtype.kind in "fc"]), args, 2)


def flat_of(results):
    return results if isinstance(results, tuple | list) else [results]


@pytest.mark.parametrize("a", [A, C, POSITIVE, HERMITIAN, C[:2, :2]])
def test_vectors_and_factors_make_the_unitary_matrix(a):
    """That of a Hessenberg and of a tridiagonal form, whose derivatives are those of the product."""
    n = len(a)

    def rebuilt(x):
        packed, taus = linalg.hessenberg(x)
        inner = linalg.householder_product(packed[1:, :-1], taus)
        q = np.eye(n).astype(a.dtype)
        q = cotan.numpy.asarray(q).at[1:, 1:].set(inner)
        return q @ cotan.numpy.triu(packed, -1) @ cotan.numpy.conj(q).T

    np.testing.assert_allclose(rebuilt(a), a, atol=1e-13)
    da = RNG.normal(size=a.shape).astype(a.dtype)
    np.testing.assert_allclose(cotan.jvp(rebuilt, (a,), (da,))[1], da, atol=1e-11)
    if np.allclose(a, a.conj().T):
        for lower in (True, False):
            packed, d, e, taus = linalg.tridiagonal(a, lower=lower)
            whole = np.diag(d) + np.diag(e, -1) + np.diag(e, 1)
            np.testing.assert_allclose(np.linalg.eigvalsh(whole), np.linalg.eigvalsh(a), rtol=1e-12)
            if lower:
                q = np.eye(n, dtype=a.dtype)
                q[1:, 1:] = linalg.householder_product(packed[1:, :-1], taus)
                np.testing.assert_allclose(q @ whole @ q.conj().T, a, atol=1e-13)


def test_left_eigenvectors_are_those():
    for a in (A, C):
        w, vl, vr = cotan.jit(linalg.eig)(a)
        np.testing.assert_allclose(vl.conj().T @ a, w[:, None] * vl.conj().T, atol=1e-12)
        np.testing.assert_allclose(a @ vr, vr * w, atol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(vl, axis=0), 1, rtol=1e-12)


def test_bad_arguments_are_refused():
    for call, error in (
        (lambda a: linalg.cholesky(a[:2]), ShapeError),
        (lambda a: linalg.lu(a[0]), ShapeError),
        (lambda a: linalg.qr(a.astype(int)), DtypeError),
        (lambda a: linalg.cholesky_update(a, a), ShapeError),
        (lambda a: linalg.cholesky_update(a + 0j, a[0] + 0j), DtypeError),
        (lambda a: linalg.householder_product(a[:2], a[0]), ShapeError),
        (lambda a: linalg.qdwh(a[:2]), ShapeError),
        (lambda a: linalg.qdwh(a, dynamic_shape=(2, 2)), UnsupportedFunctionError),
        (lambda a: linalg.svd(a, subset_by_index=(0, 2)), UnsupportedFunctionError),
    ):
        with pytest.raises(error, match="What to do"):
            cotan.jit(call)(A)


@pytest.mark.peers
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
@pytest.mark.parametrize(("f", "args"), PARAMS)
def test_results_are_jaxs(f, args, request):
    import jax
    import jax.lax.linalg as theirs

    with jax.enable_x64(True):
        wanted = flat(f(theirs, *map(jax.numpy.asarray, args)))
    name = request.node.callspec.id.rpartition("-")[0]
    for y, right in zip(flat(f(linalg, *args)), wanted, strict=True):
        assert y.shape == right.shape
        if name.partition(",")[0] in UP_TO_SIGNS:
            y, right = np.abs(y), np.abs(right)
        np.testing.assert_allclose(y, right, atol=1e-11)
