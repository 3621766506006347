"""`why_nan` names the operation that made a result nan or infinite, and says what is harmless."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.errors import ArgumentTypeError, CotanError, TracerConversionError
from cotan.explanation.nonfinite import loop_states, watching
from tests.conformance.cases import FIRST_ORDER_OPS, Case
from tests.engines.random_programs import made
from tests.test_strong_zeros import IDIOMS, modes, second_modes


def why(f: Any, *args: Any, **kwargs: Any) -> cotan.NonFinite:
    """The report, whose text has been made, with lines of at most 80 columns beside those of the source."""
    report = cotan.why_nan(f, *args, **kwargs)
    lines = str(report).splitlines()
    quoted = {k + d for k, line in enumerate(lines) if ", in " in line for d in (0, 1, 2)}
    assert all(len(line) <= 80 for k, line in enumerate(lines) if k not in quoted and not line.startswith(report.function[:5])), report
    return report


def quietly(f: Any, *args: Any) -> Any:
    """What the function gives, without NumPy's warnings."""
    with np.errstate(all="ignore"):
        return f(*args)


def finite(results: Any) -> bool:
    leaves = map(np.asarray, cotan.tree.leaves(results))
    return all(np.isfinite(y).all() for y in leaves if y.dtype.kind in "fc")


# ---- operations of the function ----------------------------------------------------------------------------------------------
FORWARD = {
    "log": (lambda x: cnp.log(x), np.array([1.0, 0.0]), "log", (1,), (0.0,)),
    "sqrt": (lambda x: cnp.sqrt(x), np.array([-4.0, 0.0]), "sqrt", (0,), (-4.0,)),
    "divide": (lambda x: 1.0 / x, np.array([[1.0, 2.0], [0.0, 4.0]]), "divide", (1, 0), (1.0, 0.0)),
    "overflow": (lambda x: cnp.exp(x), np.array([1.0, 1000.0]), "exp", (1,), (1000.0,)),
    "power": (lambda x: x**-2.5, np.array([1.0, 0.0]), "power", (1,), (0.0, -2.5)),
    "arccos": (lambda x: cnp.arccos(x), np.array([0.5, 1.5]), "arccos", (1,), (1.5,)),
    "narrow": (lambda x: x.astype(np.float16), np.array([1.0, 1e6]), "astype", (1,), (1e6,)),
    "of inf - inf": (lambda x: cnp.exp(x) - cnp.exp(x), np.array([1000.0]), "exp", (0,), (1000.0,)),
    "complex": (lambda x: cnp.log(x + 0j), np.array([1.0, 0.0]), "log", (1,), (0j,)),
}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("jitted", [False, True])
def test_the_first_operation_is_named_with_index_and_operands(name, jitted):
    f, x, op, index, operands = FORWARD[name]
    report = why(cotan.jit(f) if jitted else f, x)
    assert report.found
    assert (report.source.of, report.source.phase, report.source.index, report.source.operands) == (op, "value", index, operands)
    assert not np.isfinite(report.source.result)
    assert report.source.origin.filename == __file__
    assert report.source.origin.source.startswith(f'"{name}": (lambda x: ')
    assert report.advice
    assert report.result.startswith("result[")


@pytest.mark.parametrize("jitted", [False, True])
def test_the_way_to_the_result_is_told_from_the_source_on(jitted):
    def f(x):
        a = cnp.log(x)
        b = a - a
        return cnp.sum(b * 2.0)

    report = why(cotan.jit(f) if jitted else f, np.array([1.0, 0.0, 3.0]))
    assert [o.of for o in report.chain] == ["log", "sub", "multiply", "reduce_sum"]
    assert [o.index for o in report.chain] == [(1,), (1,), (1,), ()]
    assert [str(o.result) for o in report.chain] == ["-inf", "nan", "nan", "nan"]
    assert [o.origin.line - f.__code__.co_firstlineno for o in report.chain] == [1, 2, 3, 3]


def test_the_element_on_the_way_is_the_one_that_reaches_the_result():
    """log(0) at [0, 0] is left out by the slice; the way from [1, 1] goes through a product, a sort and a cumulative sum."""

    def f(x):
        y = cnp.log(x)
        return cnp.cumsum(cnp.sort((y @ np.ones((3, 2)))[1:]), axis=1)

    report = why(f, np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]))
    assert report.result == "result[0, 0]"
    assert (report.source.of, report.source.index) == ("log", (1, 1))


def test_results_are_named_in_their_tree():
    report = why(lambda x: {"a": x, "b": [x, cnp.log(x)]}, np.array([1.0, 0.0]))
    assert (report.result, str(report.value)) == ("result['b'][1][1]", "-inf")


def test_a_nan_is_reported_before_an_infinity():
    report = why(lambda x: (1.0 / x, cnp.sqrt(x - 1.0)), np.array([0.0]))
    assert (report.result, report.source.of) == ("result[1][0]", "sqrt")
    assert [o.of for o in report.others] == ["divide"]


def test_python_code_takes_its_course():
    def f(x):
        y = x
        while y < 10.0:
            y = y * 2.0
        if int(y) > 5:
            return cnp.log(y - y)
        return y

    assert why(f, 1.0).source.operands == (0.0,)
    assert why(cotan.grad(f), 1.0).source.title == "the local derivative of log"


