"""Axes of one element: conditions that are certain along them stay certain when the axes of a loop are collapsed."""

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp

rng = np.random.default_rng(3)
SHAPES = [(5, 4, 1), (5, 1), (1, 5), (1, 1), (1, 4, 5), (5, 1, 4), (40, 1), (40, 2)]


def along(f):
    return lambda x: f(x, x.ndim - 1)


FUNCTIONS = {
    "cumprod": along(lambda x, k: cnp.cumprod(cnp.sin(x), k)),
    "cumsum": along(lambda x, k: cnp.cumsum(cnp.sin(x), k)),
    "prod": along(lambda x, k: cnp.prod(cnp.sin(x), k)),
    "shift": along(lambda x, k: cnp.pad(x, [(0, 0)] * k + [(1, 0)], constant_values=2.0)[..., : x.shape[k]] * x),
    "shift back": along(lambda x, k: cnp.pad(x, [(0, 0)] * k + [(0, 1)], constant_values=2.0)[..., 1:] * x),
    "roll": along(lambda x, k: cnp.roll(x, 1, k) * x),
    "flip": along(lambda x, k: cnp.flip(x, k) * x),
    "joint": along(lambda x, k: cnp.concatenate([x, 2.0 * x], k)[..., x.shape[k] :] * x),
    "triangle": lambda x: cnp.tril(x) * x,
    "diagonal": lambda x: cnp.eye(*x.shape[-2:]) * x,
    "sort": along(lambda x, k: cnp.sort(x, k) * x),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives_are_those_of_numpy(name, shape):
    f, x = FUNCTIONS[name], rng.normal(size=shape)
    both = cotan.value_and_grad(lambda x: cnp.sum(cnp.cos(f(x))))
    for g in (f, both, cotan.jacfwd(f)):
        for a, b in zip(cotan.tree.leaves(cotan.jit(g)(x)), cotan.tree.leaves(g(x)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_the_derivative_of_a_product_of_one_factor():
    x = rng.normal(size=(5, 4, 1))
    found = cotan.jit(cotan.grad(lambda x: cnp.sum(cnp.sin(cnp.cumprod(cnp.sin(x), axis=2)))))(x)
    np.testing.assert_allclose(found, np.cos(np.sin(x)) * np.cos(x), rtol=1e-13)
