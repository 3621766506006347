"""Scalar formulas of native code: every op with a defining equation has them, and they agree with NumPy and SciPy on difficult numbers."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.core.errors import DtypeError
from cotan.core.op import REGISTRY
from cotan.core.tracing import type_of
from cotan.core.types import array_type
from cotan.engines.native import engine
from cotan.engines.native.analysis.access import access_summary
from cotan.engines.native.codegen.lower import lower_module
from cotan.engines.native.llvm.jit import machine
from cotan.engines.native.scalar import formulas_special

from ..conformance.cases import ALL_CASES, DTYPES, in_dtypes
from .test_native import program_of

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
INF, NAN = np.inf, np.nan
HARD = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -7.0, 3.0, 1e300, -1e300, 5e-324, -1e-310, INF, -INF, NAN, 1 / 3, 2.0**53, 2.0**60 + 2**8]


def native(op, *operands):
    program = program_of(op, operands)
    assert lower_module(program).callbacks == []
    return engine.compile_program(program)(list(operands))[0]


def differing(found, expected, ulps=0):
    """Where two results differ, signs of zeros included, by more than so many units of the last place."""
    assert found.dtype == expected.dtype
    if expected.dtype.kind == "c":
        return differing(found.real, expected.real, ulps) | differing(found.imag, expected.imag, ulps)
    if expected.dtype.kind != "f":
        return found != expected
    same = (np.isnan(found) & np.isnan(expected)) | ((found == expected) & (np.signbit(found) == np.signbit(expected)))
    near = np.isfinite(found) & np.isfinite(expected)
    near[near] = np.abs(found - expected)[near] <= ulps * np.spacing(np.abs(expected[near]))
    return ~(same | near)


def assert_same(found, expected, operands, ulps=0):
    k = np.flatnonzero(differing(found, expected, ulps))
    assert not k.size, [(*(x[j] for x in operands), found[j], expected[j]) for j in k[:5]]


def test_every_defining_equation_has_words():
    missing = set()
    for case in [*ALL_CASES, *in_dtypes(ALL_CASES, DTYPES)]:
        types = tuple(array_type(type_of(x).shape, type_of(x).dtype) for x in case.operands)
        if not case.op.has_element():
            continue
        if types and types[0].dtype == np.float16 and (case.op.name == "complex" or case.op.family == "contraction"):
            try:
                case.op.type_rule(*types)
            except DtypeError:  # there is no such number, or no matrix of such numbers
                continue
        if access_summary(case.op, types) is None:
            missing.add((case.op.name, types[0].dtype.kind))
    assert missing == {("power", "i")}  # raises for negative exponents: a routine


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_powers_of_signed_integers_are_modulo_their_size_and_raise_for_negative_exponents(dtype):
    power, rng = REGISTRY["power"](), np.random.default_rng(1)
    x = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, 999, dtype, endpoint=True)
    n = np.concatenate([np.arange(100), rng.integers(0, np.iinfo(dtype).max, 899, endpoint=True)]).astype(dtype)
    assert lower_module(program_of(power, (x, n))).callbacks == []
    run = engine.compile_program(program_of(power, (x, n)))
    np.testing.assert_array_equal(run([x, n])[0], np.power(x, n))
    for k in (0, 500, 998):
        wrong = n.copy()
        wrong[k] = -1
        with pytest.raises(ValueError, match="Integers to negative integer powers are not allowed"):
            run([x, wrong])
        np.testing.assert_array_equal(run([x, n])[0], np.power(x, n))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int32, np.int64])
@pytest.mark.parametrize("most", [7, 31, 32, 100])
def test_powers_of_integers_with_small_and_large_exponents_side_by_side(dtype, most):
    power, rng = REGISTRY["power"](), np.random.default_rng(most)
    x = np.array([0, 1, 2, 3, 5, np.iinfo(dtype).max, np.iinfo(dtype).max - 1, 10], dtype)[rng.integers(8, size=203)]
    n = rng.integers(0, most, 203, endpoint=True).astype(dtype)
    for last in (most, np.iinfo(dtype).max):
        n[[0, 100, -1]] = last
        for k in (203, 1):
            np.testing.assert_array_equal(
                engine.compile_program(program_of(power, (x[:k], n[:k])))([x[:k], n[:k]])[0], np.power(x[:k], n[:k])
            )


def test_an_exponent_that_no_base_has_is_not_looked_at():
    power, none, minus = REGISTRY["power"](), np.zeros((0, 2), int), np.array(-1)
    for operands in ((none, minus), (none, none)):
        assert lower_module(program_of(power, operands)).callbacks == []
        assert engine.compile_program(program_of(power, operands))(list(operands))[0].shape == np.power(*operands).shape == (0, 2)


def test_powers_of_signed_integers_in_loops_and_branches():
    def f(x, n):
        y = lax.cond(cnp.sum(n) >= 0, lambda v: v**n, lambda v: v, x)
        return lax.fori_loop(0, 2, lambda i, c: c ** cnp.abs(n) % 7 + i, y)

    x, n = np.array([2, -3, 5]), np.array([3, 2, 0])
    assert cotan.compile_report(f)(x, n).outside == ()
    for sign in (1, -1):
        np.testing.assert_array_equal(cotan.jit(f)(x, sign * n), cotan.jit(f, engine="numpy")(x, sign * n))
    with pytest.raises(ValueError, match="negative integer powers"):
        cotan.jit(lambda x, n: x**n)(x, -n)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_powers_of_unsigned_integers_are_modulo_their_size(dtype):
    rng = np.random.default_rng(0)
    x, n = (rng.integers(0, np.iinfo(dtype).max, 300, dtype, endpoint=True) for _ in range(2))
    n[:100] %= 9
    power = REGISTRY["power"]()
    assert_same(native(power, x, n), power.impl(x, n), (x, n))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("name", ["rem", "floor_divide", "left_shift", "right_shift"])
def test_integer_division_and_shifts(name, dtype):
    limits, rng = np.iinfo(dtype), np.random.default_rng(0)
    if limits.bits == 8:
        some = np.arange(limits.min, limits.max + 1).astype(dtype)
    else:
        some = np.concatenate(
            [np.arange(limits.max - 20, limits.max), np.arange(limits.min, limits.min + 90), rng.integers(0, 99, 50)]
        ).astype(dtype)
    x, y = np.repeat(some, some.size), np.tile(some, some.size)
    multiples = rng.integers(limits.min, limits.max, (2, 2000), dtype, endpoint=True)
    x, y = np.concatenate([x, multiples[0] * (multiples[1] >> 3), multiples[0]]), np.concatenate([y, *multiples])
    op = REGISTRY[name]()
    with np.errstate(all="ignore"):
        assert_same(native(op, x, y), op.impl(x, y), (x, y))


@pytest.mark.skipif(not machine().casts_as_x86, reason="these casts are NumPy's on x86 processors")
@pytest.mark.parametrize("have", [np.float64, np.float32])
@pytest.mark.parametrize("want", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_floats_become_integers_as_in_numpy(have, want):
    rng = np.random.default_rng(0)
    limits = [s * 2.0**k + d for k in (7, 8, 15, 16, 31, 32, 53, 63, 64) for s in (1, -1) for d in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    x = np.concatenate(
        [HARD, limits, np.nextafter(limits, 0), np.nextafter(limits, INF), rng.normal(size=300) * 10 ** rng.uniform(-2, 22, 300)]
    )
    x = x.astype(have)
    op = REGISTRY["convert_element_type"](np.dtype(want))
    # NumPy's loops for arrays of uint32 saturate on some processors; its other conversions keep the lowest bits.
    expected = x.astype(np.int64).astype(np.uint32) if want == "uint32" else op.impl(x)
    assert_same(native(op, x), expected, (x,))
    inside = (x > -1) & (x < 2.0**32)
    if want == "uint32":
        assert_same(native(op, x)[inside], op.impl(x)[inside], (x[inside],))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["rem", "floor_divide", "nextafter", "copysign", "maximum", "minimum"])
def test_exact_functions_are_numpys_to_the_bit(name, dtype):
    rng, op = np.random.default_rng(0), REGISTRY[name]()
    x = np.concatenate(
        [np.repeat(HARD, len(HARD)), rng.normal(size=4000) * 10 ** rng.uniform(-9, 19, 4000), rng.integers(-99, 99, 999) * 0.25]
    )
    y = np.concatenate([np.tile(HARD, len(HARD)), rng.normal(size=4000) * 10 ** rng.uniform(-9, 19, 4000), rng.integers(-9, 9, 999) * 0.25])
    x, y = x.astype(dtype), y.astype(dtype)
    assert_same(native(op, x, y), op.impl(x, y), (x, y))


# ---- complex numbers ----------------------------------------------------------------------------------------------------------
PARTS = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -20.0, 100.0, 720.0, INF, -INF, NAN, 1e300, -1e-310]
UNARY = [
    *("neg", "conj", "abs", "sign", "rint", "isnan", "isinf", "isfinite", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p"),
    *("sqrt", "rsqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh"),
]
ANALYTIC = [
    *("log", "sqrt", "exp", "sin", "cos", "tan", "sinh", "cosh", "tanh"),
    *("arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh"),
]
CANCELLING = {"expm1", "log1p"}
"""NumPy's formulas of these cancel near zero, where only the digits agree that are as good as those of numbers of size one."""