def test_of_two_needed_infinities_the_first_is_named():
    report = why(lambda x: cnp.minimum(-cnp.log(x), 1.0 / x), 0.0)
    assert report.source.of == "log"


def test_an_infinity_comes_before_what_would_be_infinite_anyway():
    report = why(cotan.grad(lambda x: cnp.sum(1.0 / x)), np.array([0.0]))
    assert report.source.title == "divide"
    assert (report.source.operands, report.chain[1].operands) == ((1.0, 0.0), (np.inf, 0.0))


def test_outside_code_is_named():
    f = lambda x: 2.0 * cotan.pure_callback(lambda v: v / np.zeros(2), cotan.ShapeDtypeStruct((2,), np.float64), x)  # noqa: E731
    report = why(f, np.ones(2))
    assert "<lambda> (test_why_nan.py" in report.source.of
    assert report.source.index == (0,)


def test_linear_algebra():
    report = why(lambda a: cnp.linalg.slogdet(a), np.ones((2, 2)))
    assert (report.source.of, report.result) == ("slogdet", "result.logabsdet")
    report = why(cotan.grad(lambda a: cnp.sum(cnp.linalg.eigh(a)[1])), np.eye(2))
    assert report.source.title == "the local derivative of eigh"
    report = why(lambda a, b: cnp.linalg.solve(a, b), np.array([[1.0, 0.0], [0.0, np.nan]]), np.ones(2))
    assert (report.argument, report.source, report.chain[0].of) == ("args[0][1, 1]", None, "solve")


def test_a_singular_matrix_is_named():
    report = why(lambda a: cnp.linalg.solve(a, np.ones(2)), np.zeros((2, 2)))
    assert report.source.of == "solve"
    report = why(cotan.grad(lambda a: cnp.sum(cnp.linalg.cholesky(a))), -np.eye(2))
    assert report.source.of == "cholesky"


def test_an_error_of_the_run_is_raised():
    with pytest.raises(ValueError, match="negative integer powers"):
        cotan.why_nan(lambda x, k: x * cnp.power(2, k), 1.0, np.array([-1]))


# ---- derivatives ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("wrap", [lambda f: f, cotan.jit, lambda f: cotan.jit(cotan.jit(f)), cotan.checkpoint])
@pytest.mark.parametrize("outer", [lambda f: f, cotan.jit])
def test_an_infinite_local_derivative_is_named_with_the_operand(wrap, outer):
    def loss(x):
        return cnp.sum(cnp.sqrt(x) * 3.0)

    report = why(outer(cotan.grad(wrap(loss))), np.array([1.0, 0.0, 4.0]))
    source = report.source
    assert (source.title, source.name, source.index, source.given) == ("the local derivative of sqrt", "div", (1,), (0.0,))
    assert source.origin.line == loss.__code__.co_firstlineno + 1
    assert report.result == "result[1]"
    assert report.chain[-1].phase == "backward"
    assert "cnp.where(x > 0, cnp.sqrt(x), 0.0)" in " ".join(str(report).split())


def test_forward_mode_and_second_order():
    f = lambda x: cnp.sum(cnp.sqrt(x))  # noqa: E731
    x = np.array([1.0, 0.0])
    report = why(lambda x: cotan.jvp(f, (x,), (cnp.ones_like(x),)), x)
    assert (report.result, report.source.title) == ("result[1]", "the local derivative of sqrt")
    assert report.chain[1].phase == "tangent"
    report = why(cotan.hessian(lambda x: cnp.sum(x**1.5)), x)
    assert (report.source.title, report.source.operands, report.source.given) == ("the local derivative of power", (0.0, -0.5), (0.0, 0.5))


def test_a_nan_of_the_function_is_named_before_those_of_its_derivative():
    report = why(cotan.value_and_grad(lambda x: cnp.sum(cnp.log(x) * x)), np.array([1.0, -1.0]))
    assert (report.source.title, report.source.operands) == ("log", (-1.0,))


def test_where_is_no_help_if_a_product_comes_between():
    """A sum of products has no strong zero: the zero that where() gives meets the infinite derivative in a matmul."""
    report = why(lambda x: cnp.where(x > 0, 1.0, 0.0) @ (1.0 / x), np.array([1.0, 0.0]))
    assert (report.source.of, report.chain[-1].of) == ("divide", "matmul")
    assert np.isnan(report.value)


def test_custom_rules_are_named_with_their_line():
    @cotan.custom_jvp
    def f(x):
        return cnp.sqrt(x)

    @f.defjvp
    def f_jvp(primals, tangents):
        return f(primals[0]), tangents[0] * 0.5 / cnp.sqrt(primals[0])

    @cotan.custom_vjp
    def g(x):
        return cnp.sqrt(x)

    def g_bwd(x, bar):
        return (bar * 0.5 / cnp.sqrt(x),)

    g.defvjp(lambda x: (cnp.sqrt(x), x), g_bwd)
    for h, line in ((f, "return f(primals[0])"), (g, "return (bar * 0.5")):
        for transformed in (cotan.grad(lambda x, h=h: cnp.sum(h(x))), cotan.jit(cotan.vmap(cotan.grad(h)))):
            report = why(transformed, np.array([1.0, 0.0]))
            assert report.source.origin.source.startswith(line)
            assert report.source.title.startswith(f"the backward pass of {h.__name__} (test_why_nan.py")
            assert (report.source.name, report.source.index) == ("div", (1,))


