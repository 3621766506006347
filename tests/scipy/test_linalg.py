"""``cotan.scipy.linalg``: the values are SciPy's, eager, traced, compiled and batched; the derivatives agree with differences."""

import numpy as np
import pytest
import scipy.linalg as theirs

import cotan
import cotan.numpy as cnp
import cotan.scipy.linalg as ours
from cotan.errors import ArgumentError, ShapeError, UnsupportedFunctionError
from cotan.testing import check_grads

from . import test_special_matrices, test_structured
from .volume import first_of_each_kind, of_both_orders

pytestmark = pytest.mark.filterwarnings("ignore:logm result may be inaccurate")
RNG = np.random.default_rng(0)
A = RNG.normal(size=(4, 4))
C = A + 1j * RNG.normal(size=(4, 4))
REGULAR = A + 4 * np.eye(4)
POSITIVE = A @ A.T + 4 * np.eye(4)
HERMITIAN = C @ C.conj().T + 20 * np.eye(4)
INDEFINITE = np.array([[0.1, 2.0, 1.0, -0.5], [2.0, 0.2, -0.3, 0.4], [1.0, -0.3, 0.1, 3.0], [-0.5, 0.4, 3.0, -0.2]])
"""Its diagonal is small, so all its pivots have two rows."""
HOLLOW = HERMITIAN - np.diag(np.diag(HERMITIAN))
"""Its diagonal is zero."""
APART = np.array([[1.0, 2.0, 0.0, 0.0], [-2.0, 1.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 7.0]]) + 0.1 * A
"""Its eigenvalues, of which two are conjugate, are far from each other."""
TURNED = np.array([[0.1, 2.0, 0.3, 0.4], [-1.0, 0.5, 0.2, 0.1], [0.3, 1.0, 3.0, 1.5], [0.2, 0.1, -2.5, 2.0]])
"""Its eigenvalues are two conjugate pairs."""
SCHUR_FORM = theirs.schur(TURNED)
LINE, SIDES = RNG.normal(size=4), RNG.normal(size=(4, 2))
FACTORS = theirs.lu_factor(A)
CASES = {
    "inv": [(A,), (C,)],
    "det": [(A,), (C,)],
    "ldl": [(INDEFINITE,), (HOLLOW,), (A + A.T,)],
    "solve": [(A, LINE), (A, SIDES), (C, SIDES)],
    "solve_triangular": [(REGULAR, LINE), (REGULAR, SIDES)],
    "cholesky": [(POSITIVE,), (HERMITIAN,)],
    "lu": [(A,), (A[:, :2],), (A[:2],), (C,)],
    "lu_factor": [(A,), (C,)],
    "qr": [(A,), (A[:, :3],), (A[:2],), (C,), (C[:2],)],
    "rq": [(A,), (A[:, :2],), (A[:3],), (C,), (C[:, :2],)],
    "schur": [(APART,), (TURNED,), (APART + 0.2j * A,)],
    "rsf2csf": [SCHUR_FORM],
    "hessenberg": [(A,), (C,), (C[:2, :2],)],
    "qr_multiply": [(A, A), (C, C[0]), (A[:2], A[:, :2])],
    "solve_sylvester": [(A, REGULAR, A), (A, REGULAR[:2, :2], SIDES), (C, REGULAR + 0j, A)],
    "solve_continuous_lyapunov": [(A, POSITIVE), (C, HERMITIAN)],
    "solve_discrete_lyapunov": [(A, POSITIVE), (C, HERMITIAN)],
    "solve_continuous_are": [(A, SIDES, POSITIVE, POSITIVE[:2, :2]), (C, SIDES + 0j, HERMITIAN, HERMITIAN[:2, :2])],
    "solve_discrete_are": [(A, SIDES, POSITIVE, POSITIVE[:2, :2]), (C, SIDES + 0j, HERMITIAN, HERMITIAN[:2, :2])],
    "sqrtm": [(REGULAR,), (C,)],
    "signm": [(APART - 2.5 * np.eye(4),), (APART - 2.5 * np.eye(4) + 0.2j * A,)],
    "expm": [(A,), (20 * A,), (C,), (np.zeros((3, 3)),), (1e-9 * A,)],
    "expm_frechet": [(A, REGULAR)],
    "logm": [(REGULAR,), (C,), (1e6 * POSITIVE,), (np.eye(3),)],
    "cosm": [(A,), (C,)],
    "sinm": [(A,), (C,)],
    "tanm": [(A / 4,)],
    "coshm": [(A,), (C,)],
    "sinhm": [(A,), (C,)],
    "tanhm": [(A,)],
    "polar": [(A,), (A[:, :2],), (A[:2],), (C,)],
    "svd": [(A,), (A[:, :3],)],
    "svdvals": [(A,), (C,)],
    "eig": [(APART,), (APART + 0.2j * A,)],
    "eigvals": [(APART,), (APART + 0.2j * A,)],
    "eigh": [(POSITIVE,), (HERMITIAN,), (A + A.T, POSITIVE)],
    "eigvalsh": [(POSITIVE,), (A + A.T, POSITIVE)],
}
UP_TO_SIGNS = {"svd", "eigh"}
"""Functions whose vectors have a sign, or a phase, that is not determined."""
WITH_ARGUMENTS = {
    "inv, symmetric": (lambda m, a: m.inv(a, assume_a="sym"), (A + A.T,)),
    "inv, Hermitian": (lambda m, a: m.inv(a, assume_a="her", lower=True) @ SIDES, (HERMITIAN,)),
    "inv, positive": (lambda m, a: m.inv(a, assume_a="pos"), (POSITIVE,)),
    "inv, triangular": (lambda m, a: m.inv(a, assume_a="lower triangular"), (REGULAR,)),
    "solve, symmetric": (lambda m, a, b: m.solve(a + a.T, b, assume_a="sym"), (A, SIDES)),
    "solve, one triangle": (lambda m, a, b: m.solve(a, b, assume_a="sym", lower=True), (np.tril(A) + np.tril(A, -1).T, SIDES)),
    "solve, Hermitian": (lambda m, a, b: m.solve(a, b, assume_a="her"), (HERMITIAN, SIDES)),
    "solve, positive": (lambda m, a, b: m.solve(a, b, assume_a="pos"), (POSITIVE, LINE)),
    "solve, positive, lower": (lambda m, a, b: m.solve(a, b, assume_a="pos", lower=True), (HERMITIAN, SIDES)),
    "solve, triangular": (lambda m, a, b: m.solve(a, b, assume_a="upper triangular"), (np.triu(REGULAR), LINE)),
    "solve, transposed": (lambda m, a, b: m.solve(a, b, transposed=True), (A, LINE)),
    "solve_triangular, transposed": (lambda m, a, b: m.solve_triangular(a, b, trans="T", lower=True), (REGULAR, SIDES)),
    "solve_triangular, adjoint": (lambda m, a, b: m.solve_triangular(a, b, trans=2), (C, SIDES)),
    "solve_triangular, unit": (lambda m, a, b: m.solve_triangular(a, b, unit_diagonal=True), (REGULAR, SIDES)),
    "cholesky, lower": (lambda m, a: m.cholesky(a, lower=True), (HERMITIAN,)),
    "cho_solve": (lambda m, a, b: m.cho_solve(m.cho_factor(a), b), (HERMITIAN, SIDES)),
    "cho_solve, lower": (lambda m, a, b: m.cho_solve(m.cho_factor(a, lower=True), b), (POSITIVE, LINE)),
    "ldl, upper": (lambda m, a: m.ldl(a, lower=False), (INDEFINITE,)),
    "ldl, upper, Hermitian": (lambda m, a: m.ldl(a, lower=False), (HOLLOW,)),
    "ldl, complex symmetric": (lambda m, a: m.ldl(a, hermitian=False), (C + C.T,)),
    "ldl, complex symmetric, upper": (lambda m, a: m.ldl(a, lower=False, hermitian=False), (C + C.T - 2 * np.diag(np.diag(C)),)),
    "lu_solve": (lambda m, a, b: m.lu_solve(m.lu_factor(a), b), (A, LINE)),
    "lu_solve, transposed": (lambda m, a, b: m.lu_solve(m.lu_factor(a), b, trans=1), (A, SIDES)),
    "lu_solve, adjoint": (lambda m, a, b: m.lu_solve(m.lu_factor(a), b, trans=2), (C, SIDES)),
    "schur, complex": (lambda m, a: [abs(x) for x in m.schur(a, output="complex")], (TURNED,)),
    "rsf2csf, of a form": (lambda m, a: [x * (0.8 + 0.6j) for x in m.rsf2csf(*m.schur(a))], (TURNED,)),
    "hessenberg, vectors": (lambda m, a: m.hessenberg(a, calc_q=True), (A,)),
    "hessenberg, complex": (lambda m, a: m.hessenberg(a, calc_q=True), (C,)),
    "qr, economic": (lambda m, a: m.qr(a, mode="economic"), (C[:, :2],)),
    "qr, pivoted": (lambda m, a: m.qr(a, pivoting=True), (A[:, :3],)),
    "qr, pivoted, economic": (lambda m, a: m.qr(a, mode="economic", pivoting=True), (C[:, :2],)),
    "qr, triangle": (lambda m, a: m.qr(a, mode="r", pivoting=True), (A[:, :2],)),
    "rq, economic": (lambda m, a: m.rq(a, mode="economic"), (C[:2],)),
    "rq, triangle": (lambda m, a: m.rq(a, mode="r"), (A[:3],)),
    "qr_multiply, left": (lambda m, a, c: m.qr_multiply(a, c, mode="left", pivoting=True), (A[:, :2], LINE[:2])),
    "qr_multiply, conjugate": (lambda m, a, c: m.qr_multiply(a, c, conjugate=True), (C[:, :2], C[:2])),
    "lu, permuted": (lambda m, a: m.lu(a, permute_l=True), (A,)),
    "discrete Lyapunov, bilinear": (lambda m, a, q: m.solve_discrete_lyapunov(a, q, method="bilinear"), (A, POSITIVE)),
    "continuous Riccati": (lambda m, *xs: m.solve_continuous_are(*xs[:4], s=xs[4]), (A, SIDES, POSITIVE, POSITIVE[:2, :2], SIDES / 9)),
    "discrete Riccati": (lambda m, *xs: m.solve_discrete_are(*xs[:4], None, xs[4]), (A, SIDES, POSITIVE, POSITIVE[:2, :2], SIDES / 9)),
    "funm": (lambda m, a: m.funm(a, cnp.exp), (APART,)),
    "funm, complex": (lambda m, a: m.funm(a, cnp.cos), (APART + 0.2j * A,)),
    "fractional_matrix_power": (lambda m, a: m.fractional_matrix_power(a, 0.3), (REGULAR,)),
    "fractional_matrix_power, negative": (lambda m, a: m.fractional_matrix_power(a, -1.5), (POSITIVE,)),
    "fractional_matrix_power, integer": (lambda m, a: m.fractional_matrix_power(a, 3), (A,)),
    "polar, left": (lambda m, a: m.polar(a, side="left"), (A[:2],)),
    "eigh, product": (lambda m, a, b: m.eigvalsh(a, b, type=2), (A + A.T, POSITIVE)),
    "eigh, product on the left": (lambda m, a, b: m.eigvalsh(a, b, type=3, lower=False), (A + A.T, POSITIVE)),
    "eigh, some": (lambda m, a: m.eigvalsh(a, subset_by_index=(1, 2)), (POSITIVE,)),
    "eigvals of a pencil": (lambda m, a, b: m.eigvals(a, b), (A, REGULAR)),
}


