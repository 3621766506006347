"""The native engine equals NumPy: every op that it compiles, on examples and difficult numbers; and programs."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.core.program import Equation, Program, Var
from cotan.core.tracing import type_of
from cotan.core.types import array_type
from cotan.engines import numpy as numpy_engine
from cotan.engines.native import engine
from cotan.engines.native.analysis.access import access_summary
from cotan.engines.native.codegen.lower import lower_module
from cotan.engines.native.passes.simplify import simplify
from cotan.engines.native.runtime.thread_pool import limited
from cotan.engines.native.schedule.fusion import Schedule
from cotan.engines.native.schedule.loop_nest import Loop, Statement
from cotan.errors import ArgumentError, CotanError

from ..conformance.cases import ALL_CASES, DTYPES, in_dtypes, label
from ..laws.programs import random_programs

INF, NAN = np.inf, np.nan
HARD = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, 1e-310, 5e-324, 1e300, -1e300, 1e-5, 20.0, -20.0, 710.0, -745.2, 1e6, INF, -INF, NAN]
# How far a function of libmvec may be from NumPy's, in units of the last place (libmvec states 4, and NumPy's own are not exact either).
ULPS = 8


def program_of(op, operands):
    """The Program of one op on arrays."""
    types = [array_type(type_of(x).shape, type_of(x).dtype) for x in operands]
    inputs = [Var(t) for t in types]
    output = Var(op.type_rule(*types))
    return Program(inputs, [Equation(op, inputs, [output], None)], [output])


def native_cases(cases):
    seen = []
    for case in cases:
        try:
            program = program_of(case.op, case.operands) if not case.op.multiple else None
        except CotanError:  # no such dtype
            continue
        if program is not None and access_summary(case.op, program.input_types) is not None:
            seen.append(case)
    return seen


CASES = native_cases([*ALL_CASES, *in_dtypes(ALL_CASES, DTYPES)])


def agree(found, expected, ulps=ULPS):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if expected.dtype.kind == "c":  # next to the size of the number: a part may cancel
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
        fine = np.isfinite(expected)
        error = np.abs(found - expected)[fine] / np.maximum(np.spacing(np.abs(expected[fine])), np.finfo(expected.dtype).tiny)
        assert error.max(initial=0) <= ulps, (error.max(), found, expected)
        return
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))
    fine = np.isfinite(expected)
    tiny = np.finfo(expected.dtype).tiny
    error = np.abs(found[fine].astype(np.float64) - expected[fine]) / np.maximum(np.spacing(np.abs(expected[fine])), tiny)
    assert error.max(initial=0) <= ulps, (error.max(), found, expected)


def reference(op, operands):
    """The result of NumPy; for halves in single precision, then rounded: NumPy may round several steps of one op."""
    if op.family != "elementwise" or op.name in ("nextafter", "convert_element_type") or np.float16 not in [x.dtype for x in operands]:
        return op.impl(*operands)
    found = op.impl(*[x.astype(np.float32) if x.dtype == np.float16 else x for x in operands])
    return found.astype(np.float16) if found.dtype == np.float32 else found


def test_most_elementwise_ops_have_instructions():
    names = {case.op.name for case in CASES}
    assert len(names) >= 50
    assert {"add", "mul", "scale", "sin", "exp", "tanh", "power", "select_n", "maximum", "less", "convert_element_type"} <= names


@pytest.mark.parametrize("case", [pytest.param(case, id=label(case)) for case in CASES])
def test_an_op_is_what_it_is_in_numpy(case):
    operands = [np.asarray(x) for x in case.operands]
    program = program_of(case.op, operands)
    run, report = engine.compile_with_report(program)
    assert not report.outside or case.op.update is not None
    with np.errstate(all="ignore"):
        found, expected = run(list(operands))[0], reference(case.op, operands)
        form = access_summary(case.op, program.input_types)
        if form.monoid in ("add", "mul") and expected.dtype.kind in "fc":  # next to the terms: they may cancel, in any order
            size = np.maximum(case.op.impl(*map(np.abs, operands)), np.finfo(expected.dtype).tiny)
            assert found.dtype == expected.dtype
            assert (np.abs(found - expected) <= ULPS * np.spacing(size)).all()
        else:
            agree(found, expected)


ELEMENTWISE = {
    case.op.name: case.op for case in CASES if all(np.asarray(x).dtype == np.float64 for x in case.operands) and hasattr(case.op, "arity")
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_hard_numbers(name, dtype):
    op = ELEMENTWISE[name]
    if dtype is np.float32 and "f" not in getattr(op, "takes", "f"):
        pytest.skip("of float64 alone")
    with np.errstate(all="ignore"):
        numbers = np.array(HARD, np.float64).astype(dtype)
        many = np.resize(numbers, 37)  # a vector loop and what is left over
        grids = [many] if op.arity == 1 else [a.ravel() for a in np.meshgrid(*[numbers] * op.arity)] if op.arity == 2 else None
        if grids is None:
            pytest.skip("three operands")
        program = program_of(op, grids)
        found, expected = engine.compile_program(program)(list(grids))[0], op.impl(*grids)
        if name in ("power", "hypot", "arctan2") and dtype is np.float32:
            agree(found, expected, 16)
        else:
            agree(found, expected)


def test_denormals_signs_and_zeros_are_kept():
    x = np.array([5e-324, -0.0, 0.0, -5e-324])
    for f in (lambda x: x * 1.0, lambda x: -x, cnp.abs, cnp.floor, lambda x: cnp.sign(x) * 1.0, lambda x: cnp.copysign(1.0, x)):
        found, expected = cotan.jit(f, engine="native")(x), np.asarray(f(x))
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0), (7,), (1025,), (3, 5), (4, 1, 6)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int8, np.uint32, bool])
def test_shapes_and_dtypes(shape, dtype):
    x = (np.random.default_rng(0).uniform(-3, 3, shape) * 10).astype(dtype)

    def f(x):
        y = cnp.where(x > 1, x + x, x)
        return y, cnp.equal(x, y), cnp.sum(y.astype(float) * 0.5), cnp.broadcast_to(x, (2, *x.shape)).astype(float) * 2.0

    for found, expected in zip(cotan.jit(f, engine="native")(x), f(x), strict=True):
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-14)
        assert found.dtype == np.asarray(expected).dtype
        assert np.shape(found) == np.shape(expected)


def test_any_memory_layout():
    base = np.random.default_rng(1).normal(size=(6, 8))
    f = cotan.jit(lambda x: cnp.sin(x) * 2.0 + x, engine="native")
    unaligned = np.frombuffer(b"\0" + base.tobytes(), np.uint8)[1:].view(np.float64).reshape(base.shape)
    assert not unaligned.flags.aligned
    for x in (
        base,
        base.T,
        base[::2],
        base[:, ::-1],
        base.astype(">f8"),
        np.asfortranarray(base),
        np.broadcast_to(base[0], (6, 8)),
        unaligned,
    ):
        np.testing.assert_allclose(f(x), np.sin(x) * 2.0 + x, rtol=1e-14)
    read_only = base.copy()
    read_only.flags.writeable = False
    np.testing.assert_allclose(f(read_only), np.sin(base) * 2.0 + base, rtol=1e-14)
    structured = np.zeros(5, [("a", np.int8), ("x", np.float64)])
    structured["x"] = np.arange(5)
    np.testing.assert_allclose(f(structured["x"]), np.sin(np.arange(5.0)) * 2.0 + np.arange(5.0), rtol=1e-14)


def test_arguments_are_not_changed_and_results_are_new():
    x = np.ones(10)
    f = cotan.jit(lambda x: (x, x * 1.0, x + 0.0), engine="native")
    a, b, c = f(x)
    for y in (a, b, c):
        y[0] = 7.0
    assert (x == 1).all()


def test_long_sums_are_accurate():
    x = np.random.default_rng(2).uniform(0, 1, 1_000_003).astype(np.float32)
    found = cotan.jit(cnp.sum, engine="native")(x * 1)
    f = cotan.jit(lambda x: cnp.sum(x * 1.0), engine="native")
    exact = x.astype(np.float64).sum()
    assert abs(float(f(x)) - exact) <= 1e-6 * exact
    assert abs(float(found) - exact) <= 1e-6 * exact


@given(random_programs())
def test_programs_agree_with_the_numpy_engine(program):
    f, inputs = program.on(cnp), program.inputs()
    for g in (f, lambda *x: cotan.jvp(f, x, x), lambda *x: cotan.vjp(f, *x)[1](cnp.ones_like(f(*x)))):
        staged = cotan.stage(g)(*inputs)
        arguments = [*staged.constants, *inputs]
        for a, b in zip(engine.compile_program(staged)(list(arguments)), numpy_engine.run(staged, arguments), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_equal_equations_are_computed_once_and_calls_are_written_out():
    inner = cotan.jit(lambda x: cnp.sin(x) + cnp.exp(x))
    program, _ = simplify(cotan.stage(lambda x: inner(x) * inner(x) + cnp.sin(x))(np.ones(3)))
    names = [e.op.name for e in program.equations]
    assert names.count("sin") == names.count("exp") == 1
    assert "call" not in names


def test_what_checkpoint_computes_again_is_not_merged():
    f = cotan.checkpoint(lambda x: cnp.sum(cnp.sin(cnp.exp(x))))
    program, _ = simplify(cotan.stage(cotan.value_and_grad(f))(np.ones(3)))
    assert "again" in [e.op.name for e in program.equations]


def test_a_gradient_is_one_loop():
    f = lambda x: cnp.sum(cnp.sin(x) * cnp.exp(-(x**2)) + cnp.tanh(x))  # noqa: E731
    schedule = Schedule(simplify(cotan.stage(cotan.value_and_grad(f))(np.ones(1000)))[0])
    (loop,) = [node for node in schedule.root.body if isinstance(node, Loop)]
    assert all(isinstance(node, Statement) for node in loop.body)


def test_a_long_program_is_cut_in_pieces():
    def f(x):
        for k in range(1500):
            x = cnp.sin(x) * 0.5 + k
        return x

    for n in (5, 40):
        x = np.linspace(0, 1, n)
        np.testing.assert_allclose(cotan.jit(f, engine="native")(x), f(x), rtol=1e-12)


MOVES = {
    "flip": lambda x: x[::-1],
    "transpose": lambda x: x.T,
    "roll": lambda x: cnp.roll(x, 1, axis=0),
    "roll of a sum": lambda x: cnp.roll(x + 1, 2, axis=0),
    "pad and add": lambda x: cnp.pad(x[1:], ((0, 1), (0, 0))) - 1,
    "join of parts": lambda x: cnp.concatenate([x[:1] * 2, x[1:]], axis=0),
}


@pytest.mark.parametrize(("move", "depth"), [(move, n) for move in MOVES for n in ((50, 51, 400) if " " not in move else (60,))])
def test_data_movement_of_any_length(move, depth):
    move = MOVES[move]

    def f(x):
        for _ in range(depth):
            x = move(x)
        return x

    for shape in ((3, 4), (60, 50)):
        x, weights = np.arange(np.prod(shape) * 1.0).reshape(shape), f(np.ones(shape)).cumsum(axis=1)
        np.testing.assert_array_equal(cotan.jit(f, engine="native")(x), f(x))
        grad = cotan.grad(lambda x, w=weights: cnp.sum(f(x) ** 2 * w))
        np.testing.assert_array_equal(cotan.jit(grad, engine="native")(x), grad(x))


@pytest.mark.parametrize("count", [90, 120, 1500])
def test_kernels_of_many_operands(count):
    f = cotan.jit(lambda *xs: [x * 2.0 + xs[0] for x in xs], engine="native")
    xs = [np.full(3, float(k)) for k in range(count)]
    for x, y in zip(xs, f(*xs), strict=True):
        np.testing.assert_array_equal(y, 2 * x)


def test_many_threads_at_once():
    f = cotan.jit(lambda x: cnp.sum(cnp.sin(x) * x), engine="native")
    xs = [np.full(20_000, float(k)) for k in range(8)]
    expected = [float(np.sum(np.sin(x) * x)) for x in xs]
    wrong = []

    def work(x, y):
        wrong.extend(y for _ in range(50) if not np.isclose(float(f(x)), y, rtol=1e-12))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(xs, expected, strict=True)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_the_choice_of_an_engine(monkeypatch):
    with pytest.raises(ArgumentError, match="engine"):
        cotan.jit(lambda x: x, engine="fast")
    monkeypatch.setenv("COTAN_ENGINE", "native")
    np.testing.assert_allclose(cotan.jit(lambda x: cnp.sin(x) * 2)(np.ones(3)), np.sin(1.0) * 2)
    monkeypatch.setenv("COTAN_ENGINE", "none")
    with pytest.raises(ArgumentError, match="engine"):
        cotan.jit(lambda x: x)(1.0)
    np.testing.assert_allclose(cotan.jit(lambda x: cnp.sin(x) * 2, engine="numpy")(np.ones(3)), np.sin(1.0) * 2)


# ---- reductions over the last axes ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(7,), (1,), (3, 5), (2, 3, 4), (4, 3000), (2, 2048), (5, 1), (1, 6), (3, 0), (0, 3)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_reductions_join_the_loop_of_their_operand(shape, dtype):
    x = np.random.default_rng(3).normal(size=shape).astype(dtype)
    for first in range(len(shape)):
        axes = tuple(range(first, len(shape)))

        def f(x, axes=axes):
            y = cnp.sin(x) * x.dtype.type(2)
            wide = y + cnp.sum(x, axis=-1, keepdims=True) * x.dtype.type(0.1)  # a broadcast: axis by axis
            found = [cnp.sum(y, axis=axes), cnp.sum(y * y, axis=axes), y, cnp.sum(wide, axis=axes)]
            return [*found, cnp.max(y, axis=axes), cnp.min(y, axis=axes), cnp.max(wide, axis=axes)] if x.size else found

        staged = cotan.stage(f)(x)
        assert not lower_module(simplify(staged)[0]).callbacks
        for a, b in zip(
            engine.compile_program(staged)([*staged.constants, x]), numpy_engine.run(staged, [*staged.constants, x]), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=2e-5 if dtype is np.float32 else 1e-12, atol=2e-4 if dtype is np.float32 else 1e-12)
            assert np.asarray(a).dtype == np.asarray(b).dtype
            assert np.shape(a) == np.shape(b)


def test_extrema_of_nan_and_infinity():
    x = np.array([[1.0, NAN, 2.0], [INF, 1.0, -INF], [-INF, -INF, -INF]])
    for f in (lambda x: cnp.max(x * 1.0, axis=1), lambda x: cnp.min(x * 1.0, axis=1), lambda x: cnp.sum(x * 1.0, axis=1)):
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(cotan.jit(f, engine="native")(x), f(x))


@pytest.mark.parametrize("name", ["softmax", "layernorm", "logsumexp"])
def test_rows(name):
    def normalized(x):
        centred = x - cnp.mean(x, axis=1, keepdims=True)
        return cnp.sum((centred / cnp.sqrt(cnp.mean(centred**2, axis=1, keepdims=True) + 1e-5)) ** 3)

    f = {
        "softmax": lambda x: cnp.sum(cotan.special.softmax(x, axis=1) ** 2),
        "layernorm": normalized,
        "logsumexp": lambda x: cnp.sum(cotan.special.logsumexp(x, axis=1)),
    }[name]
    x = np.random.default_rng(4).normal(size=(33, 70))
    np.testing.assert_allclose(cotan.jit(cotan.grad(f), engine="native")(x), cotan.grad(f)(x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x[:, :10] * 2.0,
        lambda x: cnp.sin(x[:5, :10]),
        lambda x: cnp.pad(x, [(0, 0), (0, 2)]) * 1.0,
        lambda x: cnp.pad(x, [(0, 2), (0, 2)]).sum(),
        lambda x: cnp.where(cnp.arange(13) < 4, x, 0.0),
        lambda x: cnp.tril(x) * 2.0,
        lambda x: x + cnp.arange(13.0) + cnp.arange(9.0)[:, None],
    ],
)
def test_loops_are_one_only_where_nothing_depends_on_the_place(f):
    x = np.random.default_rng(0).normal(size=(9, 13))
    np.testing.assert_allclose(cotan.jit(f, engine="native")(x), f(cnp.asarray(x)), rtol=1e-14)


def test_an_array_that_is_updated_in_place_is_read_anew():
    def f(x):
        for i in range(60):
            x = x.at[i].set(cnp.sin(x[i - 1]) + x[i])
        return x

    x = np.random.default_rng(0).uniform(0.1, 0.9, 60)
    np.testing.assert_allclose(cotan.jit(f, engine="native")(x), f(cnp.asarray(x)), rtol=1e-13)
    g = cotan.grad(lambda x: cnp.sum(f(x) ** 2))
    np.testing.assert_allclose(cotan.jit(g, engine="native")(x), g(x), rtol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "moved",
    [
        lambda x: cnp.pad(x, (1, 0)),
        lambda x: cnp.pad(x, (0, 3)),
        lambda x: cnp.concatenate([x[3:], x[:3]]),
        lambda x: cnp.concatenate([x[:100], x[50:], x[:90_000]]),
    ],
)
def test_a_sum_over_pieces_counts_each_element_once_on_any_number_of_threads(moved, threads):
    x = np.arange(140_000.0)
    with limited(threads):
        total, each = cotan.jit(lambda x: (lambda d: (cnp.sum(d * d), d + 1.0))(moved(x)), engine="native")(x)
    expected = np.asarray(moved(cnp.asarray(x)))
    np.testing.assert_array_equal(each, expected + 1.0)
    np.testing.assert_allclose(total, np.sum(expected**2), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64, np.float64, np.int16, np.float16])
def test_long_straight_code_updates_arrays_of_any_dtype(dtype):
    def f(x):
        for i in range(60):
            x = x.at[i].add(x[i - 1] + x[i])
        for i in range(60):
            x = x.at[i, 0].set(x[i, 1] * 2)
        return x

    x = np.random.default_rng(0).integers(0, 2, (60, 3)).astype(dtype) / (1 if dtype is np.int16 else 1024)
    with np.errstate(over="ignore"):
        x = x.astype(dtype)
        np.testing.assert_allclose(cotan.jit(f, engine="native")(x), f(cnp.asarray(x)), rtol=1e-6)


def test_a_jitted_loop_of_unknown_length_is_linearized_from_outside():
    def f(x):
        return lax.while_loop(lambda c: c[0] < 5.0, lambda c: (c[0] * 1.5, cnp.sin(c[1]) * c[1]), (1.0, x))[1]

    x = np.array([0.5, 1.0, 2.0])
    jitted = cotan.jit(f, engine="native")
    np.testing.assert_allclose(cotan.linearize(jitted, x)[1](np.ones(3)), cotan.linearize(f, x)[1](np.ones(3)), rtol=1e-13)
    np.testing.assert_allclose(cotan.grad(lambda x: cnp.sum(jitted(x)))(x), cotan.grad(lambda x: cnp.sum(f(x)))(x), rtol=1e-13)


def test_derivatives_of_associative_scans_of_empty_rows():
    x = np.zeros((7, 0), np.float32)
    found = cotan.jit(cotan.grad(lambda v: cnp.sum(lax.associative_scan(cnp.multiply, v, reverse=True) ** 2)), engine="native")(x)
    assert (found.shape, found.dtype) == ((7, 0), np.float32)
