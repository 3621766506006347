"""scan, map and fori_loop equal the corresponding Python loops, in value and in every derivative."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.lax import fori_loop, scan
from cotan.lax import map as lax_map
from cotan.testing import check_rule

from .loops import close, compare_derivative_of_vmap, compare_with_jax, compare_with_python, every_way

W = np.random.default_rng(0).normal(size=(2, 2))
TABLE = np.array([0.5, -1.5, 2.0])


# ---- cases ---------------------------------------------------------------------------------------------------------------
def sine_recurrence(k, p):
    c, ys = k.lax.scan(lambda c, x: (k.np.sin(c) * c + x, c * x), p[0], p[1:])
    return k.np.concatenate([ys, k.np.stack([c])])


def carry_is_a_tree(k, p):
    def f(c, x):
        return {"a": c["b"][0] * x, "b": (k.np.sin(c["a"]), c["b"][1] + c["a"])}, {"y": (c["a"] * x, None)}

    c, ys = k.lax.scan(f, {"a": p[0], "b": (p[1], p[2:4])}, p)
    return k.np.concatenate([ys["y"][0], k.np.stack([c["a"], c["b"][0]]), c["b"][1]])


def carry_is_none(k, p):
    c, ys = k.lax.scan(lambda c, x: (None, k.np.exp(x) * p[0]), None, p)
    assert c is None
    return ys


def nothing_is_collected(k, p):
    c, ys = k.lax.scan(lambda c, x: (c * x + p[1], None), p[0], p)
    assert ys is None
    return k.np.stack([c])


def integer_and_bool_carries(k, p):
    def f(c, x):
        i, flag, v = c
        return (i + 1, k.np.logical_not(flag), k.np.where(flag, v * x, v + i * x)), v * i

    (i, flag, v), ys = k.lax.scan(f, (np.int64(2), np.bool_(True), p[0]), p)
    return k.np.concatenate([ys, k.np.stack([v, i * 1.0, flag * 1.0])])


def integers_scanned_beside_floats(k, p):
    i = np.arange(6)
    c, ys = k.lax.scan(lambda c, s: (c + s[1] ** (s[0] % 3), (s[0] * c, s[0])), p[0], (i, p))
    return k.np.concatenate([ys[0], ys[1] * 1.0, k.np.stack([c])])


def only_some_carries_are_active(k, p):
    c, ys = k.lax.scan(lambda c, t: ((c[0] * t, c[1] * 1.1, c[2] + c[1]), c[2] * c[0]), (p[0], 0.7, 0.1), TABLE)
    return k.np.concatenate([ys, k.np.stack([*c])])


def carries_become_active_one_after_another(k, p):
    def f(c, t):
        a, b, d, e = c
        return (a + t * k.np.sin(b), b * k.np.cos(d), d + k.np.sin(e) * t, e * p[0]), a

    c, ys = k.lax.scan(f, (1.0, 0.5, 0.25, 0.3), k.np.array([0.5, 0.4, 0.3, 0.2, 0.1]))
    return k.np.concatenate([ys, k.np.stack([*c])])


def carries_change_places(k, p):
    c, _ = k.lax.scan(lambda c, x: ((c[1], c[2], c[0] * x), None), (p[0], 2.0, p[1]), TABLE[:2])
    return k.np.stack([*c])


def zero_steps(k, p):
    c, ys = k.lax.scan(lambda c, x: (c * x + p[1], c * c), p[0], p[:0])
    return k.np.concatenate([ys, k.np.stack([c])])


def length_without_xs(k, p):
    c, ys = k.lax.scan(lambda c, _: (k.np.sin(c) * p[1:3], k.np.sum(c)), p[:2], None, length=4)
    return k.np.concatenate([c, ys])


def backwards(k, p):
    c, ys = k.lax.scan(lambda c, x: (k.np.tanh(c) + x, c * x), p[0], p, reverse=True)
    return k.np.concatenate([ys, k.np.stack([c])])


def results_that_depend_on_nothing(k, p):
    c, ys = k.lax.scan(lambda c, x: (c, (1.5, TABLE, x)), p[0], p[1:3])
    return k.np.concatenate([ys[0], k.np.ravel(ys[1]), ys[2], k.np.stack([c])])


def carry_is_thrown_away(k, p):
    c, ys = k.lax.scan(lambda c, x: (x * x, c), p[0], p[1:])
    return k.np.concatenate([ys, k.np.stack([c])])


def closes_over_an_array(k, p):
    c, _ = k.lax.scan(lambda c, x: (k.np.tanh(W @ c) + x, None), p[:2], k.np.reshape(p, (3, 2)))
    return c


def closes_over_what_is_differentiated(k, p):
    w = k.np.outer(p[:2], p[2:4])
    c, ys = k.lax.scan(lambda c, x: (k.np.tanh(w @ c) + k.np.cos(p[5]) * x, w @ c), np.ones(2), TABLE)
    return k.np.concatenate([c, k.np.ravel(ys)])


def matrices_are_multiplied(k, p):
    m = k.np.reshape(p[:4], (2, 2))
    c, ys = k.lax.scan(lambda c, x: (k.np.sin(c @ m) * x, c @ m), np.eye(2), p[4:])
    return k.np.concatenate([k.np.ravel(c), k.np.ravel(ys)])


def scan_in_scan(k, p):
    def outer(c, x):
        inner, ys = k.lax.scan(lambda d, z: (d * z + k.np.sin(x), d * c), c, p[:3])
        return inner, k.np.sum(ys)

    c, ys = k.lax.scan(outer, p[5], p[3:])
    return k.np.concatenate([ys, k.np.stack([c])])


def map_over_a_tree(k, p):
    return k.lax.map(lambda v: k.np.sin(v[0]) * v[1][0] + v[1][1], (p[:3], k.np.reshape(p, (3, 2))))


def for_loop(k, p):
    return k.lax.fori_loop(1, 5, lambda i, v: k.np.sin(v * i) + p, p * 2.0)


def for_loop_that_does_not_run(k, p):
    return k.lax.fori_loop(3, 1, lambda i, v: v * i, p * p)


def for_loop_that_reads_and_writes_elements(k, p):
    return k.lax.fori_loop(1, 6, lambda i, v: v.at[i].set(v[i - 1] * v[i] + i), k.np.sin(p))


def derivative_inside_the_body(k, p):
    c, ys = k.lax.scan(lambda c, x: (c + x, k.api.grad(lambda v: k.np.sin(v * x) * c)(c)), p[0], p)
    return k.np.concatenate([ys, k.np.stack([c])])


def vmap_inside_the_body(k, p):
    c, _ = k.lax.scan(lambda c, x: (k.api.vmap(lambda v: k.np.sin(v) * x)(c), None), p, TABLE)
    return c


def jit_inside_the_body(k, p):
    g = k.api.jit(lambda c, x: k.np.sin(c) * x + p[0])
    return k.lax.scan(lambda c, x: (g(c, x), c * c), p[1], p)[1]


def checkpoint_inside_the_body(k, p):
    g = k.api.checkpoint(lambda c, x: k.np.sin(k.np.sin(c) * x))
    return k.lax.scan(lambda c, x: (g(c, x) + p[0], c), p[1], p)[1]


def custom_jvp_inside_the_body(k, p):
    @k.api.custom_jvp
    def g(c, x):
        return k.np.sin(c) * x

    @g.defjvp
    def rule(primals, tangents):
        (c, x), (dc, dx) = primals, tangents
        return k.np.sin(c) * x, k.np.cos(c) * x * dc + k.np.sin(c) * dx

    return k.lax.scan(lambda c, x: (g(c, x) + x, g(c, p[0])), p[1], p)[1]


def body_that_gives_back_its_arguments(k, p):
    c, ys = k.lax.scan(lambda c, x: (c, (c, x, c)), p[:2], p)
    return k.np.concatenate([c, *map(k.np.ravel, ys)])


def sorted_and_cumulated(k, p):
    return k.lax.scan(lambda c, x: (k.np.cumsum(k.np.sort(c)) * 0.5 + x, k.np.max(c)), p[:3], p)[1]


def select_protects_from_infinite_derivatives(k, p):
    return k.lax.scan(lambda c, x: (k.np.where(x > 0, k.np.sqrt(k.np.where(x > 0, x, 1.0)), c), c), p[0], p)[1]


CASES = [
    sine_recurrence,
    carry_is_a_tree,
    carry_is_none,
    nothing_is_collected,
    integer_and_bool_carries,
    integers_scanned_beside_floats,
    only_some_carries_are_active,
    carries_become_active_one_after_another,
    carries_change_places,
    zero_steps,
    length_without_xs,
    backwards,
    results_that_depend_on_nothing,
    carry_is_thrown_away,
    closes_over_an_array,
    closes_over_what_is_differentiated,
    matrices_are_multiplied,
    scan_in_scan,
    map_over_a_tree,
    for_loop,
    for_loop_that_does_not_run,
    for_loop_that_reads_and_writes_elements,
    derivative_inside_the_body,
    vmap_inside_the_body,
    jit_inside_the_body,
    checkpoint_inside_the_body,
    custom_jvp_inside_the_body,
    body_that_gives_back_its_arguments,
    sorted_and_cumulated,
    select_protects_from_infinite_derivatives,
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda f: f.__name__)


@pytest.mark.sampled(2)
@every_way(CASES)
def test_scan_equals_the_loop_in_python(case, name, way):
    compare_with_python(case, name, way)


@every_case
@pytest.mark.parametrize("mode", ["jacfwd", "jacrev"])
def test_derivative_of_a_batched_scan_is_block_diagonal(case, mode):
    compare_derivative_of_vmap(case, mode)


@pytest.mark.peers
@every_case
def test_scan_equals_jax(case):
    compare_with_jax(case, reverse=True)


# ---- types, lengths, memory -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
def test_dtypes_are_kept(dtype):
    x = np.array([0.5, 0.25, 2.0], dtype)

    def f(c, xs):
        return scan(lambda c, x: (c * x + x, c), c, xs)

    for way in (f, cotan.jit(f), lambda c, xs: cotan.jvp(f, (c, xs), (c, xs))[1], lambda c, xs: cotan.vjp(f, c, xs)[1]((c, xs))):
        assert [v.dtype for v in way(x[0], x)] == [dtype, dtype]


def test_a_complex_scan_has_its_holomorphic_derivative():
    z = 0.3 + 0.4j
    f = cotan.grad(lambda z: scan(lambda c, _: (c * z, None), z, None, length=3)[0], holomorphic=True)
    close(f(z), 4 * z**3, rtol=1e-12)
    close(cotan.jit(f)(z), 4 * z**3, rtol=1e-12)


def test_a_complex_scan_passes_every_check_of_its_derivatives():
    x = np.array([0.3 + 0.2j, -0.5j, 1.0 + 0j])
    assert check_rule(lambda c, x: scan(lambda c, x: (c * x + x, cnp.abs(c + 1.5)), c, x), (0.4 - 0.7j, x)).ok


@pytest.mark.parametrize("reverse", [False, True])
def test_ys_keep_their_places(reverse):
    c, ys = scan(lambda c, x: (c + x, c), 0, np.arange(4), reverse=reverse)
    staged = cotan.jit(lambda x: scan(lambda c, x: (c + x, c), 0, x, reverse=reverse))(np.arange(4))
    assert int(c) == int(staged[0]) == 6
    assert ys.tolist() == staged[1].tolist() == ([6, 5, 3, 0] if reverse else [0, 0, 1, 3])


def test_zero_steps_leave_the_carry_and_give_empty_ys():
    def f(x):
        return scan(lambda c, x: (c * 2, (c * x, 1)), 3.0, x)

    for way in (f, cotan.jit(f)):
        c, ys = way(np.zeros((0, 2)))
        assert float(c) == 3.0
        assert ys[0].shape == (0, 2)
        assert ys[1].shape == (0,)
    close(cotan.grad(lambda c: scan(lambda c, x: (c * 2, None), c, np.zeros(0))[0])(3.0), 1.0)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_what_is_batched_may_be_the_carry_or_xs_or_both(axes):
    rng = np.random.default_rng(1)
    c = rng.normal(size=(3, 2) if axes[0] == 0 else 2)
    xs = rng.normal(size=(3, 4) if axes[1] == 0 else 4)

    def f(c, xs):
        (c, n), ys = scan(lambda s, x: ((cnp.sin(s[0]) * x, s[1] + 1), s[0].sum()), (c, 0), xs)
        return c, n, ys

    found = cotan.vmap(f, in_axes=axes)(c, xs)
    for i in range(3):
        expected = f(c[i] if axes[0] == 0 else c, xs[i] if axes[1] == 0 else xs)
        close(cotan.tree.map(lambda v, i=i: np.asarray(v)[i], found), expected)


def test_a_carry_is_batched_if_something_batched_reaches_it_in_a_later_step():
    def f(w):
        return scan(lambda s, _: ((s[1], s[2], s[2] * w), s[0]), (1.0, 2.0, 3.0), None, length=4)

    w = np.array([0.5, 2.0])
    (a, b, d), ys = cotan.vmap(f)(w)
    for i in range(2):
        close(((a[i], b[i], d[i]), ys[i]), f(w[i]))


WAYS = {"eager": lambda f: f, "jit": cotan.jit, "grad": cotan.grad, "vmap": lambda f: lambda x: cotan.vmap(f)(x[None])}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_body_that_works_in_place_is_the_same_everywhere(way):
    def body(c, x):
        c += x
        return c, c

    def f(c):
        return scan(body, c, np.ones((3, 2)))[1].sum()

    start = np.array([1.0, 2.0])
    found = way(f)(start)
    assert start.tolist() == [1.0, 2.0]
    assert np.ravel(found).tolist() == ([3.0, 3.0] if np.shape(found) == (2,) else [21.0])


def test_the_body_of_an_eager_loop_has_arrays_with_at():
    c, _ = scan(lambda c, x: (c.at[0].add(x.at[1].set(0.0).sum()), None), np.zeros(2), np.ones((3, 2)))
    assert c.tolist() == [3.0, 0.0]
    assert fori_loop(0, 2, lambda i, v: v.at[i].set(i + 5.0), np.zeros(2)).tolist() == [5.0, 6.0]


def test_tracers_of_every_outer_transformation_may_be_closed_over():
    def f(a):
        def g(b):
            return cotan.jit(lambda d: scan(lambda c, x: (c * x * a + b * d, None), a * b, np.array([0.5, 2.0]))[0])(b + 1.0)

        return cotan.vmap(cotan.grad(g))(np.array([0.3, 0.6])).sum()

    def reference(a):
        return sum(cotan.grad(lambda b: a**3 * b + 2 * a * b * (b + 1) + b * (b + 1))(b) for b in (0.3, 0.6))

    close(cotan.grad(f)(0.7), cotan.grad(reference)(0.7))
    close(cotan.jit(cotan.hessian(f))(0.7), cotan.hessian(reference)(0.7))


def test_linear_transpose_of_a_scan_runs_it_backwards():
    def f(x):
        c, ys = scan(lambda c, v: (0.5 * c + v, c - v), x[0], x)
        return cnp.concatenate([ys, cnp.stack([c])])

    matrix = np.stack([np.asarray(f(e)) for e in np.eye(4)], axis=1)
    bar = np.arange(5.0) - 1.0
    close(cotan.linear_transpose(f, np.zeros(4))(bar)[0], matrix.T @ bar)
    close(cotan.jit(lambda bar: cotan.linear_transpose(f, np.zeros(4))(bar)[0])(bar), matrix.T @ bar)


def test_custom_vjp_in_the_body_keeps_its_rule():
    @cotan.custom_vjp
    def clipped(x):
        return x

    clipped.defvjp(lambda x: (x, None), lambda residuals, bar: (cnp.clip(bar, -1.0, 1.0),))
    df = cotan.grad(lambda x: scan(lambda c, _: (3.0 * clipped(c), None), x, None, length=3)[0])
    assert float(df(2.0)) == 1.0
    assert float(cotan.jit(df)(2.0)) == 1.0


def test_map_and_unroll_and_keyword_arguments_are_those_of_jax():
    assert lax_map(lambda x: x * x, np.arange(3)).tolist() == [0, 1, 4]
    c, ys = scan(f=lambda c, x: (c + x, c), init=0, xs=np.arange(3), length=3, reverse=False, unroll=True)
    assert (int(c), ys.tolist()) == (3, [0, 0, 1])


def test_scan_passes_every_check_of_its_derivatives():
    def f(x):
        return sum(scan(lambda s, x: ((s[0] * x, cnp.sin(s[1]) + s[0]), None), (1.0, 0.2), x)[0])

    assert check_rule(f, (np.array([0.3, 0.7, -0.4]),)).ok


def test_a_python_scalar_as_the_first_carry_gives_one_dtype_eagerly_and_traced():
    def f(x):
        return scan(lambda c, x: (c + x, c), 0.0, x)

    x = np.ones(3, np.float32)
    assert [v.dtype for v in f(x)] == [v.dtype for v in cotan.jit(f)(x)] == [np.float32, np.float32]