def flat(results):
    return [np.asarray(y) for y in (results if isinstance(results, tuple | list) else [results])]


def agree(found, wanted, name, rtol=1e-9):
    for y, right in zip(flat(found), flat(wanted), strict=True):
        if name in UP_TO_SIGNS:
            y, right = np.abs(y), np.abs(right)
        scale = max(1.0, np.abs(right).max(initial=0))
        np.testing.assert_allclose(y, right, rtol=rtol, atol=rtol * scale, err_msg=name)


PLAIN = [pytest.param(name, args, id=f"{name}-{k}") for name, cases in CASES.items() for k, args in enumerate(cases)]


def test_every_function_has_a_case():
    names = set(CASES) | {name.partition(",")[0] for name in WITH_ARGUMENTS}
    assert set(ours.__all__) <= names | {"cho_factor"} | test_special_matrices.NAMES | test_structured.NAMES


@pytest.mark.parametrize(("name", "args"), PLAIN)
def test_values_are_scipys(name, args):
    f = getattr(ours, name)
    wanted = getattr(theirs, name)(*args)
    agree(f(*args), wanted, name)
    agree(cotan.jit(f)(*args), wanted, name)
    zeros = tuple(map(np.zeros_like, args))
    agree(cotan.jvp(f, args, zeros)[0], wanted, name)


