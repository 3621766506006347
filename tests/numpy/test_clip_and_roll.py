"""``clip`` with traced limits, and ``roll``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp


def derivatives(f: Any, *operands: Any) -> list[Any]:
    """The gradient of the sum of the results, eager, compiled and by forward mode, which agree."""
    count = tuple(range(len(operands)))
    found = cotan.grad(lambda *xs: cnp.sum(f(*xs)), count)(*operands)
    compiled = cotan.jit(cotan.grad(lambda *xs: cnp.sum(f(*xs)), count))(*operands)
    forward = cotan.jacfwd(lambda *xs: cnp.sum(f(*xs)), count)(*operands)
    for one, other, third in zip(found, compiled, forward, strict=True):
        assert np.array_equal(one, other)
        assert np.array_equal(one, third)
    return [np.asarray(one).tolist() for one in found]


def test_the_derivative_goes_to_the_operand_that_is_the_result() -> None:
    x = np.array([-3.0, -1.0, 0.0, 2.0, 5.0, np.nan, np.inf])
    low, high = np.full(7, -1.0), np.full(7, 2.0)
    of_x, of_low, of_high = derivatives(cnp.clip, x, low, high)
    assert of_x == [0, 0.5, 1, 0.5, 0, 0, 0]
    assert of_low == [1, 0.5, 0, 0, 0, 0, 0]
    assert of_high == [0, 0, 0, 0.5, 1, 0, 1]


def test_the_derivatives_of_scalar_limits_are_sums() -> None:
    assert derivatives(cnp.clip, np.array([-3.0, -2.0, 0.0, 4.0]), -1.0, 2.0) == [[0, 0, 1, 0], 2, 1]
    assert derivatives(cnp.clip, 0.5, np.zeros(3), np.ones(3)) == [3, [0, 0, 0], [0, 0, 0]]


def test_limits_broadcast() -> None:
    x = np.array([[-1.0, 1.0], [3.0, 0.25]])
    assert derivatives(cnp.clip, x, np.array([0.0, 0.5]), np.array([[2.0], [0.75]])) == [[[0, 1], [0, 0]], [1, 1], [[0], [1]]]


def test_equal_limits_and_crossed_limits() -> None:
    assert derivatives(cnp.clip, np.array([0.0, 1.0, 2.0]), np.ones(3), np.ones(3)) == [[0, 0.25, 0], [0.5, 0.25, 0], [0.5, 0.5, 1]]
    assert derivatives(cnp.clip, np.array([0.0, 3.0]), np.full(2, 2.0), np.full(2, 1.0)) == [[0, 0], [0, 0], [1, 1]]


def test_one_limit_is_enough() -> None:
    x = np.array([-1.0, 3.0])
    assert derivatives(lambda x: cnp.clip(x, 0.0, None), x) == [[0, 1]]
    assert derivatives(lambda x: cnp.clip(x, None, 0.0), x) == [[1, 0]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8", "complex128", "bool"])
def test_the_values_are_numpys(dtype: str) -> None:
    x = np.array([0, 1, 2, 3]).astype(dtype)
    for low, high in ((1, 2), (np.int8(1), np.float32(2.5)), (np.array([0, 1, 2, 3]), 2)):
        want = np.clip(x, low, high)
        got = cotan.jit(lambda x, low=low, high=high: cnp.clip(x, low, high))(x)
        assert got.dtype == want.dtype
        assert np.array_equal(got, want)
    assert np.array_equal(cotan.vmap(lambda x: cnp.clip(x, 1, 2))(x), np.clip(x, 1, 2))


def test_no_elements() -> None:
    assert derivatives(lambda x: cnp.clip(x, -1.0, 1.0), np.zeros((2, 0))) == [[[], []]]


@pytest.mark.parametrize(
    ("shift", "axis"), [(1, 0), (-1, 1), (7, 1), (-9, 0), (0, 0), (2, None), ((1, -1), (0, 1)), (3, (0, 1)), ((1, 2), 0)]
)
@pytest.mark.parametrize("shape", [(3, 4), (1, 5), (0, 2), (2, 0)])
def test_roll_moves_as_numpy_does_and_back(shift: Any, axis: Any, shape: tuple[int, int]) -> None:
    x = np.arange(float(np.prod(shape))).reshape(shape)
    w = np.random.default_rng(0).normal(size=shape)
    back = np.roll(w, tuple(np.negative(shift)) if isinstance(shift, tuple) else -shift, axis)
    for transform in (lambda f: f, cotan.jit):
        y, pull = cotan.vjp(transform(lambda x: cnp.roll(x, shift, axis)), x)
        assert np.array_equal(y, np.roll(x, shift, axis))
        assert np.array_equal(pull(w)[0], back)
    many = np.stack([x, 2.0 * x])
    assert np.array_equal(cotan.vmap(lambda x: cnp.roll(x, shift, axis))(many), np.stack([np.roll(one, shift, axis) for one in many]))
