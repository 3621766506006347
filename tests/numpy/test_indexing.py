"""``x[index]`` and ``x.at[index]``: in all of NumPy's forms, eager, staged, differentiated, with traced indices and masks."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cotan
import cotan.numpy as cnp
from cotan.core.array import Array
from cotan.core.errors import ArgumentError, DtypeError, IndexingError, ShapeError, TracerConversionError
from cotan.core.staging import stage_flat
from cotan.core.tracing import type_of
from cotan.transforms.batch import batch_flat

from .running import assert_jvp, assert_same, staged

x3 = np.random.default_rng(0).normal(size=(3, 4, 5))
MASK = x3[:, :, 0] > 0
INDICES = [
    0, -1, (1, 2), (0, -1, 3), (..., 2), (1, ..., -2), slice(1, None), slice(None, None, -1), slice(None, None, 2), slice(-1, None, -2),
    slice(5, 1), (slice(None), 1), (slice(None), None), (None, 0), (slice(1), slice(None, None, -1), 2), (..., None), (None, ..., None,
    1), (), ..., (slice(None), slice(3, 0, -1), slice(1, 4, 2)), [0, 2], np.array([2, 0, -1]), np.array([[0, 1], [2, -3]]),
    (slice(None), [1, 1, 3]), ([0, 1], [2, 3]), ([0, 1], slice(None), [2, 3]), (slice(None), [0, 1], [2, 3]), (0, slice(None), [1, 2]),
    (slice(None), 0, [1, 2]), ([[0], [2]], [1, 3]), ([0, 2], None, slice(None), [1, 2]), (None, [0, 2], [1, 2]), (slice(2, None, -1),
    [0, 1]), ([0, 1], ..., 3), MASK, (MASK, 0), (slice(None), MASK.T[:4, :].any(1)), (np.array([True, False, True]), [1, 2]), x3 > 0,
    (0, MASK[0]), np.zeros(0, int), np.array(1), (np.int8(2), np.array(1)), (slice(1, 3), slice(None), np.array([[4, 0]])), [], ([1],
    [2], [3]), (slice(None), 1, None, [0, 1]),
    True, False, np.True_, np.array(False), (True, 0), (0, True), (..., True), (None, True), (True, None), (True, True), (True, False),
    (0, ..., True), (slice(0, 2), True), (True, slice(0, 2)), ([0, 1], True), ([0, 1], True, slice(None)), (True, slice(None), [0]),
    (slice(None), 1, ..., True), (MASK, True), (True, MASK), (..., False, 1),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_getitem_is_that_of_numpy(index: Any) -> None:
    expected = x3[index]
    assert_same(staged(lambda x: x[index], x3)[0], expected)
    assert_same(cnp.getitem(x3, index), expected)
    assert_jvp(lambda x: cnp.getitem(x, index), x3)


OTHER_MASKS = [MASK[:2], MASK[0], (slice(None), MASK), (..., MASK), [True, False], np.ones(4, bool), np.ones((3, 5), bool)]


@pytest.mark.parametrize("index", OTHER_MASKS, ids=str)
def test_a_mask_of_another_shape_is_refused(index: Any) -> None:
    with pytest.raises(IndexError):
        x3[index]
    for read in (lambda x: x[index], lambda x: x.at[index].set(0.0)):
        with pytest.raises((IndexingError, ShapeError), match="mask"):
            staged(read, x3)


@given(st.data())
def test_getitem_with_any_index(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(max_dims=4, min_side=0, max_side=4))
    x = np.arange(np.prod(shape), dtype=float).reshape(shape)
    basic = hnp.basic_indices(shape, allow_newaxis=True)
    index = data.draw(st.one_of(basic, hnp.integer_array_indices(shape)) if 0 not in shape else basic)
    assert_same(staged(lambda x: x[index], x)[0], x[index])


@given(st.data())
def test_getitem_with_mixed_advanced_indices(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    common = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3))
    items: list[Any] = []
    for n in shape:
        kind = data.draw(st.sampled_from(["slice", "int", "array", "none", "mask"]))
        if kind == "none":
            items.append(None)
            kind = "slice"
        if kind == "slice":
            items.append(data.draw(st.slices(n)))
        elif kind == "int":
            items.append(data.draw(st.integers(-n, n - 1)))
        elif kind == "mask":
            mask = np.zeros(n, bool)
            mask[data.draw(st.integers(0, n - 1))] = True
            items.append(mask)
        else:
            items.append(data.draw(hnp.arrays(np.int64, common, elements=st.integers(-n, n - 1))))
    items = items[: data.draw(st.integers(0, len(items)))]
    place = data.draw(st.integers(0, len(items)))
    if data.draw(st.booleans()) and sum(item is not None for item in items[place:]) == 0:
        items.insert(place, Ellipsis)
    x = np.arange(np.prod(shape), dtype=float).reshape(shape)
    index = tuple(items)
    expected = x[index]
    assert_same(staged(lambda x: x[index], x)[0], expected)
    values = np.random.default_rng(0).normal(size=expected.shape)
    updated = x.copy()
    np.add.at(updated, index, values)
    assert_same(staged(lambda x, v: cnp.at(x)[index].add(v), x, values)[0], updated, rtol=1e-12)


@pytest.mark.parametrize("index", [0, slice(1, None), (slice(None), None), ..., np.array([0, 2]), (1, 2)], ids=str)
def test_common_indices_are_one_op(index: Any) -> None:
    program, _ = stage_flat(lambda x: [x[index]], [type_of(x3)])
    assert len(program.equations) == (0 if index is Ellipsis else 1)


@pytest.mark.parametrize(
    "build",
    [
        lambda i: i,
        lambda i: (slice(None), i),
        lambda i: (i, i),
        lambda i: (slice(1, None), i, 0),
        lambda i: (0, slice(None), i),
        lambda i: [i, 0],
    ],
)
@pytest.mark.parametrize("i", [1, -1])
def test_traced_integers_index(build: Any, i: int) -> None:
    assert_same(staged(lambda x, i: x[build(i)], x3, i)[0], x3[build(i)])
    assert_same(staged(lambda i: cnp.getitem(x3, build(i)), i)[0], x3[build(i)])


def test_traced_index_arrays() -> None:
    i = np.array([[0, -1], [2, 1]])
    assert_same(staged(lambda x, i: x[:, i, 0], x3, i)[0], x3[:, i, 0])
    (y,), _ = batch_flat(lambda i: [cnp.getitem(x3, i)], 2, [True], [np.array([2, 0])])
    np.testing.assert_array_equal(y, x3[[2, 0]])


def test_bad_indices_say_what_is_wrong() -> None:
    for index, text in (
        (3, "out of bounds"),
        ([0, 7], "7 is out of bounds for axis 0"),
        ((0, 0, 0, 0), "4 indices"),
        (1.5, "cannot index"),
        ("a", "cannot index"),
        ((..., ...), "ellipsis"),
    ):
        with pytest.raises(IndexingError, match=text):
            staged(lambda x, index=index: x[index], x3)
    with pytest.raises(TracerConversionError, match=r"mask of unknown size"):
        staged(lambda x: x[x > 0], x3)
    with pytest.raises(TracerConversionError, match=r"x\.at\[i\]\.set"):
        staged(lambda x: x.__setitem__(0, 1.0), x3)


def test_masks_are_concrete_under_differentiation() -> None:
    assert_jvp(lambda x: (x * 2)[x > 0] if not isinstance(x, np.ndarray) else (x * 2)[x3 > 0], x3)


# ---- updates -------------------------------------------------------------------------------------------------------------------
KINDS = {
    "set": None,
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "min": np.minimum,
    "max": np.maximum,
}


def updated(kind: str, x: Any, index: Any, values: Any) -> Any:
    y = x.copy()
    if kind == "set":
        y[index] = values
    else:
        KINDS[kind].at(y, index, values)
    return y


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_updates_are_those_of_numpy(kind: str, index: Any) -> None:
    values = np.random.default_rng(1).uniform(0.5, 1.5, x3[index].shape)
    for v in (values, 0.75):
        expected = updated(kind, x3, index, v)
        eager = getattr(cnp.asarray(x3).at[index], kind)(v)
        assert type(eager) is Array
        assert_same(eager, expected)
        assert_same(staged(lambda x, v: getattr(x.at[index], kind)(v), x3, v)[0], expected, rtol=1e-14)
    unique = np.unique(np.arange(x3.size).reshape(x3.shape)[index]).size == x3[index].size
    if kind != "set" or unique:
        assert_jvp(lambda x, v: getattr(cnp.at(x)[index], kind)(v), x3, values)


def test_updates_of_repeated_indices() -> None:
    x, i, v = np.ones(4), np.array([1, 1, -3, 0]), np.array([2.0, 3.0, 5.0, 7.0])
    for kind in ("add", "subtract", "multiply", "divide", "min", "max"):
        assert_same(staged(lambda x, v, kind=kind: getattr(x.at[i], kind)(v), x, v)[0], updated(kind, x, i, v), rtol=1e-14)
        assert_jvp(lambda x, v, kind=kind: getattr(cnp.at(x)[i], kind)(v), x + 3 * np.arange(4), v)


def test_power_and_apply() -> None:
    y = x3.copy()
    y[1] = y[1] ** 2
    assert_same(staged(lambda x: x.at[1].power(2), x3)[0], y)
    assert_same(cnp.asarray(x3).at[1].apply(lambda v: v**2), y)
    assert_same(staged(lambda x: x.at[x > 0].apply(lambda v: -v), x3)[0], np.where(x3 > 0, -x3, x3))


def test_traced_masks_choose() -> None:
    assert_same(staged(lambda x: x.at[x > 0].set(7.0), x3)[0], np.where(x3 > 0, 7.0, x3))
    assert_same(staged(lambda x: x.at[x > 0].multiply(2.0), x3)[0], np.where(x3 > 0, 2 * x3, x3))
    row = np.arange(5.0)
    assert_same(staged(lambda x, m: x.at[m].add(row), x3, MASK)[0], np.where(MASK[:, :, None], x3 + row, x3))
    with pytest.raises(ShapeError, match="mask of unknown size"):
        staged(lambda x: x.at[x > 0].set(x[0, 0]), x3)


def test_traced_indices_update() -> None:
    assert_same(staged(lambda x, i: x.at[i].set(0.0), x3, 1)[0], updated("set", x3, 1, 0.0))
    assert_same(staged(lambda x, i: x.at[:, i].add(1.0), x3, np.array([1, 1]))[0], updated("add", x3, (slice(None), [1, 1]), 1.0))
    assert_same(staged(lambda v: cnp.zeros(3).at[0].set(v), 2.0)[0], np.array([2.0, 0.0, 0.0]))


def test_extrema_at_one_index_share_their_derivative() -> None:
    """The work does not grow with the array: the other elements are passed on."""
    x, w = np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 100.0])

    def f(kind: str, x: Any, u: Any) -> Any:
        return cnp.sum(getattr(x.at[1], kind)(u) * w)

    for kind, u, by_x, by_u in (("max", 2.0, 5.0, 5.0), ("min", 5.0, 10.0, 0.0), ("max", 5.0, 0.0, 10.0), ("max", np.nan, 0.0, 0.0)):
        got_x, got_u = cotan.grad(lambda x, u, kind=kind: f(kind, x, u), (0, 1))(x, u)
        np.testing.assert_array_equal(got_x, [1.0, by_x, 100.0])
        np.testing.assert_array_equal(got_u, by_u)
    elementwise = [e for e in cotan.stage(cotan.grad(lambda x: f("max", x, 2.0)))(x).equations if e.op.name in ("equal", "maximum", "div")]
    assert elementwise
    assert all(v.type.shape == () for e in elementwise for v in e.outputs)


def test_modes_out_of_bounds() -> None:
    x, i = np.arange(4.0), np.array([1, 9])
    for run in (lambda f: staged(f, x, i)[0], lambda f: np.asarray(f(cnp.asarray(x), i))):
        assert_same(run(lambda x, i: x.at[i].add(1.0, mode="drop")), np.array([0.0, 2.0, 2.0, 3.0]))
        assert_same(run(lambda x, i: x.at[i].add(1.0, mode="clip")), np.array([0.0, 2.0, 2.0, 4.0]))
        assert_same(run(lambda x, i: x.at[i].get(mode="fill", fill_value=-1.0)), np.array([1.0, -1.0]))
        assert_same(run(lambda x, i: x.at[i].get(mode="clip")), np.array([1.0, 3.0]))
        assert np.isnan(run(lambda x, i: x.at[i].get(mode="fill"))[1])
    with pytest.raises(IndexError):
        cnp.asarray(x).at[9].set(1.0)
    with pytest.raises(IndexError):
        staged(lambda x: x.at[9].set(1.0), x)
    assert_same(cnp.asarray(x).at[9].get(mode="clip"), np.float64(3.0))


def test_updates_keep_the_dtype_or_refuse() -> None:
    x = np.arange(3)
    for run in (
        lambda: cnp.asarray(x).at[0].set(1.5),
        lambda: staged(lambda x: x.at[0].set(1.5), x),
        lambda: cnp.asarray(x).at[:2].add(1.5),
        lambda: staged(lambda x, v: x.at[0].set(v), x, 1.5),
    ):
        with pytest.raises(DtypeError, match=r"float64 values cannot go into an array of dtype int64"):
            run()
    assert staged(lambda x: x.at[0].set(1), x.astype(np.float32))[0].dtype == np.float32
    with pytest.raises(ShapeError, match=r"values of shape \(2,\)"):
        staged(lambda x: x.at[0].set(np.ones(2)), x3)


def test_gathering_functions_refuse_bad_indices() -> None:
    with pytest.raises(IndexError):
        cnp.take(np.ones(3), 5)
    with pytest.raises(IndexingError, match="out of bounds"):
        staged(lambda x: cnp.take(x, 5), np.ones(3))
    assert_same(staged(lambda x: cnp.take(x, np.array([5, -1]), mode="clip"), np.arange(3.0))[0], np.array([2.0, 0.0]))


ENGINES = {"native": cotan.jit, "numpy": lambda f: cotan.jit(f, engine="numpy")}
READS = {
    "index": lambda x, i: x[i],
    "one index": lambda x, i: x[i[0]],
    "last axis": lambda x, i: x.reshape(0, 1, 0)[:, :, i] if x.ndim == 1 else x,
    "update": lambda x, i: x.at[i].set(1.0),
    **{f"take {m}": lambda x, i, m=m: cnp.take(x, i, mode=m) for m in (None, "raise", "clip", "wrap")},
    **{f"take_along_axis {m}": lambda x, i, m=m: cnp.take_along_axis(x, i, 0, mode=m) for m in (None, "raise", "clip", "wrap")},
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("read", READS)
def test_traced_indices_into_an_empty_axis_are_refused(read: str, engine: str) -> None:
    function, empty = READS[read], np.zeros(0)
    with pytest.raises(IndexingError, match="length 0"):
        ENGINES[engine](function)(empty, np.array([3, -100]))
    with pytest.raises(IndexError):
        cotan.vmap(lambda i: function(cnp.asarray(empty), i[None]))(np.array([3, -100]))
    if read != "one index":
        assert ENGINES[engine](function)(empty, np.zeros(0, int)).size == 0


def test_modes_that_fill_take_of_an_empty_axis() -> None:
    empty, i = np.zeros(0), np.array([3, -100])
    assert np.isnan(cotan.jit(lambda x, i: cnp.take(x, i, mode="fill"))(empty, i)).all()
    assert np.isnan(cotan.jit(lambda x, i: cnp.take_along_axis(x, i, 0, mode="fill"))(empty, i)).all()
    assert cotan.jit(lambda x, i: x.at[i].set(1.0, mode="drop"))(empty, i).shape == (0,)
    assert cotan.jit(lambda x, i: x[i])(np.zeros((3, 0)), np.array([0, 2])).shape == (2, 0)


@pytest.mark.parametrize("index", [[-1, 0], [0, 2], [1, 0], [True, False]], ids=str)
@pytest.mark.parametrize("mode", ["raise", "wrap", "clip"])
def test_choose_is_that_of_numpy(mode: str, index: Any) -> None:
    x, i = np.array([1.0, 2.0]), np.array(index)

    def choose(x: Any, i: Any) -> Any:
        return np.choose(i, [x, 3 * x], mode=mode)

    known = {"vjp": lambda: cotan.vjp(choose, x, i)[0], "closed over": lambda: cotan.jit(lambda x: choose(x, i))(x)}
    traced = {name: lambda jit=jit: jit(choose)(x, i) for name, jit in ENGINES.items()}
    try:
        want = choose(x, i)
    except ValueError:
        for run in known.values():
            with pytest.raises(ArgumentError, match="invalid entry in choice array"):
                run()
        with pytest.raises(IndexError):  # native code cannot raise midway
            traced["numpy"]()
        return
    for run in (known | traced).values():
        np.testing.assert_array_equal(run(), want)
    np.testing.assert_array_equal(cotan.grad(lambda x: choose(x, i).sum())(x), want / x)


@pytest.mark.parametrize(("mode", "want"), [("clip", [2.0, 1.0]), ("wrap", [2.0, 2.0])])
def test_take_along_axis_with_known_indices_and_a_mode(mode: str, want: list[float]) -> None:
    run = cotan.jit(lambda x: cnp.take_along_axis(x, np.array([5, -7]), 0, mode=mode))
    np.testing.assert_array_equal(run(np.array([1.0, 2.0])), want)
    with pytest.raises(IndexingError, match="out of bounds"):
        cotan.jit(lambda x: cnp.take_along_axis(x, np.array([5, -7]), 0))(np.array([1.0, 2.0]))
