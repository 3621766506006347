"""Batching an op equals a Python loop over the batch: for every subset of batched operands, and for an empty batch."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from cotan.core.tracing import type_of
from cotan.transforms.batch import batch_flat

from .calculus import pull
from .cases import ALL_CASES, Case, differentiable, direction, params, results, seeded


def variants(x, size):
    """Operands like ``x``: floats a little smaller each time, integers and bools in another order."""
    x = np.asarray(x)
    if x.dtype.kind in "fc":
        return [np.asarray(x * (1 - 0.03 * k), x.dtype) for k in range(size)]
    return [np.roll(x.ravel(), k).reshape(x.shape) for k in range(size)]


def flags(count):
    return (
        [f for f in product([False, True], repeat=count) if any(f)] if count <= 4 else [(True,) * count, (True,) + (False,) * (count - 1)]
    )


CASES = params([case for case in ALL_CASES if case.operands])


@pytest.mark.parametrize("case", CASES)
def test_batch_equals_a_python_loop(case: Case):
    size = 3
    for batched in flags(len(case.operands)):
        rows = [variants(x, size) if b else [x] * size for x, b in zip(case.operands, batched, strict=True)]
        stacked = [np.stack(row) if b else x for row, x, b in zip(rows, case.operands, batched, strict=True)]
        expected = [results(case.op, row) for row in zip(*rows, strict=True)]
        ys, is_batched = batch_flat(lambda *xs: results(case.op, xs), size, batched, stacked)
        for k, (y, flag) in enumerate(zip(ys, is_batched, strict=True)):
            assert type_of(y).dtype == type_of(expected[0][k]).dtype
            for row in range(size):
                np.testing.assert_allclose(
                    np.asarray(y)[row] if flag else y, expected[row][k], rtol=1e-12, atol=1e-12, err_msg=f"batched={batched}"
                )


@pytest.mark.parametrize("case", params([case for case in ALL_CASES if case.op.loop_axes is not None]))
def test_each_entry_along_a_loop_axis_is_computed_by_itself(case: Case):
    """The op on some entries, in one call, gives those entries of the results."""
    whole = results(case.op, case.operands)
    for k in () if case.op.loop_axes is None else case.op.loop_axes(*map(type_of, case.operands)):
        count = np.shape(case.operands[0])[k]
        assert all(np.shape(x)[k] == count for x in (*case.operands, *whole))
        for first, end in ((0, count // 2), (count // 2, count)):
            part = (slice(None),) * k + (slice(first, end),)
            if end > first:
                for y, some in zip(whole, results(case.op, [np.asarray(x)[part] for x in case.operands]), strict=True):
                    np.testing.assert_allclose(np.asarray(y)[part], some, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_an_empty_batch_has_the_right_type(case: Case):
    types = case.op.type_rule(*map(type_of, case.operands))
    types = types if case.op.multiple else (types,)
    for batched in flags(len(case.operands)):
        operands = [np.zeros((0, *np.shape(x)), np.asarray(x).dtype) if b else x for x, b in zip(case.operands, batched, strict=True)]
        ys, is_batched = batch_flat(lambda *xs: results(case.op, xs), 0, batched, operands)
        for y, flag, t in zip(ys, is_batched, types, strict=True):
            expected = t.batched(0) if flag else t
            assert (type_of(y).shape, type_of(y).dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("case", params(differentiable(ALL_CASES)))
def test_a_batch_of_pullbacks_equals_a_python_loop(case: Case):
    """The rules of an op batch too: reverse mode of each of three points at once."""
    if case.op.name.startswith("gammainc"):
        pytest.skip("has no derivative in its parameter, and says so")
    size, rng, f = 3, seeded(case), case.function()
    points = [variants(x, size) for x in case.point]
    ws = [[direction(rng, y) for _ in range(size)] for y in f(*case.point)]
    count = len(points)
    expected = [pull(f, [row[k] for row in points], [row[k] for row in ws])[1] for k in range(size)]
    ys, is_batched = batch_flat(
        lambda *xs: pull(f, xs[:count], xs[count:])[1], size, [True] * (count + len(ws)), [np.stack(row) for row in points + ws]
    )
    for k, (y, flag) in enumerate(zip(ys, is_batched, strict=True)):
        for row in range(size):
            np.testing.assert_allclose(
                np.asarray(y)[row] if flag else y, expected[row][k], rtol=1e-4 if np.asarray(y).dtype.itemsize < 8 else 1e-9, atol=1e-9
            )