# ---- loops, branches, batches -----------------------------------------------------------------------------------------------------
def summed_logs(x, n=100):
    """log(0) in step 17, with a carry of -inf that is meant."""
    return lax.scan(lambda c, i: ((c[0] + cnp.log(cnp.abs(i - 17.0)) * x, cnp.maximum(c[1], i)), c[0]), (x, -cnp.inf), cnp.arange(float(n)))


@pytest.mark.parametrize("outer", [lambda f: f, cotan.jit, cotan.grad, lambda f: cotan.jit(cotan.grad(f)), cotan.checkpoint])
def test_the_step_of_a_scan(outer):
    report = why(outer(lambda x: summed_logs(x)[0][0]), 2.0)
    assert (report.source.title, report.source.operands) == ("log", (0.0,))
    assert len(report.source.steps) == 1
    assert report.source.steps[0].startswith("step 17 of 0..99 of scan (test_why_nan.py:")


def test_the_step_of_an_entry_of_the_ys():
    report = why(lambda x: summed_logs(x)[1], 2.0)
    assert report.result == "result[18]"
    assert report.source.steps[0].startswith("step 17 ")
    report = why(lambda x: lax.map(lambda v: 1.0 / v, x), np.array([1.0, 2.0, 0.0]))
    assert report.source.steps[0].startswith("step 2 of 0..2 of scan")


def test_the_step_of_the_backward_pass():
    """The derivative of sqrt is infinite in step 3 alone, and forward all is finite."""
    f = lambda x: lax.scan(lambda c, i: (c + cnp.sqrt(cnp.where(i == 3.0, c - c, 1.0)), None), x, cnp.arange(9.0))[0]  # noqa: E731
    assert not why(f, 1.0).found
    for g in (cotan.grad(f), cotan.jit(cotan.grad(f))):
        report = why(g, 1.0)
        assert (report.source.title, report.source.given) == ("the local derivative of sqrt", (0.0,))
        assert report.source.steps[0].startswith("step 3 of 0..8 of scan")


def test_steps_of_nested_scans():
    def f(x):
        inner = lambda c, i: (c + cnp.sqrt(cnp.where(i == -3.0, c, 1.0)), None)  # noqa: E731
        return lax.scan(lambda c, j: (lax.scan(inner, c, cnp.arange(4.0) - 5.0 * j)[0], c), x, cnp.arange(3.0))[0]

    for g in (f, cotan.grad(f), cotan.jit(cotan.grad(f))):
        report = why(g, -20.0)
        assert [s.partition(" of scan")[0] for s in report.source.steps] == ["step 1 of 0..2", "step 2 of 0..3"]


def test_elements_that_move_from_carry_to_carry_are_followed():
    """The carries are exchanged in each step, or mixed by a matrix, so that the way goes through every step."""

    def exchanged(x):
        step = lambda c, i: ((c[1], cnp.where(i == 5.0, cnp.log(i - 5.0) + c[0], c[0])), None)  # noqa: E731
        return lax.scan(step, (x, x), cnp.arange(300.0))[0]

    def mixed(x):
        a = np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.1, 0.0, 0.9]])
        last = np.array([False, False, True])
        step = lambda c, i: (a @ c + cnp.where(last & (i == 100.0), cnp.sqrt(90.0 - i), 0.0), None)  # noqa: E731
        return lax.scan(step, x, cnp.arange(300.0))[0]

    report = why(exchanged, 1.0)
    assert report.source.steps[0].startswith("step 5 ")
    assert report.source.of == "log"
    report = why(mixed, np.ones(3))
    assert (report.source.of, report.source.index, report.source.operands) == ("sqrt", (), (-10.0,))
    assert report.source.steps[0].startswith("step 100 ")


def test_an_infinity_that_is_meant_is_followed_to_where_a_nan_is_made_of_it():
    """The carry is -inf from the beginning, and nan since step 4."""
    f = lambda x: lax.scan(lambda c, i: (cnp.where(i == 4.0, c - c, c), None), x, cnp.arange(9.0))[0]  # noqa: E731
    report = why(f, -np.inf)
    assert (report.argument, report.given) == ("args[0]", -np.inf)
    assert (report.source.of, report.source.operands) == ("sub", (-np.inf, -np.inf))
    assert report.source.steps[0].startswith("step 4 ")


def test_the_iteration_of_a_while_loop():
    def f(x):
        return lax.while_loop(lambda c: c[0] < 10, lambda c: (c[0] + 1, c[1] * cnp.log(5.0 - c[0] * x)), (0, x))[1]

    assert why(f, 1.0).source.steps[0].startswith("iteration 5 of while_loop (test_why_nan.py:")
    for g in (cotan.grad(f), cotan.jit(cotan.value_and_grad(f))):
        report = why(g, 1.0)
        assert report.source.steps[0].startswith("step 5 of 0..9 of while_loop (test_why_nan.py:")
        assert (report.source.of, report.source.operands) == ("log", (0.0,))


def test_the_branch_of_a_cond():
    f = lambda x: lax.cond(x > 0.0, lambda v: cnp.log(v - 1.0), lambda v: v, x)  # noqa: E731
    report = why(f, 1.0)
    assert report.source.steps[0].startswith("branch 1 of cond (test_why_nan.py:")
    assert not why(cotan.jit(f), 2.0).found
    report = why(cotan.jit(cotan.grad(f)), 1.0)
    assert report.source.title == "the local derivative of log"