ORDERS = [pytest.param(1, id="first"), pytest.param(2, id="second", marks=[pytest.mark.exhaustive])]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", WITH_ARGUMENTS)
def test_values_with_arguments_are_scipys(name, order):
    f, args = WITH_ARGUMENTS[name]
    wanted = f(theirs, *args)

    def run(*xs):
        return f(ours, *xs)

    if "eigvals" in name:
        agree(np.sort_complex(np.asarray(run(*args))), np.sort_complex(wanted), name)
        return
    agree(run(*args), wanted, name)
    agree(cotan.jit(run)(*args), wanted, name)
    check_grads(
        cotan.jit(lambda *xs: [y for y in flat_of(run(*xs)) if y.dtype.kind in "fc"]), args, 1 if name == "cholesky, lower" else order
    )


def flat_of(results):
    return results if isinstance(results, tuple | list) else [results]


DETERMINED = {
    "lu": lambda y: y[1:],
    "lu_factor": lambda y: y[:1],
    "ldl": lambda y: y[:2],
    "svd": lambda y: abs(y[0]),
    "eigh": lambda y: [y[0], abs(y[1])],
    "eig": lambda y: [y[0].real, y[1].real],
    "eigvals": lambda y: y.real,
    "schur": lambda y: y if y[0].dtype.kind == "f" else [cnp.diagonal(y[0]), abs(y[1])],
}
"""What is differentiable of the results."""


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("name", "args", "order"), of_both_orders(p for p in PLAIN if p.id not in ("expm-1", "logm-2")))
def test_derivatives_agree_with_differences_to_second_order(name, args, order):
    if name == "svd" and args[0].shape[0] != args[0].shape[1]:
        pytest.skip("the further columns are a basis of a complement of several dimensions")
    if name == "rsf2csf":
        pytest.skip("a matrix near a real Schur form is none: see rsf2csf, of a form")
    f, taken = getattr(ours, name), DETERMINED.get(name, lambda y: y)
    once = name == "expm_frechet" or (name == "cholesky" and np.iscomplexobj(args[0]))
    check_grads(cotan.jit(lambda *xs: taken(f(*xs))), args, 1 if once else order)


