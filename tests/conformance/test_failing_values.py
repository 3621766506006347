"""An op declares the operands by which it or its derivatives may fail, and it never fails for examples of a batch that do not run it.

Operands are filled with hostile values: zeros, nan, infinities, the largest and the least numbers. In operands without the declaration they
give a result. In declared operands they may fail where the op runs, and never in a branch that is not taken.
"""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.core.tracing import type_of

from .calculus import pull, push
from .cases import ALL_CASES, Case, differentiable, direction, params, results, seeded
from .test_derivatives import restricted


def hostile(x):
    """Arrays like ``x`` of the worst values that it can have."""
    x = np.asarray(x)
    if x.dtype.kind == "b":
        return [np.zeros_like(x), np.ones_like(x)]
    if x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        return [np.full_like(x, v) for v in (0, limits.max, limits.min, *([-1] if x.dtype.kind == "i" else []))]
    largest = np.finfo(x.dtype).max
    return [np.full_like(x, v) for v in (0.0, np.nan, np.inf, -1.0, largest, -largest)]


def with_operand(case: Case, k: int, x) -> Case:
    return Case(case.op, tuple(x if j == k else y for j, y in enumerate(case.operands)))


def run(case: Case):
    """The results of the op; its derivatives in both modes, and the second ones, are run too."""
    with np.errstate(all="ignore"):
        found = results(case.op, case.operands)
        if differentiable([case]):
            (f, point), rng = restricted(case), seeded(case)
            vs, ws = [direction(rng, x) for x in point], [direction(rng, y) for y in f(*point)]
            forward, backward = (lambda *xs: push(f, xs, vs)[1]), (lambda *xs: pull(f, xs, ws)[1])
            for g in (forward, backward):
                g(*point)
            push(backward, point, vs)
            pull(forward, point, ws)
        return found


def failing(case: Case) -> list[int]:
    return [k for k in case.op.fails_on(*map(type_of, case.operands)) if np.size(case.operands[k])]


def other_operands(case: Case) -> set[int]:
    """The operands by which the op does not fail."""
    return set(range(len(case.operands))) - set(case.op.fails_on(*map(type_of, case.operands)))


NOT_FAILING = [case for case in ALL_CASES if other_operands(case)]
FAILING = [case for case in ALL_CASES if failing(case) and all(map(np.size, case.operands))]


def test_ops_that_fail_and_ops_that_do_not_are_known():
    failing_ops, others = ({case.op.name for case in cases} for cases in (FAILING, NOT_FAILING))
    assert failing_ops >= {"cholesky", "eigh", "gather", "inverse", "solve", "svd"}
    assert others >= {"add", "log", "div", "gather", "qr", "reduce_max", "solve"}
    assert not failing_ops & {"add", "log", "div", "reduce_max"}
    assert not others & {"cholesky", "eigh", "svd"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", params(NOT_FAILING))
def test_by_other_operands_it_does_not_fail(case: Case):
    """... but ends with results of the types that it has for other values."""
    types = case.op.type_rule(*map(type_of, case.operands))
    for k in other_operands(case):
        for x in hostile(case.operands[k]):
            found = run(with_operand(case, k, x))
            assert [(np.shape(y), np.asarray(y).dtype) for y in found] == [
                (t.shape, t.dtype) for t in (types if case.op.multiple else (types,))
            ]


def with_hostile_values(case: Case) -> list[Case]:
    """The case with values by which it may fail."""
    return [with_operand(case, k, x) for k in failing(case) for x in hostile(case.operands[k])]


def failures(case: Case) -> list[Case]:
    """The case with values by which it fails."""
    found = []
    for other in with_hostile_values(case):
        try:
            run(other)
        except (np.linalg.LinAlgError, ValueError, IndexError):
            found.append(other)
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cls", [pytest.param(cls, id=cls.name) for cls in dict.fromkeys(type(case.op) for case in FAILING)])
def test_by_what_it_says_it_fails(cls):
    assert any(failures(case) for case in FAILING if type(case.op) is cls), "it fails by none of these: say so by `total` or `fails_on`"


def guarded(case: Case):
    """The op where the first argument is true, else zeros: a list of arrays."""
    types = case.op.type_rule(*map(type_of, case.operands))
    idle = [np.zeros(t.shape, t.dtype) for t in (types if case.op.multiple else (types,))]
    return lambda flag, *xs: lax.cond(flag, lambda *xs: [cnp.asarray(y) for y in results(case.op, xs)], lambda *_: list(idle), *xs)


@pytest.mark.sampled(2)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("jit", [lambda f: f, cotan.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("case", params(FAILING))
def test_an_example_that_does_not_take_the_branch_does_not_fail(case: Case, jit):
    f, floats = guarded(case), case.floats
    moving = bool(differentiable([case]))

    def derivative(flag, *xs):
        def loss(*point):
            operands = list(xs)
            for k, x in zip(floats, point, strict=True):
                operands[k] = x
            return sum(cnp.sum(cnp.abs(y) ** 2) for y in f(flag, *operands) if type_of(y).inexact)

        return cotan.grad(loss, argnums=tuple(range(len(floats))))(*[xs[k] for k in floats])

    functions = [(g, jit(cotan.vmap(g))) for g in [f, *([derivative] if moving else [])]]
    # Some examples of an op that may fail do not (eigh of 2 x 2): the law holds of them with any values.
    for other in (failures(case) or with_hostile_values(case))[:4]:
        for order in (1, -1):
            rows = [(True, *case.operands), (False, *other.operands), (False, *case.operands)][::order]
            stacks = [np.stack(column) for column in zip(*rows, strict=True)]
            for g, batched in functions:
                expected = g(*rows[0 if order == 1 else 2])
                found = batched(*stacks)
                for y, value in zip(found, expected, strict=True):
                    y, value = np.asarray(y), np.asarray(value)
                    np.testing.assert_allclose(y[0 if order == 1 else 2], value, rtol=1e-9, atol=1e-11)
                    assert not np.any(y[1])
