"""Structured systems, least squares and subspaces of ``cotan.scipy.linalg``: the values are SciPy's, eager, traced, compiled and batched;
the derivatives agree with differences; of banded matrices no full one is made.
"""

import re

import numpy as np
import pytest
import scipy.linalg as theirs

import cotan
import cotan.numpy as cnp
import cotan.scipy.linalg as ours
from cotan.errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeError, TracerConversionError, UnsupportedFunctionError
from cotan.lax.linalg import tridiagonal_solve
from cotan.testing import check_grads

from .volume import first_of_each_kind, of_both_orders

RNG = np.random.default_rng(2)
N = 6
LINE, SIDES = RNG.normal(size=N), RNG.normal(size=(N, 2))


def banded(lower, upper, n=N, dtype=float):
    ab = RNG.normal(size=(lower + upper + 1, n)).astype(dtype)
    ab[upper] += 3 + lower + upper
    return ab + 1j * RNG.normal(size=ab.shape) if dtype is complex else ab


def hermitian(u, n=N, dtype=float, lower=False):
    ab = banded(0 if not lower else u, u if not lower else 0, n, dtype)
    ab[0 if lower else -1] = 5 + u
    return ab


def hermitian_apart(u):
    a = banded(0, u, dtype=complex)
    a[-1] = 4 * np.arange(N)
    return a


