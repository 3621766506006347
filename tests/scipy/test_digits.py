"""Values and first derivatives of linear algebra against mpmath, with 60 digits: derivatives by central differences of the exact function.

The tolerance is derived, not chosen: a stable algorithm gives nearly the right result for nearly the right matrix, each to a few roundings
of its norm (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 1.5). So the error of an element y of a value Y is at
most a few units of rounding times |A| sum_G |Dy[G]| + max |Y| over the elements G of the matrix, and that of its derivative along E at most
|A| sum_G |D^2 y[E, G]| + max |DY[E]|. mpmath computes these, too. `ROUNDINGS` is the number of roundings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
import cotan.scipy.linalg as ours

DIGITS = 60
STEP = "1e-20"
"""Of the differences. The error of a central one is about 1e-40; the second ones, of which only the size matters, lose 40 digits."""
ROUNDINGS = 40


class Case(NamedTuple):
    """A function, and its exact counterpart, which is given the results at the point, to make the same choices."""

    function: Callable[..., Any]
    exact: Callable[[Any, Sequence[Any]], Sequence[Any]]
    kind: str = "general"
    """The matrices: general; with eigenvalues "apart"; "hermitian"; "positive" definite; with eigenvalues on the "right" of 0."""
    shape: tuple[int, int] = (0, 0)
    """How many more rows and columns."""


# ---- exact functions -------------------------------------------------------------------------------------------------------------------
def exact(x: Any) -> Any:
    """An array as a matrix of mpmath, unrounded."""
    return mp.matrix([[mp.mpmathify(complex(z)) if np.iscomplexobj(x) else mp.mpf(float(z)) for z in row] for row in np.atleast_2d(x)])


def columns_of(a: Any) -> list[Any]:
    return [a[:, k] for k in range(a.cols)]


def beside(columns: Sequence[Any]) -> Any:
    return mp.matrix([[c[i] for c in columns] for i in range(columns[0].rows)])


def inner(x: Any, y: Any) -> Any:
    """x^H y."""
    return (x.H * y)[0]


def phase(z: Any) -> Any:
    return z / abs(z)


def in_phase(vectors: Sequence[Any], model: Any) -> list[Any]:
    """Vectors times phases for which their products with the columns of the model are positive."""
    return [v / phase(inner(c, v)) for v, c in zip(vectors, columns_of(exact(model)), strict=True)]


def nearest(values: Sequence[Any], wanted: Any) -> list[int]:
    """The order of values that is that of these floats."""
    return [min(range(len(values)), key=lambda k: abs(values[k] - complex(z))) for z in wanted]


def exact_eigh(a: Any, model: Sequence[Any]) -> Sequence[Any]:
    w, v = mp.eigsy(a) if all(mp.im(x) == 0 for x in a) else mp.eighe(a)
    return [list(w), beside(in_phase(columns_of(v), model[1]))]


def exact_svd(a: Any, model: Sequence[Any]) -> Sequence[Any]:
    """The phases of a pair of vectors are shared: the products with those of the model have opposite ones."""
    u, s, vh = mp.svd_c(a)
    us, vs, k = columns_of(u), columns_of(vh.H), len(s)
    for j, (c, d) in enumerate(zip(columns_of(exact(model[0]))[:k], columns_of(exact(model[2]).H)[:k], strict=True)):
        turn = mp.sqrt(phase(inner(c, us[j])) * phase(inner(d, vs[j])))
        turn = -turn if mp.re(inner(c, us[j]) / turn) < 0 else turn
        us[j], vs[j] = us[j] / turn, vs[j] / turn
    return [beside(us[:k]), list(s), beside(vs[:k]).H]


def spectrum(a: Any, wanted: Any) -> tuple[list[Any], list[Any]]:
    """Eigenvalues in the order of these floats, and their vectors."""
    w, v = mp.eig(a)
    order = nearest(w, wanted)
    return [w[k] for k in order], [v[:, k] for k in order]


def exact_eig(a: Any, model: Sequence[Any]) -> Sequence[Any]:
    """Vectors of the norm 1 with a real largest element, of the sign of the model's."""
    w, vectors = spectrum(a, model[0])
    found = []
    for v, c in zip(vectors, np.asarray(model[1]).T, strict=True):
        k = int(np.argmax(np.abs(c.real) * (np.abs(c.imag) <= 1e-12 * np.abs(c).max())))
        v = v / mp.sqrt(mp.re(inner(v, v)))
        found.append(v / phase(v[k]) * mp.sign(float(c[k].real)))
    return [w, beside(found)]


