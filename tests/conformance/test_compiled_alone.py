"""An op with a routine compiles alone: no other op of a Program provides a part of the engine that it needs.

The examples are enlarged beyond each threshold of the engine (matrices in lanes or by a library, one thread or several, blocks, digits),
and run with one thread and with two, in this process and as an object for a linker.
"""

from __future__ import annotations

import numpy as np
import pytest

import cotan
from cotan.core.errors import CotanError
from cotan.core.tracing import type_of
from cotan.engines.native.aot.export import DECLARED, VARIABLE, libraries_of
from cotan.engines.native.runtime.thread_pool import limited
from cotan.engines.native.status import NotExportableError
from cotan.ops import banded, banded_cholesky, banded_spectra, toeplitz

from .calculus import pull
from .cases import FIRST_ORDER_OPS, Case, differentiable, direction, examples, results, seeded

pytestmark = pytest.mark.optimized

WHOLE = [cls for cls in FIRST_ORDER_OPS if cls.routine is not None or cls.update is not None]
SIDES, FURTHER_SIDES = (258,), (2, 9, 70, 400)
LENGTHS, FURTHER_LENGTHS = (300_000,), (20, 150, 3_000, 40_000, 3_000_000)
LARGEST = 10_000_000
"""Rows of matrices, and elements of other arrays, on both sides of each number by which the engine or an op decides."""
SHAPES_ARE_PARAMETERS = {"add_slice", "hessenberg_equation", "pivots_to_permutation", "strict_sylvester"}
"""Ops whose examples cannot be enlarged, since parameters or other operands say what shapes or matrices they take."""
DENSE = {"hessenberg", "pivoted_qr", "schur"}
"""Ops on matrices in which exact zeros would leave it to rounding errors which sign or order a library chooses."""
LARGER = {
    "banded_solve": lambda rng, n, m: (banded.BandedSolve(2, 1), (dominant(rng.normal(size=(4, n)), 1), rng.normal(size=(n, m)))),
    "hermitian_banded_solve": lambda rng, n, m: (
        banded_cholesky.HermitianBandedSolve(lower=True),
        (dominant(rng.uniform(size=(4, n)), 0) + 6 * np.eye(4, 1), rng.normal(size=(n, m))),
    ),
    "banded_triangular_solve": lambda rng, n, m: (
        banded.BandedTriangularSolve(),
        (dominant(rng.normal(size=(3, n)), 0), rng.normal(size=(n, m))),
    ),
    "banded_cholesky": lambda rng, n, m: (
        banded_cholesky.banded_cholesky,
        (dominant(rng.uniform(size=(m + 1, n)), 0) + 2 * m * np.eye(m + 1, 1),),
    ),
    **{
        name: lambda rng, n, m, cls=cls: (cls(), (dominant(rng.normal(size=(m + 1, n)), 0), rng.normal(size=(m + 1, n))))
        for name, cls in (
            ("factor_tangent", banded_cholesky.FactorTangent),
            ("factor_cotangent", banded_cholesky.FactorCotangent),
        )
    },
    "eigh_banded": lambda rng, n, m: (banded_spectra.EighBanded(lower=False), (rng.normal(size=(m + 1, n)),)),
    "eigvals_banded": lambda rng, n, m: (banded_spectra.EigvalsBanded(lower=True), (rng.normal(size=(m + 1, n)),)),
    **{
        op.name: lambda rng, n, m, op=op: (op, (rng.normal(size=(m, n)), rng.uniform(0.5, 1.5, size=(m, n - 1))))
        for op in (banded_spectra.eigh_tridiagonal, banded_spectra.eigvalsh_tridiagonal)
    },
    "solve_toeplitz": lambda rng, n, m: (toeplitz.solve_toeplitz, (dominant(rng.normal(size=2 * n - 1), n - 1), rng.normal(size=(n, m)))),
}
"""Larger operands of ops whose operands are no full matrices, for n rows and m right-hand sides."""


def dominant(x, at):
    """A matrix by its diagonals, of which the one of this number becomes larger than the sum of the others."""
    x[at] += 1.0 + np.sum(np.abs(x), axis=0)
    return x


def is_of_matrices(op) -> bool:
    return getattr(op, "family", "") == "linalg"


def enlarged(case: Case, times: int) -> Case | None:
    """The case with axes so many times as long, matrices as regular as they were; None if its op does not take such operands."""

    def longer(x):
        x = np.asarray(x)
        if is_of_matrices(case.op) and x.ndim >= 2:
            y = np.kron(x, np.diag(np.linspace(1.0, 2.0, times) ** 1.5))
            return (y + 1e-4 * np.random.default_rng(0).normal(size=y.shape) if case.op.name in DENSE else y).astype(x.dtype)
        for axis in range(x.ndim)[-2:]:
            x = np.repeat(x, times, axis)
        return x

    if any(np.size(x) * times ** min(np.ndim(x), 2) > LARGEST for x in case.operands):
        return None
    operands = tuple(map(longer, case.operands))
    try:
        case.op.type_rule(*map(type_of, operands))
    except CotanError:
        return None
    return Case(case.op, operands)


