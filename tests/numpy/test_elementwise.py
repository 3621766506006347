"""The ufuncs: eager equal to NumPy, staged equal to eager, in values and dtypes; promotion by NEP 50; powers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.core.array import Array
from cotan.core.errors import ArgumentError, ArgumentTypeError, DtypeError, IntegerRangeError, ShapeError
from cotan.numpy import elementwise

from .running import arrays, assert_jvp, assert_same, staged

pytestmark = pytest.mark.optimized

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


WAYS: dict[str, Callable[[Any], Any]] = {
    "jit": cotan.jit,
    "numpy": lambda f: cotan.jit(f, engine="numpy"),
    "vmap": cotan.vmap,
    "vjp": lambda f: lambda *x: cotan.vjp(f, *x)[0],
}
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]
BOUNDS = [b for n in (7, 8, 16, 32, 63, 64, 70) for b in (2**n, 2**n - 1, -(2**n), -(2**n) - 1)]


def extremes(dtype: str) -> np.ndarray:
    if dtype in FLOATS:
        return np.array([0.0, -0.0, 1, -1, 3, -3, 0.5, -0.5, 5.5, -5.5, 1e-5, -1e-5, np.inf, -np.inf, np.nan], dtype)
    limits = np.iinfo(dtype)
    some = [0, 1, 2, 3, 7, 100, limits.min, limits.max, limits.min + 1, limits.max - 1, *([-1, -2, -3, -7] if limits.min else [])]
    return np.array(some, dtype)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_comparisons_with_integers_beyond_the_dtype(dtype: str, way: str) -> None:
    x = extremes(dtype)
    for ufunc in (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal):

        def all_bounds(x: Any, ufunc: Any = ufunc) -> Any:
            return [(ufunc(x, n), ufunc(n, x)) for n in BOUNDS]

        for n, got, want in zip(BOUNDS, WAYS[way](all_bounds)(x), all_bounds(x), strict=True):
            np.testing.assert_array_equal(got, want, err_msg=f"{ufunc.__name__} {n}", strict=True)


@pytest.mark.parametrize("n", [2**63, 2**64, -(2**63) - 1, 2**70])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, n: x + n, lambda x, n: n - x, lambda x, n: x * n, lambda x, n: x % n, lambda x, n: n // x, lambda x, n: x | n,
        lambda x, n: x & n, np.maximum, lambda x, n: np.where(x > 0, x, n), lambda x, n: n,
    ],
)  # fmt: skip
def test_integers_beyond_64_bits_are_not_cut(function: Callable[..., Any], n: int) -> None:
    with pytest.raises(IntegerRangeError, match="64 bits"):
        cotan.jit(lambda x: function(x, n))(np.array([1, 2]))
    np.testing.assert_array_equal(cotan.jit(lambda x: x + n)(np.array([1.0, 2.0])), np.array([1.0, 2.0]) + n)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("function", [np.fmod, np.remainder, np.floor_divide, np.divmod])
def test_divisions_at_the_ends_of_dtypes(function: Any, dtype: str, way: str) -> None:
    x, y = (a.ravel() for a in np.meshgrid(extremes(dtype), extremes(dtype)))
    with np.errstate(all="ignore"):
        want, got = function(x, y), WAYS[way](function)(x, y)
    for a, b in zip(got, want, strict=True) if function is np.divmod else [(got, want)]:
        np.testing.assert_array_equal(a, b, strict=True)
        if dtype in FLOATS:
            there = ~np.isnan(b)
            np.testing.assert_array_equal(np.signbit(a[there]), np.signbit(b[there]))


@pytest.mark.parametrize("engine", ["numpy", "native"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_quotients_rounded_to_zero_at_the_ends_of_dtypes(dtype: str, engine: str) -> None:
    x, y = (a.ravel() for a in np.meshgrid(extremes(dtype), extremes(dtype)))
    exact = [0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    bits = np.array([n % 2**64 for n in exact], np.uint64).astype(dtype)  # the least number by -1 is itself
    np.testing.assert_array_equal(cotan.jit(cotan.lax.div, engine=engine)(x, y), bits, strict=True)


def test_the_derivative_of_fmod_is_that_of_the_dividend_at_zero_too() -> None:
    for x, y in [(0.0, 1.0), (-0.0, 1.0), (0.0, -2.0), (5.5, 2.0), (-5.5, 2.0), (-5.5, -2.0)]:
        dx, dy = cotan.grad(cnp.fmod, (0, 1))(x, y)
        assert (float(dx), float(dy)) == (1.0, -np.trunc(x / y))


@pytest.mark.parametrize("dtype", FLOATS)
def test_nextafter_of_equal_zeros(dtype: str) -> None:
    x, y = np.array([0.0, -0.0], dtype), np.array([-0.0, 0.0], dtype)
    np.testing.assert_array_equal(np.signbit(cotan.jit(np.nextafter)(x, y)), np.signbit(np.nextafter(x, y)))
