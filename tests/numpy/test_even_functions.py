"""Even functions of norms and magnitudes have their second derivatives at 0: in all pairs of modes, compiled or not, row by row."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import special
from cotan.errors import SingularPointError

norm = cnp.linalg.norm
L = 1.7


def matern(nu, d):
    d = cnp.sqrt(2 * nu) * d / L
    return {
        1.5: lambda: (1 + d) * cnp.exp(-d),
        2.5: lambda: (1 + d + d**2 / 3) * cnp.exp(-d),
        3.5: lambda: (1 + d + 2 * d**2 / 5 + d**3 / 15) * cnp.exp(-d),
    }[nu]()


# The function of a distance, and twice the coefficient of its square in the Taylor series.
EVEN = {
    "cos": (cnp.cos, -1.0),
    "cosh": (cnp.cosh, 1.0),
    "log cosh": (lambda r: cnp.log(cnp.cosh(r)), 1.0),
    "r tanh r": (lambda r: r * cnp.tanh(r), 2.0),
    "sinc": (lambda r: cnp.sinc(r / np.pi), -1 / 3),
    "r^2.5 + r^2": (lambda r: r**2.5 + r**2, 2.0),
    "square": (lambda r: r**2, 2.0),
    "square of a multiple": (lambda r: (3 * r) ** 2 + (r / 2) ** 2, 18.5),
    "exp of the square": (lambda r: cnp.exp(-(r**2)), -2.0),
    "Matern 3/2": (lambda r: matern(1.5, r), -3 / L**2),
    "Matern 5/2": (lambda r: matern(2.5, r), -5 / 3 / L**2),
    "Matern 7/2": (lambda r: matern(3.5, r), -7 / 5 / L**2),
    "logistic bump": (lambda r: special.expit(r) * special.expit(-r), -1 / 8),
    "softplus sum": (lambda r: cnp.logaddexp(r, 0.0) + cnp.logaddexp(-r, 0.0), 0.5),
    "root of 1 + r^2": (lambda r: cnp.sqrt(1 + r**2), 1.0),
    "even quotient": (lambda r: (1 + r) / (1 + r + r**2 / 2), -1.0),
    "cosine of a fast phase": (lambda r: cnp.cos(1e3 * r), -1e6),
    "1 / cosh": (lambda r: 1 / cnp.cosh(r), -1.0),
    "cube": (lambda r: r**3 + 2 * r**2, 4.0),
    "2 - cos": (lambda r: 2.0 - cnp.cos(r), 1.0),
    "product of shifted": (lambda r: (1 + r) * (1 - r), -2.0),
    "logaddexp of both signs": (lambda r: cnp.logaddexp(r, -r), 1.0),
    "a power of both": (lambda r: (1 + r) ** (-r), -2.0),
    "i0": (cnp.i0, 0.5),
    "a leg of a triangle": (lambda r: cnp.hypot(1.0, r), 1.0),
    "r times an angle": (lambda r: r * cnp.arctan2(r, 1.0), 2.0),
    "magnitude of the root": (lambda r: cnp.cos(abs(r)) + cnp.cosh(cnp.fabs(r)) - cnp.cos(r), 1.0),
    "root of the root": (lambda r: cnp.sqrt(r) ** 4, 2.0),
    "in degrees": (lambda r: cnp.cos(cnp.deg2rad(180 / np.pi * r)), -1.0),
    "a diagonal": (lambda r: cnp.diagonal(cnp.reshape(r, (1, 1)))[0] ** 2 if r.ndim == 0 else r * r, 2.0),
    "outer product": (lambda r: cnp.sum(cnp.outer(r, r)) if r.ndim == 0 else r * r, 2.0),
}


def forward_forward(f):
    return cotan.jacfwd(cotan.jacfwd(f))


PAIRS = {
    "forward forward": forward_forward,
    "forward reverse": lambda f: cotan.jacfwd(cotan.grad(f)),
    "reverse forward": lambda f: cotan.jacrev(cotan.jacfwd(f)),
    "reverse reverse": lambda f: cotan.jacrev(cotan.grad(f)),
}
WAYS = {
    "at once": lambda second, f: second(f),
    "compiled": lambda second, f: cotan.jit(second(f)),
    "of a compiled function": lambda second, f: second(cotan.jit(f)),
    "of a compiled gradient": lambda second, f: cotan.jit(cotan.jacfwd(cotan.jit(cotan.grad(f)))),
    "on NumPy": lambda second, f: cotan.jit(second(f), engine="numpy"),
}
DISTANCES = {
    "norm": norm,
    "root of a product": lambda x: cnp.sqrt(x @ x),
    "root of a sum": lambda x: cnp.sqrt(cnp.sum(x * x)),
    "hypot": lambda x: cnp.hypot(x[0], x[1]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", EVEN)
def test_the_hessian_at_zero_is_that_of_the_even_function(name, pair, way):
    f, curvature = EVEN[name]
    h = WAYS[way](PAIRS[pair], lambda x: f(norm(x)))(np.zeros(2))
    np.testing.assert_allclose(h, curvature * np.eye(2), rtol=1e-9, atol=1e-9 * abs(curvature))


@pytest.mark.parametrize("distance", [name for name in DISTANCES if name != "norm"])
@pytest.mark.parametrize("name", EVEN)
def test_every_root_of_a_sum_of_squares_is_a_norm(name, distance):
    f, curvature = EVEN[name]
    if "root" in distance and name == "r^2.5 + r^2":
        pytest.skip("the derivative of the square root at 0 is infinite, and so is that of its odd powers")
    h = cotan.hessian(lambda x: f(DISTANCES[distance](x)))(np.zeros(2))
    np.testing.assert_allclose(h, curvature * np.eye(2), rtol=1e-9, atol=1e-9 * abs(curvature))


@pytest.mark.parametrize("name", EVEN)
def test_of_a_magnitude_and_in_float32(name):
    f, curvature = EVEN[name]
    second = cotan.grad(cotan.grad(lambda x: f(abs(x))))
    np.testing.assert_allclose(second(0.0), curvature, rtol=1e-9)
    np.testing.assert_allclose(second(np.float32(0)), curvature, rtol=1e-4)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EVEN)
def test_rows_of_which_some_are_zero(name, way):
    """Each row by itself, and all together under vmap, and as norms along an axis."""
    f, _ = EVEN[name]
    x = np.array([[0.0, 0.0], [0.3, -1.2], [0.0, 0.0], [2e-3, 1e-3]])
    one = WAYS[way](PAIRS["forward reverse"], lambda v: f(norm(v)))
    expected = np.array([one(v) for v in x])
    np.testing.assert_allclose(cotan.vmap(one)(x), expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    together = WAYS[way](PAIRS["forward reverse"], lambda v: cnp.sum(f(norm(v, axis=-1))))(x)
    np.testing.assert_allclose(np.einsum("aiaj->aij", together), expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("name", [name for name in EVEN if name not in ("Matern 3/2", "cube", "r^2.5 + r^2", "even quotient")])
@pytest.mark.parametrize("size", [1e-300, 1e-20, 1e-12, 1e-9, 1e-7])
def test_next_to_zero_the_hessian_is_nearly_the_same(name, size):
    """The chain rule divides f'(r) by r, and loses as many digits as r is small."""
    f, curvature = EVEN[name]
    if size == 1e-7 and "fast" in name:
        size = 1e-9
    x = size * np.array([0.6, -0.8])
    for h in (cotan.hessian(lambda v: f(norm(v))), cotan.jit(cotan.hessian(lambda v: f(norm(v))))):
        np.testing.assert_allclose(h(x), curvature * np.eye(2), rtol=1e-5, atol=1e-5 * abs(curvature))


