"""Derivatives at equal eigenvalues and singular values, and near them: the limit, for functions that do not depend on the choice of
vectors; infinite or nan for those that do.

Each function of a decomposition has a twin that computes the same without one, by products or by Pade approximants.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.scipy import linalg as csl

N = 3
RNG = np.random.default_rng(7)
M, E = RNG.normal(size=(N, N)), RNG.normal(size=(N, N))
Q = np.linalg.qr(RNG.normal(size=(N, N)))[0]
U = np.linalg.qr(RNG.normal(size=(N, N)) + 1j * RNG.normal(size=(N, N)))[0]


def of_values(*w, basis=Q):
    return basis @ np.diag(w) @ basis.conj().T


POINTS = {
    "identity": np.eye(N),
    "zero": np.zeros((N, N)),
    "rank one": of_values(1.0, 0, 0),
    "rank two": of_values(2.0, 2, 0),
    "pair": of_values(1.0, 1, 2),
    "gap 1e-6": of_values(1.0, 1 + 1e-6, 2),
    "gap 1e-9": of_values(1.0, 1 + 1e-9, 2),
    "gap 1e-13": of_values(1.0, 1 + 1e-13, 2),
    "three scales": of_values(1.0, 1 + 1e-10, 1 - 1e-8),
    "distinct": of_values(1.0, 2, 4),
}


def symmetric(a):
    return cnp.tril(a) + cnp.swapaxes(cnp.conj(cnp.tril(a, -1)), -1, -2)


def by_eigh(function):
    def f(a):
        w, v = cnp.linalg.eigh(a)
        return (v * function(w)) @ cnp.conj(v).T

    return f


def by_svd(function):
    def f(a):
        u, s, vh = cnp.linalg.svd(a, full_matrices=False)
        return function(u, s, vh)

    return f


def by_eig(a):
    w, v = cnp.linalg.eig(a)
    return ((v * cnp.exp(w)) @ cnp.linalg.inv(v)).real


def weighted(f):
    return lambda a: cnp.sum(f(a) * M) ** 2 + cnp.sum(f(a) ** 2)


CASES = {
    "V exp(w) V^H": (weighted(by_eigh(cnp.exp)), weighted(lambda a: csl.expm(symmetric(a)))),
    "V w^3 V^H": (weighted(by_eigh(lambda w: w**3)), weighted(lambda a: symmetric(a) @ symmetric(a) @ symmetric(a))),
    "sum(w^2)": (lambda a: cnp.sum(cnp.linalg.eigvalsh(a) ** 2), lambda a: cnp.sum(symmetric(a) ** 2)),
    "log sum exp(w)": (
        lambda a: cnp.log(cnp.sum(cnp.exp(cnp.linalg.eigvalsh(a)))),
        lambda a: cnp.log(cnp.trace(csl.expm(symmetric(a)))),
    ),
    "U S V^H": (weighted(by_svd(lambda u, s, vh: (u * s) @ vh)), weighted(lambda a: a)),
    "U S^2 U^H": (weighted(by_svd(lambda u, s, vh: (u * s) @ (u * s).T)), weighted(lambda a: a @ a.T)),
    "sum(s^4)": (lambda a: cnp.sum(cnp.linalg.svd(a, compute_uv=False) ** 4), lambda a: cnp.sum((a @ a.T) ** 2)),
    "V exp(w) V^-1": (weighted(by_eig), weighted(csl.expm)),
    "of the result": (weighted(lambda a: by_eigh(cnp.exp)(by_eigh(cnp.cos)(a))), weighted(lambda a: csl.expm(cosine(symmetric(a))))),
}


def cosine(a):
    return csl.expm(1j * a).real


def close(found, expected, tolerance=1e-9):
    size = np.abs(expected).max()
    assert np.abs(found - expected).max() <= tolerance * (1 + size)


FEW = {"identity", "zero", "gap 1e-9"}
EVERYWHERE = [
    pytest.param(case, point, id=f"{case}-{point}", marks=[] if point in FEW else [pytest.mark.exhaustive])
    for case in CASES
    for point in POINTS
]


@pytest.mark.parametrize(("case", "point"), EVERYWHERE)
def test_first_and_second_derivatives_are_those_of_the_function_without_a_decomposition(case, point):
    f, twin = CASES[case]
    a = POINTS[point]
    gradient, hessian = cotan.grad(twin)(a), cotan.hessian(twin)(a)
    close(cotan.grad(f)(a), gradient, 1e-7)
    close(cotan.jvp(f, (a,), (E,))[1], np.sum(gradient * E), 1e-7)
    close(cotan.jvp(cotan.grad(f), (a,), (E,))[1], np.tensordot(hessian, E), 1e-6)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("case", "point"), EVERYWHERE)
def test_the_four_second_derivatives(case, point):
    f, twin = CASES[case]
    a = POINTS[point]
    hessian = cotan.hessian(twin)(a)
    for pair in (cotan.hessian(f), cotan.jacrev(cotan.grad(f)), cotan.jacfwd(cotan.jacfwd(f)), cotan.jacrev(cotan.jacfwd(f))):
        close(pair(a), hessian, 1e-6)


@pytest.mark.parametrize("case", ["V exp(w) V^H", "sum(w^2)", pytest.param("U S V^H", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("point", ["zero", "pair", pytest.param("gap 1e-9", marks=pytest.mark.exhaustive)])
def test_compiled_derivatives_too(case, point):
    f, twin = CASES[case]
    a = POINTS[point]
    for engine in ("native", "numpy"):
        close(cotan.jit(cotan.grad(f), engine=engine)(a), cotan.grad(twin)(a), 1e-7)
        close(cotan.jit(cotan.hessian(f), engine=engine)(a), cotan.hessian(twin)(a), 1e-6)
    close(cotan.grad(cotan.jit(f))(a), cotan.grad(twin)(a), 1e-7)


def test_third_derivatives():
    f, twin = CASES["V exp(w) V^H"]
    for point in ("identity", "pair"):
        a = POINTS[point]
        close(cotan.jacfwd(cotan.hessian(f))(a), cotan.jacfwd(cotan.hessian(twin))(a), 1e-8)


@pytest.mark.parametrize("a", [np.eye(N) + 0j, of_values(1, 1, 2, basis=U), of_values(1, 1 + 1e-10, 2, basis=U), np.zeros((N, N), complex)])
def test_complex_matrices(a):
    f, twin = (lambda a, g=g: cnp.sum((g(a) * M).real) ** 2 for g in (by_eigh(cnp.exp), lambda a: csl.expm(symmetric(a))))
    lower = cnp.tril(cotan.grad(twin)(a))
    found = cotan.grad(f)(a)
    close(cnp.tril(found, -1), cnp.tril(lower, -1))
    close(found.diagonal().real, lower.diagonal().real)
    g, plain = (lambda a, h=h: cnp.sum((h(a) ** 3 * M).real) for h in (by_svd(lambda u, s, vh: (u * s) @ vh), lambda a: a))
    close(cotan.grad(g)(a), cotan.grad(plain)(a))


@pytest.mark.parametrize("a", [np.eye(4, 2), np.zeros((4, 2)), np.outer([1.0, 2, 3, 4], [1.0, -1]), np.eye(2, 4), np.ones((2, 4))])
@pytest.mark.parametrize("full", [False, True])
def test_matrices_that_are_not_square(a, full):
    weights = np.random.default_rng(0).normal(size=a.shape)

    def f(a):
        u, s, vh = cnp.linalg.svd(a, full_matrices=full)
        k = s.shape[0]
        return cnp.sum(((u[:, :k] * s) @ vh[:k]) ** 3 * weights)

    def twin(a):
        return cnp.sum(a**3 * weights)

    close(cotan.grad(f)(a), cotan.grad(twin)(a))
    close(cotan.hessian(f)(a), cotan.hessian(twin)(a))


def test_the_projector_on_the_complement_of_the_columns():
    a, weights = np.random.default_rng(1).normal(size=(4, 2)), np.arange(16.0).reshape(4, 4)

    def f(a):
        u = cnp.linalg.svd(a)[0][:, 2:]
        return cnp.sum(u @ u.T * weights)

    def twin(a):
        return -cnp.sum(a @ cnp.linalg.inv(a.T @ a) @ a.T * weights)

    for transformed in (cotan.grad, lambda f: cotan.jit(cotan.grad(f)), cotan.hessian):
        close(transformed(f)(a), transformed(twin)(a))
    assert not np.isfinite(cotan.grad(lambda a: cnp.linalg.svd(a)[0][0, 3])(a)).any()


def test_single_precision():
    f, twin = CASES["V exp(w) V^H"]
    found = cotan.grad(f)(np.eye(N, dtype=np.float32))
    assert found.dtype == np.float32
    close(found, cotan.grad(twin)(np.eye(N)), 1e-4)


BATCH = np.stack([POINTS[p] for p in ("identity", "gap 1e-9", "distinct", "zero")])
PLACES = {
    "vmap": lambda f: lambda b: cnp.sum(cotan.vmap(f)(b)),
    "scan": lambda f: lambda b: lax.scan(lambda c, a: (c + 0.01 * c * f(a), c), 0.1, b)[0],
    "map": lambda f: lambda b: cnp.sum(lax.map(f, b)),
    "fori_loop": lambda f: lambda b: lax.fori_loop(0, 3, lambda k, c: c + f(b[k]) / (k + 1.0), 0.0),
    "cond": lambda f: lambda b: lax.cond(b[0, 0, 0] > 0, f, lambda a: cnp.sum(a), b[0]),
    "jit": lambda f: lambda b: cotan.jit(f)(b[0]),
    "checkpoint": lambda f: lambda b: cotan.checkpoint(f)(b[0]),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("jitted", [False, True])
def test_inside_of_other_operations(place, jitted):
    f, twin = (cotan.grad(PLACES[place](g)) for g in CASES["V exp(w) V^H"])
    close((cotan.jit(f) if jitted else f)(BATCH), twin(BATCH), 1e-7)


def test_vmap_of_derivatives():
    f, twin = CASES["V exp(w) V^H"]
    close(cotan.vmap(cotan.hessian(f))(BATCH), cotan.vmap(cotan.hessian(twin))(BATCH), 1e-7)


def test_functions_that_vjp_and_linearize_return():
    f, twin = CASES["V exp(w) V^H"]
    a = np.eye(N)
    gradient = cotan.grad(twin)(a)
    y, pull = cotan.vjp(f, a)
    a += 1.0  # the caller's own array: the pullback keeps the point
    close(pull(1.0)[0], gradient)
    close(y, twin(np.eye(N)))
    _, push = cotan.linearize(f, np.eye(N))
    close(push(E), np.sum(gradient * E))


def sum_of_largest(a):
    return cnp.sum(cnp.linalg.eigvalsh(a)[1:])


def test_the_sum_of_the_largest_values_with_a_gap_below_them():
    a = of_values(1.0, 2, 2)
    projector = Q[:, 1:] @ Q[:, 1:].T
    close(cotan.grad(sum_of_largest)(a), np.tril(projector) + np.tril(projector, -1))
    step = 1e-4 * (E + E.T)
    difference = (cotan.grad(sum_of_largest)(a + step) - cotan.grad(sum_of_largest)(a - step)) / 2e-4
    close(cotan.jvp(cotan.grad(sum_of_largest), (a,), (E + E.T,))[1], difference, 1e-6)


DEPENDENT = {
    "an element of a vector": lambda a: cnp.linalg.eigh(a)[1][0, 1],
    "whose derivative is zero in the basis that LAPACK chose": lambda a: cnp.linalg.eigh(a)[1][0, 1] ** 2,
    "the projector on two of three equal values": lambda a: cnp.sum((lambda v: v @ v.T * M)(cnp.linalg.eigh(a)[1][:, :2])),
    "a singular vector": lambda a: cnp.sum(cnp.linalg.svd(a)[0][:, 0] * M[0]),
    "an eigenvector": lambda a: cnp.sum(abs(cnp.linalg.eig(a)[1][:, 0]) * M[0]),
}


@pytest.mark.parametrize("case", DEPENDENT)
def test_functions_that_depend_on_the_choice_of_vectors_have_no_finite_derivative(case):
    f, a = DEPENDENT[case], np.eye(N)
    for g in (cotan.grad(f), cotan.jit(cotan.grad(f)), cotan.jacfwd(f)):
        assert not np.isfinite(g(a)).all()


def test_values_that_are_not_quite_equal_have_vectors_with_derivatives():
    a = of_values(1.0, 1 + 1e-9, 2)
    f = DEPENDENT["whose derivative is zero in the basis that LAPACK chose"]
    w, v = np.linalg.eigh(a)
    e = v[:, :1] @ v[:, 1:2].T + v[:, 1:2] @ v[:, :1].T
    expected = 2 * v[0, 1] * v[0, 0] / (w[1] - w[0])
    found = cotan.jvp(f, (a,), (e,))[1]
    assert abs(found - expected) <= 1e-4 * abs(expected)


def test_values_and_vectors_are_those_that_are_found_without_a_derivative():
    a = of_values(1.0, 1, 2)
    (w, v), _ = cotan.jvp(cnp.linalg.eigh, (a,), (E,))
    expected = np.linalg.eigh(a)
    np.testing.assert_array_equal(w, expected[0])
    np.testing.assert_array_equal(v, expected[1])
    value, _ = cotan.value_and_grad(CASES["V exp(w) V^H"][0])(a)
    close(value, CASES["V exp(w) V^H"][1](a))


def test_what_a_result_depends_on_is_named(monkeypatch):
    monkeypatch.setenv("COTAN_DEBUG_SPECTRA", "1")
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    a = basis @ np.diag([1.0, 1, 2, 2]) @ basis.T
    for g in (cotan.grad, lambda f: cotan.jit(cotan.grad(f))):
        with pytest.warns(cotan.EqualValuesWarning) as found:
            g(lambda a: cnp.sum(abs(cnp.linalg.eigh(a)[1][:, 0])))(a)
        (message,) = [str(w.message) for w in found]
        assert "values 0 and 1 of eigh of float64[4,4], test_equal_values.py:" in message
        assert "values 2 and 3" not in message
        assert found[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cotan.grad(CASES["V exp(w) V^H"][0])(np.eye(N))


def test_donated_arguments_are_kept():
    f, a = cotan.grad(CASES["V exp(w) V^H"][0]), np.eye(N)
    np.testing.assert_allclose(cotan.jit(f, donate_argnums=0)(a.copy()), f(a), rtol=1e-12)
    looped = cotan.jit(lambda a: cotan.lax.fori_loop(0, 2, lambda _, a: a - 0.1 * f(a), a), donate_argnums=0)
    np.testing.assert_allclose(looped(a.copy()), a - 0.1 * f(a) - 0.1 * f(a - 0.1 * f(a)), rtol=1e-12)


def test_pullbacks_of_functions_that_depend_on_the_choice_of_vectors_at_equal_and_at_nearly_equal_values():
    """Once more with what is equal but for rounding, and not again and again."""
    vectors, a, t = (lambda a: cnp.linalg.eigh(a)[1]), np.diag([1.0, 1.0, 1.0 + 1e-9, 3.0]), np.ones((4, 4))
    _, pull = cotan.vjp(vectors, a)
    assert not np.isfinite(pull(t)[0]).all()
    _, push = cotan.linearize(vectors, a)
    np.testing.assert_array_equal(push(t), cotan.jvp(vectors, (a,), (t,))[1])


def test_compiling_ahead_of_time():
    f, twin = CASES["V exp(w) V^H"]
    compiled = cotan.jit(cotan.grad(f)).lower(np.eye(N)).compile()
    close(compiled(np.eye(N)), cotan.grad(twin)(np.eye(N)))
    close(compiled(POINTS["distinct"]), cotan.grad(twin)(POINTS["distinct"]))


def descent(exponential, steps):
    """Steps down a gradient, of which the first begins at equal values; the last loss."""

    def loss(s):
        return cnp.sum((exponential(s) - M) ** 2)

    def step(s, _):
        g = cotan.grad(loss)(s)
        return s - 0.01 * (g + g.T), cnp.sum(g)

    return lambda s: loss(lax.scan(step, s, None, steps)[0])


@pytest.mark.parametrize("jitted", [False, True])
def test_loops_over_gradients(jitted):
    for steps, transformed in ((3, lambda f: f), (1, cotan.grad)):
        f, twin = descent(by_eigh(cnp.exp), steps), descent(lambda s: csl.expm(symmetric(s)), steps)
        g, expected = transformed(f), transformed(twin)(np.eye(N))
        close((cotan.jit(g) if jitted else g)(np.eye(N)), expected, 1e-8)


@pytest.mark.parametrize("scale", [1e-200, 1e-14, 1e14, 1e200])
def test_functions_of_any_size(scale):
    f, a = weighted(by_eigh(cnp.exp)), np.eye(N)
    close(cotan.grad(lambda a: scale * f(a))(a) / scale, cotan.grad(f)(a), 1e-12)
    close(cotan.jvp(f, (a,), (scale * E,))[1] / scale, cotan.jvp(f, (a,), (E,))[1], 1e-12)
    for g in DEPENDENT.values():
        assert not np.isfinite(cotan.grad(lambda a, g=g: scale * g(a))(a)).all()
        assert not np.isfinite(cotan.jvp(g, (a,), (scale * E,))[1])
        assert not np.isfinite(cotan.jvp(cotan.grad(lambda a, g=g: scale * g(a)), (a,), (E,))[1]).all()
