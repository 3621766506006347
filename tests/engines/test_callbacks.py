"""Compiled code calls Python for users' Python only: for no op of the registry in a dtype that it declares, nor for its derivatives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
from cotan import lax
from cotan.core.tracing import type_of
from cotan.engines.native.codegen.lower import lower_module
from cotan.engines.native.passes.simplify import simplify
from cotan.errors import CotanError

from ..conformance.cases import ALL_CASES, DTYPES, FIRST_ORDER_OPS, Case, in_dtypes, label
from .test_native import CASES as NATIVE

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
        found |= {f"{case.op} on {type_of(case.operands[0])}: {c.equation}" for c in lower_module(simplify(program)[0]).callbacks}
    return found, count


def test_no_op_is_left_to_python():
    """`test_native` says so of the cases that it compiles."""
    compiled = {label(case) for case in NATIVE if case.op.update is None}
    found, count = left(itself, [case for case in CASES if label(case) not in compiled])
    assert found == set()
    assert count > 1000


@pytest.mark.exhaustive
def test_no_op_in_any_dtype_is_left_to_python():
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


# ---- programs that ops hold ------------------------------------------------------------------------------------------------------
X = np.linspace(0.1, 0.9, 4)
MATRIX = np.eye(4) * 2 + 0.1
decay = cotan.custom_jvp(lambda x: cnp.exp(-x))
decay.defjvp(lambda primals, tangents: (decay(*primals), -decay(*primals) * tangents[0]))


def solved(x):
    return lax.custom_linear_solve(lambda v: MATRIX @ v, x, lambda matvec, b: b - matvec(b) / 9, symmetric=True)


def cofactors(x):
    return cotan.grad(lambda m: cnp.linalg.det(m.reshape(4, 1) * x + cnp.eye(4)))(x)


WRITTEN_OUT = {
    "jit": cotan.jit(lambda x: cnp.sin(x) * 2),
    "custom_jvp": decay,
    "checkpoint": cotan.checkpoint(lambda x: cnp.tanh(x) * x),
    "linear_solve": solved,
    "cofactors": cofactors,
    "jit in jit": cotan.jit(lambda x: cotan.jit(decay)(x) + cofactors(x)),
}
AROUND = {
    "fori": lambda f, x: lax.fori_loop(0, 3, lambda i, c: f(c) + i, x),
    "scan": lambda f, x: lax.scan(lambda c, y: (f(c), c * y), x, cnp.arange(3.0), reverse=True),
    "while": lambda f, x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, f(c[1])), (0, x))[1],
    "condition": lambda f, x: lax.while_loop(lambda c: (c[0] < 3) & (cnp.sum(f(c[1])) > 1e-3), lambda c: (c[0] + 1, f(c[1]) / 2), (0, x)),
    "cond": lambda f, x: lax.cond(cnp.sum(x) > 1, f, lambda c: decay(c) + MATRIX[0], x),
    "other branch": lambda f, x: lax.switch(2, [lambda c: c, f, lambda c: f(c) * MATRIX[1]], x),
    "loop in branch": lambda f, x: lax.cond(x[0] < 1, lambda c: lax.fori_loop(0, 2, lambda i, d: f(d), c), f, x),
    "branch in loop": lambda f, x: lax.fori_loop(0, 3, lambda i, c: lax.cond(i < 2, f, lambda d: f(d) + d, c), x),
    "map": lambda f, x: cotan.vmap(lambda y: lax.fori_loop(0, 2, lambda i, c: f(c), y))(cnp.stack([x, x + 1])),
    "swept": lambda f, x: lax.scan(lambda c, y: (f(c), c * y), x, cnp.arange(5.0), checkpoint=2),
    "swept while": lambda f, x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, f(c[1])), (0, x), checkpoint=True)[1],
    "swept in loop": lambda f, x: lax.fori_loop(0, 2, lambda i, c: lax.fori_loop(0, 4, lambda j, d: f(d) / 2, c, checkpoint=2), x),
    "checkpointed": lambda f, x: cotan.checkpoint(lambda y: lax.fori_loop(0, 2, lambda i, c: f(c), y))(x),
}


OFTEN = {*[(name, "fori") for name in WRITTEN_OUT], *[("jit", around) for around in AROUND], ("cofactors", "branch in loop")}


@pytest.mark.parametrize(
    ("name", "around"),
    [pytest.param(*p, marks=[] if p in OFTEN else pytest.mark.exhaustive) for p in itertools.product(WRITTEN_OUT, AROUND)],
)
def test_what_is_written_out_is_so_in_loops_and_branches(name, around):
    f = lambda x: AROUND[around](WRITTEN_OUT[name], x)  # noqa: E731
    for way in (f, cotan.grad(lambda x: sum(cnp.sum(y) for y in cotan.tree.leaves(f(x)) if y.ndim))):
        assert cotan.compile_report(way)(X).outside == ()
        found, expected = (cotan.tree.leaves(cotan.jit(way, engine=engine)(X)) for engine in ("native", "numpy"))
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


def test_what_a_callback_in_a_loop_raises_is_raised_through_what_is_written_out():
    def refuse(x):
        raise KeyError("here")

    inner = cotan.jit(lambda x: cotan.pure_callback(refuse, x, x) + 1)
    program = lambda x: lax.fori_loop(0, 3, lambda i, c: inner(c), x)  # noqa: E731
    (outside,) = cotan.compile_report(program)(X).outside
    assert outside.startswith("external")
    with pytest.raises(KeyError, match="here"):
        cotan.jit(program)(X)
