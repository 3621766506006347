"""Outside code: callbacks, external functions with rules, and solvers by the implicit function theorem."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

import cotan
import cotan.numpy as cnp
from cotan.errors import ArgumentError, MissingRuleError, NonlinearTangentError, RuleError
from cotan.testing import check_rule

X = np.array([0.3, -1.2, 2.0])
M = np.arange(6.0).reshape(2, 3)
SHAPE = cotan.ShapeDtypeStruct((3,), np.float64)


# ---- pure_callback -----------------------------------------------------------------------------------------------------
def test_a_callback_is_called_with_arrays_wherever_it_stands():
    seen = []

    def callback(x):
        seen.append(type(x))
        return np.cumsum(x)

    f = lambda x: cotan.pure_callback(callback, SHAPE, x * 2)  # noqa: E731
    np.testing.assert_array_equal(f(X), np.cumsum(2 * X))
    np.testing.assert_array_equal(cotan.jit(f)(X), np.cumsum(2 * X))
    np.testing.assert_array_equal(cotan.vmap(f)(np.stack([X, -X])), [np.cumsum(2 * X), np.cumsum(-2 * X)])
    np.testing.assert_array_equal(cotan.jit(cotan.vmap(f))(np.stack([X, -X])), [np.cumsum(2 * X), np.cumsum(-2 * X)])
    assert cotan.vmap(f)(np.zeros((0, 3))).shape == (0, 3)
    assert set(seen) == {np.ndarray}


def test_a_callback_may_use_cotan_itself():
    def callback(x):
        return cotan.grad(lambda v: (v**3).sum())(x)

    np.testing.assert_allclose(cotan.jit(lambda x: cotan.pure_callback(callback, SHAPE, x))(X), 3 * X**2)


def test_a_callback_has_no_derivative_and_says_so():
    f = lambda x: cotan.pure_callback(np.sin, SHAPE, x).sum()  # noqa: E731
    with pytest.raises(MissingRuleError, match="outside code"):
        cotan.grad(f)(X)
    assert cotan.grad(lambda x: f(cotan.stop_gradient(x)) * x.sum())(X)[0] == pytest.approx(np.sin(X).sum())


def test_a_callback_that_returns_something_else_is_refused():
    with pytest.raises(ArgumentError, match=r"returned float64\[3\], not float64\[2\]"):
        cotan.pure_callback(np.sin, cotan.ShapeDtypeStruct((2,), np.float64), X)


# ---- external ------------------------------------------------------------------------------------------------------------
def test_an_external_function_with_a_jvp():
    sine = cotan.external(np.sin, jvp=lambda p, t: (sine(*p), cnp.cos(p[0]) * t[0]))
    check_rule(sine, (X,))
    np.testing.assert_allclose(cotan.jit(cotan.vmap(cotan.grad(sine)))(X), np.cos(X))
    np.testing.assert_allclose(cotan.vmap(cotan.hessian(sine))(X), -np.sin(X))


def test_an_external_function_with_a_vjp_and_trees():
    f = cotan.external(
        lambda p: {"s": np.sin(p["a"]), "n": p["a"] * p["b"]},
        vjp=(
            lambda p: (f(p), p),
            lambda p, bar: ({"a": cnp.cos(p["a"]) * bar["s"] + p["b"] * bar["n"], "b": (p["a"] * bar["n"]).sum()},),
        ),
    )
    check_rule(f, ({"a": X, "b": 1.5},))


def test_an_external_linear_function_with_its_transpose():
    forward = cotan.external(lambda x: M @ x, transpose=lambda y_bar: backward(y_bar))
    backward = cotan.external(lambda y: M.T @ y, transpose=lambda x_bar: forward(x_bar))
    check_rule(forward, (X,))
    np.testing.assert_array_equal(cotan.jacrev(forward)(X), M)
    np.testing.assert_array_equal(cotan.linear_transpose(forward, X)(np.ones(2))[0], M.sum(0))
    np.testing.assert_allclose(cotan.hessian(lambda x: (forward(x) ** 2).sum())(X), 2 * M.T @ M)


def test_ten_thousand_nested_calls():
    add_one = cotan.external(lambda x: x + 1.0, jvp=lambda p, t: (add_one(*p), t[0]))

    def chain(x):
        for _ in range(10_000):
            x = add_one(x)
        return x

    assert cotan.value_and_grad(chain)(0.0) == (10_000.0, 1.0)


# ---- implicit --------------------------------------------------------------------------------------------------------------
@cotan.implicit(lambda x, a, b: x**3 + a * x - b)
def root(a, b):
    return scipy.optimize.brentq(lambda x: x**3 + a * x - b, -10, 10, xtol=1e-14)


def by_newton(a, b):
    """Newton's iteration for the root in traced arithmetic, differentiated through its steps."""
    x = 1.0 + 0.0 * a
    for _ in range(60):
        x = x - (x**3 + a * x - b) / (3 * x**2 + a)
    return x


