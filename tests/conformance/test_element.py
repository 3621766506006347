"""The defining equation of every op that has one, run one element at a time, agrees with the op's NumPy meaning."""

from __future__ import annotations

import numpy as np
import pytest

from .cases import ALL_CASES, DTYPES, Case, in_dtypes, params, unique
from .scalar_interpreter import interpret

DEFINED = [case for case in ALL_CASES if case.op.has_element()]
OTHERS = unique(in_dtypes(DEFINED, [np.dtype(np.complex128), np.dtype(np.int64)]))
ALL_DTYPES = in_dtypes(DEFINED, [dtype for dtype in DTYPES if dtype.name not in ("float16", "float64", "complex128", "int64")])


@pytest.mark.parametrize("case", params(unique(DEFINED + OTHERS)) + params(ALL_DTYPES, pytest.mark.exhaustive))
def test_the_defining_equation_gives_what_numpy_gives(case: Case):
    expected = np.asarray(case.op.impl(*case.operands))
    actual = interpret(case.op, case.operands)
    if expected.dtype.kind in "fc":
        single = np.finfo(expected.dtype).eps > 1e-10
        np.testing.assert_allclose(actual, expected, rtol=2e-5 if single else 1e-9, atol=1e-5 if single else 1e-11)
    else:
        np.testing.assert_array_equal(actual, expected)
