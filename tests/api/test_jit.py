"""jit: staged once per signature, one call op under other transformations, and it says why it staged again."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.errors import ArgumentError, TracerConversionError


def test_staged_once_for_each_signature():
    staged = []

    @cotan.jit
    def f(x):
        staged.append(x)
        return cnp.sin(x) * 2

    for _ in range(3):
        f(np.ones(3))
    assert len(staged) == 1
    f(np.ones(4))
    assert len(staged) == 2
    info = f.cache_info()
    assert (info.hits, info.misses, info.currsize) == (2, 2, 2)
    assert "args[0] is f64[4], where f64[3] was known" in f.explain_miss()
    f(np.ones(4, np.float32))
    assert "f32[4]" in f.explain_miss()
    f([np.ones(4)])
    assert "another tree" in f.explain_miss()
    f.cache_clear()
    assert f.cache_info().currsize == 0


def test_static_arguments():
    @cotan.jit(static_argnames="n")
    def power(x, n):
        y = x
        for _ in range(n - 1):
            y = y * x
        return y

    assert power(2.0, 3) == 8.0
    assert power(2.0, n=4) == 16.0
    assert "static argument" in power.explain_miss()
    assert cotan.grad(lambda x: power(x, 3))(2.0) == 12.0
    by_number = cotan.jit(lambda x, flag: x if flag else -x, static_argnums=1)
    assert (by_number(1.0, True), by_number(1.0, False)) == (1.0, -1.0)
    with pytest.raises(ArgumentError, match="no argument 'm'"):
        cotan.jit(lambda x: x, static_argnames="m")


def test_one_call_under_other_transformations():
    f = cotan.jit(lambda x: cnp.sin(x) * x)
    program = cotan.stage(lambda x: f(x) + f(x))(1.0)
    assert [e.op.name for e in program.equations] == ["call", "call", "add"]
    assert cotan.grad(f)(2.0) == pytest.approx(np.sin(2.0) + 2 * np.cos(2.0))
    assert cotan.grad(cotan.grad(f))(2.0) == pytest.approx(2 * np.cos(2.0) - 2 * np.sin(2.0))
    xs = np.linspace(0, 1, 4)
    np.testing.assert_allclose(cotan.vmap(f)(xs), np.sin(xs) * xs)
    np.testing.assert_allclose(cotan.vmap(cotan.grad(f))(xs), np.sin(xs) + xs * np.cos(xs))
    np.testing.assert_allclose(cotan.grad(lambda x: cotan.vmap(f)(x).sum())(xs), np.sin(xs) + xs * np.cos(xs))
    np.testing.assert_allclose(cotan.jacfwd(cotan.vmap(f))(xs), np.diag(np.sin(xs) + xs * np.cos(xs)))
    assert cotan.jit(cotan.jit(f))(2.0) == pytest.approx(2 * np.sin(2.0))


def test_a_linear_jitted_function_is_transposed_through_its_body():
    f = cotan.jit(lambda x: 3.0 * x[::-1])
    np.testing.assert_array_equal(cotan.linear_transpose(f, np.zeros(2))(np.array([1.0, 2.0]))[0], [6.0, 3.0])


def test_the_derivative_of_a_jitted_function_is_staged_once():
    staged = []

    @cotan.jit
    def f(x):
        staged.append(x)
        return (cnp.sin(x) * x).sum()

    for k in range(4):
        cotan.grad(f)(np.full(3, float(k)))
        cotan.hessian(f)(np.full(3, float(k)))
    assert len(staged) == 1


def test_values_that_it_closes_over():
    c = np.arange(3.0)
    f = cotan.jit(lambda x: x * c)
    np.testing.assert_array_equal(f(2.0), 2 * c)
    np.testing.assert_array_equal(cotan.grad(lambda k: cotan.jit(lambda x: x * k)(c).sum())(2.0), 3.0)
    np.testing.assert_array_equal(cotan.vmap(lambda k: cotan.jit(lambda x: x * k)(2.0))(c), 2 * c)

    g_holder = {}

    def outer(k):
        if "g" not in g_holder:
            g_holder["g"] = cotan.jit(lambda x: x * g_holder["k"])
        g_holder["k"] = k
        return g_holder["g"](2.0)

    assert cotan.grad(outer)(1.0) == 2.0
    assert cotan.grad(outer)(5.0) == 2.0


def test_methods():
    class Model:
        def __init__(self, scale):
            self.scale = scale

        @cotan.jit
        def __call__(self, x):
            return self.scale * x

    assert (Model(2.0)(3.0), Model(5.0)(3.0)) == (6.0, 15.0)


def test_an_error_leaves_nothing_behind():
    f = cotan.jit(lambda x: x if x > 0 else -x)
    with pytest.raises(TracerConversionError):
        f(1.0)
    assert f.cache_info().currsize == 0
    assert cotan.grad(lambda x: x * x)(1.0) == 2.0


def test_outputs_may_be_any_tree():
    out = cotan.jit(lambda x: {"a": x, "b": (2.0, None, [x * 2])})(np.ones(2))
    assert out["b"][0] == 2.0
    assert out["b"][1] is None
    np.testing.assert_array_equal(out["b"][2][0], [2.0, 2.0])
