"""`debug.print` and `debug.callback`: when, how often and in what order they are called, under every transformation and compiled."""

import numpy as np
import pytest

import cotan
from cotan import debug, lax
from cotan.errors import ArgumentError

RUNS = {
    "eager": lambda f: f,
    "grad": cotan.grad,
    "jvp": lambda f: lambda x: cotan.jvp(f, (x,), (1.0,)),
    "vjp": lambda f: lambda x: cotan.vjp(f, x)[1](1.0),
    "jit": cotan.jit,
    "jit grad": lambda f: cotan.jit(cotan.grad(f)),
    "grad jit": lambda f: cotan.grad(cotan.jit(f)),
    "jit hessian": lambda f: cotan.jit(cotan.hessian(f)),
    "numpy engine": lambda f: cotan.jit(cotan.grad(f), engine="numpy"),
}
runs = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


class Seen(list):
    def note(self, *values):
        self.append(tuple(float(v) for v in values) if len(values) > 1 else float(values[0]))


@runs
def test_it_is_called_once_with_the_primal(run):
    seen = Seen()

    def f(x):
        y = np.sin(x)
        debug.callback(seen.note, y)
        return y * x

    run(f)(0.5)
    assert seen == [np.sin(0.5)]


@runs
def test_it_is_called_though_nothing_depends_on_it(run):
    seen = Seen()

    def f(x):
        debug.callback(seen.note, np.exp(x) * 3)
        return x * 2

    run(f)(0.0)
    assert seen == [3.0]


@runs
def test_in_a_scan_it_is_called_in_each_step(run):
    seen = Seen()

    def f(x):
        def step(c, k):
            debug.callback(seen.note, k, c)
            return c * k, None

        return lax.scan(step, x, np.array([1.0, 2.0, 3.0]))[0]

    run(f)(1.0)
    assert seen == [(1.0, 1.0), (2.0, 1.0), (3.0, 2.0)]


@runs
def test_in_a_while_loop_it_is_called_in_each_step(run):
    seen = Seen()

    def f(x):
        def body(v):
            debug.callback(seen.note, v)
            return v * 2

        return lax.while_loop(lambda v: v < 5, body, x)

    run(f)(1.0)
    assert seen == [1.0, 2.0, 4.0]


@runs
def test_in_the_condition_of_a_while_loop(run):
    seen = Seen()

    def f(x):
        def going(s):
            debug.callback(seen.note, s[1])
            return s[0] < 5

        return lax.while_loop(going, lambda s: (s[0] * 2, s[1] + x), (x, 0.0))[0]

    run(f)(1.0)
    assert seen == [0.0, 1.0, 2.0, 3.0]


@runs
def test_in_a_branch_it_is_called_where_that_is_taken(run):
    seen = Seen()

    def f(x):
        def positive(v):
            debug.callback(seen.note, v)
            return v * 2

        return lax.cond(x > 0, positive, lambda v: v, x)

    g = run(f)
    g(2.0)
    g(-2.0)
    assert seen == [2.0]


@pytest.mark.parametrize("of", [lambda f: f, cotan.grad], ids=["value", "grad"])
@pytest.mark.parametrize("to", [lambda f: f, cotan.jit], ids=["eager", "jit"])
def test_on_a_batch_it_is_called_for_each_example_that_gets_there(of, to):
    seen = Seen()

    def f(x):
        def positive(v):
            debug.callback(seen.note, v)
            return v * 2

        return lax.cond(x > 0, positive, lambda v: v, x)

    to(cotan.vmap(of(f)))(np.array([1.0, -1.0, 2.0]))
    assert seen == [1.0, 2.0]


@pytest.mark.parametrize("of", [lambda f: f, cotan.grad], ids=["value", "grad"])
@pytest.mark.parametrize("to", [lambda f: f, cotan.jit], ids=["eager", "jit"])
def test_batched_loops_call_it_for_each_example(of, to):
    seen = Seen()

    def f(x):
        def step(c, k):
            debug.callback(seen.note, k, c)
            return c + k, None

        return lax.scan(step, x, np.array([1.0, 2.0]))[0]

    to(cotan.vmap(of(f)))(np.array([10.0, 20.0]))
    assert sorted(seen) == [(1.0, 10.0), (1.0, 20.0), (2.0, 11.0), (2.0, 21.0)]


def test_what_is_computed_again_is_not_said_again():
    for loop in (
        lambda step, x: lax.scan(lambda c, k: (step(c), None), x, np.zeros(3), checkpoint=True)[0],
        lambda step, x: cotan.checkpoint(lambda v: step(step(v)))(x),
    ):
        for to in (lambda f: f, cotan.jit):
            seen = Seen()

            def step(v, seen=seen):
                w = np.sin(v)
                debug.callback(seen.note, w)
                return np.exp(w)

            to(cotan.grad(lambda x, loop=loop, step=step: loop(step, x)))(1.0)
            count = len(seen)
            assert count == len(set(seen)), seen
            assert count in (2, 3)