@pytest.mark.parametrize("checkpointed", [False, True])
def test_the_example_of_vmap(checkpointed):
    f = lambda x: cnp.sum(cnp.log(x))  # noqa: E731
    f = cotan.checkpoint(f) if checkpointed else f
    x = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 0.0]])
    for g in (cotan.vmap(f), cotan.jit(cotan.vmap(f)), cotan.vmap(cotan.jit(f))):
        report = why(g, x)
        assert (report.source.example, report.source.index, report.source.operands) == ((1,), (1, 2), (0.0,))
        assert "at index [2], in example 1 of vmap" in str(report)
    report = why(cotan.vmap(cotan.vmap(lambda x: cnp.log(x))), x)
    assert report.source.example == (1, 2)
    for g in (cotan.vmap(cotan.grad(f)), cotan.grad(lambda x: cnp.sum(cotan.vmap(f)(x)))):
        report = why(g, x)
        assert (report.source.title, report.source.example, report.source.operands) == ("the local derivative of log", (1,), (1.0, 0.0))


def test_the_example_and_the_step_of_vmap_of_a_scan():
    f = lambda x: lax.scan(lambda c, i: (c + cnp.log(cnp.abs(i - c)), None), x, cnp.arange(5.0))[0]  # noqa: E731
    for g in (cotan.vmap(f), cotan.jit(cotan.vmap(f))):
        report = why(g, np.array([0.3, 1.0, 7.0]))
        assert report.result == "result[1]"
        assert report.source.example == (1,)
        assert report.source.steps[0].startswith("step 1 of 0..4 of scan")
    f = lambda x: lax.scan(lambda c, v: (c + cnp.sqrt(v), None), 0.0, x)[0]  # noqa: E731
    x = np.ones((4, 6))
    x[2, 3] = 0.0
    for g in (cotan.vmap(cotan.grad(f)), cotan.jit(cotan.vmap(cotan.grad(f)))):
        report = why(g, x)
        assert (report.result, report.source.example, report.source.given) == ("result[2, 3]", (2,), (0.0,))
        assert report.source.steps[0].startswith("step 3 of 0..5 of scan")


def test_the_example_and_the_step_of_vmap_of_the_gradient_of_a_while_loop():
    def f(x):  # the example x takes x steps, and log(0) is in step 2
        return lax.while_loop(lambda c: c[0] < x, lambda c: (c[0] + 1.0, c[1] + cnp.log(cnp.abs(c[0] - 2.0)) * x), (0.0, x))[1]

    for g in (cotan.vmap(f), cotan.vmap(cotan.grad(f)), cotan.jit(cotan.vmap(cotan.grad(f)))):
        report = why(g, np.array([1.0, 2.0, 4.0]))
        assert report.result == "result[2]"
        assert (report.source.of, report.source.example) == ("log", (2,))
        assert report.source.steps[0].partition(" of ")[0].split()[1] == "2"


def test_the_example_of_a_branch_that_runs_for_some_examples_at_a_time():
    """A costly branch takes the examples in an order of its own (`control.lanes`)."""

    def f(x):
        costly = lambda v: lax.fori_loop(0, 40, lambda i, s: cnp.sin(cnp.exp(s) * 0.1) + s * 0.5, v)  # noqa: E731
        return lax.cond(x[0] > 0, lambda v: cnp.sum(cnp.log(costly(v) * (v[1] - 3.0))), lambda v: cnp.sum(v), x)

    x = np.full((4000, 50), 4.0)
    x[::2] = -1.0
    x[1233, 1] = 3.0
    for g in (cotan.vmap(f), cotan.vmap(cotan.grad(f))):
        report = why(cotan.jit(g), x)
        assert str(report.result).startswith("result[1233")
        assert (report.source.of, report.source.example, report.source.steps) == ("log", (1233,), ())
        assert report.source.index == (1233, 0)
        assert "step" not in str(report)


def test_a_checkpointed_scan():
    f = lambda x: lax.scan(lambda c, i: (c + cnp.log(cnp.abs(i - 33.0)) * c, None), x, cnp.arange(50.0), checkpoint=True)[0]  # noqa: E731
    for g in (cotan.grad(f), cotan.jit(cotan.grad(f))):
        report = why(g, 1.0)
        assert (report.source.of, report.source.operands) == ("log", (0.0,))
        assert report.source.steps[0].startswith("step 33 of 0..49 of scan (test_why_nan.py:")


def test_states_that_a_checkpointed_loop_computes_again_are_followed(monkeypatch):
    """The tangent of each step needs the state before it; that is nan since step 5, and its carries are exchanged in each step."""
    monkeypatch.setattr(loop_states, "STATES", 4)

    def f(x, reverse=False):
        def step(c, i):
            nan = cnp.where(i == 5.0, cnp.sqrt(cnp.where(i == 5.0, -1.0, 1.0) * c[0] * c[0]), 0.0)
            return (c[1] * 1.01, c[0] + nan), c[0] * i

        (a, b), ys = lax.scan(step, (x, 2.0 * x), cnp.arange(40.0), checkpoint=True, reverse=reverse)
        return a * b + cnp.sum(ys**2)

    for reverse in (False, True):
        g = cotan.grad(lambda x, reverse=reverse: f(x, reverse))
        for h in (g, cotan.jit(g)):
            report = why(h, 1.0)
            assert (report.source.of, report.source.phase) == ("sqrt", "value")
            assert report.source.steps[0].startswith("step 5 of 0..39 of scan (test_why_nan.py:")
        report = why(cotan.jit(cotan.vmap(g)), np.ones(3))
        assert (report.source.of, report.source.example) == ("sqrt", (0,))
    assert not why(cotan.grad(f), 0.0).found


