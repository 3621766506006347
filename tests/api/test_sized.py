"""A jitted function serves new sizes without being staged for each; what looks at a size is right all the same."""

from __future__ import annotations

import functools
import gc
import warnings

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.api.misses import MANY_MISSES
from cotan.core.sizes import Size
from cotan.testing import assert_compiles

jit = functools.partial(cotan.jit, dynamic_sizes=True)
LENGTHS = [101, 140, 90, 127, 128, 129, 64, 200, 333, 1000, 33, 3, 1, 2, 4097, 100, 17, 0, 5000, 255, 256, 257]


def counted(f):
    """A function that counts its runs."""

    @functools.wraps(f)
    def run(*args, **kwargs):
        run.count += 1
        return f(*args, **kwargs)

    run.count = 0
    return run


def check(f, make, lengths=LENGTHS, **options):
    """Compare the calls at all lengths with those of a function that is staged for each; the number of runs of ``f``."""
    f = counted(f)
    fast, exact = jit(f, **options), cotan.jit(f.__wrapped__, engine="numpy")
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cotan.RecompilationWarning)
        for n in lengths:
            args = make(rng, n)
            for a, b in zip(cotan.tree.leaves(fast(*args)), cotan.tree.leaves(exact(*args)), strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    return f.count


def vector(rng, n):
    return (rng.normal(size=n),)


NEAR = range(1000, 1060)


def test_a_new_size_does_not_run_the_function():
    f = cotan.value_and_grad(lambda x: cnp.mean(cnp.sin(x) * x.shape[0]))
    assert check(f, vector, NEAR) <= 5


def test_exact_sizes_alone_are_staged_each():
    assert check(lambda x: cnp.sin(x) * 2.0, vector, NEAR, dynamic_sizes=False) == len(NEAR)


def test_new_sizes_are_hits_and_cause_no_compilation():
    f = jit(cotan.grad(lambda x: cnp.sum(cnp.sin(x) ** 2)))
    for n in (1000, 1001, 1002, 1003):
        f(np.ones(n))
    misses = f.cache_info().misses
    with assert_compiles(0):
        for n in range(1004, 1100):
            f(np.ones(n))
    assert f.cache_info().misses == misses == 3
    assert f.cache_info().hits == 97
    f.cache_clear()
    with assert_compiles(1):
        f(np.ones(1004))


def no_number(x):
    return x * 2.0 if x.shape[0] > 1000 else x * 3.0


CACHE = {100: 5.0, 64: 7.0}


@functools.lru_cache
def of_a_size(n):
    return float(n % 7)


class Seen:
    count = 0


SNEAKY = {
    "comparison": no_number,
    "chained": lambda x: cnp.sum(x) * (1.0 if 100 < x.shape[0] <= 200 else -1.0),
    "equal": lambda x: x + 1.0 if x.shape == (128,) else x,
    "several": lambda x: x + 1.0 if x.shape[0] in (33, 64, 200) else x,
    "dict": lambda x: x * CACHE.get(x.shape[0], 1.0),
    "set": lambda x: x * (2.0 if x.shape in {(64,), (101,)} else 1.0),
    "cached": lambda x: x * of_a_size(x.shape[0]),
    "arange": lambda x: x * np.arange(x.shape[0]),
    "own arange": lambda x: x * cnp.arange(x.shape[0]),
    "linspace": lambda x: x * cnp.linspace(0.0, 1.0, x.shape[0]),
    "range": lambda x: sum((x[i] for i in range(min(x.shape[0], 9))), 0.0) + 0.0 * cnp.sum(x),
    "len": lambda x: x / max(len(x), 1),
    "float": lambda x: x * float(x.shape[0]),
    "text": lambda x: x * len(str(x.shape[0])),
    "format": lambda x: x * len(f"{x.shape[0]}"),
    "root": lambda x: x * np.sqrt(x.shape[0]) + x.shape[0] ** 0.5,
    "divided": lambda x: x / max(x.shape[0], 1) + 1 / max(x.shape[0], 1),
    "remainder": lambda x: x * (x.shape[0] % 3) + x.shape[0] // 2,
    "parity": lambda x: x if x.shape[0] % 2 else -x,
    "kind": lambda x: x * (2.0 if isinstance(x.shape[0], int) and x.shape[0] > 128 else 3.0),
    "class": lambda x: x * (2.0 if type(x.shape[0]) is int and x.shape[0] > 110 else 3.0),
    "caught": lambda x: x * caught(x.shape[0]),
    "random": lambda x: x * np.random.default_rng(x.shape[0]).normal(),
    "eye": lambda x: x @ np.eye(x.shape[0], 3),
    "zeros": lambda x: x + np.zeros(x.shape) + cnp.zeros(x.shape),
    "padded": lambda x: cnp.pad(x, (0, max(0, 64 - x.shape[0]))),
    "halves": lambda x: x[: x.shape[0] // 2],
    "step": lambda x: x[:: max(x.shape[0] // 30, 1)],
    "blocks": lambda x: cnp.sum(x[: x.shape[0] // 8 * 8].reshape(-1, 8), axis=1),
    "last": lambda x: x[-1:] * 2.0,
    "at": lambda x: x.at[: x.shape[0] // 2].set(1.0),
    "concatenated": lambda x: cnp.concatenate([x, x[::-1], cnp.zeros(3)]),
    "matrix": lambda x: x[:, None] * x[None, :300],
    "triangle": lambda x: cnp.tril(x[:200, None] * x[None, :200]),
    "median": lambda x: cnp.median(cnp.concatenate([x, cnp.zeros(1)])),
    "quantile": lambda x: cnp.quantile(cnp.concatenate([x, cnp.zeros(1)]), 0.3),
    "sort": cnp.sort,
    "cumulative": lambda x: cnp.cumsum(x) / (1 + cnp.cumsum(cnp.ones_like(x))),
    "loop": lambda x: lax.fori_loop(0, x.shape[0], lambda i, c: cnp.sin(c) + 0.5 * x[i], 0.0),
    "scan": lambda x: lax.scan(lambda c, y: (0.5 * c + y, c), 0.0, x)[1],
    "while": lambda x: lax.while_loop(lambda s: s[0] < x.shape[0], lambda s: (s[0] + 1, s[1] * 0.5 + s[0]), (0, 1.0))[1] + 0.0 * cnp.sum(x),
    "inner": lambda x: cotan.jit(lambda y: y * y.shape[0])(x),
    "static": lambda x: cotan.jit(lambda y, n: y * n, static_argnums=1)(x, x.shape[0]),
    "vmap": lambda x: cotan.vmap(lambda y: y * 2.0 + x.shape[0])(x),
    "second order": lambda x: cotan.hvp(lambda y: cnp.mean(cnp.sin(y)) if y.shape[0] else cnp.sum(y), x, x),
    "variance": lambda x: cnp.var(cnp.concatenate([x, cnp.zeros(2)]), ddof=1),
    "bits": lambda x: x * (x.shape[0] & 7) + (x.shape[0] >> 2) + (x.shape[0] ^ 5),
}


def caught(n):
    try:
        return [1.0, 2.0, 3.0][n]
    except IndexError:
        return 4.0


@pytest.mark.parametrize("dynamic_sizes", [None, True])
@pytest.mark.parametrize("name", SNEAKY)
def test_a_function_that_depends_on_its_size_is_right_at_each(name, dynamic_sizes):
    check(SNEAKY[name], vector, [n for n in LENGTHS if n or name != "loop"], dynamic_sizes=dynamic_sizes)


@pytest.mark.parametrize(
    "name", ["comparison", "root", "divided", "remainder", "halves", "blocks", "loop", "scan", "inner", "static", "vmap"]
)
def test_such_functions_are_served(name):
    assert check(SNEAKY[name], vector, range(1001, 1102, 2)) <= 22


def test_several_axes_vary_together_and_apart():
    def make(rng, n):
        return rng.normal(size=(n, 3)), rng.normal(size=n), rng.normal(size=n + 3 * (n % 2))

    def f(x, y, z):
        return cnp.sum(x, axis=1) * y, cnp.mean(z), x.shape[0] + z.shape[0]

    assert check(f, make, range(500, 560)) < 30


def test_an_axis_that_begins_to_vary_later():
    shapes = [(100, 8), (110, 8), (120, 8), (130, 8), (130, 9), (140, 9), (150, 10), (160, 10), (100, 8), (170, 11), (180, 12), (190, 13)]
    f = lambda x: cnp.tanh(x).sum(axis=0) / x.shape[0]  # noqa: E731
    assert check(f, lambda rng, shape: (rng.normal(size=shape),), shapes) <= 20


def test_sizes_that_are_equal_by_chance_are_not_taken_for_one():
    shapes = [(10, 10), (11, 11), (12, 12), (13, 13), (14, 14), (14, 15), (15, 14), (20, 21), (22, 20)]
    check(lambda x: x.T @ x + cnp.sum(x @ x.T), lambda rng, shape: (rng.normal(size=shape),), shapes)


def test_trees_keywords_dtypes_and_static_values_have_families_of_their_own():
    def f(batch, scale, power):
        return {"y": batch["x"] ** power * scale, "n": batch["x"].shape[0]}

    fast = jit(f, static_argnames="power")
    rng = np.random.default_rng(0)
    for n in range(300, 340):
        for power in (2, 3):
            for dtype in (np.float32, np.float64):
                x = rng.normal(size=n).astype(dtype)
                found = fast({"x": x}, 0.5, power=power)
                assert found["y"].dtype == dtype
                assert int(found["n"]) == n
                np.testing.assert_allclose(found["y"], x**power * dtype(0.5), rtol=1e-5)
    assert fast.cache_info().misses <= 40


def test_donated_arguments():
    f = jit(lambda x, dx: x + 0.5 * dx / x.shape[0], donate_argnums=0)
    for n in range(1000, 1020):
        x, dx = np.ones(n), np.arange(n, dtype=float)
        expected = x + 0.5 * dx / n
        y = f(x, dx)
        assert np.shares_memory(x, y)
        np.testing.assert_allclose(y, expected)
    assert f.cache_info().misses <= 4


def test_a_donation_in_vain_is_told():
    f = jit(lambda x, y: cnp.sum(x * y), donate_argnums=0)
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        for n in range(1000, 1008):
            f(np.ones(n), np.ones(n))
    told = [str(w.message) for w in caught_warnings if w.category is cotan.DonationWarning]
    assert len(told) >= 3
    assert all("args[0]" in text for text in told)


def test_captured_arrays_are_those_of_the_function():
    w = np.arange(3.0)
    f = jit(lambda x: x @ w)
    for n in range(400, 430):
        np.testing.assert_allclose(f(np.ones((n, 3))), np.full(n, 3.0))
    assert f.cache_info().misses <= 4


def test_an_attribute_that_changes_is_seen_at_a_new_size():
    class Model:
        def __init__(self):
            self.w = 2.0

        @jit
        def __call__(self, x):
            return x * self.w

    model = Model()
    for n in range(100, 120):
        np.testing.assert_array_equal(model(np.ones(n)), np.full(n, 2.0))
    model.w = 3.0
    for n in range(110, 140):
        np.testing.assert_array_equal(model(np.ones(n)), np.full(n, 3.0))


def test_under_other_transformations_a_new_size_is_staged():
    f = jit(lambda x: cnp.sum(cnp.sin(x)))
    for n in range(100, 110):
        f(np.ones(n))
    for n in range(105, 120):
        np.testing.assert_allclose(cotan.grad(f)(np.ones(n)), np.full(n, np.cos(1.0)))


def test_results_that_are_sizes():
    f = jit(lambda x: (x.shape[0], x.size * 2, x.shape[0] / 2))
    for n in range(300, 320):
        a, b, c = f(np.ones((n, 2)))
        assert (int(a), int(b), float(c)) == (n, 4 * n, n / 2)
        assert (a.dtype, c.dtype) == (np.int64, np.float64)


def test_a_size_that_is_kept_is_a_plain_number_later():
    kept = []
    f = jit(lambda x: kept.append(x.shape[0]) or x * 2.0)
    for n in range(300, 310):
        f(np.ones(n))
    symbolic = [n for n in kept if type(n) is Size]
    assert symbolic
    for n in symbolic:
        assert n == int(n)
        assert type(n + 1) is int
        assert np.zeros(n).shape == (int(n),)
        assert {int(n): "known"}[n] == "known"
        np.testing.assert_array_equal(cotan.jit(lambda x, n=n: x.reshape(n, 1))(np.ones(int(n))), np.ones((int(n), 1)))


def test_errors_of_compiled_code_name_the_line():
    f = jit(lambda x: 2 ** x.astype(int))
    for n in range(300, 306):
        with pytest.raises(ValueError, match="negative integer powers") as raised:
            f(-np.ones((4, n)))
        assert any("2 ** x.astype(int)" in note for note in raised.value.__notes__)


def test_the_warning_of_many_misses_says_what_looks_at_the_size():
    def f(x):
        return x * np.arange(x.shape[0])  # this line

    jitted = jit(f)
    for n in range(100, 99 + MANY_MISSES):
        jitted(np.ones(n))
    with pytest.warns(cotan.RecompilationWarning, match=rf"as a number at test_sized.py:{f.__code__.co_firstlineno + 1}"):
        jitted(np.ones(99))


def test_code_lives_as_long_as_its_function():
    f = jit(lambda x: cnp.sin(x) * 3.0)
    for n in range(500, 510):
        y = f(np.ones(n))
    del f
    gc.collect()
    np.testing.assert_allclose(y, np.full(509, 3.0 * np.sin(1.0)))
