"""Programs print as typed text, check themselves, and evaluate."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.core.checking import check_linear, check_program
from cotan.core.program import Equation, Literal, Program, Var, variable_name
from cotan.core.tracing import concrete_zero, type_of
from cotan.core.types import array_type
from cotan.errors import ProgramError
from cotan.ops.arithmetic import mul
from cotan.ops.transcendental import sin

F64 = array_type((), np.dtype(np.float64))


def model(x):
    y = cnp.sin(x)
    return y * x


def test_text_is_typed_and_names_the_users_lines():
    text = str(cotan.stage(model)(np.ones(3)))
    line = model.__code__.co_firstlineno
    assert text == (
        "model(a:f64[3]) {\n"
        f"  b:f64[3] = sin a    # test_programs.py:{line + 1}\n"
        f"  c:f64[3] = mul b a  # test_programs.py:{line + 2}\n"
        "  return c\n"
        "}"
    )


def test_derived_equations_name_the_rule_and_the_equation_they_come_from():
    text = str(cotan.stage(cotan.grad(cotan.jit(model)))(2.0).equations[0].op.program)
    line = model.__code__.co_firstlineno
    assert f"# test_programs.py:{line + 1} by jvp of sin" in text


def test_weak_types_and_captured_values_are_shown():
    c = np.arange(3.0)
    text = str(cotan.stage(lambda x: x * c)(2.0))
    assert text.startswith("lambda(a:f64[]*; captured b:f64[3])") or "captured" in text


def test_a_program_is_called_on_flat_arguments():
    c = np.arange(3.0)
    program = cotan.stage(lambda x: (x * c, x))(2.0)
    out = program(5.0)
    np.testing.assert_array_equal(out[0], 5 * c)
    assert out[1] == 5.0


def test_unused_equations_are_dropped():
    def f(x):
        cnp.exp(x)
        return x * 2.0

    assert [e.op.name for e in cotan.stage(f)(1.0).equations] == ["mul"]


def test_types_are_interned():
    assert type_of(np.ones(3)) is type_of(np.zeros(3))
    assert array_type((3,), np.dtype("f8")) is array_type((3,), np.dtype(np.float64), False)
    assert array_type((), np.dtype("f8"), True) is not array_type((), np.dtype("f8"))
    assert str(array_type((3, 4), np.dtype("f4"))) == "f32[3,4]"


def test_ill_formed_programs_are_refused():
    a, b, c = Var(F64), Var(F64), Var(F64)
    good = Program([a], [Equation(sin, [a], [b], None), Equation(mul, [a, b], [c], None)], [c])
    check_program(good)
    for bad, message in [
        (Program([a], [Equation(mul, [a, b], [c], None)], [c]), "before it is defined"),
        (Program([a, a], [], [a]), "listed twice"),
        (Program([a], [Equation(sin, [a], [b], None), Equation(sin, [a], [b], None)], [b]), "defined twice"),
        (Program([a], [], [b]), "never defined"),
        (Program([a], [Equation(sin, [a], [Var(array_type((2,), F64.dtype))], None)], [a]), "gives"),
    ]:
        with pytest.raises(ProgramError, match=message):
            check_program(bad)


def test_linearity_of_a_program_is_checked():
    a, t, u, v = Var(F64), Var(F64), Var(F64), Var(F64)
    linear = Program([a, t], [Equation(mul, [a, t], [u], None), Equation(mul, [u, Literal(2.0)], [v], None)], [v])
    check_linear(linear, [1])
    with pytest.raises(ProgramError, match="not linear"):
        check_linear(linear, [0, 1])
    with pytest.raises(ProgramError, match="sin"):
        check_linear(Program([t], [Equation(sin, [t], [u], None)], [u]), [0])


def test_names_of_variables():
    assert [variable_name(k) for k in (0, 25, 26, 27, 701, 702)] == ["a", "z", "aa", "ab", "zz", "aaa"]


@pytest.mark.parametrize(("depth", "factor"), [(60, 0.0), (60, 1.0), (3000, 0.0), (3000, 1.0)])
def test_what_is_known_to_be_zero_is_asked_once_for_each_op(depth, factor):
    known = []

    def chain(x):
        y = np.full(4, factor) * x[::-1]
        for _ in range(depth):
            y = y + y[::-1]
        known.append(concrete_zero(y))
        known.append(concrete_zero(y + x))
        return cotan.jvp(cnp.sin, (x,), (y,))[1]

    cotan.stage(chain)(np.arange(4.0))
    assert known == [factor == 0, False]


@pytest.mark.parametrize("transform", [cotan.grad, lambda f: cotan.vmap(cotan.grad(f), axis_size=2, in_axes=None)])
def test_what_staging_made_is_freed_when_nobody_holds_it(transform):
    """Not only when the garbage collector next looks through all objects."""

    def f(x):
        for _ in range(20):
            x = np.sin(x) * x
        return x

    cotan.stage(transform(f))(1.0)
    gc.collect()
    gc.disable()
    try:
        program = cotan.stage(transform(f))(1.0)
        assert len(program.equations) > 20
        del program
        assert gc.collect() < 20
    finally:
        gc.enable()
