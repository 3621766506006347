"""The questions of the conversation from which cotan grew, each as running code, as in docs/thread.md."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.core.op import REGISTRY
from cotan.core.program import evaluate
from cotan.errors import NonlinearTangentError


def test_a_rule_with_a_cubed_tangent_is_refused_at_once_in_both_modes():
    @cotan.custom_jvp
    def f(x):
        return 0.0

    @f.defjvp
    def f_jvp(primals, tangents):
        return 0.0, tangents[0] ** 3

    for derivative in (lambda: cotan.grad(f)(2.0), lambda: cotan.jvp(f, (2.0,), (2.0,))):
        with pytest.raises(NonlinearTangentError) as caught:
            derivative()
        text = str(caught.value)
        assert "f_jvp (test_thread.py:" in text
        assert "return 0.0, tangents[0] ** 3\n" in text
        assert text.splitlines()[4].strip() == "^" * len("tangents[0] ** 3")
        assert "power is nonlinear in operand 0" in text
        assert "operand 0 is tangents[0]" in text
        assert "What to do" in text


def test_a_linear_rule_is_transposed():
    @cotan.custom_jvp
    def f1(x):
        return 0.0

    @f1.defjvp
    def f1_jvp(primals, tangents):
        return 0.0, tangents[0]

    assert cotan.grad(f1)(2.0) == 1.0
    assert cotan.jvp(f1, (2.0,), (3.0,)) == (0.0, 3.0)


def test_power_is_differentiable_in_reverse_without_a_transpose_rule():
    assert cotan.grad(lambda x: x**3)(2.0) == 12.0
    assert cotan.grad(lambda x: x**3.0)(2.0) == 12.0
    for name in ("power", "integer_pow"):
        rule = cotan.extend.audit(name)["transpose"]
        assert rule.status == "not needed"
        assert "nonlinear" in rule.note


@pytest.mark.parametrize("derivative", [cotan.jacrev, cotan.jacfwd])
def test_identity_with_a_jvp_rule_works_in_both_modes(derivative):
    @cotan.custom_jvp
    def f2(x):
        return x

    @f2.defjvp
    def f2_jvp(primals, tangents):
        (x,) = primals
        (x_dot,) = tangents
        return f2(x), x_dot

    assert derivative(f2)(2.0) == 1.0


def identity_with_vjp():
    @cotan.custom_vjp
    def f1(x):
        return x

    def f1_fwd(x):
        return f1(x), x

    def f1_bwd(x, y_bar):
        return (y_bar,)

    f1.defvjp(f1_fwd, f1_bwd)
    return f1


@pytest.mark.parametrize("derivative", [cotan.jacrev, cotan.jacfwd, cotan.grad])
def test_identity_with_a_vjp_rule_works_in_both_modes(derivative):
    assert derivative(identity_with_vjp())(2.0) == 1.0


def test_everything_works_through_a_function_with_only_a_vjp_rule():
    f = identity_with_vjp()
    assert cotan.hessian(lambda x: f(x) ** 2)(3.0) == 2.0
    assert cotan.jvp(f, (2.0,), (5.0,)) == (2.0, 5.0)
    y, f_jvp = cotan.linearize(f, 2.0)
    assert (y, f_jvp(4.0)) == (2.0, 4.0)
    np.testing.assert_array_equal(cotan.vmap(f)(np.arange(3.0)), np.arange(3.0))
    np.testing.assert_array_equal(cotan.vmap(cotan.grad(f))(np.arange(3.0)), np.ones(3))
    np.testing.assert_array_equal(cotan.jacfwd(cotan.vmap(f))(np.arange(3.0)), np.eye(3))
    np.testing.assert_array_equal(cotan.jacrev(cotan.vmap(f))(np.arange(3.0)), np.eye(3))
    assert cotan.jit(cotan.grad(f))(2.0) == 1.0


def test_division_is_linear_in_its_numerator_only():
    assert cotan.linear_transpose(lambda x: x / 3.0, 1.0)(6.0) == (2.0,)
    with pytest.raises(NonlinearTangentError) as caught:
        cotan.linear_transpose(lambda x: 3.0 / x, 1.0)
    assert "divide is nonlinear in operand 1; it is linear in operand 0 only" in str(caught.value)
    assert "3.0 / x" in str(caught.value)


def test_matmul_goes_through_dot_general_whose_transposes_are_dot_general():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3)), rng.normal(size=(3, 4))
    program = cotan.stage(lambda x: cotan.linearize(lambda x: x @ b, x)[1](x))(a)
    assert "dot_general" in str(program)
    (a_bar,) = cotan.linear_transpose(lambda x: x @ b, a)(np.ones((2, 4)))
    np.testing.assert_allclose(a_bar, np.ones((2, 4)) @ b.T)
    backward = cotan.stage(lambda y_bar: cotan.linear_transpose(lambda x: x @ b, a)(y_bar))(np.ones((2, 4)))
    names = {equation.op.name for equation in backward.equations}
    assert "dot_general" in names
    assert names <= {"dot_general", "permute"}


def test_svd_is_differentiable_in_reverse_with_no_transpose_rule():
    audit = cotan.extend.audit("svd")
    assert audit["transpose"].status == "not needed"
    assert audit["jvp"].status == "given"
    assert "transpose" not in REGISTRY["svd"].__dict__
    x = np.random.default_rng(1).normal(size=(4, 3))
    cotan.testing.check_grads(lambda x: cnp.linalg.svd(x, full_matrices=False)[1], (x,), order=2)


def test_a_new_primitive_with_only_impl_and_jvp_is_differentiated_in_reverse():
    softplus = cotan.extend.primitive(
        "softplus", lambda x: np.logaddexp(0.0, x), jvp=lambda p, t: (softplus(*p), t[0] / (1 + cnp.exp(-p[0])))
    )
    x = np.array([-1.0, 0.5, 2.0])
    np.testing.assert_allclose(cotan.grad(lambda x: softplus(x).sum())(x), 1 / (1 + np.exp(-x)), rtol=1e-14)
    np.testing.assert_allclose(cotan.vmap(cotan.grad(softplus))(x), 1 / (1 + np.exp(-x)), rtol=1e-14)
    audit = cotan.extend.audit(softplus)
    assert audit["transpose"].status == "not needed"


def test_a_linear_function_with_custom_jvp_is_inlined_when_it_meets_a_tangent():
    @cotan.custom_jvp
    def double(t):
        return 2.0 * t

    @double.defjvp
    def double_jvp(primals, tangents):
        return double(primals[0]), 2.0 * tangents[0]

    @cotan.custom_jvp
    def f(x):
        return x**2

    @f.defjvp
    def f_jvp(primals, tangents):
        return f(primals[0]), primals[0] * double(tangents[0])

    assert cotan.grad(f)(3.0) == 6.0
    assert cotan.jvp(f, (3.0,), (1.0,))[1] == 6.0


def test_the_staged_derivative_evaluates_to_the_derivative():
    program = cotan.stage(cotan.grad(lambda x: x**3))(2.0)
    assert evaluate(program, 2.0) == [12.0]
