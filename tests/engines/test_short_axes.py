"""Short axes: conditions stay certain when the axes of a loop are collapsed, and short rows are reduced in groups."""

import functools

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


ROWS = {
    "sum": lambda x: cnp.sum(x, 0),
    "max": lambda x: cnp.max(x, 0),
    "prod": lambda x: cnp.prod(1.0 + 1e-3 * x, 0),
    "any": lambda x: cnp.any(x > 2.5, 0),
    "count": lambda x: cnp.count_nonzero(x > 0.5, 0),
    "several": lambda x: (cnp.sum(cnp.sin(x), 0), cnp.min(x, 0), cnp.max(x * x, 0), cnp.sum(x)),
    "moments": lambda x: (cnp.mean(x, 0), cnp.var(x, 0)),
    "of both": lambda x: (cnp.sum(x, 0), cnp.sum(x, 1)),
    "with a row": lambda x: cnp.sum(x * cnp.arange(1.0 * x.shape[1]), 0),
    "turned": lambda x: cnp.sum(x.T, 1),
    "complex": lambda x: cnp.sum(cnp.exp(1j * x), 0),
    "single": lambda x: cnp.max(x.astype("float32"), 0),
}


@pytest.mark.parametrize("columns", [1, 3, 8, 12, 33, 64, 129])
@pytest.mark.parametrize("name", ROWS)
def test_rows_are_reduced_in_groups(name, columns):
    f = ROWS[name]
    for rows in (1, 31, 4097):
        x = rng.normal(size=(rows, columns))
        for a, b in zip(cotan.tree.leaves(cotan.jit(f)(x)), cotan.tree.leaves(f(x)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("columns", [3, 10, 24])
def test_rows_are_reduced_in_groups_by_several_threads(columns):
    x = rng.normal(size=(2_000_003 // columns, columns))
    f = cotan.jit(lambda x: (cnp.sum(cnp.sin(x), 0), cnp.max(x, 0)))
    for a, b in zip(f(x), (np.sin(x).sum(0), x.max(0)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


def test_groups_of_rows_of_arrays_of_more_axes():
    x = rng.normal(size=(20, 30, 4, 5))
    for axis in (0, (0, 1), (0, 1, 2), (1, 2), (0, 2), (1,)):
        for f in (cnp.sum, cnp.max):
            g = functools.partial(f, axis=axis)
            np.testing.assert_allclose(cotan.jit(g)(x), g(x), rtol=1e-12, atol=1e-12)
            slope = cotan.grad(lambda x, g=g: cnp.sum(cnp.sin(g(x))))
            np.testing.assert_allclose(cotan.jit(slope)(x), slope(x), rtol=1e-11, atol=1e-12)


def test_nan_and_infinity_stay_in_their_columns():
    x = rng.normal(size=(1000, 10))
    x[500, 3], x[999, 4], x[7, 5] = np.nan, np.inf, -np.inf
    for f in (cnp.sum, cnp.max, cnp.min):
        np.testing.assert_allclose(cotan.jit(functools.partial(f, axis=0))(x), f(x, 0), rtol=1e-12)