def large_cases(cls, size: int) -> list[Case]:
    """The first example of each number of axes that can be enlarged to this size."""
    found: dict[int, Case] = {}
    for case in examples(cls):
        first = np.asarray(case.operands[0])
        if first.ndim in found or not all(np.size(x) for x in case.operands) or first.ndim == 0 or first.shape[-1] < 2:
            continue
        times = -(-size // first.shape[-1]) if is_of_matrices(cls) else round((size / first.size) ** (1 / min(first.ndim, 2)))
        larger = enlarged(case, times)
        if larger is not None:
            found[first.ndim] = larger
    return list(found.values())


def the_same(function, operands):
    """The compiled function gives what the function does, with one thread and with two; its code can be linked where its routines can."""
    compiled = cotan.jit(function, engine="native").lower(*operands).compile()
    expected = function(*operands)
    for threads in (1, 2):
        with limited(threads):
            found = compiled(*operands)
        for a, b in zip(found, expected, strict=True):
            a, b = np.asarray(a), np.asarray(b)
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            size = max(1.0, np.max(np.abs(b[np.isfinite(b)]), initial=0.0))
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9 * size)
    code = compiled.ahead.written.standalone()
    if code.callbacks:
        return
    try:
        libraries_of(code)
    except NotExportableError as refused:
        assert "cotan_numpy_" in str(refused), "a routine of BLAS, of LAPACK or of the C library can be linked"  # noqa: PT017
    else:
        wanted = [*DECLARED.findall(code.ir), *VARIABLE.findall(code.ir)]
        assert not [symbol for symbol in wanted if symbol.startswith("cotan_")]


def sizes(cls, further: bool):
    if is_of_matrices(cls):
        return FURTHER_SIDES if further else SIDES
    return FURTHER_LENGTHS if further else LENGTHS


NEVER_FINITE = {"undetermined"}
ENLARGED = [cls for cls in WHOLE if cls.name not in {*SHAPES_ARE_PARAMETERS, *NEVER_FINITE, *LARGER}]
WITH_GRADIENT = [cls for cls in ENLARGED if differentiable(examples(cls))]


def sized(classes):
    return [
        pytest.param(cls, size, id=f"{cls.name}-{size}", marks=[pytest.mark.exhaustive] if further else [])
        for cls in classes
        for further in (False, True)
        for size in sizes(cls, further)
    ]


def test_ops_that_are_made_as_a_whole_are_known():
    assert {cls.name for cls in WITH_GRADIENT} >= {"cholesky", "cumsum", "eigh", "qr", "scatter", "solve", "sort", "svd"}
    assert {cls.name for cls in ENLARGED} - {cls.name for cls in WITH_GRADIENT} >= {"argmax", "argsort", "searchsorted"}
    assert {cls.name for cls in WHOLE} > SHAPES_ARE_PARAMETERS


@pytest.mark.parametrize(("cls", "size"), sized(ENLARGED))
def test_it_compiles_alone_at_any_size(cls, size):
    cases = large_cases(cls, size)
    assert cases, "no example can be enlarged"
    for case in cases:
        the_same(lambda *xs, op=case.op: results(op, xs), case.operands)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("cls", "size"), sized(WITH_GRADIENT))
def test_its_gradient_compiles_alone_at_any_size(cls, size):
    cases = differentiable(large_cases(cls, size))
    assert cases, "no example that can be enlarged has a gradient"
    for case in cases:
        rng, f, count = seeded(case), case.function(), len(case.point)
        ws = [direction(rng, y) for y in f(*case.point)]
        the_same(lambda *xs, f=f, count=count: pull(f, xs[:count], xs[count:])[1], [*case.point, *ws])


@pytest.mark.parametrize("name", LARGER)
@pytest.mark.parametrize(("n", "m"), [(9, 1), (258, 1), (258, 5)])
def test_of_matrices_that_are_not_full_it_compiles_alone_too(name, n, m):
    op, operands = LARGER[name](np.random.default_rng(n), n, m)
    case = Case(op, operands)
    the_same(lambda *xs: results(op, xs), operands)
    rng, f, count = seeded(case), case.function(), len(case.point)
    ws = [direction(rng, y) for y in f(*case.point)]
    the_same(lambda *xs: pull(f, xs[:count], xs[count:])[1], [*case.point, *ws])


@pytest.mark.parametrize("size", [5, 70])
@pytest.mark.parametrize("cls", [pytest.param(cls, id=cls.name) for cls in WHOLE if is_of_matrices(cls)])
def test_it_compiles_alone_on_stacks_of_small_matrices(cls, size):
    case = next(case for case in examples(cls) if all(np.size(x) for x in case.operands) and np.ndim(case.operands[0]) == 2)
    stacks = [np.stack([x * (1 + 0.01 * k) if x.dtype.kind in "fc" else x for k in range(size)]) for x in map(np.asarray, case.operands)]
    the_same(lambda *xs: results(case.op, xs), stacks)
