"""Calls of compiled code: any argument that NumPy takes, results with memory of their own, many threads, forks, interrupts."""

from __future__ import annotations

import copy
import functools
import os
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.engines.native.call import caller
from cotan.errors import EscapedTracerError

jit = functools.partial(cotan.jit, engine="native")


class Pair(NamedTuple):
    first: Any
    second: Any


def misaligned(x):
    """A copy of the numbers, misaligned by one byte."""
    memory = np.empty(x.nbytes + 1, np.uint8)
    y = memory[1:].view(x.dtype).reshape(x.shape)
    y[...] = x
    assert y.flags.aligned == (x.itemsize == 1)
    return y


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = {
    "as it is": lambda x: x.copy(),
    "Fortran order": np.asfortranarray,
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda x: x[..., ::-1].copy()[..., ::-1],
    "transposed": lambda x: x.T.copy().T,
    "misaligned": misaligned,
    "read-only": read_only,
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "ours": cnp.asarray,
    "a subclass": lambda x: x.view(type("Mine", (np.ndarray,), {})),
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
    "unpickled": lambda x: np.frombuffer(x.tobytes(), np.dtype(x.dtype.str)).reshape(x.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, np.complex128, np.bool_])
def test_an_argument_of_any_layout_is_right_and_left_alone(layout, dtype):
    f = jit(lambda x, y: (x + y, cnp.where(x == y, x, y)))
    x = LAYOUTS[layout](np.arange(12).reshape(3, 4).astype(dtype))
    y = np.ones((3, 4), dtype)
    before = x.tobytes()
    for _ in range(3):
        for found, expected in zip(f(x, y), (x + y, np.where(x == y, x, y)), strict=True):
            np.testing.assert_array_equal(found, expected)
            assert type(found) is cotan.Array
            assert found.dtype == np.dtype(dtype)
    assert x.tobytes() == before


def test_integers_of_the_same_size_but_another_name():
    x = np.arange(5, dtype=np.longlong)
    for f in (jit(lambda x: x * 2), jit(lambda x: x * 2)):
        for y in (x, x.astype(np.int64), x):
            np.testing.assert_array_equal(f(y), [0, 2, 4, 6, 8])
        assert f.cache_info().misses == 1


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (1, 1, 1), (2, 3, 4)])
def test_shapes(shape):
    f = jit(lambda x: (x * 2.0, cnp.sum(x)))
    x = np.random.default_rng(0).normal(size=shape)
    for _ in range(2):
        y, total = f(x)
        np.testing.assert_array_equal(y, x * 2.0)
        np.testing.assert_allclose(total, np.sum(x), rtol=1e-14)
        assert y.shape == shape
        assert total.shape == ()


SCALARS = [
    2.0,
    3,
    True,
    2j,
    np.float64(2),
    np.float32(2),
    np.int64(3),
    np.int32(3),
    np.int8(3),
    np.bool_(True),
    np.complex128(2j),
    np.uint8(3),
]


@pytest.mark.parametrize("x", SCALARS, ids=lambda x: f"{type(x).__name__}")
def test_scalars(x):
    f = jit(lambda x, y: x + y)
    y = np.arange(3.0)
    for _ in range(2):
        np.testing.assert_array_equal(f(x, y), x + y)
        assert f(x, y).dtype == (x + y).dtype
    assert f.cache_info().misses == 1


def test_a_large_int_is_refused_as_numpy_refuses_it():
    f = jit(lambda n: n + 1)
    assert f(-5) == -4
    assert f(2**62) == 2**62 + 1
    with pytest.raises(OverflowError):
        f(2**70)


def test_results_share_no_memory():
    f = jit(lambda x, y: [x, x, cnp.transpose(x), x[1:], y, cnp.sin(x) * 1.0, cnp.cumsum(cnp.sin(x)), constant])
    constant = np.arange(4.0)
    x = np.random.default_rng(1).normal(size=(50, 50))
    for given in (x, cnp.asarray(x), x[::-1]):
        arrays = [*f(given, given), *f(given, given), given, constant]
        assert not any(np.shares_memory(a, b) for a, b in combinations(arrays, 2))
        assert all(a.flags.writeable for a in arrays)
    kept = f(x, x)
    copies = [y.copy() for y in kept]
    for _ in range(5):
        f(x + 1.0, x)
    for y, before in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(y, before)


def test_reference_counts_are_kept():
    f, g = jit(lambda x: x * 2.0), jit(lambda x: (x * 2.0, x + 1.0))
    x, dtype = np.ones(10), np.dtype(float)
    one, results = f(x), g(x)
    alike, tuple_alike = np.ones(10), (np.ones(10), np.ones(10))
    assert sys.getrefcount(one) == sys.getrefcount(alike)
    assert [sys.getrefcount(y) for y in results] == [sys.getrefcount(y) for y in tuple_alike]
    before = sys.getrefcount(dtype), sys.getrefcount(x), sys.getrefcount(cotan.Array)
    for _ in range(1000):
        f(x)
        g(x)
        f.recent[0].launch("no array")
    after = sys.getrefcount(dtype), sys.getrefcount(x), sys.getrefcount(cotan.Array)
    assert before == after


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
def test_no_memory_is_lost():
    x = np.ones(100_000)
    f = jit(lambda x: (x * 2.0, cnp.cumsum(cnp.sin(x)) + cnp.sum(x)))
    size = measured = 0
    for k in range(300):
        f(x)
        if k in (100, 299):
            with open("/proc/self/statm") as file:
                measured = int(file.read().split()[1]) * 4096
            size = size or measured
    assert measured - size < 20 << 20


