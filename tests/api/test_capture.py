"""`tag` and `capture`: values, tangents and cotangents by name, through every transformation and control op."""

import numpy as np
import pytest

import cotan
from cotan import lax
from cotan.errors import ArgumentTypeError, TracerConversionError, UnsupportedFunctionError

W = np.array([0.0, 1.0])


def loss(w):
    h = cotan.tag(np.tanh(w), "hidden")
    return cotan.tag(np.sum(h**2), "loss")


WAYS = {
    "plain": lambda f: f,
    "jit": cotan.jit,
    "checkpoint": cotan.checkpoint,
    "jit in jit": lambda f: cotan.jit(lambda *args: cotan.jit(f)(*args)),
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
    assert seen.cotangents["v"] == 1.0


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


TABLE = np.array([1.0, 2.0])


@cotan.custom_jvp
def tenfold(x):
    """A function that holds an array, and whose rule is not the derivative of its body."""
    return cotan.tag(x * TABLE, "inner")


tenfold.defjvp(lambda p, t: (tenfold(p[0]), 10 * t[0] * TABLE))
HOLDERS = {
    "call": (tenfold, TABLE, 10 * TABLE),
    "jit": (cotan.jit(tenfold), TABLE, 10 * TABLE),
    "scan": (lambda x: lax.scan(lambda c, k: (tenfold(c), None), x, np.ones(2))[0], [TABLE, TABLE**2], 100 * TABLE**2),
    "while": (lambda x: lax.while_loop(lambda v: np.sum(v) < 20, tenfold, x), TABLE**5, 1e5 * TABLE**5),
    "cond": (lambda x: lax.cond(np.sum(x) > 0, tenfold, lambda x: x * TABLE, x), TABLE, 10 * TABLE),
}


@pytest.mark.parametrize(("f", "inner", "g"), HOLDERS.values(), ids=HOLDERS)
def test_custom_functions_that_hold_arrays(f, inner, g):
    x = np.ones(2)
    np.testing.assert_array_equal(cotan.capture(f)(x)["inner"], inner)

    def summed(x):
        return np.sum(cotan.capture(f)(x).result)

    for way in (summed, cotan.jit(summed)):  # the rule stays the rule
        np.testing.assert_array_equal(cotan.grad(way)(x), g)


def test_rules_stay_the_rules():
    rule = {"vmap": lambda size, flags, x: (cotan.tag(20 * x, "rule"), True)}
    twice = cotan.custom_rules(lambda x: cotan.tag(2 * x, "inner"), **rule)
    for way in (lambda f: f, cotan.jit):
        seen = cotan.vmap(way(cotan.capture(twice)))(np.ones(2))
        np.testing.assert_array_equal(seen.result, [20.0, 20.0])
        np.testing.assert_array_equal(seen["inner"], [2.0, 2.0])

    def solver(_, b):
        return cotan.stop_gradient(cotan.tag(b / 2, "x"))  # no derivative: that of the solve is the rule's

    def solve(b):
        return lax.custom_linear_solve(lambda x: 2 * x, b, solver, symmetric=True)

    assert cotan.capture(cotan.grad(solve))(3.0)["x"] == (1.5, 0.5)
    assert cotan.grad(lambda b: cotan.capture(solve)(b).result)(3.0) == 0.5


def test_custom_functions_that_close_over_tagged_values():
    def f(x):
        w = cotan.tag(x * 2, "w")

        @cotan.custom_vjp
        def g(y):
            return cotan.tag(y * w, "inner")

        g.defvjp(lambda y: (g(y), y), lambda y, y_bar: (y_bar * w,))
        return g(x)

    for way in (f, cotan.jit(f)):
        seen = cotan.capture(cotan.grad(way))(3.0)
        assert (seen.result, seen["w"], seen["inner"], seen.cotangents["w"]) == (12.0, 6.0, 18.0, 3.0)


def test_several_of_one_name_and_trees():
    def f(x):
        for _ in range(3):
            x = cotan.tag(x * 2, "x")
        return cotan.tag({"a": x, "b": (x, 1.0)}, "tree")

    seen = cotan.capture(f)(1.0)
    assert seen["x"] == (2.0, 4.0, 8.0)
    assert set(seen) == {"x", "tree['a']", "tree['b'][0]", "tree['b'][1]"}
    assert "x: (" in str(seen)


def net(layer, ws, h, shifts=(0.0,) * 6):
    """A net of six layers: the result, and the value of each layer, which has a shift."""
    values = []
    for w, shift in zip([*ws, *ws], shifts, strict=True):
        h = layer(w, h) + shift
        values.append(h)
    return h, values


def plain(w, h):
    return np.tanh(w * h)


def tagged(w, h):
    return cotan.tag(plain(w, h), "act")


LAYERS = {
    "layers": tagged,
    "jitted": cotan.jit(tagged),
    "in jit": lambda w, h: cotan.tag(cotan.jit(plain)(w, h), "act"),
    "checkpoints": cotan.checkpoint(tagged),
    "jitted checkpoints": cotan.jit(cotan.checkpoint(tagged)),
}
WS = np.array([0.5, 1.5, 2.5])


@ways
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_cotangents_of_one_name_are_in_the_order_of_the_values(way, layer):
    seen = cotan.capture(cotan.grad(way(lambda ws, h: net(layer, ws, h)[0])))(WS, 1.0)
    np.testing.assert_allclose(seen["act"], net(plain, WS, 1.0)[1])
    for k, y_bar in enumerate(seen.cotangents["act"]):
        up, down = (net(plain, WS, 1.0, [step * (j == k) for j in range(6)])[0] for step in (1e-6, -1e-6))
        np.testing.assert_allclose(y_bar, (up - down) / 2e-6, rtol=1e-6)
    again = cotan.jit(cotan.capture(cotan.grad(way(lambda ws, h: net(layer, ws, h)[0]))))(WS, 1.0)
    np.testing.assert_allclose(again.cotangents["act"], seen.cotangents["act"])


@ways
def test_cotangents_in_scans_are_in_the_order_of_the_values(way):
    def f(x):
        def step(c, w):
            a = cotan.tag(np.sin(w * c), "c")
            return cotan.tag(np.exp(a), "c"), None

        return lax.scan(step, x, WS)[0]

    seen = cotan.capture(cotan.grad(way(f)))(0.3)
    c, expected = 0.3, []
    for w in WS:
        expected += [np.sin(w * c), np.exp(np.sin(w * c))]
        c = expected[-1]
    np.testing.assert_allclose(np.stack(seen["c"], 1).ravel(), expected)
    bars = [1.0]
    for k in range(5, 0, -1):
        bars.append(bars[-1] * (np.exp(expected[k - 1]) if k % 2 else np.cos(WS[k // 2] * expected[k - 1]) * WS[k // 2]))
    np.testing.assert_allclose(np.stack(seen.cotangents["c"], 1).ravel(), bars[::-1])


@ways
def test_the_cotangent_of_an_unused_value_is_zero(way):
    def f(x):
        a, _, c = (cotan.tag(x * k, "h") for k in (1, 2, 3))
        cotan.tag(x * 4, "unused")
        return a * c

    seen = cotan.capture(cotan.grad(way(f)))(1.5)
    assert seen["h"] == (1.5, 3.0, 4.5)
    assert seen.cotangents["h"] == (4.5, 0.0, 1.5)
    assert seen.cotangents["unused"] == 0.0
    assert cotan.capture(cotan.grad(lambda x: lax.scan(lambda c, k: (c + 0 * f(x), None), x, np.ones(2))[0]))(1.5).result == 1.0

    def loop(x):
        ys = lax.scan(lambda c, k: (c, cotan.tag(c * k, "y")), x, WS)[1]
        return x + 0.0 * ys.shape[0]

    np.testing.assert_array_equal(cotan.capture(cotan.grad(way(loop)))(1.5).cotangents["y"], np.zeros(3))


def test_a_cotangent_that_is_not_computed_is_nan_among_others():
    def f(x):
        a = cotan.tag(np.sin(np.array(2.0)), "h")
        return a * cotan.tag(x * 3, "h")

    nan, bar = cotan.capture(cotan.grad(f))(1.0).cotangents["h"]
    assert np.isnan(nan)
    assert bar == np.sin(2.0)


def test_further_derivatives_follow():
    def f(x):
        return cotan.tag(x**2, "h") * cotan.tag(x**3, "h")

    seen = cotan.capture(cotan.grad(cotan.grad(f)))(2.0)
    assert seen["h"] == (4.0, 8.0)
    assert seen.cotangents["h"][:2] == (8.0, 4.0)
    # grad f = b * 2x + a * 3x^2, and its derivative in a is 3x^2, in b 2x
    assert seen.cotangents["h"][2:] == (12.0, 4.0)


def test_what_is_tagged_in_loops_in_while_loops():
    def f(x):
        return lax.while_loop(
            lambda v: v < 10, lambda v: lax.scan(lambda c, u: (cotan.tag(c * u, "h"), None), v, np.array([1.0, 2.0]))[0], x
        )

    for way in (f, cotan.jit(f)):
        np.testing.assert_array_equal(cotan.capture(way)(1.0)["h"], [8.0, 16.0])
        seen = cotan.capture(cotan.grad(way))(1.0)
        np.testing.assert_array_equal(seen["h"], [8.0, 16.0])
        np.testing.assert_array_equal(seen.cotangents["h"], [2.0, 1.0])


def test_what_is_tagged_in_conditions_is_that_of_the_last_carry():
    def f(x):
        return lax.while_loop(lambda v: cotan.tag(v * v, "square") < 10, lambda v: v * 2, x)

    for way in (f, cotan.jit(f), cotan.grad(f), cotan.jit(cotan.grad(f))):
        assert cotan.capture(way)(1.0)["square"] == 16.0


def test_a_tag_in_the_matvec_of_a_solve_is_refused():
    a = np.array([[2.0, 1.0], [1.0, 3.0]])

    def solve(b, tag):
        return np.sum(lax.custom_linear_solve(lambda x: tag(a @ x), b, lambda _, b: cotan.tag(np.linalg.solve(a, b), "x"), symmetric=True))

    for f in (solve, cotan.grad(solve), cotan.jit(solve, static_argnums=1)):
        with pytest.raises(UnsupportedFunctionError, match="in the matvec"):
            cotan.capture(f)(np.ones(2), lambda y: cotan.tag(y, "y"))
    np.testing.assert_allclose(cotan.capture(solve)(np.ones(2), lambda y: y)["x"], np.linalg.solve(a, np.ones(2)))


def test_functions_that_look_at_values():
    def f(x):
        if x > 0:
            x = cotan.tag(x * 2, "positive")
        for _ in range(int(x)):
            x = cotan.tag(x * 3, "x")
        return x

    seen = cotan.capture(cotan.grad(f))(1.0)
    assert seen.result == 18.0
    assert seen["x"] == (6.0, 18.0)
    assert seen.cotangents["x"] == (3.0, 1.0)
    assert seen.cotangents["positive"] == 9.0
    assert "positive" not in cotan.capture(f)(-1.0)
    strict = cotan.capture(cotan.grad(loss, strict=True))(W)
    np.testing.assert_allclose(strict.cotangents["hidden"], 2 * np.tanh(W))


def test_loops_whose_steps_look_at_values():
    def step(c, k):
        return (cotan.tag(c * k, "c") if c > 3 else c * k), k

    def in_a_while_loop(x):
        return lax.while_loop(lambda v: v < 20, lambda v: cotan.tag(v * 3, "c") if v > 3 else v * 3, x)

    loops = {
        lambda x: lax.scan(step, x, WS)[0]: (2.0,),
        lambda x: lax.fori_loop(1, 4, lambda k, c: step(c, k)[0], x): (4.0, 8.0, 24.0),
        in_a_while_loop: (12.0, 36.0),
    }
    for f, values in loops.items():
        x = 4.0
        seen = cotan.capture(f)(x)
        assert seen.result == f(x)
        assert seen.get("c", ()) == (values if len(values) > 1 else values[0])
        with pytest.raises(TracerConversionError):
            cotan.capture(cotan.grad(f))(x)  # as without capture


def test_a_derivative_that_was_recorded_before():
    _, pull = cotan.vjp(lambda x: cotan.tag(x * x, "h") * cotan.tag(x * 3, "h"), 2.0)
    assert cotan.capture(pull)(1.0).cotangents["h"] == (6.0, 4.0)


def test_a_value_is_what_was_tagged_though_the_array_changes():
    def f(x):
        y = np.ones(2)
        cotan.tag(y, "y")
        y += 1
        return x

    np.testing.assert_array_equal(cotan.capture(f)(1.0)["y"], np.ones(2))


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