def complex_grid(parts, dtype):
    return np.array([complex(a, b) for a, b in itertools.product(parts, parts)]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_complex_numbers(name, dtype):
    rng, op = np.random.default_rng(0), REGISTRY[name]()
    special = complex_grid(PARTS, dtype)
    generic = ((rng.normal(size=500) + 1j * rng.normal(size=500)) * 10 ** rng.uniform(-3, 1, 500)).astype(dtype)
    with np.errstate(all="ignore"):
        found, expected = native(op, special), op.impl(special)
        if name not in CANCELLING:
            assert_same(found, expected, (special,), 8)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        found, expected = native(op, generic), op.impl(generic)
    if expected.dtype.kind != "c":
        return assert_same(found, expected, (generic,), 8)
    size = np.maximum(np.abs(expected), 1.0 if name in CANCELLING else 0.0)
    assert (np.abs(found - expected) <= 8 * np.spacing(size)).all()
    return None


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
@pytest.mark.parametrize("name", ["add", "sub", "div", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"])
def test_functions_of_two_complex_numbers(name, dtype):
    op = REGISTRY[name]()
    left, right = complex_grid(PARTS, dtype), complex_grid([0.0, -0.0, 1.0, -1.0, 2.0, 3.0, -3.0, 0.5, INF, NAN, 99.0, 101.0], dtype)
    x, y = np.repeat(left, right.size), np.tile(right, left.size)
    with np.errstate(all="ignore"):
        assert_same(native(op, x, y), op.impl(x, y), (x, y))


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_powers_of_complex_numbers(dtype):
    power, rng = REGISTRY["power"](), np.random.default_rng(0)
    parts, size = [v for v in PARTS if abs(v) < 1e3], 2000
    left, right = complex_grid(parts, dtype), complex_grid([0.0, -0.0, 1.0, -1.0, 2.0, 3.0, -3.0, 0.5, 99.0, -99.0, 101.0], dtype)
    generic = ((rng.normal(size=2 * size) + 1j * rng.normal(size=2 * size)) * 10 ** rng.uniform(-2, 1, 2 * size)).astype(dtype)
    x = np.concatenate([np.repeat(left, right.size), generic[:size]])
    y = np.concatenate([np.tile(right, left.size), generic[size:]])
    with np.errstate(all="ignore"):
        found, expected = native(power, x, y), power.impl(x, y)
        # An error in log(x) by one unit is an error of |y log(x)| units in the power.
        units = 8 * (1 + np.abs(y) * np.where(x == 0, 0, np.abs(np.log(np.where(x == 0, 1, x)))))
        whole = (y.imag == 0) & (y.real == np.round(y.real)) & (np.abs(y.real) < 100)
        assert_same(found[whole], expected[whole], (x[whole], y[whole]), 8)
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
        fine = np.isfinite(expected)
        least = np.finfo(dtype).tiny
        assert (np.abs(found - expected)[fine] <= (units * np.spacing(np.maximum(np.abs(expected), least)))[fine]).all()


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
@pytest.mark.parametrize("name", ANALYTIC)
def test_each_part_of_a_complex_function_is_accurate(name, dtype):
    rng, op, n = np.random.default_rng(1), REGISTRY[name](), 1000
    tiny, huge = np.log10(float(np.finfo(dtype).tiny)), np.log10(float(np.finfo(dtype).max))
    z = [
        np.exp(1j * rng.uniform(-np.pi, np.pi, n)) * (1 + rng.normal(size=n) * 1e-3),
        (rng.normal(size=n) + 1j * rng.normal(size=n)) * 10 ** rng.uniform(tiny, huge, n),
        rng.choice([1, -1, 1j, -1j], n) + (rng.normal(size=n) + 1j * rng.normal(size=n)) * 10 ** rng.uniform(tiny, 0, n),
        rng.uniform(-800, 800, n) + 1j * rng.uniform(-10, 10, n),
        rng.choice([-1, 1], n) * 10 ** rng.uniform(tiny - 3, 3, n) + 1j * 10 ** rng.uniform(tiny - 3, 3, n),
    ]
    z = np.concatenate(z).astype(dtype)
    with np.errstate(all="ignore"):
        found, expected = native(op, z), op.impl(z)
    for a, b in ((found.real, expected.real), (found.imag, expected.imag)):
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
        fine = np.isfinite(b)
        assert (np.abs(a - b)[fine] <= 12 * np.spacing(np.abs(b[fine]))).all()


def test_a_complex_number_times_its_conjugate_is_real():
    z = np.random.default_rng(0).normal(size=(50, 2)).view(np.complex128).ravel()
    assert (native(REGISTRY["mul"](), z, z.conj()).imag == 0).all()


# ---- special functions --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("order", [1, 2, 3, 6, 12, 20])
def test_polygamma_on_both_sides_of_zero(order):
    rng = np.random.default_rng(0)
    x = np.concatenate([-(10 ** rng.uniform(-3, 2, 60)), 10 ** rng.uniform(-6, 5, 60), [-0.5, -1e-9, -1 + 1e-9, 1.0, 1e9]])
    found = native(REGISTRY["polygamma"](order), x)
    with mpmath.workdps(40):
        # On the negative side, next to the largest term: the sum may cancel.
        s = order + 1
        terms = [1 / abs(v - round(min(v, 0))) ** s + (1 / v**s if v > 0 else 0) for v in map(float, x)]
        scale = [float(mpmath.factorial(order) * max(abs(t), 1e-300)) for t in terms]
        exact = [mpmath.polygamma(order, mpmath.mpf(float(v))) for v in x]
        errors = [
            float(abs(mpmath.mpf(float(y)) - e)) / max(abs(float(e)), t if v < 0 else 0)
            for y, e, t, v in zip(found, exact, scale, x, strict=True)
        ]
    assert max(errors) < 1e-15 * (10 + order)
    poles = native(REGISTRY["polygamma"](order), np.array([0.0, -0.0, -1.0, -2.0, -1e300]))
    np.testing.assert_array_equal(poles, REGISTRY["polygamma"](order).impl(np.array([0.0, -0.0, -1.0, -2.0, -1e300])))


def test_far_below_zero_the_logistic_function_is_the_exponential():
    x = np.array([-700.0, -720.0, -740.0, -746.0, -INF, INF, NAN])
    found = native(REGISTRY["logistic"](), np.tile(x, 5))
    np.testing.assert_allclose(found, np.tile([*[math.exp(v) for v in x[:5]], 1.0, NAN], 5), rtol=1e-15, atol=5e-324)


def test_a_routine_that_scipy_does_not_have_is_no_word(monkeypatch):
    from scipy.special import cython_special

    gammaln, t = REGISTRY["lgamma"](), array_type((3,), np.dtype(np.float64))
    capsules = dict(cython_special.__pyx_capi__)
    formulas_special.routine.cache_clear()
    for instead in ({}, {"gammaln": capsules["gammainc"]}):  # it is not there; it has another signature
        access_summary.cache_clear()
        monkeypatch.setattr(cython_special, "__pyx_capi__", instead)
        assert access_summary(gammaln, (t,)) is None
    x = np.array([0.5, 1.5, 2.5])
    np.testing.assert_array_equal(engine.compile_program(program_of(gammaln, (x,)))([x])[0], gammaln.impl(x))
    monkeypatch.undo()
    access_summary.cache_clear()
    assert access_summary(gammaln, (t,)) is not None
