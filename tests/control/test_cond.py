"""cond and switch equal the branches that Python's if would take, in value and in every derivative."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.lax import cond, switch

from .loops import BATCH, P, close, compare_derivative_of_vmap, compare_with_jax, compare_with_python, every_way


# ---- cases: some take the first branch at one example of the batch and the second at another --------------------------------
def smooth_pieces(k, p):
    return k.lax.cond(p[0] > 0.3, lambda v: k.np.sin(v) * v, lambda v: v**3, p)


def tree_in_tree_out(k, p):
    out = k.lax.cond(
        k.np.sum(p) > 1.0,
        lambda t: {"a": t[0] * t[1]["b"], "b": (k.np.exp(t[0]), None)},
        lambda t: {"a": t[1]["b"] * 1.0, "b": (t[0] * t[0], None)},
        (p[0], {"b": p[1:]}),
    )
    return k.np.concatenate([out["a"], k.np.stack([out["b"][0]])])


def branches_close_over_different_values(k, p):
    a, b = k.np.sin(p), k.np.outer(p[:2], p[:3])
    return k.lax.cond(p[5] > 0.5, lambda: a * a[0], lambda: k.np.ravel(b) * a)


def one_branch_is_constant(k, p):
    return k.lax.cond(p[0] > 0.3, lambda v: np.ones(6), lambda v: v * v[1], p)


def both_branches_are_constant(k, p):
    return k.lax.cond(p[0] > 0.3, lambda v: np.ones(3), lambda v: np.zeros(3), p) + p[:3]


def branches_use_different_operands(k, p):
    return k.lax.cond(p[0] > 0.3, lambda a, b: a * 2.0, lambda a, b: b * b, p[:3], p[3:])


def predicate_is_a_number(k, p):
    flag = k.np.where(p[0] > 0.3, 2, 0)
    return k.lax.cond(flag != 0, lambda v: v * v, lambda v: -v, p)


def integers_come_out(k, p):
    n, v = k.lax.cond(p[0] > 0.3, lambda v: (3, v), lambda v: (4, v * v), p)
    return n * v


def switch_of_three(k, p):
    index = k.np.where(p[0] > 0.5, 2, k.np.where(p[0] > 0.29, 1, 0))
    return k.lax.switch(index, [lambda v: v, lambda v: v * v, lambda v: k.np.exp(v) * v[0]], p)


def switch_clamps_its_index(k, p):
    low, high = k.np.where(p[0] > 0, -5, -7), k.np.where(p[0] > 0, 5, 7)
    branches = [lambda v: v * 1.0, lambda v: v * v, lambda v: v**3]
    return k.lax.switch(low, branches, p) + k.lax.switch(high, branches, p)


def cond_in_cond(k, p):
    def positive(v):
        return k.lax.cond(v[1] > -0.5, lambda u: k.np.cos(u), lambda u: u * v[0], v)

    return k.lax.cond(p[0] > 0.2, positive, lambda v: v * v, p)


def the_branch_not_taken_is_infinite(k, p):
    return k.lax.cond(p[1] > 0, lambda v: k.np.sqrt(v), lambda v: v * v, p[1]) * p


def matmul_in_a_branch(k, p):
    m = k.np.reshape(p[:4], (2, 2))
    return k.lax.cond(p[0] > 0.3, lambda a, v: k.np.tanh(a @ v), lambda a, v: a.T @ (a @ v), m, p[4:])


def custom_jvp_in_a_branch(k, p):
    @k.api.custom_jvp
    def g(x):
        return k.np.sin(x)

    @g.defjvp
    def rule(primals, tangents):
        return k.np.sin(primals[0]), k.np.cos(primals[0]) * tangents[0]

    return k.lax.cond(p[0] > 0.3, lambda v: g(v) * v, lambda v: g(v * v), p)


def checkpoint_and_jit_in_branches(k, p):
    f, g = k.api.checkpoint(lambda v: k.np.sin(k.np.sin(v))), k.api.jit(lambda v: k.np.exp(v) * v)
    return k.lax.cond(p[0] > 0.3, f, g, p)


CASES = [
    smooth_pieces,
    tree_in_tree_out,
    branches_close_over_different_values,
    one_branch_is_constant,
    both_branches_are_constant,
    branches_use_different_operands,
    predicate_is_a_number,
    integers_come_out,
    switch_of_three,
    switch_clamps_its_index,
    cond_in_cond,
    the_branch_not_taken_is_infinite,
    matmul_in_a_branch,
    custom_jvp_in_a_branch,
    checkpoint_and_jit_in_branches,
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda f: f.__name__)


@pytest.mark.sampled(2)
@every_way(CASES)
def test_cond_equals_the_branch_in_python(case, name, way):
    compare_with_python(case, name, way)


@every_case
@pytest.mark.parametrize("mode", ["jacfwd", "jacrev"])
def test_derivative_of_a_batched_cond_is_block_diagonal(case, mode):
    compare_derivative_of_vmap(case, mode)


@pytest.mark.peers
@every_case
def test_cond_equals_jax(case):
    compare_with_jax(case, reverse=True)


# ---- laws of its own -------------------------------------------------------------------------------------------------------
def test_only_the_branch_that_is_meant_runs_where_the_predicate_is_known():
    ran = []
    cond(True, lambda: ran.append("yes"), lambda: ran.append("no"))
    cotan.grad(lambda x: cond(x > 2.0, lambda v: ran.append("yes") or v, lambda v: ran.append("no") or v, x))(1.0)
    switch(7, [lambda: ran.append(0), lambda: ran.append(1)])
    assert ran == ["yes", "no", 1]


def test_only_the_branch_that_is_meant_runs_inside_jit():
    ran = []

    def noted(name):
        def note(x):
            ran.append(name)
            return x

        return note

    # A branch that would not end if it ran.
    f = cotan.jit(lambda flag, x: cond(flag, lambda v: v * 2.0, lambda v: cotan.lax.while_loop(lambda u: u < 1.0, lambda u: u * 1.0, v), x))
    assert float(f(True, 0.5)) == 1.0
    assert float(f(False, 1.5)) == 1.5


@pytest.mark.parametrize("number", [0, 3, 0.0, -0.5, np.float32(2), np.bool_(True), np.int8(0)])
def test_a_number_is_a_predicate_that_holds_if_it_is_not_zero(number):
    expected = 2.0 if number else 3.0
    assert cond(number, lambda: 2.0, lambda: 3.0) == expected
    assert float(cotan.jit(lambda n: cond(n, lambda: 2.0, lambda: 3.0))(number)) == expected


def test_the_batched_predicate_chooses_for_each_example():
    flags = np.array([True, False, True])
    found = cotan.vmap(lambda flag, p: cond(flag, lambda v: v * 2.0, lambda v: -v, p))(flags, BATCH)
    close(found, np.where(flags[:, None], 2 * BATCH, -BATCH))
    close(cotan.vmap(lambda flag: cond(flag, lambda: P, lambda: 2 * P))(flags), np.where(flags[:, None], P, 2 * P))


def test_one_predicate_for_a_batch_stays_one_cond():
    program = cotan.stage(lambda flag: cotan.vmap(lambda p: cond(flag, cnp.sin, cnp.cos, p))(BATCH))(True)
    assert [type(e.op).__name__ for e in program.equations].count("Cond") == 1
    assert "select" not in str(program)


def test_switch_in_vmap_gives_each_example_its_derivative():
    df = cotan.vmap(cotan.grad(lambda x, i: switch(i, [lambda x: x, lambda x: x**2, lambda x: x**3], x)), in_axes=(None, 0))
    close(df(2.0, np.array([-1, 0, 1, 2, 9])), [1.0, 1.0, 4.0, 12.0, 12.0])


@pytest.mark.parametrize("flag", [True, False])
def test_a_linear_function_through_cond_is_transposed(flag):
    def f(x):
        return cond(flag, lambda v: 3.0 * v, lambda v: cnp.cumsum(v), x)

    matrix = 3 * np.eye(3) if flag else np.tril(np.ones((3, 3)))
    bar = np.array([1.0, -2.0, 0.5])
    close(cotan.linear_transpose(f, np.zeros(3))(bar)[0], matrix.T @ bar)
    staged = cotan.jit(
        lambda flag, bar: cotan.linear_transpose(lambda x: cond(flag, lambda v: 3.0 * v, cnp.cumsum, x), np.zeros(3))(bar)[0]
    )
    close(staged(flag, bar), matrix.T @ bar)


def test_derivatives_reach_what_branches_close_over():
    def f(w, b):
        return cotan.jit(lambda flag: cond(flag, lambda: w * b, lambda: w * w))

    for flag, expected in ((True, (5.0, 2.0)), (False, (4.0, 0.0))):
        close(cotan.grad(lambda w, b, flag=flag: f(w, b)(flag), argnums=(0, 1))(2.0, 5.0), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
def test_dtypes_are_kept(dtype):
    x = np.array([1.0, 2.0], dtype)
    out = cotan.jit(lambda flag, v: cond(flag, lambda v: v * v, lambda v: v * 2, v))(True, x)
    assert out.dtype == dtype
    assert (
        cotan.jit(lambda flag, v: cotan.jvp(lambda v: cond(flag, lambda v: v * v, lambda v: v * 2, v), (v,), (v,))[1])(True, x).dtype
        == dtype
    )


def test_a_complex_branch_has_its_holomorphic_derivative():
    z = 0.3 + 0.4j
    f = cotan.jit(lambda flag, z: cotan.grad(lambda z: cond(flag, lambda z: z**3, cnp.exp, z), holomorphic=True)(z))
    close(f(True, z), 3 * z**2, rtol=1e-12)
    close(f(False, z), np.exp(z), rtol=1e-12)


def test_custom_vjp_in_a_branch_keeps_its_rule():
    @cotan.custom_vjp
    def clipped(x):
        return x

    clipped.defvjp(lambda x: (x, None), lambda residuals, bar: (cnp.clip(bar, -1.0, 1.0),))
    df = cotan.jit(lambda flag, x: cotan.grad(lambda v: 5.0 * cond(flag, clipped, lambda v: v, v))(x))
    assert [float(df(True, 1.0)), float(df(False, 1.0))] == [1.0, 5.0]


# ---- a batch with an index for each example ------------------------------------------------------------------------------
def test_a_branch_that_no_example_takes_is_not_run():
    ran: list[str] = []

    def branch(name, f):
        def run(x):
            ran.append(name)
            return f(x)

        return lambda x: cotan.pure_callback(run, cotan.ShapeDtypeStruct((), np.float64), x)

    branches = [branch("a", lambda x: x + 1), branch("b", lambda x: x * 2), branch("c", lambda x: x - 1)]
    f = cotan.vmap(lambda i, x: lax.switch(i, branches, x))
    for way in (f, cotan.jit(f)):
        way(np.array([0, 2]), np.array([1.0, 5.0]))
        ran.clear()
        np.testing.assert_array_equal(way(np.array([0, 2, 0]), np.array([1.0, 5.0, 7.0])), [2.0, 4.0, 8.0])
        assert set(ran) == {"a", "c"}
        ran.clear()
        np.testing.assert_array_equal(way(np.array([1, 1]), np.array([1.0, 5.0])), [2.0, 10.0])
        assert set(ran) == {"b"}


def test_a_branch_that_no_example_takes_is_not_differentiated():
    ran: list[str] = []

    @cotan.custom_vjp
    def watched(x):
        return x * x

    def bwd(x, bar):
        return (cotan.pure_callback(lambda b: ran.append("bwd") or b, cotan.ShapeDtypeStruct((), np.float64), bar) * 2 * x,)

    watched.defvjp(lambda x: (x * x, x), bwd)
    f = cotan.jit(cotan.vmap(cotan.grad(lambda x: lax.cond(x > 0, watched, lambda x: 3 * x, x))))
    np.testing.assert_array_equal(f(np.array([-1.0, -2.0])), [3.0, 3.0])
    assert not ran
    np.testing.assert_array_equal(f(np.array([-1.0, 2.0])), [3.0, 4.0])
    assert ran


def test_a_loop_in_a_branch_does_not_run_for_examples_of_another_branch():
    """The program of jax#2947, where it does not end: the first loop ends for positive numbers only, the second for negative ones."""

    def positive(x):
        return lax.while_loop(lambda y: (y <= 0) | (y > 1e-6), lambda y: y * 0.1, x)

    def negative(x):
        return lax.while_loop(lambda y: y < -1e-6, lambda y: y * 0.1, x)

    f = lambda x: lax.cond(x >= 0, positive, negative, x)  # noqa: E731
    xs = np.array([0.3, -0.7, 1.5, -2.0, 1e-7])
    for g in (f, cotan.grad(f), lambda x: cotan.jvp(f, (x,), (1.0,))[1], cotan.grad(cotan.grad(lambda x: f(x) * x))):
        expected = [float(g(x)) for x in xs]
        close(cotan.vmap(g)(xs), expected)
        close(cotan.jit(cotan.vmap(g))(xs), expected)
        close(cotan.vmap(cotan.jit(g))(xs), expected)
    close(cotan.grad(lambda x: cnp.sum(cotan.vmap(f)(x)))(xs), [float(cotan.grad(f)(x)) for x in xs])