def test_a_solver_of_scipys_is_differentiated_to_third_order():
    for derivative in (cotan.grad, cotan.jacfwd, cotan.hessian, lambda f: cotan.grad(cotan.grad(cotan.grad(f)))):
        assert derivative(lambda a: root(a, 2.0))(1.3) == pytest.approx(float(derivative(lambda a: by_newton(a, 2.0))(1.3)), rel=1e-8)
        assert derivative(lambda b: root(1.3, b))(2.0) == pytest.approx(float(derivative(lambda b: by_newton(1.3, b))(2.0)), rel=1e-8)
    a = np.array([1.0, 2.0])
    expected = [cotan.grad(by_newton, (0, 1))(v, 2.0) for v in a]
    np.testing.assert_allclose(np.stack(cotan.vmap(cotan.grad(root, (0, 1)), in_axes=(0, None))(a, 2.0), 1), expected, rtol=1e-8)
    assert cotan.jit(cotan.grad(root))(1.3, 2.0) == pytest.approx(float(cotan.grad(by_newton)(1.3, 2.0)))


def test_systems_trees_and_closed_over_parameters():
    a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0])

    def outer(scale):
        @cotan.implicit(lambda x, p: {"r": scale * (p["A"] @ x["x"]) - p["b"]})
        def solve(p):
            return {"x": np.linalg.solve(p["A"], p["b"]) / 2.0}

        return solve({"A": a, "b": b})["x"].sum()

    # x = A^-1 b / scale at scale 2
    assert cotan.grad(outer)(2.0) == pytest.approx(-np.linalg.solve(a, b).sum() / 4)

    @cotan.implicit(lambda x, p: p["A"] @ x - p["b"])
    def solve(p):
        return np.linalg.solve(p["A"], p["b"])

    check_rule(solve, ({"A": a, "b": b},))


def test_a_minimum_by_its_gradient():
    def loss(x, w):
        return ((x - w) ** 2).sum() + 0.1 * (x**4).sum()

    @cotan.implicit(lambda x, w: cotan.grad(loss)(x, w))
    def minimum(w):
        return scipy.optimize.minimize(lambda x: loss(x, w), np.zeros(3), jac=lambda x: cotan.grad(loss)(x, w), tol=1e-12).x

    jac = cotan.jacrev(minimum)(X)
    x = np.asarray(minimum(X))
    np.testing.assert_allclose(jac, np.diag(2 / (2 + 1.2 * x**2)), rtol=1e-6, atol=1e-8)


def test_a_solver_that_does_not_solve_warns():
    @cotan.implicit(lambda x, a: x**2 - a)
    def wrong(a):
        return a

    with pytest.warns(cotan.ResidualWarning, match="residual of"):
        cotan.grad(wrong)(4.0)


def test_as_many_equations_as_unknowns():
    @cotan.implicit(lambda x, a: (x - a).sum())
    def too_few(a):
        return a

    with pytest.raises(ArgumentError, match="the residual has 1 numbers, x has 3"):
        cotan.jvp(too_few, (X,), (X,))


def test_nonlinear_rules_of_external_functions_are_refused():
    bad = cotan.external(np.sin, jvp=lambda p, t: (bad(*p), t[0] ** 2))
    with pytest.raises(NonlinearTangentError):
        cotan.grad(bad)(1.0)


# ---- linear in some arguments, ways of batching, memory of its own ---------------------------------------------------------
def partly_linear(**options):
    return cotan.external(lambda a, x: np.sin(a) @ x, linear=1, transpose=lambda a, y_bar: cnp.sin(a).T @ y_bar, **options)


A = np.array([[0.3, -0.4, 1.0], [0.2, 0.9, -0.6]])
V = np.array([1.0, 2.0, -1.0])