def test_the_covariance_of_gradients_of_a_matern_process():
    a = np.array([0.3, -1.2])
    for k in (lambda x, y: matern(2.5, norm(x - y)), cotan.jit(lambda x, y: matern(2.5, norm(x - y)))):
        np.testing.assert_allclose(cotan.jacfwd(cotan.grad(k, 1), 0)(a, a), 5 / 3 / L**2 * np.eye(2), rtol=1e-12)


def test_a_length_scale_that_is_differentiated_too():
    f = lambda x, l: (1 + norm(x) / l) * cnp.exp(-norm(x) / l)  # noqa: E731
    h = cotan.hessian(f)(np.zeros(2), 2.0)
    np.testing.assert_allclose(h, -np.eye(2) / 4, rtol=1e-12)
    third = cotan.grad(lambda l: cotan.hessian(lambda x: f(x, l))(np.zeros(2))[0, 0])(2.0)
    np.testing.assert_allclose(third, 2 / 2.0**3, rtol=1e-12)


def test_a_distance_that_is_computed_twice_is_one():
    k = lambda x, y: (1 + np.sqrt(5.0) * abs(x - y) + 5 * (x - y) ** 2 / 3) * cnp.exp(-np.sqrt(5.0) * abs(x - y))  # noqa: E731
    for g in (k, cotan.jit(k)):
        for second in (cotan.grad(cotan.grad(g, 0), 1), cotan.jit(cotan.grad(cotan.grad(g, 0), 1)), cotan.jacfwd(cotan.jacfwd(g, 0), 1)):
            np.testing.assert_allclose(second(1.0, 1.0), 5 / 3, rtol=1e-9)
    f = lambda x: cnp.sqrt(x @ x) * cnp.exp(-(x @ x)) * cnp.sqrt(x @ x)  # noqa: E731
    np.testing.assert_allclose(cotan.hessian(f)(np.zeros(2)), 2 * np.eye(2))


