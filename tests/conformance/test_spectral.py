"""The pseudo-inverse and the nuclear norm of a matrix: derivatives to third order, be singular values equal, dropped or zero."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp

from .calculus import pair
from .test_derivatives import assert_close

rng = np.random.default_rng(0)


def with_values(m, n, *values, dtype=float):
    """A matrix with these singular values."""
    left, right = (np.linalg.qr(normal((k, k), dtype))[0] for k in (m, n))
    return left[:, : len(values)] @ np.diag(values).astype(dtype) @ right[: len(values)]


def normal(shape, dtype=float):
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x


POINTS = {
    "identity": (np.eye(3), {}),
    "a permutation": (2.0 * np.eye(4)[[2, 0, 3, 1]], {}),
    "a rotation": (np.array([[0.6, -0.8], [0.8, 0.6]]), {}),
    "tall": (normal((5, 3)), {}),
    "wide": (normal((3, 6)), {}),
    "an orthogonal design": (np.linalg.qr(normal((6, 3)))[0], {}),
    "one column": (normal((4, 1)), {}),
    "one row": (normal((1, 3)), {}),
    "complex": (normal((3, 3), complex), {}),
    "complex, equal values": (with_values(2, 4, 1.5, 1.5, dtype=complex), {}),
    "complex, tall": (normal((4, 2), complex), {}),
    "some dropped": (with_values(5, 4, 3.0, 2.0, 0.3, 0.1), {"rcond": 0.3}),
    "some dropped, equal": (with_values(4, 5, 2.0, 2.0, 0.3, 0.3), {"rtol": 0.3}),
    "rank two, wide limit": (with_values(5, 4, 2.0, 2.0), {"rtol": 0.3}),
    "rank two, wide limit, transposed": (with_values(4, 5, 3.0, 2.0), {"rcond": 0.3}),
    "hermitian": (normal((4, 4)), {"hermitian": True}),
    "hermitian, complex": (normal((3, 3), complex), {"hermitian": True}),
    "a stack": (normal((2, 3, 3)), {}),
    "a stack with a limit for each": (np.stack([np.eye(3), np.diag([2.0, 1.0, 0.01])]), {"rcond": np.array([1e-15, 0.1])}),
    "zero": (np.zeros((2, 3)), {}),
}
AT = [pytest.param(a, options, id=name) for name, (a, options) in POINTS.items()]


def along(f, a, e):
    """The derivative of f along e by central differences of sixth order."""
    h = 2e-3

    def step(k):
        return np.asarray(f(a + k * h * e)) - np.asarray(f(a - k * h * e))

    return (45 * step(1) - 9 * step(2) + step(3)) / (60 * h)


@pytest.mark.parametrize(("a", "options"), AT)
def test_values_are_those_of_numpy(a, options):
    expected = np.linalg.pinv(a, **options)
    for found in (cotan.jit(lambda x: cnp.linalg.pinv(x, **options))(a), cotan.jvp(lambda x: cnp.linalg.pinv(x, **options), (a,), (a,))[0]):
        np.testing.assert_allclose(found, expected, atol=1e-13 * max(1, np.max(abs(expected))))


@pytest.mark.parametrize(("a", "options"), [p for p in AT if p.id != "zero"])
def test_derivatives_to_third_order_are_those_of_differences(a, options):
    f = lambda x: cnp.linalg.pinv(x, **options)  # noqa: E731
    e1, e2, e3 = (normal(a.shape, a.dtype) for _ in range(3))
    first = lambda x: cotan.jvp(f, (x,), (e1,))[1]  # noqa: E731
    second = lambda x: cotan.jvp(first, (x,), (e2,))[1]  # noqa: E731
    third = lambda x: cotan.jvp(second, (x,), (e3,))[1]  # noqa: E731
    for low, high, e in ((f, first, e1), (first, second, e2), (second, third, e3)):
        expected = along(low, a, e)
        assert_close([np.asarray(high(a))], [expected], rtol=1e-6 * max(1.0, np.max(abs(expected))))
        np.testing.assert_allclose(cotan.jit(high)(a), high(a), rtol=1e-10, atol=1e-11 * np.max(abs(expected)))


@pytest.mark.parametrize(("a", "options"), [p for p in AT if p.id != "zero"])
def test_both_modes_agree_to_second_order(a, options):
    f = lambda x: cnp.linalg.pinv(x, **options)  # noqa: E731
    e1, e2 = (normal(a.shape, a.dtype) for _ in range(2))
    w = normal(np.swapaxes(a, -1, -2).shape, a.dtype)
    forward = lambda x: cotan.jvp(f, (x,), (e1,))[1]  # noqa: E731
    backward = lambda x: cotan.vjp(f, x)[1](w)[0]  # noqa: E731
    assert pair([backward(a)], [e1]) == pytest.approx(pair([w], [forward(a)]), rel=1e-10)
    second = pair([w], [cotan.jvp(forward, (a,), (e2,))[1]])
    assert pair([cotan.jvp(backward, (a,), (e2,))[1]], [e1]) == pytest.approx(second, rel=1e-9)
    assert pair(cotan.vjp(forward, a)[1](w), [e2]) == pytest.approx(second, rel=1e-9)
    assert pair(cotan.vjp(backward, a)[1](e1), [e2]) == pytest.approx(second, rel=1e-9)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_low_rank_has_the_derivative_at_constant_rank(rank):
    """Golub & Pereyra (1973), and the differences along a path of constant rank."""
    x, y, dx, dy = normal((30, rank)), normal((rank, 30)), normal((30, rank)), normal((rank, 30))
    a, da, p = x @ y, dx @ y + x @ dy, np.linalg.pinv(x @ y, rtol=1e-12)
    one = np.eye(30)
    expected = -p @ da @ p + p @ p.T @ da.T @ (one - a @ p) + (one - p @ a) @ da.T @ p.T @ p
    size = np.max(abs(expected))
    f = lambda a: cnp.linalg.pinv(a, rtol=1e-12)  # noqa: E731
    np.testing.assert_allclose(cotan.jvp(f, (a,), (da,))[1], expected, atol=1e-10 * size)
    path = lambda t: np.linalg.pinv((x + t * dx) @ (y + t * dy), rtol=1e-10)  # noqa: E731
    np.testing.assert_allclose(
        cotan.jvp(lambda t: f((x + t * dx) @ (y + t * dy)), (0.0,), (1.0,))[1], along(path, 0.0, 1.0), atol=1e-6 * size
    )


def test_vmap_and_jacobians():
    a = np.stack([np.eye(3), np.diag([1.0, 1.0, 2.0]), normal((3, 3))])
    expected = np.stack([cotan.jacrev(cnp.linalg.pinv)(x) for x in a])
    np.testing.assert_allclose(cotan.vmap(cotan.jacfwd(cnp.linalg.pinv))(a), expected, atol=1e-12)
    np.testing.assert_allclose(cotan.jit(cotan.vmap(cotan.jacrev(cnp.linalg.pinv)))(a), expected, atol=1e-12)
    inverse = np.stack([-np.einsum("ik,lj->ijkl", p, p) for p in map(np.linalg.inv, a)])
    np.testing.assert_allclose(expected, inverse, atol=1e-10 * np.max(abs(inverse)))


def test_default_limits_are_those_of_numpy():
    a = np.diag([1.0, 3e-16, 1e-14])
    for options in ({}, {"rtol": None}, {"rtol": 1e-13}, {"rcond": 1e-15}):
        np.testing.assert_allclose(cotan.jit(lambda x, o=options: cnp.linalg.pinv(x, **o))(a), np.linalg.pinv(a, **options))
    with pytest.raises(cotan.errors.ArgumentError, match="one thing"):
        cotan.jit(lambda x: cnp.linalg.pinv(x, 1e-3, rtol=1e-3))(a)
    assert cotan.jit(cnp.linalg.pinv)(np.zeros((0, 2))).shape == (2, 0)


def test_a_limit_may_be_traced():
    a = with_values(4, 3, 2.0, 1.0, 0.1)
    for limit in (1e-3, 0.3):
        np.testing.assert_allclose(cotan.jit(cnp.linalg.pinv)(a, limit), np.linalg.pinv(a, limit), atol=1e-12)
        value, grad = cotan.value_and_grad(lambda c, limit=limit: cnp.sum(cnp.linalg.pinv(a, c) ** 2))(limit)
        assert (value, grad) == (pytest.approx(np.sum(np.linalg.pinv(a, limit) ** 2)), 0.0)


def test_strict_differentiation_refuses_a_rank_that_is_not_full():
    loss = lambda x: cnp.sum(cnp.linalg.pinv(x))  # noqa: E731
    np.testing.assert_allclose(cotan.grad(loss, strict=True)(np.eye(3)), -np.ones((3, 3)))
    with pytest.raises(cotan.errors.SingularPointError, match="pseudo_inverse"):
        cotan.grad(loss, strict=True)(np.ones((2, 2)))


# ---- the sum of singular values --------------------------------------------------------------------------------------------------
NUCLEAR = {
    "identity": np.eye(3),
    "a rotation": np.array([[0.6, -0.8], [0.8, 0.6]]),
    "any": normal((3, 3)),
    "tall": normal((5, 3)),
    "wide": normal((2, 4)),
    "an orthogonal design": 2.0 * np.linalg.qr(normal((5, 2)))[0],
    "complex": normal((3, 3), complex),
    "complex, equal values": with_values(2, 4, 1.5, 1.5, dtype=complex),
    "a stack": normal((2, 3, 2)),
}


@pytest.mark.parametrize("a", [pytest.param(a, id=name) for name, a in NUCLEAR.items()])
def test_the_nuclear_norm_is_differentiated_right_to_third_order(a):
    f = lambda x: cnp.linalg.norm(x, "nuc", axis=(-2, -1))  # noqa: E731
    e1, e2, e3 = (normal(a.shape, a.dtype) for _ in range(3))
    first = lambda x: cotan.jvp(f, (x,), (e1,))[1]  # noqa: E731
    second = lambda x: cotan.jvp(first, (x,), (e2,))[1]  # noqa: E731
    third = lambda x: cotan.jvp(second, (x,), (e3,))[1]  # noqa: E731
    for low, high, e in ((f, first, e1), (first, second, e2), (second, third, e3)):
        expected = along(low, a, e)
        assert_close([np.asarray(high(a))], [expected], rtol=1e-7 * max(1.0, np.max(abs(expected))))
        np.testing.assert_allclose(cotan.jit(high)(a), high(a), rtol=1e-9, atol=1e-11)
    w = np.asarray(normal(a.shape[:-2]))
    backward = lambda x: cotan.vjp(f, x)[1](w)[0]  # noqa: E731
    assert pair([backward(a)], [e1]) == pytest.approx(pair([w], [first(a)]), rel=1e-10)
    expected = pair([w], [second(a)])
    assert pair([cotan.jvp(backward, (a,), (e2,))[1]], [e1]) == pytest.approx(expected, rel=1e-9)
    assert pair(cotan.vjp(first, a)[1](w), [e2]) == pytest.approx(expected, rel=1e-9)
    assert pair(cotan.vjp(backward, a)[1](e1), [e2]) == pytest.approx(expected, rel=1e-9)


def test_singular_values_of_zero_have_no_part_in_the_gradient_of_the_nuclear_norm():
    a = with_values(4, 3, 2.0, 2.0)
    u, _, vh = np.linalg.svd(a)
    f = lambda x: cnp.linalg.norm(x, "nuc")  # noqa: E731
    exact = np.diag([2.0, 2.0, 0.0])
    np.testing.assert_allclose(cotan.grad(f)(exact), np.diag([1.0, 1.0, 0.0]), atol=1e-15)
    np.testing.assert_allclose(np.tensordot(cotan.grad(f)(a), a), 4.0)
    np.testing.assert_allclose(u[:, :2].T @ cotan.grad(f)(a) @ vh[:2].T, np.eye(2), atol=1e-12)
    with pytest.raises(cotan.errors.SingularPointError, match="nuclear_norm"):
        cotan.grad(f, strict=True)(exact)
    np.testing.assert_allclose(cotan.grad(f, strict=True)(np.eye(3)), np.eye(3))
