"""Where equations come from: the line of the function that is differentiated, the rule, and the equation from which it is derived."""

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest

import cotan


def f(x):
    a = np.sin(x)  # line a
    b = a * x  # line b
    return np.sum(b)  # line c


X = np.linspace(0.1, 0.3, 3)


def lines(program):
    return {e.origin.source.partition("# ")[2] for e in program.equations}


def rules(origin):
    """The rules by which an equation was derived, the last first, and the op to which the first was applied."""
    found = []
    while origin.rule:
        found.append(origin.rule)
        last, origin = origin.parent.op.name, origin.parent.origin
    return (*found, last) if found else ()


@pytest.mark.parametrize("jitted", [False, True])
def test_a_gradient_names_the_lines_of_its_function(jitted):
    function = cotan.jit(f) if jitted else f
    program = cotan.stage(cotan.grad(function))(X)
    if jitted:
        held = [region.program for e in program.equations for region in e.op.regions()]
        assert set().union(*map(lines, held)) == {"line a", "line b", "line c"}
    else:
        assert lines(program) == {"line a", "line b", "line c"}


def test_the_pullback_of_values_names_the_lines_of_its_function():
    _, pull = cotan.vjp(f, X)
    assert lines(cotan.stage(pull)(1.0)) == {"line a", "line b", "line c"}
    _, push = cotan.linearize(f, X)
    assert lines(cotan.stage(push)(X)) == {"line a", "line b", "line c"}


def test_each_derived_equation_has_its_rules():
    program = cotan.stage(cotan.grad(f))(X)
    assert {rules(e.origin) for e in program.equations} == {
        ("jvp", "sin"),
        ("transpose", "jvp", "sin"),
        ("transpose", "jvp", "mul"),
        ("transpose", "jvp", "reduce_sum"),
    }


def test_nested_transformations_leave_a_chain():
    program = cotan.stage(cotan.vmap(cotan.grad(f)))(np.ones((2, 3)))
    assert ("batch", "transpose", "jvp", "sin") in {rules(e.origin) for e in program.equations}
    second = cotan.stage(lambda x: cotan.jvp(cotan.grad(f), (x,), (x,))[1])(X)
    assert ("jvp", "transpose", "jvp", "sin") in {rules(e.origin) for e in second.equations}


def test_the_rule_of_an_evaluated_equation_names_that_equation():
    program = cotan.stage(f)(X)
    derived = cotan.stage(cotan.grad(lambda x: program(x)[0]))(X)
    parents = {e.origin.parent for e in derived.equations if e.origin.rule == "jvp"}
    assert parents <= set(program.equations)
    assert parents


def test_equations_of_a_users_rule_have_its_lines():
    @cotan.custom_jvp
    def g(x):
        return np.exp(x)

    @g.defjvp
    def g_jvp(primals, tangents):
        y = g(primals[0])
        return y, y * tangents[0]  # the rule

    program = cotan.stage(cotan.grad(lambda x: g(x)))(1.0)
    (product,) = [e for e in program.equations if e.op.name == "scale"]
    assert product.origin.source.endswith("# the rule")
    assert rules(product.origin) == ("transpose", "jvp", "custom_call")


def test_the_line_of_a_rule_that_is_wrong_inside_a_staged_program():
    @cotan.custom_jvp
    def g(x):
        return x

    @g.defjvp
    def g_jvp(primals, tangents):
        return primals[0], tangents[0] ** 3.0

    with pytest.raises(cotan.errors.NonlinearTangentError, match=r"tangents\[0\] \*\* 3.0"):
        cotan.grad(cotan.jit(lambda x: g(x)))(1.0)


def test_an_origin_is_pickled_with_the_names_of_ops():
    program = pickle.loads(pickle.dumps(cotan.stage(cotan.grad(f))(X)))
    assert ("transpose", "jvp", "sin") in {rules(e.origin) for e in program.equations}
    assert "by transpose of scale" in str(program)


TEXT = """
import math

import numpy as np

import cotan


def sine(x):
    y = x * 2
    return math.sin(y)


def size(n):
    return np.zeros(n)


@cotan.custom_jvp
def identity(x):
    return x


@identity.defjvp
def rule(primals, tangents):
    return primals[0], tangents[0] ** 2


class Model:
    def __init__(self, w):
        self.w = w

    def __call__(self, x):
        if x > 0:
            return self.w * x
        return x
"""


@pytest.mark.parametrize(
    ("call", "place", "says"),
    [
        (lambda code: cotan.grad(code["sine"])(1.0), "<string>:11, in sine", "float() of it is asked for"),
        (lambda code: cotan.jit(code["size"])(3), "<string>:15, in size", "make n static: jit(size, static_argnames='n')"),
        (lambda code: cotan.grad(code["identity"])(1.0), "<string>:25, in rule", "multiply the tangent"),
        (lambda code: cotan.vmap(code["Model"](2.0))(np.ones(2)), "<string>:33, in __call__", "cotan.numpy.where"),
    ],
)
def test_code_from_a_text_is_named_by_its_line_number(call, place, says):
    """There is no source to quote, and the line of this file that calls it would mislead."""
    code = {}
    exec(TEXT, code)
    with pytest.raises(cotan.errors.CotanError) as caught:
        call(code)
    text = str(caught.value)
    assert f"\n\n  {place}\n" in text
    assert says in text
    assert "^" not in text


def test_code_of_the_command_line_is_named_by_its_line_number():
    code = "import cotan\ndef f(x):\n    return float(x)\ncotan.jit(f)(1.0)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "traced by jit in f (<string>:2)" in run.stderr
    assert "\n  <string>:3, in f\n\nWhat to do: " in run.stderr


@dataclasses.dataclass
class Point:
    x: object

    def __setattr__(self, name, value):
        object.__setattr__(self, name, float(value))


def test_code_that_dataclasses_compile_is_not_named():
    with pytest.raises(cotan.errors.TracerConversionError) as caught:
        cotan.jit(lambda x: Point(x).x)(1.0)
    assert "in __setattr__" in str(caught.value)
    with pytest.raises(cotan.errors.TracerConversionError) as caught:
        cotan.jit(lambda x: Pair(x) < Pair(2 * x))(1.0)
    assert ", in <lambda>\n" in str(caught.value)
    assert "<string>" not in str(caught.value)


@dataclasses.dataclass(order=True)
class Pair:
    x: object
