"""Germs of roots never change a value: random expressions of roots and factors of random shapes and dtypes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp

ROOTS = {
    "norm": lambda np, x: np.linalg.norm(x),
    "norms": lambda np, x: np.linalg.norm(np.stack([x, x + x]), axis=0),
    "one of some norms": lambda np, x: np.linalg.norm(np.stack([x, x + x]), axis=1)[0],
    "norms as a column": lambda np, x: np.linalg.norm(np.stack([x, x + x, x]), axis=1)[:, None],
    "deviation": lambda np, x: np.std(x),
    "magnitude": lambda np, x: abs(x[0]),
    "magnitudes": lambda np, x: abs(x),
    "root": lambda np, x: np.sqrt(x @ x),
    "hypot": lambda np, x: np.hypot(x[0], x[1]),
    "norm in float32": lambda np, x: np.linalg.norm(x).astype(np.float32),
}
SHAPES = [(), (), (2,), (3, 1), (1, 1), (1,), (3, 2), (1, 2)]
DTYPES = ["float", "float64", "float64", "float32", "int64", "complex128"]
FUNCTIONS = ["cos", "exp", "tanh", "sqrt", "negative", "square"]


def factor(rng):
    shape, kind = SHAPES[rng.integers(len(SHAPES))], DTYPES[rng.integers(len(DTYPES))]
    if kind == "float":
        return float(rng.uniform(0.5, 2.0))
    if kind == "int64":
        return rng.integers(1, 4, shape)
    values = rng.uniform(0.5, 2.0, shape)
    return np.asarray(values + 0.5j if kind == "complex128" else values, kind)


def drawn(seed):
    """An expression as a function of (the library, the point, a traced factor, whether its roots are known to be roots)."""
    rng = np.random.default_rng(seed)
    kinds = list(ROOTS)
    names = [kinds[rng.integers(len(kinds))] for _ in range(1 + seed % 2)]
    steps = [(rng.integers(9), rng.integers(100), rng.integers(100), factor(rng), rng.integers(2)) for _ in range(rng.integers(3, 8))]

    def expression(lib, x, a, known=True):
        roots = [ROOTS[name](lib, x) for name in names]
        if not known:  # a maximum has no series
            roots = [lib.maximum(r, np.asarray(-1.0, np.float32)) for r in roots]
        pool = [*roots, *roots]
        for which, i, j, w, swap in steps:
            one, other = pool[i % len(pool)], pool[j % len(pool)]
            if which in (0, 1):
                pool.append(w * one if swap else one * w)
            elif which == 2:
                pool.append(one / w)
            elif which == 3:
                pool.append(w - one if swap else one + w)
            elif which == 4:
                name = FUNCTIONS[j % len(FUNCTIONS)]
                pool.append(getattr(lib, name)(1.0 + abs(one) if name == "sqrt" else one / 4))
            elif which == 5:
                pool.append(a * one if swap else one / a)
            elif which in (6, 7):
                pool.append(one * other)
            else:
                pool.append(one - other if swap else one + other)
        return pool[-1] * pool[-2]

    expression.roots = names
    expression.single = "norm in float32" in names or any(np.asarray(w).dtype == np.float32 for _, _, _, w, _ in steps)
    return expression


@pytest.mark.sampled(2)
@pytest.mark.parametrize("seed", range(120))
def test_values_are_those_of_numpy_and_derivatives_those_of_unknown_roots(seed):
    f = drawn(seed)
    x, a = np.array([0.3, -0.4]), np.array([1.5, 0.75])[seed % 2]
    x = x.astype(np.float32) if seed % 5 == 4 else x
    with np.errstate(all="ignore"):
        expected = np.asarray(f(np, x, a))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        real = lambda x, a, known=True: cnp.sum(cnp.real(f(cnp, x, a, known)) + cnp.imag(f(cnp, x, a, known)))  # noqa: E731
        single = f.single or x.dtype == np.float32
        rtol = 2e-4 if single else 1e-9
        for g in (lambda x, a: f(cnp, x, a), cotan.jit(lambda x, a: f(cnp, x, a)), cotan.jit(lambda x, a: f(cnp, x, a), engine="numpy")):
            value = g(x, a)
            assert (value.shape, value.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_allclose(value, expected, rtol=rtol)
        for second in (cotan.hessian(real), cotan.jit(cotan.hessian(real)), cotan.jit(cotan.jacfwd(cotan.jit(cotan.grad(real))))):
            h = second(x, a)
            known_not = cotan.hessian(lambda x, a: real(x, a, False))(x, a)
            np.testing.assert_allclose(h, known_not, rtol=5e-3 if single else 1e-4, atol=1e-3 * np.abs(known_not).max() if single else 1e-7)
        if "root" not in f.roots:  # which has an infinite derivative at 0
            assert np.isfinite(cotan.jit(cotan.hessian(real))(0 * x, a)).all()
