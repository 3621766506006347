"""Indices of any size: compiled code reads and writes the same elements as NumPy, in every mode, and never outside of the array."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.ops.indexing import SCATTER_KINDS, Gather, Scatter

ROWS, COLUMNS, COUNT = 200, 3, 5
"""More rows than the small integers can count."""
INDEX_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")
READING, WRITING = ("clip", "wrap", "fill", "zero"), ("clip", "wrap", "drop")


def any_index(dtype):
    limits = np.iinfo(dtype)
    near = [v for v in (limits.min, limits.min + 1, limits.max - 1, limits.max) if limits.min <= v <= limits.max]
    edges = [v for n in (0, ROWS, -ROWS, COLUMNS, -COLUMNS) for v in (n - 1, n, n + 1) if limits.min <= v <= limits.max]
    return st.one_of(st.sampled_from([*near, *edges]), st.integers(limits.min, limits.max))


def indices():
    return st.sampled_from(INDEX_DTYPES).flatmap(
        lambda dtype: st.lists(any_index(dtype), min_size=COUNT, max_size=COUNT).map(lambda js: np.array(js, dtype))
    )


@cache
def on_both(f):
    return cotan.jit(f, engine="native"), cotan.jit(f, engine="numpy")


@cache
def gathered(mode):
    return on_both(lambda x, *at: (Gather(mode)(x, *at), cnp.sum(2.0 * Gather(mode)(x, *at))))


@cache
def scattered(kind, mode):
    return on_both(lambda x, y, *at: Scatter(kind, mode)(x, y, *at))


@pytest.fixture(autouse=True)
def checked(monkeypatch):
    monkeypatch.setenv("COTAN_CHECK", "1")


def same(functions, *operands):
    native, numpy = (f(*operands) for f in functions)
    for x, y in zip(cotan.tree.leaves(native), cotan.tree.leaves(numpy), strict=True):
        np.testing.assert_array_equal(x, y)


TABLE = np.random.default_rng(0).integers(-9, 10, (ROWS, COLUMNS)).astype(float)
UPDATES = np.random.default_rng(1).integers(-9, 10, (COUNT, COLUMNS)).astype(float)


@pytest.mark.parametrize("mode", READING)
@given(at=indices(), second=indices())
def test_a_gather_reads_what_numpy_reads(mode, at, second):
    same(gathered(mode), TABLE, at)
    same(gathered(mode), TABLE, at, second)
    same(gathered(mode), np.zeros((1, 2)), at)


@pytest.mark.parametrize("mode", WRITING)
@pytest.mark.parametrize("kind", list(SCATTER_KINDS))
@given(at=indices(), second=indices())
def test_a_scatter_writes_where_numpy_writes(kind, mode, at, second):
    same(scattered(kind, mode), TABLE, UPDATES, at)
    same(scattered(kind, mode), TABLE, UPDATES[:, 0], at, second)


@pytest.mark.parametrize("mode", ["raise", "promise_in_bounds"])
@given(at=indices())
def test_where_numpy_would_raise_compiled_code_reads_the_nearest_element(mode, at):
    js = [int(j) + ROWS if j < 0 else int(j) for j in at]
    found, _ = gathered(mode)[0](TABLE, at)
    np.testing.assert_array_equal(found, TABLE[[min(max(j, 0), ROWS - 1) for j in js]])


WINDOWS = {
    "dynamic_slice": lambda x, at: lax.dynamic_slice(x, (at[0], at[1]), (4, 2)),
    "dynamic_update_slice": lambda x, at: lax.dynamic_update_slice(x, cnp.ones((4, 2)), (at[0], at[1])),
    "dynamic_index_in_dim": lambda x, at: lax.dynamic_index_in_dim(x, at[0], 0),
    **{f"take, {mode}": lambda x, at, mode=mode: cnp.take(x, at, axis=0, mode=mode) for mode in ("clip", "wrap", "fill")},
    **{f"at get, {mode}": lambda x, at, mode=mode: x.at[at].get(mode=mode) for mode in ("clip", "wrap", "fill")},
    **{f"at add, {mode}": lambda x, at, mode=mode: cnp.asarray(x).at[at].add(2.0, mode=mode) for mode in ("clip", "wrap", "drop")},
}


@pytest.mark.parametrize("name", list(WINDOWS))
@given(at=indices())
def test_windows_and_parts_lie_within_the_array(name, at):
    same(on_both(WINDOWS[name]), cnp.asarray(TABLE), at)


@given(at=indices())
def test_what_is_read_in_vain_beside_a_joint_exists(at):
    """The element of a part that is not chosen: its place is below zero there, also after a reshape, which divides it."""

    def f(x, at):
        rows = cnp.stack([x[:, 0], 0.5 * x[:, 0]])
        return cnp.take(cnp.concatenate([x[0], rows.reshape(-1)[:9], x[1]]), at, mode="wrap")

    same(on_both(f), cnp.asarray(TABLE), at)


@given(at=indices(), start=st.integers(-(2**63), 2**63 - 1))
def test_derivatives_are_added_where_was_read(at, start):
    def f(x, at, start):
        y = cnp.take(x, at, axis=0, mode="wrap") ** 2
        return cnp.sum(y) + cnp.sum(lax.dynamic_slice(x, (start, 0), (4, 2)) ** 3)

    same(on_both(GRADIENTS.setdefault("f", cotan.grad(f))), TABLE, at, start)


GRADIENTS = {}