WAVE = LINE + 1j * RNG.normal(size=N)
COLUMN, ROW = np.r_[8.0, RNG.normal(size=N - 1)], RNG.normal(size=N)
TALL, WIDE = RNG.normal(size=(6, 3)), RNG.normal(size=(3, 4))
LOW = RNG.normal(size=(6, 2)) @ RNG.normal(size=(2, 4))
"""A matrix of rank 2."""
SQUARE = RNG.normal(size=(4, 4))
CASES = {
    "solve_banded, tridiagonal": (
        lambda m, ab, b: m.solve_banded((1, 1), ab, b),
        [(banded(1, 1), LINE), (banded(1, 1, dtype=complex), SIDES)],
    ),
    "solve_banded": (lambda m, ab, b: m.solve_banded((2, 1), ab, b), [(banded(2, 1), SIDES), (banded(2, 1, dtype=complex), LINE)]),
    "solve_banded, one side": (lambda m, ab, b: m.solve_banded((0, 2), ab, b), [(banded(0, 2), LINE)]),
    "solve_banded, wide": (lambda m, ab, b: m.solve_banded((3, 4), ab, b), [(banded(3, 4, 2), LINE[:2])]),
    "solveh_banded": (lambda m, ab, b: m.solveh_banded(ab, b), [(hermitian(2), LINE), (hermitian(2, dtype=complex), SIDES)]),
    "solveh_banded, tridiagonal": (lambda m, ab, b: m.solveh_banded(ab, b), [(hermitian(1), LINE), (hermitian(1, dtype=complex), SIDES)]),
    "solveh_banded, lower": (
        lambda m, ab, b: m.solveh_banded(ab, b, lower=True),
        [(hermitian(1, lower=True, dtype=complex), LINE), (hermitian(3, lower=True), SIDES)],
    ),
    "cholesky_banded": (lambda m, ab: corner(m.cholesky_banded(ab), False), [(hermitian(2),), (hermitian(1, dtype=complex),)]),
    "cholesky_banded, lower": (
        lambda m, ab: corner(m.cholesky_banded(ab, lower=True), True),
        [(hermitian(2, lower=True),), (hermitian(3, lower=True, dtype=complex),)],
    ),
    "cho_solve_banded": (lambda m, ab, b: m.cho_solve_banded((m.cholesky_banded(ab), False), b), [(hermitian(2), SIDES)]),
    "cho_solve_banded, lower": (
        lambda m, ab, b: m.cho_solve_banded((m.cholesky_banded(ab, lower=True), True), b),
        [(hermitian(2, lower=True, dtype=complex), LINE)],
    ),
    "solve_toeplitz": (lambda m, c, r, b: m.solve_toeplitz((c, r), b), [(COLUMN, ROW, LINE), (COLUMN + 0.5j, ROW, SIDES)]),
    "solve_toeplitz, Hermitian": (lambda m, c, b: m.solve_toeplitz(c, b), [(COLUMN, SIDES), (COLUMN + 1j * (np.arange(N) > 0), LINE)]),
    "matmul_toeplitz": (
        lambda m, c, r, x: m.matmul_toeplitz((c, r), x),
        [(COLUMN, ROW, LINE), (COLUMN[:4], ROW, SIDES), (WAVE, ROW, LINE)],
    ),
    "matmul_toeplitz, Hermitian": (lambda m, c, x: m.matmul_toeplitz(c, x), [(WAVE, SIDES)]),
    "solve_circulant": (lambda m, c, b: m.solve_circulant(c, b), [(COLUMN, LINE), (WAVE, LINE), (COLUMN, SIDES.T.copy().T)]),
    "solve_circulant, axes": (lambda m, c, b: m.solve_circulant(c, b, caxis=0, baxis=1, outaxis=-1), [(COLUMN, SIDES.T.copy())]),
    "solve_circulant, singular": (lambda m, c, b: m.solve_circulant(c, b, singular="lstsq"), [(np.array([1.0, -2, 1, 0, 0, 0]), LINE)]),
    "eigh_tridiagonal": (lambda m, d, e: values_and_sizes(m.eigh_tridiagonal(d, e)), [(LINE, ROW[1:])]),
    "eigh_tridiagonal, some": (
        lambda m, d, e: values_and_sizes(m.eigh_tridiagonal(d, e, select="i", select_range=(1, 3))),
        [(LINE, ROW[1:])],
    ),
    "eigvalsh_tridiagonal": (lambda m, d, e: m.eigvalsh_tridiagonal(d, e), [(LINE, ROW[1:])]),
    "eigh_tridiagonal, values": (lambda m, d, e: m.eigh_tridiagonal(d, e, eigvals_only=True), [(LINE, ROW[1:])]),
    "eig_banded": (lambda m, a: values_and_sizes(m.eig_banded(a)), [(banded(0, 2),), (hermitian_apart(2),)]),
    "eigvals_banded": (lambda m, a: m.eigvals_banded(a), [(banded(0, 2),), (hermitian_apart(1),)]),
    "eigvals_banded, lower": (lambda m, a: m.eigvals_banded(a, lower=True, select="i", select_range=(0, 2)), [(banded(2, 0),)]),
    "eig_banded, lower": (lambda m, a: values_and_sizes(m.eig_banded(a, lower=True)), [(banded(1, 0),)]),
    "pinv": (lambda m, a: m.pinv(a), [(TALL,), (WIDE,), (TALL + 1j * TALL[::-1],), (SQUARE,)]),
    "pinv, limits": (lambda m, a: m.pinv(a, atol=0.1, rtol=0.2), [(SQUARE,)]),
    "pinvh": (lambda m, a: m.pinvh(a), [(SQUARE + SQUARE.T,), (SQUARE + SQUARE.T + 1j * (SQUARE - SQUARE.T) + np.diag([6.0, -6, 7, 8]),)]),
    "pinvh, upper": (lambda m, a: m.pinvh(a, lower=False), [(SQUARE + SQUARE.T,)]),
    "lstsq": (
        lambda m, a, b: m.lstsq(a, b),
        [(TALL, LINE), (TALL, SIDES), (TALL + 1j * TALL[::-1], LINE), (WIDE, LINE[:3]), (SQUARE, SQUARE)],
    ),
    "lstsq, cond": (lambda m, a, b: m.lstsq(a, b, cond=0.3)[0], [(SQUARE, SQUARE)]),
    "orth": (lambda m, a: abs(m.orth(a)), [(TALL,), (WIDE,), (TALL + 1j * TALL[::-1],)]),
    "null_space": (lambda m, a: abs(m.null_space(a)), [(WIDE,), (WIDE + 1j * WIDE[::-1],), (TALL,)]),
    "norm": (lambda m, a: m.norm(a), [(TALL,), (LINE,), (WAVE,)]),
    "norm, of matrices": (lambda m, a: m.norm(a, 2), [(TALL,)]),
}


def corner(x, lower):
    """Bands with zeros in their corner."""
    xp = cnp if not isinstance(x, np.ndarray) else np
    k, j = np.indices(np.shape(x))
    return xp.where(k + j < N if lower else j - (np.shape(x)[0] - 1 - k) >= 0, x, 0)


