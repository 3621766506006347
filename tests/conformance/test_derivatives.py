"""The derivative laws of every op: forward mode agrees with finite differences, linearize with forward mode, the transpose is the adjoint,
and the four combinations of forward and reverse mode give equal second derivatives, which agree with finite differences of the first.
"""

from __future__ import annotations

import numpy as np
import pytest

from cotan.core.tracing import type_of
from cotan.ops.casting import convert
from cotan.ops.contraction import matmul
from cotan.ops.factorization import column_range
from cotan.ops.families import scale
from cotan.ops.linalg import adjoint, columns, diagonal, mask
from cotan.ops.logic import not_equal
from cotan.ops.transcendental import exp
from cotan.transforms.linearize import record_linear
from cotan.transforms.transpose import backward_pass

from .calculus import difference, pair, pull, push, zeros_like
from .cases import (
    ALL_CASES,
    DERIVATIVE_BY_DEFINITION,
    OTHER_PRECISIONS,
    REAL_AND_COMPLEX,
    Case,
    differentiable,
    direction,
    in_double,
    params,
    results,
    seeded,
    tolerance,
)

SMOOTH = differentiable(REAL_AND_COMPLEX)
CASES = params(SMOOTH) + params(differentiable(OTHER_PRECISIONS), pytest.mark.exhaustive)
GAUGE = {"svd", "eigh", "eigh_banded", "qr", "pivoted_qr", "schur"}
"""Ops of whose unitary results the phases of the columns are free, where they are complex."""
SIGNS = {"schur"}
"""Ops that choose other signs in single precision than in double precision."""


def comparable(case: Case):
    """The function of a case; where its results have a freedom of choice, what of them has none."""
    f = case.function()
    if case.op.name not in GAUGE or not (case.op.name in SIGNS or np.iscomplexobj(case.operands[0])):
        return f

    def invariant(*xs):
        if case.op.name == "schur":
            t, z = f(*xs)
            n = type_of(t).shape[-1]
            weighted = matmul(z, np.broadcast_to(np.diag(np.arange(1, n + 1)), type_of(z).shape).astype(type_of(z).dtype))
            return [diagonal(t), matmul(weighted, adjoint(z)), matmul(matmul(z, mask(t, not_equal)), adjoint(z))]
        if case.op.name in ("qr", "pivoted_qr"):
            q, r = f(*xs)
            rows, k = type_of(q).shape[-1], min(type_of(r).shape[-1], type_of(q).shape[-1])
            first, rest = column_range(q, 0, k), column_range(q, k, rows)
            return [first, r, matmul(rest, adjoint(rest))] if rows > k else [q, r]
        if case.op.name != "svd":
            w, v = f(*xs)
            weights = columns(convert(exp(scale(type_of(w).dtype.type(0.1), w)), type_of(v).dtype), type_of(v).shape[-1])
            return [w, matmul(scale(weights, v), adjoint(v))]
        u, s, vh = f(*xs)
        k = type_of(s).shape[-1]
        (u, left), (v, right) = ((column_range(x, 0, k), column_range(x, k, type_of(x).shape[-1])) for x in (u, adjoint(vh)))
        # A full decomposition has bases of the complements, too.
        return [matmul(u, adjoint(v)), s, *(matmul(x, adjoint(x)) for x in (u, v, left, right) if type_of(x).shape[-1])]

    return invariant