def looping(checkpoint, reverse):
    def f(x):
        step = lambda c, v: ((cnp.sin(c[0]) * v + c[1], c[0]), c[1] * v)  # noqa: E731
        (a, b), ys = lax.scan(step, (x, 2.0 * x), cnp.arange(37.0) / 37.0, checkpoint=checkpoint, reverse=reverse)
        return a * b + cnp.sum(ys**2)

    return f


def going(checkpoint):
    return lambda x: lax.while_loop(lambda c: c[0] < 20.0 * x, lambda c: (c[0] + 1.0, cnp.sin(c[1]) + x), (0.0, x), checkpoint=checkpoint)[
        1
    ]


@pytest.mark.parametrize("checkpoint", [False, True, 3])
@pytest.mark.parametrize("f", [lambda c: looping(c, reverse=False), lambda c: looping(c, reverse=True), going])
def test_a_watched_run_computes_what_the_function_computes(f, checkpoint, monkeypatch):
    monkeypatch.setattr(loop_states, "STATES", 4)
    f = f(checkpoint)
    many = cotan.vmap(f)
    for g, x in (
        (cotan.grad(f), 1.3),
        (cotan.vmap(cotan.grad(f)), np.array([0.3, 1.0])),
        (cotan.grad(lambda x: cnp.sum(many(x))), np.ones(2)),
    ):
        for h in (g, cotan.jit(g)):
            program = cotan.stage(h)(x)
            found = watching.Interpreter(watching=True).evaluate(program, [*program.constants, x])
            np.testing.assert_allclose(found[0], g(x), rtol=1e-12)
            run = watching.Interpreter().run(program, [*program.constants, x])
            np.testing.assert_allclose(run.value(program.outputs[0]), g(x), rtol=1e-12)


def test_a_trail_in_a_long_loop_takes_one_pass():
    """The states of a loop are computed again from those stored, not from the beginning for each step back."""
    taken = []
    steps = watching.Interpreter.steps

    def counted(*args, **kwargs):
        for pair in steps(*args, **kwargs):
            taken.append(pair[0])
            yield pair

    f = lambda x: lax.scan(lambda c, i: ((c[1], cnp.where(i == 5.0, cnp.log(i - 5.0) + c[0], c[0])), None), (x, x), cnp.arange(1000.0))[0]  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching.Interpreter, "steps", counted)
        assert cotan.why_nan(f, 1.0).source.of == "log"
    assert len(taken) < 6 * 1000  # the run, the pass, the blocks on the way back; the experiments


# ---- arguments and constants ------------------------------------------------------------------------------------------------------
def test_a_nonfinite_argument_is_the_cause():
    report = why(cotan.jit(lambda w, x: cnp.sum(cnp.exp(w["a"] * x))), {"a": np.array([1.0, np.nan]), "b": 2.0}, np.ones(2))
    assert (report.argument, report.source) == ("args[0]['a'][1]", None)
    assert np.isnan(report.given)
    assert [o.of for o in report.chain] == ["multiply", "exp", "reduce_sum"]
    report = why(lambda x, *, shift: x - shift, np.array([1.0, -np.inf]), shift=-np.inf)
    assert (report.argument, report.source.of) == ("args[0][1]", "sub")
    report = why(lambda x: x, np.array([1.0, np.inf]))
    assert (report.argument, report.source, report.chain) == ("args[0][1]", None, ())


def test_a_nonfinite_constant_is_the_cause():
    held = np.array([1.0, np.nan, 3.0])
    f = lambda x: cnp.sum(held * x)  # noqa: E731
    for g in (f, cotan.jit(f), cotan.grad(f)):
        report = why(g, np.ones(3))
        assert report.argument == "a constant, element [1]"
        assert report.chain[0].of == "multiply"
    assert why(lambda x: np.nan, 1.0).argument == "a constant"


def attention(scores, mask):
    masked = cnp.where(mask, scores, -cnp.inf)
    e = cnp.exp(masked - cnp.max(masked, axis=-1, keepdims=True))
    return e / cnp.sum(e, axis=-1, keepdims=True)


def test_infinities_that_are_meant_are_no_alarm():
    mask = np.array([[True, True], [False, True]])
    loss = lambda s: cnp.sum(attention(s, mask) ** 2)  # noqa: E731
    for f in (lambda s: attention(s, mask), cotan.grad(loss), cotan.jit(cotan.grad(loss))):
        report = why(f, np.ones((2, 2)))
        assert not report.found
        assert report.masked == ()
    assert not why(lambda x: cnp.clip(cnp.log(x), -5.0, 5.0), np.array([0.0, 1.0])).found


def test_where_a_constant_infinity_becomes_nan():
    report = why(attention, np.ones((2, 2)), np.array([[True, True], [False, False]]))
    assert (report.argument, report.source.of, report.source.index) == ("a constant", "sub", (1, 0))
    assert report.source.operands == (-np.inf, -np.inf)