def test_fourth_derivatives_are_those_of_the_series():
    f = lambda x: cnp.cos(norm(cnp.stack([x, 2 * x])))  # noqa: E731
    d4 = cotan.grad(cotan.grad(cotan.grad(cotan.grad(f))))
    np.testing.assert_allclose(d4(0.0), 25.0, rtol=1e-9)
    np.testing.assert_allclose(cotan.jit(d4)(0.0), 25.0, rtol=1e-9)


@pytest.mark.parametrize("f", [lambda r: cnp.exp(-r), cnp.sin, lambda r: r, lambda r: cnp.cos(r) + r])
def test_where_the_function_is_not_even_the_conventions_hold_and_strict_refuses(f):
    g = lambda x: f(norm(x))  # noqa: E731
    assert np.isfinite(cotan.hessian(g)(np.zeros(2))).all()
    np.testing.assert_array_equal(cotan.grad(g)(np.zeros(2)), np.zeros(2))
    with pytest.raises(SingularPointError):
        cotan.hessian(g, strict=True)(np.zeros(2))


def test_values_and_gradients_are_unchanged():
    rng = np.random.default_rng(0)
    for f, _ in EVEN.values():
        x = rng.normal(size=3)
        g = lambda v, f=f: f(norm(v))  # noqa: E731
        np.testing.assert_allclose(cotan.jit(g)(x), g(x), rtol=1e-13)
        np.testing.assert_allclose(cotan.jit(cotan.grad(g))(x), cotan.grad(g)(x), rtol=1e-9)
        np.testing.assert_array_equal(cotan.grad(g)(np.zeros(3)), np.zeros(3))


MOVES = {
    "an index": lambda r: r[1:],
    "an axis": lambda r: r[:, None] * np.array([1.0, 1.0]),
    "a reshape": lambda r: r.reshape(2, 2).T,
    "a broadcast": lambda r: cnp.broadcast_to(r, (3, 4))[:, ::-1],
    "axes": lambda r: cnp.expand_dims(cnp.squeeze(cnp.moveaxis(r[None, :], 0, 1)), 0),
    "weights of another shape": lambda r: r * np.ones((3, 1)),
    "flipped": cnp.flip,
}


