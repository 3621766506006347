"""Large results own memory that is reused: equal bits, a bounded number of bytes, at any time and in any thread."""

import copy
import ctypes
import gc
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import cotan
from cotan.engines.native.llvm.jit import machine
from cotan.engines.native.runtime import allocator
from cotan.engines.native.runtime.allocator import LEAST, MOST_BLOCKS, State, caching_allocator, kept, most_bytes
from cotan.engines.native.runtime.capi import Slot, new_capsule, numpy_function

N = 2 * LEAST // 8


@pytest.fixture(autouse=True)
def emptied():
    cotan.release_memory()
    yield
    cotan.release_memory()


def double(n=N, start=0.0):
    return cotan.jit(lambda x: x * 2.0)(np.arange(n) + start)


def name_of_handler(x):
    return np._core.multiarray.get_handler_name(x)


def test_results_own_their_memory_and_are_right():
    y = double()
    np.testing.assert_array_equal(y, 2.0 * np.arange(N))
    assert type(y) is cotan.Array
    assert y.flags.owndata
    assert y.flags.writeable
    assert y.ctypes.data % 64 == 0
    assert name_of_handler(y) == "cotan"
    assert name_of_handler(np.empty(N)) == "default_allocator"  # nobody else's arrays are
    assert name_of_handler(double(8)) == "default_allocator"


def test_the_memory_of_a_dead_result_is_that_of_the_next():
    f = cotan.jit(lambda x: x * 2.0)
    x = np.arange(float(N))
    y = f(x)
    place = y.ctypes.data
    other = f(x)
    assert other.ctypes.data != place
    del y
    assert kept() >= N * 8
    y = f(x)
    assert y.ctypes.data == place
    assert kept() == 0
    np.testing.assert_array_equal(y, 2.0 * x)
    np.testing.assert_array_equal(other, 2.0 * x)
    slightly_smaller = double(N - 100)
    del y
    again = double(N - 100)
    assert again.ctypes.data == place
    assert slightly_smaller.ctypes.data != place
    del again
    assert double(N // 2).ctypes.data != place  # it would waste half of it


def test_what_is_kept_is_bounded():
    most = caching_allocator(machine()).state[State.MOST]
    assert most == most_bytes()
    f = cotan.jit(lambda x: x + 1.0, dynamic_sizes=True)
    for k in range(3 * MOST_BLOCKS):
        n = LEAST // 8 + 20_000 * k  # half a megabyte to some 30 MB, no two alike
        y = f(np.zeros(n))
        assert y[0] == y[-1] == 1.0
        del y
        assert kept() <= most
        assert caching_allocator(machine()).state[State.COUNT] <= MOST_BLOCKS
    assert kept() > most // 4
    freed = kept()
    assert cotan.release_memory() == freed
    assert kept() == caching_allocator(machine()).state[State.COUNT] == 0
    assert cotan.release_memory() == 0


def test_many_dead_at_once_leave_the_newest():
    f = cotan.jit(lambda x: x + 1.0)
    x = np.zeros(LEAST // 8)
    many = [f(x) for _ in range(MOST_BLOCKS + 20)]
    places = [y.ctypes.data for y in many]
    while many:
        del many[0]
    assert caching_allocator(machine()).state[State.COUNT] == MOST_BLOCKS
    begin = int(State.BLOCKS)
    assert [caching_allocator(machine()).state[begin + 2 * k] for k in range(MOST_BLOCKS)] == places[20:]


def test_a_block_that_is_larger_than_what_may_be_kept_is_freed():
    state = caching_allocator(machine()).state
    most = state[State.MOST]
    state[State.MOST] = LEAST
    try:
        y = double()
        del y
        assert kept() == 0
    finally:
        state[State.MOST] = most


def test_results_are_resized_copied_and_pickled_as_any_array():
    expected = 2.0 * np.arange(N)
    y = double()
    y.resize(3 * N, refcheck=False)
    np.testing.assert_array_equal(y[:N], expected)
    assert not y[N:].any()
    y.resize(10, refcheck=False)
    np.testing.assert_array_equal(y, expected[:10])
    y.resize(N, refcheck=False)
    np.testing.assert_array_equal(y[:10], expected[:10])
    y = double()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(y)), expected)
    np.testing.assert_array_equal(copy.deepcopy(y), expected)
    view = y[1:]
    del y
    gc.collect()
    double()
    np.testing.assert_array_equal(view, expected[1:])  # its owner lives


