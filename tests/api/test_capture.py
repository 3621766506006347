"""`tag` and `capture`: values, tangents and cotangents by name, through every transformation and control op."""

import numpy as np
import pytest

import cotan
from cotan import lax
from cotan.errors import ArgumentTypeError, UnsupportedFunctionError

W = np.array([0.0, 1.0])


def loss(w):
    h = cotan.tag(np.tanh(w), "hidden")
    return cotan.tag(np.sum(h**2), "loss")


WAYS = {
    "plain": lambda f: f,
    "jit": cotan.jit,
    "checkpoint": cotan.checkpoint,
    "jit in jit": lambda f: cotan.jit(lambda w: cotan.jit(f)(w)),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@ways
def test_values(way):
    seen = cotan.capture(way(loss))(W)
    assert seen.result == loss(W)
    np.testing.assert_array_equal(seen["hidden"], np.tanh(W))
    assert seen["loss"] == loss(W)
    assert set(seen) == {"hidden", "loss"}
    assert not seen.cotangents


@ways
def test_cotangents(way):
    seen = cotan.capture(cotan.grad(way(loss)))(W)
    np.testing.assert_allclose(seen.result, cotan.grad(loss)(W))
    np.testing.assert_allclose(seen.cotangents["hidden"], 2 * np.tanh(W))
    assert seen.cotangents["loss"] == 1.0
    assert seen["loss"] == loss(W)  # though the gradient does not need it


@ways
def test_tangents(way):
    seen = cotan.capture(lambda w: cotan.jvp(way(loss), (w,), (np.ones(2),)))(W)
    np.testing.assert_allclose(seen.tangents["hidden"], 1 - np.tanh(W) ** 2)


def test_it_can_be_transformed():
    x = np.stack([W, W + 1])
    seen = cotan.vmap(cotan.capture(cotan.grad(loss)))(x)
    np.testing.assert_allclose(seen["hidden"], np.tanh(x))
    np.testing.assert_allclose(seen.cotangents["hidden"], 2 * np.tanh(x))
    seen = cotan.jit(cotan.capture(cotan.vmap(cotan.grad(loss))))(x)
    np.testing.assert_allclose(seen.cotangents["hidden"], 2 * np.tanh(x))
    g = cotan.grad(lambda w: np.sum(cotan.capture(loss)(w)["hidden"] ** 3))(W)
    np.testing.assert_allclose(g, 3 * np.tanh(W) ** 2 * (1 - np.tanh(W) ** 2))


def scanned(x):
    def step(c, k):
        c = cotan.tag(c * np.cos(k), "c")
        return c, None

    return lax.scan(step, x, np.arange(3.0))[0]


def test_scans_are_stacked():
    values = np.cumprod(np.cos(np.arange(3.0)))
    for f in (scanned, cotan.jit(scanned)):
        np.testing.assert_allclose(cotan.capture(f)(1.0)["c"], values)
        seen = cotan.capture(cotan.grad(f))(1.0)
        np.testing.assert_allclose(seen["c"], values)
        np.testing.assert_allclose(seen.cotangents["c"], values[-1] / values)
    seen = cotan.vmap(cotan.capture(cotan.grad(scanned)))(np.array([1.0, 2.0]))
    np.testing.assert_allclose(seen["c"], np.stack([values, 2 * values]))
    assert seen.cotangents["c"].shape == (2, 3)


def test_loops_in_loops():
    def outer(x):
        return lax.scan(lambda c, k: (scanned(c) + k, None), x, np.ones(2))[0]

    assert cotan.capture(outer)(1.0)["c"].shape == (2, 3)
    assert cotan.capture(cotan.grad(outer))(1.0).cotangents["c"].shape == (2, 3)


def test_while_loops_give_the_step_that_ran_last():
    def f(x):
        return lax.while_loop(lambda v: v < 5, lambda v: cotan.tag(v * 2, "v"), x)

    assert cotan.capture(f)(1.0)["v"] == 8.0
    seen = cotan.capture(cotan.grad(f))(1.0)
    assert seen.result == 8.0
    assert seen["v"] == 8.0
    assert seen.cotangents["v"] == 4.0  # of the first step, the last one backwards


def test_branches():
    def f(x):
        return lax.cond(x > 0, lambda v: cotan.tag(v * 2, "positive"), lambda v: cotan.tag(v * 3, "negative"), x)

    for of, inner in ((f, "values"), (cotan.grad(cotan.jit(f)), "cotangents")):
        staged = cotan.capture(cotan.jit(of))
        seen = getattr(staged(2.0), inner)
        assert seen["positive"] == (4.0 if inner == "values" else 1.0)
        assert np.isnan(seen["negative"])
    seen = cotan.vmap(cotan.capture(f))(np.array([1.0, -1.0]))
    np.testing.assert_array_equal(seen["positive"], [2.0, np.nan])


def test_custom_rules():
    @cotan.custom_vjp
    def f(x):
        return cotan.tag(x**2, "square")

    f.defvjp(lambda x: (f(x), x), lambda x, y_bar: (cotan.tag(2 * x * y_bar, "rule"),))
    seen = cotan.capture(cotan.grad(f))(3.0)
    assert seen.result == 6.0
    assert seen["rule"] == 6.0
    assert cotan.capture(f)(3.0)["square"] == 9.0


def test_custom_functions_in_loops_and_jitted_functions():
    @cotan.custom_jvp
    def f(x):
        return cotan.tag(x * 2, "inner")

    f.defjvp(lambda p, t: (f(p[0]), 2 * t[0]))

    def loop(x):
        return lax.scan(lambda c, k: (f(c), None), x, np.ones(2))[0]

    np.testing.assert_array_equal(cotan.capture(loop)(1.0)["inner"], [2.0, 4.0])
    np.testing.assert_array_equal(cotan.capture(cotan.jit(loop))(1.0)["inner"], [2.0, 4.0])
    assert cotan.capture(cotan.jit(lambda x: f(x)))(1.0)["inner"] == 2.0


def test_a_custom_function_in_a_loop_that_holds_arrays_is_refused():
    table = np.array([1.0, 2.0])

    @cotan.custom_jvp
    def f(x):
        return cotan.tag(x * table, "inner")

    f.defjvp(lambda p, t: (f(p[0]), t[0] * table))
    with pytest.raises(UnsupportedFunctionError, match="holds arrays"):
        cotan.capture(lambda x: lax.scan(lambda c, k: (f(c), None), x, np.ones(2))[0])(np.ones(2))


def test_several_of_one_name_and_trees():
    def f(x):
        for _ in range(3):
            x = cotan.tag(x * 2, "x")
        return cotan.tag({"a": x, "b": (x, 1.0)}, "tree")

    seen = cotan.capture(f)(1.0)
    assert seen["x"] == (2.0, 4.0, 8.0)
    assert set(seen) == {"x", "tree['a']", "tree['b'][0]", "tree['b'][1]"}
    assert "x: (" in str(seen)


def test_tags_cost_nothing_in_compiled_code():
    def plain(w):
        return np.sum(np.tanh(w) ** 2)

    tagged, untagged = (cotan.compile_report(cotan.grad(f))(np.ones(1000)) for f in (loss, plain))
    assert tagged.programs[0].replace("loss", "f") == untagged.programs[0].replace("plain", "f") or (
        tagged.programs[0].count("for") == untagged.programs[0].count("for")
    )


def test_results_and_derivatives_are_those_without_tags():
    np.testing.assert_array_equal(cotan.hessian(loss)(W), cotan.hessian(lambda w: np.sum(np.tanh(w) ** 2))(W))


def test_refusals():
    with pytest.raises(ArgumentTypeError, match="the name must be a string"):
        cotan.tag(1.0, 3)
