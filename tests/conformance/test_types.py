"""The type rule and the NumPy meaning of every op agree, in every dtype that the op claims; empty and 0-d arrays are among the examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cotan.core.errors import DtypeError
from cotan.core.tracing import type_of

from .cases import ALL_CASES, DTYPES, FIRST_ORDER_OPS, Case, claimed, examples, in_dtypes, params, results, unique

EVERY_DTYPE = unique(ALL_CASES + in_dtypes(ALL_CASES, DTYPES))


@pytest.mark.parametrize("case", params(EVERY_DTYPE))
def test_the_type_rule_says_what_numpy_gives(case: Case):
    try:
        types = case.op.type_rule(*map(type_of, case.operands))
    except DtypeError:
        assert any(type_of(x).dtype == np.float16 for x in case.operands)  # LAPACK, and complex numbers, begin at single precision
        return
    types = tuple(types) if case.op.multiple else (types,)
    values = results(case.op, case.operands)
    assert [(type_of(y).shape, type_of(y).dtype) for y in values] == [(t.shape, t.dtype) for t in types]


PYTHON = {"f": float, "i": int, "c": complex, "b": bool}


def scalar_cases():
    """Cases with a 0-d operand, all of whose operands have the dtype of a Python scalar."""
    for case in EVERY_DTYPE:
        arrays = [np.asarray(x) for x in case.operands]
        if any(x.ndim == 0 for x in arrays) and all(x.dtype.name in ("float64", "int64", "complex128", "bool") for x in arrays):
            yield case


@pytest.mark.parametrize("case", params(list(scalar_cases())))
def test_python_scalars_give_the_type_that_the_type_rule_says(case: Case):
    """... and its weakness: an op that keeps Python scalars weak gives a Python scalar."""
    operands = [PYTHON[np.asarray(x).dtype.kind](x) if np.ndim(x) == 0 else x for x in case.operands]
    t = case.op.type_rule(*map(type_of, operands))
    assert [type_of(y) for y in results(case.op, operands)] == list(t if case.op.multiple else (t,))


@pytest.mark.parametrize("cls", [pytest.param(cls, id=cls.name) for cls in FIRST_ORDER_OPS if any(case.operands for case in examples(cls))])
def test_operands_are_left_as_they_were(cls):
    for op, operands in examples(cls):
        copies = [np.array(x) for x in operands]
        results(op, operands)
        for x, copy in zip(operands, copies, strict=True):
            np.testing.assert_array_equal(x, copy)


def not_claimed(case: Case) -> list[np.dtype[Any]]:
    """Dtypes that the op does not claim; none where the operands differ in dtype (indices, selectors)."""
    uniform = len({np.asarray(x).dtype for x in case.operands}) == 1
    return [dtype for dtype in DTYPES if uniform and dtype.kind not in claimed(case.op)]


REFUSING = [cls for cls in FIRST_ORDER_OPS if any(map(not_claimed, examples(cls)))]


def test_ops_that_claim_some_dtypes_only_are_known():
    names = {cls.name for cls in REFUSING}
    assert names >= {"sin", "arctan2", "cholesky", "bitwise_and", "reduce_sum", "floor"}
    assert not names & {"reshape", "permute", "stop_gradient", "equal", "iota"}


@pytest.mark.parametrize("cls", [pytest.param(cls, id=cls.name) for cls in REFUSING])
def test_dtypes_that_are_not_claimed_are_refused(cls):
    """... by the type rule, with an error that says so."""
    for case in examples(cls):
        for dtype in not_claimed(case):
            types = [type_of(np.zeros(np.shape(x), dtype)) for x in case.operands]
            with pytest.raises(DtypeError, match="What to do:"):
                case.op.type_rule(*types)