@pytest.mark.parametrize(("name", "args"), first_of_each_kind(PLAIN))
def test_stacks_and_batches_are_loops(name, args):
    f = getattr(ours, name)
    stacked = [np.stack([x, x + 0.1 * np.eye(*x.shape[-2:])]) if x.ndim > 1 else np.stack([x, 2 * x]) for x in args]
    rows = [flat(cotan.jit(f)(*[x[k] for x in stacked])) for k in range(2)]
    for found in (cotan.vmap(f)(*stacked), cotan.jit(cotan.vmap(f))(*stacked)):
        for k, y in enumerate(flat(found)):
            agree(y, np.stack([row[k] for row in rows]), name)
    if all(x.ndim > 2 for x in stacked):
        for k, y in enumerate(flat(cotan.jit(f)(*stacked))):
            agree(y, np.stack([row[k] for row in rows]), name)


@pytest.mark.parametrize("name", CASES)
def test_compiled_code_calls_no_python(name):
    args = CASES[name][0]
    f, taken = getattr(ours, name), DETERMINED.get(name, lambda y: y)
    assert not cotan.compile_report(f)(*args).outside
    size = lambda *xs: sum(np.sum(np.abs(y)) for y in flat_of(taken(f(*xs))))  # noqa: E731
    assert not cotan.compile_report(cotan.grad(size))(*args).outside


@pytest.mark.parametrize("name", sorted({*CASES} - {"solve_sylvester", "eig", "eigvals"}))
def test_single_precision_stays_single(name):
    args = [np.asarray(x, np.float32) for x in CASES[name][0]]
    for y, right in zip(flat(cotan.jit(getattr(ours, name))(*args)), flat(getattr(theirs, name)(*args)), strict=True):
        assert y.dtype.itemsize <= 8
        if y.dtype.kind == "f":
            assert y.dtype == np.float32
        y, right = (np.abs(y), np.abs(right)) if name in UP_TO_SIGNS else (y, right)
        np.testing.assert_allclose(y, right, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", ["sqrtm", "logm", "expm", "cosm", "inv"])
def test_empty_matrices(name):
    empty = np.zeros((0, 0))
    assert cotan.jit(getattr(ours, name))(empty).shape == (0, 0)


def test_the_root_and_the_logarithm_of_a_real_matrix_are_real_or_nan():
    turned, mirrored = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.diag([-1.0, 2.0])
    for f in (ours.sqrtm, ours.logm):
        agree(cotan.jit(f)(turned), getattr(theirs, f.__name__)(turned).real, "turned")
        assert np.isnan(cotan.jit(f)(mirrored)).all()
        agree(cotan.jit(f)(mirrored + 0j), getattr(theirs, f.__name__)(mirrored + 0j), "mirrored")
    singular = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])  # zero twice, semisimple
    agree(cotan.jit(ours.sqrtm)(singular), singular / np.sqrt(14), "singular", rtol=1e-6)  # the root of a rounding error
    assert np.isnan(cotan.jit(ours.logm)(np.diag([1.0, 0.0]))).all()