def values_and_sizes(found):
    """Eigenvalues, and vectors up to their signs."""
    w, v = found
    return w, abs(v)


def flat(results):
    return list(results) if isinstance(results, tuple | list) else [results]


def agree(found, wanted, rtol=1e-10):
    for y, right in zip(flat(found), flat(wanted), strict=True):
        scale = max(1.0, np.abs(right).max(initial=0))
        assert np.shape(y) == np.shape(right)
        np.testing.assert_allclose(y, right, rtol=rtol, atol=rtol * scale)


PLAIN = [pytest.param(f, args, id=f"{name}-{k}") for name, (f, cases) in CASES.items() for k, args in enumerate(cases)]
NAMES = {name.partition(",")[0] for name in CASES} | {"bandwidth", "ishermitian", "issymmetric"}


@pytest.mark.parametrize(("f", "args"), PLAIN)
def test_values_are_scipys(f, args):
    wanted, run = f(theirs, *args), lambda *xs: f(ours, *xs)
    agree(run(*args), wanted)
    found = cotan.jit(run)(*args)
    agree(found, wanted)
    agree(cotan.jvp(run, args, tuple(map(np.zeros_like, args)))[0], wanted)
    for y, right in zip(flat(found), flat(wanted), strict=True):
        assert np.asarray(y).dtype.kind == np.asarray(right).dtype.kind
        assert np.asarray(y).dtype == np.asarray(right).dtype or np.asarray(y).dtype.kind == "i"


def smooth(f):
    """The floating results of a function."""
    return lambda *xs: [y for y in flat(f(ours, *xs)) if y.dtype.kind in "fc"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("f", "args", "order"), of_both_orders(PLAIN))
def test_derivatives_agree_with_differences_to_second_order(f, args, order):
    if f is CASES["solve_circulant, singular"][0]:  # the derivative in c is for a constant set of eigenvalues that count as zero
        f, args = (lambda m, b, c=args[0]: m.solve_circulant(c, b, singular="lstsq")), args[1:]
    if f is CASES["pinvh"][0]:  # the rounding errors of an imaginary part that is zero have no derivative
        f = lambda m, a: m.pinvh(a) + m.pinvh(a).conj().T  # noqa: E731
    check_grads(cotan.jit(smooth(f)), args, order)


@pytest.mark.parametrize(("f", "args"), first_of_each_kind(PLAIN))
def test_compiled_code_calls_no_python(f, args):
    run = smooth(f)
    assert not cotan.compile_report(lambda *xs: f(ours, *xs))(*args).outside
    size = lambda *xs: sum(cnp.sum(cnp.abs(y) ** 2) for y in run(*xs))  # noqa: E731
    assert not cotan.compile_report(cotan.grad(size))(*args).outside


@pytest.mark.parametrize(("f", "args"), first_of_each_kind(PLAIN))
def test_batches_are_loops(f, args):
    run = lambda *xs: f(ours, *xs)  # noqa: E731
    stacked = [np.stack([x, x * np.linspace(1.0, 1.1, x.size).reshape(x.shape)]) for x in args]
    rows = [flat(cotan.jit(run)(*[x[k] for x in stacked])) for k in range(2)]
    for g in (cotan.vmap(run), cotan.jit(cotan.vmap(run))):
        for k, y in enumerate(flat(g(*stacked))):
            agree(y, np.stack([row[k] for row in rows]))
    if len(args) > 1:  # the first operand, often a matrix, is shared
        axes = (None, *[0] * (len(args) - 1))
        shared = cotan.jit(cotan.vmap(run, in_axes=axes))(args[0], *stacked[1:])
        rows = [flat(cotan.jit(run)(args[0], *[x[k] for x in stacked[1:]])) for k in range(2)]
        for k, y in enumerate(flat(shared)):
            agree(y, np.stack([row[k] for row in rows]))


