"""Stacks between calls: the halves of a linearized loop are compiled separately, and pass on the values that the loop has stored."""

import copy
import gc
import itertools
import pickle
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.core.stack import Stack
from cotan.core.types import StackType
from cotan.engines import numpy as numpy_engine
from cotan.engines.native import engine
from cotan.engines.native.call import caller
from cotan.engines.native.call.caller import Caller
from cotan.engines.native.engine import compile_program, compiled
from cotan.engines.native.runtime import stack_handles

X = np.linspace(0.2, 1.1, 5)


def newton(x):
    """Turns of unknown number, on a vector."""
    return lax.while_loop(lambda c: c[0] < cnp.sum(c[1]), lambda c: (c[0] + 1, cnp.sin(c[1]) * x + 0.3), (0, x))[1]


def turns(n):
    """A given number of turns, which tracing does not know."""
    return lambda x: lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * cnp.cos(c[1]) + x), (0, x))[1]


def nested(x):
    """A loop of unknown length in another: the stack has stacks as entries."""

    def outer(c):
        i, y = c
        return i + 1, lax.while_loop(lambda d: d[0] < i + 2, lambda d: (d[0] + 1, cnp.sin(d[1]) + x), (0, y))[1]

    return lax.while_loop(lambda c: c[0] < 3, outer, (0, x))[1]


def complex_turns(x):
    return cnp.real(lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * c[1] + x), (0, x + 0.1j))[1])


def branches(x):
    """What is kept depends on the turn."""
    body = lambda c: (c[0] + 1, lax.cond(c[0] % 2 == 0, cnp.sin, lambda y: y * y, c[1]) + x)  # noqa: E731
    return lax.while_loop(lambda c: c[0] < 5, body, (0, x))[1]


FUNCTIONS = {"newton": newton, "nested": nested, "complex": complex_turns, "branches": branches, "none": turns(0), "many": turns(300)}
SIZES = [(), (1,), (5,), (0,), (40, 3)]


def halves(f, x, engine=None):
    """The gradient of a function that is compiled, taken outside of what is compiled."""
    inner = cotan.jit(f) if engine is None else cotan.jit(f, engine=engine)
    return cotan.grad(lambda v: cnp.sum(inner(v) * cnp.cos(v)))(x)


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_halves_called_apart_give_the_gradient_of_the_whole(name, shape):
    f, x = FUNCTIONS[name], np.random.default_rng(1).uniform(0.1, 0.6, shape)
    whole = cotan.jit(cotan.grad(lambda v: cnp.sum(f(v) * cnp.cos(v))))(x)
    np.testing.assert_allclose(halves(f, x), whole, rtol=1e-12)
    np.testing.assert_allclose(halves(f, x), halves(f, x, "numpy"), rtol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives_called_apart_are_those_of_the_whole(name):
    f, x = FUNCTIONS[name], X[:3]
    scalar = lambda v: cnp.sum(f(v) * cnp.cos(v))  # noqa: E731
    expected = cotan.jit(cotan.hessian(scalar))(x)
    ways = (cotan.jacfwd, cotan.jacrev)
    for outer, inner in itertools.product(ways, ways):
        np.testing.assert_allclose(outer(inner(cotan.jit(scalar)))(x), expected, rtol=1e-10, atol=1e-10)


@pytest.fixture
def watched(monkeypatch):
    """The Programs that are compiled meanwhile, and how they run."""
    runs: list = []
    original = engine.compile_with_report

    def spy(program, *rest, **options):
        run, report = original(program, *rest, **options)
        runs.append((program, run, report))
        return run, report

    monkeypatch.setattr(engine, "compile_with_report", spy)
    return runs


def with_stacks(runs):
    return [(p, run, report) for p, run, report in runs if any(isinstance(t, StackType) for t in (*p.input_types, *p.output_types))]


def test_both_halves_are_machine_code(watched):
    halves(nested, X)
    found = with_stacks(watched)
    assert len(found) >= 2
    assert all(type(run) is Caller and not report.outside for _, run, report in found)


def test_an_engine_reads_the_stacks_of_the_other(watched):
    halves(branches, X)
    first, second = (p for p, _, _ in with_stacks(watched)[:2])
    ways = [compiled, lambda p: numpy_engine.compile_program(p)]
    gradients = []
    for forward in ways:
        for backward in ways:
            outs = list(forward(first)([X]))
            residuals = outs[len(outs) - (len(second.inputs) - 1) :]
            gradients.append(backward(second)([*residuals, np.ones(5)])[0])
    for g in gradients[1:]:
        np.testing.assert_allclose(g, gradients[0], rtol=1e-13)


def test_stacks_are_read_more_than_once_copied_and_pickled(watched):
    _, pull = cotan.vjp(cotan.jit(nested), X)
    (once,), (twice,) = pull(np.ones(5)), pull(np.ones(5))
    assert np.array_equal(once, twice)
    first, second = (p for p, _, _ in with_stacks(watched)[:2])
    outs = compiled(first)([X])
    residuals = outs[len(outs) - (len(second.inputs) - 1) :]
    assert any(type(x) is stack_handles.OwnedStack for x in residuals)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(residuals)))
    assert not any(type(x) is stack_handles.OwnedStack for x in copied)
    entries = [x.entries for x in residuals if isinstance(x, Stack)]
    del outs, residuals
    gc.collect()
    np.testing.assert_array_equal(compiled(second)([*copied, np.ones(5)])[0], once)
    assert all(len(e) == 3 for e in entries)  # arrays keep the memory that they lie in
    values = [np.asarray(x) for row in entries for e in row for x in (e.entries if isinstance(e, Stack) else [e])]
    assert all(np.isfinite(v).all() for v in values)


