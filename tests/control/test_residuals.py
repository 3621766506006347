"""The residuals that a scan's derivative stores at each step: as few as its tangent needs."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.control import residuals
from cotan.control.scan import Scan
from cotan.core.types import StackType
from cotan.lax import fori_loop, scan

from .loops import close

XS = np.array([0.3, 0.1, -0.2, 0.5])


ROOM = residuals.ROOM


@pytest.fixture(autouse=True)
def without_room(monkeypatch):
    """Loops as long as those that may not keep what is costly."""
    monkeypatch.setattr(residuals, "ROOM", 0)


@pytest.fixture
def with_room(monkeypatch, without_room):
    monkeypatch.setattr(residuals, "ROOM", ROOM)


def loops(function, *args):
    """The scans in the staged program, in order."""
    return [e for e in cotan.stage(function)(*args).equations if type(e.op) is Scan]


def stored_types(function, *args):
    """The types of what the primal loop stacks."""
    primal, _ = loops(cotan.grad(lambda *a: cnp.sum(function(*a))), *args)
    return [v.type for v in primal.outputs[primal.op.carry :]]


def stored(function, *args):
    """The types of what the primal loop stacks beside the results of its own."""
    primal, backward = loops(cotan.value_and_grad(function), *args)
    assert (primal.op.backwards, backward.op.backwards) == (False, True)
    own = len(loops(function, *args)[0].outputs)
    return [str(v.type) for v in primal.outputs[own:]]


def ops_of(program):
    return [e.op.name for e in program.equations]


def test_one_array_a_step_is_stored_for_sine_of_the_carry():
    def f(c):
        return scan(lambda c, x: (cnp.sin(c) * c + x, None), c, XS)[0]

    assert stored(f, 0.3) == ["f64[4]"]
    close(cotan.jit(cotan.grad(f))(0.3), cotan.grad(f)(0.3))


def test_nothing_is_stored_for_a_linear_recurrence():
    assert stored(lambda c: scan(lambda c, x: (c * x + 1.0, None), c, XS)[0], 0.3) == []
    assert stored(lambda c: scan(lambda c, x: (c * cnp.sin(x), None), c, XS)[0], 0.3) == []


def test_what_is_the_same_at_every_step_is_not_stacked():
    def f(c, w):
        return scan(lambda c, x: (c * cnp.cos(w) + x, None), c, XS)[0]

    assert stored(f, 0.3, 0.7) == []
    (backward,) = loops(cotan.grad(f), 0.3, 0.7)  # the primal loop is not run at all
    assert "cos" not in ops_of(backward.op.body)


def test_xs_are_not_stored_again():
    def f(c, xs):
        return scan(lambda c, x: (c * cnp.exp(x) * x, None), c, xs)[0]

    primal, _ = loops(cotan.value_and_grad(f, argnums=0), 0.3, XS)
    assert [str(v.type) for v in primal.outputs] == ["f64[]"]
    primal, _ = loops(cotan.value_and_grad(f, argnums=(0, 1)), 0.3, XS)
    assert [str(v.type) for v in primal.outputs] == ["f64[]", "f64[4]"]


def test_results_of_matmul_are_kept_and_not_computed_again():
    def f(c, w):
        return scan(lambda c, _: (cnp.tanh(w @ c), None), c, None, length=5)[0].sum()

    args = (np.ones(3), np.eye(3) * 0.5)
    assert stored(f, *args) == ["f64[5,3]"]
    (loop,), (_, backward) = loops(f, *args), loops(cotan.grad(f), *args)
    (product,) = [name for name in ops_of(loop.op.body) if name != "tanh"]
    assert ops_of(backward.op.body).count(product) == 1  # the pull of the cotangent, and no second forward product


def test_several_residuals_from_one_carry_cost_that_carry():
    def f(c):
        return scan(lambda c, x: (cnp.sin(c) * cnp.exp(-c) * cnp.tanh(c) + x, None), c, XS)[0]

    assert stored(f, 0.3) == ["f64[4]"]


def test_a_short_loop_keeps_what_is_costly(with_room):
    def f(c, n):
        return scan(lambda c, _: (cnp.sin(c) * c + cnp.sqrt(c), None), c, None, length=n)[0]

    assert stored(lambda c: f(c, 7), 0.3) == ["f64[7]"] * 3  # c, sin(c) and cos(c), but not the root
    (_, backward) = loops(cotan.value_and_grad(lambda c: f(c, 7)), 0.3)
    assert {"sin", "cos"}.isdisjoint(ops_of(backward.op.body))
    most = residuals.ROOM // 16
    assert len(stored(lambda c: f(c, most), 0.3)) == 3
    assert len(stored(lambda c: f(c, most + 1), 0.3)) == 1
    for gradient in (cotan.grad, lambda g: cotan.jit(cotan.grad(g))):
        short = gradient(lambda c: f(c, 7))(0.3)
        residuals.ROOM = 0
        close(short, gradient(lambda c: f(c, 7))(0.3))
        residuals.ROOM = ROOM


def test_what_the_derivative_computes_takes_room_too(with_room):
    """log(e^c + e^d) is one costly function, and its derivative brings two more."""

    def f(c, n):
        return scan(lambda c, _: (cnp.logaddexp(c, 0.5 * c), None), c, None, length=n)[0]

    most = residuals.ROOM // 24
    for n, again in ((most, False), (most + 1, True)):
        _, backward = loops(cotan.value_and_grad(lambda c: f(c, n)), 0.3)  # noqa: B023
        assert ("logistic" in ops_of(backward.op.body)) == again


def test_a_loop_of_unknown_length_keeps_as_little_as_a_long_one(with_room):
    f = lambda c, n: fori_loop(0, n, lambda _, c: cnp.sin(c) * c, c)  # noqa: E731
    primal, _ = loops(lambda c, n: cotan.value_and_grad(f)(c, n), 0.3, 5)
    assert sum(type(v.type) is StackType for v in primal.outputs) == 1


def test_branches_that_update_a_cell_store_no_array():
    """Zeros are made where they are read, and the derivative of an update at one index reads that element."""
    branches = [
        lambda i, b: b.at[i - 1].add(b[i] * 0.1),
        lambda i, b: b,
        lambda i, b: b.at[i].multiply(b[i - 1]),
        lambda i, b: b.at[0].max(b[i]),
    ]

    def f(b):
        return fori_loop(1, 40, lambda i, b: cotan.lax.switch(i % 4, branches, i, b), b)

    b = np.linspace(-1.0, 1.5, 50)
    assert all(np.prod(t.shape, dtype=int) <= 40 for t in stored_types(f, b))
    w = np.cos(np.arange(50.0))
    eager = cotan.grad(lambda b: cnp.sum(f(b) * w))(b)
    close(cotan.jit(cotan.grad(lambda b: cnp.sum(f(b) * w)))(b), eager)
    step = 1e-6 * np.sin(np.arange(50.0))
    close(cnp.sum(eager * step), cnp.sum((f(b + step) - f(b - step)) * w) / 2, rtol=1e-6)


def test_forward_mode_stores_nothing():
    def f(c):
        return cotan.jvp(lambda c: scan(lambda c, x: (cnp.sin(c) * c + x, None), c, XS)[0], (c,), (1.0,))

    (loop,) = loops(f, 0.3)
    assert [str(v.type) for v in loop.outputs] == ["f64[]", "f64[]"]


def test_each_derivative_of_a_body_is_staged_once():
    counted = []

    def body(c, x):
        counted.append(1)
        return cnp.sin(c) * x, None

    df = cotan.jit(cotan.hessian(lambda c: scan(body, c, XS)[0]))
    df(0.3)
    first = len(counted)
    df(0.4)
    assert (first, len(counted)) == (1, 1)


BODIES = {
    "whole": lambda c: 0.5 * c + cnp.max(cnp.exp(cnp.sin(c))),
    "joined": lambda c: 0.5 * c + cnp.max(cnp.concatenate([cnp.exp(cnp.sin(c))[:1], cnp.exp(cnp.sin(c))]), axis=0),
    "turned": lambda c: 0.5 * c + cnp.max(cnp.exp(cnp.sin(c)).T, axis=0)[:, None],
    "sorted": lambda c: 0.5 * c + cnp.sort(cnp.roll(cnp.exp(cnp.sin(c)), 1, axis=1), axis=0),
    "updated": lambda c: 0.5 * c + cnp.exp(cnp.sin(c)).at[0].max(cnp.cos(c[-1])),
}


@pytest.mark.parametrize("room", [0, ROOM])
@pytest.mark.parametrize("shape", [(5, 17), (17, 7), (2, 65), (3, 3)], ids=str)
@pytest.mark.parametrize("name", BODIES)
def test_a_decision_of_the_first_loop_holds_in_the_second(name, shape, room, monkeypatch):
    """The comparison of y with its maximum is not repeated for a recomputed y, whose last bit may differ."""
    monkeypatch.setattr(residuals, "ROOM", room)
    body, rng = BODIES[name], np.random.default_rng(4)

    def loop(c):
        return scan(lambda c, _: (body(c), None), c, None, length=3)[0]

    def unrolled(c):
        return body(body(body(c)))

    for _ in range(3):
        x, w = rng.uniform(0.1, 1.2, shape), rng.normal(size=shape)
        total = lambda f: lambda c: cnp.sum(f(c) * w)  # noqa: E731, B023
        expected = cotan.grad(total(unrolled))(x)
        for gradient in (cotan.jit(cotan.grad(total(loop))), cotan.grad(total(cotan.jit(loop))), cotan.grad(total(loop))):
            np.testing.assert_allclose(gradient(x), expected, rtol=1e-9, atol=1e-11)


def test_a_decision_costs_a_byte_and_not_its_operands():
    def f(c):
        return scan(lambda c, _: (cnp.where(cnp.sin(c) > 0.5, cnp.cos(c), c * c), None), c, None, length=4)[0]

    assert sorted(stored(lambda c: cnp.sum(f(c)), np.ones(3))) == ["bool[4,3]", "f64[4,3]"]


def test_a_decision_about_what_is_at_hand_is_taken_again():
    def f(c):
        return scan(lambda c, _: (cnp.where(c > 0.5, cnp.cos(c), c * c), None), c, None, length=4)[0]

    assert stored(lambda c: cnp.sum(f(c)), np.ones(3)) == ["f64[4,3]"]


@pytest.mark.parametrize("shape", [(5, 17), (17, 7), (2, 65)], ids=str)
def test_a_decision_holds_between_what_a_policy_saves_and_what_it_does_not(shape):
    policy = cotan.checkpoint_policies.save_only_these_names("best")

    def body(c):
        y = cnp.exp(cnp.sin(c))
        return 0.5 * c + cotan.checkpoint_name(cnp.max(cnp.concatenate([y[:1], y]), axis=0), "best")

    x, w = np.random.default_rng(5).uniform(0.1, 1.2, shape), np.random.default_rng(6).normal(size=shape)
    total = lambda f: lambda c: cnp.sum(f(f(c)) * w)  # noqa: E731
    expected = cotan.grad(total(body))(x)
    saved = cotan.checkpoint(body, policy=policy)
    for gradient in (cotan.jit(cotan.grad(total(saved))), cotan.grad(total(cotan.jit(saved))), cotan.grad(total(saved))):
        np.testing.assert_allclose(gradient(x), expected, rtol=1e-9, atol=1e-11)


def test_the_first_loop_computes_nothing_that_only_the_second_one_needs():
    def f(c, w):
        return cnp.sum(scan(lambda c, x: (cnp.sqrt(c * x + 2.0) / (w @ c), None), c, XS)[0])

    (primal, _) = loops(cotan.value_and_grad(f), np.ones(3), np.eye(3))
    body = primal.op.body
    used = {v for e in body.equations for v in e.inputs if not hasattr(v, "value")} | set(body.outputs)
    assert all(used.intersection(e.outputs) for e in body.equations)
