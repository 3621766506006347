"""New primitives: impl and one rule; the others are derived."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.errors import ArgumentError, MissingRuleError, NonlinearTangentError, RuleError
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


# ---- what a primitive's functions return is checked ----------------------------------------------------------------------
def made(impl=lambda x: 2.0 * x, **rules):
    return cotan.extend.primitive("checked_of_test", impl, **rules)


def rule_of_wrong_shape(primals, tangents):
    return cnp.sum(primals[0]), tangents[0]


WRONG_RULES = {
    "tangent of another shape": (
        lambda: cotan.grad(made(np.sum, jvp=rule_of_wrong_shape))(X),
        r"JVP rule rule_of_wrong_shape \(test_extend.py:\d+\) of checked_of_test: dy has shape \(3,\), not \(\)",
    ),
    "tangent of another dtype": (
        lambda: cotan.jvp(made(jvp=lambda p, t: (2.0 * p[0], t[0].astype(np.float32))), (X,), (X,)),
        "dy has dtype float32, not float64",
    ),
    "value of another shape": (lambda: cotan.jvp(made(jvp=lambda p, t: (p[0][:2], t[0])), (X,), (X,)), r"y is float64\[2\]"),
    "no pair": (lambda: cotan.grad(made(jvp=lambda p, t: t[0]))(1.0), "must return a pair"),
    "rule of too few arguments": (lambda: cotan.grad(made(jvp=lambda p: (p[0], p[0])))(1.0), "called with 2 arguments, but takes p"),
    "one cotangent of two": (lambda: cotan.grad(made(np.multiply, vjp=lambda g, y, u, v: g * v))(1.0, 2.0), "1 cotangent for 2 operands"),
    "cotangent of another shape": (lambda: cotan.grad(made(np.sum, vjp=lambda g, y, x: g))(X), r"cotangent of .* shape \(\), not \(3,\)"),
    "VJP rule of too few arguments": (lambda: cotan.grad(made(vjp=lambda g, x: g))(1.0), "called with 3 arguments"),
    "batching rule without a flag": (
        lambda: cotan.vmap(made(jvp=lambda p, t: (p[0], t[0]), batch=lambda size, flags, x: 2.0 * x))(X),
        r"batching rule .* must return a pair \(y, flag\)",
    ),
    "batching rule of another shape": (
        lambda: cotan.vmap(made(jvp=lambda p, t: (p[0], t[0]), batch=lambda size, flags, x: (x[:1], True)))(X),
        r"y is float64\[1\], where it must be float64\[3\]",
    ),
    "transpose rule that uses the linear operand": (
        lambda: cotan.grad(
            lambda a: cnp.sum(made(lambda a, x: a @ x, linear_in=(0, 1), transpose=lambda g, a, x: a.T @ g)(a, X))
        )(np.eye(3)),
        r"transpose rule .* uses operand 0 \(a\)",
    ),
    "transpose rule of another shape": (
        lambda: cotan.grad(lambda x: made(np.sum, linear_in=(0,), transpose=lambda g, x: g)(x))(X),
        r"cotangent of .* has shape \(\), not \(3,\)",
    ),
    "a tuple": (lambda: made(lambda x: (x, x), jvp=lambda p, t: (p[0], t[0]))(1.0), "must return one array, not a tuple"),
    "a tuple, compiled": (lambda: cotan.jit(made(lambda x: (x, x), jvp=lambda p, t: (p[0], t[0])))(1.0), "must return one array"),
    "no tuple": (lambda: made(np.sin, jvp=lambda p, t: (p, t), multiple=True)(1.0), "must return a tuple of arrays"),
    "type rule without a type": (lambda: cotan.jit(made(linear_in=(0,), type_rule=lambda t: t.shape))(X), "must return a type"),
    "an error on ones": (
        lambda: cotan.jit(made(lambda a: np.linalg.cholesky(-a), jvp=lambda p, t: (p[0], t[0])))(-np.eye(2)),
        r"called on arrays of ones \(float64\[2,2\]\), and raised LinAlgError(.|\n)*type_rule",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG_RULES)
def test_a_rule_that_returns_something_else_is_refused_by_its_name(mistake):
    run, text = WRONG_RULES[mistake]
    with pytest.raises(RuleError, match=text):
        run()


def test_an_operand_that_is_not_declared_linear_has_no_derivative():
    p = made(lambda x, y: x * np.sin(y), linear_in=(0,))
    assert cotan.grad(p)(1.0, 2.0) == np.sin(2.0)
    for argnums in (1, (0, 1)):
        for run in (cotan.grad(p, argnums), cotan.jacfwd(p, argnums), cotan.jit(cotan.grad(p, argnums))):
            with pytest.raises(MissingRuleError, match=r"no derivative in operand 1 \(y\): it is declared linear in operand 0 \(x\)"):
                run(1.0, 2.0)


def test_a_function_that_is_not_linear_as_declared_is_refused():
    for impl in (np.square, lambda x: x + 1.0, lambda x: x * x.sum()):
        for run in (cotan.grad, cotan.jacfwd, cotan.vmap):
            p = made(lambda x, impl=impl: impl(np.asarray(x)), linear_in=(0,))
            with pytest.raises(NonlinearTangentError, match="declared linear"):
                (cotan.vmap(cotan.grad(p)) if run is cotan.vmap else run(p))(np.ones(3) if run is cotan.vmap else 1.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("transform", [np.fft.fft, np.fft.rfft, np.conj, np.real, np.imag, lambda x: np.float64(2) * x])
def test_a_derived_transpose_is_the_adjoint_in_every_dtype(transform, dtype):
    rng = np.random.default_rng(0)

    def draw(shape, dtype):
        x = rng.normal(size=shape) + (1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else 0)
        return x.astype(dtype)

    if transform is np.fft.rfft and np.dtype(dtype).kind == "c":
        pytest.skip("rfft takes real numbers")
    p = made(lambda x: np.asarray(transform(x)), linear_in=(0,))
    x, dx = draw(4, dtype), draw(4, dtype)
    y, pull = cotan.vjp(p, x)
    dy = cotan.jvp(p, (x,), (dx,))[1]
    assert dy.dtype == y.dtype
    y_bar = draw(y.shape, y.dtype)
    x_bar = pull(y_bar)[0]
    assert x_bar.dtype == dtype
    np.testing.assert_allclose(
        np.sum(x_bar * dx).real, np.sum(y_bar * dy).real, rtol=1e-4 if np.dtype(dtype).itemsize < 8 or dtype is np.complex64 else 1e-12
    )


def test_a_result_that_differs_from_call_to_call_is_refused_where_it_was_staged():
    x = np.array([0.0, 1.0, 2.0])
    p = made(lambda x: x[x > 1.5], linear_in=(0,))
    np.testing.assert_array_equal(p(x), [2.0])  # not staged: as it is
    for run in (cotan.jit(p), cotan.jit(p, engine="numpy"), cotan.jit(lambda x: cotan.lax.map(lambda y: p(y * x), np.ones(2)))):
        with pytest.raises(RuleError, match=r"returned float64\[1\], where the staged program was made for float64\[0\]"):
            run(x)
    kind = made(lambda x: x if x[0] > 0.5 else x.astype(np.float32), linear_in=(0,))
    with pytest.raises(RuleError, match=r"returned float32\[3\]"):
        cotan.jit(kind)(x)
    with pytest.raises(RuleError, match="unlike shapes"):
        cotan.vmap(p)(np.stack([x, x + 1]))


def test_the_type_of_a_function_of_matrices_is_found():
    for impl in (np.linalg.cholesky, np.linalg.inv, np.linalg.eigh):
        p = made(impl, type_rule=None, jvp=lambda p, t: (p[0], t[0]), multiple=impl is np.linalg.eigh)
        found = cotan.tree.leaves(cotan.jit(lambda a, p=p: [*p(a)] if p.multiple else p(a))(4.0 * np.eye(2)))
        np.testing.assert_allclose(found[-1], (impl(4.0 * np.eye(2)) if impl is not np.linalg.eigh else impl(4.0 * np.eye(2))[1]))


@pytest.mark.parametrize("linear_in", [(-1,), ("a",), (1,), (True,)])
def test_operands_that_are_none_are_refused_where_the_primitive_is_made(linear_in):
    with pytest.raises(ArgumentError, match="names no operands"):
        made(lambda x: x, linear_in=linear_in)
    assert made(lambda *xs: sum(xs), linear_in=(1,)) is not None


def test_a_cotangent_that_is_no_array_names_the_rule():
    with pytest.raises(RuleError, match=r"VJP rule .* the cotangent of x is a str"):
        cotan.grad(made(vjp=lambda g, y, x: ("a",)))(1.0)