def test_equal_eigenvalues_do_no_harm_to_functions_of_matrices():
    """The derivative of f(A) at the identity times c is f'(c): nothing is divided by differences of eigenvalues."""
    for f, slope in ((ours.expm, np.exp(2.0)), (ours.logm, 1 / 2.0), (ours.sqrtm, 0.5 / np.sqrt(2.0)), (ours.sinm, np.cos(2.0))):
        _, dy = cotan.jvp(f, (2.0 * np.eye(3),), (A[:3, :3],))
        np.testing.assert_allclose(dy, slope * A[:3, :3], rtol=1e-12)
    u, p = cotan.jvp(ours.polar, (np.eye(3),), (A[:3, :3],))[1]
    np.testing.assert_allclose(u, (A[:3, :3] - A[:3, :3].T) / 2, atol=1e-14)
    np.testing.assert_allclose(p, (A[:3, :3] + A[:3, :3].T) / 2, atol=1e-14)


@pytest.mark.parametrize("factor", [1, pytest.param(20, marks=[pytest.mark.exhaustive])])
@pytest.mark.parametrize("name", ["expm", "cosm", "sinm", "coshm", "sinhm", "logm", "sqrtm"])
def test_a_matrix_of_a_stack_does_not_depend_on_the_others(name, factor):
    """Not in its value and not in its derivative: be they huge, singular, not finite, or without a real result."""
    f = getattr(ours, name)
    single = (np.array([[1.0, 2.0], [-3.0, 4.0]]) / 4 + np.eye(2)) * (factor if name != "coshm" else 1)
    others = [1e17 * np.eye(2), -1e17 * np.eye(2), np.zeros((2, 2)), np.full((2, 2), np.nan), np.full((2, 2), np.inf), np.diag([1.0, -1.0])]
    total = lambda a: np.sum(f(a)[0])  # noqa: E731
    alone, slope = cotan.jit(f)(single), cotan.grad(lambda a: np.sum(f(a)))(single)
    for other in others:
        stack = np.stack([single, other])
        for g in (cotan.jit(f), cotan.jit(cotan.vmap(f))):
            np.testing.assert_allclose(g(stack)[0], alone, rtol=1e-13)
        for g in (cotan.grad(total), cotan.jit(cotan.grad(total))):
            np.testing.assert_allclose(g(stack)[0], slope, rtol=1e-12)


def test_where_a_root_is_nan_so_is_its_derivative():
    for f in (ours.sqrtm, ours.logm):
        for bad in (np.diag([1.0, -1.0]), np.zeros((2, 2)), np.full((2, 2), np.nan)):
            for g in (cotan.grad(lambda a, f=f: np.sum(f(a))), cotan.jit(cotan.grad(lambda a, f=f: np.sum(f(a))))):
                assert np.isnan(g(bad)).any()


def test_a_function_of_a_matrix_with_equal_eigenvalues_is_nan_unless_it_is_diagonal():
    """And so are its derivatives, also where the value is right, and where a real matrix has no real result."""
    f, root = (cotan.jit(lambda a, g=g: ours.funm(a, g)) for g in (cnp.exp, cnp.sqrt))
    np.testing.assert_allclose(f(2 * np.eye(3)), np.exp(2) * np.eye(3))
    assert np.isnan(f(np.array([[1.0, 1.0], [0.0, 1.0]]))).all()
    assert np.isnan(root(np.diag([-1.0, 2.0]))).all()
    for g, a in ((f, 2 * np.eye(3)), (f, np.array([[1.0, 1.0], [0.0, 1.0]])), (root, np.diag([-1.0, 2.0]))):
        assert not np.isfinite(cotan.grad(lambda a, g=g: np.sum(A[: len(a), : len(a)] * g(a)))(a)).all()
    assert not cotan.compile_report(f)(APART).outside


def test_eigenvalues_of_a_defective_matrix_have_no_derivative():
    """Of the sum of their squares, tr(A A), the gradient is 2 A^T; by equal eigenvalues with one vector it would be 2 tr(dA)."""
    f = lambda a: np.sum((ours.eigvals(a) ** 2).real)  # noqa: E731
    for g in (cotan.grad(f), cotan.jit(cotan.grad(f))):
        assert not np.isfinite(g(np.array([[1.0, 1.0], [0.0, 1.0]]))).all()
        np.testing.assert_allclose(g(np.eye(3)), 2 * np.eye(3), rtol=1e-12)
        np.testing.assert_allclose(g(APART), 2 * APART.T, rtol=1e-10)


