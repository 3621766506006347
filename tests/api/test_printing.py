"""What a REPL and a notebook show: the text of Programs, plans and reports, and the values of tracers under derivatives."""

import numpy as np
import pytest

import cotan
from cotan.testing import check_rule


def f(x):
    return np.sum(np.tanh(x))


X = np.ones(2)


@cotan.custom_jvp
def rule(x):
    return x**2


@rule.defjvp
def rule_jvp(primals, tangents):
    return primals[0] ** 2, 2 * primals[0] * tangents[0]


@pytest.mark.parametrize(
    "shown",
    [
        cotan.stage(f)(X),
        cotan.explain(f, X),
        cotan.why_nan(np.log, 0.0 * X),
        cotan.memory_plan(f)(X),
        cotan.compile_report(f)(X),
        cotan.extend.audit("sin"),
        check_rule(rule, (X,)),
    ],
    ids=lambda x: type(x).__name__,
)
def test_the_repr_is_the_text(shown):
    assert repr(shown) == str(shown)
    assert "object at 0x" not in repr(shown)
    assert "\n" in repr(shown)


def test_an_equation_prints():
    assert "f64[2] = tanh f64[2]" in repr(cotan.stage(f)(X).equations[0])


def printed(transform, *args):
    """What a function prints of its argument: (str, repr, f-string)."""
    found = []

    def g(x):
        found.extend([str(x), repr(x), f"{x}"])
        return np.sum(x**2)

    transform(g)(*args)
    return found[:3]


@pytest.mark.parametrize("transform", [cotan.grad, cotan.value_and_grad, cotan.hessian, lambda g: lambda x: cotan.jvp(g, (x,), (x,))])
def test_a_tracer_under_a_derivative_shows_its_value(transform):
    text, full, formatted = printed(transform, X)
    assert text == formatted == "[1. 1.]"
    assert "float64[2], traced by" in full


@pytest.mark.parametrize("transform", [cotan.jit, cotan.vmap, lambda g: cotan.jit(cotan.grad(g))])
def test_a_tracer_without_a_value_shows_its_type(transform):
    text, full, _ = printed(transform, np.ones((3, 2)) if transform is cotan.vmap else X)
    assert text == full
    assert "float64[2], traced by" in text
