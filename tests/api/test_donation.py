"""Donated arguments: equal results, in the memory of the arguments where this is promised, and no other memory changes."""

import threading
import warnings

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.engines.native.call.caller import Caller
from cotan.engines.native.options import CodegenOptions
from cotan.errors import ArgumentError, ArgumentTypeError

N = 100
assert CodegenOptions().small_array < N, "smaller arrays are not written over"


def numbers(n=N, dtype=float, seed=0):
    x = np.random.default_rng(seed).uniform(1.0, 9.0, n)
    return (x > 5.0) if np.dtype(dtype) == bool else x.astype(dtype)


def equal(found, expected):
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    assert type(found) is cotan.Array


def written_over(f, *args, donate=0):
    """The result of ``f`` with one argument donated, which must lie there, hold the bits that it holds without, and change no other."""
    expected = cotan.jit(f)(*[np.copy(x) for x in args])
    given = [np.array(x) for x in args]
    found = cotan.jit(f, donate_argnums=donate)(*given)
    equal(found, expected)
    assert np.shares_memory(found, given[donate])
    for k, (x, before) in enumerate(zip(given, args, strict=True)):
        if k != donate:
            np.testing.assert_array_equal(x, before)
    return found


# ---- what is written over -----------------------------------------------------------------------------------------------------------
DTYPES = ["f4", "f8", "c8", "c16", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_elementwise_result_lies_in_the_argument(dtype):
    f = (lambda x, y: x ^ y) if dtype == "?" else lambda x, y: x * x + y
    written_over(f, numbers(dtype=dtype), numbers(dtype=dtype, seed=1))
    written_over(f, numbers(dtype=dtype), numbers(dtype=dtype, seed=1), donate=1)


def test_the_result_is_a_new_plain_array_that_views_the_owner():
    f = cotan.jit(lambda x: x + 1.0, donate_argnums=0)
    x = np.arange(300.0).reshape(3, 100).copy()
    y = f(x)
    assert y is not x
    assert y.base is x
    assert y.flags.c_contiguous
    assert y.flags.aligned
    assert y.flags.writeable
    z = f(f(y))
    assert z.base is x  # views do not form a chain
    np.testing.assert_array_equal(z, np.arange(300.0).reshape(3, 100) + 3.0)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (32,)])
def test_small_arrays_have_fresh_results_without_a_warning(shape):
    f = cotan.jit(lambda x: x * 2.0, donate_argnums=0)
    x = np.full(shape, 1.5)
    y = f(x)
    equal(y, np.full(shape, 3.0).view(cotan.Array))
    assert y.flags.owndata
    np.testing.assert_array_equal(x, np.full(shape, 1.5))


def test_updates_are_in_place():
    v = numbers(5, seed=1)
    written_over(lambda x, v: x.at[3:8].set(v), numbers(), v)
    written_over(lambda x, v: x.at[3:8].set(v).at[50:55].add(2.0 * v), numbers(), v)
    written_over(lambda x, v: x.at[np.array([1, 1, 7, 98, 1])].add(v), numbers(), v)
    written_over(lambda x, v: x.at[3].multiply(v[0]), numbers(dtype=complex), v)
    written_over(lambda x: x.at[1:-1].set(0.5 * (x[2:] + x[:-2])), numbers())  # the stencil reads all of x before


def test_large_updates_allocate_nothing():
    f = cotan.jit(lambda x: x.at[3:8].set(0.0).at[9].set(1.0), donate_argnums=0)
    assert cotan.compile_report(f)(numbers(10_000)).workspace == 0


def test_carries_of_loops_are_in_place():
    x, v = numbers(), numbers(7, seed=1)
    f = lambda x, v: cotan.lax.scan(lambda c, a: (cnp.cos(c) * a, None), x, v)[0]  # noqa: E731
    written_over(f, x, v)
    assert cotan.compile_report(cotan.jit(f, donate_argnums=0))(x, v).workspace == 0
    written_over(lambda x: cotan.lax.fori_loop(0, 9, lambda k, c: c.at[k].set(c[k] + 1.0), x), x)
    written_over(lambda x: cotan.lax.while_loop(lambda c: c[0] < 100.0, lambda c: c * 1.5 + 1.0, x), x)
    written_over(lambda x: cotan.lax.scan(lambda c, a: (c[::-1] * a, None), x, v)[0], x)  # needs two buffers
    written_over(lambda x: cotan.lax.scan(lambda c, a: (c + x * a, None), x, v)[0], x)  # reads the start in each turn
    written_over(lambda x: cotan.lax.scan(lambda c, a: (c * a, None), x, x)[0], x)
    written_over(lambda x: cotan.lax.scan(lambda c, a: (c + a, None), x * 2.0, v)[0], x)
    written_over(lambda x, v: cotan.lax.scan(lambda c, a: (c * a, None), x, v[:0])[0], x, v)


