"""The policies of checkpoint store the values that they name and no others, as memory_plan reports."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.api.checkpoint as api
import cotan.numpy as cnp
from cotan import checkpoint_policies as policies
from cotan import lax
from cotan.control import residuals
from cotan.core.errors import ArgumentTypeError
from cotan.ops.contraction import DotGeneral
from cotan.ops.transcendental import Tanh

W = np.array([[0.2, -0.4, 0.1], [0.5, 0.3, -0.2], [0.1, 0.7, 0.4]])
X = np.array([0.3, -0.6, 0.9])


def layer(w, x):
    h = cotan.checkpoint_name(cnp.tanh(w @ x), "hidden")
    return cnp.sin(cotan.checkpoint_name(w @ h, "out"))


def net(f):
    return lambda w: cnp.sum(f(w, f(w, X)) ** 2)


BATCHED = cotan.vmap(layer, in_axes=(None, 0))
POLICIES = {
    "none": None,
    "everything": policies.everything_saveable,
    "nothing": policies.nothing_saveable,
    "dots": policies.dots_saveable,
    "dots without batch": policies.dots_with_no_batch_dims_saveable,
    "only hidden": policies.save_only_these_names("hidden"),
    "any but hidden": policies.save_any_names_but_these("hidden"),
    "anything except hidden": policies.save_anything_except_these_names("hidden"),
    "both": policies.save_from_both_policies(policies.dots_saveable, policies.save_only_these_names("hidden")),
    "a function": lambda op, *types: op.name == "tanh" and types[0].shape == (3,),
}
WAYS = {
    "grad": cotan.grad,
    "jit of grad": lambda f: cotan.jit(cotan.grad(f)),
    "grad of jit": lambda f: cotan.grad(cotan.jit(f)),
    "forward over reverse": lambda f: cotan.jacfwd(cotan.grad(f)),
    "reverse over reverse": lambda f: cotan.jacrev(cotan.grad(f)),
    "reverse over forward": lambda f: cotan.jacrev(cotan.jacfwd(f)),
    "jit of reverse over reverse": lambda f: cotan.jit(cotan.jacrev(cotan.grad(f))),
    "vmap of grad": lambda f: lambda w: cotan.vmap(cotan.grad(f))(cnp.stack([w, 2 * w])),
    "grad of vmap": lambda f: cotan.grad(lambda w: cnp.sum(cotan.vmap(f)(cnp.stack([w, 2 * w])))),
    "vmap of linearize": lambda f: lambda w: cotan.vmap(lambda v: cotan.linearize(f, v)[1](w))(cnp.stack([w, 2 * w])),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("way", WAYS)
def test_derivatives_are_the_same(policy, way):
    transform = WAYS[way]
    f = cotan.checkpoint(layer, policy=POLICIES[policy])
    np.testing.assert_allclose(transform(net(f))(W), transform(net(layer))(W), rtol=1e-12, atol=1e-14)
    nested = cotan.checkpoint(lambda w, x: f(w, cnp.cos(x)), policy=POLICIES[policy])
    plain = lambda w, x: layer(w, cnp.cos(x))  # noqa: E731
    np.testing.assert_allclose(transform(net(nested))(W), transform(net(plain))(W), rtol=1e-12, atol=1e-14)


@pytest.fixture
def evaluated(monkeypatch):
    counts = {"dot": 0, "tanh": 0}
    monkeypatch.setattr(api, "programs", type(api.programs)())  # programs known from other tests would be run uncounted
    for cls, name in ((DotGeneral, "dot"), (Tanh, "tanh")):

        def counting(self, *operands, name=name, impl=cls.impl):
            counts[name] += 1
            return impl(self, *operands)

        monkeypatch.setattr(cls, "impl", counting)
    return counts


# With one layer: products forward, w @ x and w @ h; backward, the four transposed ones. Under a policy, those again that are not kept.
@pytest.mark.parametrize(
    ("policy", "products", "tanhs"),
    [
        ("none", 2, 2),
        ("nothing", 2, 2),
        ("dots", 0, 2),
        ("everything", 0, 1),
        ("only hidden", 1, 1),
        ("both", 0, 1),
        ("any but hidden", 1, 2),
    ],
)
def test_what_is_kept_is_not_computed_again(policy, products, tanhs, evaluated):
    f = cotan.checkpoint(layer, policy=POLICIES[policy])
    cotan.grad(lambda w: cnp.sum(layer(w, X)))(W)
    plain = evaluated["dot"]
    cotan.grad(lambda w: cnp.sum(f(w, X)))(W)
    evaluated["dot"] = evaluated["tanh"] = 0
    cotan.grad(lambda w: cnp.sum(f(w, X)))(W)
    assert evaluated["tanh"] == tanhs
    assert evaluated["dot"] - plain in (products, products - 1)  # w @ h is not needed for the derivative of w @ h


def test_products_inside_jit_are_seen_by_policies(evaluated):
    f = cotan.checkpoint(cotan.jit(layer), policy=policies.everything_saveable)
    cotan.grad(lambda w: cnp.sum(f(w, X)))(W)
    evaluated["tanh"] = 0
    cotan.grad(lambda w: cnp.sum(f(w, X)))(W)
    assert evaluated["tanh"] == 1


def test_products_without_batch_axes():
    def kept(policy):
        f = cotan.checkpoint(lambda w, x: cnp.sin(cnp.einsum("bij,bj->bi", w, x) @ W), policy=policy)
        plan = cotan.memory_plan(lambda w: cnp.sum(f(w, np.ones((2, 3)))))(np.ones((2, 3, 3)))
        return sorted(r.op for r in plan.residuals if r.kind == "computed")

    assert kept(policies.dots_saveable) == ["dot_general"]
    assert kept(policies.dots_with_no_batch_dims_saveable) == ["dot_general"]
    f = cotan.checkpoint(lambda w, x: cnp.sin(cnp.einsum("bij,bj->bi", w, x)), policy=policies.dots_with_no_batch_dims_saveable)
    plan = cotan.memory_plan(lambda w: cnp.sum(f(w, np.ones((2, 3)))))(np.ones((2, 3, 3)))
    assert not [r for r in plan.residuals if r.kind == "computed"]


@pytest.mark.parametrize("policy", [3, "dots_saveable", True])
def test_a_policy_that_is_no_function_is_refused(policy):
    with pytest.raises(ArgumentTypeError, match="policy"):
        cotan.checkpoint(layer, policy=policy)


def test_names_are_transparent():
    tree = {"a": X, "b": (2.0, np.arange(3))}
    named = cotan.checkpoint_name(tree, "x")
    np.testing.assert_array_equal(named["a"], X)
    np.testing.assert_array_equal(named["b"][1], np.arange(3))
    assert float(cotan.grad(lambda x: cotan.checkpoint_name(x, "x") ** 2)(3.0)) == 6.0


# ---- memory_plan -------------------------------------------------------------------------------------------------------
def computed(plan):
    return [r for r in plan.residuals if r.kind == "computed"]


def test_a_scan_keeps_one_array_a_step_and_its_line_is_told():
    def loss(c):
        return lax.scan(lambda c, x: (cnp.sin(c) * c + x, None), c, np.ones(100))[0]

    (r,) = computed(cotan.memory_plan(loss)(np.ones(10_000)))
    assert (r.shape, r.nbytes, r.dtype) == ((100, 10_000), 8_000_000, np.float64)
    assert r.source.startswith("test_checkpoint.py:")
    assert "lax.scan" in r.code
    short = computed(cotan.memory_plan(loss)(np.ones(4)))
    assert sorted(r.op for r in short) == ["cos", "scan", "sin"]
    assert {r.nbytes for r in short} == {3200}


@pytest.mark.parametrize(("room", "lines"), [(0, {"c * x", "scan"}), (residuals.ROOM, {"cnp.cos(y)", "scan"})])
def test_the_line_inside_a_body_is_told(room, lines, monkeypatch):
    monkeypatch.setattr(residuals, "ROOM", room)

    def step(c, x):
        y = cnp.sum(c * x)
        return c * cnp.cos(y), None

    plan = cotan.memory_plan(lambda c: cnp.sum(lax.scan(step, c, np.ones((5, 3)))[0]))(np.ones(3))
    assert {line for line in ("c * x", "cnp.cos(y)", "scan") if any(line in r.code for r in computed(plan))} == lines
    assert all(any(line in r.code for line in lines) for r in computed(plan))


def test_checkpoint_takes_residuals_away():
    def f(x):
        return cnp.sum(cnp.exp(cnp.sin(cnp.cos(x))))

    plain, checkpointed = (cotan.memory_plan(g)(np.ones(1000)) for g in (f, cotan.checkpoint(f)))
    assert plain.nbytes == 3 * 8000
    assert checkpointed.nbytes == 0
    assert [r.kind for r in checkpointed.residuals] == ["argument"]
    assert cotan.memory_plan(cotan.jit(f))(np.ones(1000)).nbytes == plain.nbytes


def test_a_loop_of_unknown_length_keeps_a_stack():
    plan = cotan.memory_plan(lambda x: lax.while_loop(lambda v: cnp.sum(v) < 9, lambda v: v * v + 1, x))(X)
    assert [(r.kind, r.shape, r.nbytes) for r in plan.residuals if r.kind == "stack"] == [("stack", (3,), 24)]


def test_the_table():
    text = str(cotan.memory_plan(lambda x: cnp.sum(cnp.sin(x) * 2.0))(np.ones(1000)))
    assert "keeps 8,000 bytes" in text
    assert "float64[1000]" in text
    assert "cos" in text
    assert "test_checkpoint.py:" in text


@pytest.mark.parametrize(("checkpoint", "states"), [(True, 6), (3, 3), (1, 1), (100, 60)])
def test_memory_plan_counts_the_states_of_a_checkpointed_loop(checkpoint, states):
    def f(x):
        return cnp.sum(lax.scan(lambda c, t: (cnp.sin(c) * t, None), x, np.arange(60.0), checkpoint=checkpoint)[0])

    x = np.ones(20_000)
    plan = cotan.memory_plan(f)(x)
    assert (plan.nbytes, plan.peak, plan.compiled_peak) == (0, states * x.nbytes, states * x.nbytes)
    workspace = cotan.compile_report(cotan.grad(f))(x).workspace
    assert plan.peak <= workspace <= plan.peak + 3 * x.nbytes
