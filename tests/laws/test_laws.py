"""Laws that hold for every program, tried on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

import cotan
import cotan.numpy as cnp
from cotan.core.checking import check_linear, check_program
from cotan.core.program import evaluate
from cotan.core.staging import stage_flat
from cotan.core.tracing import type_of
from cotan.transforms.linearize import linearize_program

from .programs import RandomProgram, random_programs

TIGHT = {"rtol": 1e-9, "atol": 1e-10}


def directions(program: RandomProgram, count: int):
    rng = np.random.default_rng(program.seed + 1)
    return [tuple(rng.normal(size=program.shape) for _ in range(2)) for _ in range(count)]


@given(random_programs())
def test_value_equals_numpy(program):
    np.testing.assert_allclose(program.on(cnp)(*program.inputs()), program.on(np)(*program.inputs()), **TIGHT)


@given(random_programs())
def test_plain_numpy_code_is_traced_to_the_same_derivative(program):
    x, (dx,) = program.inputs(), directions(program, 1)
    np.testing.assert_allclose(cotan.jvp(program.on(np), x, dx)[1], cotan.jvp(program.on(cnp), x, dx)[1], **TIGHT)


@given(random_programs())
def test_jvp_equals_finite_differences(program):
    f, x, (dx,) = program.on(np), program.inputs(), directions(program, 1)
    h = 1e-5
    difference = (f(*[a + h * d for a, d in zip(x, dx, strict=True)]) - f(*[a - h * d for a, d in zip(x, dx, strict=True)])) / (2 * h)
    found = cotan.jvp(program.on(cnp), x, dx)[1]
    if not near_a_kink(program, x):
        np.testing.assert_allclose(found, difference, rtol=1e-5, atol=1e-6)


def near_a_kink(program: RandomProgram, x) -> bool:
    """Whether finite differences would step over a kink of where, maximum or max: the derivative then depends on the side."""
    (dx,) = directions(program, 1)
    f = program.on(cnp)
    h = 1e-4
    before = cotan.jvp(f, tuple(a - h * d for a, d in zip(x, dx, strict=True)), dx)[1]
    after = cotan.jvp(f, tuple(a + h * d for a, d in zip(x, dx, strict=True)), dx)[1]
    return bool(np.abs(np.asarray(after) - before).max() > 0.05)


@given(random_programs())
def test_linearize_equals_jvp(program):
    f, x, (dx,) = program.on(cnp), program.inputs(), directions(program, 1)
    y, f_jvp = cotan.linearize(f, *x)
    expected_y, expected = cotan.jvp(f, x, dx)
    np.testing.assert_allclose(y, expected_y, **TIGHT)
    np.testing.assert_allclose(f_jvp(*dx), expected, **TIGHT)


@given(random_programs())
def test_transpose_is_the_adjoint(program):
    f, x, (dx,) = program.on(cnp), program.inputs(), directions(program, 1)
    y_bar = np.random.default_rng(program.seed).normal(size=3)
    x_bar = cotan.vjp(f, *x)[1](y_bar)
    forward = float(y_bar @ cotan.jvp(f, x, dx)[1])
    backward = sum(float(np.vdot(a, b)) for a, b in zip(x_bar, dx, strict=True))
    np.testing.assert_allclose(backward, forward, **TIGHT)


@given(random_programs())
def test_vmap_equals_a_python_loop(program):
    f = program.on(cnp)
    rng = np.random.default_rng(program.seed)
    xs, ys = rng.uniform(-1, 1, (4, *program.shape)), rng.uniform(-1, 1, (4, *program.shape))
    for function in (f, lambda x, y: cotan.grad(lambda x: f(x, y).sum())(x)):
        np.testing.assert_allclose(cotan.vmap(function)(xs, ys), np.stack([function(x, y) for x, y in zip(xs, ys, strict=True)]), **TIGHT)
        shared = np.stack([function(x, ys[0]) for x in xs])
        np.testing.assert_allclose(cotan.vmap(function, in_axes=(0, None))(xs, ys[0]), shared, **TIGHT)


@given(random_programs())
def test_jit_equals_eager(program):
    f, x = program.on(cnp), program.inputs()

    def gradient(x, y):
        return cotan.grad(lambda x: f(x, y).sum())(x)

    np.testing.assert_allclose(cotan.jit(f)(*x), f(*x), **TIGHT)
    np.testing.assert_allclose(cotan.jit(gradient)(*x), gradient(*x), **TIGHT)
    np.testing.assert_allclose(cotan.grad(lambda x: cotan.jit(f)(x, program.inputs()[1]).sum())(x[0]), gradient(*x), **TIGHT)


@given(random_programs(5))
def test_the_four_second_order_pairs_agree(program):
    f, (x, y), ((d, _), (e, _)) = program.on(cnp), program.inputs(), directions(program, 2)

    def g(x):
        return f(x, y).sum()

    def pushed(x):
        return cotan.jvp(g, (x,), (d,))[1]

    values = [
        cotan.jvp(pushed, (x,), (e,))[1],
        np.vdot(cotan.grad(pushed)(x), e),
        np.vdot(cotan.jvp(cotan.grad(g), (x,), (e,))[1], d),
        np.vdot(cotan.vjp(cotan.grad(g), x)[1](d)[0], e),
        d.ravel() @ np.asarray(cotan.hessian(g)(x)).reshape(d.size, d.size) @ e.ravel(),
    ]
    np.testing.assert_allclose(values, [values[0]] * 5, rtol=1e-7, atol=1e-8)


@given(random_programs())
def test_staged_programs_are_well_formed_and_their_derivatives_linear(program):
    f, x = program.on(cnp), program.inputs()
    types = [type_of(a) for a in x]
    staged, constants = stage_flat(lambda *a: [f(*a)], types)
    check_program(staged)
    np.testing.assert_allclose(evaluate(staged, *constants, *x)[0], f(*x), **TIGHT)
    active = (False,) * len(constants) + (True, True)
    primal, tangent, _, residuals = linearize_program(staged, active)
    check_program(primal)
    check_program(tangent)
    check_linear(tangent, range(residuals, len(tangent.inputs)))


@given(random_programs())
def test_jacobians_by_both_modes_agree(program):
    f, x = program.on(cnp), program.inputs()
    forward, reverse = cotan.jacfwd(f, argnums=(0, 1))(*x), cotan.jacrev(f, argnums=(0, 1))(*x)
    for a, b in zip(forward, reverse, strict=True):
        assert a.shape == (3, *program.shape)
        np.testing.assert_allclose(a, b, **TIGHT)


@pytest.mark.peers
@given(random_programs())
def test_derivatives_equal_those_of_jax(program):
    jax = pytest.importorskip("jax")
    f, x, (dx,) = program.on(cnp), program.inputs(), directions(program, 1)
    g = program.on(jax.numpy)
    np.testing.assert_allclose(cotan.jvp(f, x, dx)[1], jax.jvp(g, x, dx)[1], rtol=1e-8, atol=1e-9)
    ours = cotan.grad(lambda x, y: f(x, y).sum(), argnums=(0, 1))(*x)
    theirs = jax.grad(lambda x, y: g(x, y).sum(), argnums=(0, 1))(*x)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.peers
@given(random_programs())
def test_derivatives_equal_those_of_autograd(program):
    autograd = pytest.importorskip("autograd")
    import autograd.numpy as anp

    f, x = program.on(cnp), program.inputs()
    if any(step.name in ("pad", "hypot") for step in program.steps):
        return  # autograd has no derivative for hypot, and another signature for pad
    g = program.on(anp)
    theirs = [autograd.grad(lambda x, y: anp.sum(g(x, y)), k)(*x) for k in (0, 1)]
    ours = cotan.grad(lambda x, y: f(x, y).sum(), argnums=(0, 1))(*x)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.exhaustive
@given(random_programs(14))
def test_long_programs_keep_the_laws(program):
    test_transpose_is_the_adjoint.hypothesis.inner_test(program)
    test_jit_equals_eager.hypothesis.inner_test(program)
    test_vmap_equals_a_python_loop.hypothesis.inner_test(program)