def gram_schmidt(columns: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for x in columns:
        for _ in range(2):
            for q in found:
                x = x - q * inner(q, x)
        found.append(x / mp.sqrt(mp.re(inner(x, x))))
    return found


def exact_qr(a: Any, model: Sequence[Any]) -> Sequence[Any]:
    """R has the diagonal signs of the model."""
    k = min(a.rows, a.cols)
    q = beside([x * mp.sign(float(np.real(model[1][j, j]))) for j, x in enumerate(gram_schmidt(columns_of(a)[:k]))])
    return [q, q.H * a]


def exact_schur(a: Any, model: Sequence[Any]) -> Sequence[Any]:
    """By the eigenvectors in the order of the model."""
    _, vectors = spectrum(a, np.diagonal(model[0]))
    z = beside(in_phase(gram_schmidt(vectors), model[1]))
    return [z.H * a * z, z]


def exact_lu(a: Any, model: Sequence[Any]) -> Sequence[Any]:
    """For the permutation of the model."""
    u, m, n = exact(model[0]).T * a, a.rows, a.cols
    lower = mp.eye(m)
    for k in range(min(m, n)):
        for i in range(k + 1, m):
            lower[i, k] = u[i, k] / u[k, k]
            for j in range(n):
                u[i, j] -= lower[i, k] * u[k, j]
    return [lower, u]


def exact_ldl(a: Any, model: Sequence[Any]) -> Sequence[Any]:
    """For the permutation and the blocks of the model."""
    order, blocks = [int(k) for k in model[2]], np.asarray(model[1])
    n = a.rows
    rest, lower, d = mp.matrix([[a[i, j] for j in order] for i in order]), mp.eye(n), mp.zeros(n)
    k = 0
    while k < n:
        size = 2 if k + 1 < n and blocks[k + 1, k] != 0 else 1
        block = rest[k : k + size, k : k + size]
        d[k : k + size, k : k + size] = block
        if k + size < n:
            part = rest[k + size : n, k : k + size] * mp.inverse(block)
            lower[k + size : n, k : k + size] = part
            rest[k + size : n, k + size : n] = rest[k + size : n, k + size : n] - part * block * part.H
        k += size
    back = sorted(range(n), key=lambda i: order[i])
    return [mp.matrix([[lower[i, j] for j in range(n)] for i in back]), d]


def of_spectrum(f: Callable[[Any], Any]) -> Callable[[Any, Sequence[Any]], Sequence[Any]]:
    """The function of a matrix with different eigenvalues."""

    def of_matrix(a: Any, model: Sequence[Any]) -> Sequence[Any]:
        w, v = mp.eig(a)
        return [v * mp.diag([f(x) for x in w]) * mp.inverse(v)]

    return of_matrix


SIDES = np.random.default_rng(3).normal(size=(6, 2))


def left_inverse(a: Any) -> Any:
    return mp.inverse(a.H * a) * a.H


def right_inverse(a: Any) -> Any:
    return a.H * mp.inverse(a * a.H)


CASES = {
    "det": Case(cnp.linalg.det, lambda a, m: [[mp.det(a)]]),
    "inv": Case(cnp.linalg.inv, lambda a, m: [mp.inverse(a)]),
    "solve": Case(lambda a: cnp.linalg.solve(a, SIDES[: a.shape[0]]), lambda a, m: [mp.inverse(a) * exact(SIDES[: a.rows])]),
    "lu": Case(ours.lu, lambda a, m: [exact(m[0]), *exact_lu(a, m)]),
    "ldl": Case(ours.ldl, exact_ldl, "hermitian"),
    "cholesky": Case(cnp.linalg.cholesky, lambda a, m: [mp.cholesky(a)], "positive"),
    "qr": Case(cnp.linalg.qr, exact_qr),
    "qr, tall": Case(cnp.linalg.qr, exact_qr, shape=(1, 0)),
    "qr, wide": Case(cnp.linalg.qr, exact_qr, shape=(0, 1)),
    "eigh": Case(cnp.linalg.eigh, exact_eigh, "hermitian"),
    "svd": Case(cnp.linalg.svd, exact_svd),
    "svd, tall": Case(lambda a: cnp.linalg.svd(a, full_matrices=False), exact_svd, shape=(1, 0)),
    "eig": Case(cnp.linalg.eig, exact_eig, "apart"),
    "schur": Case(ours.schur, exact_schur, "right"),
    "sqrtm": Case(ours.sqrtm, of_spectrum(mp.sqrt), "right"),
    "logm": Case(ours.logm, of_spectrum(mp.log), "right"),
    "expm": Case(ours.expm, of_spectrum(mp.exp)),
    "fractional power": Case(lambda a: ours.fractional_matrix_power(a, 0.3), of_spectrum(lambda x: x ** mp.mpf(0.3)), "right"),
    "pinv": Case(cnp.linalg.pinv, lambda a, m: [left_inverse(a)], shape=(1, 0)),
    "pinv, wide": Case(ours.pinv, lambda a, m: [right_inverse(a)], shape=(0, 1)),
    "lstsq": Case(lambda a: ours.lstsq(a, SIDES[: a.shape[0]])[0], lambda a, m: [left_inverse(a) * exact(SIDES[: a.rows])], shape=(1, 0)),
}


# ---- matrices --------------------------------------------------------------------------------------------------------------------------
def matrix(kind: str, shape: tuple[int, int], is_complex: bool, graded: bool, seed: int = 0) -> Any:
    rng = np.random.default_rng([seed, *shape])
    x = rng.normal(size=shape) + (1j * rng.normal(size=shape) if is_complex else 0)
    if kind in ("hermitian", "positive"):
        x = x + x.conj().T
    m, n = shape
    if kind == "positive":
        x = x + (2 + np.abs(x).sum()) * np.eye(n)
    if kind == "apart":
        x = x / 4 + np.diag(2.0 * np.arange(n) - 1)
    if kind == "right":
        x = x / 8 + np.diag(1.0 + np.arange(n))
    if graded:
        x = 10.0 ** (-2.0 * np.arange(m))[:, None] * x * 10.0 ** (-2.0 * np.arange(n))
    return x


def elements(kind: str, shape: tuple[int, int], is_complex: bool) -> list[Any]:
    """A basis of the matrices of this kind, over the real numbers."""
    found = []
    for at in product(*map(range, shape)):
        for unit in (1, 1j) if is_complex else (1,):
            e = np.zeros(shape, complex if is_complex else float)
            e[at] = unit
            if kind in ("hermitian", "positive"):
                e = e + e.conj().T if at[0] > at[1] else e if at[0] == at[1] and unit == 1 else 0 * e
            if e.any():
                found.append(e)
    return found


# ---- the law ---------------------------------------------------------------------------------------------------------------------------
def listed(results: Any) -> list[Any]:
    return list(results) if isinstance(results, tuple | list) else [results]


def flat(results: Sequence[Any]) -> Any:
    """All elements of exact results."""
    return np.array([z for y in results for z in (y if isinstance(y, list) else [y[i, j] for i in range(y.rows) for j in range(y.cols)])])


def largest(x: Any, counts: Sequence[int]) -> Any:
    """For each element, the largest absolute value in its result; the results have so many elements."""
    parts = np.split(sizes(x), np.cumsum(counts)[:-1])
    return np.concatenate([np.full(len(part), part.max(initial=0)) for part in parts])


def sizes(x: Any) -> Any:
    """Absolute values as floats."""
    return np.array([float(abs(z)) for z in x])


def check(name: str, a: Any, is_complex: bool) -> None:
    case = CASES[name]
    basis = elements(case.kind, a.shape, is_complex)
    rng = np.random.default_rng(5)
    e = sum(rng.normal() * g for g in basis)
    inexact = lambda a: [y for y in listed(case.function(a)) if y.dtype.kind in "fc"]  # noqa: E731
    model = [np.asarray(y) for y in listed(case.function(a))]
    with mp.workdps(DIGITS):
        h, at, along = mp.mpf(STEP), exact(a), exact(e)

        def f(x: Any) -> Any:
            return flat(case.exact(x, model))

        value, moved = f(at), f(at + h * along)
        derivative = (moved - f(at - h * along)) / (2 * h)
        norm, bound, bound_of_slope = np.linalg.norm(a, 2), np.zeros(len(value)), np.zeros(len(value))
        for g in map(exact, basis):
            other = f(at + h * g)
            bound += norm * sizes((other - value) / h)
            bound_of_slope += norm * sizes((f(at + h * along + h * g) - moved - other + value) / (h * h))
        counts = [y.size for y in model if y.dtype.kind in "fc"]
        bound, bound_of_slope = bound + largest(value, counts), bound_of_slope + largest(derivative, counts)
        for run in (cotan.jvp, cotan.jit(lambda f, x, dx: cotan.jvp(f, x, dx), static_argnums=0)):
            for found, right, limit in zip(run(inexact, (a,), (e,)), (value, derivative), (bound, bound_of_slope), strict=True):
                numbers = np.concatenate([np.asarray(y).ravel() for y in found])
                wrong = sizes([mp.mpmathify(complex(y)) - z for y, z in zip(numbers, right, strict=True)])
                excess = wrong / (np.finfo(float).eps * limit + 1e-300)
                assert np.all(excess <= ROUNDINGS), f"{name}: {excess.max():.3g} roundings"


def points() -> Any:
    for name, case in CASES.items():
        for n, is_complex, graded in product((2, 3, 4), (False, True), (False, True)):
            if name == "expm" and graded:
                continue  # no scale of rows is left
            fast = (n == 2 and not graded) or (n == 3 and graded and not is_complex)
            mark = [] if fast else [pytest.mark.exhaustive]
            label = f"{name}-{n}-{'complex' if is_complex else 'real'}{'-graded' if graded else ''}"
            yield pytest.param(
                name, matrix(case.kind, (n + case.shape[0], n + case.shape[1]), is_complex, graded), is_complex, marks=mark, id=label
            )


@pytest.mark.parametrize(("name", "a", "is_complex"), list(points()))
def test_values_and_derivatives_have_the_digits_that_the_condition_leaves(name: str, a: Any, is_complex: bool) -> None:
    check(name, a, is_complex)


def test_small_elements_of_vectors_of_small_values_are_right() -> None:
    """The singular values 8e-9 and 4e-12 of a norm of 4 are so near that a limit is tried. Vectors have none; their tangents are large."""
    case = CASES["svd, tall"]
    a, e = matrix(case.kind, (5, 4), False, True), np.random.default_rng(5).normal(size=(5, 4))
    for run in (case.function, cotan.jit(case.function)):
        model, tangents = cotan.jvp(run, (a,), (e,))
        with mp.workdps(DIGITS):
            h, at, along = mp.mpf(STEP), exact(a), exact(e)
            steps = [flat(case.exact(at + sign * h * along, model)) for sign in (1, -1)]
            right = np.array([float(z) for z in (steps[0] - steps[1]) / (2 * h)])
        np.testing.assert_allclose(np.concatenate([y.ravel() for y in tangents]), right, rtol=1e-6)