# ---- harmless ----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("outer", [lambda f: f, cotan.jit])
def test_masked_values_are_listed_and_do_no_harm(outer):
    def f(x):
        return cnp.sum(cnp.where(x > 0, cnp.log(x), 0.0) + cnp.where(x > 1, cnp.sqrt(x - 1.0), 0.0))

    report = why(outer(f), np.array([2.0, 0.0, 1.0]))
    assert not report.found
    assert {(o.title, o.index, str(o.result)) for o in report.masked} == {("log", (1,), "-inf"), ("sqrt", (1,), "nan")}
    report = why(outer(cotan.grad(f)), np.array([2.0, 0.0, 1.0]))
    assert not report.found
    assert {o.title for o in report.masked} >= {"the local derivative of log", "the local derivative of sqrt"}
    assert "all results are finite" in str(report)
    assert not report


def test_masked_values_are_told_from_those_that_reach_a_result():
    def f(x):
        return cnp.where(x > 0, cnp.log(x), 0.0), cnp.sqrt(x - 1.0), cnp.sum(1.0 / x)

    for g in (f, cotan.jit(f)):
        report = why(g, np.array([2.0, 0.0]))
        assert report.source.of == "sqrt"
        assert [o.of for o in report.masked] == ["log"]
        assert [o.of for o in report.others] == ["divide"]


def test_an_infinity_is_the_cause_also_through_finite_numbers():
    """exp(800) is infinite, the quotient by it is 0, and the logarithm of that is infinite once more."""

    def loss(z):
        p = cnp.exp(z) / cnp.sum(cnp.exp(z))
        return -cnp.sum(cnp.log(p)[:1])

    for f in (loss, cotan.jit(loss), cotan.value_and_grad(loss)):
        report = why(f, np.array([1.0, 800.0, 2.0]))
        assert [o.of for o in report.chain][:2] == ["exp", "log"]
        assert report.source.operands == (800.0,)
        assert "logsumexp" in report.advice


def test_values_inside_of_custom_functions_are_told_apart():
    @cotan.custom_jvp
    def f(x):
        return cnp.where(x > 0, cnp.log(x), 0.0), cnp.sqrt(x - 1.0), cnp.sum(1.0 / x)

    f.defjvp(lambda primals, tangents: (f(*primals), tuple(0.0 * y for y in f(*tangents))))
    for g in (f, cotan.jit(f), lambda x: lax.map(lambda v: f(v), x)):
        report = why(g, np.array([2.0, 0.0]))
        assert report.source.of == "sqrt"
        assert [o.of for o in report.masked] == ["log"]
        assert [o.of for o in report.others] == ["divide"]


def test_experiments_that_fail_or_do_not_end_count_as_harmful():
    """With 1 in place of its infinite carry, the loop would not end; with 1 in place of the infinities, the matrix is singular."""

    def endless(x):
        y = lax.while_loop(lambda c: c < 5.0, lambda c: c * 1.0, 1.0 / x)
        return cnp.sqrt(x - 1.0), cnp.where(x > 0, y, 0.0)

    report = why(endless, 0.0)
    assert (report.source.of, [o.of for o in report.others]) == ("sqrt", ["divide"])

    def singular(x):
        a = cnp.where(np.eye(2) > 0, 1.0, 1.0 / x)
        return cnp.log(x), cnp.linalg.solve(cnp.where(cnp.isfinite(a), a, 0.0), np.ones(2))

    report = why(singular, 0.0)
    assert (report.source.of, [o.of for o in report.others]) == ("log", ["divide"])


@pytest.mark.parametrize("name", IDIOMS)
def test_strong_zeros_are_no_alarm(name):
    case = IDIOMS[name]
    for f in [*modes(case.f).values(), *second_modes(case.f).values()]:
        report = why(f, case.x)
        assert not report.found, report


# ---- every op ------------------------------------------------------------------------------------------------------------------------
OPS = pytest.mark.parametrize("cls", FIRST_ORDER_OPS, ids=lambda cls: cls.name)


