"""The cost of a Program, in elementary operations: every equation adds to it, and a loop costs its body once for each step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.core.program import Program
from cotan.engines.native.cost import SHORT_CALL, is_short, program_cost

from ...laws.programs import random_programs


def up_to(program: Program, count: int) -> Program:
    """The first equations of a program, which returns what they define."""
    equations = program.equations[:count]
    return Program(program.inputs, equations, [v for e in equations for v in e.outputs], program.constants)


def held(program: Program, name: str, parameter: str):
    """The Program that the one equation with an op of this name holds."""
    (equation,) = [e for e in program.equations if e.op.name == name]
    return getattr(equation.op, parameter)


def step(c):
    return cnp.sin(c) * 0.5 + c


def repeated(n: int) -> Program:
    return cotan.stage(lambda x: lax.scan(lambda c, _: (step(c), None), x, None, length=n)[0])(np.ones(7))


@given(random_programs())
def test_every_equation_adds_to_the_cost(program):
    staged = cotan.stage(program.on(cnp))(*program.inputs())
    costs = [program_cost(up_to(staged, k)) for k in range(len(staged.equations) + 1)]
    assert costs[0] > 0
    assert costs == sorted(set(costs))
    assert costs[-1] == program_cost(staged)


@pytest.mark.parametrize("shape", [(0,), (), (3, 0)])
def test_the_cost_is_positive_where_there_is_nothing_to_do(shape):
    x = np.ones(shape)
    assert program_cost(cotan.stage(lambda x: x)(x)) > 0
    assert program_cost(cotan.stage(cnp.sin)(x)) > 0


@given(st.integers(1, 10**6))
def test_an_addition_of_n_numbers_is_of_the_order_of_n(n):
    t = cotan.ShapeDtypeStruct((n,), "float64")
    assert n <= program_cost(cotan.stage(lambda x, y: x + y)(t, t)) <= 4 * n + 4


@given(st.integers(1, 10**6), st.integers(2, 10))
def test_a_scan_costs_its_body_once_for_each_step(n, times):
    """... beside a cost that does not depend on the number of steps."""
    fewer, more = repeated(n), repeated(times * n)
    body = program_cost(held(fewer, "scan", "body"))
    assert body > 7
    assert program_cost(more) - program_cost(fewer) == (times - 1) * n * body
    assert 0 < program_cost(fewer) - n * body < 100


@given(st.integers(1, 50), st.integers(1, 50))
def test_a_scan_in_a_scan_costs_the_product_of_their_steps(m, n):
    def inner(c):
        return lax.scan(lambda c, _: (step(c), None), c, None, length=n)[0]

    program = cotan.stage(lambda x: lax.scan(lambda c, _: (inner(c), None), x, None, length=m)[0])(np.ones(7))
    body = held(held(program, "scan", "body"), "scan", "body")
    assert m * n * program_cost(body) < program_cost(program) <= m * n * program_cost(body) + 100 * m + 100


def test_a_loop_of_an_unknown_number_of_steps_costs_one_of_them_and_its_condition_or_more():
    program = cotan.stage(lambda x: lax.while_loop(lambda c: cnp.sum(step(step(step(c)))) < 1e3, step, x))(np.ones(7))
    assert program_cost(program) > program_cost(held(program, "while", "body")) + program_cost(held(program, "while", "condition"))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=4), st.randoms())
def test_a_cond_costs_its_dearest_branch(depths, random):
    """... beside a cost that is the same for all branches, in whatever order they stand."""

    def branch(depth):
        def f(x):
            for _ in range(depth):
                x = step(x)
            return x

        return f

    def chosen(depths):
        program = cotan.stage(lambda k, x: lax.switch(k, [branch(d) for d in depths], x))(0, np.ones(7))
        return program_cost(program), max(map(program_cost, held(program, "cond", "branches")))

    (cost, dearest), (alone, same) = chosen([*depths, 0]), chosen([max(depths), 0])
    assert dearest == same
    assert cost == alone == chosen(random.sample([*depths, 0], len(depths) + 1))[0]
    assert 0 < cost - dearest < 100


@pytest.mark.parametrize("wrap", [cotan.checkpoint, cotan.jit])
def test_a_call_costs_what_it_calls(wrap):
    def f(x):
        return step(step(x))

    plain, called = (program_cost(cotan.stage(lambda x, g=g: g(x))(np.ones(100))) for g in (f, wrap(f)))
    assert plain <= called <= plain + 300


@pytest.mark.parametrize("checkpoint", [False, 5])
@given(n=st.integers(20, 1000))
def test_the_gradient_of_a_scan_costs_more_than_the_scan_and_is_proportional_to_its_steps(checkpoint, n):
    def loss(x, n):
        return cnp.sum(lax.scan(lambda c, _: (step(c), None), x, None, length=n, checkpoint=checkpoint)[0])

    value, gradient, longer = (
        program_cost(cotan.stage(lambda x, f=f, n=n: f(x, n))(np.ones(7)))
        for f, n in ((loss, n), (cotan.grad(loss), n), (cotan.grad(loss), 10 * n))
    )
    assert value < gradient
    assert longer == pytest.approx(10 * gradient, rel=0.1)


def test_a_sweep_costs_its_two_directions_once_for_each_step():
    def loss(x):
        return cnp.sum(lax.scan(lambda c, _: (step(c), None), x, None, length=100, checkpoint=5)[0])

    program = cotan.stage(cotan.grad(loss))(np.ones(7))
    both = sum(program_cost(held(program, "sweep", name)) for name in ("forward", "backward"))
    assert 100 * both <= program_cost(program) <= 100 * both + 1000


# ---- programs that surely take microseconds only -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("n", "short"), [(0, True), (1, True), (SHORT_CALL // 3, True), (SHORT_CALL // 3 + 1, False), (10**9, False)])
def test_a_program_is_short_by_the_elements_that_it_reads_and_writes(n, short):
    t = cotan.ShapeDtypeStruct((n,), "float64")
    assert is_short(cotan.stage(lambda x, y: x + y)(t, t)) is short


@given(random_programs())
def test_a_short_program_costs_less_than_a_short_call(program):
    staged = cotan.stage(program.on(cnp))(*program.inputs())
    cost = program_cost(staged)
    assert is_short(staged) == (cost <= SHORT_CALL)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x @ x,
        lambda x: lax.scan(lambda c, _: (step(c), None), x, None, length=1)[0],
        lambda x: lax.while_loop(lambda c: cnp.sum(c) < 0, step, x),
        lambda x: lax.cond(cnp.sum(x) < 0, step, step, x),
        lambda x: cnp.linalg.svd(x)[1],
        lambda x: cnp.convolve(x[0], x[1]),
    ],
    ids=["product", "scan", "while", "cond", "several results", "convolution"],
)
def test_a_program_with_a_product_a_loop_or_a_factorization_is_not_short(f):
    assert is_short(cotan.stage(step)(np.ones((2, 2))))
    assert not is_short(cotan.stage(f)(np.ones((2, 2))))


@pytest.mark.parametrize("f", [cnp.linalg.eigvalsh, cnp.linalg.svdvals, cnp.linalg.det, cnp.linalg.inv])
def test_linear_algebra_is_short_for_small_matrices_alone(f):
    assert is_short(cotan.stage(f)(np.eye(3)))
    assert not is_short(cotan.stage(f)(np.eye(40)))
