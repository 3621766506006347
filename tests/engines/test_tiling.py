"""Permuted arrays are equal in compiled code, at every size of a tile, on any number of threads."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan.core.tracing import type_of
from cotan.core.types import array_type
from cotan.engines.native.analysis.access import access_summary
from cotan.engines.native.options import CodegenOptions
from cotan.engines.native.runtime.thread_pool import limited

from ..conformance.cases import ALL_CASES, label

TILE = CodegenOptions().tile
rng = np.random.default_rng(41)
DTYPES = [
    np.float64,
    np.float32,
    *[pytest.param(d, marks=pytest.mark.exhaustive) for d in (np.int8, np.uint16, np.bool_, np.complex64, np.float16)],
]


def numbers(shape, dtype):
    x = rng.normal(size=shape) * 50
    return (x > 0) if np.dtype(dtype) == np.bool_ else np.abs(x).astype(dtype)


def same(f, *arrays):
    found, expected = np.asarray(cotan.jit(lambda *xs: f(cnp, *xs), engine="native")(*arrays)), f(np, *arrays)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(8, 9), (TILE, TILE), (TILE + 1, 2 * TILE - 1), (3, 100), (200, 8)])
def test_a_transposed_matrix_is_a_copy_in_another_order(shape, dtype):
    x = numbers(shape, dtype)
    same(lambda xp, x: xp.transpose(x), x)
    if np.dtype(dtype).kind == "f" and np.dtype(dtype).itemsize > 2:
        y = numbers(shape[::-1], dtype)
        same(lambda xp, x, y: (x.T + y) * x.T, x, y)
        same(lambda xp, x: xp.where(x.T > 20, x.T, 0) - 1, x)


@pytest.mark.parametrize("shape", [(2, 17, 70), (9, 10, 11), (0, 20, 30), (20, 1, 30)])
def test_axes_in_any_order(shape):
    x = rng.normal(size=shape)
    for order in permutations(range(3)):
        same(lambda xp, x, order=order: xp.transpose(x, order), x)
        same(lambda xp, x, order=order: xp.transpose(x, order) * 2.0, x)


def test_parts_and_reversed_axes_change_places():
    x = rng.normal(size=(150, 90))
    same(lambda xp, x: x[3:140, 5:80].T, x)
    same(lambda xp, x: x[::-1].T, x)
    same(lambda xp, x: x[:, ::-1].T, x)
    same(lambda xp, x: x[::2, ::3].T, x)
    same(lambda xp, x: xp.transpose(xp.broadcast_to(x[0], (40, 90))), x)
    same(lambda xp, x: x[3:140, 5:80].T + 1.0, x)
    same(lambda xp, x: x[::-1].T * x[:, :].T, x)
    same(lambda xp, x: xp.concatenate([x.T, 2.0 * x.T], 1), x)
    same(lambda xp, x: x.T + x[0, :1] + xp.arange(150.0), x)


@pytest.mark.parametrize("threads", [1, 2, pytest.param(3, marks=pytest.mark.exhaustive)])
def test_threads_copy_what_one_copies(threads):
    with limited(threads):
        x = rng.normal(size=(700, 501))
        same(lambda xp, x: x.T, x)
        same(lambda xp, x: x.T + 1.0, x)
        same(lambda xp, x, y: xp.swapaxes(x, 1, 2) * y, rng.normal(size=(9, 100, 130)), rng.normal(size=(9, 130, 100)))


def test_a_matrix_plus_its_transpose_and_the_gradient_of_that():
    x = rng.normal(size=(100, 100))
    same(lambda xp, x: x + x.T, x)
    same(lambda xp, x: xp.sum(x + 2.0 * x.T, axis=1) > 0, x)
    found = cotan.jit(cotan.grad(lambda x: cnp.sum((x.T * x) ** 2)), engine="native")(x)
    np.testing.assert_allclose(np.asarray(found), 4 * (x.T * x) * x.T, rtol=1e-13)


def test_elements_that_are_read_where_others_say_or_under_conditions_are_not_copied_ahead():
    x, i = rng.normal(size=(80, 70)), rng.integers(0, 70, (70, 80))
    same(lambda xp, x, i: xp.take_along_axis(x.T, i, axis=0) * 2.0, x, i)
    same(lambda xp, x, i: x.T[i[:, 0]] + x.T, x, i)
    same(lambda xp, x: xp.pad(x, 5).T[3:70, 4:60] + 1.0, x)
    same(lambda xp, x: xp.tril(x.T[:, :60]) + xp.triu(x.T[:, 20:]), x)
    same(lambda xp, x: xp.concatenate([x, x[:9]], 0).T * 2.0, x)
    same(lambda xp, x: xp.roll(x, 7, 1).T + x.T, x)


# ---- what moves, and what computes ----------------------------------------------------------------------------------------------------
def read_operands(case):
    """The operands of which an op moves elements, by its access summary; none if it computes, or reads nothing."""
    summary = access_summary(case.op, tuple(array_type(type_of(x).shape, type_of(x).dtype) for x in case.operands))
    return {k for k, _ in summary.reads} if summary is not None and summary.only_moves else set()


MOVING = [case for case in ALL_CASES if read_operands(case)]


def test_ops_that_move_elements_are_said_to_and_others_are_not():
    names = {case.op.name for case in MOVING}
    assert names >= {"broadcast_in_dim", "concatenate", "pad", "permute", "reshape", "reverse", "slice", "stop_gradient"}
    assert not names & {"add", "conj", "convert_element_type", "gather", "iota", "neg", "reduce_sum", "select_n", "sin", "sort"}


@pytest.mark.parametrize("case", MOVING, ids=label)
def test_an_op_that_is_said_to_move_elements_computes_none(case):
    """Routines read through such ops, to the memory of what they move. Elsewhere there may be zeros."""
    found = np.ravel(case.op.impl(*case.operands))
    known = np.concatenate([np.zeros(1, found.dtype), *[np.ravel(case.operands[k]) for k in read_operands(case)]])
    assert found.dtype == type_of(case.operands[0]).dtype
    assert all(np.any((known == x) | ((known != known) & (x != x))) for x in found)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 5, -1])
def test_powers_are_computed_before_what_is_made_as_a_whole(exponent):
    x, y = rng.normal(size=(2, 30, 30))
    for f in (
        lambda xp, x, y: (x**exponent) @ y,
        lambda xp, x, y: y @ (x**exponent).T,
        lambda xp, x, y: xp.linalg.solve(x**exponent + 30 * xp.eye(30), y**exponent),
        lambda xp, x, y: xp.sort(x**exponent, 1),
        lambda xp, x, y: xp.cumsum(x**exponent, 0),
        lambda xp, x, y: xp.argmax(x**exponent, 1),
        lambda xp, x, y: (x**exponent).T,
    ):
        found, expected = np.asarray(cotan.jit(lambda x, y, f=f: f(cnp, x, y), engine="native")(x, y)), f(np, x, y)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11 * np.abs(expected).max())
