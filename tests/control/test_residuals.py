"""What a scan's derivative stores of each step: as little as its tangent needs."""

from __future__ import annotations

import numpy as np

import cotan
import cotan.numpy as cnp
from cotan.control.scan import Scan
from cotan.lax import scan

from .loops import close

XS = np.array([0.3, 0.1, -0.2, 0.5])


def loops(function, *args):
    """The scans in the staged program, in order."""
    return [e for e in cotan.stage(function)(*args).equations if type(e.op) is Scan]


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