@pytest.mark.parametrize("stacked", [(0,), (1,), (0, 1)])
def test_axes_in_front_broadcast(stacked):
    """... as in SciPy: of the matrices, of the right-hand sides, or of both."""
    for f, args in (
        (lambda m, ab, b: m.solve_banded((2, 1), ab, b), (banded(2, 1), SIDES)),
        (lambda m, ab, b: m.solveh_banded(ab, b), (hermitian(2), SIDES)),
        (lambda m, ab, b: m.cho_solve_banded((ab, False), b), (hermitian(2), SIDES)),
        (lambda m, c, b: m.solve_toeplitz((c, ROW), b), (COLUMN, SIDES)),
        (lambda m, c, b: m.matmul_toeplitz((c, ROW), b), (COLUMN, SIDES)),
        (lambda m, a, b: m.lstsq(a, b)[0], (TALL, SIDES)),
        (lambda m, d, e: m.eigvalsh_tridiagonal(d, e), (LINE, ROW[1:])),
    ):
        given = [np.stack([x, 1.1 * x, x]) if k in stacked else x for k, x in enumerate(args)]
        agree(cotan.jit(lambda *xs, f=f: f(ours, *xs))(*given), f(theirs, *given))


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_single_precision_stays_single(dtype):
    ab, b = banded(2, 1).astype(dtype), SIDES.astype(dtype)
    spd = hermitian(2).astype(dtype)
    for f, args in (
        (lambda m, ab, b: m.solve_banded((2, 1), ab, b), (ab, b)),
        (lambda m, ab, b: m.solveh_banded(ab, b), (spd, b)),
        (lambda m, ab: corner(m.cholesky_banded(ab), False), (spd,)),
        (lambda m, ab, b: m.cho_solve_banded((ab, False), b), (spd, b)),
        (lambda m, a: m.eigvals_banded(a), (spd,)),
        (lambda m, a: m.pinv(a), (TALL.astype(dtype),)),
        (lambda m, a: m.pinvh(a), ((SQUARE @ SQUARE.T).astype(dtype),)),
        (lambda m, a, b: m.lstsq(a, b)[0], (TALL.astype(dtype), b)),
        (lambda m, a: abs(m.null_space(a)), (WIDE.astype(dtype),)),
        (lambda m, c, b: m.solve_circulant(c, b), (COLUMN.astype(dtype), b[:, 0])),
    ):
        found, wanted = cotan.jit(lambda *xs, f=f: f(ours, *xs))(*args), f(theirs, *args)
        assert found.dtype == wanted.dtype
        agree(found, wanted, rtol=2e-4)


def test_empty_systems():
    none = np.zeros
    for f, args in (
        (lambda m, ab, b: m.solve_banded((1, 1), ab, b), (none((3, 0)), none(0))),
        (lambda m, ab, b: m.solve_banded((1, 1), ab, b), (banded(1, 1), none((N, 0)))),
        (lambda m, ab, b: m.solveh_banded(ab, b), (none((2, 0)), none(0))),
        (lambda m, ab: m.cholesky_banded(ab), (none((2, 0)),)),
        (lambda m, ab, b: m.cho_solve_banded((ab, False), b), (none((2, 0)), none(0))),
        (lambda m, c, b: m.solve_toeplitz((c, c), b), (none(0), none(0))),
        (lambda m, a: m.eigvals_banded(a), (none((2, 0)),)),
        (lambda m, a: m.pinv(a), (none((0, 3)),)),
        (lambda m, a: m.pinvh(a), (none((0, 0)),)),
        (lambda m, a: m.orth(a), (none((3, 0)),)),
        (lambda m, a: m.null_space(a), (none((0, 3)),)),
        (lambda m, a, b: m.lstsq(a, b)[0], (none((3, 0)), LINE[:3])),
    ):
        run = lambda *xs, f=f: f(ours, *xs)  # noqa: E731
        for g in (run, cotan.jit(run)):
            assert np.shape(g(*args)) == np.shape(f(theirs, *args))
    assert cotan.jit(lambda d, e: ours.eigh_tridiagonal(d, e))(none(0), none(0))[1].shape == (0, 0)
    agree(cotan.jit(lambda d, e: ours.eigh_tridiagonal(d, e))(LINE[:1], none(0)), theirs.eigh_tridiagonal(LINE[:1], none(0)))


# ---- banded matrices -------------------------------------------------------------------------------------------------------------------
LONG = 400
OF_BANDS = {
    "solve_banded": lambda ab, b: ours.solve_banded((2, 1), ab, b),
    "solveh_banded": lambda ab, b: ours.solveh_banded(ab, b),
    "cholesky_banded": lambda ab, b: ours.cholesky_banded(ab),
    "cho_solve_banded": lambda ab, b: ours.cho_solve_banded((ours.cholesky_banded(ab), False), b),
}


