"""New primitives: impl and one rule; everything else follows."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.errors import ArgumentError, NonlinearTangentError
from cotan.testing import check_rule

X = np.array([0.3, -1.2, 2.0])


def test_a_jvp_rule_is_enough():
    cube = cotan.extend.primitive("cube_of_test", lambda x: x**3, jvp=lambda p, t: (cube(*p), 3 * p[0] ** 2 * t[0]))
    check_rule(cube, (X,))
    np.testing.assert_allclose(cotan.vmap(cotan.grad(cube))(X), 3 * X**2)
    np.testing.assert_allclose(cotan.jit(cube)(X), X**3)
    np.testing.assert_allclose(cotan.hessian(lambda x: cube(x).sum())(X), np.diag(6 * X))
    assert cotan.stage(cube)(1.0).equations[0].op.name == "cube_of_test"


def test_a_vjp_rule_is_enough():
    square = cotan.extend.primitive("square_of_test", lambda x: x * x, vjp=lambda y_bar, y, x: (2 * x * y_bar,))
    check_rule(square, (X,))
    np.testing.assert_allclose(cotan.jacfwd(square)(X), np.diag(2 * X))
    np.testing.assert_allclose(cotan.vmap(cotan.grad(square))(X), 2 * X)


def test_linear_operands_are_enough():
    m = np.arange(6.0).reshape(2, 3)
    apply = cotan.extend.primitive("apply_of_test", lambda x: m @ x, linear_in=(0,))
    check_rule(apply, (X,))
    np.testing.assert_allclose(cotan.linear_transpose(apply, X)(np.ones(2))[0], m.sum(0))
    bilinear = cotan.extend.primitive("inner_of_test", lambda x, y: (x * y).sum(), linear_in=(0, 1))
    check_rule(bilinear, (X, X[::-1]))
    np.testing.assert_allclose(cotan.vmap(bilinear, in_axes=(0, None))(np.stack([X, 2 * X]), X), [X @ X, 2 * X @ X])
    np.testing.assert_allclose(cotan.hessian(lambda x: bilinear(x, x))(X), 2 * np.eye(3))


def test_a_transpose_rule_replaces_the_derived_one():
    used = []

    def transpose(y_bar, x):
        used.append(x.shape)
        return 2.0 * y_bar

    double = cotan.extend.primitive("double_of_test", lambda x: 2 * x, linear_in=(0,), transpose=transpose)
    np.testing.assert_array_equal(cotan.grad(lambda x: double(x).sum())(X), 2 * np.ones(3))
    assert used == [(3,)]


def test_several_results():
    both = cotan.extend.primitive(
        "sincos_of_test",
        lambda x: (np.sin(x), np.cos(x)),
        jvp=lambda p, t: ((cnp.sin(p[0]), cnp.cos(p[0])), (cnp.cos(p[0]) * t[0], -cnp.sin(p[0]) * t[0])),
        multiple=True,
    )
    np.testing.assert_allclose(cotan.grad(lambda x: (both(x)[0] * both(x)[1]).sum())(X), np.cos(2 * X))
    np.testing.assert_allclose(cotan.vmap(lambda x: both(x)[1])(X), np.cos(X))
    check_rule(both, (X,))


def test_a_rule_that_is_not_linear_is_refused_in_both_modes():
    bad = cotan.extend.primitive("bad_of_test", np.sin, jvp=lambda p, t: (bad(*p), t[0] ** 2))
    for derivative in (lambda: cotan.grad(bad)(1.0), lambda: cotan.jvp(bad, (1.0,), (1.0,))):
        with pytest.raises(NonlinearTangentError, match="bad_of_test"):
            derivative()


def test_a_primitive_needs_a_derivative_and_a_name_of_its_own():
    with pytest.raises(ArgumentError, match="needs a derivative"):
        cotan.extend.primitive("nothing_of_test", np.sin)
    with pytest.raises(ArgumentError, match="built-in op"):
        cotan.extend.primitive("sin", np.sin, linear_in=(0,))


def test_python_code_in_impl_is_run_on_arrays_only():
    def python_loop(x):
        assert type(x) is not cotan.core.tracing.Tracer
        return np.array([float(v) ** 2 for v in np.ravel(x)]).reshape(np.shape(x))

    f = cotan.extend.primitive("loop_of_test", python_loop, jvp=lambda p, t: (f(*p), 2 * p[0] * t[0]))
    np.testing.assert_allclose(cotan.jit(cotan.grad(lambda x: f(x).sum()))(X), 2 * X)
