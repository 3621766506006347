"""Nothing but calls of users' Python is left to Python: no op of the registry, in no dtype that it claims, nor what is derived from it."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
from cotan.core.tracing import type_of
from cotan.engines.native.lower import lowered
from cotan.engines.native.simplify import simplified
from cotan.errors import CotanError

from ..conformance.cases import ALL_CASES, DTYPES, FIRST_ORDER_OPS, Case, in_dtypes, label

FURTHER = [np.dtype(name) for name in ("int16", "uint16", "uint32")]
CASES = list({label(case): case for case in [*ALL_CASES, *in_dtypes(ALL_CASES, [*DTYPES, *FURTHER])]}.values())
HALF = np.dtype(np.float16)


def itself(case: Case):
    return case.op, case.operands


def batched(case: Case):
    return cotan.vmap(case.op), [np.stack([np.asarray(x)] * 3) for x in case.operands]


def pulled(f):
    """The cotangents of what a function gives, taken as its cotangents."""

    def call(*xs):
        ys, pull = cotan.vjp(f, *xs)
        return pull(ys)

    return call


def pushed(f):
    return lambda *xs: cotan.jvp(f, xs, xs)


def forward(case: Case):
    return pushed(case.function()), case.point


def reverse(case: Case):
    return pulled(case.function()), case.point


def forward_over_reverse(case: Case):
    return pushed(pulled(case.function())), case.point


def reverse_over_reverse(case: Case):
    return pulled(pulled(case.function())), case.point


def batched_reverse(case: Case):
    return cotan.vmap(pulled(case.function())), [np.stack([np.asarray(x)] * 3) for x in case.point]


WAYS = [itself, batched, forward, reverse, forward_over_reverse, reverse_over_reverse, batched_reverse]


def left(way, cases):
    """What is outside, and how many Programs were looked at."""
    found, count = set(), 0
    for case in cases:
        if way not in (itself, batched) and not case.floats:
            continue
        try:
            f, operands = way(case)
            program = cotan.stage(f)(*operands)
        except CotanError:  # no such dtype, no derivative, nothing along a batch
            continue
        count += 1
        found |= {f"{case.op} on {type_of(case.operands[0])}: {c.equation}" for c in lowered(simplified(program)[0]).callbacks}
    return found, count


def test_no_op_is_left_to_python():
    found, count = left(itself, CASES)
    assert found == set()
    assert count > 4000


@pytest.mark.parametrize("way", WAYS[1:], ids=lambda way: way.__name__)
def test_nothing_derived_from_an_op_is_left_to_python(way):
    """Of every op one example, in the dtype that it has, and of halves."""
    of_ops = {cls.name: [c for c in ALL_CASES if type(c.op) is cls][:1] for cls in FIRST_ORDER_OPS}
    some = [case for cases in of_ops.values() for case in [*cases, *in_dtypes(cases, [HALF])]]
    found, count = left(way, some)
    assert found == set()
    assert count > 80


@pytest.mark.exhaustive
@pytest.mark.parametrize("way", WAYS[1:], ids=lambda way: way.__name__)
def test_nothing_derived_in_any_dtype_is_left_to_python(way):
    found, count = left(way, CASES)
    assert found == set()
    assert count > 1000