@pytest.mark.parametrize("way", [lambda f: f, cotan.jit], ids=["plain", "jit"])
@pytest.mark.parametrize("method", ["sequential", "expand_dims", "broadcast_all"])
def test_external_that_is_linear_in_one_argument(way, method):
    if method != "sequential":
        f = cotan.external(
            lambda a, x: np.einsum("...ij,...j->...i", np.sin(a), x),
            linear=(1,),
            transpose=lambda a, y_bar: cnp.sin(a).T @ y_bar,
            vmap=method,
            result_shape_dtypes=cotan.ShapeDtypeStruct((2,), np.float64),
        )
    else:
        f = partly_linear()
    expected = np.sin(A)
    np.testing.assert_allclose(way(cotan.jacrev(lambda x: f(A, x)))(V), expected)
    np.testing.assert_allclose(way(cotan.jacfwd(lambda x: f(A, x)))(V), expected)
    np.testing.assert_allclose(way(cotan.jvp)(lambda x: f(A, x), (V,), (V,))[1] if way is not cotan.jit else expected @ V, expected @ V)
    g = lambda x: cnp.sum(f(A, x) ** 3)  # noqa: E731
    exact = lambda x: cnp.sum((expected @ x) ** 3)  # noqa: E731
    for d in (cotan.hessian, lambda f: cotan.jacrev(cotan.jacrev(f)), lambda f: cotan.jacfwd(cotan.jacfwd(f))):
        np.testing.assert_allclose(way(d(g))(V), d(exact)(V), atol=1e-12)
    batch = np.stack([V, 2 * V, -V])
    np.testing.assert_allclose(way(cotan.vmap(lambda x: f(A, x)))(batch), batch @ expected.T)
    np.testing.assert_allclose(way(cotan.vmap(lambda a: f(a, V)))(np.stack([A, A + 1])), np.stack([np.sin(A) @ V, np.sin(A + 1) @ V]))
    np.testing.assert_allclose(way(cotan.vmap(cotan.grad(g)))(batch), np.stack([cotan.grad(exact)(v) for v in batch]))


def test_external_has_no_derivative_in_the_other_arguments():
    with pytest.raises(cotan.errors.MissingRuleError, match="outside code"):
        cotan.jacrev(lambda a: partly_linear()(a, V))(A)
    with pytest.raises(cotan.errors.MissingRuleError, match="transpose"):
        cotan.jacrev(cotan.external(lambda x: 2 * x, linear=True))(V)
    np.testing.assert_allclose(cotan.jacfwd(cotan.external(lambda x: 2 * x, linear=True))(V), 2 * np.eye(3))
    with pytest.raises(cotan.errors.ArgumentError, match="positions"):
        cotan.jacfwd(cotan.external(lambda x: 2 * x, linear=1))(V)
    for wrong in ("parallel", None):
        with pytest.raises(cotan.errors.ArgumentError, match="sequential"):
            cotan.pure_callback(np.sin, V, V, vmap_method=wrong)


@pytest.mark.parametrize("method", ["sequential", "expand_dims", "broadcast_all"])
def test_how_a_batch_is_handed_over(method):
    shapes = []

    def f(x, y):
        shapes.append((x.shape, y.shape))
        return x + y

    g = cotan.vmap(lambda x: cotan.pure_callback(f, cotan.ShapeDtypeStruct((3,), np.float64), x, V, vmap_method=method))
    batch = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(g(batch), batch + V)
    np.testing.assert_allclose(cotan.jit(g)(batch), batch + V)
    expected = {"sequential": ((3,), (3,)), "expand_dims": ((2, 3), (1, 3)), "broadcast_all": ((2, 3), (2, 3))}[method]
    assert set(shapes) == {expected}


def test_outside_code_may_change_its_arguments():
    def f(x):
        x *= 2.0
        return x

    x = np.ones(3)
    for way in (lambda f: f, cotan.jit, lambda f: cotan.vmap(f, in_axes=0)):
        g = way(lambda x: cotan.pure_callback(f, cotan.ShapeDtypeStruct(np.shape(x), np.float64), x) + x)
        np.testing.assert_allclose(g(x), 3.0)
    assert (x == 1).all()