def test_eight_threads_on_one_workspace():
    @jit
    def f(x):
        y = cnp.sin(x)
        return cnp.cumsum(y @ cnp.transpose(y)), cnp.sum(cnp.cumsum(y), axis=0)

    report = cotan.compile_report(f)(np.ones((40, 40)))
    assert report.workspace > 0
    xs = [np.random.default_rng(k).normal(size=(40 + k % 2, 40 + k % 2)) for k in range(8)]
    expected = [[np.array(y) for y in f(x)] for x in xs]
    np.testing.assert_allclose(expected[0][0], np.cumsum(np.sin(xs[0]) @ np.sin(xs[0]).T), rtol=1e-10)
    wrong = []

    def work(k):
        for _ in range(200):
            wrong.extend(k for a, b in zip(f(xs[k]), expected[k], strict=True) if not np.array_equal(a, b))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


# ---- trees --------------------------------------------------------------------------------------------------------------------
TREES = [
    (lambda a: ({"w": a[0], "b": (a[1], None)},), {}),
    (lambda a: ([a[0], [a[1]], ()],), {"k": 2.0}),
    (lambda a: (Pair(a[0], {3: a[1], 1: 4.0}),), {}),
    (lambda a: (OrderedDict(z=a[0], y=a[1]),), {}),
    (lambda a: (), {"x": Pair(np.ones(2), np.zeros(2)), "y": 1.0}),
    (lambda a: (tuple(a),), {}),
]


@pytest.mark.parametrize(("build", "kwargs"), TREES)
def test_trees_in_and_out(build, kwargs):
    staged = []

    @jit
    def f(*args, **kwargs):
        staged.append(1)
        return cotan.tree.map(lambda x: x * 2.0, (args, kwargs))

    for value in (1.0, 2.0, 3.0):
        args = build([np.full(3, value), np.full((2, 2), value)])
        found = f(*args, **kwargs)
        expected = cotan.tree.map(lambda x: x * 2.0, (args, kwargs))
        assert cotan.tree.structure(found) == cotan.tree.structure(expected)
        for a, b in zip(cotan.tree.leaves(found), cotan.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)
    assert len(staged) == 1
    assert f.cache_info()[:2] == (2, 1)


def test_another_tree_is_staged_anew():
    f = jit(lambda t: cotan.tree.map(lambda x: x + 1.0, t))
    x = np.ones(2)
    trees = [{"a": x}, {"b": x}, {"a": x, "b": x}, [x], (x,), [x, x], {"a": [x]}, {"a": None, "b": x}, x, {"a": np.ones(3)}, {"a": 1.0}]
    for _ in range(3):
        for t in trees:
            found = f(t)
            assert cotan.tree.structure(found) == cotan.tree.structure(t)
            for y, z in zip(cotan.tree.leaves(found), cotan.tree.leaves(t), strict=True):
                np.testing.assert_array_equal(y, z + 1.0)
    assert f.cache_info() == (2 * len(trees), len(trees), len(trees))


def test_a_dict_in_another_order_is_the_same_tree():
    f = jit(lambda t: t["a"] - t["b"])
    assert f({"a": 3.0, "b": 1.0}) == f({"b": 1.0, "a": 3.0}) == 2.0
    assert f.cache_info().misses == 1


def test_static_arguments_choose_the_code():
    f = jit(lambda x, n, name="add": x + n if name == "add" else x * n, static_argnums=1, static_argnames="name")
    for _ in range(3):
        assert [float(f(2.0, 3)), float(f(2.0, 4)), float(f(2.0, 3, name="multiply")), float(f(2.0, 3.0))] == [5.0, 6.0, 6.0, 5.0]
    assert f.cache_info() == (8, 4, 4)


def test_more_signatures_than_are_tried_at_once():
    f = jit(lambda x: x * 2.0)
    for _ in range(3):
        for n in range(20):
            np.testing.assert_array_equal(f(np.arange(float(n))), 2.0 * np.arange(n))
    assert f.cache_info() == (40, 20, 20)


def test_partial_and_methods():
    class Model:
        def __init__(self, w):
            self.w = w

        @jit
        def __call__(self, x):
            return self.w * x

    f = functools.partial(jit(lambda a, x: a * x), np.arange(3.0))
    one, two = Model(2.0), Model(3.0)
    for _ in range(3):
        np.testing.assert_array_equal(f(np.ones(3)), np.arange(3.0))
        assert (one(2.0), two(2.0)) == (4.0, 6.0)


def test_a_deep_copy_of_what_holds_a_jitted_function_calls_it():
    table = {"f": jit(lambda x: x * 2.0)}
    table["f"](1.0)
    assert copy.deepcopy(table)["f"](2.0) == 4.0