@OPS
def test_a_nonfinite_element_of_an_operand_is_traced_back_through_every_op(cls):
    for op, operands in cls.examples():
        operands = list(map(np.asarray, operands))
        for k, x in enumerate(operands):
            for bad in (np.nan, np.inf) if x.dtype.kind in "fc" and x.size and finite(quietly(op, *operands)) else ():
                index = np.unravel_index(x.size // 2, x.shape)
                args = [np.array(y) for y in operands]
                args[k][index] = bad
                try:
                    results = quietly(op, *args)
                except (CotanError, ValueError, np.linalg.LinAlgError):
                    continue
                report = cotan.why_nan(lambda *args, op=op: op(*args), *args)
                assert report.found == (not finite(results))
                if report.found:
                    assert report.argument == f"args[{k}]{[int(i) for i in index] if index else ''}"


def squares(case: Case) -> Any:
    return lambda *xs: sum((cnp.sum(cnp.real(y * y)) for y in case.function()(*xs)), 0.0)


@OPS
def test_of_a_nonfinite_derivative_the_op_is_named(cls):
    check_derivatives(cls, {"grad": lambda f, n: cotan.grad(f, argnums=tuple(range(n)))}, (0.0,))


@pytest.mark.exhaustive
@OPS
def test_of_a_nonfinite_derivative_the_op_is_named_in_every_mode(cls):
    modes = {
        "jit": lambda f, n: cotan.jit(cotan.grad(f, argnums=tuple(range(n)))),
        "jvp": lambda f, n: lambda *x: cotan.jvp(f, x, tuple(map(np.ones_like, x))),
        "second": lambda f, n: lambda *x: cotan.jvp(cotan.grad(f), x, tuple(map(np.ones_like, x))),
    }
    check_derivatives(cls, modes, (0.0, 1.0, -1.0))


def check_derivatives(cls: Any, modes: dict[str, Any], points: tuple[float, ...]) -> None:
    """Operands that are all the same number are singular points of many ops."""
    for op, operands in cls.examples():
        case = Case(op, operands)
        for fill in points if case.floats else ():
            point = [np.full_like(np.asarray(x), fill) for x in case.point]
            for name, transform in modes.items():
                g = transform(squares(case), len(point))
                try:
                    results = quietly(cotan.stage(g)(*point) if name == "jit" else g, *point)
                except (CotanError, ValueError, np.linalg.LinAlgError):
                    continue
                report = why(g, *point)
                assert report.found == (not finite(results)), (op, fill, name)
                if report.found:
                    assert not report.argument
                    assert report.source.of in (cls.name, cls.verb)


# ---- laws --------------------------------------------------------------------------------------------------------------------------
def variants(seed: int) -> dict[str, Any]:
    """A random program, its gradient in the floats, and both jitted."""
    f, inputs = made(seed)
    moving = tuple(k for k, x in enumerate(inputs) if x.dtype.kind == "f")

    def total(*xs: Any) -> Any:
        return sum(
            (cnp.sum(cnp.real(y)) for y in f(*map(cnp.asarray, xs)) if y.dtype.kind in "fc"), cnp.sum(cnp.asarray(xs[moving[0]])) * 0.0
        )

    found = {"f": f, "jit": cotan.jit(f)}
    return found | (
        {"grad": cotan.grad(total, argnums=moving), "jit of grad": cotan.jit(cotan.grad(total, argnums=moving))} if moving else {}
    )


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_programs(first):
    check_random_programs(range(first, first + 20))


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", range(60, 3000, 60))
def test_more_random_programs(first):
    check_random_programs(range(first, first + 60))


@pytest.mark.filterwarnings("ignore")
def check_random_programs(seeds: range) -> None:
    """Something is found exactly if a result is nonfinite; and if the run raises no error, neither does why_nan."""
    compared = 0
    for seed in seeds:
        _, inputs = made(seed)
        for name, g in variants(seed).items():
            try:
                results = quietly(cotan.stage(g)(*inputs) if "jit" in name else g, *inputs)
            except (CotanError, TypeError, ValueError, AttributeError, np.linalg.LinAlgError):
                continue
            report = cotan.why_nan(g, *inputs)
            assert report.found == (not finite(results)), (seed, name, str(report))
            assert report.found == (str(report).splitlines()[0].rpartition(" is ")[2] in FOUND), (seed, name, str(report))
            compared += 1
    assert compared > len(seeds)


FOUND = {"nan", "inf", "-inf", "nan+nanj", "inf+nanj", "nan+infj"}


# ---- the report --------------------------------------------------------------------------------------------------------------------
def test_the_text():
    def loss(x):
        return cnp.sum(cnp.sqrt(x)) + cnp.sum(cnp.where(x > 0, cnp.log(x), 0.0))

    line = loss.__code__.co_firstlineno + 1
    assert str(why(cotan.grad(loss), np.array([4.0, 0.0]))).splitlines() == [
        f"grad of loss (test_why_nan.py:{line - 1}): result[1] is inf",
        "  first nonfinite: the local derivative of sqrt",
        f"  test_why_nan.py:{line}, in loss",
        "    return cnp.sum(cnp.sqrt(x)) + cnp.sum(cnp.where(x > 0, cnp.log(x), 0.0))",
        "                   ^^^^^^^^^^^",
        "    at sqrt(0): div(0.5, 0) = inf",
        "    at index [1]",
        "  it reached the result through",
        f"    test_why_nan.py:{line} the backward pass of sqrt: inf",
        "  Do: its slope is infinite at 0. cnp.linalg.norm has the gradient 0 there; a",
        "    where() around it has the gradient 0 where it takes the other value:",
        "    cnp.where(x > 0, cnp.sqrt(x), 0.0).",
        "  masked, harmless (no result depends on it):",
        f"    test_why_nan.py:{line} log: log(0) = -inf",
        f"    test_why_nan.py:{line} the local derivative of log: div(1, 0) = inf",
    ]


def test_a_report_pickles():
    custom = cotan.custom_jvp(lambda x: cnp.log(x) * x)
    custom.defjvp(lambda primals, tangents: (custom(*primals), tangents[0]))
    outside = lambda x: cotan.pure_callback(lambda v: v / np.zeros(2), cotan.ShapeDtypeStruct((2,), np.float64), x)  # noqa: E731
    for f in (cotan.grad(lambda x: cnp.sum(cnp.sqrt(x))), custom, cotan.jit(outside)):
        report = why(f, np.array([4.0, 0.0]))
        assert str(pickle.loads(pickle.dumps(report))) == str(report)


def test_what_is_no_function_or_number_is_refused():
    with pytest.raises(ArgumentTypeError, match="takes a function"):
        cotan.why_nan(1.0)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="is traced by"):
        cotan.grad(lambda x: cotan.why_nan(cnp.sin, x) and x)(1.0)