@pytest.mark.parametrize("turn", [1, 1 + 0.3j])
def test_qr_of_dependent_columns_has_an_infinite_derivative_and_no_wrong_one(turn):
    """What follows from the columns before them is right, and so is Q of a real square matrix of rank n - 1 (Roberts & Roberts 2020)."""
    a, da = A.astype(complex) * turn if turn != 1 else A.copy(), A[::-1] * turn
    for dependent in (a[:, 0] + a[:, 1], 0 * a[:, 0]):
        tall, wide, last = a[:, :3].copy(), a[:3].copy(), a.copy()
        tall[:, 2], wide[:, 1], last[:, 3] = dependent, dependent[:3], dependent
        if dependent.any():
            wide[:, 1] = 2 * wide[:, 0]
        for b in (tall, wide):
            f = lambda x: ours.qr(x, mode="economic")  # noqa: E731
            for g in (f, cotan.jit(f)):
                with np.errstate(all="ignore"):
                    dq, dr = cotan.jvp(g, (b,), (da[: b.shape[0], : b.shape[1]],))[1]
                    bars = cotan.grad(lambda x, g=g: np.sum(np.abs(g(x)[0] * A[: x.shape[0], : min(x.shape)]) ** 3))(b)
                assert not np.isfinite(dq).all()
                assert not np.isfinite(dr).all()
                assert not np.isfinite(bars).all()
                assert np.isfinite(dq[:, 0]).all()
        if turn == 1:
            check_grads(cotan.jit(ours.qr), (last,), 2)


def test_equal_eigenvalues_give_a_schur_form_an_infinite_derivative():
    """And so does a block of a normal matrix."""
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    q = theirs.qr(A)[0]
    for a in (2 * np.eye(3), q @ np.diag([1.0, 1.0, 2.0, 3.0]) @ q.T, (q @ np.diag([1.0, 1.0, 2.0, 3.0]) @ q.T).astype(complex), turn):
        da = A[: len(a), : len(a)].astype(a.dtype)
        for g in (ours.schur, cotan.jit(ours.schur)):
            dz = cotan.jvp(g, (a,), (da,))[1][1]
            assert not np.isfinite(dz).all()
            assert not np.isfinite(cotan.grad(lambda x, g=g: np.sum(A[: len(x), : len(x)] * g(x)[1].real))(a)).all()


def test_a_zero_below_the_diagonal_gives_a_hessenberg_form_an_infinite_derivative():
    """Unless it is the last one, below which there is no row."""
    q = np.eye(4)
    q[1:, 1:] = theirs.qr(A[1:, 1:])[0]
    for a in (np.triu(A, -1), np.triu(C, -1)):
        split, last = a.copy(), a.copy()
        split[2, 1], last[3, 2] = 0, 0
        whole = lambda x: ours.hessenberg(x, calc_q=True)  # noqa: E731
        for f in (whole, cotan.jit(whole)):
            assert not np.isfinite(cotan.jvp(f, (split,), (A.astype(a.dtype),))[1][1]).all()
            if a.dtype == float:
                check_grads(f, (q @ last @ q.T,), 2)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("kind", ["real", "Hermitian", "symmetric"])
def test_the_factors_of_ldl_give_the_matrix(kind, upper):
    """On both sides of LAPACK's block size, for pivots of one and of two rows, with exchanges; D is zero outside of its blocks."""
    rng = np.random.default_rng(5)
    for n in (1, 2, 3, 7, 90):
        x = rng.normal(size=(3, n, n)) + (0 if kind == "real" else 1j * rng.normal(size=(3, n, n)))
        a = x + x.mT.conj() if kind == "Hermitian" else x + x.mT
        a[1:] -= np.array([1, 0.9])[:, None, None] * a[1:] * np.eye(n)
        given = (np.triu if upper else np.tril)(a)  # the other triangle is not read
        lu, d, perm = cotan.jit(lambda a: ours.ldl(a, lower=not upper, hermitian=kind != "symmetric"))(given)
        turned = lu.mT.conj() if kind == "Hermitian" else lu.mT
        np.testing.assert_allclose(lu @ d @ turned, a, atol=1e-13 * n * np.abs(a).max())
        assert np.all((np.diagonal(d, 1, -2, -1)[:, 1:] == 0) | (np.diagonal(d, 1, -2, -1)[:, :-1] == 0))
        assert not np.triu(np.abs(d), 2).any()
        factor = np.take_along_axis(lu, perm[..., None], -2)
        np.testing.assert_array_equal((np.tril if upper else np.triu)(factor), np.broadcast_to(np.eye(n), a.shape))
        for k in range(3):
            if kind != "Hermitian":
                agree([y[k] for y in (lu, d, perm)], theirs.ldl(given[k], lower=not upper, hermitian=False), "ldl", 1e-8)


def by_ldl(a):
    """The symmetric matrix of a lower triangle, by way of its factors."""
    lu, d, _ = ours.ldl(a)
    return lu @ d @ lu.T


