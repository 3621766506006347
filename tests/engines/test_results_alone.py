"""Of a decomposition whose values alone are needed, compiled code computes these alone, where their order does not depend on that."""

from __future__ import annotations

import numpy as np
import pytest

import cotan
import cotan.numpy as cnp
import cotan.scipy.linalg as sla
from cotan.core.tracing import type_of
from cotan.engines.native.passes.simplify import simplify
from tests.conformance.cases import ALL_CASES, params

A = np.random.default_rng(0).normal(size=(12, 5))
S = A.T @ A
CASES = {
    "svd": (lambda a: cnp.linalg.svd(a, full_matrices=False)[1], A, "svdvals"),
    "nuclear norm": (lambda a: cnp.linalg.norm(a, "nuc"), A, "svdvals"),
    "eigh": (lambda a: cnp.linalg.eigh(a)[0], S, "eigvalsh"),
    "eigh_tridiagonal": (lambda d: sla.eigh_tridiagonal(d, d[1:])[0], A[:, 0], "eigvalsh_tridiagonal"),
    "eig_banded": (lambda a: sla.eig_banded(a)[0], A[:3], "eigvals_banded"),
}


@pytest.mark.parametrize("name", CASES)
def test_values_alone_are_computed(name):
    f, x, op = CASES[name]
    names = [e.op.name for e in simplify(cotan.stage(f)(x))[0].equations]
    assert op in names
    assert not {"svd", "eigh", "eigh_tridiagonal", "eigh_banded"} & set(names)
    np.testing.assert_allclose(cotan.jit(f)(x), f(x), rtol=1e-10)


ALONE = [case for case in ALL_CASES if case.op.result_alone is not None]


def test_the_ops_are_known():
    assert {case.op.name for case in ALONE} == {"svd", "eigh", "eigh_tridiagonal", "eigh_banded"}


@pytest.mark.parametrize("case", params(ALONE))
def test_a_result_alone_is_that_of_the_op(case):
    for k, y in enumerate(case.op(*case.operands)):
        alone = case.op.result_alone(k)
        if alone is not None:
            found = alone(*case.operands)
            assert type_of(found) == type_of(y)
            np.testing.assert_allclose(found, y, rtol=1e-9, atol=1e-12)
