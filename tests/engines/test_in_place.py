"""Updates in place: a loop that changes a part of its carry copies nothing, and gives what the interpreter gives."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.engines.native.schedule import in_place
from cotan.engines.native.schedule.in_place import updates_input

N, SHAPE = 40, (12, 9)
STEPS = {
    "row": lambda i, b: b.at[i % 7].set(1.0 * i),
    "column": lambda i, b: b.at[:, i % 7].set(1.0 * i),
    "cell": lambda i, b: b.at[i % 7, i % 5].add(1.0 * i),
    "cells": lambda i, b: b.at[cnp.stack([i % 7, i % 3]), cnp.stack([i % 5, i % 2])].multiply(0.5),
    "block": lambda i, b: lax.dynamic_update_slice(b, cnp.full((2, 3), 0.1) * i, (i % 7, i % 5)),
    "block moved": lambda i, b: lax.dynamic_update_slice(b, lax.dynamic_slice(b, (i % 7, i % 5), (2, 2)) + 1.0, (i % 5, i % 7)),
    "slice": lambda i, b: b.at[2:5].add(1.0 * i),
    "columns": lambda i, b: b.at[:, 1:3].set(b[:, 4:6] * 0.5),
    "two rows": lambda i, b: b.at[i % 7].set(1.0 * i).at[i % 5].set(2.0 * i),
    "chain of all": lambda i, b: (b * 0.9).at[i % 7].add(1.0).at[:, i % 5].multiply(0.5).at[0, 0].set(3.0),
    "swap": lambda i, b: b.at[i % 7, 0].set(b[i % 5, 0]).at[i % 5, 0].set(b[i % 7, 0]),
    "swap of rows": lambda i, b: b.at[i % 7].set(b[i % 5]).at[i % 5].set(b[i % 7]),
    "recurrence": lambda i, b: b.at[i % 9].set(cnp.sin(b[(i - 1) % 9]) + 1.0),
    "own row": lambda i, b: b.at[i % 9].set(cnp.cos(b[i % 9])),
    "branch": lambda i, b: lax.cond(i % 2 == 0, lambda b: b.at[i % 7].set(1.0), lambda b: b, b),
    "switch": lambda i, b: lax.switch(
        i % 3, [lambda b: b.at[1].set(1.0), lambda b: b, lambda b: b.at[:, 0].add(1.0).at[i % 3, 1].set(0.5)], b
    ),
    "branch in a branch": lambda i, b: lax.cond(
        i % 2 == 0, lambda b: lax.cond(i % 3 == 0, lambda b: b.at[i % 7].set(1.0), lambda b: b.at[0].add(b[1]), b), lambda b: b, b
    ),
    "after a branch": lambda i, b: lax.cond(i % 2 == 0, lambda b: b.at[i % 7].set(1.0), lambda b: b, b).at[i % 5].add(2.0),
    "loop": lambda i, b: lax.fori_loop(0, 4, lambda j, b: b.at[j, i % 5].add(1.0 * i), b),
    "loop and update": lambda i, b: lax.fori_loop(0, 4, lambda j, b: b.at[i % 7].add(b[j]), b.at[3].set(0.5)).at[0].multiply(0.3),
    "while": lambda i, b: lax.while_loop(lambda s: s[0] < i % 4, lambda s: (s[0] + 1, s[1].at[s[0]].set(1.0 * i)), (0, b))[1],
    "elements": lambda i, b: b * 0.5 + 1.0 * i,
    "roll": lambda i, b: cnp.concatenate([b[1:], b[:1]]).at[0].set(1.0 * i),
    "passed on": lambda i, b: b,
}
"""Steps of a loop over i with the carry b."""
COPIED = {"roll"}


def after_step(name, kind):
    """A loop of each kind with this step, and its first carry."""
    step = STEPS[name]

    def f(b):
        if kind == "fori":
            return lax.fori_loop(0, N, step, b)
        if kind == "while":
            return lax.while_loop(lambda s: s[0] < N, lambda s: (s[0] + 1, step(s[0], s[1])), (0, b))[1]
        if kind == "scan":
            return lax.scan(lambda b, i: (step(i, b), b[i % 3, 1]), b, cnp.arange(N))
        if kind == "reverse":
            return lax.scan(lambda b, i: (step(i, b), None), b, cnp.arange(N), reverse=True)[0]
        if kind == "pair":  # another carry reads the old value, and the new one
            return lax.fori_loop(0, N, lambda i, s: (c := step(i, s[0]), s[1] + s[0][i % 5, 0] * c[0, 0]), (b, 0.0))
        if kind == "two steps":
            return lax.fori_loop(0, N, lambda i, s: (step(i, s[0]), s[1] + s[0][i % 5, 0] * step(i, s[0])[0, 0]), (b, 0.0))
        if kind == "sum":  # the old value is read as a whole after it has been updated
            return lax.fori_loop(0, N, lambda i, s: (step(i, s[0]), s[1] * 0.5 + s[0]), (b, b))
        if kind == "exchange":
            return lax.fori_loop(0, N, lambda i, s: (step(i, s[1]), s[0]), (b, b + 1.0))
        if kind == "twice":
            return lax.fori_loop(0, N, lambda i, s: (step(i, s[0]), step(i, s[0]) * 0.5), (b, b))
        assert kind == "returned twice"
        return lax.fori_loop(0, N, lambda i, s: ((c := step(i, s[0])), c), (b, b))

    return f


KINDS = ["fori", "while", "scan", "reverse", "pair", "two steps", "sum", "exchange", "twice", "returned twice"]


def same(f, *xs):
    given = [np.array(x) for x in xs]
    found, expected = (cotan.tree.leaves(cotan.jit(f, engine=engine)(*xs)) for engine in ("native", "numpy"))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    for x, y in zip(xs, given, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STEPS)
def test_a_loop_gives_what_the_interpreter_gives(name, kind):
    f = after_step(name, kind)
    x = np.linspace(-1.0, 1.0, 108).reshape(SHAPE)
    same(f, x)
    same(lambda x: f(cnp.sin(x)), x)  # the start is an array of the program's own
    same(lambda x: (f(x), f(x + 1.0), x), x)
    same(cotan.jit(f, donate_argnums=0, engine="numpy"), x)
    np.testing.assert_array_equal(cotan.tree.leaves(cotan.jit(f, donate_argnums=0)(x.copy()))[0], cotan.tree.leaves(cotan.jit(f)(x))[0])


@pytest.mark.parametrize("kind", ["fori", "pair"])
@pytest.mark.parametrize("name", STEPS)
def test_derivatives_and_batches_of_a_loop(name, kind):
    f = after_step(name, kind)
    loss = total(f)
    x = np.linspace(-1.0, 1.0, 108).reshape(SHAPE)
    xs = np.stack([x, x[::-1], 0.5 * x])
    same(cotan.grad(loss), x)
    same(cotan.vmap(f), xs)
    same(cotan.vmap(cotan.grad(loss)), xs)
    same(lambda x: cotan.jvp(loss, (x,), (cnp.cos(x),)), x)


@pytest.mark.parametrize("name", [name for name in STEPS if name not in COPIED])
@pytest.mark.parametrize("kind", ["fori", "while", "scan", "reverse", "pair"])
def test_nothing_is_copied_in_a_loop(name, kind):
    x = np.linspace(-1.0, 1.0, 108).reshape(SHAPE)
    for f in (after_step(name, kind), lambda x: after_step(name, kind)(cnp.sin(x))):
        report = cotan.compile_report(f)(x)
        assert not [copy for copy in report.copies if copy.in_loop], report
        assert len(report.copies) <= 2, report


SMALL = {
    "histogram": lambda x: lax.fori_loop(0, N, lambda i, h: h.at[(i * 7) % 10].add(x[i % 12, 3]), cnp.zeros(10)),
    "two updates": lambda x: lax.fori_loop(0, N, lambda i, h: h.at[i % 9].add(1.0).at[(2 * i) % 9].multiply(x[i % 12, 0]), x[0] + 1.0),
    "read and swap": lambda x: lax.fori_loop(0, N, lambda i, h: h.at[i % 9].set(h[(i + 4) % 9]).at[(i + 4) % 9].set(h[i % 9]), x[1]),
    "whole step between": lambda x: lax.fori_loop(0, N, lambda i, h: (h * 0.9).at[i % 9].add(x[i % 12, 2]) + 0.1, x[1]),
    "inner loop": lambda x: lax.fori_loop(0, 5, lambda i, h: lax.fori_loop(0, i + 2, lambda j, h: h.at[(i * j) % 9].add(x[i, j]), h), x[2]),
    "branch": lambda x: lax.fori_loop(
        0, N, lambda i, h: lax.cond(i % 3 == 0, lambda h: h.at[i % 9].add(x[i % 12, 0]), lambda h: h, h), x[2]
    ),
    "sum beside": lambda x: lax.fori_loop(0, N, lambda i, s: (s[0].at[i % 9].add(s[1]), s[1] * 0.5 + s[0][i % 4]), (x[2], 0.5)),
    "no loop": lambda x: x[0].at[cnp.argmax(x[1])].set(3.0) * x[2],
    "table": lambda x: lax.fori_loop(0, N, lambda i, h: h.at[i % 3, i % 5].add(x[i % 12, 0]), cnp.ones((3, 5))),
}
"""Loops that update a small array at indices that are known when they run."""


@pytest.mark.parametrize("name", SMALL)
def test_small_arrays_updated_by_index(name):
    f = SMALL[name]
    x = np.linspace(-1.0, 1.0, 108).reshape(SHAPE)
    same(f, x)
    same(lambda x: (f(x), f(cnp.sin(x))), x)
    same(cotan.grad(total(f)), x)
    same(cotan.vmap(f), np.stack([x, x[::-1]]))
    same(lambda x: cotan.jvp(f, (x,), (cnp.cos(x),)), x)
    same(cotan.hessian(total(lambda z: f(z * x))), 1.1)


def total(f):
    return lambda x: sum(cnp.sum(cnp.sin(y)) for y in cotan.tree.leaves(f(x)))


DERIVED = {
    "vmap": cotan.vmap,
    "jvp": lambda f: lambda x: cotan.jvp(f, (x,), (cnp.cos(x),)),
    "grad": lambda f: cotan.grad(total(f)),
    "vmap of grad": lambda f: cotan.vmap(cotan.grad(total(f))),
    "hvp": lambda f: lambda x: cotan.jvp(cotan.grad(total(f)), (x,), (cnp.cos(x),)),
}


@pytest.mark.parametrize("derive", DERIVED)
@pytest.mark.parametrize("name", [name for name in STEPS if name not in COPIED])
def test_derivatives_and_batches_copy_nothing_in_a_loop(name, derive):
    x = np.linspace(-1.0, 1.0, 108).reshape(SHAPE)
    given = np.stack([x, x[::-1], 0.5 * x]) if derive.startswith("vmap") else x
    for kind in ("fori", "while", "pair"):
        report = cotan.compile_report(DERIVED[derive](after_step(name, kind)))(given)
        assert not [copy for copy in report.copies if copy.in_loop], report


def read(a, i):
    return cnp.sin(a[i % 12, i % 9])


READERS = {
    "plain": read,
    "jit": cotan.jit(read),
    "jit in jit": lambda a, i: cotan.jit(lambda a: 2.0 * cotan.jit(read)(a, i))(a),
    "checkpoint": cotan.checkpoint(read),
    "jvp": lambda a, i: cotan.jvp(lambda a: read(a, i), (a,), (a,))[1],
    "branch": lambda a, i: lax.cond(i % 2 == 0, lambda: a[i % 12, 0], lambda: 0.0),
    "scan": lambda a, i: lax.scan(lambda c, k: (c + a[(i + k) % 12, k], None), 0.0, cnp.arange(5))[0],
    "while": lambda a, i: lax.while_loop(lambda s: s[0] < i % 4, lambda s: (s[0] + 1, s[1] + a[s[0], i % 9]), (0, 0.0))[1],
    "part of a row": lambda a, i: cnp.sum(a[i % 12, 2:]),
    "every second of a row": lambda a, i: cnp.sum(a[i % 12, 1::2] ** 2),
    "row backwards": lambda a, i: cnp.sum(a[i % 12, ::-1] * np.arange(9.0)),
    "parts of rows": lambda a, i: cnp.sum(a[(i + np.arange(3)) % 12, 1:4]),
    "vmap": lambda a, i: cnp.sum(cotan.vmap(lambda k: a[(i + k) % 12, k % 9])(cnp.arange(3))),
}
"""Functions that read a few numbers of a large array."""


@pytest.mark.parametrize("name", READERS)
def test_the_gradient_of_reads_in_a_loop_touches_what_they_read(name):
    def f(a):
        return lax.fori_loop(0, N, lambda i, s: s * 0.9 + READERS[name](a, i), 0.0)

    x = np.linspace(-1.0, 1.0, 108).reshape(SHAPE)
    same(cotan.grad(f), x)
    same(lambda x: cotan.jvp(cotan.grad(f), (x,), (cnp.cos(x),))[1], x)
    report = cotan.compile_report(cotan.grad(f))(x)
    assert not [copy for copy in report.copies if copy.in_loop], report
    bodies = [line.strip() for body in report.programs[1:] for line in body.splitlines()]
    assert "for 12:" not in bodies, report


def test_a_checkpointed_loop_in_a_loop_sums_the_cotangents_of_what_it_reads():
    def loss(checkpoint):
        def inner(a, i, s):
            return lax.scan(lambda c, k: (c * a[i, k] + a[k, i], None), s, cnp.arange(5), checkpoint=checkpoint)[0]

        return lambda a: lax.fori_loop(0, 9, lambda i, s: s * 0.9 + inner(a, i, s), 0.5)

    x = np.linspace(-1.0, 1.0, 108).reshape(SHAPE)
    same(cotan.grad(loss(True)), x)
    np.testing.assert_allclose(cotan.jit(cotan.grad(loss(True)))(x), cotan.grad(loss(False))(x), rtol=1e-12, atol=1e-13)


def test_branches_in_branches_are_looked_at_once(monkeypatch):
    """What a branch may be written over is asked for each result, operand and program of the branches around it."""
    asked = []
    monkeypatch.setattr(in_place, "updates_input", lambda *a: (asked.append(a), updates_input(*a))[1])
    counts = []
    for depth in (2, 4, 6):

        def level(d, xs, p):
            if d == 0:
                return [x * 1.5 for x in xs]
            return lax.cond(p > d, lambda *xs: level(d - 1, xs, p), lambda *xs: [x + 1.0 for x in xs], *xs)

        asked.clear()
        xs = [np.full(100, k + 1.0) for k in range(4)]
        f = lambda xs, p, depth=depth: sum(level(depth, [cnp.sin(x) for x in xs], p))  # noqa: E731
        report = cotan.compile_report(f)(xs, 0.5)
        assert report.programs
        counts.append(len(asked))
    assert counts[2] - counts[1] <= 2 * (counts[1] - counts[0])


def test_the_report_names_each_copy_that_remains():
    def f(b):
        def step(i, s):
            b, total = s
            changed = b.at[i].set(1.0)
            return changed, total + b * cnp.sum(changed)  # this reads the old value

        return lax.fori_loop(0, N, step, (b, b))

    report = cotan.compile_report(f)(np.ones((50, 3)))
    (copy,) = [copy for copy in report.copies if copy.in_loop]
    line = f.__code__.co_firstlineno + 3
    assert copy.type == "f64[50,3]"
    assert copy.equation == f"scatter (test_in_place.py:{line})"
    assert copy.reason == f"the updated array is read afterwards: mul (test_in_place.py:{line + 1})"
    assert f"f64[50,3] in each iteration, {copy.equation}: {copy.reason}" in str(report)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_two_results_of_a_branch_are_not_written_over_one_operand(p):
    def f(x, p):
        a, b, c = cnp.sin(x), cnp.cos(x), x * 3.0
        u, v = lax.cond(p > 0.5, lambda a, b, c: (a * 2.0, b * c), lambda a, b, c: (a * 0.5, b - c), a, b, c)
        return u + 2.0 * v

    same(f, np.linspace(-1.0, 1.0, 108).reshape(SHAPE), p)
