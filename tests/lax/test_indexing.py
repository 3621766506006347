"""gather, scatter, dynamic slices and segment reductions: against loops in NumPy and against JAX, in every mode, with all derivatives."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.core.errors import ArgumentError, DtypeError, IndexingError, ShapeError

RNG = np.random.default_rng(11)
TABLE = RNG.normal(size=(4, 5, 3))

# operand shape, index arrays (some out of bounds), dimension numbers, slice sizes
GATHERS = {
    "rows": ((4, 5), [[0], [3], [-1], [4], [2]], lax.GatherDimensionNumbers((1,), (0,), (0,)), (1, 5)),
    "elements": ((4, 5), [[0, 1], [3, 4], [-1, 2], [1, 5]], lax.GatherDimensionNumbers((), (0, 1), (0, 1)), (1, 1)),
    "windows": ((4, 5, 3), [[[0, 1], [2, 0]], [[3, 2], [-1, 1]]], lax.GatherDimensionNumbers((2, 3, 4), (), (1, 0)), (2, 3, 3)),
    "windows in front": ((4, 5, 3), [[0], [2], [5], [1]], lax.GatherDimensionNumbers((0, 2), (1,), (1,)), (3, 1, 3)),
    "one window": ((4, 5), [1, 2], lax.GatherDimensionNumbers((0, 1), (), (0, 1)), (2, 2)),
    "batched": ((3, 5, 2), [[[0], [4]], [[2], [5]], [[-2], [1]]], lax.GatherDimensionNumbers((2,), (1,), (1,), (0,), (0,)), (1, 1, 2)),
    "no index": ((4, 5), np.zeros((3, 0)), lax.GatherDimensionNumbers((1, 2), (), ()), (4, 5)),
    "nothing": ((4, 5), np.zeros((0, 1)), lax.GatherDimensionNumbers((1,), (0,), (0,)), (1, 5)),
    "full axis, indexed": ((4, 5), [[0], [1], [-1]], lax.GatherDimensionNumbers((1, 2), (), (0,)), (4, 2)),
}
MODES = ["clip", "fill", "promise_in_bounds"]


def numpy_gather(x, indices, n, sizes, mode, fill=np.nan):
    """The definition, an element of the result at a time; also where in x each element comes from (-1: filled)."""
    batch = indices.shape[:-1]
    gone = {*n.collapsed_slice_dims, *n.operand_batching_dims}
    kept = [d for d in range(x.ndim) if d not in gone]
    ndim = len(batch) + len(kept)
    batch_axes = [k for k in range(ndim) if k not in n.offset_dims]
    shape = [0] * ndim
    for k, m in zip(batch_axes, batch, strict=True):
        shape[k] = m
    for k, d in zip(n.offset_dims, kept, strict=True):
        shape[k] = sizes[d]
    source = np.full(shape, -1)
    for at in np.ndindex(*shape):
        b = tuple(at[k] for k in batch_axes)
        start = np.zeros(x.ndim, int)
        for k, d in enumerate(n.start_index_map):
            start[d] = indices[(*b, k)]
        for d, k in zip(n.operand_batching_dims, n.start_indices_batching_dims, strict=True):
            start[d] = b[k]
        last = np.array(x.shape) - np.array(sizes)
        if mode == "clip":
            start = np.clip(start, 0, last)
        elif (start < 0).any() or (start > last).any():
            continue
        for k, d in zip(n.offset_dims, kept, strict=True):
            start[d] += at[k]
        source[at] = np.ravel_multi_index(tuple(start), x.shape)
    return np.where(source < 0, fill, x.ravel()[source]), source


def operands(case):
    shape, indices, n, sizes = GATHERS[case]
    return np.random.default_rng(1).normal(size=shape), np.asarray(indices, dtype=np.int64), n, sizes


def inside(case, mode):
    """The case with its indices made valid, for the mode that promises so."""
    x, indices, n, sizes = operands(case)
    if mode == "promise_in_bounds":
        limits = np.array([x.shape[d] - sizes[d] for d in n.start_index_map], dtype=np.int64)
        indices = np.clip(indices, 0, limits) if limits.size else indices
    return x, indices, n, sizes


@pytest.mark.parametrize(("case", "mode"), list(product(GATHERS, MODES)))
def test_gather_is_its_definition(case, mode):
    x, indices, n, sizes = inside(case, mode)
    expected, source = numpy_gather(x, indices, n, sizes, mode)
    f = lambda x: lax.gather(x, indices, n, sizes, mode=mode)  # noqa: E731
    np.testing.assert_array_equal(f(x), expected)
    np.testing.assert_array_equal(cotan.jit(lambda x, i: lax.gather(x, i, n, sizes, mode=mode))(x, indices), expected)
    np.testing.assert_array_equal(lax.gather(x, indices, n, sizes, mode=mode, fill_value=7.0), np.where(source < 0, 7.0, expected))
    np.testing.assert_array_equal(lax.gather(x.astype(np.int32), indices, n, sizes, mode=mode, fill_value=-5).dtype, np.int32)
    matrix = (source.ravel()[:, None] == np.arange(x.size)).astype(float).reshape(*expected.shape, *x.shape)
    for jacobian in (cotan.jacfwd, cotan.jacrev):
        np.testing.assert_array_equal(jacobian(f)(x), matrix)
    g = lambda x: cnp.sum(cnp.where(source < 0, 0.0, f(x)) ** 3)  # noqa: E731
    flat = matrix.reshape(source.size, x.size)
    second = flat.T @ (6 * np.where(source < 0, 0, expected).reshape(-1, 1) * flat)
    for d in (cotan.hessian, lambda g: cotan.jacrev(cotan.jacrev(g)), lambda g: cotan.jit(cotan.jacrev(cotan.jacfwd(g)))):
        np.testing.assert_allclose(np.reshape(d(g)(x), (x.size, x.size)), second, atol=1e-12)


@pytest.mark.parametrize(("case", "mode"), list(product(GATHERS, MODES)))
def test_gather_on_a_batch(case, mode):
    x, indices, n, sizes = inside(case, mode)
    xs, many = np.stack([x, x + 1, 2 * x]), np.stack([indices, indices, np.roll(indices, 1, 0) if indices.ndim > 1 else indices])
    f = lambda x, i: lax.gather(x, i, n, sizes, mode=mode)  # noqa: E731
    for axes, arguments in (((0, None), (xs, indices)), ((None, 0), (x, many)), ((0, 0), (xs, many))):
        rows = [f(*[a[k] if axis == 0 else a for a, axis in zip(arguments, axes, strict=True)]) for k in range(3)]
        np.testing.assert_array_equal(cotan.vmap(f, in_axes=axes)(*arguments), np.stack(rows))


SCATTERS = {"set": lax.scatter, "add": lax.scatter_add, "mul": lax.scatter_mul, "min": lax.scatter_min, "max": lax.scatter_max}


def scatter_numbers(n):
    return lax.ScatterDimensionNumbers(n.offset_dims, n.collapsed_slice_dims, n.start_index_map, *n[3:])


def numpy_scatter(kind, x, indices, updates, n, sizes, mode):
    _, source = numpy_gather(x, indices, n, sizes, mode)
    y = x.copy().ravel()
    for to, u in zip(source.ravel(), updates.ravel(), strict=True):
        if to >= 0:
            y[to] = {"set": u, "add": y[to] + u, "mul": y[to] * u, "min": min(y[to], u), "max": max(y[to], u)}[kind]
    return y.reshape(x.shape)


@pytest.mark.parametrize(("case", "mode", "kind"), list(product(GATHERS, MODES, SCATTERS)))
def test_scatter_is_its_definition(case, mode, kind):
    x, indices, n, sizes = inside(case, mode)
    shape = numpy_gather(x, indices, n, sizes, mode)[0].shape
    u = np.random.default_rng(2).normal(size=shape)
    if kind == "set" and case in ("windows", "one window", "full axis, indexed", "no index"):
        u = np.full(shape, 0.5)  # windows overlap, and which counts is not said
    expected = numpy_scatter(kind, x, indices, u, n, sizes, mode)
    f = lambda x, u: SCATTERS[kind](x, indices, u, scatter_numbers(n), mode=mode)  # noqa: E731
    np.testing.assert_allclose(f(x, u), expected)
    np.testing.assert_allclose(cotan.jit(lambda x, i, u: SCATTERS[kind](x, i, u, scatter_numbers(n), mode=mode))(x, indices, u), expected)
    cotan.testing.check_grads(f, (x, u), order=1 if kind in ("min", "max", "set") else 2)
    xs, us = np.stack([x, x + 1]), np.stack([u, 2 * u])
    np.testing.assert_allclose(cotan.vmap(f)(xs, us), np.stack([f(xs[k], us[k]) for k in range(2)]))
    np.testing.assert_allclose(cotan.vmap(f, in_axes=(None, 0))(x, us), np.stack([f(x, us[k]) for k in range(2)]))


@pytest.mark.peers
@pytest.mark.parametrize(("case", "mode"), list(product(GATHERS, MODES)))
def test_gather_and_scatter_are_those_of_jax(case, mode):
    jax = pytest.importorskip("jax")
    x, indices, n, sizes = inside(case, mode)
    if case == "no index":
        indices = indices.astype(np.int64)
    theirs = jax.lax.gather(x, indices, jax.lax.GatherDimensionNumbers(*n), sizes, mode=mode)
    np.testing.assert_array_equal(lax.gather(x, indices, n, sizes, mode=mode), theirs)
    np.testing.assert_array_equal(lax.gather(x, indices, n, sizes, mode=lax.GatherScatterMode.from_any(mode)), theirs)
    u = np.random.default_rng(2).normal(size=theirs.shape)
    for name in ("scatter_add", "scatter_mul", "scatter_min", "scatter_max"):
        numbers = jax.lax.ScatterDimensionNumbers(*scatter_numbers(n))
        expected = getattr(jax.lax, name)(x, indices, u, numbers, mode=mode)
        np.testing.assert_allclose(getattr(lax, name)(x, indices, u, scatter_numbers(n), mode=mode), expected, rtol=1e-12)


# ---- dynamic slices --------------------------------------------------------------------------------------------------------
STARTS = [(0, 0, 0), (2, 1, 0), (3, 4, 2), (-1, -2, 0), (-9, 9, 1), (1, -5, -1)]
SIZES = [(1, 5, 3), (2, 2, 1), (4, 5, 3), (0, 1, 2)]


def places(start, sizes):
    corner = [min(max(s + n if s < 0 else s, 0), n - m) for s, n, m in zip(start, TABLE.shape, sizes, strict=True)]
    return tuple(slice(c, c + m) for c, m in zip(corner, sizes, strict=True))


@pytest.mark.parametrize(("start", "sizes"), list(product(STARTS, SIZES)))
def test_dynamic_slices(start, sizes):
    part = places(start, sizes)
    update = RNG.normal(size=sizes)
    changed = TABLE.copy()
    changed[part] = update
    read = lambda x, *s: lax.dynamic_slice(x, s, sizes)  # noqa: E731
    write = lambda x, u, *s: lax.dynamic_update_slice(x, u, s)  # noqa: E731
    for way in (lambda f: f, cotan.jit):
        np.testing.assert_array_equal(way(read)(TABLE, *start), TABLE[part])
        np.testing.assert_array_equal(way(write)(TABLE, update, *start), changed)
    np.testing.assert_array_equal(read(TABLE, *np.array(start, np.int32)), TABLE[part])
    np.testing.assert_array_equal(lax.dynamic_slice(TABLE, np.array(start), sizes), TABLE[part])
    cotan.testing.check_grads(lambda x: read(x, *start), (TABLE,), order=2)
    cotan.testing.check_grads(lambda x, u: write(x, u, *start), (TABLE, update), order=2)
    axes = (0, None, None)
    starts = np.array([start[0], 1, 3])
    np.testing.assert_array_equal(
        cotan.vmap(lambda i, j, k: read(TABLE, i, j, k), in_axes=axes)(starts, *start[1:]),
        np.stack([TABLE[places((i, *start[1:]), sizes)] for i in starts]),
    )
    np.testing.assert_array_equal(
        cotan.vmap(lambda x, i: write(x, update, i, *start[1:]))(np.stack([TABLE, 2 * TABLE, 3 * TABLE]), starts),
        np.stack([write((k + 1) * TABLE, update, i, *start[1:]) for k, i in enumerate(starts)]),
    )


def test_dynamic_slices_along_one_axis():
    x = TABLE
    np.testing.assert_array_equal(lax.dynamic_slice_in_dim(x, 3, 2, 1), x[:, 3:5])
    np.testing.assert_array_equal(lax.dynamic_index_in_dim(x, 2, -1), x[:, :, 2:])
    np.testing.assert_array_equal(lax.dynamic_index_in_dim(x, -1, 0, keepdims=False), x[-1])
    y = x.copy()
    y[:, 1] = 0.0
    np.testing.assert_array_equal(lax.dynamic_update_index_in_dim(x, np.zeros((4, 3)), 1, 1), y)
    np.testing.assert_array_equal(lax.dynamic_update_index_in_dim(x, np.zeros((4, 1, 3)), 1, 1), y)
    np.testing.assert_array_equal(lax.dynamic_update_slice_in_dim(x, np.zeros((4, 1, 3)), 1, 1), y)
    assert float(lax.dynamic_slice(np.float64(2.0), (), ())) == 2.0
    assert float(lax.dynamic_update_slice(np.float64(2.0), np.float64(3.0), ())) == 3.0


def test_a_row_is_read_by_an_index_of_one_number():
    program = str(cotan.stage(lambda x, i: lax.dynamic_slice(x, (i, 0), (1, 1000)))(np.zeros((50, 1000)), 3))
    assert "i64[1,1000]" not in program


@pytest.mark.peers
def test_dynamic_slices_are_those_of_jax():
    jax = pytest.importorskip("jax")
    for start, sizes in product(STARTS, SIZES):
        np.testing.assert_array_equal(lax.dynamic_slice(TABLE, start, sizes), jax.lax.dynamic_slice(TABLE, start, sizes))
        u = np.ones(sizes)
        np.testing.assert_array_equal(lax.dynamic_update_slice(TABLE, u, start), jax.lax.dynamic_update_slice(TABLE, u, start))


# ---- segments --------------------------------------------------------------------------------------------------------------
IDS = np.array([2, 0, 2, 5, -1, 1, 0])
SEGMENTS = {
    "sum": (lax.segment_sum, np.add, 0.0),
    "prod": (lax.segment_prod, np.multiply, 1.0),
    "max": (lax.segment_max, np.maximum, -np.inf),
    "min": (lax.segment_min, np.minimum, np.inf),
}


@pytest.mark.parametrize("name", SEGMENTS)
@pytest.mark.parametrize("shape", [(7,), (7, 2)])
@pytest.mark.parametrize("count", [0, 1, 4, 8])
def test_segments(name, shape, count):
    f, ufunc, start = SEGMENTS[name]
    data = RNG.normal(size=shape)
    expected = np.full((count, *shape[1:]), start)
    for k, row in zip(IDS, data, strict=True):
        if 0 <= k < count:
            expected[k] = ufunc(expected[k], row)
    np.testing.assert_allclose(f(data, IDS, count), expected)
    np.testing.assert_allclose(cotan.jit(f, static_argnums=2)(data, IDS, count), expected)
    finite = lambda d: cnp.where(np.isfinite(expected), f(d, IDS, count), 0.0)  # noqa: E731
    cotan.testing.check_grads(finite, (data,), order=2)
    many = np.stack([data, 2 * data])
    np.testing.assert_allclose(cotan.vmap(lambda d: f(d, IDS, count))(many), np.stack([f(d, IDS, count) for d in many]))
    np.testing.assert_allclose(
        cotan.vmap(lambda i: f(data, i, count))(np.stack([IDS, IDS[::-1]])), np.stack([f(data, i, count) for i in (IDS, IDS[::-1])])
    )


def test_the_number_of_segments_is_found_where_it_can_be():
    np.testing.assert_array_equal(lax.segment_sum(np.ones(7), IDS), [2, 1, 2, 0, 0, 1])
    assert lax.segment_max(np.arange(3, dtype=np.int32), np.array([0, 2, 2])).tolist() == [0, np.iinfo(np.int32).min, 2]
    with pytest.raises(ArgumentError, match="num_segments"):
        cotan.jit(lax.segment_sum)(np.ones(7), IDS)
    np.testing.assert_array_equal(lax.segment_sum(np.ones(7), IDS, 3, mode="clip"), [3, 1, 3])


def test_what_is_refused():
    n = lax.GatherDimensionNumbers((1,), (0,), (0,))
    with pytest.raises(ShapeError, match="windows of sizes"):
        lax.gather(np.ones((4, 5)), np.zeros((2, 1), int), n, (1, 6))
    with pytest.raises(ShapeError, match="windows of sizes"):
        lax.gather(np.ones((4, 5)), np.zeros((2, 1), int), n, (2, 5))
    with pytest.raises(ShapeError, match="components"):
        lax.gather(np.ones((4, 5)), np.zeros((2, 2), int), n, (1, 5))
    with pytest.raises(DtypeError, match="dtype"):
        lax.gather(np.ones((4, 5)), np.zeros((2, 1)), n, (1, 5))
    with pytest.raises(IndexingError, match="mode"):
        lax.gather(np.ones((4, 5)), np.zeros((2, 1), int), n, (1, 5), mode="wrap")
    with pytest.raises(ShapeError, match="updates"):
        lax.scatter_add(np.ones((4, 5)), np.zeros((2, 1), int), np.ones((3, 5)), scatter_numbers(n))
    with pytest.raises(DtypeError):
        lax.segment_sum(np.ones(2), np.ones(2))
    with pytest.raises(DtypeError, match="start"):
        lax.dynamic_slice(np.ones(3), (1.0,), (1,))


# ---- masked updates with a mask that is traced -------------------------------------------------------------------------------
METHODS = ["set", "add", "subtract", "multiply", "divide", "power", "min", "max"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [2.0, np.array([0.5, 1.5, 2.5])], ids=["scalar", "row"])
def test_masked_updates_under_jit(method, value):
    x = RNG.uniform(0.5, 2.0, (4, 3))
    mask = x > 1.2 if np.ndim(value) == 0 else x[:, 0] > 1.2
    f = lambda x, m, v: getattr(cnp.asarray(x).at[m], method)(v)  # noqa: E731
    expected = x.copy()
    operation = {"set": lambda a, b: b, "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}
    operation |= {"power": np.power, "min": np.minimum, "max": np.maximum}
    expected[mask] = operation[method](expected[mask], value)
    np.testing.assert_allclose(f(x, mask, value), expected)
    np.testing.assert_allclose(cotan.jit(f)(x, mask, value), expected)
    cotan.testing.check_grads(cotan.jit(lambda x, v: f(x, mask, v)), (x, value), order=2)
    masks = np.stack([mask, ~mask])
    np.testing.assert_allclose(cotan.vmap(lambda m: f(x, m, value))(masks), np.stack([f(x, m, value) for m in masks]))
    np.testing.assert_allclose(
        cotan.jit(cotan.vmap(cotan.grad(lambda x, m: cnp.sum(f(x, m, value) ** 2)), in_axes=(None, 0)))(x, masks)[0],
        cotan.grad(lambda x: cnp.sum(f(x, mask, value) ** 2))(x),
    )
