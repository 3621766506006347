"""Ops that hold programs declare all of them as regions, and do not change if each region gets its own program again."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.core.op import Op
from cotan.core.program import Equation, Program, Var
from cotan.core.tracing import type_of
from cotan.core.types import array_type
from cotan.engines.native.cost import program_cost

A = np.array([[3.0, 1.0], [0.5, 2.0]])
X = np.array([0.3, -0.7])


def loop(x):
    return lax.scan(lambda c, v: (cnp.sin(c) * v, c), x, cnp.stack([x, x + 1.0, x + 2.0]))


def solve(_, b):
    return cnp.linalg.solve(A, b)


def transpose_solve(_, b):
    return cnp.linalg.solve(A.T, b)


FUNCTIONS = {
    "scan": loop,
    "while": lambda x: lax.while_loop(lambda c: cnp.sum(c) < 10.0, lambda c: c * c + 1.0, x),
    "branch": lambda x: lax.switch(1, [cnp.sin, cnp.cos, lambda v: v * A[0]], x) + lax.cond(x[0] > 0, cnp.sin, cnp.exp, x),
    "call": cotan.jit(lambda x: cnp.sin(x) * A[0]),
    "checkpoint": cotan.checkpoint(lambda x: cnp.sin(cnp.cos(x))),
    "bounded": lambda x: lax.scan(lambda c, _: (cnp.sin(c), None), x, None, length=5, checkpoint=2)[0],
    "solve": lambda x: lax.custom_linear_solve(lambda v: A @ v, x, solve, transpose_solve),
}
WAYS = {
    "value": lambda f: f,
    "gradient": lambda f: cotan.grad(lambda x: cnp.sum(cotan.tree.leaves(f(x))[0])),
    "tangent": lambda f: lambda x: cotan.jvp(f, (x,), (x,)),
    "batch": lambda f: lambda x: cotan.vmap(f)(cnp.stack([x, 2.0 * x])),
}


def programs_in(value) -> Iterator[Program]:
    """Every program that a parameter of an op refers to."""
    if isinstance(value, Program):
        yield value
    elif isinstance(value, tuple | list):
        for x in value:
            yield from programs_in(x)
    elif isinstance(value, Op):
        yield from programs_in(list(value.parameters().values()))
    elif is_dataclass(value):
        yield from programs_in([getattr(value, f.name) for f in fields(value)])


def equations_of(program: Program) -> Iterator[Equation]:
    for e in program.equations:
        yield e
        for region in e.op.regions():
            yield from equations_of(region.program)


def staged(function: str, way: str) -> Program:
    return cotan.stage(WAYS[way](FUNCTIONS[function]))(X)


CASES = [(function, way) for function in FUNCTIONS for way in WAYS if (function, way) != ("while", "gradient")]


@pytest.mark.parametrize(("function", "way"), CASES)
def test_every_program_of_an_op_is_a_region(function, way):
    holding = [e.op for e in equations_of(staged(function, way)) if e.op.holds_programs]
    assert holding
    for op in holding:
        declared = {id(region.program) for region in op.regions()}
        assert {id(p) for p in programs_in(list(op.parameters().values()))} == declared, op


@pytest.mark.parametrize(("function", "way"), CASES)
def test_a_region_takes_the_operands_of_its_op_in_three_parts(function, way):
    for e in equations_of(staged(function, way)):
        if type(e.op).with_regions is Op.with_regions:
            continue
        for region in e.op.regions():
            constants, carry, xs = region.cut(e.inputs)
            inputs = region.program.inputs
            assert [v.type for v in constants] == [v.type for v in inputs[: region.constants]]
            assert [str(v.type).rstrip("*") for v in carry] == [str(inputs[k].type).rstrip("*") for k in region.carry]
            assert len(constants) + len(carry) + len(xs) == len(inputs) <= len(e.inputs) - region.first
            if region.gives_carry:
                assert [v.type for v in e.outputs[: len(carry)]] == [v.type for v in region.program.outputs[: len(carry)]]


def with_one_more_input(program: Program) -> Program:
    """A program with a further first input, which nothing reads."""
    return Program([Var(array_type((3,), np.dtype(np.float64))), *program.inputs], program.equations, program.outputs, (), program.name)


@pytest.mark.parametrize("captured", [0, 1])
@pytest.mark.parametrize(("function", "way"), CASES)
def test_an_op_with_programs_that_take_a_further_constant_gives_the_same(function, way, captured):
    program, tried = staged(function, way), 0
    environment = dict(zip(program.inputs, [*program.constants, X], strict=True))
    for e in program.equations:
        operands = [environment[v] if isinstance(v, Var) else v.value for v in e.inputs]
        results = e.op.impl(*operands)
        environment.update(zip(e.outputs, results if e.op.multiple else [results], strict=True))
        regions = e.op.regions()
        if not regions or type(e.op).with_regions is Op.with_regions:
            continue
        programs = [with_one_more_input(r.program) if captured else r.program for r in regions]
        first = regions[0].first
        more = [np.zeros(3)] * captured
        op = e.op.with_regions(programs, captured)
        linear = e.op.linear_sets(len(operands))
        assert [m.bit_count() for m in op.linear_sets(len(operands) + captured)] == [m.bit_count() for m in linear]
        again = op.impl(*operands[:first], *more, *operands[first:])
        tried += 1
        for y, z in zip(again, results, strict=True):
            assert type_of(y) == type_of(z)
            if isinstance(y, np.ndarray | np.generic):
                np.testing.assert_array_equal(y, z)
    assert tried or function == "solve" or way != "value"


def test_an_op_that_is_not_run_with_other_programs_says_so():
    e = next(e for e in staged("solve", "value").equations if e.op.name == "linear_solve")
    with pytest.raises(NotImplementedError, match="linear_solve is not run with other programs"):
        e.op.with_regions([region.program for region in e.op.regions()])


def test_a_loop_costs_its_dearest_branch_in_each_iteration():
    def heavy(n):
        return lambda c: cnp.sum(cnp.sin(c + cnp.arange(float(n))))

    def cost(n, length):
        step = lambda c, _: (lax.cond(c > 0, lambda c: c, heavy(n), c), None)  # noqa: E731
        return program_cost(cotan.stage(lambda x: lax.scan(step, x, None, length=length)[0])(1.0))

    assert cost(100_000, 10) > 100_000 * 10
    assert cost(100_000, 20) == pytest.approx(2 * cost(100_000, 10), rel=0.02)
    assert cost(10, 10) < 10_000
