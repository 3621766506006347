"""Cofactors from the inverse where it is accurate, else by complete pivoting; products of others by a quotient where it is one."""

from __future__ import annotations

import math
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.ops.complete_pivoting import complete_lu
from cotan.ops.determinant import Cofactors
from cotan.ops.running import ProductOfOthers


def minors(a: Any) -> Any:
    """The cofactors, each by the determinant of a smaller matrix."""
    n = len(a)
    return np.array([[(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(n)] for i in range(n)])


def regular(n: int, dtype: Any = float) -> Any:
    rng = np.random.default_rng(n)
    a = rng.normal(size=(n, n)) + 3.0 * np.eye(n)
    return (a + 1j * rng.normal(size=(n, n)) if np.dtype(dtype).kind == "c" else a).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_cofactors_of_a_regular_matrix(dtype: str) -> None:
    a = regular(7, dtype)
    found = Cofactors()(a)
    assert found.dtype == a.dtype
    np.testing.assert_allclose(found, minors(a.astype("complex128")), rtol=0, atol=np.abs(found).max() * 40 * np.finfo(dtype).eps)


def singular() -> dict[str, Any]:
    a = regular(7)
    low_rank = a.copy()
    low_rank[3] = 2.0 * low_rank[1]
    nearly = low_rank.copy()
    nearly[3] += 1e-9 * a[3]
    return {"zero": np.zeros((7, 7)), "of rank 6": low_rank, "nearly singular": nearly, "tiny": 1e-46 * a, "huge": 1e46 * a}


@pytest.mark.parametrize("name", singular())
def test_cofactors_of_other_matrices(name: str) -> None:
    a = singular()[name]
    want = minors(a)
    np.testing.assert_allclose(Cofactors()(a), want, rtol=0, atol=1e-12 * np.abs(want).max())


def test_one_singular_matrix_leaves_the_others_of_its_stack_right() -> None:
    a = np.stack([regular(7), singular()["of rank 6"]])
    gradient = cotan.vmap(cotan.grad(cnp.linalg.det))(a)
    for one, matrix in zip(gradient, a, strict=True):
        np.testing.assert_allclose(one, minors(matrix), rtol=0, atol=1e-11 * np.abs(minors(matrix)).max())


def test_eager_and_compiled_logarithms_of_determinants_have_one_derivative() -> None:
    for a in (regular(4), regular(6, complex), np.stack([regular(3), 2.0 * regular(3)])):

        def f(a: Any) -> Any:
            return cnp.sum(cnp.linalg.slogdet(a)[1])

        want = np.conj(np.swapaxes(np.linalg.inv(a), -1, -2)).conj()
        for gradient in (cotan.grad(f), cotan.jit(cotan.grad(f))):
            np.testing.assert_allclose(gradient(a), want, rtol=1e-12, atol=1e-13)
        cotan.testing.check_grads(f, (a,), order=2)


@pytest.mark.parametrize(
    "x",
    [
        [2.0, -3.0, 0.5],
        [2.0, 0.0, 3.0],
        [0.0, 0.0, 3.0],
        [1e-300, 1e-300, 2.0],
        [1e300, 1e300, 2.0],
        [1e-200, 1e-150, 1e300, 3.0],
        [1.1e-160, 1.3e-160, 1.7e300],
        [5e-324, 2.0, 4.0],
        [np.inf, 2.0, 0.0],
        [np.nan, 2.0, 3.0],
        [1.0],
        [],
    ],
)
def test_products_of_others(x: list[float]) -> None:
    with np.errstate(all="ignore"):
        want = [np.prod(x[:k]) * np.prod(x[k + 1 :]) for k in range(len(x))]
    for gradient in (cotan.grad(cnp.prod), cotan.jit(cotan.grad(cnp.prod))):
        np.testing.assert_allclose(gradient(np.array(x)), want, rtol=1e-14)


LONG = 5001


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("size", [LONG - 1, LONG, 4 * LONG, 4 * LONG + 3])
def test_products_of_others_along_a_long_axis(size: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.lognormal(0.0, 0.01, size=(2, size)) * rng.choice([-1.0, 1.0], size=(2, size)).astype(dtype)
    for axis, rows in ((1, x), (0, x.T)):
        want = np.prod(rows, axis, keepdims=True) / rows
        np.testing.assert_allclose(ProductOfOthers(axis)(rows), want, rtol=1e-12)


@pytest.mark.parametrize("size", [LONG, 4 * LONG])
@pytest.mark.parametrize(("place", "number"), [(0, 0.0), (-1, 0.0), (7, np.inf), (LONG // 2, np.nan), (3, 5e-324)])
def test_a_number_that_is_not_normal_in_a_long_product(place: int, number: float, size: int) -> None:
    x = np.ones(size)
    x[place] = number
    want = np.full(size, number)
    want[place] = 1.0
    np.testing.assert_array_equal(cotan.grad(cnp.prod)(x), want)


@pytest.mark.parametrize("base", [2.0**40, 2.0**200, 2.0**500])
@pytest.mark.parametrize("signs", [(1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1)])
def test_parts_of_a_long_product_may_be_out_of_range(base: float, signs: tuple[int, ...]) -> None:
    """The quarters have products far out of range, and cancel."""
    x = np.ones(4 * LONG)
    for k, sign in enumerate(signs):
        x[k * LONG : k * LONG + 4] = base**sign
    with np.errstate(all="ignore"):
        want = np.array([np.prod(np.delete(x, k)) for k in range(0, 4 * LONG, LONG)])
    found = cotan.grad(cnp.prod)(x)[::LONG]
    regular = np.isfinite(want) & (want != 0)
    np.testing.assert_array_equal(found[regular], want[regular])


def test_a_long_product_whose_beginning_is_out_of_range() -> None:
    x = np.concatenate([np.full(2500, 2.0), np.full(2500, 0.5)])
    np.testing.assert_array_equal(cotan.grad(cnp.prod)(x), 1.0 / x)


def test_products_of_others_have_derivatives_of_every_order() -> None:
    for x in ([2.0, -3.0, 0.5, 4.0], [2.0, 0.0, 3.0, 0.0]):
        cotan.testing.check_grads(cnp.prod, (np.array(x),), order=3)
        cotan.testing.check_grads(ProductOfOthers(0), (np.array(x),), order=2)
    assert ProductOfOthers(1)(np.array([[2, 3, 0]])).tolist() == [[0, 0, 6]]


# ---- derivatives to third order against minors ------------------------------------------------------------------------------------------
def leibniz(a: Any) -> Any:
    """The determinant as a sum over permutations: exact for small integers."""
    n = len(a)
    total = a.dtype.type(0)
    for p in permutations(range(n)):
        total += sign_of(p) * np.prod(a[range(n), p])
    return total


def sign_of(p: Any) -> int:
    return (-1) ** sum(p[i] > p[j] for i, j in combinations(range(len(p)), 2))


def derivative_of_det(a: Any, order: int) -> Any:
    """By all elements: the minor without their rows and columns, with the sign of its expansion; 0 if two are in one row or column."""
    n, shape = len(a), (len(a), len(a)) * order
    found = np.zeros(shape, a.dtype)
    minors = {
        (r, c): (-1) ** (sum(r) + sum(c)) * leibniz(np.delete(np.delete(a, r, 0), c, 1))
        for r in combinations(range(n), order)
        for c in combinations(range(n), order)
    }
    for rows in permutations(range(n), order):
        for columns in permutations(range(n), order):
            at = tuple(k for pair in zip(rows, columns, strict=True) for k in pair)
            found[at] = sign_of(rows) * sign_of(columns) * minors[tuple(sorted(rows)), tuple(sorted(columns))]
    return found


def derivative(f: Any, order: int, holomorphic: bool) -> Any:
    """The tensor of a derivative, by reverse and then by forward mode."""
    for k in range(order):
        f = (cotan.jacfwd if k else cotan.jacrev)(f, holomorphic=holomorphic)
    return f


def integers_of_rank(n: int, kind: str) -> dict[str, Any]:
    """Matrices of small integers, of each rank from n down to n - 2, with zeros in all places and in some."""
    rng = np.random.default_rng(n)

    def draw(*shape: int) -> Any:
        x = rng.integers(-3, 4, size=shape).astype(float)
        return x + 1j * rng.integers(-3, 4, size=shape) if kind == "complex" else x

    some = draw(n, n)
    some[0], some[:, n - 1] = 0, 0
    lower = {f"rank {r}": draw(n, r) @ draw(r, n) for r in (n - 1, n - 2) if r > 0}
    return {"regular": draw(n, n), **lower, "zero": np.zeros((n, n)) * draw(n, n), "zero in a row": some, "diagonal": np.diag(draw(n))}


def scalings(n: int) -> dict[str, tuple[Any, Any]]:
    """Powers of two for rows and columns: of all of the matrix, of the rows, of the columns, of both."""
    k = np.arange(n)
    return {
        "none": (0 * k, 0 * k),
        "huge": (0 * k + 498 // n, 0 * k),
        "tiny": (0 * k - 498 // n, 0 * k),
        "rows": (-40 * k, 0 * k),
        "columns": (0 * k, 40 * k),
        "both": (30 * k, -30 * k[::-1]),
    }


def times_power(x: Any, exponent: Any) -> Any:
    """x 2^exponent, exactly."""
    return np.ldexp(x.real, exponent) + (1j * np.ldexp(x.imag, exponent) if np.iscomplexobj(x) else 0)


def exponents(rows: Any, columns: Any, order: int) -> Any:
    """The powers of two that the derivatives of the determinant of a scaled matrix have, by all elements."""
    n = len(rows)
    found = np.full((n, n) * order, np.sum(rows + columns))
    for k in range(order):
        at = [1] * (2 * order)
        at[2 * k], at[2 * k + 1] = n, n
        found = found - np.reshape(rows[:, None] + columns, at)
    return found


SLOW = pytest.mark.exhaustive
SIZES = [pytest.param(n, kind, marks=[SLOW] if n == 5 else []) for n in range(1, 6) for kind in ("real", "complex")]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("n", "kind"), SIZES)
def test_derivatives_of_a_determinant_are_signed_minors_at_every_rank_and_scale(n: int, kind: str, order: int) -> None:
    """The error is some roundings of the terms, products of elements, also where rows and columns are of unlike scales."""
    f = derivative(cnp.linalg.det, order, kind == "complex")
    compiled = cotan.jit(f)
    for name, a in integers_of_rank(n, kind).items():
        want = derivative_of_det(a, order)
        terms = math.factorial(max(n - order, 0)) * np.max(np.abs(a)) ** max(n - order, 0)
        for scaling, (rows, columns) in scalings(n).items():
            scaled = times_power(a, rows[:, None] + columns)
            back = exponents(rows, columns, order)
            for g in (f, compiled):
                found = times_power(np.asarray(g(scaled)), -back)
                assert np.all(np.abs(found - want) <= 1e-14 * terms), (name, scaling)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("n", "kind"), [(6, "real"), (6, "complex"), pytest.param(7, "real", marks=[SLOW])])
def test_derivatives_of_larger_determinants_are_signed_minors_at_every_rank_and_scale(n: int, kind: str, order: int) -> None:
    """By factors with complete pivoting, which have rows and columns of unlike scales to rounding; singular vectors have not."""
    f = derivative(cnp.linalg.det, order, kind == "complex")
    compiled = cotan.jit(f)
    for name, a in integers_of_rank(n, kind).items():
        want, terms = derivative_of_det(a, order), math.factorial(n - order) * np.max(np.abs(a)) ** (n - order)
        for scaling, (rows, columns) in scalings(n).items():
            back = exponents(rows, columns, order)
            for g in (f, compiled):
                found = times_power(np.asarray(g(times_power(a, rows[:, None] + columns))), -back)
                assert np.all(np.abs(found - want) <= 1e-13 * terms), (name, scaling)


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_complete_pivoting_reveals_the_rank_and_gives_the_matrix_back(kind: str) -> None:
    for name, a in integers_of_rank(6, kind).items():
        stack = np.stack([a, 2.0**-60 * a, np.diag(2.0 ** (30 * np.arange(6))) @ a, a.T, 3 * a])
        few = [np.concatenate(both) for both in zip(complete_lu(stack[:3]), complete_lu(stack[3:]), strict=True)]
        for packed, sign, rows, columns, row_places, column_places in (few, complete_lu(stack), cotan.jit(complete_lu)(stack)):
            for k, x in enumerate(stack):
                lower, d = np.tril(packed[k], -1) + np.eye(6), np.diag(packed[k])
                upper = np.triu(packed[k], 1) + np.eye(6)
                given = x[rows[k]][:, columns[k]]
                np.testing.assert_allclose(lower * d @ upper, given, rtol=0, atol=1e-14 * np.abs(x).max() * 6, err_msg=name)
                assert max(np.abs(lower).max(), np.abs(upper).max()) == 1
                np.testing.assert_array_equal(rows[k][row_places[k]], np.arange(6))
                np.testing.assert_array_equal(columns[k][column_places[k]], np.arange(6))
                assert sign[k] == sign_of(rows[k]) * sign_of(columns[k])
                if name == "zero":
                    assert not d.any()


def of_logarithm(a: Any, order: int) -> Any:
    """The derivative of log det by all elements: -1 times itself for each further order, products of the inverse."""
    inverse = np.linalg.inv(a).T
    if order == 1:
        return inverse
    if order == 2:
        return -np.einsum("il,kj->ijkl", inverse, inverse)
    return np.einsum("il,kn,mj->ijklmn", inverse, inverse, inverse) + np.einsum("in,kj,ml->ijklmn", inverse, inverse, inverse)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_derivatives_of_the_logarithm_of_a_determinant_at_every_scale(n: int) -> None:
    a = integers_of_rank(n, "real")["regular"] + 5 * np.eye(n)
    for order in (1, 2, 3):
        f = derivative(lambda a: cnp.linalg.slogdet(a)[1], order, False)
        want = of_logarithm(a, order)
        for rows, columns in scalings(n).values():
            back = np.zeros(want.shape, int)
            for k in range(order):
                at = [1] * (2 * order)
                at[2 * k], at[2 * k + 1] = n, n
                back = back - np.reshape(rows[:, None] + columns, at)
            if np.abs(back).max() > 1000:
                continue  # out of range
            for g in (f, cotan.jit(f)):
                found = times_power(np.asarray(g(times_power(a, rows[:, None] + columns))), -back)
                np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-13 * np.abs(want).max())


def test_the_logarithm_of_a_singular_determinant_has_no_derivative() -> None:
    f = cotan.grad(lambda a: cnp.linalg.slogdet(a)[1])
    for a in (np.zeros((2, 2)), np.diag([1.0, 0.0, 2.0])):
        for g in (f, cotan.jit(f)):
            assert np.isnan(g(a)).all()


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("n", [2, 3, 4, 5, 7])
def test_second_derivatives_of_regular_determinants_are_jaxs(n: int, kind: str) -> None:
    """JAX's are right at regular matrices, whose determinants it divides by."""
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(n)
    a = rng.normal(size=(n, n)) + (1j * rng.normal(size=(n, n)) if kind == "complex" else 0)
    es = [rng.normal(size=(n, n)) + 0 * a for _ in range(3)]

    def along(jvp: Any, det: Any) -> list[Any]:
        first = lambda x: jvp(det, (x,), (es[0],))[1]  # noqa: E731
        second = lambda x: jvp(first, (x,), (es[1],))[1]  # noqa: E731
        return [first(a), second(a), jvp(second, (a,), (es[2],))[1]]

    np.testing.assert_allclose(along(cotan.jvp, cnp.linalg.det), along(jax.jvp, jax.numpy.linalg.det), rtol=1e-9)
