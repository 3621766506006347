"""Cofactors from the inverse where it is accurate, and from singular values elsewhere; products of others by a quotient where it is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
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
