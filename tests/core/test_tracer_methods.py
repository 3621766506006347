"""A tracer as an ndarray: its methods, and Python's conversions, which lose nothing under differentiation."""

from __future__ import annotations

import math

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.errors import ArgumentError, ArgumentTypeError, TracerConversionError

X = np.array([3.0, 1.0, 2.0])
BY_METHOD = {
    "searchsorted": (lambda x: x.searchsorted(np.array([0.5, 1.5])), np.sort(X)),
    "searchsorted, right": (lambda x: x.searchsorted(1.0, side="right"), np.sort(X)),
    "argpartition": (lambda x: x[x.argpartition(1)][1], X),
    "choose": (lambda x: x.choose([np.arange(2.0), np.ones(2)], mode="clip"), np.array([1, 0])),
    "compress": (lambda x: x.compress([True, False, True]), X),
    "compress along an axis": (lambda x: x.compress([False, True], axis=0), np.eye(2)),
}
IN_PLACE = [lambda x: x.sort(), lambda x: x.partition(1), lambda x: x.fill(0.0), lambda x: x.put(0, 1.0), lambda x: x.resize((4,))]
NUMBERS = [
    (math.floor, -1.5),
    (math.ceil, -1.5),
    (math.trunc, -1.5),
    (math.floor, 2),
    ("{:.2f}".format, math.pi),
    ("{:>8}".format, 1.5),
    ("{:+.1e}".format, 12345.0),
]


@pytest.mark.parametrize("name", BY_METHOD)
def test_a_method_does_what_numpys_does(name):
    f, x = BY_METHOD[name]
    np.testing.assert_array_equal(cotan.jit(f)(x), f(x))


def test_a_methods_derivative():
    np.testing.assert_array_equal(cotan.grad(lambda x: cnp.sum(x.compress([True, False, True]) ** 2))(X), [6.0, 0.0, 4.0])


def test_nonzero_has_a_shape_that_depends_on_values():
    with pytest.raises(TracerConversionError, match="depends on the values"):
        cotan.jit(lambda x: x.nonzero())(X)


@pytest.mark.parametrize("f", IN_PLACE)
def test_a_change_in_place_is_refused_with_the_functional_way(f):
    for take in (cotan.jit(f), cotan.vmap(f), cotan.grad(f)):
        with pytest.raises(TracerConversionError, match="changed in place"):
            take(np.ones((2, 3)))


@pytest.mark.parametrize(("convert", "value"), NUMBERS)
def test_a_conversion_that_loses_nothing_is_made(convert, value):
    found = []

    def f(x):
        found.append(convert(x))
        return x * x

    cotan.grad(f)(value)
    cotan.jvp(f, (value,), (1.0,))
    cotan.grad(cotan.grad(f))(value)
    assert found == [convert(float(value))] * 3
    for abstract in (cotan.jit(convert), cotan.grad(cotan.jit(f))):
        with pytest.raises(TracerConversionError, match="no value yet"):
            abstract(value)
    with pytest.raises(TracerConversionError, match="2 values at once"):
        cotan.vmap(convert)(np.full(2, value))


def test_an_empty_format_is_the_type():
    assert cotan.jit(lambda x: (f"{x}" == str(x) == repr(x)) * x)(2.0) == 2.0


def test_pow_with_a_modulus_is_refused():
    with pytest.raises(ArgumentTypeError, match="Python's integers"):
        cotan.grad(lambda x: pow(x, 2, 3))(2.0)


@pytest.mark.parametrize("argnums", [(0, 0), (1, -1), [0, 1, 0]])
def test_a_position_is_differentiated_once(argnums):
    for take in (cotan.grad, cotan.value_and_grad, cotan.jacfwd, cotan.jacrev, cotan.hessian):
        with pytest.raises(ArgumentError, match="twice"):
            take(lambda x, y: x * y, argnums=argnums)(1.0, 2.0)


def test_the_tangent_of_an_integer_is_none_or_zero():
    f = lambda n, x: n * x  # noqa: E731
    n = np.arange(3)
    for nothing in (None, np.zeros(3, int), np.zeros(3), np.zeros(3, [("float0", "V")])):
        np.testing.assert_array_equal(cotan.jvp(f, (n, 2.0), (nothing, 1.0))[1], n)
    for given in (np.ones(3), np.arange(3)):
        np.testing.assert_array_equal(cotan.jvp(f, (n, 2.0), (given, 1.0))[1], n + 2.0 * given)  # it counts as a float
        with pytest.raises(ArgumentTypeError, match="cannot vary"):
            cotan.linearize(f, n, 2.0)[1](given, 1.0)