def resident():
    """The bytes of memory that the process has at this moment."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux says how much memory a process has at the moment")
def test_what_is_kept_is_freed():
    """A hundred gradients that keep 8 MB each do not take 800 MB."""
    f = cotan.jit(turns(20))
    x = np.linspace(0.1, 0.2, 50_000)
    gradient = cotan.grad(lambda v: cnp.sum(f(v)))
    gradient(x)
    before = resident()
    for _ in range(100):
        gradient(x)
    assert resident() - before < 150_000_000


def test_blocks_are_freed_once_for_all_stacks_of_a_call(monkeypatch):
    freed: list[int] = []
    monkeypatch.setattr(caller, "free_blocks", lambda jit: freed.append)
    halves(nested, X)
    gc.collect()
    blocks = [at for at in freed if at]
    assert len(blocks) >= 1
    assert len(set(blocks)) == len(blocks)


def test_many_threads_take_gradients_at_once():
    f = cotan.jit(newton)
    gradient = cotan.grad(lambda v: cnp.sum(f(v)))
    expected = gradient(X)
    with ThreadPoolExecutor(4) as pool:
        for g in pool.map(lambda _: gradient(X), range(64)):
            assert np.array_equal(g, expected)


def test_an_error_in_a_half_is_raised_and_frees():
    def refuse(y):
        if y.sum() > 2.0:
            raise ValueError("too large")
        return y

    def f(x):
        body = lambda c: (c[0] + 1, c[1] * x + cotan.pure_callback(refuse, c[1], cotan.stop_gradient(c[1])))  # noqa: E731
        return lax.while_loop(lambda c: c[0] < 9, body, (0, x))[1]

    gradient = cotan.grad(lambda v: cnp.sum(cotan.jit(f)(v)))
    with pytest.raises(ValueError, match="too large"):
        gradient(X)


def test_calls_by_ctypes_take_and_give_stacks(monkeypatch):
    expected = halves(nested, X)
    monkeypatch.setattr(caller, "layouts_are_known", lambda: False)
    monkeypatch.setattr(engine, "compiled", compile_program)
    ran = []
    by_ctypes = Caller.by_ctypes
    monkeypatch.setattr(Caller, "by_ctypes", lambda self, *values: ran.append(self.program) or by_ctypes(self, *values))
    np.testing.assert_array_equal(halves(nested, X), expected)
    assert any(isinstance(t, StackType) for program in ran for t in program.output_types)
    assert any(isinstance(t, StackType) for program in ran for t in program.input_types)