@pytest.mark.parametrize("name", MOVES)
def test_roots_that_are_moved_are_still_roots(name):
    x = np.array([[0.0, 0.0], [0.3, -1.2], [0.0, 0.0], [2e-3, 1e-3]])
    f = lambda r: (1 + r) * cnp.exp(-r)  # noqa: E731
    whole = lambda x: cnp.sum(f(MOVES[name](norm(x, axis=-1))))  # noqa: E731
    count = np.asarray(cotan.grad(lambda r: cnp.sum(MOVES[name](r)))(np.ones(4)))
    expected = np.array([n * cotan.hessian(lambda v: f(norm(v)))(v) for n, v in zip(count, x, strict=True)])
    for h in (cotan.hessian(whole), cotan.jit(cotan.hessian(whole)), cotan.hessian(cotan.jit(whole))):
        np.testing.assert_allclose(np.einsum("aiaj->aij", h(x)), expected, rtol=1e-8, atol=1e-8)


# Of a root r, an amplitude a = 2 and a length b = 3; and the second derivative at r = 0.
WITH_FACTORS = {
    "amplitude first": (lambda r, a, b: a * (1 + r) * cnp.exp(-r), -2.0),
    "amplitude last": (lambda r, a, b: (1 + r) * cnp.exp(-r) * a, -2.0),
    "amplitude of the sum": (lambda r, a, b: (a + a * r) * cnp.exp(-r), -2.0),
    "length in the sum": (lambda r, a, b: (b + r) * cnp.exp(-r / b), -1 / 3),
    "amplitude and length": (lambda r, a, b: a * (1 + r / b) * cnp.exp(-r / b), -2 / 9),
    "Matern 5/2": (lambda r, a, b: a * (1 + r / b + r * r / (3 * b * b)) * cnp.exp(-r / b), -2 / 27),
    "an inverse length": (lambda r, a, b: cnp.exp(-b * r) * (1 + b * r) / a, -9 / 2),
    "odd times odd": (lambda r, a, b: a * cnp.sin(r) * r, 4.0),
    "two amplitudes": (lambda r, a, b: a * r * a * r, 8.0),
    "negative": (lambda r, a, b: -a * (1 + r) * cnp.exp(-r), 2.0),
    "two even terms": (lambda r, a, b: a * (1 + r) * cnp.exp(-r) - b * cnp.cos(r), 1.0),
    "two terms that are not even": (lambda r, a, b: a * cnp.exp(-r) + b * cnp.exp(r * a / b), 10 / 3),
    "a quotient": (lambda r, a, b: (a * r) / (b * (1 + r)) * r, 4 / 3),
    "in a sum": (lambda r, a, b: b + a * (cnp.exp(-r) + r), 2.0),
}


@pytest.mark.parametrize("name", WITH_FACTORS)
def test_factors_that_are_traced_or_arrays_stand_before_a_series(name):
    f, right = WITH_FACTORS[name]
    g = lambda x, a, b: f(norm(x), a, b)  # noqa: E731
    of_dict = lambda p: f(norm(p["x"]), p["a"], p["b"])  # noqa: E731
    for x in (np.zeros(2), np.array([1e-12, -2e-12])):
        for h in (
            cotan.hessian(g),
            cotan.jit(cotan.hessian(g)),
            cotan.hessian(cotan.jit(g)),
            cotan.jit(cotan.jacfwd(cotan.jit(cotan.grad(g)))),
        ):
            np.testing.assert_allclose(h(x, 2.0, 3.0), right * np.eye(2), rtol=1e-9, atol=1e-9)
        many = cotan.vmap(cotan.hessian(g), (None, 0, None))(x, np.array([2.0, 2.0]), 3.0)
        np.testing.assert_allclose(many, [right * np.eye(2)] * 2, rtol=1e-9, atol=1e-9)
        for h in (cotan.hessian(of_dict), cotan.jit(cotan.hessian(of_dict))):
            np.testing.assert_allclose(h({"x": x, "a": 2.0, "b": 3.0})["x"]["x"], right * np.eye(2), rtol=1e-9, atol=1e-9)
        for weights in (np.array([2.0, 2.0]), np.array([[2.0], [2.0]])):
            summed = lambda x, weights=weights: cnp.sum(g(x, weights, 3.0) + 0 * weights)  # noqa: E731
            for h in (cotan.hessian(summed), cotan.jit(cotan.hessian(summed))):
                np.testing.assert_allclose(h(x), 2 * right * np.eye(2), rtol=1e-9, atol=1e-9)