def test_two_carries_change_places():
    def f(x, y):
        return cotan.lax.fori_loop(0, 3, lambda k, c: (c[1] + 1.0, c[0] * 2.0), (x, y))

    given = [numbers(), numbers(seed=1)]
    expected = cotan.jit(f)(*given)
    x, y = map(np.copy, given)
    found = cotan.jit(f, donate_argnums=(0, 1))(x, y)
    for a, b in zip(found, expected, strict=True):
        equal(a, b)
    assert sum(np.shares_memory(a, b) for a in found for b in (x, y)) == 2
    assert np.shares_memory(found[0], x)  # where it began
    swapped = cotan.jit(lambda x, y: cotan.lax.fori_loop(0, 3, lambda k, c: c, (y, x)), donate_argnums=(0, 1))(x, y)
    np.testing.assert_array_equal(swapped[0], expected[1])
    np.testing.assert_array_equal(swapped[1], expected[0])
    turned = cotan.jit(lambda x, y: cotan.lax.fori_loop(0, 3, lambda k, c: (c[0] + 1.0, c[1] * 2.0), (y, x)), donate_argnums=(0, 1))
    assert cotan.compile_report(turned)(x, y).workspace == 0
    found = turned(x, y)
    np.testing.assert_array_equal(found[0], expected[1] + 3.0)
    np.testing.assert_array_equal(found[1], expected[0] * 8.0)


def test_what_is_folded_before_is_read_before():
    written_over(lambda x: x - cnp.sum(x), numbers())
    x = numbers(4000).reshape(40, 100)
    written_over(lambda x: cnp.exp(x - x.max(1, keepdims=True)) / cnp.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True), x)
    written_over(lambda x, y: x + y @ x, x, numbers(1600, seed=1).reshape(40, 40))
    written_over(lambda x: x.at[0].set(0.0) + x[3], x)


def test_what_is_read_across_the_rows_is_read_before():
    x, a = numbers(2500).reshape(50, 50), numbers(2500, seed=1).reshape(50, 50)
    for f in (
        lambda x, a: (cnp.einsum("jr,rj->j", x, a), x * 2.0),
        lambda x, a: (cnp.sum(x * a.T, 1), x * 2.0),
        lambda x, a: (cnp.sum(x, 0), x * 2.0),
        lambda x, a: (cnp.sum(x.T * a, 1), x * 2.0),
        lambda x, a: (x[:, 0] * a[0], x * 2.0),
        lambda x, a: (x.T * a, x * 2.0),
        lambda x, a: (cnp.tril(x), x * 2.0),
        lambda x, a: (x + a, cnp.tril(x)),
    ):
        expected = cotan.jit(f)(x, a)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cotan.DonationWarning)
            found = cotan.jit(f, donate_argnums=0)(x.copy(), a)
        for y, z in zip(found, expected, strict=True):
            equal(y, z)


def test_of_two_results_each_has_its_memory():
    x, y = numbers(), numbers(seed=1)
    f = lambda x, y: (y - x, x + y, x * 3.0)  # noqa: E731
    expected = cotan.jit(f)(x, y)
    found = cotan.jit(f, donate_argnums=(0, 1))(x, y)
    for a, b in zip(found, expected, strict=True):
        equal(a, b)
    assert not any(np.shares_memory(found[k], found[k - 1]) for k in range(3))
    assert sum(np.shares_memory(a, b) for a in found for b in (x, y)) >= 1


def test_the_same_result_twice_and_an_argument_as_result():
    x, y = numbers(), numbers(seed=1)
    before = x.copy()
    f = cotan.jit(lambda x, y: (x, x, y), donate_argnums=0)
    a, b, c = f(x, y)
    for z, expected in ((a, before), (b, before), (c, y)):
        np.testing.assert_array_equal(z, expected)
    assert np.shares_memory(a, x)
    assert not np.shares_memory(b, x)
    assert not np.shares_memory(c, y)


