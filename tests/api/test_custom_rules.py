"""Custom rules: each subset of rules under each composition of transformations, closures, and the errors of bad rules."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.errors import ArgumentError, NonlinearTangentError, RuleError

calls: list[str] = []


def body(x):
    return cnp.sin(x) * x


def derivative(x):
    return cnp.cos(x) * x + cnp.sin(x)


def jvp_rule(primals, tangents):
    calls.append("jvp")
    (x,), (t,) = primals, tangents
    return body(x), derivative(x) * t


def fwd(x):
    calls.append("fwd")
    return body(x), (x, "a residual that is no array")


def bwd(residuals, y_bar):
    calls.append("bwd")
    x, note = residuals
    assert note == "a residual that is no array"
    return (derivative(x) * y_bar,)


def vmap_rule(axis_size, in_batched, x):
    calls.append("vmap")
    return body(x), in_batched[0]


SUBSETS = {
    "none": {},
    "jvp": {"jvp": jvp_rule},
    "vjp": {"vjp": (fwd, bwd)},
    "jvp and vjp": {"jvp": jvp_rule, "vjp": (fwd, bwd)},
    "vmap": {"vmap": vmap_rule},
    "jvp and vmap": {"jvp": jvp_rule, "vmap": vmap_rule},
    "vjp and vmap": {"vjp": (fwd, bwd), "vmap": vmap_rule},
}
XS = np.linspace(-1.0, 2.0, 4)
D, DD = np.cos(XS) * XS + np.sin(XS), 2 * np.cos(XS) - XS * np.sin(XS)

COMPOSITIONS = {
    "grad": (lambda f: np.array([cotan.grad(f)(x) for x in XS]), D),
    "jvp": (lambda f: np.array([cotan.jvp(f, (x,), (1.0,))[1] for x in XS]), D),
    "jacfwd": (lambda f: cotan.jacfwd(f)(XS), np.diag(D)),
    "jacrev": (lambda f: cotan.jacrev(f)(XS), np.diag(D)),
    "linearize": (lambda f: cotan.linearize(f, XS)[1](np.ones(4)), D),
    "hessian": (lambda f: np.array([cotan.hessian(f)(x) for x in XS]), DD),
    "grad of grad": (lambda f: np.array([cotan.grad(cotan.grad(f))(x) for x in XS]), DD),
    "jvp of jvp": (lambda f: np.array([cotan.jvp(lambda x: cotan.jvp(f, (x,), (1.0,))[1], (x,), (1.0,))[1] for x in XS]), DD),
    "grad of jvp": (lambda f: np.array([cotan.grad(lambda x: cotan.jvp(f, (x,), (1.0,))[1])(x) for x in XS]), DD),
    "vmap": (lambda f: cotan.vmap(f)(XS), np.sin(XS) * XS),
    "vmap of grad": (lambda f: cotan.vmap(cotan.grad(f))(XS), D),
    "grad of vmap": (lambda f: cotan.grad(lambda x: cotan.vmap(f)(x).sum())(XS), D),
    "jacfwd of vmap": (lambda f: cotan.jacfwd(cotan.vmap(f))(XS), np.diag(D)),
    "vmap of hessian": (lambda f: cotan.vmap(cotan.hessian(f))(XS), DD),
    "hessian of vmap": (lambda f: cotan.hessian(lambda x: cotan.vmap(f)(x).sum())(XS), np.diag(DD)),
    "vmap of vmap": (lambda f: cotan.vmap(cotan.vmap(f))(XS[None])[0], np.sin(XS) * XS),
    "jit": (lambda f: cotan.jit(f)(XS), np.sin(XS) * XS),
    "jit of grad": (lambda f: cotan.jit(cotan.vmap(cotan.grad(f)))(XS), D),
    "grad of jit": (lambda f: cotan.grad(lambda x: cotan.jit(f)(x).sum())(XS), D),
    "jacfwd of jit": (lambda f: cotan.jacfwd(cotan.jit(f))(XS), np.diag(D)),
    "hessian of jit": (lambda f: cotan.hessian(lambda x: cotan.jit(f)(x).sum())(XS), np.diag(DD)),
    "vmap of jit of hessian": (lambda f: cotan.vmap(cotan.jit(cotan.hessian(f)))(XS), DD),
    "jit of vmap of jvp": (lambda f: cotan.jit(cotan.vmap(lambda x: cotan.jvp(f, (x,), (1.0,))[1]))(XS), D),
    "checkpoint": (lambda f: cotan.grad(lambda x: cotan.checkpoint(f)(x).sum())(XS), D),
}


@pytest.mark.parametrize("subset", SUBSETS)
@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_every_subset_of_rules_in_every_composition(subset, composition):
    compute, expected = COMPOSITIONS[composition]
    np.testing.assert_allclose(compute(cotan.custom_rules(body, **SUBSETS[subset])), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("subset", "transform", "used"),
    [
        ("jvp", lambda f: cotan.grad(f), {"jvp"}),
        ("jvp", lambda f: lambda x: cotan.jvp(f, (x,), (1.0,)), {"jvp"}),
        ("vjp", lambda f: cotan.grad(f), {"fwd", "bwd"}),
        ("vjp", lambda f: lambda x: cotan.jvp(f, (x,), (1.0,)), {"fwd", "bwd"}),
        ("jvp and vjp", lambda f: cotan.grad(f), {"fwd", "bwd"}),
        ("vmap", lambda f: lambda x: cotan.vmap(f)(np.full(2, x)), {"vmap"}),
        ("none", lambda f: cotan.grad(f), set()),
    ],
)
def test_the_rule_given_is_the_rule_used(subset, transform, used):
    calls.clear()
    transform(cotan.custom_rules(body, **SUBSETS[subset]))(2.0)
    assert set(calls) == used


def test_with_both_rules_forward_mode_uses_the_jvp_rule():
    calls.clear()
    cotan.jvp(cotan.custom_rules(body, **SUBSETS["jvp and vjp"]), (2.0,), (1.0,))
    assert "jvp" in calls
    assert "bwd" not in calls


# ---- closures -----------------------------------------------------------------------------------------------------------
def closing_jvp(c):
    @cotan.custom_jvp
    def f(x):
        return c * cnp.sin(x)

    @f.defjvp
    def f_jvp(primals, tangents):
        return f(*primals), c * cnp.cos(primals[0]) * tangents[0]

    return f


def closing_vjp(c):
    @cotan.custom_vjp
    def f(x):
        return c * cnp.sin(x)

    f.defvjp(lambda x: (f(x), x), lambda x, y_bar: (c * cnp.cos(x) * y_bar,))
    return f


@pytest.mark.parametrize("make", [closing_jvp, closing_vjp])
def test_closed_over_tracers_are_lifted(make):
    def outer(c):
        return make(c)(c * 2.0)  # d/dc c sin(2c) = sin(2c) + 2c cos(2c)

    c = 1.3
    first, second = np.sin(2 * c) + 2 * c * np.cos(2 * c), 4 * np.cos(2 * c) - 4 * c * np.sin(2 * c)
    assert cotan.grad(outer)(c) == pytest.approx(first)
    assert cotan.jvp(outer, (c,), (1.0,))[1] == pytest.approx(first)
    assert cotan.jit(cotan.grad(outer))(c) == pytest.approx(first)
    assert cotan.grad(cotan.jit(outer))(c) == pytest.approx(first)
    assert cotan.grad(cotan.grad(outer))(c) == pytest.approx(second)
    assert cotan.hessian(outer)(c) == pytest.approx(second)
    np.testing.assert_allclose(cotan.vmap(cotan.grad(outer))(np.array([c, c])), [first, first])
    np.testing.assert_allclose(cotan.grad(lambda cs: cotan.vmap(outer)(cs).sum())(np.array([c, c])), [first, first])
    np.testing.assert_allclose(cotan.vmap(lambda c: make(c)(2.0))(np.array([c, 2 * c])), [c * np.sin(2.0), 2 * c * np.sin(2.0)])
    assert cotan.grad(lambda c: make(c)(2.0))(c) == pytest.approx(np.sin(2.0))  # only the closed-over value moves


# ---- details of the API ----------------------------------------------------------------------------------------------------
def test_defjvps():
    @cotan.custom_jvp
    def f(x, y):
        return x * y

    f.defjvps(lambda t, out, x, y: y * t, None)
    assert cotan.grad(f, argnums=(0, 1))(2.0, 3.0) == (3.0, 0.0)


def test_nondiff_argnums_and_keywords():
    @cotan.custom_jvp
    def ignored(x):
        return x

    from functools import partial

    @partial(cotan.custom_jvp, nondiff_argnums=(0,))
    def apply(fun, x, scale=2.0):
        return fun(x) * scale

    @apply.defjvp
    def apply_jvp(fun, primals, tangents):
        x, scale = primals
        return apply(fun, x, scale), cotan.jvp(fun, (x,), (tangents[0],))[1] * scale

    assert cotan.grad(lambda x: apply(cnp.sin, x))(0.0) == 2.0
    assert cotan.grad(lambda x: apply(cnp.sin, x, scale=3.0))(0.0) == 3.0

    @partial(cotan.custom_vjp, nondiff_argnums=(1,))
    def power(x, n):
        return x**n

    power.defvjp(lambda x, n: (power(x, n), x), lambda n, x, y_bar: (n * x ** (n - 1) * y_bar,))
    assert cotan.grad(lambda x: power(x, 3))(2.0) == 12.0
    assert cotan.jvp(lambda x: power(x, 3), (2.0,), (1.0,))[1] == 12.0


def test_bwd_may_return_none_anywhere():
    @cotan.custom_vjp
    def f(p, x):
        return p["w"] * x + p["b"][0]

    f.defvjp(lambda p, x: (f(p, x), x), lambda x, y_bar: ({"b": None, "w": x * y_bar}, None))
    g, gx = cotan.grad(f, argnums=(0, 1))({"w": 2.0, "b": [1.0]}, 3.0)
    assert (g["w"], g["b"], gx) == (3.0, [0.0], 0.0)


def test_a_nonlinear_bwd_is_for_reverse_mode_only():
    @cotan.custom_vjp
    def clip_gradient(x):
        return x

    clip_gradient.defvjp(lambda x: (x, None), lambda _, y_bar: (cnp.clip(y_bar, -1.0, 1.0),))
    assert cotan.grad(lambda x: 5.0 * clip_gradient(x))(2.0) == 1.0
    assert cotan.jit(cotan.grad(lambda x: 5.0 * clip_gradient(x)))(2.0) == 1.0
    assert cotan.vmap(cotan.grad(lambda x: 5.0 * clip_gradient(x)))(np.ones(2)).tolist() == [1.0, 1.0]
    with pytest.raises(NonlinearTangentError, match="forward mode transposes"):
        cotan.jvp(clip_gradient, (2.0,), (1.0,))


def test_custom_linear():
    a = np.arange(6.0).reshape(2, 3)
    used = []

    @cotan.custom_linear
    def apply(x):
        return a @ x

    @apply.deftranspose
    def transpose(y_bar):
        used.append(True)
        return a.T @ y_bar

    x, y_bar = np.ones(3), np.array([1.0, -1.0])
    np.testing.assert_array_equal(cotan.vjp(apply, x)[1](y_bar)[0], a.T @ y_bar)
    np.testing.assert_array_equal(cotan.linear_transpose(apply, x)(y_bar)[0], a.T @ y_bar)
    assert len(used) == 2
    np.testing.assert_array_equal(cotan.jvp(apply, (x,), (x,))[1], a @ x)
    np.testing.assert_array_equal(cotan.jacfwd(apply)(x), a)
    np.testing.assert_array_equal(cotan.jacrev(apply)(x), a)
    squared = cotan.grad(lambda x: (apply(x) ** 2).sum())
    np.testing.assert_array_equal(cotan.vmap(squared)(np.stack([x, x])), np.stack([2 * a.T @ a @ x] * 2))
    derived = cotan.custom_linear(lambda x: a @ x)
    np.testing.assert_array_equal(cotan.vjp(derived, x)[1](y_bar)[0], a.T @ y_bar)
    with pytest.raises(NonlinearTangentError, match="declared linear"):
        cotan.jvp(cotan.custom_linear(lambda x: x**2), (2.0,), (1.0,))


def test_rules_with_several_outputs_and_trees():
    @cotan.custom_vjp
    def f(x, y):
        return {"s": x + y, "p": x * y}

    f.defvjp(lambda x, y: (f(x, y), (x, y)), lambda r, bar: (bar["s"] + r[1] * bar["p"], bar["s"] + r[0] * bar["p"]))
    loss = lambda x, y: f(x, y)["p"] * 2.0  # noqa: E731
    assert cotan.grad(loss, argnums=(0, 1))(2.0, 3.0) == (6.0, 4.0)
    _, dout = cotan.jvp(f, (2.0, 3.0), (1.0, 0.0))
    assert (dout["s"], dout["p"]) == (1.0, 3.0)


@pytest.mark.parametrize("bad", [lambda r, b: b, lambda r, b: (b, b), lambda r, b: ((b, b),), lambda r, b: (cnp.stack([b, b]),)])
def test_a_backward_rule_of_wrong_form_is_refused(bad):
    @cotan.custom_vjp
    def f(x):
        return x

    f.defvjp(lambda x: (x, None), bad)
    with pytest.raises(RuleError, match="backward rule"):
        cotan.grad(f)(2.0)


# ---- custom rules take what functions take ---------------------------------------------------------------------------
FUNCTIONS = {"sin": (cnp.sin, cnp.cos), "cos": (cnp.cos, lambda x: -cnp.sin(x))}


def with_jvp():
    @cotan.custom_jvp
    def f(x, kind, *, scale=2.0):
        return FUNCTIONS[kind][0](x) * scale

    @f.defjvp
    def f_jvp(primals, tangents):
        (x, kind, scale), (dx, nothing, dscale) = primals, tangents
        assert nothing is None
        value, slope = FUNCTIONS[kind]
        return f(x, kind, scale=scale), slope(x) * scale * dx + value(x) * dscale

    return f


def with_vjp_and_a_keyword():
    @cotan.custom_vjp
    def f(x, kind, *, scale=2.0):
        return FUNCTIONS[kind][0](x) * scale

    def bwd(saved, y_bar, *, scale):
        x, kind = saved
        return y_bar * FUNCTIONS[kind][1](x) * scale, None

    f.defvjp(lambda x, kind, *, scale: (f(x, kind, scale=scale), (x, kind)), bwd)
    return f


def with_names():
    @functools.partial(cotan.custom_jvp, nondiff_argnames=("kind", "scale"))
    def f(x, kind, *, scale=2.0):
        return FUNCTIONS[kind][0](x) * scale

    @f.defjvp
    def f_jvp(kind, scale, primals, tangents):
        return f(*primals, kind, scale=scale), FUNCTIONS[kind][1](primals[0]) * scale * tangents[0]

    return f


def with_numbers():
    @functools.partial(cotan.custom_rules, nondiff_argnums=1)
    def f(x, kind, *, scale=2.0):
        return FUNCTIONS[kind][0](x) * scale

    @f.defjvp
    def f_jvp(kind, primals, tangents, *, scale):
        return f(*primals, kind, scale=scale), FUNCTIONS[kind][1](primals[0]) * scale * tangents[0]

    return f


@pytest.mark.parametrize("make", [with_jvp, with_vjp_and_a_keyword, with_names, with_numbers])
def test_custom_rules_take_strings_and_keyword_only_arguments(make):
    f = make()
    assert f(0.5, "sin", scale=3.0) == 3.0 * np.sin(0.5)
    wanted = -3.0 * np.sin(0.5)
    call = lambda x: f(x, "cos", scale=3.0)  # noqa: E731
    for found in (
        cotan.grad(f)(0.5, "cos", scale=3.0),
        cotan.grad(call)(0.5),
        cotan.jacfwd(call)(0.5),
        cotan.jit(cotan.grad(call))(0.5),
        cotan.vmap(cotan.grad(call))(np.full(2, 0.5))[1],
        cotan.grad(cotan.jit(call))(0.5),
        cotan.jit(cotan.grad(f), static_argnums=1)(0.5, "cos", scale=3.0),
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-15)
    np.testing.assert_allclose(cotan.grad(cotan.grad(call))(0.5), -3.0 * np.cos(0.5), rtol=1e-15)
    np.testing.assert_allclose(cotan.grad(lambda s: f(0.5, "sin", scale=s))(3.0), np.sin(0.5), rtol=1e-15)  # nothing is lost


def test_leaves_that_are_no_arrays_have_no_derivative():
    @cotan.custom_vjp
    def f(options, x):
        return options["function"](x) * options["weight"]

    f.defvjp(
        lambda o, x: (f(o, x), (o["weight"], x)), lambda saved, g: ({"function": None, "weight": cnp.sin(saved[1]) * g, "name": None}, None)
    )
    options = {"function": cnp.sin, "weight": 2.0, "name": "sine"}
    found = cotan.grad(lambda w: f({**options, "weight": w}, 0.5))(2.0)
    assert found == np.sin(0.5)
    f.defvjp(lambda o, x: (f(o, x), x), lambda x, g: ({"function": None, "weight": None, "name": 1.0}, g))
    with pytest.raises(RuleError, match="cotangent for a str"):
        cotan.grad(lambda x: f(options, x))(0.5)


class Plain:
    def __init__(self, w):
        self.w = w

    @cotan.custom_jvp
    def f(self, x):
        return self.w * x**2

    @f.defjvp
    def f_jvp(primals, tangents):  # noqa: N805
        self, x = primals
        assert tangents[0] is None
        return self.f(x), self.w * 2 * x * tangents[1]

    @functools.partial(cotan.custom_vjp, nondiff_argnums=0)
    def g(self, x):
        return self.w * x**2

    g.defvjp(lambda self, x: (self.w * x**2, x), lambda self, x, g: (2 * self.w * x * g,))


class Tree:
    def __init__(self, w):
        self.w = w

    @cotan.custom_jvp
    def f(self, x):
        return self.w * x**2

    @f.defjvp
    def f_jvp(primals, tangents):  # noqa: N805
        (self, x), (dself, dx) = primals, tangents
        return self.f(x), self.w * 2 * x * dx + dself.w * x**2


cotan.tree.register_pytree_node(Tree, lambda t: ((t.w,), None), lambda _, children: Tree(*children))


@pytest.mark.parametrize("method", ["f", "g"])
def test_a_method_of_a_plain_object_has_rules(method):
    assert cotan.grad(getattr(Plain(3.0), method))(2.0) == 12.0
    assert cotan.jit(cotan.grad(getattr(Plain(3.0), method)))(2.0) == 12.0
    assert cotan.jacfwd(getattr(Plain(3.0), method))(2.0) == 12.0
    by_attribute = lambda w: getattr(Plain(w), method)(2.0)  # noqa: E731
    for found in (cotan.grad(by_attribute), cotan.jit(cotan.grad(by_attribute)), cotan.jacfwd(by_attribute)):
        assert found(3.0) == 4.0  # what an attribute holds is not lost
    both = cotan.hessian(lambda p: getattr(Plain(p[0]), method)(p[1]))(np.array([3.0, 2.0]))
    np.testing.assert_array_equal(both, [[0.0, 4.0], [4.0, 6.0]])


def test_a_method_of_a_registered_object_has_rules():
    assert cotan.grad(Tree(3.0).f)(2.0) == 12.0
    assert cotan.grad(lambda t: t.f(2.0))(Tree(3.0)).w == 4.0
    assert cotan.jit(cotan.grad(lambda t: t.f(2.0)))(Tree(3.0)).w == 4.0


def test_the_vmap_rule_is_used_for_derivatives_too():
    sizes = []

    @cotan.custom_rules
    def f(x, y):
        return cnp.sum(x**2) * y

    @f.defvmap
    def f_vmap(size, batched, x, y):
        sizes.append(size)
        return cnp.sum(x**2, axis=-1) * y, True

    x = np.arange(6.0).reshape(2, 3)
    derivatives = {
        "grad": lambda x: cotan.grad(f)(x, 2.0),
        "jvp": lambda x: cotan.jvp(lambda x: f(x, 2.0), (x,), (np.ones(3),))[1],
        "by the other": lambda x: cotan.grad(f, 1)(x, 2.0),
        "hessian": lambda x: cotan.hessian(lambda x: f(x, 2.0))(x),
    }
    wanted = {"grad": 4 * x, "jvp": 4 * x.sum(1), "by the other": (x**2).sum(1), "hessian": np.stack([4 * np.eye(3)] * 2)}
    for name, derivative in derivatives.items():
        for run in (cotan.vmap(derivative), cotan.jit(cotan.vmap(derivative))):
            sizes.clear()
            np.testing.assert_allclose(run(x), wanted[name], rtol=1e-15, err_msg=name)
            assert set(sizes) >= {2}, name
    sizes.clear()
    total = cotan.grad(lambda x: cnp.sum(cotan.vmap(f, (0, None))(x, 2.0)))(x)
    np.testing.assert_allclose(total, 4 * x)
    assert sizes == [2]


ARITY = {
    "jvp": (lambda f: f.defjvp(lambda primals: primals), "JVP rule .* is called with 2 arguments, but takes primals"),
    "fwd": (lambda f: f.defvjp(lambda: 0, lambda r, g: g), "forward rule .* is called with 1 argument, but takes no arguments"),
    "bwd": (lambda f: f.defvjp(lambda x: (x, x), lambda g: g), "backward rule .* is called with 2 arguments, but takes g"),
    "jvps": (lambda f: f.defjvps(lambda t, y, x: t, None), "defjvps gave 2 rules for the 1 arguments"),
    "transpose": (lambda f: f.deftranspose(lambda: 0), "transpose rule .* is called with 1 argument"),
}


@pytest.mark.parametrize("rule", ARITY)
def test_a_rule_of_another_number_of_arguments_is_refused(rule):
    give, text = ARITY[rule]
    f = cotan.custom_rules(lambda x: 2.0 * x)
    give(f)
    with pytest.raises((RuleError, ArgumentError), match=text):
        cotan.grad(f)(1.0)


def test_an_error_inside_a_rule_is_the_users_own():
    f = cotan.custom_jvp(lambda x: x)
    f.defjvp(lambda p, t: (p[0], len(3)))
    with pytest.raises(TypeError, match="has no len"):
        cotan.grad(f)(1.0)


def test_swapped_and_broadcast_cotangents_say_so():
    f = cotan.custom_vjp(lambda x, y: x * y)
    f.defvjp(lambda x, y: (x * y, (x, y)), lambda saved, g: (g * saved[1], g * saved[0]))
    with pytest.raises(RuleError, match=r"cotangent of y has shape \(3,\), not \(\)(.|\n)*sum it over the axes"):
        cotan.grad(lambda x: cnp.sum(f(x, 2.0)))(np.ones(3))
    f.defvjp(lambda x, y: (x * y, (x, y)), lambda saved, g: (cnp.sum(g * saved[0]), g * saved[1]))
    with pytest.raises(RuleError, match=r"as if the cotangents were in another order"):
        cotan.grad(lambda x: cnp.sum(f(x, 2.0)))(np.ones(3))


def test_a_ufunc_of_numpy_can_have_rules():
    f = cotan.custom_rules(np.floor)
    assert f(1.5) == cotan.jit(f)(1.5) == 1.0
    g = cotan.custom_jvp(np.sin)
    g.defjvp(lambda p, t: (np.sin(p[0]), np.cos(p[0]) * t[0]))
    assert cotan.grad(g)(0.0) == 1.0
