"""Staging an op, or a transformation of it, and evaluating the program gives what running it at once gives; programs are well formed."""

from __future__ import annotations

import numpy as np
import pytest

from cotan.core.checking import check_linear, check_program
from cotan.core.program import evaluate
from cotan.core.staging import stage_flat
from cotan.core.tracing import type_of
from cotan.transforms.batch import batch_program
from cotan.transforms.linearize import linearize_program
from cotan.transforms.transpose import transpose_program_rule

from .calculus import pull, push, zeros_like
from .cases import REAL_AND_COMPLEX, Case, differentiable, direction, params, results, seeded
from .test_derivatives import restricted

SMOOTH = differentiable(REAL_AND_COMPLEX)


def staged(function, operands):
    program, constants = stage_flat(function, [type_of(x) for x in operands])
    check_program(program)
    assert str(program)
    return evaluate(program, *constants, *operands)


def assert_same(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        assert (type_of(a).shape, type_of(a).dtype) == (type_of(b).shape, type_of(b).dtype)
        np.testing.assert_allclose(a, b, rtol=1e-5 if np.asarray(b).dtype.char in "fF" else 1e-10, atol=1e-10)


@pytest.mark.parametrize("case", params(REAL_AND_COMPLEX))
def test_staging_then_evaluating_is_eager(case: Case):
    assert_same(staged(lambda *xs: results(case.op, xs), case.operands), results(case.op, case.operands))


@pytest.mark.parametrize("case", params(SMOOTH))
def test_staged_derivatives_are_the_eager_ones(case: Case):
    (f, point), rng = restricted(case), seeded(case)
    count = len(point)
    vs = [direction(rng, x) for x in point]
    ws = [direction(rng, y) for y in f(*point)]
    assert_same(staged(lambda *xs: push(f, xs[:count], xs[count:])[1], [*point, *vs]), push(f, point, vs)[1])
    assert_same(staged(lambda *xs: pull(f, xs[:count], xs[count:])[1], [*point, *ws]), pull(f, point, ws)[1])


@pytest.mark.parametrize("case", params(SMOOTH))
def test_linearize_equals_jvp_and_its_transpose_the_pullback(case: Case):
    """... for the staged programs: the tangent program, at its residuals, is the pushforward."""
    (f, point), rng = restricted(case), seeded(case)
    program, constants = stage_flat(f, [type_of(x) for x in point])
    values = [*constants, *point]
    active = (False,) * len(constants) + (True,) * len(point)
    forward, linear, is_active, count = linearize_program(program, active)
    check_program(forward)
    check_program(linear)
    check_linear(linear, range(count, len(linear.inputs)))
    outs = evaluate(forward, *values)
    ys, residuals = outs[: len(program.outputs)], outs[len(program.outputs) :]
    vs = [direction(rng, x) for x in point]
    expected_ys, expected_dys = push(f, point, vs)
    assert_same(ys, expected_ys)
    dys = iter(evaluate(linear, *residuals, *vs))
    assert_same([next(dys) if flag else zeros_like(y) for y, flag in zip(ys, is_active, strict=True)], expected_dys)
    ws = [direction(rng, y) for y in ys]
    kept = [w for w, flag in zip(ws, is_active, strict=True) if flag]
    bars = transpose_program_rule(linear, [k >= count for k in range(len(linear.inputs))], residuals, kept)
    assert_same([zeros_like(x) if bar is None else bar for x, bar in zip(point, bars, strict=True)], pull(f, point, ws)[1])


@pytest.mark.parametrize("case", params([case for case in REAL_AND_COMPLEX if case.operands]))
def test_a_batched_program_is_well_formed(case: Case):
    program, constants = stage_flat(lambda *xs: results(case.op, xs), [type_of(x) for x in case.operands])
    batched, is_batched = batch_program(program, 2, [False] * len(constants) + [True] * len(case.operands))
    check_program(batched)
    outs = evaluate(batched, *constants, *[np.stack([x, x]) for x in case.operands])
    for y, flag, expected in zip(outs, is_batched, results(case.op, case.operands), strict=True):
        for row in np.asarray(y) if flag else [y]:
            np.testing.assert_allclose(row, expected, rtol=1e-5 if np.asarray(row).dtype.char in "fF" else 1e-10, atol=1e-10)