def assert_close(actual, expected, *, rtol, what=""):
    """Close in the largest norm of the expected ones, where those are finite."""
    for a, b in zip(actual, expected, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape, what
        finite = np.isfinite(b)
        scale = max(1.0, float(np.max(np.abs(b[finite]), initial=0.0)))
        np.testing.assert_allclose(a[finite], b[finite], rtol=rtol, atol=rtol * scale, err_msg=what)


@pytest.mark.parametrize("case", CASES)
def test_forward_agrees_with_finite_differences(case: Case):
    if case.op.name in DERIVATIVE_BY_DEFINITION:
        pytest.skip(f"{case.op.name} {DERIVATIVE_BY_DEFINITION[case.op.name]}")
    f, rng = comparable(case), seeded(case)
    for alone in [None, *range(len(case.point))] if len(case.point) > 1 else [None]:
        vs = [direction(rng, x) if alone in (None, k) else zeros_like(x) for k, x in enumerate(case.point)]
        if case.op.name.startswith("gammainc"):  # has no derivative in its parameter, and says so
            vs = [None, vs[1]]
            if alone == 0:
                continue
        ys, dys = push(f, case.point, vs if alone is None else [v if k == alone else None for k, v in enumerate(vs)])
        double = in_double(case)  # differences in single precision would say little
        numeric = difference(
            comparable(double), double.point, [zeros_like(x) if v is None else v for x, v in zip(case.point, vs, strict=True)]
        )
        for y, dy in zip(ys, dys, strict=True):
            assert (type_of(y).shape, type_of(y).dtype) == (type_of(dy).shape, type_of(dy).dtype)
        assert_close(dys, numeric, rtol=tolerance(*ys, *case.point))


def restricted(case: Case):
    """The function and the point in the operands that it can be differentiated in."""
    if not case.op.name.startswith("gammainc"):
        return comparable(case), case.point
    f, (a, x) = comparable(case), case.point
    return (lambda x: f(a, x)), [x]


@pytest.mark.parametrize("case", CASES)
def test_the_pullback_is_the_adjoint_of_the_pushforward(case: Case):
    (f, point), rng = restricted(case), seeded(case)
    vs = [direction(rng, x) for x in point]
    ys, dys = push(f, point, vs)
    ws = [direction(rng, y) for y in ys]
    values, bars = pull(f, point, ws)
    assert_close(values, ys, rtol=tolerance(*ys))
    for x, bar in zip(point, bars, strict=True):
        assert (type_of(bar).shape, type_of(bar).dtype) == (type_of(x).shape, type_of(x).dtype)
    forward, backward = pair(ws, dys), pair(bars, vs)
    assert backward == pytest.approx(forward, rel=tolerance(*ys, *point), abs=1e-10 if tolerance(*ys, *point) < 1e-3 else 1e-3)


def linear_cases():
    for case in REAL_AND_COMPLEX:
        for members in case.op.linear_sets(len(case.operands)):
            chosen = [k for k in range(len(case.operands)) if members >> k & 1]
            if chosen and all(k in case.floats for k in chosen):
                yield pytest.param(case, chosen, id=f"{case.op}-{'-'.join(str(type_of(x)) for x in case.operands)}-in-{chosen}")


@pytest.mark.parametrize(("case", "chosen"), list(linear_cases()))
def test_transpose_is_the_adjoint_in_every_declared_operand_set(case: Case, chosen):
    rng = seeded(case)

    def linear(*ts):
        operands = list(case.operands)
        for k, t in zip(chosen, ts, strict=True):
            operands[k] = t
        return results(case.op, operands)

    ts = [direction(rng, case.operands[k]) for k in chosen]
    tape, inputs, outputs = record_linear(linear, [type_of(t) for t in ts], [f"t{k}" for k in chosen], case.op.name)
    ys = linear(*ts)
    ws = [direction(rng, y) for y in ys]
    bars = backward_pass(tape.equations, dict(zip(outputs, ws, strict=True)), inputs)
    bars = [zeros_like(t) if bar is None else bar for t, bar in zip(ts, bars, strict=True)]
    for t, bar in zip(ts, bars, strict=True):
        assert (type_of(bar).shape, type_of(bar).dtype) == (type_of(t).shape, type_of(t).dtype)
    exact = 1e-4 if tolerance(*ys) > 1e-3 else 1e-9
    assert pair(bars, ts) == pytest.approx(pair(ws, ys), rel=exact, abs=exact)


LINEAR = [case for case in differentiable(ALL_CASES) if case.op.linear_sets(len(case.operands))]


def test_ops_that_are_declared_linear_are_known():
    names = {case.op.name for case in LINEAR}
    assert names >= {"add", "mul", "div", "dot_general", "gather", "permute", "reduce_sum", "reshape", "scale", "solve"}
    assert not names & {"sin", "exp", "maximum", "cholesky", "cumprod"}


@pytest.mark.parametrize("case", params(LINEAR))
def test_a_declared_linear_op_is_linear(case: Case):
    """f(2 s + 3 t) = 2 f(s) + 3 f(t) in each declared set of operands."""
    rng = seeded(case)
    for members in case.op.linear_sets(len(case.operands)):
        chosen = [k for k in case.floats if members >> k & 1]
        s, t = ({k: direction(rng, case.operands[k]) for k in chosen} for _ in range(2))

        def at(values, case=case):
            return results(case.op, [values.get(k, x) for k, x in enumerate(case.operands)])

        both = at({k: np.asarray(2 * s[k] + 3 * t[k], np.asarray(s[k]).dtype) for k in chosen})
        for y, a, b in zip(both, at(s), at(t), strict=True):
            exact = 1e-5 if tolerance(y) > 1e-3 else 1e-10
            np.testing.assert_allclose(y, 2 * np.asarray(a) + 3 * np.asarray(b), rtol=exact, atol=exact)


@pytest.mark.parametrize("case", params(SMOOTH))
def test_four_ways_to_the_second_derivative_agree(case: Case):
    """w . D2 f [u, v] by forward over forward, forward over reverse, reverse over forward, reverse over reverse, finite differences."""
    (f, point), rng = restricted(case), seeded(case)
    if any(np.asarray(x).size == 0 for x in point):
        pytest.skip("nothing to differentiate")
    us, vs = ([direction(rng, x) for x in point] for _ in range(2))
    ws = [direction(rng, y) if np.all(np.isfinite(y)) else np.where(np.isfinite(y), direction(rng, y), 0) for y in f(*point)]
    tangents = lambda *xs: push(f, xs, vs)[1]  # noqa: E731 - read as a name in the laws below
    cotangents = lambda *xs: pull(f, xs, ws)[1]  # noqa: E731
    ways = {
        "forward over forward": pair(ws, push(tangents, point, us)[1]),
        "forward over reverse": pair(push(cotangents, point, us)[1], vs),
        "reverse over forward": pair(pull(tangents, point, ws)[1], us),
        "reverse over reverse": pair(pull(cotangents, point, vs)[1], us),
    }
    if case.op.name not in DERIVATIVE_BY_DEFINITION:
        ways["finite differences"] = pair(ws, difference(tangents, point, us))
    first = ways["forward over forward"]
    single = any(tolerance(y) > 1e-3 for y in f(*point))
    for way, value in ways.items():
        assert value == pytest.approx(first, rel=1e-2 if single else 1e-6, abs=1e-2 if single else 1e-7), f"{way}: {ways}"
