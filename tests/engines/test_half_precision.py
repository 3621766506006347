"""Half precision in compiled code equals NumPy's results, computed in single precision and rounded."""

import re

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.core.op import REGISTRY
from cotan.engines.native import engine
from cotan.engines.native.codegen.lower import lower_module
from cotan.engines.native.llvm.jit import Machine, machine
from cotan.ops.casting import ConvertElementType
from cotan.ops.families import Unary

from .test_native import ELEMENTWISE, program_of

HALF = np.dtype(np.float16)
HALVES = np.arange(1 << 16, dtype=np.uint16).view(HALF)
FINITE = HALVES[np.isfinite(HALVES)]
rng = np.random.default_rng(0)


@pytest.fixture(params=["by instructions", "by integers"])
def conversions(request, monkeypatch):
    """Both conversions of halves."""
    if request.param == "by integers":
        monkeypatch.setattr(Machine, "converts_halves", False)
        monkeypatch.setenv("COTAN_CACHE", "0")


def converted(x, dtype):
    """An array in another dtype, by compiled code."""
    program = program_of(ConvertElementType(np.dtype(dtype)), [x])
    code = lower_module(program)
    assert code.callbacks == []
    return engine.compile_program(program)([x])[0]


def identical(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found, expected)
    numbers = ~np.isnan(expected) if expected.dtype.kind in "fc" else np.ones(expected.shape, bool)
    np.testing.assert_array_equal(np.signbit(np.real(found))[numbers], np.signbit(np.real(expected))[numbers])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int8, np.uint8, bool, np.complex64, np.complex128])
def test_every_half_becomes_the_same_number(dtype, conversions):
    x = HALVES if np.dtype(dtype).kind in "fcb" else FINITE[np.abs(FINITE) < 100]
    x = np.abs(x) if np.dtype(dtype).kind == "u" else x
    with np.errstate(all="ignore"):
        identical(converted(x, dtype), x.astype(dtype))


def middles():
    """The numbers between neighbouring halves, and what lies next to these."""
    positive = np.sort(FINITE[FINITE >= 0]).astype(np.float64)
    return np.concatenate([positive, (positive[1:] + positive[:-1]) / 2, [65519.0, 65520.0, 65521.0, 1e6, np.inf, np.nan]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_rounded_once(dtype, conversions):
    middle = middles().astype(dtype)
    with np.errstate(all="ignore"):
        around = np.concatenate(
            [middle, np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf), middle * (1 + 1e-9), middle * (1 - 1e-9)]
        )
        random = rng.normal(size=200_000) * 2.0 ** rng.integers(-30, 18, 200_000)
        x = np.concatenate([around, -around, random.astype(dtype), [np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max]]).astype(dtype)
        identical(converted(x, HALF), x.astype(HALF))


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.uint8, np.uint64, bool])
def test_integers_are_rounded_as_by_numpy(dtype, conversions):
    limits = (0, 2) if dtype is bool else (max(np.iinfo(dtype).min, -70_000), min(np.iinfo(dtype).max, 70_000))
    x = rng.integers(*limits, 50_000).astype(dtype)
    with np.errstate(all="ignore"):
        identical(converted(x, HALF), x.astype(HALF))


