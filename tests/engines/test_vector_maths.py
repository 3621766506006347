"""Mathematical functions in native code are within 4 units in the last place of the exact value, in vectors and one by one.

The exact value is mpmath's, at 45 digits, for the exact operand. Units are those of the exact value's binade; below the least normal number
they are the spacing of denormal numbers, which must not be flushed to zero.
"""

from __future__ import annotations

import platform

import mpmath
import numpy as np
import pytest

from cotan.core.op import REGISTRY
from cotan.engines.native import engine
from cotan.engines.native.codegen.lower import lower_module
from cotan.engines.native.llvm import builder
from cotan.engines.native.llvm import jit as machine_module
from cotan.engines.native.llvm.jit import Machine
from cotan.engines.native.scalar import emitter, formulas_real, instructions, vector_variants
from cotan.engines.native.scalar.polynomials import POLYNOMIALS

from .test_native import program_of

BOUND = 4.0
SCALAR = 3
"""So few elements are computed one by one."""
INF, NAN = np.inf, np.nan

EXACT = {
    "exp": mpmath.exp,
    "exp2": lambda x: mpmath.power(2, x),
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log2": lambda x: mpmath.log(x) / mpmath.log(2),
    "log10": mpmath.log10,
    "log1p": mpmath.log1p,
    "sqrt": mpmath.sqrt,
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "arcsin": mpmath.asin,
    "arccos": mpmath.acos,
    "arctan": mpmath.atan,
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "tanh": mpmath.tanh,
    "arcsinh": mpmath.asinh,
    "arccosh": mpmath.acosh,
    "arctanh": mpmath.atanh,
    "logistic": lambda x: 1 / (1 + mpmath.exp(-x)),
    "erf": mpmath.erf,
    "erfc": lambda x: mpmath.erfc(x) if abs(x) < 1000 else mpmath.mpf(0 if x > 0 else 2),
    "power": mpmath.power,
    "arctan2": mpmath.atan2,
    "hypot": mpmath.hypot,
}
INSIDE = {
    **dict.fromkeys(("log", "log2", "log10", "rsqrt"), lambda x: x > 0),
    "log1p": lambda x: x > -1,
    "sqrt": lambda x: x >= 0,
    **dict.fromkeys(("arcsin", "arccos"), lambda x: abs(x) <= 1),
    "arctanh": lambda x: abs(x) < 1,
    "arccosh": lambda x: x >= 1,
    "power": lambda x, y: (x > 0) | ((x < 0) & (y == np.round(y)) & (abs(y) < 1000)),
    "arctan2": lambda y, x: (y != 0) | (x != 0),
}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0, INF, -INF, NAN]