@pytest.mark.parametrize("jitted", [False, True])
def test_ldl_of_a_singular_matrix_has_the_right_derivative_or_none(jitted):
    """Only a last pivot may be zero, since no row is divided by it. A pivot is compared with the terms whose sum it is: a matrix with rows
    at unlike scales is not singular.
    """
    w = np.random.default_rng(6).normal(size=(4, 4))
    right = np.tril(w + w.T) - np.diag(np.diag(w))
    gradient = cotan.grad(lambda a: cnp.sum(w * by_ldl(a)))
    gradient = cotan.jit(gradient) if jitted else gradient
    q = np.random.default_rng(7).normal(size=(4, 4))
    pair = np.array([[0.0, 1.0], [1.0, 0.0]])
    regular = [
        np.diag([1.0, 2, 3, 0]),
        q[:, :3] @ np.diag([1.0, -1, 2]) @ q[:, :3].T,
        np.diag([1.0, 1e-100, 1e-200, 1e-300]),
        np.diag([1.0, 1e-5, 1e-10, 1e-15]) @ (INDEFINITE + 3 * np.eye(4)) @ np.diag([1.0, 1e-5, 1e-10, 1e-15]),
        np.kron(np.diag([1e-200, 1.0]), pair),
        np.kron(np.diag([1.0, 1e-200]), pair),
        1e150 * INDEFINITE,
        1e-150 * INDEFINITE,
    ]
    for a in regular:
        np.testing.assert_allclose(gradient(a), right, rtol=1e-8, atol=1e-8)
    singular = [
        np.zeros((4, 4)),
        np.ones((4, 4)),
        np.diag([1.0, 0, 2, 0]),
        q[:, :2] @ np.diag([1.0, -1]) @ q[:, :2].T,
        np.kron(pair, np.ones((2, 2))),
    ]
    for a in singular:
        assert not np.isfinite(gradient(a)).all()
        found = gradient(a)
        assert np.all(np.isclose(found, right) | ~np.isfinite(found))
        factor, blocks = cotan.jvp(lambda a: ours.ldl(a)[:2], (a,), (w + w.T,))[1]
        assert not np.isfinite(factor).all()
        assert not np.isfinite(blocks).all()


def test_the_inverse_of_a_diagonal_matrix_is_diagonal():
    """SciPy 1.17 returns the other elements as they were."""
    np.testing.assert_array_equal(cotan.jit(lambda a: ours.inv(a, assume_a="diagonal"))(A), np.diag(1 / np.diag(A)))


def test_bad_arguments_are_refused():
    for call, error in (
        (lambda a: ours.solve(a, LINE, assume_a="nothing"), ArgumentError),
        (lambda a: ours.inv(a, assume_a="nothing"), ArgumentError),
        (lambda a: ours.solve_triangular(a, LINE, trans=5), ArgumentError),
        (lambda a: ours.polar(a, side="up"), ArgumentError),
        (lambda a: ours.funm(a, cnp.exp, disp=False), UnsupportedFunctionError),
        (lambda a: ours.solve_discrete_lyapunov(a, a, method="guess"), ArgumentError),
        (lambda a: ours.eigh(a, a, type=4), ArgumentError),
        (lambda a: ours.eigvalsh(a, subset_by_index=(1, 5)), ArgumentError),
        (lambda a: ours.eigvalsh(a, subset_by_index=(2, 1)), ArgumentError),
        (lambda a: ours.solve(a[:2], LINE), ShapeError),
        (lambda a: ours.expm(a[:2]), ShapeError),
        (lambda a: ours.qr(a, mode="reduced"), ArgumentError),
        (lambda a: ours.qr(a, mode="raw"), UnsupportedFunctionError),
        (lambda a: ours.rq(a, mode="reduced"), ArgumentError),
        (lambda a: ours.schur(a, output="half"), ArgumentError),
        (lambda a: ours.schur(a, sort="lhp"), UnsupportedFunctionError),
        (lambda a: ours.rsf2csf(a + 0j, a), UnsupportedFunctionError),
        (lambda a: ours.qr_multiply(a, a, mode="up"), ArgumentError),
        (lambda a: ours.qr_multiply(a, a[:, :2]), ShapeError),
        (lambda a: ours.solve_sylvester(a, a[:2, :2], a), ShapeError),
        (lambda a: ours.solve_continuous_are(a, a[:2], a, a), ShapeError),
        (lambda a: ours.solve_discrete_are(a, a, a, a[:2, :2]), ShapeError),
    ):
        with pytest.raises(error, match="What to do"):
            cotan.jit(call)(A)