def test_an_optimizer_step_over_a_tree_allocates_nothing():
    def step(state, grads):
        """Adam."""
        t = state["t"] + 1
        m = cotan.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["m"], grads)
        v = cotan.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, state["v"], grads)
        change = lambda p, m, v: p - 1e-2 * (m / (1 - 0.9**t)) / (cnp.sqrt(v / (1 - 0.999**t)) + 1e-8)  # noqa: E731
        return {"p": cotan.tree.map(change, state["p"], m, v), "m": m, "v": v, "t": t}

    def fill(seed):
        rows = numbers(1200, seed=seed).reshape(30, 40)
        return {"w": rows, "b": [numbers(40, seed=seed), numbers(77, seed=seed).reshape(7, 11)]}

    start = {"p": fill(0), "m": fill(1), "v": fill(2), "t": np.asarray(0.0)}
    grads = fill(3)
    plain, giving = cotan.jit(step), cotan.jit(step, donate_argnames="state")
    expected, found = start, cotan.tree.map(np.copy, start)
    memory = [x.ctypes.data for x in cotan.tree.leaves(found) if np.size(x) > 1]
    for _ in range(3):
        expected, found = plain(expected, grads), giving(found, grads)
        assert sorted(x.ctypes.data for x in cotan.tree.leaves(found) if x.size > 1) == sorted(memory)
    for a, b in zip(cotan.tree.leaves(found), cotan.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(grads["w"], fill(3)["w"])
    assert len(cotan.compile_report(giving)(start, grads).donated) == 9


# ---- what must not be changed --------------------------------------------------------------------------------------------------------
def test_arguments_that_overlap_are_copied():
    f = cotan.jit(lambda x, y: x * 2.0 + y[::-1], donate_argnums=0)
    both = cotan.jit(lambda x, y: (x + 1.0, y * 3.0), donate_argnums=(0, 1))
    x = numbers()
    before = x.copy()
    equal(f(x, x), (before * 2.0 + before[::-1]).view(cotan.Array))
    np.testing.assert_array_equal(x, before)
    view = x[:]
    equal(f(view, x), (before * 2.0 + before[::-1]).view(cotan.Array))
    np.testing.assert_array_equal(x, before)
    big = numbers(2 * N)
    kept = big.copy()
    equal(f(big[:N], big[N // 2 : N + N // 2]), (kept[:N] * 2.0 + kept[N // 2 : N + N // 2][::-1]).view(cotan.Array))
    np.testing.assert_array_equal(big, kept)
    found = f(big[:N], big[N:])  # side by side
    assert np.shares_memory(found, big)
    np.testing.assert_array_equal(big[N:], kept[N:])
    a, b = both(x, x)  # given twice
    np.testing.assert_array_equal(a, before + 1.0)
    np.testing.assert_array_equal(b, before * 3.0)
    assert not np.shares_memory(a, b)


def test_what_is_closed_over_is_not_changed():
    c = numbers()
    f = cotan.jit(lambda x: x + c, donate_argnums=0)
    before = c.copy()
    np.testing.assert_array_equal(f(c), 2.0 * before)
    c[:] = before
    np.testing.assert_array_equal(f(np.zeros(N)), before)


def test_read_only_arguments_are_not_changed():
    f = cotan.jit(lambda x: x * 2.0, donate_argnums=0)
    x = numbers()
    x.flags.writeable = False
    before = x.copy()
    y = f(x)
    np.testing.assert_array_equal(y, 2.0 * before)
    np.testing.assert_array_equal(x, before)
    assert y.flags.writeable
    assert y.flags.owndata
    x = numbers()
    view = x[:]
    x.flags.writeable = False  # the view is writeable still
    assert view.flags.writeable
    np.testing.assert_array_equal(f(view), 2.0 * before)
    np.testing.assert_array_equal(x, before)


def test_memory_that_is_not_numpys_own_is_not_changed():
    f = cotan.jit(lambda x: x * 2.0, donate_argnums=0)
    raw = bytearray(numbers().tobytes())
    before = bytes(raw)
    np.testing.assert_array_equal(f(np.frombuffer(raw)), 2.0 * np.frombuffer(before))
    assert bytes(raw) == before


def test_what_a_recording_has_borrowed_is_not_changed():
    give = cotan.jit(lambda x: x * 2.0, donate_argnums=0)
    x = numbers()
    before = x.copy()

    def loss(y):
        z = y * x  # the recording needs x
        doubled = give(x)
        return cnp.sum(z * doubled)

    np.testing.assert_array_equal(cotan.grad(loss)(np.ones(N)), 2.0 * before**2)
    np.testing.assert_array_equal(x, before)
    _, pull = cotan.vjp(lambda y: y * x, np.ones(N))
    give(x)
    np.testing.assert_array_equal(pull(np.ones(N))[0], before)


def test_a_donated_result_can_be_borrowed():
    give = cotan.jit(lambda x: x * 2.0, donate_argnums=0)
    x = numbers()
    y = give(x)

    def loss(t):
        z = t * y
        with pytest.raises(ValueError, match="read-only"):
            x[0] = 1.0
        return cnp.sum(z)

    np.testing.assert_array_equal(cotan.grad(loss)(np.ones(N)), y)
    x[0] = 1.0
    assert y[0] == 1.0


@pytest.mark.parametrize("change", [lambda x: x[::2], lambda x: x.astype(">f8")[:N], lambda x: x.astype("f4")[:N]])
def test_arguments_of_other_layouts_are_copied(change):
    f = cotan.jit(lambda x: x + 1.0, donate_argnums=0)
    f(numbers())
    x = change(numbers(2 * N))
    before = x.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = f(x)
    np.testing.assert_array_equal(found, before + x.dtype.type(1.0))
    if x.dtype != np.float32:
        np.testing.assert_array_equal(x, before)


def test_unaligned_arguments_are_copied():
    x = np.zeros(8 * N + 1, np.uint8)[1:].view(float)
    assert not x.flags.aligned
    found = cotan.jit(lambda x: x + 1.0, donate_argnums=0)(x)
    np.testing.assert_array_equal(found, np.ones(N))
    np.testing.assert_array_equal(x, np.zeros(N))


def test_results_outlive_the_argument_and_the_function():
    f = cotan.jit(lambda x: x + 1.0, donate_argnums=0)
    y = f(np.zeros(1 << 16))
    del f
    kept = [np.empty(1 << 16) for _ in range(4)]
    np.testing.assert_array_equal(y, np.ones(1 << 16))
    assert len(kept) == 4


def test_python_does_what_the_c_function_does():
    f = cotan.jit(lambda x, y: (x * 2.0 + y[::-1], y + 1.0), donate_argnums=0)
    x, y = numbers(), numbers(seed=1)
    lowered = f.lower(x, y).compile()
    caller = lowered.caller
    assert isinstance(caller, Caller)
    a, before = x.copy(), x.copy()
    found = caller.by_ctypes(a, y)
    np.testing.assert_array_equal(found[0], x * 2.0 + y[::-1])
    assert np.shares_memory(found[0], a)
    np.testing.assert_array_equal(caller.by_ctypes(x, x)[0], before * 2.0 + before[::-1])
    np.testing.assert_array_equal(x, before)
    x.flags.writeable = False
    np.testing.assert_array_equal(caller.by_ctypes(x, y)[0], before * 2.0 + y[::-1])
    np.testing.assert_array_equal(x, before)


# ---- with the rest of jit ----------------------------------------------------------------------------------------------------------------
def test_donation_is_ignored_inside_of_other_transformations():
    inner = cotan.jit(lambda x: x * x, donate_argnums=0)
    x = numbers()
    before = x.copy()
    np.testing.assert_array_equal(cotan.jit(lambda x: inner(x) + x)(x), before * before + before)
    np.testing.assert_array_equal(cotan.grad(lambda x: cnp.sum(inner(x) * x))(x), 2 * before * before + before * before)
    np.testing.assert_array_equal(cotan.vmap(inner)(x.reshape(2, -1)).ravel(), before * before)
    np.testing.assert_array_equal(x, before)


def test_the_numpy_engine_makes_fresh_results():
    x = numbers()
    before = x.copy()
    y = cotan.jit(lambda x: x * 2.0, donate_argnums=0, engine="numpy")(x)
    np.testing.assert_array_equal(y, 2.0 * before)
    np.testing.assert_array_equal(x, before)


def test_static_arguments_and_keywords():
    f = cotan.jit(lambda n, x, *, y: x * n + y, static_argnums=0, donate_argnames=("x", "y"))
    x, y = numbers(), numbers(seed=1)
    expected = x * 3 + y
    with pytest.warns(cotan.DonationWarning, match=r"kwargs\['y'\] \(f64\[100\]\)"):
        found = f(3, x, y=y)
    np.testing.assert_array_equal(found, expected)
    assert np.shares_memory(found, x)
    x = numbers()
    by_name = cotan.jit(lambda n, x: x * n, static_argnums=0, donate_argnums=-1)
    assert np.shares_memory(by_name(3, x=x), x)
    assert np.shares_memory(by_name(3, x), x)
    assert np.shares_memory(cotan.jit(lambda *xs: xs[1] + 1.0, donate_argnums=1)(2.0, x), x)
    assert np.shares_memory(cotan.jit(lambda **xs: xs["b"] + 1.0, donate_argnames="b")(a=2.0, b=x), x)


def test_methods():
    class Decay:
        rate = 0.5

        @cotan.jit(donate_argnums=1)
        def step(self, x):
            return x * self.rate

        @cotan.jit(donate_argnums=0)
        def wrong(self, x):
            return x

    x = numbers()
    before = x.copy()
    y = Decay().step(x)
    np.testing.assert_array_equal(y, before * 0.5)
    assert np.shares_memory(x, y)
    with pytest.raises(ArgumentError, match="donates its instance, a Decay"):
        Decay().wrong(x)


def test_dynamic_sizes():
    f = cotan.jit(lambda x, y: x * 2.0 + y, donate_argnums=0, dynamic_sizes=True)
    for n in (100, 101, 150, 4000):
        x, y = numbers(n), numbers(n, seed=1)
        expected = x * 2.0 + y
        found = f(x, y)
        np.testing.assert_array_equal(found, expected)
        assert np.shares_memory(found, x)


def test_ahead_of_time():
    compiled = cotan.jit(lambda x, y: x * 2.0 + y, donate_argnums=0).lower(numbers(), numbers()).compile()
    x, y = numbers(), numbers(seed=1)
    expected = x * 2.0 + y
    assert compiled.report.donated == {"result": "args[0]"}
    assert "result lies in the memory of args[0]" in str(compiled.report)
    c = __import__("ctypes").CFUNCTYPE(__import__("ctypes").c_int32, *[__import__("ctypes").c_void_p] * 3)(compiled.address)
    out = np.zeros(N)
    before = x.copy()
    assert c(x.ctypes.data, y.ctypes.data, out.ctypes.data) == 0
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(x, before)  # C gets the result where it says
    assert c(x.ctypes.data, y.ctypes.data, x.ctypes.data) == 0
    np.testing.assert_array_equal(x, expected)
    x[:] = before
    found = compiled(x, y)
    np.testing.assert_array_equal(found, expected)
    assert np.shares_memory(found, x)


def test_threads_with_arrays_of_their_own():
    f = cotan.jit(lambda x: cnp.sin(x) + x[0] * 0.0 + 1.0, donate_argnums=0)
    expected = [cotan.jit(f.fun)(numbers(20_000, seed=k)) for k in range(4)]
    found = [None] * 4

    def run(k):
        for _ in range(20):
            found[k] = f(numbers(20_000, seed=k))

    workers = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


# ---- what is said -----------------------------------------------------------------------------------------------------------------------
def test_a_donation_of_no_use_is_said_once_at_the_users_line():
    f = cotan.jit(lambda x, y: (cnp.sum(x), x[::-1] * 1.0 + x), donate_argnums=(0, 1))
    with pytest.warns(cotan.DonationWarning, match=r"args\[0\] \(f64\[100\]\), args\[1\] \(f32\[50\]\) of <lambda>") as caught:
        f(numbers(), numbers(50, "f4"))
    assert [w.filename for w in caught] == [__file__]
    f(numbers(), numbers(50, "f4"))
    lowered = cotan.jit(lambda x: x[:5], donate_argnums=0).lower(numbers())
    with pytest.warns(cotan.DonationWarning, match=r"args\[0\] \(f64\[100\]\)"):
        lowered.compile()


def test_the_report_says_which_results_lie_where():
    f = cotan.jit(lambda state, y: {"sum": cnp.sum(y), "x": state["x"] + y}, donate_argnums=0)
    report = cotan.compile_report(f)({"x": numbers()}, numbers())
    assert report.donated == {"result['x']": "args[0]['x']"}
    assert cotan.compile_report(lambda x: x + 1.0)(numbers()).donated == {}


@pytest.mark.parametrize("wrong", [1.5, "x", [0, "y"], None, True])
def test_numbers_that_are_none_are_refused(wrong):
    with pytest.raises(ArgumentTypeError, match=r"donate_argnums=.* names no arguments"):
        cotan.jit(lambda x, y: x, donate_argnums=wrong)


def test_arguments_that_are_none_are_refused():
    with pytest.raises(ArgumentTypeError, match=r"donate_argnames=.* names no arguments"):
        cotan.jit(lambda x, y: x, donate_argnames=0)
    with pytest.raises(ArgumentError, match=r"no positional argument 2 \(donate_argnums\)"):
        cotan.jit(lambda x, y: x, donate_argnums=2)
    with pytest.raises(ArgumentError, match=r"no argument 'z' \(donate_argnames\)"):
        cotan.jit(lambda x, y: x, donate_argnames="z")
    with pytest.raises(ArgumentError, match=r"'y' of .* is both static and donated"):
        cotan.jit(lambda x, y: x, static_argnums=1, donate_argnames="y")
    with pytest.raises(ArgumentError, match=r"1 of .* is both static and donated"):
        cotan.jit(lambda *xs: xs[0], static_argnums=1, donate_argnums=-1)(numbers(), 2)