def test_arrays_closed_over_are_constants():
    a = np.arange(6.0).reshape(2, 3)[:, ::-1]
    f = jit(lambda x: x + a)
    expected = 1.0 + a
    for _ in range(2):
        np.testing.assert_array_equal(f(np.ones((2, 3))), expected)
        a[...] = 0.0


def test_a_tracer_that_escaped_is_refused_by_known_code():
    f = jit(lambda x: x * 2.0)
    f(1.0)
    kept = []
    cotan.grad(lambda x: kept.append(x) or x * 1.0)(1.0)
    with pytest.raises(EscapedTracerError):
        f(kept[0])


def test_under_a_transformation_known_code_is_not_run():
    f = jit(lambda x: cnp.sin(x))
    f(1.0)
    staged = cotan.stage(lambda x: f(1.0) + x)(2.0)
    assert any("call" in str(e.op) for e in staged.equations)
    np.testing.assert_allclose(cotan.grad(f)(1.0), np.cos(1.0), rtol=1e-15)


def test_objects_that_lie_otherwise_are_called_through_ctypes(monkeypatch):
    monkeypatch.setattr(caller, "layouts_are_known", lambda: False)
    f = jit(lambda x, n: (cnp.cumsum(cnp.sin(x)) + n, x * 2.0))
    x = np.random.default_rng(2).normal(size=30)
    for given in (x, x[::-1], cnp.asarray(x)):
        a, b = f(given, 2)
        np.testing.assert_allclose(a, np.cumsum(np.sin(given)) + 2, rtol=1e-13)
        np.testing.assert_array_equal(b, given * 2.0)
    assert f.recent[0].launch.__func__ is caller.Caller.by_ctypes


# ---- processes and signals ------------------------------------------------------------------------------------------------------
def run_python(text, *, seconds=60):
    return subprocess.run([sys.executable, "-W", "error", "-c", text], capture_output=True, text=True, timeout=seconds, check=False)


FORK = """
import os, numpy as np, cotan, cotan.numpy as cnp
f = cotan.jit(lambda x: cnp.cumsum(cnp.sin(x)) + 1.0, engine="native")
x = np.linspace(0, 1, 1000)
expected = np.array(f(x))
child = os.fork()
right = np.array_equal(f(x), expected)
g = cotan.jit(lambda x: cnp.cos(x), engine="native")
right = right and np.allclose(g(x), np.cos(x), rtol=1e-14)
if not child:
    os._exit(0 if right else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and right
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_calls_too():
    done = run_python(FORK)
    assert done.returncode == 0, done.stderr


ENDLESS = {
    "small while": "lax.while_loop(lambda c: c < 1e300, lambda c: c * 0.5 + 1.0, x)",
    "large while": "lax.while_loop(lambda c: cnp.sum(c) < 1e300, lambda c: cnp.sin(c), x * np.ones(30_000))",
    "long scan": "lax.scan(lambda c, _: (c * 0.5 + 1.0, None), x, None, length=10**12)[0]",
    "scan over a heavy branch": (
        "lax.scan(lambda c, _: (lax.cond(c > -1e9, lambda c: cnp.cumsum(cnp.broadcast_to(c * 1e-6, (1_000_000,)))[-1], lambda c: c, c), "
        "None), x, None, length=10_000)[0]"
    ),
    "nested": "lax.while_loop(lambda c: c < 1e300, lambda c: lax.scan(lambda d, _: (d * 0.5, None), c, None, length=1000)[0], x)",
    "sweep": "cotan.grad(lambda y: lax.scan(lambda c, _: (cnp.sin(c), None), y, None, length=10**12, checkpoint=True)[0])(x)",
}
INTERRUPT = """
import os, signal, threading, time, numpy as np, cotan, cotan.numpy as cnp
from cotan import lax
f = cotan.jit(lambda x: LOOP, engine="native")
cotan.jit(lambda x: x, engine="native")(1.0)
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
start = time.monotonic()
try:
    f(1.0)
except KeyboardInterrupt:
    assert 0.3 < time.monotonic() - start < 2.0, time.monotonic() - start
    assert cotan.jit(lambda x: x + 1.0, engine="native")(1.0) == 2.0
    print("interrupted")
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("loop", ENDLESS)
def test_an_endless_loop_is_interrupted(loop):
    done = run_python(INTERRUPT.replace("LOOP", ENDLESS[loop]))
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_a_signal_whose_handler_returns_does_not_end_a_loop():
    seen = []
    f = jit(lambda n: lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1.0, c[1] * 0.5 + 1.0), (0.0, 0.0)))
    f(1.0)
    old = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        count, _ = f(2e8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert count == 2e8
    assert seen == [1]


def test_a_long_loop_runs_on_other_threads_too():
    f = jit(lambda n: lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1.0, c[1] * 0.5 + 1.0), (0.0, 0.0)))
    found = []
    threads = [threading.Thread(target=lambda: found.append(f(1e7))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [tuple(map(float, pair)) for pair in found] == [(1e7, 2.0)] * 4
