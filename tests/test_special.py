"""``cotan.special``: eager equal to SciPy, staged equal to eager, derivatives by finite differences, and the tails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special

from cotan import special
from cotan.core.array import Array

from .numpy.running import assert_jvp, assert_same, staged

pytestmark = pytest.mark.optimized

ONE = [
    "erf",
    "erfc",
    "erfinv",
    "gammaln",
    "loggamma",
    "gamma",
    "psi",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "expit",
    "logit",
    "log_expit",
    "ndtr",
    "log_ndtr",
    "entr",
    "expm1",
    "log1p",
    "cbrt",
]
TWO = [
    "betaln",
    "beta",
    "gammainc",
    "gammaincc",
    "xlogy",
    "xlog1py",
    "rel_entr",
    "kl_div",
    "boxcox",
    "boxcox1p",
    "inv_boxcox",
    "huber",
    "pseudo_huber",
]
x = np.array([[0.1, 0.3, 0.45], [0.6, 0.75, 0.9]])
y = np.array([0.4, 0.8, 1.3])


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_functions_of_one_operand_equal_scipy(name: str, dtype: str) -> None:
    operand = x.astype(dtype) if dtype != "int64" else np.array([1, 2, 3])
    with np.errstate(all="ignore"):
        expected = getattr(scipy.special, name)(operand)
        got = getattr(special, name)(operand)
        assert type(got) is Array
        assert_same(got, expected)
        assert_same(staged(getattr(special, name), operand)[0], expected, rtol=2e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_of_two_operands_equal_scipy(name: str, dtype: str) -> None:
    a, b = x.astype(dtype), y.astype(dtype)
    expected = getattr(scipy.special, name)(a, b)
    assert_same(getattr(special, name)(a, b), expected)
    assert_same(staged(getattr(special, name), a, b)[0], expected, rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("name", ONE)
def test_derivatives_of_functions_of_one_operand(name: str) -> None:
    assert_jvp(getattr(special, name), x, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in TWO if not name.startswith("gammainc")])
def test_derivatives_of_functions_of_two_operands(name: str) -> None:
    assert_jvp(getattr(special, name), x, y, rtol=1e-5)


def test_gamma_of_negative_numbers_has_its_sign() -> None:
    z = np.array([-0.5, -1.5, -2.5, -3.7, 4.2])
    assert_same(staged(special.gamma, z)[0], scipy.special.gamma(z), rtol=1e-12)


def test_log_ndtr_far_in_the_tail() -> None:
    z = np.array([-300.0, -40.0, -20.5, -19.5, -5.0, 0.0, 3.0, 9.0])
    assert_same(staged(special.log_ndtr, z)[0], scipy.special.log_ndtr(z), rtol=1e-13)


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_sums_of_exponentials(name: str, axis: Any) -> None:
    z = np.array([[1000.0, 1001.0, -3.0], [0.0, -np.inf, 2.0]])
    function = getattr(special, name)
    expected = getattr(scipy.special, name)(z, axis=axis)
    assert_same(function(z, axis=axis), expected, rtol=1e-13)
    assert_same(staged(lambda z: function(z, axis=axis), z)[0], expected, rtol=1e-13)
    assert_jvp(lambda z: function(z, axis=axis), x, rtol=1e-5)


def test_logsumexp_with_weights_and_signs() -> None:
    b = np.array([1.0, 0.0, -2.0])
    for kwargs in ({"b": b, "return_sign": True, "axis": 1}, {"b": np.abs(b), "axis": 1, "keepdims": True}, {}):
        expected = scipy.special.logsumexp(x, **kwargs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for got, want in zip(staged(lambda z, kwargs=kwargs: special.logsumexp(z, **kwargs), x), expected, strict=True):
            assert_same(got, want, rtol=1e-13)
    assert_same(special.logsumexp(np.full(3, -np.inf)), np.float64(-np.inf))


def test_polygamma_and_multigammaln() -> None:
    assert_same(special.polygamma(2, y), scipy.special.polygamma(2, y))
    assert_same(staged(lambda z: special.polygamma(1, z), y)[0], scipy.special.polygamma(1, y), rtol=1e-12)
    assert_same(staged(lambda a: special.multigammaln(a, 3), 4.5)[0], scipy.special.multigammaln(4.5, 3), rtol=1e-12)