@pytest.mark.parametrize("name", OF_BANDS)
def test_no_value_of_a_second_derivative_is_a_full_matrix(name):
    """... and none has more than a few times as many elements as the bands."""
    f, ab, b = OF_BANDS[name], banded(0, 3, LONG), RNG.normal(size=LONG)
    loss = lambda ab, b: cnp.sum(f(ab, b) ** 2)  # noqa: E731
    program = cotan.stage(cotan.grad(lambda ab, b: cnp.sum(cotan.grad(loss)(ab, b) ** 2), (0, 1)))(ab, b)
    text = str(program)
    sizes = [np.prod([int(n) for n in shape.split(",")]) for shape in re.findall(r"f64\[([\d,]+)\]", text)]
    assert sizes
    assert max(sizes) <= 8 * LONG


@pytest.mark.parametrize("name", OF_BANDS)
def test_corners_are_not_read_and_have_the_gradient_zero(name):
    upper = 1 if name == "solve_banded" else 3
    ab, f = banded(3 - upper, upper), OF_BANDS[name]
    ab[upper] += 5
    outside = np.array([[not 0 <= j + k - upper < N for j in range(N)] for k in range(4)])
    bad = np.where(outside, np.nan, ab)
    for g in (cotan.grad(lambda ab: cnp.sum(cnp.sin(f(ab, LINE)))), cotan.jit(cotan.grad(lambda ab: cnp.sum(cnp.sin(f(ab, LINE)))))):
        found = g(bad)
        np.testing.assert_allclose(found, g(np.where(outside, 0, ab)))
        assert not found[outside].any()
        assert found[~outside].all()


def test_singular_systems_are_errors_and_nan_in_traced_code():
    zeros = np.zeros((3, N))
    calls = (
        lambda ab: ours.solve_banded((1, 1), ab, LINE),
        lambda ab: ours.solve_banded((2, 0), ab, LINE),
        lambda ab: ours.solveh_banded(ab, LINE),
        lambda ab: ours.cholesky_banded(ab),
        lambda ab: ours.cho_solve_banded((ab, False), LINE),
        lambda ab: ours.solve_toeplitz((ab[0], ab[1]), LINE),
    )
    for call in calls:
        if call is not calls[4]:  # which is nan in SciPy, too
            with pytest.raises(np.linalg.LinAlgError):
                call(zeros)
        for found in (cotan.jit(call)(zeros), cotan.vmap(call)(np.stack([zeros, zeros]))):
            assert np.isnan(found).any()


def test_tridiagonal_systems_have_jaxs_arguments():
    """dl[0] and du[-1] are not read."""
    dl, d, du = RNG.normal(size=(3, 2, N))
    d, b = d + 4, RNG.normal(size=(2, N, 3))
    full = np.stack([np.diag(d[k]) + np.diag(dl[k, 1:], -1) + np.diag(du[k, :-1], 1) for k in range(2)])
    agree(tridiagonal_solve(dl, d, du, b), np.linalg.solve(full, b))
    agree(cotan.jit(tridiagonal_solve)(dl, d, du, b), np.linalg.solve(full, b))
    check_grads(cotan.jit(tridiagonal_solve), (dl, d, du, b), 2)
    g = cotan.grad(lambda dl, du: cnp.sum(tridiagonal_solve(dl, d, du, b)), (0, 1))(dl, du)
    assert not g[0][:, 0].any()
    assert not g[1][:, -1].any()


def test_long_banded_systems_agree_on_threads():
    """Many matrices, and one with many right-hand sides."""
    ab, b = np.stack([banded(2, 1, 50) for _ in range(300)]), RNG.normal(size=(300, 50, 2))
    agree(cotan.jit(lambda ab, b: ours.solve_banded((2, 1), ab, b))(ab, b), theirs.solve_banded((2, 1), ab, b))
    many = RNG.normal(size=(50, 3000))
    agree(cotan.jit(lambda ab, b: ours.solve_banded((2, 1), ab, b))(ab[0], many), theirs.solve_banded((2, 1), ab[0], many))