def within_an_ulp(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    fine = np.isfinite(expected)
    error = np.abs(found[fine].astype(np.float64) - expected[fine])
    assert (error <= np.spacing(np.abs(expected[fine])).astype(np.float64)).all()


def singly(op, operands):
    """The result of an op in single precision, rounded; the distances to the next float are of halves."""
    if op.name == "nextafter":
        return op.impl(*operands)
    found = op.impl(*[x.astype(np.float32) for x in operands])
    return found.astype(HALF) if found.dtype == np.float32 else found


OPS = {
    name: op
    for name, op in ELEMENTWISE.items()
    if "f" in getattr(op, "takes", "f") and op.arity in (1, 2) and name != "convert_element_type"
}


@pytest.mark.parametrize("name", OPS)
def test_functions_of_halves_are_those_of_singles_rounded(name):
    op = OPS[name]
    operands = [HALVES] if op.arity == 1 else [rng.choice(HALVES, 20_000), rng.choice(HALVES, 20_000)]
    if name in ("polygamma", "bessel_i", "bessel_ie", "gammainc", "gammaincc", "digamma", "lgamma", "sinc_derivative"):
        operands = [x[:: 1 if op.arity == 2 else 37] for x in operands]
    try:
        program = program_of(op, operands)
    except cotan.errors.CotanError:
        pytest.skip("there are no complex numbers of half precision")
    assert lower_module(program).callbacks == []
    with np.errstate(all="ignore"):
        within_an_ulp(engine.compile_program(program)(list(operands))[0], singly(op, operands))


def both(f, *args):
    """A function compiled and on NumPy."""
    report = cotan.compile_report(f)(*args)
    assert report.outside == ()
    return cotan.jit(f, engine="native")(*args), cotan.jit(f, engine="numpy")(*args)


def test_sums_and_products_are_rounded_once():
    x, y = (rng.normal(size=(300, 200)).astype(HALF) for _ in range(2))
    for f in (cnp.sum, lambda x: cnp.sum(x, axis=0), lambda x: cnp.sum(x, axis=1), cnp.mean, lambda x: cnp.max(x, axis=0)):
        found = cotan.jit(f)(x)
        exact = np.asarray(f(cnp.asarray(x.astype(np.float64))))
        assert found.dtype == HALF
        np.testing.assert_array_less(np.abs(found - exact), 0.51 * np.spacing(np.abs(exact).astype(HALF)).astype(np.float64) + 1e-4)
    exact = x.astype(np.float64) @ y.T.astype(np.float64)
    found = cotan.jit(lambda x, y: x @ y.T)(x, y)
    np.testing.assert_allclose(found, exact, rtol=6e-4, atol=1e-3)


MOVED = rng.normal(size=(6, 5)).astype(HALF)
FUNCTIONS = {
    "sort": lambda x: cnp.sort(x, axis=0),
    "argsort": lambda x: cnp.argsort(x, axis=1),
    "argmax": lambda x: cnp.argmax(x, axis=0),
    "median": lambda x: cnp.median(x, axis=1),
    "where": lambda x: cnp.where(x > 0, x, -x * x),
    "gather": lambda x: x[np.array([3, 1, 1])],
    "set": lambda x: x.at[2].set(x[0]).at[:, 1].set(0.5),
    "add": lambda x: x.at[np.array([0, 0, 3])].add(x[:3]),
    "move": lambda x: cnp.concatenate([x.T, cnp.flip(x.T, 0)], axis=0)[1:],
    "pad": lambda x: cnp.pad(x, 1),
    "sign": lambda x: cnp.sign(x) + cnp.floor(x),
    "iota": lambda x: x + cnp.arange(5, dtype=HALF),
    "cond": lambda x: lax.cond(cnp.sum(x) > 0, lambda v: v * 2, lambda v: v / 2, x),
    "scan": lambda x: lax.scan(lambda c, row: (c * row + row, c), x[0], x),
    "while": lambda x: lax.while_loop(lambda c: cnp.sum(cnp.abs(c)) > 1, lambda c: c / 2, x),
    "map": lambda x: lax.map(lambda row: cnp.sin(row) * row, x),
    "gradient": lambda x: cotan.grad(lambda v: cnp.sum(cnp.sin(v) * v + cnp.exp(-v)))(x),
    "gradient of a loop": lambda x: cotan.grad(lambda v: cnp.sum(lax.fori_loop(0, 3, lambda i, c: cnp.sin(c) * v, v)))(x),
    "reshape": lambda x: x.reshape(5, 6).astype(np.float64) * 2,
    "next": lambda x: cnp.nextafter(x, cnp.zeros_like(x)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_programs_of_halves_are_whole(name):
    found, expected = both(FUNCTIONS[name], MOVED)
    for x, y in zip(found if type(found) is tuple else [found], expected if type(expected) is tuple else [expected], strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_allclose(np.asarray(x, float), np.asarray(y, float), rtol=4e-3, atol=2e-3)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0), (33,)], ids=str)
def test_halves_of_any_shape(shape):
    x = rng.normal(size=shape).astype(HALF)
    found, expected = both(lambda x: (x * 2 + 1, cnp.sum(x * x), x > 0), x)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=2e-3)


def test_code_without_instructions_for_halves_converts_none(monkeypatch):
    """LLVM would make a call of each, of a function that a process may not have."""
    program = program_of(REGISTRY["mul"](), [MOVED, MOVED])
    conversions = re.compile(r"fpext half|fptrunc \w+ .* to half")
    assert conversions.search(lower_module(program).ir) or not machine().converts_halves
    monkeypatch.setattr(Machine, "converts_halves", False)
    assert not conversions.search(lower_module(program).ir)
    identical(engine.compile_program(program)([MOVED, MOVED])[0], MOVED * MOVED)


def test_what_python_runs_is_given_halves():
    """An op of the user's own that has no code sees the dtype that it was written for, also if it is one by one element."""
    bits = cotan.extend.primitive(
        "bits_of_halves_of_test", lambda x: np.asarray(x).view(np.uint16).astype(np.int64), jvp=lambda primals, _: (bits(*primals), None)
    )

    class Gap(Unary):
        """Neighbours of 1, times x. It has no word in native code."""

        name, takes, machine = "gap_of_test", "f", "gap_of_test"
        numpy = staticmethod(lambda x: x * np.finfo(x.dtype).eps)

    gap = Gap()
    x = rng.normal(size=7).astype(HALF)
    for f, expected in ((bits, (x + x).view(np.uint16)), (gap, (x + x) * np.finfo(HALF).eps)):
        program = lambda x, f=f: f(x + x)  # noqa: E731
        assert len(cotan.compile_report(program)(x).outside) == 1
        np.testing.assert_array_equal(cotan.jit(program)(x), expected)
