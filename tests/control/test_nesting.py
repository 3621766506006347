"""Nested loops and branches, inside transformations, to any depth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

import cotan
import cotan.numpy as cnp
from cotan.core.checking import check_program
from cotan.lax import cond, scan, switch, while_loop
from cotan.testing import check_rule

from .loops import (
    BATCH,
    COTAN,
    PYTHON,
    TRANSFORMATIONS,
    close,
    compare_derivative_of_vmap,
    compare_with_jax,
    compare_with_python,
    every_way,
)
from .programs import LoopProgram, loop_programs


def three_scans(k, p):
    def inner(c, x):
        return k.lax.scan(lambda d, y: (k.np.sin(d) * y + x, d), c, p[:2])

    def middle(c, x):
        c, ys = k.lax.scan(inner, c * x, p[2:4])
        return c, k.np.sum(ys)

    c, ys = k.lax.scan(middle, p[5], p[3:])
    return k.np.concatenate([ys, k.np.stack([c])])


def scan_in_cond_in_for(k, p):
    def run(v):
        return k.lax.scan(lambda c, x: (k.np.sin(c) * x, None), v, p[:3])[0]

    return k.lax.fori_loop(0, 3, lambda i, v: k.lax.cond(v[0] > 0.25, run, lambda v: v * v + i, v), p)


def cond_in_scan_in_cond(k, p):
    def step(c, x):
        return k.lax.cond(x > 0, lambda c: c * x, lambda c: k.np.cos(c) + p[0], c), c

    return k.lax.cond(p[0] > 0.3, lambda v: k.lax.scan(step, v[0], v)[1], lambda v: k.np.sin(v), p)


def switch_on_the_step_of_a_scan(k, p):
    branches = [lambda c: k.np.sin(c), lambda c: c * p[:2], lambda c: c + 1.0]
    return k.lax.scan(lambda c, i: (k.lax.switch(i, branches, c), k.np.sum(c)), p[4:], np.arange(5) % 3)[1]


def derivative_of_a_scan_in_a_scan(k, p):
    def f(c):
        return k.lax.scan(lambda d, x: (d * d * x, None), c, p[:2])[0]

    c, ys = k.lax.scan(lambda c, x: (k.np.tanh(k.api.grad(f)(c)) + x, c), p[5], p)
    return k.np.concatenate([ys, k.np.stack([c])])


def scan_in_checkpoint_in_scan(k, p):
    g = k.api.checkpoint(lambda c, x: k.lax.scan(lambda d, y: (k.np.sin(d) * y + x, None), c, p[:3])[0])
    return k.lax.scan(lambda c, x: (g(c, x), c), p[5], p)[1]


def scan_in_vmap_in_scan(k, p):
    def g(v, x):
        return k.lax.scan(lambda d, y: (d * y + k.np.sin(x), None), v, p[:2])[0]

    return k.lax.scan(lambda c, x: (k.api.vmap(g, in_axes=(0, None))(c, x), k.np.sum(c)), p[:3], p[3:])[0]


def map_of_map(k, p):
    return k.np.ravel(k.lax.map(lambda x: k.lax.map(lambda y: k.np.sin(x * y), p[:3]), p[3:]))


CASES = [
    three_scans,
    scan_in_cond_in_for,
    cond_in_scan_in_cond,
    switch_on_the_step_of_a_scan,
    derivative_of_a_scan_in_a_scan,
    scan_in_checkpoint_in_scan,
    scan_in_vmap_in_scan,
    map_of_map,
]


# In these a while loop is inside a staged body, where the number of its steps is not known: JAX has forward mode only.
def scan_in_cond_in_while(k, p):
    def run(v):
        return k.lax.scan(lambda c, x: (k.np.tanh(c) + x, None), v, p[:3])[0]

    def step(s):
        return s[0] + 1, k.lax.cond(s[1][0] > 0.5, run, lambda v: v * 1.5 + 0.1, s[1])

    return k.lax.while_loop(lambda s: s[0] < 4, step, (0, p))[1]


def while_in_scan(k, p):
    def step(c, x):
        return k.lax.while_loop(lambda v: v < 1.0, lambda v: v * v + 0.6, c * x), c

    return k.lax.scan(step, p[0], p)[1]


def while_in_while(k, p):
    def inner(v):
        return k.lax.while_loop(lambda u: k.np.sum(u) < 9.0, lambda u: u * u + p, v)

    return k.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, inner(k.np.sin(s[1]))), (0, p))[1]


def while_in_cond(k, p):
    def grow(v):
        return k.lax.while_loop(lambda u: k.np.sum(u) < 9.0, lambda u: u * u + 1.0, v)

    return k.lax.cond(p[0] > 0.3, grow, lambda v: v * v, p)


def while_in_while_in_scan_in_cond(k, p):
    def innermost(c, x):
        return k.lax.while_loop(lambda v: v < 1.2 + x, lambda v: v * 1.5 + k.np.sin(c) * 0.1, 0.4 + c * c)

    def inner(c, x):
        return k.lax.while_loop(lambda s: s[0] < 3.0, lambda s: (s[0] + 1.0, k.np.tanh(innermost(s[1], x))), (c * c, x))[1], c

    return k.lax.cond(p[0] > 0.3, lambda v: k.lax.scan(inner, v[0], v)[1], lambda v: k.np.sin(v), p)


def while_in_vmap_in_while(k, p):
    def grow(v):
        return k.lax.while_loop(lambda u: u < 2.0, lambda u: u * u + p[0] * 0.5 + 0.6, v)

    each = k.api.vmap(grow) if k is COTAN else lambda v: k.np.stack([grow(x) for x in v])  # Python's while takes one value
    return k.lax.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, k.np.sin(each(s[1]))), (0, p))[1]


def while_in_checkpoint_in_scan(k, p):
    def grow(c, x):
        return k.lax.while_loop(lambda v: v < 1.0, lambda v: v * v + 0.6, c * x)

    g = k.api.checkpoint(grow) if k is COTAN else grow
    return k.lax.scan(lambda c, x: (g(c, x), c), p[0], p)[1]


WHILE_CASES = [
    scan_in_cond_in_while,
    while_in_scan,
    while_in_while,
    while_in_cond,
    while_in_while_in_scan_in_cond,
    while_in_vmap_in_while,
    while_in_checkpoint_in_scan,
]


@pytest.mark.sampled(3)
@every_way(CASES)
def test_nested_control_flow_equals_python(case, name, way):
    compare_with_python(case, name, way)


@pytest.mark.parametrize("case", CASES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("mode", ["jacfwd", "jacrev"])
def test_derivative_of_batched_control_flow_is_block_diagonal(case, mode):
    compare_derivative_of_vmap(case, mode)


@pytest.mark.sampled(3)
@every_way(WHILE_CASES)
def test_while_inside_other_control_flow_has_every_derivative(case, name, way):
    compare_with_python(case, name, way)


@pytest.mark.sampled(2)
@pytest.mark.peers
@pytest.mark.parametrize("case", CASES, ids=lambda f: f.__name__)
def test_nested_control_flow_equals_jax(case):
    compare_with_jax(case, reverse=True)


def test_a_scan_in_a_cond_in_a_while_is_differentiated_backwards_where_the_steps_are_known():
    expected = cotan.jacrev(lambda p: scan_in_cond_in_while(PYTHON, p))
    for p in BATCH:
        close(cotan.jacrev(lambda p: scan_in_cond_in_while(COTAN, p))(p), expected(p))
    close(cotan.vmap(cotan.jacrev(lambda p: scan_in_cond_in_while(COTAN, p)))(BATCH), np.stack([expected(p) for p in BATCH]))


def test_cond_in_scan_in_vmap_in_grad():
    w, xs = np.array([0.3, 0.8, 1.7]), np.array([0.5, -0.4, 0.9])

    def loss(w, loop, choose):
        def one(w):
            return loop(lambda c, x: (choose(c * x > 0, lambda c: cnp.sin(c * w), lambda c: c * c + w * x, c), None), w, xs)[0]

        return one

    def reference(w):
        return sum(loss(w, PYTHON.lax.scan, PYTHON.lax.cond)(v) for v in w)

    f = loss(w, scan, cond)
    close(cotan.grad(lambda w: cotan.vmap(f)(w).sum())(w), cotan.grad(reference)(w))
    close(cotan.jit(cotan.hessian(lambda w: cotan.vmap(f)(w).sum()))(w), cotan.hessian(reference)(w))


def test_nested_programs_are_well_formed():
    for case in CASES:
        for name in ("value", "jvp", "grad", "hessian"):
            check_program(cotan.stage(TRANSFORMATIONS[name][0](cotan, lambda p, case=case: case(COTAN, p)))(BATCH[0]))


def test_a_loop_in_an_eager_loop_counts_its_own_steps():
    counts = [int(while_loop(lambda s, n=n: s[0] < n, lambda s: (s[0] + 1, s[1] + s[0]), (0, 0))[1]) for n in range(4)]
    assert counts == [0, 0, 1, 3]


# ---- laws, on random programs ------------------------------------------------------------------------------------------------
def directions(program: LoopProgram) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(program.seed + 1)
    return rng.normal(size=3), rng.normal(size=3)


TIGHT = {"rtol": 1e-8, "atol": 1e-9}


@given(loop_programs())
def test_value_equals_the_loops_in_python(program):
    close(program.on(COTAN)(program.input()), program.on(PYTHON)(program.input()))


@given(loop_programs())
def test_jvp_equals_finite_differences_and_linearize(program):
    f, x, (dx, _) = program.on(COTAN), program.input(), directions(program)
    y, dy = cotan.jvp(f, (x,), (dx,))
    value, f_jvp = cotan.linearize(f, x)
    close(value, y)
    close(f_jvp(dx), dy, **TIGHT)
    h = 1e-5
    close(dy, (np.asarray(f(x + h * dx)) - f(x - h * dx)) / (2 * h), rtol=2e-5, atol=2e-6)


@given(loop_programs())
def test_transpose_is_the_adjoint(program):
    f, x, (dx, bar) = program.on(COTAN), program.input(), directions(program)
    close(float(cotan.vjp(f, x)[1](bar)[0] @ dx), float(bar @ cotan.jvp(f, (x,), (dx,))[1]), **TIGHT)


@given(loop_programs())
def test_vmap_equals_a_python_loop(program):
    f, x = program.on(COTAN), program.input()
    xs = np.stack([x, 0.5 * x + 0.2, -x])
    close(cotan.vmap(f)(xs), np.stack([np.asarray(f(v)) for v in xs]))
    close(cotan.vmap(cotan.jacrev(f))(xs), np.stack([np.asarray(cotan.jacrev(f)(v)) for v in xs]), **TIGHT)


@pytest.mark.sampled(2)
@given(loop_programs())
def test_jit_equals_eager(program):
    f, x, (dx, _) = program.on(COTAN), program.input(), directions(program)
    close(cotan.jit(f)(x), f(x))
    close(cotan.jit(lambda x, dx: cotan.jvp(f, (x,), (dx,))[1])(x, dx), cotan.jvp(f, (x,), (dx,))[1])
    close(cotan.jit(cotan.jacrev(f))(x), cotan.jacrev(f)(x), **TIGHT)
    close(cotan.jacrev(cotan.jit(f))(x), cotan.jacrev(f)(x), **TIGHT)


@given(loop_programs(most=2))
def test_second_derivatives_agree_in_all_four_pairs_of_modes_and_with_python(program):
    f, x = program.on(COTAN), program.input()
    expected = cotan.hessian(program.on(PYTHON))(x)
    for outer in (cotan.jacfwd, cotan.jacrev):
        for inner in (cotan.jacfwd, cotan.jacrev):
            close(outer(inner(f))(x), expected, **TIGHT)


@given(loop_programs(most=2))
def test_every_program_passes_every_check_of_its_derivatives(program):
    assert check_rule(program.on(COTAN), (program.input(),)).ok


def test_control_flow_without_operands_results_or_carry():
    assert cotan.jit(lambda flag: cond(flag, lambda: None, lambda: None))(True) is None
    assert cotan.vmap(lambda flag: cond(flag, lambda: (), lambda: ()))(np.array([True, False])) == ()
    assert scan(lambda c, x: (c, None), None, None, length=np.int64(3)) == (None, None)
    assert cotan.jit(lambda x: scan(lambda c, x: (c, None), (), x))(np.ones(3)) == ((), None)
    assert float(cotan.jit(lambda i, x: switch(i, [cnp.sin], x))(5, 0.3)) == np.sin(0.3)