# ---- Toeplitz and circulant matrices ---------------------------------------------------------------------------------------------------
def test_a_near_singular_circulant_system_is_nan_where_scipy_raises():
    c = np.array([1.0, -2.0, 1.0, 0, 0, 0])
    with pytest.raises(np.linalg.LinAlgError):
        ours.solve_circulant(c, LINE)
    assert np.isnan(cotan.jit(ours.solve_circulant)(c, LINE)).all()
    assert np.isnan(cotan.jit(cotan.grad(lambda c: cnp.sum(ours.solve_circulant(c, LINE))))(c)).all()
    agree(cotan.jit(lambda c, b: ours.solve_circulant(c, b, tol=1e-30))(COLUMN, LINE), theirs.solve_circulant(COLUMN, LINE))


# ---- spectra ---------------------------------------------------------------------------------------------------------------------------
def test_single_vectors_of_equal_eigenvalues_have_no_derivative_and_sums_of_eigenvalues_have():
    d, e = np.ones(3), np.zeros(2)
    w = lambda d: cnp.sum(ours.eigvalsh_tridiagonal(d, e) ** 2)  # noqa: E731
    np.testing.assert_allclose(cotan.grad(w)(d), 2 * d)
    v = lambda e: ours.eigh_tridiagonal(d, e)[1][1, 0]  # noqa: E731
    for g in (cotan.grad(v), cotan.jit(cotan.grad(v))):
        assert not np.isfinite(g(e)).all()
    np.testing.assert_allclose(cotan.grad(lambda a: cnp.sum(ours.eigvals_banded(a) ** 2))(np.stack([np.zeros(3), d]))[1], 2 * d)


# ---- least squares and subspaces ---------------------------------------------------------------------------------------------------------
def test_pseudo_inverses_at_equal_and_at_zero_singular_values():
    """Of the identity times c, dP = -dA / c^2; of a matrix of less than full rank, the derivative along matrices of its rank."""
    da = SQUARE
    for f in (ours.pinv, cotan.jit(ours.pinv)):
        np.testing.assert_allclose(cotan.jvp(f, (2.0 * np.eye(4),), (da,))[1], -da / 4, atol=1e-14)
    np.testing.assert_allclose(cotan.jvp(ours.pinvh, (2.0 * np.eye(4),), (da + da.T,))[1], -(da + da.T) / 4, atol=1e-14)
    u, v = RNG.normal(size=(2, 2))
    left, right = LOW[:, :2], np.linalg.lstsq(LOW[:, :2], LOW, rcond=None)[0]
    path = lambda t: (left + t * cnp.outer(cnp.arange(6.0), u)) @ (right + t * cnp.outer(v, np.arange(4.0)))  # noqa: E731
    for f in (ours.pinv, lambda a: ours.lstsq(a, LINE)[0]):
        slope = cotan.jvp(lambda t, f=f: f(path(t)), (0.0,), (1.0,))[1]
        numeric = (np.asarray(f(path(1e-5))) - np.asarray(f(path(-1e-5)))) / 2e-5
        np.testing.assert_allclose(slope, numeric, rtol=1e-5, atol=1e-6 * np.abs(numeric).max())


def test_ranks():
    for f in (lambda a: ours.pinv(a, return_rank=True)[1], lambda a: ours.lstsq(a, LINE, cond=1e-10)[2]):
        for g in (f, cotan.jit(f)):
            assert int(g(LOW)) == 2
    assert int(cotan.jit(lambda a: ours.pinvh(a, return_rank=True)[1])(LOW.T @ LOW)) == 2


def projector(f):
    """What is determined of a basis."""

    def call(a):
        q = f(a)
        return q @ cnp.conj(q).T

    return call


def test_bases_of_a_known_rank_have_its_number_of_columns():
    """The values are known where a function is only differentiated. What is determined has the derivative of a constant rank."""
    assert ours.orth(LOW).shape == (6, 2)
    value, _ = cotan.jvp(ours.orth, (LOW,), (LOW,))
    agree(abs(value), abs(theirs.orth(LOW)))
    value, _ = cotan.jvp(ours.null_space, (LOW,), (LOW,))
    agree(projector(lambda q: q)(value), projector(lambda q: q)(theirs.null_space(LOW)))
    inverse, da = np.linalg.pinv(LOW), RNG.normal(size=LOW.shape)
    moved = (np.eye(6) - LOW @ inverse) @ da @ inverse
    agree(cotan.jvp(projector(ours.orth), (LOW,), (da,))[1], moved + moved.T)
    single = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])  # of rank 2: one vector
    inverse, da = np.linalg.pinv(single), SQUARE[:3, :3]
    q = theirs.null_space(single)
    for f in (ours.null_space, lambda a: ours.null_space(a[1:])):
        found, slope = cotan.jvp(f, (single,), (da if f is ours.null_space else np.r_[da[:1] * 0, da[1:]],))
        sign = np.sign(found[0, 0] * q[0, 0])
        wanted = -np.linalg.pinv(single if f is ours.null_space else single[1:]) @ (da if f is ours.null_space else da[1:]) @ q
        agree(sign * slope, wanted, rtol=1e-8)


