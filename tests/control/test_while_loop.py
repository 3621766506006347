"""while_loop equals Python's while, in value and in every derivative, eagerly and inside jit."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.api import checkpoint
from cotan.core.program import Program
from cotan.lax import fori_loop, scan, while_loop
from cotan.lax.loops import bodies

from .loops import BATCH, P, close, compare_derivative_of_vmap, compare_with_jax, compare_with_python, every_way


# ---- cases: the examples of the batch take different numbers of steps ------------------------------------------------------
def powers(k, p):
    return k.lax.while_loop(lambda v: k.np.sum(v * v) < 50.0, lambda v: v * (1.5 + p[0] * p[0]), p)


def newton_square_root(k, p):
    a = 2.0 + p * p

    def step(s):
        x, n = s
        return 0.5 * (x + a / x), n + 1

    return k.lax.while_loop(lambda s: (s[1] < 40) & (k.np.max(k.np.abs(s[0] * s[0] - a)) > 1e-3), step, (a, 0))[0]


def tree_with_counter_and_flag(k, p):
    def step(s):
        return {
            "i": s["i"] + 1,
            "done": k.np.logical_or(s["i"] > 3, s["v"][0] > 1.5),
            "v": k.np.exp(0.3 * s["v"]) + p[1],
            "w": (s["w"][0] * p[2], s["w"][1]),
        }

    s = k.lax.while_loop(lambda s: k.np.logical_not(s["done"]), step, {"i": 0, "done": False, "v": p + 1.0, "w": (p[3], 2.0)})
    return k.np.concatenate([s["v"], k.np.stack([s["w"][0], s["w"][1] * 1.0, s["i"] * 1.0])])


def no_step_at_all(k, p):
    return k.lax.while_loop(lambda s: s[0] < 0, lambda s: (s[0] + 1, s[1] * s[1]), (0, p))[1]


def carries_become_active_one_after_another(k, p):
    def step(s):
        i, a, b, c = s
        return i + 1, a * k.np.sin(b), b + c * 0.5, c * p[0]

    return k.np.stack([*k.lax.while_loop(lambda s: s[0] < 4, step, (0, 1.0, 0.7, 0.3))[1:]])


def condition_closes_over_what_is_differentiated(k, p):
    bound = 10.0 + p[4]
    return k.lax.while_loop(lambda v: k.np.sum(v) < bound, lambda v: v * v + 1.0, p)


def inactive_loop_beside_an_active_one(k, p):
    n = k.lax.while_loop(lambda n: n < 37, lambda n: n * 2, 1)
    return k.lax.while_loop(lambda s: s[0] > 0, lambda s: (s[0] - 16, k.np.sin(s[1]) * p), (n, p))[1]


def fori_with_a_computed_bound(k, p):
    n = k.lax.while_loop(lambda n: n < 3, lambda n: n + 1, k.np.where(p[0] > 0.5, 1, 0))
    return k.lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * p[0] + s[0]), (0, p))[1]


CASES = [
    powers,
    newton_square_root,
    tree_with_counter_and_flag,
    no_step_at_all,
    carries_become_active_one_after_another,
    condition_closes_over_what_is_differentiated,
    inactive_loop_beside_an_active_one,
    fori_with_a_computed_bound,
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda f: f.__name__)


@pytest.mark.sampled(2)
@every_way(CASES)
def test_while_equals_the_loop_in_python(case, name, way):
    compare_with_python(case, name, way)


@every_case
@pytest.mark.parametrize("mode", ["jacfwd", "jacrev"])
def test_derivative_of_a_batched_while_is_block_diagonal(case, mode):
    compare_derivative_of_vmap(case, mode)


@pytest.mark.peers
@every_case
def test_while_equals_jax(case):
    compare_with_jax(case, reverse=False)


# ---- laws of its own -------------------------------------------------------------------------------------------------------
def doubling(x):
    return while_loop(lambda v: v < 10.0, lambda v: v * x, x)


@pytest.mark.parametrize("x", [1.3, 2.0, 3.0, 12.0])
def test_reverse_mode_inside_jit(x):
    expected = cotan.grad(doubling)(x), cotan.hessian(doubling)(x)
    close((cotan.jit(cotan.grad(doubling))(x), cotan.jit(cotan.hessian(doubling))(x)), expected)
    close((cotan.grad(cotan.jit(doubling))(x), cotan.grad(cotan.jit(cotan.grad(cotan.jit(doubling))))(x)), expected)
    close(cotan.jit(cotan.grad(cotan.grad(cotan.grad(doubling))))(x), cotan.grad(cotan.grad(cotan.grad(doubling)))(x))


def test_it_equals_the_scan_of_as_many_steps():
    p = P
    n = int(while_loop(lambda s: cnp.sum(s[1] * s[1]) < 50.0, lambda s: (s[0] + 1, s[1] * 1.5), (0, p))[0])
    by_scan = cotan.jit(cotan.jacrev(lambda p: scan(lambda v, _: (v * 1.5, None), p, None, length=n)[0]))
    by_while = cotan.jit(cotan.jacrev(lambda p: while_loop(lambda v: cnp.sum(v * v) < 50.0, lambda v: v * 1.5, p)))
    close(by_while(p), by_scan(p))


def test_an_inner_loop_of_known_length_is_differentiated_under_outer_jit_of_a_value():
    assert float(cotan.jit(doubling)(2.0)) == 16.0


def test_the_condition_is_not_differentiated():
    # The loop's length depends on x, and its derivative is that of the steps that were taken.
    close(cotan.grad(doubling)(3.0), 27.0)
    close(cotan.hessian(doubling)(3.0), 18.0)


def test_examples_that_are_done_keep_their_value_and_derivative():
    x = np.array([1.7, 1.2, 12.0, 3.0])
    close(cotan.vmap(doubling)(x), [float(doubling(v)) for v in x])
    close(cotan.vmap(cotan.grad(doubling))(x), [float(cotan.grad(doubling)(v)) for v in x])


def test_an_example_that_is_done_does_not_spoil_the_others_by_overflow():
    def f(x):
        return while_loop(lambda s: s[0] < s[1], lambda s: (s[0] * s[0], s[1]), (x, 100.0))[0]

    x = np.array([50.0, 1.01])
    with np.errstate(over="ignore", invalid="ignore"):
        close(cotan.vmap(cotan.grad(f))(x), [float(cotan.grad(f)(v)) for v in x])
        close(cotan.grad(lambda x: cotan.vmap(f)(x).sum())(x), [float(cotan.grad(f)(v)) for v in x])


def test_batch_of_nothing_takes_no_step():
    assert np.shape(cotan.vmap(doubling)(np.zeros(0))) == (0,)


def test_integers_and_bools_alone():
    assert int(while_loop(lambda n: n % 7 != 0, lambda n: n + 1, 15)) == 21
    assert int(cotan.jit(lambda n: while_loop(lambda n: n % 7 != 0, lambda n: n + 1, n))(15)) == 21
    assert not bool(cotan.jit(lambda b: while_loop(lambda b: b, cnp.logical_not, b))(True))


def test_fori_loop_with_a_bound_known_only_when_it_runs():
    f = cotan.jit(lambda n, x: fori_loop(0, n, lambda i, v: v * x + i, 1.0))
    assert [float(f(n, 2.0)) for n in (-1, 0, 1, 3)] == [1.0, 1.0, 2.0, 12.0]
    forward = cotan.jit(lambda n, x: cotan.jvp(lambda x: fori_loop(0, n, lambda i, v: v * x, 1.0), (x,), (1.0,))[1])
    assert float(forward(3, 2.0)) == 12.0


def test_fori_loop_with_batched_bounds():
    f = cotan.vmap(lambda n, x: fori_loop(0, n, lambda i, v: v * x, 1.0), in_axes=(0, None))
    close(f(np.arange(4), 2.0), [1.0, 2.0, 4.0, 8.0])
    df = cotan.vmap(cotan.grad(lambda x, n: fori_loop(0, n, lambda i, v: v * x, 1.0)), in_axes=(None, 0))
    close(df(2.0, np.arange(4)), [0.0, 1.0, 4.0, 12.0])


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
def test_dtypes_are_kept(dtype):
    x = np.array([1.0, 2.0], dtype)

    def f(v):
        return while_loop(lambda v: cnp.sum(cnp.abs(v)) < 100, lambda v: v * 2 + v * v, v)

    for way in (f, cotan.jit(f), lambda v: cotan.jvp(f, (v,), (v,))[1], lambda v: cotan.vjp(f, v)[1](v)[0]):
        assert way(x).dtype == dtype
    assert cotan.vmap(f)(np.stack([x, 3 * x])).dtype == dtype


def test_a_batched_constant_batches_the_condition_alone():
    bounds = np.array([1.0, 9.0, 100.0])
    close(cotan.vmap(lambda b: while_loop(lambda v: v < b, lambda v: v * 2.0, 1.0))(bounds), [1.0, 16.0, 128.0])


def test_an_unbatched_loop_under_vmap_runs_once():
    program = cotan.stage(cotan.vmap(lambda p: p * while_loop(lambda v: v < 9.0, lambda v: v * 2.0, 1.0)))(BATCH)
    assert "select" not in str(program)
    close(cotan.vmap(lambda p: p * while_loop(lambda v: v < 9.0, lambda v: v * 2.0, 1.0))(BATCH), 16.0 * BATCH)


def test_custom_vjp_in_the_body_keeps_its_rule():
    @cotan.custom_vjp
    def clipped(x):
        return x

    clipped.defvjp(lambda x: (x, None), lambda residuals, bar: (cnp.clip(bar, -1.0, 1.0),))
    assert float(cotan.grad(lambda x: while_loop(lambda v: v < 10.0, lambda v: clipped(v) * 3.0, x))(2.0)) == 1.0


def test_the_caller_s_array_is_not_changed_by_a_body_that_works_in_place():
    def body(v):
        v *= 2.0
        return v

    start = np.array(P)
    while_loop(lambda v: cnp.sum(v * v) < 50.0, body, start)
    assert (start == P).all()


def test_a_jitted_derivative_serves_any_number_of_steps():
    df = cotan.jit(cotan.grad(lambda x, n: fori_loop(0, n, lambda i, v: v * x + i, x)))
    for n in (0, 1, 2, 5):
        close(df(2.0, n), cotan.grad(lambda x, n=n: fori_loop(0, n, lambda i, v: v * x + i, x))(2.0))


def test_loops_with_a_number_of_steps_for_each_example_inside_jit():
    f = cotan.jit(cotan.vmap(cotan.grad(lambda x, n: fori_loop(0, n, lambda i, v: v * x, 1.0)), in_axes=(None, 0)))
    close(f(2.0, np.arange(4)), [0.0, 1.0, 4.0, 12.0])
    hess = cotan.jit(cotan.vmap(cotan.grad(cotan.grad(doubling))))
    xs = np.array([1.3, 2.0, 3.0, 12.0])
    close(hess(xs), [cotan.hessian(doubling)(x) for x in xs])
    assert np.shape(cotan.jit(cotan.vmap(cotan.grad(doubling)))(np.zeros(0))) == (0,)


def test_forward_mode_through_checkpoint_inside_jit():
    f = cotan.checkpoint(doubling)
    close(cotan.jit(lambda x: cotan.jvp(f, (x,), (1.0,)))(3.0), (np.float64(27.0), np.float64(27.0)))
    close(cotan.jit(cotan.jacfwd(cotan.jacfwd(f)))(3.0), 18.0)


def test_programs_of_a_loop_go_with_it():
    """Programs derived from a body refer to it by the origins of their equations: both are freed with the loop."""

    def gradient(k):
        f = cotan.jit(lambda x: while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, cnp.sin(c[1]) * x + k), (0, x))[1])
        cotan.grad(f)(0.3)

    def programs():
        for recall in (bodies, checkpoint.programs):  # which keep the bodies of the last functions, in case they come again
            recall.known.clear()
        gc.collect()
        return sum(type(x) is Program for x in gc.get_objects())

    gradient(1.0)
    before = programs()
    for k in range(20):
        gradient(2.0 + k)
    assert programs() < before + 20  # of some 300