def test_the_order_is_that_of_the_lines():
    seen = []

    def f(x):
        debug.callback(lambda v: seen.append("first"), x)
        y = np.sum(np.exp(x))
        debug.callback(lambda v: seen.append("second"), y)
        debug.callback(lambda v: seen.append("third"), x[0])
        return y

    cotan.jit(f)(np.ones(1000))
    assert seen == ["first", "second", "third"]


def test_trees_and_keywords():
    seen = []
    f = cotan.jit(lambda p: (debug.callback(lambda tree, scale: seen.append((tree, scale)), p, scale=2.0), p["w"] * 2)[1])
    f({"w": np.arange(2.0)})
    ((tree, scale),) = seen
    np.testing.assert_array_equal(tree["w"], [0.0, 1.0])
    assert scale == 2.0


def test_tangents_are_seen_in_forward_mode():
    seen = Seen()

    @cotan.custom_jvp
    def f(x):
        return x**2

    @f.defjvp
    def rule(primals, tangents):
        debug.callback(seen.note, tangents[0])
        return primals[0] ** 2, 2 * primals[0] * tangents[0]

    cotan.jvp(f, (3.0,), (5.0,))
    assert seen == [5.0]
    assert cotan.grad(f)(3.0) == 6.0
    assert seen == [5.0]


def test_print(capsys):
    def f(x, y):
        debug.print("x={x:.2f} {} {y}", x, x=x, y=y)
        return x * np.sum(y)

    cotan.jit(cotan.grad(f))(1.5, np.arange(2.0))
    assert capsys.readouterr().out == "x=1.50 1.5 [0. 1.]\n"


def test_an_error_in_the_callback_reaches_the_caller():
    def fail(x):
        raise ValueError("seen enough")

    def f(x):
        debug.callback(fail, x)
        return x

    for g in (f, cotan.jit(f), cotan.grad(f)):
        with pytest.raises(ValueError, match="seen enough"):
            g(1.0)


def test_a_custom_function_that_nothing_reads():
    seen = Seen()

    @cotan.custom_jvp
    def f(x):
        debug.callback(seen.note, x)
        return np.sin(x)

    f.defjvp(lambda p, t: (f(p[0]), np.cos(p[0]) * t[0]))
    cotan.jit(lambda x: (f(x), x * 3)[1])(1.0)
    assert seen == [1.0]


def test_forward_mode_of_a_checkpointed_loop():
    seen = Seen()

    def f(x):
        def step(c, v):
            debug.callback(seen.note, v)
            return c * np.sin(v), None

        return lax.scan(step, 1.0, x, checkpoint=True)[0]

    cotan.jacfwd(f)(np.array([1.0, 2.0]))
    assert seen == [1.0, 2.0]


def test_experiments_of_why_nan_are_not_seen():
    seen = Seen()

    def f(x):
        debug.callback(seen.note, x)
        return np.sqrt(x) * np.log(x)

    assert cotan.why_nan(cotan.grad(f), 0.0)
    assert seen == [0.0]


def test_texts_are_handed_over(capsys):
    cotan.jit(lambda x: (debug.print("{name}: {x}", name="loss", x=x), x)[1])(1.0)
    assert capsys.readouterr().out == "loss: 1.0\n"


def test_refusals():
    with pytest.raises(ArgumentError, match="names 'y'"):
        debug.print("{y}", x=1.0)
    with pytest.raises(ArgumentError, match="the format is"):
        debug.print(1.0)
    with pytest.raises(TypeError):
        debug.callback(3, 1.0)


@runs
def test_numbers_print_as_in_python(run, capsys):
    def f(x):
        y = np.ones((2, 3)) * x
        tree = {"a": x, "b": [np.float32(0.1), 1, True, 2.5], "c": (y[0, 0] > 5, np.float16(0.3))}
        debug.print("{} {tree} {x:.2f} {t} {k}", y.shape, tree=tree, x=x, t=(y[0, 0], {"k": y[0]}), k=3)
        debug.print("{0} {0!r} {0:.9f} {1!r}", np.float32(0.1), x)
        return x

    run(f)(2.0)
    numbers = "{'a': 2.0, 'b': [0.1, 1, True, 2.5], 'c': (False, 0.3)}"
    assert capsys.readouterr().out == f"(2, 3) {numbers} 2.00 (2.0, {{'k': array([2., 2., 2.])}}) 3\n0.1 0.1 0.100000001 2.0\n"