def test_a_single_null_vector_has_derivatives_at_equal_singular_values():
    """Of (1, t) it is (-t, 1) / sqrt(1 + t^2), with the derivatives -1, 0, 3 and 0, -1, 0 at 0."""
    a, da = np.eye(3, 4), RNG.normal(size=(3, 4))
    for f in (ours.null_space, cotan.jit(ours.null_space)):
        x, dx = cotan.jvp(f, (a,), (da,))
        agree(dx, -np.r_[da[:, 3:], [[0.0]]] * x[3, 0])
    single = cotan.jit(lambda t: ours.null_space(cnp.stack([cnp.asarray(1.0), t])[None]))
    sign = np.sign(single(0.0)[1, 0])
    one, two, three = (cotan.jacfwd(single), cotan.jacfwd(cotan.jacfwd(single)), cotan.jacfwd(cotan.jacrev(cotan.jacfwd(single))))
    for f, wanted in ((one, [-1, 0]), (two, [0, -1]), (three, [3, 0])):
        np.testing.assert_allclose(sign * f(0.0)[:, 0], wanted, atol=1e-13)


def test_where_the_values_are_not_known_a_basis_has_the_full_rank_or_is_nan():
    for f in (ours.orth, ours.null_space):
        found = cotan.jit(f)(LOW.T)
        assert found.shape == ((4, 4) if f is ours.orth else (6, 2))
        assert np.isnan(found).all()
        assert np.isnan(cotan.jit(cotan.grad(lambda a, f=f: cnp.sum(f(a))))(LOW.T)).all()
    both = np.stack([WIDE, np.outer([1.0, 2, 3], [1.0, 2, 3, 4])])
    found = cotan.jit(cotan.vmap(ours.null_space))(both)
    agree(abs(found[0]), abs(theirs.null_space(WIDE)))
    assert np.isnan(found[1]).all()


def test_functions_that_do_not_depend_on_the_choice_of_vectors_have_derivatives():
    """Of the projector on a null space, 1 - A^+ A, of the projector on a range at equal singular values, of T^2 by its spectrum."""
    known, equal = WIDE[:2], np.eye(4, 2)
    for f, twin, a in (
        (lambda a: projector(ours.null_space)(a), lambda a: np.eye(a.shape[1]) - ours.pinv(a) @ a, known),
        (lambda a: projector(ours.null_space)(a), lambda a: np.eye(a.shape[1]) - ours.pinv(a, rtol=1e-10) @ a, LOW),
        (lambda a: projector(ours.orth)(a), lambda a: a @ ours.pinv(a), equal),
    ):
        da = RNG.normal(size=a.shape)
        for g in (f, cotan.jit(f)) if a is not LOW else (f,):
            agree(cotan.jvp(g, (a,), (da,))[1], cotan.jvp(twin, (a,), (da,))[1], rtol=1e-8)

    def by_spectrum(d, e):
        w, v = ours.eigh_tridiagonal(d, e)
        return (v * w**2) @ v.T

    def by_bands(d, e):
        w, v = ours.eig_banded(cnp.stack([cnp.pad(e, (1, 0)), d]))
        return (v * w**2) @ v.T

    def square(d, e):
        t = cnp.diag(d) + cnp.diag(e, 1) + cnp.diag(e, -1)
        return t @ t

    point, along = (np.array([1.0, 1, 1, 2]), np.array([0.0, 0, 0.5])), (LINE[:4], ROW[:3])
    for f in (by_spectrum, by_bands, cotan.jit(by_spectrum), cotan.jit(by_bands)):
        agree(cotan.jvp(f, point, along)[1], cotan.jvp(square, point, along)[1], rtol=1e-9)


