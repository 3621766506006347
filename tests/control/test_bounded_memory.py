"""checkpoint= on loops: values and derivatives equal the ones without it, from few stored states."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from math import comb

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax, tree
from cotan.control.sweep import enough_for, reversal

RNG = np.random.default_rng(7)
W = RNG.normal(size=(3, 3)) * 0.3
XS = RNG.normal(size=(17, 3))
C = np.array([0.5, -0.2, 0.9])


def scanned(checkpoint, reverse=False):
    def f(c, w, xs):
        c, ys = lax.scan(
            lambda c, x: (cnp.sin(w @ c) + x * c, {"s": cnp.sum(c * x), "i": 1}), c, xs, reverse=reverse, checkpoint=checkpoint
        )
        return cnp.sum(c**2) + cnp.sum(ys["s"] ** 3)

    return f


def while_looped(checkpoint):
    def f(c, w, xs):
        bound = 3 + 5 * cnp.sum(xs[0] ** 2)
        step = lambda s: (cnp.sin(w @ s[0]) + xs[1] * s[0], s[1] + 1.0, s[2] + 1)  # noqa: E731
        return cnp.sum(lax.while_loop(lambda s: s[1] < bound, step, (c, 0.0, 0), checkpoint=checkpoint)[0] ** 2)

    return f


def for_looped(checkpoint):
    return lambda c, w, xs: cnp.sum(
        lax.fori_loop(2, 12, lambda i, c: cnp.sin(w @ c) + cnp.asarray(xs)[i] * c, c, checkpoint=checkpoint) ** 2
    )


LOOPS = {"scan": scanned, "reversed scan": lambda k: scanned(k, True), "while": while_looped, "fori": for_looped}
EVERY = (0, 1, 2)
CS, XSS = np.stack([C, 2 * C, 0.1 * C]), np.stack([XS, 1.3 * XS, 0.5 * XS])
AXES = (0, None, 0)


def gradient(f):
    return cotan.grad(f, argnums=EVERY)


USES = {
    "value": (lambda f: f, (C, W, XS)),
    "grad": (gradient, (C, W, XS)),
    "forward over reverse": (lambda f: cotan.jacfwd(cotan.grad(f)), (C, W, XS)),
    "reverse over reverse": (lambda f: cotan.jacrev(cotan.grad(f), argnums=(0, 1)), (C, W, XS)),
    "reverse over forward": (lambda f: cotan.jacrev(cotan.jacfwd(f)), (C, W, XS)),
    "third": (lambda f: lambda *a: cotan.jvp(cotan.jacfwd(cotan.grad(f)), a, a)[1], (C, W, XS)),
    "vmap of grad": (lambda f: cotan.vmap(gradient(f), in_axes=AXES), (CS, W, XSS)),
    "grad of vmap": (lambda f: gradient(lambda *a: cotan.vmap(f, in_axes=AXES)(*a).sum()), (CS, W, XSS)),
    "vmap of hessian": (lambda f: cotan.vmap(cotan.hessian(f), in_axes=AXES), (CS, W, XSS)),
    "linearize": (lambda f: lambda *a: cotan.linearize(f, *a)[1](*a), (C, W, XS)),
}


def close(found, expected):
    for a, b in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("checkpoint", [True, 1, 3])
def test_the_same_as_without(loop, use, checkpoint):
    transform, arguments = USES[use]
    expected = transform(LOOPS[loop](False))(*arguments)
    f = LOOPS[loop](checkpoint)
    close(transform(f)(*arguments), expected)
    close(cotan.jit(transform(f))(*arguments), expected)
    close(transform(cotan.jit(f))(*arguments), expected)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 10, 56, 57, 200])
@pytest.mark.parametrize("snapshots", [0, 1, 2, 3, 5, 300])
def test_the_schedule_is_binomial(length, snapshots):
    taken = np.zeros(length, int)
    seen: list[int] = []
    live: dict[int, int] = {}
    most = 0

    class State:
        def __init__(self, k):
            self.k = k
            live[id(self)] = k

        def __del__(self):
            live.pop(id(self))

    def step(state, k):
        nonlocal most
        assert state[0].k == k
        taken[k] += 1
        new = [State(k + 1)]
        most = max(most, len(live))
        return new

    def reverse(state, k):
        assert state[0].k == k
        seen.append(k)

    reversal(step, reverse, [State(0)], length, snapshots)
    assert seen == list(range(length - 1, -1, -1))
    allowed = snapshots or enough_for(length)
    assert most <= allowed + 3, "the states kept, and those at hand"
    times = 0
    while comb(allowed + times, allowed) < length:
        times += 1
    assert taken.max(initial=0) <= times
    if not snapshots:
        assert taken.max(initial=0) <= 3


def test_memory_is_that_of_the_states_that_are_kept():
    x = np.full(20_000, 0.3)

    def loss(x, checkpoint):
        return cnp.sum(lax.scan(lambda c, _: (cnp.sin(c) * c + 0.1, None), x, None, length=400, checkpoint=checkpoint)[0])

    peaks = []
    for checkpoint in (False, True):
        cotan.grad(loss)(x[:3], checkpoint)
        tracemalloc.start()
        cotan.grad(loss)(x, checkpoint)
        peaks.append(tracemalloc.get_traced_memory()[1] / x.nbytes)
        tracemalloc.stop()
    assert peaks[0] > 400
    assert peaks[1] < enough_for(400) + 12


# ---- compiled ----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("checkpoint", [True, 1, 2, 5, 300])
@pytest.mark.parametrize("steps", [0, 1, 2, 10, 56, 57, 200])
@pytest.mark.parametrize("known", [True, False], ids=["known length", "unknown length"])
def test_compiled_code_takes_the_steps_of_the_schedule(known, steps, checkpoint):
    """Compiled code takes the steps of `reversal` in its order; a callback in the body observes them."""
    seen: list[int] = []

    def note(k):
        seen.append(int(k))
        return np.asarray(k, float)

    def loss(c, n):
        def body(k, c):
            return cnp.sin(c) * (1.1 + 1e-3 * cotan.pure_callback(note, np.zeros(()), k))

        return cnp.sum(lax.fori_loop(0, n, body, c, checkpoint=checkpoint))

    gradient = lambda c, n: cotan.grad(loss)(c, steps if known else n)  # noqa: E731
    close(cotan.jit(gradient)(C, steps), cotan.jit(gradient, engine="numpy")(C, steps))
    half = len(seen) // 2
    assert seen[:half] == seen[half:]
    assert half >= steps


@pytest.mark.parametrize(("checkpoint", "states"), [(True, enough_for(400)), (5, 5)])
def test_compiled_code_sets_aside_the_states_that_are_kept(checkpoint, states):
    def loss(x):
        return cnp.sum(lax.scan(lambda c, _: (cnp.sin(c) * c + 0.1, None), x, None, length=400, checkpoint=checkpoint)[0])

    report = cotan.compile_report(cotan.grad(loss))(np.full(2_000, 0.3))
    assert report.outside == ()
    assert report.workspace < (states + 6) * 16_000


MEMORY = """
import resource
import numpy as np
import cotan, cotan.numpy as cnp
from cotan import lax

def loss(x, outer, inner):
    turn = lambda i, c: lax.fori_loop(0, inner + i, lambda j, d: cnp.sin(d) * 1.01, c, checkpoint=True)
    return lax.fori_loop(0, outer, lambda i, t: t + cnp.sum(turn(i % 5, x + t * 1e-9)), 0.0)

gradient = cotan.jit(lambda x, outer, inner: lax.fori_loop(0, outer, lambda i, g: g + cotan.grad(loss)(x * g[0], 1, inner + i % 5), x))
x = np.full(10_000, 0.3)
gradient(x, 2, 60)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert np.isfinite(gradient(x, 300, 60)).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_sweeps_of_unknown_length_take_the_same_memory_again_and_again():
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 20_000, "300 sweeps of 6 states would be 144,000 kilobytes"


@pytest.mark.exhaustive
def test_a_million_steps():
    def loss(c):
        return cnp.sum(lax.scan(lambda c, _: (cnp.sin(c) * 1.01 + 0.1, None), c, None, length=10**6, checkpoint=True)[0])

    x = np.full(100, 0.5)
    tracemalloc.start()
    g = cotan.grad(loss)(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6
    assert np.isfinite(g).all()