def test_arrays_are_given_back():
    x = np.array([1.0, 0.0])
    cotan.why_nan(lambda x: cnp.log(x), x)
    x[0] = 2.0


# ---- constants that a condition chooses ---------------------------------------------------------------------------------------------
def nan_where_nan(y):
    return np.where(np.isnan(y), np.nan, y)


CHOSEN = {
    "median": (np.median, 1),
    "quantile": (lambda y: np.quantile(y, 0.5), 1),
    "percentile": (lambda y: np.percentile(y, 50), 1),
    "nanmax": (lambda y: np.nanmax(y[1:2]), 1),
    "nan_to_num": (lambda y: np.nan_to_num(y, nan=np.inf), 1),
    "where": (nan_where_nan, 1),
    "median of rows": (lambda y: np.median(y[None] + np.zeros((2, 1)), axis=1), 1),
}


@pytest.mark.parametrize("outer", [lambda f: f, cotan.jit])
@pytest.mark.parametrize(("choose", "place"), CHOSEN.values(), ids=CHOSEN)
def test_a_constant_that_is_chosen_because_of_a_nan_comes_from_that(outer, choose, place):
    x = np.array([1.0, -1.0, 2.0])
    report = why(outer(lambda x: choose(np.log(x))), x)
    assert (report.source.of, report.source.index, report.argument) == ("log", (place,), "")
    assert "keep negative numbers out" in report.advice
    assert report.others == ()
    x = np.array([1.0, np.nan, 2.0])
    report = why(outer(lambda x: choose(x * 2)), x)
    assert report.argument == f"args[0][{place}]"
    assert np.isnan(report.given)


def test_a_constant_that_is_chosen_for_its_own_sake_is_the_cause():
    report = why(lambda x: np.where(x > 0, np.nan, x) + 0 * np.where(x > 1, np.log(x - 1), 0.0), 0.5)
    assert report.argument == "a constant"
    assert [o.of for o in report.masked] == ["log"]


def test_what_only_chooses_an_operation_is_not_its_cause():
    report = why(lambda x: np.where(np.log(x) > 0, 1, np.sqrt(x)), -1.0)
    assert report.source.of == "sqrt"
    assert [o.of for o in report.others] == ["log"]


def test_conversions_that_a_derivative_refuses_are_refused():
    for f, x in (
        (lambda x: x * np.log(float(x) - 1), 0.5),
        (lambda x: np.sum(np.log(np.asarray(x))), np.array([1.0, -1.0])),
        (lambda xs: np.sum(np.log(np.array(xs))), [1.0, -1.0]),
    ):
        with pytest.raises(TracerConversionError) as without:
            cotan.grad(f)(x)
        with pytest.raises(TracerConversionError) as error:
            why(cotan.grad(f), x)
        assert str(error.value) == str(without.value)
        report = why(f, x)
        assert report.argument.startswith("a constant")
        assert "of a traced value (test_why_nan.py:" in report.advice
    assert not why(cotan.grad(lambda x: x * int(x)), 2.0).found


@pytest.mark.parametrize("count", [3, 20, 200])
def test_many_masked_values_are_told_from_those_that_reach_a_result(count):
    def f(x):
        total = 0.0
        for k in range(count):
            total = total + np.where(x > k, np.log(x - k), 0.0)
        return total + np.sqrt(x - 30), np.arccos(x + 3)

    report = why(f, 0.5)
    assert report.source.of == "sqrt"
    assert [o.of for o in report.others] == ["arccos"]
    assert len(report.masked) == count - 1
    assert report.unexamined == ()


def test_too_many_are_said_not_to_be_examined():
    def f(x):
        return np.sqrt(x - 30), *[np.log(x - k) for k in range(1, 100)]

    report = why(f, 0.5)
    assert len(report.others) + len(report.unexamined) == 99
    assert report.unexamined
    assert report.masked == ()
    assert "not examined, since there are many" in str(report)


@pytest.mark.parametrize("root", [lambda x: x**0.5, lambda x: np.power(x, 0.5)])
def test_a_square_root_is_named_as_it_is_written(root):
    report = why(root, np.array([4.0, -1.0]))
    assert report.source.formula == "power(-1, 0.5) = nan"
    assert "keep negative numbers out" in report.advice
    source = why(cotan.grad(root), 0.0).source
    assert (source.title, source.given) == ("the local derivative of power", (0.0, 0.5))
    assert why(lambda x: cnp.sqrt(x), -1.0).source.of == "sqrt"


@pytest.mark.parametrize(
    ("f", "x", "formula"),
    [
        (lambda v: cotan.lax.cond(np.isnan(np.log(v)), np.sqrt, lambda v: v, v), -1.0, "sqrt(-1) = nan"),
        (lambda v: cotan.lax.switch(np.isnan(np.log(v)).astype(int), [lambda v: v, np.sqrt], v), -1.0, "sqrt(-1) = nan"),
        (lambda v: cotan.lax.while_loop(lambda s: np.isnan(np.log(s)), lambda s: 1 / (s + 1), v), -1.0, "divide(1, 0) = inf"),
        (lambda v: np.where(np.isnan(np.log(v)), np.sqrt(v), v), -1.0, "sqrt(-1) = nan"),
    ],
)
def test_what_only_chooses_the_operation_is_not_the_cause(f, x, formula):
    for g in (f, cotan.jit(f)):
        report = cotan.why_nan(g, x)
        assert report.source.formula == formula