def test_a_sylvester_equation_of_complex_and_real_matrices():
    """SciPy takes the real Schur form of the one for a triangular matrix: its result does not solve the equation."""
    for f in (ours.solve_sylvester, cotan.jit(ours.solve_sylvester)):
        for a, b in ((C, REGULAR), (A, REGULAR + 1j * A)):
            x = f(a, b, A)
            np.testing.assert_allclose(a @ x + x @ b, A, atol=1e-12)


@pytest.mark.parametrize("turn", [0, 1j])
def test_generalized_riccati_equations_are_solved(turn):
    """On arrays, too: SciPy 1.17 balances a real e wrongly, and its result often solves no equation."""
    a, b, e, s = A + turn * A.T, SIDES + turn * SIDES, POSITIVE / 4 + A / 9 + turn * A / 9, SIDES / 9 + 0 * turn
    q, r = POSITIVE + turn * (A - A.T) / 9, POSITIVE[:2, :2]
    ah, bh, eh, sh = (x.conj().T for x in (a, b, e, s))
    for f in (ours.solve_continuous_are, cotan.jit(ours.solve_continuous_are)):
        x = f(a, b, q, r, e, s)
        rest = ah @ x @ e + eh @ x @ a - (eh @ x @ b + s) @ np.linalg.solve(r, bh @ x @ e + sh) + q
        np.testing.assert_allclose(rest, 0 * rest, atol=1e-11 * np.abs(x).max())
        assert np.linalg.eigvals(np.linalg.solve(e, a - b @ np.linalg.solve(r, bh @ x @ e + sh))).real.max() < 0
    for f in (ours.solve_discrete_are, cotan.jit(ours.solve_discrete_are)):
        x = f(a, b, q, r, e, s)
        gain = np.linalg.solve(r + bh @ x @ b, bh @ x @ a + sh)
        rest = ah @ x @ a - eh @ x @ e - (ah @ x @ b + s) @ gain + q
        np.testing.assert_allclose(rest, 0 * rest, atol=1e-11 * np.abs(x).max())
        assert np.abs(np.linalg.eigvals(np.linalg.solve(e, a - b @ gain))).max() < 1
    for f in (ours.solve_continuous_are, ours.solve_discrete_are):
        check_grads(cotan.jit(f), (a, b, q, r, e, s), 1 if turn else 2, eps=1e-4 if turn else None)


def test_a_riccati_equation_without_a_solution_is_refused():
    zero = np.zeros((2, 2))
    for f in (ours.solve_continuous_are, ours.solve_discrete_are):
        with pytest.raises(np.linalg.LinAlgError, match="Failed to find a finite solution"):
            f(2 * np.eye(2), zero, np.eye(2), np.eye(2))
        for a in (np.eye(2), np.full((2, 2), np.nan)):
            assert np.isnan(cotan.jit(f)(2 * a, zero, np.eye(2), np.eye(2))).all()


def test_arguments_of_scipy_that_say_how_have_no_effect():
    f = lambda a: ours.solve(a, LINE, overwrite_a=True, check_finite=False)  # noqa: E731
    agree(cotan.jit(f)(A), theirs.solve(A, LINE), "solve")


def restored(name):
    """A function that gives its argument back, from a factorization of it."""

    def from_schur(a):
        t, z = ours.schur(a)
        return z @ t @ z.T

    def from_hessenberg(a):
        h, q = ours.hessenberg(a, calc_q=True)
        return q @ h @ q.T

    def from_qr(a):
        q, r = ours.qr(a)
        return q @ r

    return {"schur": from_schur, "hessenberg": from_hessenberg, "qr": from_qr}[name]


@pytest.mark.parametrize("name", ["schur", "hessenberg", "qr"])
@pytest.mark.parametrize("jitted", [False, True])
def test_a_derivative_at_a_singular_point_is_right_or_not_finite(name, jitted):
    """... also where the cotangent of what is not determined is zero."""
    weights = np.arange(1.0, 10.0).reshape(3, 3)
    gradient = cotan.grad(lambda a: cnp.sum(restored(name)(a) * weights))
    gradient = cotan.jit(gradient) if jitted else gradient
    regular = np.array([[1.0, 2.0, 0.5], [0.3, -1.0, 1.5], [0.7, 0.2, 3.0]])
    np.testing.assert_allclose(gradient(regular), weights, atol=1e-12)
    for a in (np.eye(3), np.zeros((3, 3)), np.ones((3, 3)), np.diag([1.0, 1, 2]), np.diag([1.0, 0, 2]), np.diag([1.0, 3, 2])):
        found = gradient(a)
        right = np.isclose(found, weights)
        assert np.all(right | ~np.isfinite(found))
