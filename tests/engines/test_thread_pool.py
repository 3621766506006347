"""Compiled code in threads and processes: pools, forks, failures of allocation, exceptions out of compiled loops."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.engines.native.llvm.jit import machine
from cotan.engines.native.runtime.thread_pool import limited, start

MANY = np.linspace(0.0, 3.0, 300_000)
"""Enough for several threads."""


def total(x):
    return cnp.sum(cnp.sin(x) * cnp.exp(-x))


loss = cotan.jit(total, engine="native")
gradient = cotan.jit(cotan.grad(total), engine="native")


def in_child(scale):
    return float(loss(MANY * scale))


def run(program, **environment):
    """The output of a program in a process of its own."""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


# ---- threads ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_result_depends_on_the_number_of_threads_alone(threads):
    with limited(threads):
        first, *others = [np.asarray(loss(MANY)).tobytes() for _ in range(20)]
        gradients = {np.asarray(gradient(MANY)).tobytes() for _ in range(5)}
    assert set(others) == {first}
    assert len(gradients) == 1
    np.testing.assert_allclose(np.frombuffer(first)[0], np.sum(np.sin(MANY) * np.exp(-MANY)), rtol=1e-13)


@pytest.mark.parametrize("many", [MANY, MANY[:100_000], np.tile(MANY, 4)], ids=["large", "small", "larger"])
def test_a_result_is_the_same_whether_workers_sleep_or_are_awake(many):
    """A small job that finds all asleep is run by its caller alone, in the chunks in which workers would have it."""
    with limited(2):
        awake = {np.asarray(loss(many)).tobytes() for _ in range(30)}
        asleep = set()
        for _ in range(10):
            time.sleep(0.003)
            asleep |= {np.asarray(loss(many)).tobytes() for _ in range(2)}
    assert awake == asleep
    assert len(awake) == 1


@pytest.mark.skipif(os.name != "posix", reason="there is no pool here")
def test_after_a_wait_for_a_worker_small_jobs_stay_with_their_callers_for_a_while():
    few = MANY[:100_000]
    small = cotan.jit(lambda x: cnp.sum(x * x + x), engine="native")
    assert re.search(r"@in_chunks\(.*i1 true", cotan.compile_report(small)(few).llvm)
    until = ctypes.c_int64.from_address(start(machine()).address + 768)
    with limited(2):
        expected = np.asarray(small(few)).tobytes()
        until.value = then = time.monotonic_ns() + 10**12
        assert np.asarray(small(few)).tobytes() == expected
        assert until.value == then
        until.value = 1  # long past
        assert np.asarray(small(few)).tobytes() == expected
    assert until.value == 0


def test_divided_loops_of_values_of_equal_types_share_what_runs_their_chunks():
    def layers(x):
        for _ in range(4):
            x = cnp.tanh(x @ x) + cnp.sin(x) * cnp.exp(-x)
        return x

    x = np.random.default_rng(0).normal(size=(256, 256)) / 16
    found = cotan.compile_report(layers)(x).llvm
    shared = set(re.findall(r"^define internal void @(chunk_\w+)\(", found, re.MULTILINE))
    assert found.count("call i64 @in_chunks(") > 2 * len(shared)
    for threads in (1, 2, 3):
        with limited(threads):
            np.testing.assert_allclose(cotan.jit(layers, engine="native")(x), layers(x), rtol=1e-10, atol=1e-12)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="no list of threads here")
def test_one_thread_makes_no_worker():
    program = """
        import os, numpy as np, cotan, cotan.numpy as cnp
        f = cotan.jit(lambda x: cnp.sum(cnp.sin(x)), engine="native")
        before = len(os.listdir("/proc/self/task"))
        f(np.ones(500_000))
        print(len(os.listdir("/proc/self/task")) - before)
    """
    assert run(program, COTAN_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1") == ["0"]
    assert run(program, COTAN_NUM_THREADS="3", OPENBLAS_NUM_THREADS="1") == ["2"]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="there is no other processor")
def test_workers_are_woken_on_other_processors_than_their_callers():
    program = """
        import os, time, numpy as np, cotan, cotan.numpy as cnp
        f = cotan.jit(lambda x: cnp.sum(cnp.sin(x)), engine="native")
        x, before = np.ones(3_000_000), set(os.listdir("/proc/self/task"))
        f(x)
        (worker,) = set(os.listdir("/proc/self/task")) - before
        allowed = os.sched_getaffinity(0)
        for here in sorted(allowed)[:2]:
            os.sched_setaffinity(0, {here})
            time.sleep(0.01)
            f(x)
            print(os.sched_getaffinity(int(worker)) == allowed - {here})
    """
    assert run(program, COTAN_NUM_THREADS="2", OPENBLAS_NUM_THREADS="1") == ["True", "True"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="no list of threads here")
def test_there_are_no_more_threads_than_chunks():
    program = """
        import os, numpy as np, cotan, cotan.numpy as cnp
        f = cotan.jit(lambda x: cnp.sum(cnp.sin(x)), engine="native")
        x, before = np.ones(3_000_000), len(os.listdir("/proc/self/task"))
        print(abs(f(x) / (np.sin(1.0) * x.size) - 1.0) < 1e-13, len(os.listdir("/proc/self/task")) - before)
    """
    assert run(program, COTAN_NUM_THREADS="500", OPENBLAS_NUM_THREADS="1") == ["True", "63"]


def test_many_python_threads_may_call_one_function_at_once():
    inputs = [MANY * s for s in np.linspace(0.5, 2.0, 8)]
    with limited(2):
        expected = [np.asarray(gradient(x)).tobytes() for x in inputs]
        with ThreadPoolExecutor(8) as pool:
            for _ in range(3):
                assert [np.asarray(y).tobytes() for y in pool.map(gradient, inputs)] == expected


def test_threads_may_compile_at_once():
    functions = [cotan.jit(lambda x, k=k: cnp.cumsum(cnp.sin(x) * k)[-1] + cnp.sum(x**2), engine="native") for k in range(4)]
    x = np.linspace(0.0, 1.0, 50)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda f: float(f(x)), functions))
    np.testing.assert_allclose(found, [k * np.sum(np.sin(x)) + np.sum(x**2) for k in range(4)], rtol=1e-12)


# ---- processes ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*fork.. was called:RuntimeWarning")  # by JAX, if another test has imported it
def test_worker_processes_compute_the_same(method):
    with limited(2):
        loss(MANY)  # the pool is at work
        expected = [in_child(s) for s in (1.0, 0.5, 0.25)]
        with multiprocessing.get_context(method).Pool(2) as pool:
            found = pool.map(in_child, (1.0, 0.5, 0.25))
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_of_a_process_whose_threads_compute_has_a_pool_of_its_own():
    program = """
        import os, threading, warnings, numpy as np, cotan, cotan.numpy as cnp
        warnings.simplefilter("ignore")
        x = np.linspace(0.0, 1.0, 300_000)
        f = cotan.jit(lambda x: cnp.sum(cnp.sin(x)), engine="native")
        expected, on = float(f(x)), True
        def work():
            while on:
                f(x)
        thread = threading.Thread(target=work)
        thread.start()
        statuses = []
        for _ in range(10):
            child = os.fork()
            if child == 0:
                os._exit(0 if all(float(f(x)) == expected for _ in range(5)) else 1)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        on = False
        thread.join()
        print(*statuses)
    """
    assert run(program, COTAN_NUM_THREADS="2") == ["0"] * 10


def test_joblib_calls_compiled_code():
    joblib = pytest.importorskip("joblib")
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(in_child)(s) for s in (1.0, 0.5))
    np.testing.assert_allclose(found, [in_child(1.0), in_child(0.5)], rtol=1e-13)


# ---- failures -------------------------------------------------------------------------------------------------------------------
def test_a_loop_that_keeps_more_than_there_is_memory_for_raises_memory_error():
    pytest.importorskip("resource")
    program = """
        import resource, numpy as np, cotan, cotan.numpy as cnp
        from cotan import lax

        def f(x, n):
            return cnp.sum(lax.fori_loop(0, n, lambda i, y: y * y, x))

        g = cotan.jit(cotan.grad(f), engine="native")
        x = np.linspace(0.1, 0.9, 1000)
        before = g(x, 3)
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
        for _ in range(2):
            try:
                g(x, 500_000)
            except MemoryError as error:
                print("memory" in str(error))
        print(np.array_equal(g(x, 3), before))
    """
    assert run(program, COTAN_NUM_THREADS="1") == ["True", "True", "True"]


class RefusalError(Exception):
    """The exception that a callback raises here."""


def test_what_a_callback_raises_in_a_compiled_loop_arrives_unharmed():
    refusal = RefusalError("at five")

    def careful(k):
        if k == 5:
            raise refusal
        return np.asarray(k, float)

    @cotan.jit
    def f(x, n):
        def step(k, y):
            return y + cotan.pure_callback(careful, cotan.ShapeDtypeStruct((), np.float64), k) * cnp.sum(lax.map(cnp.sin, x))

        return lax.fori_loop(0, n, step, 0.0)

    x = np.linspace(0.0, 1.0, 100)
    for _ in range(3):
        with pytest.raises(RefusalError) as caught:
            f(x, 10)
        assert caught.value is refusal
        np.testing.assert_allclose(f(x, 5), 10 * np.sum(np.sin(x)), rtol=1e-12)


def test_each_thread_gets_the_exception_of_its_own_call():
    def careful(k):
        if k >= 0:
            raise RefusalError(int(k))
        return np.asarray(k, float)

    f = cotan.jit(
        lambda k: lax.fori_loop(0, 3, lambda i, y: y + cotan.pure_callback(careful, cotan.ShapeDtypeStruct((), np.float64), k), 0.0)
    )
    found, gate = {}, threading.Barrier(4)

    def call(k):
        gate.wait()
        for _ in range(20):
            try:
                found.setdefault(k, set()).add(float(f(k)))
            except RefusalError as error:
                found.setdefault(k, set()).add(error.args[0])

    threads = [threading.Thread(target=call, args=(k,)) for k in (-2, -1, 1, 2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {-2: {-6.0}, -1: {-3.0}, 1: {1}, 2: {2}}


def test_a_failure_is_that_of_the_code_that_ran():
    """While a call of one size runs, the function is called with another, whose code is then tried first."""

    sizes = [3, 4, 5]

    def fail(x):
        if x.size == 3:
            f(np.zeros(sizes.pop()))
            raise RefusalError(3)
        return x

    f = cotan.jit(lambda x: cotan.pure_callback(fail, cotan.ShapeDtypeStruct(x.shape, x.dtype), x))
    with pytest.raises(RefusalError):
        f(np.zeros(3))
    f.try_first(f.recent[::-1])  # the code for three numbers
    with pytest.raises(RefusalError):
        f(np.zeros(3))


@pytest.mark.parametrize("count", [0, -1, 2.0, True, "2"])
def test_what_is_no_number_of_threads_is_refused(count):
    with pytest.raises(cotan.errors.ArgumentError, match="is no number of threads"):
        cotan.jit(lambda x: x, threads=count)
    before = cotan.num_threads()
    with pytest.raises(cotan.errors.ArgumentError, match="is no number of threads"), cotan.threads(count):
        pass
    assert cotan.num_threads() == before
