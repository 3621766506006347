"""The ufuncs: eager equal to NumPy, staged equal to eager, in values and dtypes; promotion by NEP 50; powers."""

from __future__ import annotations

import numpy as np
import pytest

import cotan.numpy as cnp
from cotan.core.array import Array
from cotan.core.errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeError
from cotan.numpy import elementwise

from .running import arrays, assert_jvp, assert_same, staged

UNARY = sorted(name for name in elementwise.__all__ if isinstance(getattr(np, name), np.ufunc) and getattr(np, name).nin == 1)
BINARY = sorted(
    name for name in elementwise.__all__ if isinstance(getattr(np, name), np.ufunc) and getattr(np, name).nin == 2 and name != "divmod"
)
DTYPES = ["bool", "int8", "int32", "int64", "uint8", "uint64", "float16", "float32", "float64", "complex64", "complex128"]
KINDS = {"float16": 2e-3, "float32": 3e-6, "complex64": 3e-6}


def sample(dtype: str, shape: tuple[int, ...] = (2, 3), seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if kind in "iu":
        return rng.integers(1, 6, shape).astype(dtype)
    x = rng.uniform(0.2, 0.9, shape)
    return (x + 1j * rng.uniform(0.1, 0.9, shape) if kind == "c" else x).astype(dtype)


def has_loop(ufunc: np.ufunc, *args: object) -> bool:
    try:
        with np.errstate(all="ignore"):
            ufunc(*args)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", DTYPES)
def test_unary_functions_equal_numpy_eager_and_staged(name: str, dtype: str) -> None:
    ufunc, function = getattr(np, name), getattr(cnp, name)
    x = sample(dtype)
    if not has_loop(ufunc, x):
        with pytest.raises(DtypeError):
            staged(function, x)
        return
    with np.errstate(all="ignore"):
        expected = ufunc(x)
        got = function(x)
        assert type(got) is Array
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype
        assert_same(staged(function, x)[0], expected, rtol=KINDS.get(dtype, 1e-12))
        scalar = function(x[0, 0])
        assert type(scalar) is Array
        assert_same(scalar, ufunc(x[0, 0]))


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_functions_equal_numpy_eager_and_staged(name: str, dtype: str) -> None:
    ufunc, function = getattr(np, name), getattr(cnp, name)
    x, y = sample(dtype), sample(dtype, (3,), 1)
    if not has_loop(ufunc, x, y):
        with pytest.raises(DtypeError):
            staged(function, x, y)
        return
    with np.errstate(all="ignore"):
        expected = ufunc(x, y)
        got = function(x, y)
        assert type(got) is Array
        np.testing.assert_array_equal(got, expected)
        assert_same(staged(function, x, y)[0], expected, rtol=KINDS.get(dtype, 1e-12))
        assert_same(staged(lambda x: function(x, y), x)[0], expected, rtol=KINDS.get(dtype, 1e-12))


@pytest.mark.parametrize("name", ["add", "multiply", "divide", "maximum", "less", "floor_divide", "remainder", "power", "arctan2"])
@pytest.mark.parametrize("left", DTYPES)
@pytest.mark.parametrize("right", [*DTYPES, 2, 2.5, True])
def test_mixed_dtypes_promote_as_in_numpy(name: str, left: str, right: object) -> None:
    ufunc, function = getattr(np, name), getattr(cnp, name)
    x = sample(left)
    y = sample(right, (2, 1), 1) if isinstance(right, str) else right
    if not has_loop(ufunc, x, y):
        with pytest.raises((DtypeError, ArgumentError)):
            staged(lambda x: function(x, y), x)
        return
    with np.errstate(all="ignore"):
        expected = ufunc(x, y)
        assert_same(staged(lambda x: function(x, y), x)[0], expected, rtol=2e-3 if expected.dtype.itemsize < 4 else 3e-6)
        if isinstance(right, float | int) and not isinstance(right, bool):  # a traced Python scalar is weak
            assert_same(staged(function, x, y)[0], expected, rtol=2e-3 if expected.dtype.itemsize < 4 else 3e-6)


def test_comparisons_of_int64_with_uint64_are_exact() -> None:
    x = np.array([-1, 0, 2**62, 2**63 - 1], np.int64)
    y = np.array([0, 0, 2**62 + 1, 2**63], np.uint64)
    for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
        assert_same(staged(getattr(cnp, name), x, y)[0], getattr(np, name)(x, y))
        assert_same(staged(getattr(cnp, name), y, x)[0], getattr(np, name)(y, x))


def test_python_scalars_stay_python_scalars() -> None:
    assert staged(lambda x: x * 2 + 1.5, 3.0) == [7.5]
    assert type(staged(lambda x: x * 2 + 1.5, 3.0)[0]) is float
    (y,) = staged(lambda x, y: x * y, np.ones(2, np.float32), 3.0)
    assert y.dtype == np.float32


@pytest.mark.parametrize("exponent", [-3, -1, 0, 1, 2, 3, 5, 2.0, 3.0, -2.0, 0.5, 1.5, -0.5])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", "int64"])
def test_powers_with_python_exponents(exponent: float, dtype: str) -> None:
    x = sample(dtype)
    if dtype == "int64" and isinstance(exponent, int) and exponent < 0:
        with pytest.raises(ArgumentError, match="negative integer powers"):
            staged(lambda x: x**exponent, x)
        return
    assert_same(staged(lambda x: x**exponent, x)[0], x**exponent, rtol=1e-6 if dtype == "float32" else 1e-13)
    if dtype == "float64":
        assert_jvp(lambda x: cnp.power(x, exponent), x)


def test_powers_of_python_scalars() -> None:
    assert staged(lambda x: x**-2, 2) == [0.25]
    assert staged(lambda x: x**2, 3) == [9]
    assert staged(lambda x: 2.0**x, 3) == [8.0]


@pytest.mark.parametrize(
    "name", ["fmax", "fmin", "maximum", "minimum", "logaddexp2", "hypot", "fmod", "remainder", "heaviside", "copysign"]
)
def test_derivatives_of_composed_functions(name: str) -> None:
    x, y = arrays((3, 4), (4,))
    assert_jvp(getattr(cnp, name), x, y)


@pytest.mark.parametrize("name", ["square", "reciprocal", "deg2rad", "degrees", "fabs", "conjugate", "positive"])
def test_derivatives_of_composed_unary_functions(name: str) -> None:
    assert_jvp(getattr(cnp, name), *arrays((3,)))


def test_refused_arguments_say_what_to_write() -> None:
    x = np.ones(3)
    with pytest.raises(ArgumentTypeError, match="out="):
        cnp.sin(x, out=x)
    with pytest.raises(ArgumentTypeError, match=r"cotan\.numpy\.where"):
        cnp.add(x, x, where=x > 0)
    with pytest.raises(ArgumentTypeError, match="astype"):
        staged(lambda x: cnp.exp(x, dtype=np.float32), x)


def test_shapes_that_do_not_broadcast_are_named() -> None:
    x, y = np.ones((2, 3)), np.ones(2)
    for run in (lambda: cnp.add(x, y), lambda: staged(cnp.add, x, y)):
        with pytest.raises(ShapeError, match=r"add: shapes \(2, 3\) and \(2,\) do not broadcast"):
            run()


def test_lists_are_arrays() -> None:
    assert_same(staged(lambda x: x + [1, 2, 3], np.ones(3))[0], np.array([2.0, 3.0, 4.0]))
    assert_same(staged(lambda x: cnp.add([x, 2 * x], 1.0), 3.0)[0], np.array([4.0, 7.0]))
    assert_same(cnp.sin([0.0, 1.0]), np.sin([0.0, 1.0]))


def test_divmod() -> None:
    x = np.array([7.5, -7.5])
    for got, expected in zip(staged(lambda x: divmod(x, 2), x), divmod(x, 2), strict=True):
        assert_same(got, expected)
    assert_same(cnp.divmod(7, 2)[0], np.int64(3))