def test_several_vectors_of_a_null_space_have_no_derivative():
    for f in (ours.null_space, cotan.jit(ours.null_space)):
        for a in (WIDE[:2], np.outer([1.0, 2, 3], [1.0, 2, 3, 4])):
            if f is ours.null_space or len(a) == 2:
                assert not np.isfinite(cotan.jvp(f, (a,), (RNG.normal(size=a.shape),))[1]).any()


def test_matrices_of_different_ranks_have_no_stack_of_bases():
    both = np.stack([WIDE, np.outer([1.0, 2, 3], [1.0, 2, 3, 4])])
    with pytest.raises(ShapeError, match="What to do"):
        cotan.jvp(ours.null_space, (both,), (both,))


def test_predicates_need_known_values():
    assert ours.issymmetric(SQUARE + SQUARE.T)
    assert not ours.ishermitian(SQUARE)
    assert ours.bandwidth(np.triu(SQUARE)) == (0, 3)
    assert cotan.grad(lambda a: cnp.sum(a) if ours.issymmetric(a) else 0 * cnp.sum(a))(np.eye(2)).all()
    for f in (ours.issymmetric, ours.ishermitian, ours.bandwidth):
        with pytest.raises(TracerConversionError, match="What to do"):
            cotan.jit(f)(SQUARE)


def test_bad_arguments_are_refused():
    for call, error in (
        (lambda x: ours.solve_banded((1, 1), x, LINE), ShapeError),
        (lambda x: ours.solve_banded((1, 2), x, LINE), ShapeError),
        (lambda x: ours.solveh_banded(x, LINE), ShapeError),
        (lambda x: ours.cho_solve_banded((x, True), LINE), ShapeError),
        (lambda x: ours.solve_toeplitz((x[0], x[1, :3]), LINE[:4]), ShapeError),
        (lambda x: ours.matmul_toeplitz(x[0], LINE), ShapeError),
        (lambda x: ours.solve_circulant(x[0], LINE), ShapeError),
        (lambda x: tridiagonal_solve(x[0], x[1], x[2], LINE), ShapeError),
        (lambda x: ours.eigvalsh_tridiagonal(x[0], x[1]), ShapeError),
        (lambda x: ours.eigvalsh_tridiagonal(x[0] + 1j, x[0, 1:]), DtypeError),
        (lambda x: ours.eigvalsh_tridiagonal(x[0], x[0, 1:], select="v", select_range=(0, 1)), UnsupportedFunctionError),
        (lambda x: ours.eigvalsh_tridiagonal(x[0], x[0, 1:], select="i", select_range=(2, 1)), ArgumentError),
        (lambda x: ours.eigvals_banded(x, select="i", select_range=(0, 4)), ArgumentError),
        (lambda x: ours.pinv(x, rtol=-1.0), ArgumentError),
        (lambda x: ours.lstsq(x, LINE), ShapeError),
    ):
        with pytest.raises(error, match="What to do"):
            cotan.jit(call)(SQUARE)


def test_arguments_of_scipy_that_say_how_have_no_effect():
    f = lambda ab: ours.solve_banded((2, 1), ab, LINE, overwrite_ab=True, check_finite=False)  # noqa: E731
    ab = banded(2, 1)
    agree(cotan.jit(f)(ab), theirs.solve_banded((2, 1), ab, LINE))
    g = lambda a: ours.eigvals_banded(a, overwrite_a_band=True)  # noqa: E731
    agree(cotan.jit(g)(ab), theirs.eigvals_banded(ab))


def test_arguments_by_place_are_scipys():
    """... which has parameters without an effect between others."""
    ab, lower = hermitian(2), hermitian(2, lower=True)
    agree(cotan.jit(lambda ab: ours.solveh_banded(ab, LINE, False, False, True))(lower), theirs.solveh_banded(lower, LINE, lower=True))
    agree(cotan.jit(lambda ab: corner(ours.cholesky_banded(ab, False, False), False))(ab), corner(theirs.cholesky_banded(ab), False))
    agree(cotan.jit(lambda ab: ours.eigvals_banded(ab, False, False, "i", (0, 1)))(ab), theirs.eigvals_banded(ab)[:2])
    with pytest.raises(ArgumentTypeError, match="overwrite_ab="):
        cotan.jit(lambda ab: ours.cholesky_banded(ab, True))(ab)