def test_the_functions_of_the_handler_do_what_numpy_asks_of_them():
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    table = caching_allocator(machine()).handler.allocator
    take = ctypes.PYFUNCTYPE(pointer, pointer, size)(table.malloc)
    zeros = ctypes.PYFUNCTYPE(pointer, pointer, size, size)(table.calloc)
    again = ctypes.PYFUNCTYPE(pointer, pointer, pointer, size)(table.realloc)
    give = ctypes.PYFUNCTYPE(None, pointer, pointer, size)(table.free)
    a = take(None, LEAST)
    ctypes.memset(a, 7, LEAST)
    give(None, a, LEAST)
    b = zeros(None, LEAST // 8, 8)
    assert b == a
    assert ctypes.string_at(b, LEAST) == bytes(LEAST)
    ctypes.memset(b, 5, LEAST)
    c = again(None, b, 4 * LEAST)
    assert ctypes.string_at(c, LEAST) == b"\5" * LEAST
    c = again(None, c, 100)
    assert ctypes.string_at(c, 100) == b"\5" * 100
    give(None, c, 100)
    give(None, None, 0)
    assert take(None, 1 << 63) is None
    assert zeros(None, 1 << 40, 1 << 40) is None
    assert ctypes.string_at(again(None, None, 10), 0) == b""


def test_whoever_finds_the_list_taken_does_not_wait():
    y = double()
    caching_allocator(machine()).state[State.LOCK] = 1
    try:
        z = double(start=1.0)
        np.testing.assert_array_equal(z, 2.0 * (np.arange(N) + 1.0))
        del y
        assert kept() == 0
        assert cotan.release_memory() == 0
    finally:
        caching_allocator(machine()).state[State.LOCK] = 0
    del z
    assert kept() >= 8 * N


def test_results_of_several_threads():
    f = cotan.jit(lambda x: x * 2.0 + x[0])
    wrong = []

    def run(k):
        x = np.arange(N) + float(k)
        expected = x * 2.0 + x[0]
        for _ in range(30):
            y = f(x)
            if not np.array_equal(y, expected):
                wrong.append(k)

    workers = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert wrong == []


def test_a_handler_of_the_user_is_respected():
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(numpy_function(Slot.SET_HANDLER))
    mine = allocator.Handler.from_buffer_copy(caching_allocator(machine()).handler)
    mine.name = b"mine"
    capsule = new_capsule(ctypes.addressof(mine), caching_allocator(machine()).name)
    f = cotan.jit(lambda x: x * 2.0)
    x = np.zeros(N)
    f(x)
    before = set_handler(capsule)
    try:
        y, other = f(x), np.empty(3)
        assert name_of_handler(y) == name_of_handler(other) == "mine"
        del y, other
    finally:
        set_handler(before)
    assert name_of_handler(np.empty(3)) == "default_allocator"


def run(code, **environment):
    """A process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120
    )


AT_THE_END = """
import sys, numpy as np, cotan
f = cotan.jit(lambda x: (x * 2.0, x + 1.0))
kept = [f(np.ones({n})) for _ in range(3)]
class Cycle: pass
c = Cycle(); c.me = c; c.y = f(np.ones({n}))
sys.modules["zzz"] = f(np.ones({n}))
np.kept = f(np.ones({n}))
cotan.kept = f
import builtins; builtins.kept = f(np.ones({n}))
print(kept[0][0].sum())
"""


def test_results_may_die_when_python_ends():
    done = run(AT_THE_END.format(n=N))
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(2.0 * N), "")


def test_nothing_is_kept_if_the_environment_says_so():
    code = (
        f"import numpy as np, cotan; y = cotan.jit(lambda x: x + 1.0)(np.zeros({N})); print(np._core.multiarray.get_handler_name(y)); "
        "del y; print(cotan.release_memory())"
    )
    assert run(code, COTAN_KEEP_BYTES="0").stdout.split() == ["default_allocator", "0"]
    assert run(code, COTAN_KEEP_BYTES="100000000").stdout.split() == ["cotan", str(8 * N)]
    assert run(code, COTAN_KEEP_BYTES="1000").stdout.split() == ["cotan", "0"]


IN_A_CHILD = """
import os, numpy as np, cotan
from cotan.engines.native.runtime import allocator
n = {n}
f = cotan.jit(lambda x: x * 2.0)
y = f(np.arange(float(n)))
child = os.fork()
if not child:
    ok = np.array_equal(f(np.arange(float(n)) + 3.0), 2.0 * (np.arange(n) + 3.0)) and np.array_equal(y, 2.0 * np.arange(n))
    del y
    os._exit(0 if ok and allocator.kept() >= 8 * n else 1)
assert os.waitpid(child, 0)[1] == 0
assert np.array_equal(y, 2.0 * np.arange(n))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_process_goes_on():
    """In a process of its own, into which no other test has brought threads."""
    done = run(IN_A_CHILD.format(n=N))
    assert done.returncode == 0, done.stderr