def sample(dtype, count):
    """Finite numbers of every size; many around 0, 1, multiples of pi / 2, and where exponentials overflow and vanish."""
    rng, limits = np.random.default_rng(7), np.finfo(dtype)
    low, high = np.log10(float(limits.smallest_subnormal)), np.log10(float(limits.max))
    sign = rng.choice([-1.0, 1.0], count)
    edge = np.log(float(limits.max))
    with np.errstate(over="ignore"):
        parts = [
            sign * 10 ** rng.uniform(low, high, count),
            rng.uniform(-1, 1, count),
            rng.uniform(-30, 30, count),
            rng.uniform(-1.1 * edge, 1.1 * edge, count),
            sign * (1 + rng.uniform(-1, 1, count) * 10 ** rng.uniform(-15, 0, count)),
            rng.integers(-10_000, 10_000, count) * (np.pi / 2) * (1 + rng.uniform(-1, 1, count) * 10 ** rng.uniform(-17, -2, count)),
            rng.normal(size=count // 4) * 5e-3 + rng.choice([edge, -edge, 0.0], count // 4),
            [1e22, 1e300, -1e300, 710.0, -745.2, 88.9, np.pi, 2.0**53, 5e-324, 1e-310],
        ]
        x = np.concatenate(parts).astype(dtype)
    return x[np.isfinite(x)]


def operands(name, dtype, count):
    arity = REGISTRY[name].arity
    x = sample(dtype, count)
    xs = [x]
    if arity == 2:
        y = np.random.default_rng(8).permutation(sample(dtype, count))
        if name == "power":  # mostly results that are neither 0 nor infinite; whole powers of negative numbers
            x = np.where(np.arange(x.size) % 4, abs(x), x)
            size = np.log(np.maximum(abs(x.astype(np.float64)), 5e-324))
            wanted = np.random.default_rng(9).uniform(-1, 1, x.size) * np.log(float(np.finfo(dtype).max)) * 1.05
            y = np.where(np.arange(x.size) % 8 < 7, wanted / np.where(size == 0, 1, size), y).astype(dtype)
            y = np.where((x < 0) & (abs(y) < 1000), np.round(y), y).astype(dtype)
        xs = [x, y]
    with np.errstate(all="ignore"):
        inside = INSIDE[name](*xs) if name in INSIDE else np.ones(x.shape, bool)
    return [np.ascontiguousarray(v[inside]) for v in xs]


def native(op, xs):
    return engine.compile_program(program_of(op, xs))(list(xs))[0]


def one_by_one(op, xs):
    """The same in programs of so few elements that no vectors are made of them."""
    run = engine.compile_program(program_of(op, [x[:SCALAR] for x in xs]))
    size = xs[0].size
    starts = [min(k, size - SCALAR) for k in range(0, size, SCALAR)]
    result = np.empty_like(xs[0])
    for k in starts:
        result[k : k + SCALAR] = run([x[k : k + SCALAR] for x in xs])[0]
    return result


def error(found, exact, dtype):
    """The distance from the exact value, in units of its last place. What rounds to infinity may be infinite."""
    limits = np.finfo(dtype)
    largest = mpmath.mpf(float(limits.max))
    if not np.isfinite(found):
        return 0.0 if np.isinf(found) and mpmath.sign(exact) == np.sign(found) and abs(exact) > largest else INF
    _, exponent = mpmath.frexp(exact)
    unit = max(int(exponent) - 1 - limits.nmant if exact else -(10**6), limits.minexp - limits.nmant)
    unit = min(unit, limits.maxexp - 1 - limits.nmant)
    return float(abs(mpmath.mpf(float(found)) - exact) / mpmath.ldexp(1, unit))


def worst(name, dtype, count):
    """The largest error of each way to compute, and where."""
    op, xs = REGISTRY[name](), operands(name, dtype, count)
    assert xs[0].size > count
    results = native(op, xs), one_by_one(op, xs)
    with mpmath.workdps(45):
        exact = [EXACT[name](*[mpmath.mpf(float(v)) for v in point]) for point in zip(*xs, strict=True)]
        for found in results:
            errors = [error(y, e, dtype) for y, e in zip(found, exact, strict=True)]
            k = int(np.argmax(errors))
            yield errors[k], [float(x[k]) for x in xs], found[k]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("count", [60, pytest.param(3000, marks=pytest.mark.exhaustive)])
def test_functions_are_within_four_units_of_the_last_place(name, dtype, count):
    assert_accurate(name, dtype, count)


@pytest.fixture
def without_vector_functions(monkeypatch):
    """A system whose C library has no vector functions."""
    monkeypatch.setattr(Machine, "variant", lambda self, name, bits: None)


@pytest.fixture(params=[256, 128])
def narrower(request, monkeypatch):
    """A processor with registers of this many bits; with 128 bits, it has no fused multiply-add either."""
    machine = Machine()
    if machine.width <= request.param or platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("no narrower than this processor, or of another kind")
    for feature in machine.features:
        if feature.startswith("avx512") or (request.param == 128 and feature.startswith(("avx", "fma", "f16c", "vaes", "vpclmul"))):
            machine.features[feature] = False
    machine.cpu = "x86-64"
    assert machine.width == request.param
    for module in (emitter, instructions, machine_module, formulas_real, builder, vector_variants):
        monkeypatch.setattr(module, "machine", lambda: machine)
    monkeypatch.setattr(engine, "machine", lambda: machine)


def assert_accurate(name, dtype, count, bound=BOUND):
    for errors, at, found in worst(name, dtype, count):
        assert errors <= bound, (at, found)


WRITTEN = [name for name in EXACT if REGISTRY[name].machine in POLYNOMIALS]


@pytest.mark.usefixtures("without_vector_functions")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [*WRITTEN, "logistic"])
@pytest.mark.parametrize("count", [60, pytest.param(3000, marks=pytest.mark.exhaustive)])
def test_polynomials_are_within_two_and_a_half_units_of_the_last_place(name, dtype, count):
    program = program_of(REGISTRY[name](), operands(name, dtype, count))
    assert "_on_vectors" in lower_module(program).ir
    assert_accurate(name, dtype, count, 2.5)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("narrower")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", EXACT)
def test_narrower_vectors_are_as_accurate(name, dtype):
    assert_accurate(name, dtype, 1000)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("narrower", "without_vector_functions")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [*WRITTEN, "logistic"])
def test_polynomials_on_narrower_vectors(name, dtype):
    assert_accurate(name, dtype, 1000, 2.5)


@pytest.mark.usefixtures("without_vector_functions")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", WRITTEN)
def test_infinities_nans_and_signs_of_zeros_in_polynomials(name, dtype):
    check_special(name, dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", EXACT)
def test_infinities_nans_and_signs_of_zeros(name, dtype):
    check_special(name, dtype)


def check_special(name, dtype):
    op = REGISTRY[name]()
    grids = np.meshgrid(*[np.array(SPECIAL, dtype)] * op.arity)
    xs = [np.resize(g.ravel(), max(g.size, 37)) for g in grids]
    with np.errstate(all="ignore"):
        expected = op.impl(*xs)
    for found in (native(op, xs), one_by_one(op, xs)):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(expected)[numbers])
        np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))
        np.testing.assert_array_equal(found == 0, expected == 0)


FEW = {"log": (0.5, 2.0), "log10": (0.5, 2.0), "tan": (0.25, 2.0), "logistic": (-32.0, -2.0), "erf": (0.25, 4.0), "arcsin": (0.25, 1.0)}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FEW)
def test_every_float32_where_the_vector_functions_are_least_accurate(name):
    low, high = sorted(np.array(FEW[name], np.float32).view(np.int32).tolist())
    x = np.arange(low, high, dtype=np.int64).astype(np.int32).view(np.float32)
    op = REGISTRY[name]()
    exact = op.impl(x.astype(np.float64))
    found = native(op, (x,))
    assert (np.abs(found - exact) <= BOUND * np.spacing(np.abs(exact).astype(np.float32))).all()