def test_a_weighted_gram_matrix_of_a_matern_kernel():
    weights, s5 = np.array([[1.0, 2.0], [3.0, 4.0]]), np.sqrt(5.0)

    def energy(x):
        d = norm(x[:, None] - x[None], axis=-1)
        return cnp.sum(weights * (1 + s5 * d + 5 * d * d / 3) * cnp.exp(-s5 * d))

    right = 25 / 3 * np.einsum("ab,cd->acbd", np.array([[-1.0, 1.0], [1.0, -1.0]]), np.eye(2))
    for h in (cotan.hessian(energy), cotan.jit(cotan.hessian(energy)), cotan.hessian(cotan.jit(energy))):
        np.testing.assert_allclose(h(np.zeros((2, 2))), right, rtol=1e-9, atol=1e-12)


def test_what_is_known_of_roots_does_not_overflow():
    for f in (
        lambda r: (1e200 * r) ** 2,
        lambda r: (1e200 * r) * (1e-200 * r),
        lambda r: cnp.cos(1e200 * r),
        lambda r: r * np.array([1e200]) * r,
    ):
        assert np.isfinite(cotan.jit(lambda x, f=f: f(norm(x)))(np.array([3e-190, 4e-190]))).all()
        np.testing.assert_allclose(cotan.jit(lambda x, f=f: f(norm(x)))(np.array([3e-120, 4e-120])), f(5e-120), rtol=1e-12)


@pytest.mark.parametrize("size", [1e-155, 1e-160, 1e-300])
def test_a_radicand_that_underflows(size):
    f = lambda x, l: matern(1.5, norm(x) / l) + matern(2.5, norm(x) / l)  # noqa: E731
    right = -(3 + 5 / 3) / L**2 / 4 * np.eye(3)
    for h in (cotan.hessian(f), cotan.jit(cotan.hessian(f)), cotan.jit(cotan.jacfwd(cotan.jacfwd(f)))):
        np.testing.assert_allclose(h(np.full(3, size), 2.0), right, rtol=1e-9, atol=1e-9)


VANISHING = {
    "r (r + r^3)": (lambda r, a: r * (r + r * r * r), lambda a: 2.0),
    "r (r + a r)": (lambda r, a: r * (r + a * r), lambda a: 2 * (1 + a)),
    "a r exp(-a r) r": (lambda r, a: r * cnp.exp(-a * r) * (a * r), lambda a: 2 * a),
    "cosh(r) cos(a r)": (lambda r, a: cnp.cosh(r) * cnp.cos(a * r), lambda a: 1 - a**2),
}


@pytest.mark.parametrize("name", VANISHING)
@pytest.mark.parametrize("a", [0.0, -1.0, 2.5, 1e6])
def test_multiples_of_a_root_meet_though_their_factors_vanish(name, a):
    f, curvature = VANISHING[name]
    for second in (cotan.hessian, lambda g: cotan.jit(cotan.hessian(g)), lambda g: cotan.jacfwd(cotan.jacfwd(g))):
        h = second(lambda x, a: f(cnp.linalg.norm(x), a))(np.zeros(2), np.float64(a))
        np.testing.assert_allclose(h, curvature(a) * np.eye(2), rtol=1e-12)
