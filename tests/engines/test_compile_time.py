"""The growth of compile time with program size, and the two tiers of code."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.core.collecting import no_collection
from cotan.engines.native.cache import tiers
from cotan.engines.native.options import codegen_options


def steps(count: int) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        for k in range(count):
            x = cnp.sin(x) * x + (0.3 + 1e-3 * k)
        return cnp.sum(x)

    return f


def updates(count: int) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        for i in range(count):
            x = x.at[i].set(cnp.sin(x[i - 1]) + x[i])
        return cnp.sum(x**2)

    return f


QUICK = {"quick_lines": 100}
SOON = {"nanoseconds_per_line": 1_000, "nanoseconds_per_loop_line": 1_000, "quick_calls": 4, "quick_loop_calls": 4}


@pytest.fixture
def soon_optimized() -> Iterator[None]:
    """Lower thresholds: programs of a hundred lines are first compiled quickly, and optimized after calls of some milliseconds."""
    with codegen_options(**QUICK, **SOON):
        yield


@pytest.fixture
def compiled_now(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The cache is off; the code that is compiled is told."""
    monkeypatch.setenv("COTAN_CACHE", "0")
    found: list[tuple[str, int]] = []
    whole = tiers.machine()
    compile_ = whole.link

    def told(text: str, names: list[str], level: int = 3, **options: Any) -> dict[str, int]:
        found.append((text, level))
        return compile_(text, names, level, **options)

    monkeypatch.setattr(whole, "link", told)
    return found


@pytest.mark.parametrize("length", [90, 300], ids=["one loop", "several loops"])
@pytest.mark.parametrize("program", [steps, updates])
def test_work_of_writing_is_linear_in_the_length_of_a_program(program: Callable[[int], Any], length: int):
    def counts(n: int) -> tuple[int, int]:
        """The lines of text, and the calls of Python functions while they are written."""
        f = cotan.grad(program(n))
        x = np.linspace(0.1, 0.9, n if program is updates else 10)
        staged = cotan.stage(f)(x)
        calls = 0

        def count(frame: Any, event: str, argument: Any) -> None:
            nonlocal calls
            calls += event == "call"

        engine = sys.modules["cotan.engines.native.engine"]
        engine.LoweredProgram(staged)  # what is known of each op is found out once
        before = sys.getprofile()
        sys.setprofile(count)
        try:
            text = engine.LoweredProgram(staged).code.ir
        finally:
            sys.setprofile(before)
        return text.count("\n"), calls

    cotan.jit(lambda x: x)(1.0)
    (lines, calls), (more_lines, more_calls) = counts(length), counts(2 * length)
    assert more_lines < 2.1 * lines
    assert more_calls < 2.1 * calls


@pytest.mark.usefixtures("soon_optimized")
def test_long_programs_are_compiled_quickly_and_later_well(compiled_now: list[tuple[str, int]]):
    f, x = cotan.grad(steps(30)), np.linspace(0.1, 0.9, 13)
    expected = np.asarray(f(x))
    g = cotan.jit(f, engine="native")
    first = np.array(g(x))
    assert [level for text, level in compiled_now if "@cell" in text] == [0]
    assert not any(level == 3 for _, level in compiled_now)
    for _ in range(20_000):
        if any(level == 3 for _, level in compiled_now):
            break
        g(x)
    count = len(compiled_now)
    later = np.array(g(x))
    assert [level for _, level in compiled_now].count(3) == 1
    for _ in range(2_000):
        g(x)
    assert len(compiled_now) == count
    np.testing.assert_allclose(first, expected, rtol=1e-9)
    np.testing.assert_allclose(later, expected, rtol=1e-9)


@pytest.mark.usefixtures("soon_optimized")
def test_threads_that_call_quick_code_get_its_results_while_it_becomes_better(compiled_now: Any):
    f, x = cotan.grad(steps(40)), np.linspace(0.1, 0.9, 13)
    expected = np.asarray(f(x))
    g = cotan.jit(f, engine="native")
    g(x)
    wrong: list[Any] = []

    def many() -> None:
        wrong.extend(y for y in (np.array(g(x)) for _ in range(2_000)) if not np.allclose(y, expected, rtol=1e-9))

    workers = [threading.Thread(target=many) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
    assert [level for text, level in compiled_now if "@main(" in text] == [0, 3]


@pytest.mark.usefixtures("soon_optimized")
def test_an_interrupt_while_code_becomes_better_reaches_the_caller(monkeypatch: pytest.MonkeyPatch, compiled_now: Any):
    x = np.linspace(0.1, 0.9, 13)
    g = cotan.jit(cotan.grad(steps(33)), engine="native")
    expected = np.array(g(x))

    def interrupted(text: str, names: list[str], level: int) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(tiers.machine(), "link", interrupted)

    def calls() -> None:
        for _ in range(10_000):
            g(x)

    with pytest.raises(KeyboardInterrupt):
        calls()
    np.testing.assert_array_equal(g(x), expected)


def test_heavy_programs_are_compiled_well_at_once(compiled_now: list[tuple[str, int]]):
    x = np.linspace(0.1, 0.9, 200_000)
    f = cotan.grad(steps(12))
    with codegen_options(**QUICK):
        np.testing.assert_allclose(cotan.jit(f, engine="native")(x), f(x), rtol=1e-9)
    whole = [(text, level) for text, level in compiled_now if "@main(" in text]
    assert [level for _, level in whole] == [3]
    assert whole[0][0].count("\n") >= QUICK["quick_lines"]


def test_the_collector_waits_for_all_pauses_to_end():
    assert gc.isenabled()
    with no_collection():
        assert not gc.isenabled()
        with no_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with no_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ValueError, match="stop"):
        cotan.stage(lambda x: (_ for _ in ()).throw(ValueError("stop")))(1.0)
    assert gc.isenabled()


def test_blas_is_loaded_without_the_package_around_it_which_can_be_imported_later():
    program = """
import sys
import numpy as np
import cotan
from cotan.engines.native.libraries import blas, registry
x = np.arange(4096.0).reshape(64, 64)
if blas.of_numpy() is not None:
    cotan.jit(lambda x: x @ x, engine="native")(x)
    assert "scipy" not in sys.modules
    blas.of_numpy = lambda: None
    registry.routine.cache_clear()
y = cotan.jit(lambda x: x @ x + 1.0, engine="native")(x)
assert np.allclose(y, x @ x + 1.0)
assert "scipy" in sys.modules and "scipy.linalg" not in sys.modules
import scipy.linalg
import scipy.linalg.cython_blas
assert scipy.linalg.cython_blas is blas.scipy_module("cython_blas")
assert scipy.linalg.cython_blas.__spec__.name == "scipy.linalg.cython_blas"
assert np.allclose(scipy.linalg.solve(2 * np.eye(3), np.ones(3)), 0.5)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