def test_outside_code_may_call_cotan():
    inner = cotan.external(
        lambda x: np.asarray(cotan.grad(lambda v: cnp.sum(cnp.sin(v)))(x)), jvp=lambda p, t: (inner(*p), -cnp.sin(p[0]) * t[0])
    )
    for way in (cotan.grad, lambda f: cotan.jit(cotan.grad(f)), lambda f: cotan.grad(cotan.jit(f))):
        np.testing.assert_allclose(way(lambda x: cnp.sum(inner(x) ** 2))(V), -2 * np.cos(V) * np.sin(V))
    np.testing.assert_allclose(cotan.hessian(lambda x: cnp.sum(inner(x)))(V), np.diag(-np.cos(V)), atol=1e-15)


VARYING = {
    "fewer elements": lambda x: x[x > 1.5],
    "one that would broadcast": lambda x: x if x[0] > 0.5 else x.sum(keepdims=True),
    "a scalar": lambda x: x if x[0] > 0.5 else x.sum(),
    "another dtype": lambda x: x if x[0] > 0.5 else x.astype(np.int64),
    "more results": lambda x: (x,) if x[0] > 0.5 else (x, x),
}


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize("function", VARYING)
def test_a_result_that_differs_from_the_one_that_was_staged_is_refused(function, engine):
    x = np.array([0.0, 1.0, 2.0])
    outside = cotan.external(VARYING[function])
    leaf = cotan.external(lambda x: VARYING[function](x), jvp=lambda p, t: (p[0], t[0]))
    runs = [
        cotan.jit(outside, engine=engine),
        cotan.jit(leaf, engine=engine),
        cotan.jit(lambda x: cotan.lax.map(outside, x[None]), engine=engine),
    ]
    for run in runs:
        with pytest.raises((RuleError, ArgumentError), match=r"returned|structure"):
            run(x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.bool_, np.complex64])
def test_outside_code_sees_and_gives_the_dtype_that_was_staged(dtype):
    seen = []

    def function(x):
        seen.append(x.dtype)
        return x

    x = np.ones(3, dtype)
    assert cotan.jit(lambda x: cotan.external(function)(x + x))(x).dtype == dtype
    assert set(seen) == {np.dtype(dtype)}


def test_outside_code_that_is_not_linear_as_declared_is_refused():
    for function in (np.square, lambda x: x + 1.0):
        outside = cotan.external(lambda x, function=function: function(x), linear=True, transpose=lambda y_bar: y_bar)
        for run in (cotan.grad, cotan.jacfwd):
            with pytest.raises(NonlinearTangentError, match="declared linear"):
                run(outside)(2.0)


def test_outside_code_is_tried_for_linearity_once_for_arguments_of_the_same_types():
    calls = []
    double = cotan.external(lambda x: calls.append(1) or 2.0 * x, linear=True, transpose=lambda y_bar: 2.0 * y_bar)
    cotan.grad(double)(1.0)
    first = len(calls)
    cotan.grad(double)(2.0)
    assert len(calls) - first < first


def test_results_of_unlike_shapes_in_a_batch_are_refused():
    with pytest.raises(RuleError, match="unlike shapes"):
        cotan.vmap(cotan.external(lambda x: x[x > 1.5]))(np.array([[0.0, 2.0], [2.0, 2.0]]))


def test_an_error_on_ones_says_how_to_state_the_type():
    with pytest.raises(RuleError, match=r"called on arrays of ones(.|\n)*result_shape_dtypes"):
        cotan.jit(cotan.external(lambda a: np.linalg.cholesky(-a)))(np.eye(2))


LOOPS = {
    "scan": lambda f: lambda v: cotan.lax.scan(lambda c, _: (f(c), None), v, None, length=1)[0],
    "fori_loop": lambda f: lambda v: cotan.lax.fori_loop(0, 2, lambda i, c: f(c), v),
    "while_loop": lambda f: lambda v: cotan.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, f(c[1])), (0, v))[1],
}


@pytest.mark.parametrize("change", [lambda v: v[:1], lambda v: v.astype(np.float32), lambda v: v.sum(), lambda v: np.outer(v, v)])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_result_that_changes_in_a_loop_is_refused(loop, change):
    calls = []

    def function(v):
        calls.append(1)
        return v if len(calls) < 2 else change(v)

    with pytest.raises(RuleError, match="where the staged program was made for"):
        cotan.jit(LOOPS[loop](cotan.external(function)))(np.arange(6.0))


def test_results_of_unlike_dtypes_in_a_batch_are_refused():
    with pytest.raises(RuleError, match="unlike shapes or dtypes"):
        cotan.vmap(cotan.external(lambda v: v.astype(np.float32) if v[0] > 5 else v))(np.array([[1.0], [6.0]]))
