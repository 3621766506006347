"""`disable_jit`: jitted functions and loops run in Python, with values, and give what they give else."""

import threading

import numpy as np
import pytest

import cotan
from cotan import lax

SEEN = []


def note(x):
    SEEN.append(str(x))


@pytest.fixture(autouse=True)
def nothing_seen():
    SEEN.clear()


def in_a_scan(x):
    def step(c, k):
        note(c)
        return c * np.cos(k), c

    last, ys = lax.scan(step, x, np.array([1.0, 2.0, 3.0]), reverse=True)
    return last + np.sum(ys)


def in_a_counted_loop(x):
    def body(i, v):
        note(i)
        return v * x

    return lax.fori_loop(0, 3, body, 1.0)


def in_a_while_loop(x):
    def body(v):
        note(v)
        return v * 2

    return lax.while_loop(lambda v: v < 5, body, x)


def in_a_nested_loop(x):
    def outer(c, k):
        def inner(d, j):
            note(d)
            return d * j, None

        return lax.scan(inner, c, k * np.ones(2))[0], None

    return cotan.jit(lambda x: lax.scan(outer, x, np.array([1.0, 2.0]))[0])(x)


def in_a_map(x):
    def f(v):
        note(v)
        return v * x

    return np.sum(lax.map(f, np.arange(1.0, 4.0)))


def in_a_checkpoint(x):
    return cotan.checkpoint(lambda x: cotan.jit(cotan.checkpoint(in_a_scan))(x) + in_a_counted_loop(x))(x)


FUNCTIONS = [in_a_scan, in_a_counted_loop, in_a_while_loop, in_a_nested_loop, in_a_map, in_a_checkpoint]
TRANSFORMS = {
    "value": lambda f: f,
    "grad": cotan.grad,
    "hessian": cotan.hessian,
    "jvp": lambda f: lambda x: cotan.jvp(f, (x,), (1.0,))[1],
    "vjp": lambda f: lambda x: cotan.vjp(f, x)[1](1.0)[0],
    "linearize": lambda f: lambda x: cotan.linearize(f, x)[1](1.0),
    "jvp of vjp": lambda f: lambda x: cotan.jvp(lambda v: cotan.vjp(f, v)[1](1.0)[0], (x,), (1.0,))[1],
    "grad jit": lambda f: cotan.grad(cotan.jit(f)),
    "jit": cotan.jit,
    "jit grad": lambda f: cotan.jit(cotan.grad(f)),
}


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_each_step_has_values_and_the_result_is_the_same(f, transform, monkeypatch):
    with cotan.disable_jit():
        found = transform(f)(1.5)
    assert len(SEEN) >= 2
    assert all("traced" not in x for x in SEEN)
    monkeypatch.setattr("tests.api.test_disable_jit.note", lambda x: None)
    np.testing.assert_allclose(found, transform(f)(1.5), rtol=1e-12)


def test_it_can_be_turned_on_again_inside():
    calls = []
    f = cotan.jit(lambda x: (calls.append(1), x * 2)[1])
    with cotan.disable_jit():
        f(1.0), f(1.0)
        assert len(calls) == 2
        with cotan.disable_jit(False):
            f(1.0), f(1.0)
        assert len(calls) == 3
    f(1.0)
    assert len(calls) == 3


def test_checkpoints_take_trees_and_keep_their_gate():
    with cotan.disable_jit():
        out = cotan.checkpoint(lambda x, k: {"a": x * k, "b": (1.0, np.ones(2))}, static_argnums=1)(2.0, 3)
        assert all(isinstance(y, np.ndarray) for y in cotan.tree.leaves(out))
        assert out["a"] == 6.0
        with pytest.raises(cotan.errors.ArgumentTypeError, match="the output of"):
            cotan.checkpoint(lambda x: "text")(1.0)


def steps(calls, disable=True):
    """A generator that calls a jitted function within `disable_jit`, at each step."""
    f = cotan.jit(lambda x: (calls.append(1), x * 2)[1])
    with cotan.disable_jit(disable):
        while True:
            yield f(1.0)


def test_contexts_in_generators_may_be_left_in_any_order():
    first, second, plain = [], [], []
    f = cotan.jit(lambda x: (plain.append(1), x)[1])
    a, b = steps(first), steps(second)
    next(a), next(b)
    a.close()
    next(b), next(b)
    assert len(second) == 3
    f(1.0), f(1.0)
    assert len(plain) == 2  # `b` is within its context
    b.close()
    f(1.0), f(1.0)
    assert len(plain) == 3


def test_the_innermost_context_counts_where_an_outer_one_is_left_first():
    plain = []
    f = cotan.jit(lambda x: (plain.append(1), x)[1])
    outer, inner = steps([]), steps([], disable=False)
    next(outer), next(inner)
    outer.close()
    f(1.0), f(1.0)
    assert len(plain) == 1
    inner.close()
    f(1.0)
    assert len(plain) == 1


def test_a_context_may_be_left_in_another_thread():
    plain = []
    f = cotan.jit(lambda x: (plain.append(1), x)[1])
    a = steps([])
    next(a)
    thread = threading.Thread(target=a.close)
    thread.start()
    thread.join()
    f(1.0), f(1.0)
    assert len(plain) == 1


def test_under_vmap():
    f = cotan.jit(lambda x: lax.scan(lambda c, k: (c * k, c), x, np.array([2.0, 3.0]))[0])
    g = cotan.vmap(lambda x: lax.while_loop(lambda v: v < 5, lambda v: v * 2, x))
    x = np.array([1.0, 2.0, 3.0])
    with cotan.disable_jit():
        np.testing.assert_array_equal(cotan.vmap(f)(x), 6 * x)
        np.testing.assert_array_equal(g(x), [8.0, 8.0, 6.0])


def test_stage_still_stages():
    with cotan.disable_jit():
        program = cotan.stage(lambda x: lax.scan(lambda c, k: (c * k, None), x, np.ones(100))[0])(1.0)
    assert [e.op.name for e in program.equations if e.op.holds_programs] == ["scan"]
