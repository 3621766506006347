"""Library routines in compiled code agree with the meaning of their ops: on examples of every op, at odd sizes, on unsolvable operands."""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np
import pytest
import scipy.linalg

import cotan
import cotan.numpy as cnp
from cotan.core.op import REGISTRY
from cotan.core.program import Equation, Program, Var
from cotan.core.tracing import type_of
from cotan.core.types import array_type
from cotan.engines.native import engine
from cotan.engines.native.call import caller
from cotan.engines.native.codegen.failures import Failures
from cotan.engines.native.codegen.kernels import builder
from cotan.engines.native.codegen.lower import lower_module
from cotan.engines.native.libraries import blas, registry
from cotan.engines.native.runtime.thread_pool import limited
from cotan.engines.native.target import Target
from cotan.errors import CotanError
from cotan.ops import radix
from cotan.ops.contraction import DotGeneral
from cotan.ops.determinant import Cofactors, Det, Slogdet
from cotan.ops.factorization import Eigh, Eigvalsh, Svd, Svdvals
from cotan.ops.failing import quiet
from cotan.ops.linalg import Cholesky, Solve, TriangularSolve
from cotan.ops.qr import PivotedQr, Qr
from cotan.ops.running import Cumlogsumexp, Cummax, Cummin, Cumprod, Cumsum, Recurrence
from cotan.ops.searching import Argmax, Argmin, Argsort, Searchsorted
from cotan.ops.sorting import Sort

from ..conformance.cases import ALL_CASES, DTYPES, in_dtypes, label

FLOATS = [np.float64, np.float32, np.complex128, np.complex64]
LEADS = [(), (3,), (2, 5), (67,)]
GUARD = 256
rng = np.random.default_rng(7)


def program_of(op, operands):
    """The Program of one op on arrays."""
    types = [array_type(type_of(x).shape, type_of(x).dtype) for x in operands]
    inputs = [Var(t) for t in types]
    found = op.type_rule(*types)
    outputs = [Var(t) for t in (found if op.multiple else (found,))]
    return Program(inputs, [Equation(op, inputs, outputs, None)], outputs)


def routine_cases():
    seen = {}
    for case in [*ALL_CASES, *in_dtypes(ALL_CASES, DTYPES)]:
        if case.op.routine is None:
            continue
        try:
            program = program_of(case.op, case.operands)
        except CotanError:  # no such dtype
            continue
        if case.op.written_out is not None and lower_module(program).callbacks:
            continue  # it has no code for these types, but what it is written out as
        seen.setdefault(label(case), case)
    return list(seen.values())


CASES = routine_cases()


@pytest.fixture(autouse=True)
def nothing_is_written_beyond_the_workspace(monkeypatch):
    """Guard memory before and after the workspace of every call, which must not change."""
    blocks = []

    def guarded(nbytes):
        block = np.full(nbytes + 64 + 2 * GUARD, 0xA5, np.uint8)
        address = block.ctypes.data + GUARD
        start = GUARD + -address % 64
        blocks.append((block, start, nbytes))
        return block, block.ctypes.data + start

    monkeypatch.setattr(caller, "layouts_are_known", lambda: False)
    monkeypatch.setattr(caller, "workspace", guarded)
    yield
    for block, start, nbytes in blocks:
        assert (block[:start] == 0xA5).all()
        assert (block[start + nbytes :] == 0xA5).all()


@lru_cache(maxsize=256)
def made(op, types):
    program = program_of(op, [np.empty(shape, dtype) for shape, dtype in types])
    assert lower_module(program).callbacks == []
    return engine.compile_program(program)


def both(op, *operands):
    """The results of compiled code, which leaves its operands as they are, and what they should be."""
    operands = [np.asarray(x) for x in operands]
    kept = [x.copy() for x in operands]
    with np.errstate(all="ignore"):
        expected = op.impl(*operands)
    found = made(op, tuple((x.shape, x.dtype) for x in operands))(list(operands))
    for x, y in zip(operands, kept, strict=True):
        np.testing.assert_array_equal(x, y)
    expected = [np.asarray(y) for y in (expected if op.multiple else (expected,))]
    for x, y in zip(found, expected, strict=True):
        assert np.asarray(x).dtype == y.dtype
        assert np.shape(x) == y.shape
    return found, expected


def close(op, *operands, ulps=200):
    """The same but for rounding, next to the largest number of a result (float32 counts, too, how far NumPy goes by way of float64)."""
    for x, y in zip(*both(op, *operands), strict=True):
        if y.dtype.kind not in "fc":
            np.testing.assert_array_equal(x, y)
            continue
        np.testing.assert_array_equal(np.isfinite(x), np.isfinite(y))
        size = np.max(np.abs(y), initial=0.0, where=np.isfinite(y))
        np.testing.assert_allclose(x, y, rtol=0, atol=ulps * np.finfo(y.dtype).eps * max(size, np.finfo(y.dtype).tiny))


def normal(shape, dtype):
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def positive(shape, dtype):
    """Positive definite matrices, and something in their upper triangles that is not to be read."""
    a = normal(shape, dtype)
    a = a @ np.conj(np.swapaxes(a, -1, -2)) + shape[-1] * np.eye(shape[-1], dtype=dtype)
    return np.tril(a) + np.triu(normal(shape, dtype), 1)


def well(shape, dtype):
    """Matrices that are far from singular, with pivots to be found."""
    return normal(shape, dtype) + 3 * np.eye(shape[-1], dtype=dtype)[rng.permutation(shape[-1])]


# ---- every op on its examples ------------------------------------------------------------------------------------------------
def test_no_op_with_a_routine_by_name_calls_back_into_python():
    named = {cls.name for cls in REGISTRY.values() if getattr(cls, "library", "") and cls.__module__.startswith("cotan.ops.")}
    assert named == {cls.name for cls in REGISTRY.values() if cls.routine or cls.written_out or cls.update} & named
    assert len({case.op.name for case in CASES}) >= 18


USUAL = [
    pytest.param(case, id=label(case), marks=[] if str(type_of(case.operands[0]).dtype) in ("float64", "int64") else pytest.mark.exhaustive)
    for case in CASES
]


@pytest.mark.parametrize("case", USUAL)
def test_an_op_is_what_it_is_in_numpy(case):
    close(case.op, *case.operands)


# ---- sizes, stacks, dtypes ------------------------------------------------------------------------------------------------------
SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33]
OFTEN = {(1, np.float64), (2, np.complex128), (3, np.float32), (5, np.float64), (9, np.float64), (17, np.complex64)}
SIZES_AND_DTYPES = [
    pytest.param(n, dtype, marks=[] if (n, dtype) in OFTEN else pytest.mark.exhaustive) for n in [*SIZES, 70] for dtype in FLOATS
]


@pytest.mark.parametrize(("n", "dtype"), SIZES_AND_DTYPES)
def test_matrices_of_odd_sizes(n, dtype):
    for lead in LEADS if n < 10 and dtype is np.float64 else LEADS[:2]:
        close(Cholesky(), positive((*lead, n, n), dtype))
        a = well((*lead, n, n), dtype)
        for columns in (1, 3, 9):
            close(Solve(), a, normal((*lead, n, columns), dtype), ulps=20_000)
        close(Det(), a, ulps=2000)
        close(Slogdet(), a)


@pytest.mark.parametrize(("n", "dtype"), SIZES_AND_DTYPES)
def test_triangles_of_odd_sizes(n, dtype):
    for lead in LEADS if n in (2, 5) and dtype is np.float64 else LEADS[1:2]:
        a = normal((*lead, n, n), dtype) / n + 2 * np.eye(n, dtype=dtype)
        for left in (True, False):
            for columns in (1, 3, 8):
                b = normal((*lead, n, columns) if left else (*lead, columns, n), dtype)
                for lower in (True, False):
                    close(TriangularSolve(left, lower, 0 if columns == 1 else 1, columns == 3), a, b)
                close(TriangularSolve(left, True, 2, False), a, b)


@pytest.mark.parametrize(("n", "dtype"), SIZES_AND_DTYPES)
def test_factorizations_of_odd_sizes(n, dtype):
    for lead in LEADS[:2]:
        for m in {n, max(n - 3, 1), n + 4}:
            a = normal((*lead, n, m), dtype)
            for qr in (Qr(), Qr(full=True), PivotedQr(), PivotedQr(full=True)):
                close(qr, a, ulps=2000)
            close(Svdvals(), a, ulps=2000)
            gap = np.concatenate([np.arange(1.0, min(n, m) + 1), np.zeros(max(n, m))])[: min(n, m)]
            (u, _, vh), _ = both(Svd(), a)
            spread = (u * gap.astype(u.dtype)) @ vh  # singular values far from each other, so that their vectors are well determined
            check_singular_vectors(spread)
        q = np.linalg.qr(normal((*lead, n, n), dtype))[0]
        a = (q * np.arange(n).astype(dtype)) @ np.conj(np.swapaxes(q, -1, -2))
        a = np.tril(a) + np.triu(normal((*lead, n, n), dtype), 1)
        check_eigenvectors(a)
        for lower in (True, False):
            close(Eigvalsh(lower), a, ulps=2000)


def check_eigenvectors(a):
    """Likewise eigenvectors."""
    (w, v), (other_w, other_v) = both(Eigh(), a)
    small = np.finfo(a.dtype).eps * 5000
    np.testing.assert_allclose(w, other_w, rtol=0, atol=small * max(w.max(), 1))
    phase = np.sum(np.conj(other_v) * v, axis=-2)
    np.testing.assert_allclose(v, other_v * phase[..., None, :], rtol=0, atol=small)
    if w.dtype == np.float64:
        np.testing.assert_allclose(phase, 1, atol=small)
    for k in np.ndindex(a.shape[:-2]):
        for found, expected in zip((w[k], v[k]), scipy.linalg.eigh(a[k], lower=True, driver="evd"), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=small * max(w.max(), 1))


def check_singular_vectors(a):
    """Singular vectors are those of SciPy's LAPACK; NumPy's has other roundings, so in single precision a column may have another phase."""
    (u, s, vh), (other_u, other_s, other_vh) = both(Svd(), a)
    small = np.finfo(a.dtype).eps * 2000
    np.testing.assert_allclose(s, other_s, rtol=0, atol=small * s.max())
    phase = np.sum(np.conj(other_u) * u, axis=-2)
    np.testing.assert_allclose(u, other_u * phase[..., None, :], rtol=0, atol=small)
    np.testing.assert_allclose(vh, np.conj(phase)[..., None] * other_vh, rtol=0, atol=small)
    if s.dtype == np.float64:
        np.testing.assert_allclose(phase, 1, atol=small)
    for k in np.ndindex(a.shape[:-2]):
        for found, expected in zip((u[k], s[k], vh[k]), scipy.linalg.svd(a[k], full_matrices=False, lapack_driver="gesdd"), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=small * s.max())


@pytest.mark.parametrize(("n", "dtype"), SIZES_AND_DTYPES)
def test_products_of_odd_sizes(n, dtype):
    for lead in ((), (3,), (200,))[: 3 if n < 10 else 2]:
        x, y = normal((*lead, n, n + 1), dtype), normal((*lead, n + 1, n), dtype)
        k, batch = len(lead), tuple(range(len(lead)))
        for contract in (((k + 1,), (k,)), ((k,), (k + 1,))):
            program = program_of(DotGeneral(contract, (batch, batch)), [x, y])
            found = engine.compile_program(program)([x, y])[0]
            expected = x @ y if contract[0] == (k + 1,) else np.swapaxes(x, -1, -2) @ np.swapaxes(y, -1, -2)
            np.testing.assert_allclose(found, expected, rtol=0, atol=100 * np.finfo(dtype).eps * np.abs(expected).max())


def test_products_read_transposed_and_sliced_matrices_where_they_lie():
    a, b = rng.normal(size=(2, 40, 60))

    def f(a, b):
        return a[3:33, 5:45] @ b.T[5:45, 2:30], a[:, ::2].T @ b[:, 1::2], cnp.swapaxes(a.reshape(2, 20, 60), 1, 2) @ b.reshape(2, 20, 60)

    for x, y in zip(cotan.jit(f, engine="native")(a, b), f(a, b), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("lead", [(1,), (7,), (8,), (9,), (15,), (16,), (17,), (3, 11), (2, 1, 9)])
def test_lanes_are_full_at_every_number_of_matrices(lead):
    for dtype in (np.float64, np.float32):
        close(Cholesky(), positive((*lead, 3, 3), dtype))
        close(Solve(), well((*lead, 2, 2), dtype), normal((*lead, 2, 1), dtype), ulps=5000)
    for dtype in (np.complex128, np.complex64):
        close(Solve(), well((*lead, 2, 2), dtype), normal((*lead, 2, 1), dtype), ulps=5000)
        close(Slogdet(), well((*lead, 2, 2), dtype), ulps=5000)


def test_pivots_are_those_of_lapack():
    """Of equal numbers the first is taken: exchanged rows give these results and no others, to the last bit."""
    for n in (2, 3, 5):
        a = rng.integers(-2, 3, size=(500, n, n)).astype(float)
        a = a[np.abs(np.linalg.det(a)) > 0.5]
        (sign, _), (expected, _) = both(Slogdet(), a)
        np.testing.assert_array_equal(sign, expected)
        x = rng.integers(-3, 4, size=(len(a), n, 1)).astype(float)
        close(Solve(), a, a @ x, ulps=2000)


# ---- what has no answer -------------------------------------------------------------------------------------------------------
def fails_alike(op, *operands):
    """It is an error where Python sees it. Traced code has nan for the matrices that fail, and for no others, on both engines."""
    operands = [np.asarray(x) for x in operands]
    with pytest.raises(np.linalg.LinAlgError):
        op(*operands)
    with quiet():
        expected = op(*operands)
    run = made(op, tuple((x.shape, x.dtype) for x in operands))
    for x, y in zip(run(list(operands)), expected if op.multiple else [expected], strict=True):
        assert not y.size or np.isnan(y).any()
        np.testing.assert_array_equal(np.isnan(x), np.isnan(y))
        np.testing.assert_allclose(x, y)
    return run


FAILURES = [
    pytest.param(lead, n, dtype, marks=[] if n in (3, 12) and dtype is np.float64 else pytest.mark.exhaustive)
    for lead in ((), (2,), (30,), (70,))
    for n in (1, 2, 3, 5, 8, 12)
    for dtype in (np.float64, np.float32, np.complex128)
]


@pytest.mark.parametrize(("lead", "n", "dtype"), FAILURES)
def test_a_matrix_without_a_result_is_nan_and_the_others_are_not(lead, n, dtype):
    eye = np.broadcast_to(np.eye(n, dtype=dtype), (*lead, n, n)).copy()
    bad = eye.copy()
    bad[(*[m - 1 for m in lead], n - 1, n - 1)] = 0
    run = fails_alike(Solve(), bad, eye)
    np.testing.assert_array_equal(run([eye, eye])[0], eye)  # and it goes on working
    fails_alike(Solve(), bad, eye[..., :0])
    for op in (Solve(strong_zero=True), TriangularSolve(strong_zero=True), TriangularSolve(left_side=False, strong_zero=True)):
        for side in (0 * eye, np.where(np.arange(n) % 2, 0, eye), eye):
            with quiet():
                close(op, bad, side)
    fails_alike(TriangularSolve(), bad, eye)
    fails_alike(TriangularSolve(left_side=False), bad, eye[..., :1, :])
    close(TriangularSolve(unit_diagonal=True), bad, eye)
    bad[(*[m - 1 for m in lead], n - 1, n - 1)] = -1
    fails_alike(Cholesky(), bad)


@pytest.mark.parametrize("n", [1, 3, 12])
def test_nan_goes_where_it_goes_in_numpy(n):
    nan = np.full((n, n), np.nan)
    fails_alike(Svd(), nan)
    fails_alike(Svdvals(), nan)
    for op in (Det(), Slogdet(), Qr(), Cholesky()):
        for x, y in zip(*both(op, nan), strict=True):
            np.testing.assert_array_equal(np.isnan(x), np.isnan(y))
    x, y = both(Solve(), nan, np.ones((n, 1)))
    np.testing.assert_array_equal(np.isnan(x[0]), np.isnan(y[0]))


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_singular_matrices_have_determinant_zero(n):
    for a in (np.zeros((n, n)), np.zeros((40, n, n)), np.zeros((n, n), complex)):
        close(Det(), a)
        close(Slogdet(), a)


def test_determinants_do_not_overflow_on_the_way():
    a = np.diag([1e200, 1e200, 1e-200, 1e-200])
    for x in (a, np.tile(a, (20, 1, 1)), np.kron(np.eye(3), a)):
        close(Det(), x, ulps=1000)


@pytest.mark.parametrize("lead", [(), (0,), (3, 0), (5,)])
@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_empty_matrices_and_stacks(lead, n):
    a = np.broadcast_to(np.eye(n), (*lead, n, n)).copy()
    for op in (Cholesky(), Det(), Slogdet(), Svd(), Eigh(), Qr()):
        close(op, a)
    for columns in (0, 1):
        for op, shape in ((Solve(), (n, columns)), (TriangularSolve(), (n, columns)), (TriangularSolve(left_side=False), (columns, n))):
            close(op, a, np.ones((*lead, *shape)))
    close(Svd(), np.ones((*lead, n, 0)))
    for full in (False, True):
        for qr in (Qr(full), PivotedQr(full)):
            close(qr, np.ones((*lead, 0, n)))


def test_an_error_in_a_loop_frees_what_the_loop_kept():
    def f(a):
        return cotan.lax.scan(lambda c, _: (cnp.linalg.cholesky(c - 0.4 * cnp.eye(10)), None), a, None, length=8)[0]

    def g(a):
        def step(c, k):
            return cnp.linalg.cholesky(c @ c.T) + 2 ** (3 - k), None

        return cotan.lax.scan(step, a, cnp.arange(8))[0]

    assert np.isnan(cotan.jit(f, engine="native")(np.eye(10))).any()
    with pytest.raises(ValueError, match="negative integer powers"):
        cotan.jit(g, engine="native")(np.eye(10))


# ---- sorting and searching ------------------------------------------------------------------------------------------------------
NUMBERS = [np.float64, np.float32, np.int64, np.int32, np.int16, np.int8, np.uint64, np.uint8, np.bool_, np.complex128]


def with_ties(shape, dtype):
    x = np.round(rng.normal(size=shape) * 4)
    x = np.abs(x) if np.dtype(dtype).kind == "u" else x
    y = x.astype(dtype)
    if np.dtype(dtype).kind == "f":
        y[rng.random(shape) < 0.1] = np.nan
        y[rng.random(shape) < 0.2] = -0.0
    return y


@pytest.mark.parametrize("dtype", [np.float64, *[pytest.param(d, marks=pytest.mark.exhaustive) for d in NUMBERS[1:]]])
@pytest.mark.parametrize(
    ("shape", "axis"), [((1,), 0), ((300,), 0), ((7, 33), 1), ((33, 7), 0), ((3, 20, 4), 1), ((2, 0, 3), 1), ((0, 4), 1)]
)
def test_sorting_is_stable_with_nan_last(dtype, shape, axis):
    x = with_ties(shape, dtype)
    (found,), (expected,) = both(Sort(axis), x)
    np.testing.assert_array_equal(found, expected)
    if np.dtype(dtype).kind == "f":
        zero = expected == 0
        np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(expected[zero]))
    (found,), (expected,) = both(Argsort(axis), x)
    np.testing.assert_array_equal(found, expected)
    if shape[axis] and np.dtype(dtype).kind != "c":
        for op in (Argmax(axis), Argmin(axis)):
            (found,), (expected,) = both(op, x)
            np.testing.assert_array_equal(found, expected)


@pytest.fixture(params=["as here", "by digits"])
def sorts(request, monkeypatch):
    """Sorts by the library where it is fast on this machine, and by digits wherever they are supported."""
    if request.param == "by digits":
        monkeypatch.setattr(builder, "sorts_in_vectors", lambda name: False)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int32, np.uint32, np.uint64])
@pytest.mark.parametrize("n", [radix.FEWEST, radix.FEWEST + 1001])
@pytest.mark.usefixtures("sorts")
def test_long_lines_are_sorted_stably(dtype, n):
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    x = with_ties((n,), dtype)
    x[7::100], x[9::100] = limits.min, limits.max
    if np.dtype(dtype).kind == "f":
        x[11::100], x[13::100], x[15::100], x[17::100] = np.inf, -np.inf, -np.nan, limits.smallest_subnormal
    for line in (x, np.sort(x), np.sort(x)[::-1].copy(), np.zeros(n, dtype)):
        (found,), (expected,) = both(Sort(0), line)
        np.testing.assert_array_equal(found, expected)
        if np.dtype(dtype).kind == "f":
            zero = expected == 0
            np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(expected[zero]))
        (found,), (expected,) = both(Argsort(0), line)
        np.testing.assert_array_equal(found, expected)


def sorted_as_in_numpy(axis, x):
    for op in (Sort(axis), Argsort(axis)):
        (found,), (expected,) = both(op, x)
        np.testing.assert_array_equal(found, expected)
        if expected.dtype.kind == "f":
            zero = expected == 0
            np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(expected[zero]))


@pytest.mark.parametrize("threads", [2, *[pytest.param(n, marks=pytest.mark.exhaustive) for n in (1, 3)]])
@pytest.mark.parametrize("dtype", [np.float64, np.int32, *[pytest.param(d, marks=pytest.mark.exhaustive) for d in (np.float32, np.uint64)]])
@pytest.mark.usefixtures("sorts")
def test_a_long_line_is_sorted_in_parts_and_stably(dtype, threads):
    with limited(threads):
        for n in (radix.FEWEST_IN_PARTS, radix.FEWEST_IN_PARTS + 3):
            x = with_ties((n,), dtype)
            wide = (rng.integers(0, 1 << 62, n) * 2 + 1).view(np.float64 if dtype is np.float64 else np.int64).astype(dtype)
            few = x.copy()
            few[n // 3 :: 17] = 77  # so that most digits are those of all
            for line in (x, wide, few, np.sort(x), np.sort(x)[::-1].copy(), np.full(n, 3, dtype)):
                sorted_as_in_numpy(0, line)
            almost = np.sort(x)
            almost[n // 8], almost[n // 8 - 1] = -5 if np.dtype(dtype).kind != "u" else 0, 9  # a fall where two parts meet
            sorted_as_in_numpy(0, almost)


@pytest.mark.parametrize("threads", [2, *[pytest.param(n, marks=pytest.mark.exhaustive) for n in (1, 3, 40)]])
@pytest.mark.parametrize(
    "dtype", [np.float64, *[pytest.param(d, marks=pytest.mark.exhaustive) for d in (np.int16, np.float32, np.complex128)]]
)
@pytest.mark.usefixtures("sorts")
def test_lines_are_sorted_by_threads_each_in_its_own_memory(dtype, threads):
    with limited(threads):
        for shape, axis in (((37, 600), 1), ((600, 37), 0), ((5, 2100, 3), 1), ((3, 11, 500), 2), ((2, radix.FEWEST_IN_PARTS), 1)):
            sorted_as_in_numpy(axis, with_ties(shape, dtype))


def test_a_fast_sort_of_the_library_is_taken_where_there_is_one():
    fast = registry.sorts_in_vectors("numpy sort float64") and registry.routine("numpy sort float64") is not None
    for n in (10_000, 1 << 20):
        assert ("cotan_numpy_sort_float64" in cotan.compile_report(cnp.sort)(np.zeros(n)).llvm) == fast
    assert not registry.sorts_in_vectors("numpy sort int8")
    assert not registry.sorts_in_vectors("numpy stable_sort float64")
    assert not registry.sorts_in_vectors("lapack getrf")


def test_moved_arrays_are_sorted_as_their_copies():
    x = rng.normal(size=(30, 50))
    for f in (
        lambda x: cnp.sort(x.T, 1),
        lambda x: cnp.argsort(x[::-1, ::2], 0),
        lambda x: cnp.sort(x[3, ::7]),
        lambda x: cnp.sort(x, None),
    ):
        np.testing.assert_array_equal(np.asarray(cotan.jit(f, engine="native")(x)), np.asarray(f(x)))


@pytest.mark.parametrize("dtype", [d for d in NUMBERS if d is not np.complex128])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 8, 100])
def test_searching(dtype, n):
    x, values = np.sort(with_ties((n,), dtype)), with_ties((5, 6), dtype)
    for side in ("left", "right"):
        (found,), (expected,) = both(Searchsorted(side), x, values)
        np.testing.assert_array_equal(found, expected)
        (found,), (expected,) = both(Searchsorted(side), np.stack([x, x]), values[:2])
        np.testing.assert_array_equal(found, expected)


@pytest.fixture
def other_libraries():
    """The facts about routines hold for these libraries only."""
    registry.routine.cache_clear()
    yield
    registry.routine.cache_clear()


def test_without_numpys_functions_python_is_called(monkeypatch, other_libraries):
    monkeypatch.setitem(registry.LIBRARIES, "numpy", lambda routine: None)
    x = rng.normal(size=(3, 10))
    for op in (Sort(1), Argsort(1)):
        program = program_of(op, [x])
        assert len(lower_module(program).callbacks) == 1
        np.testing.assert_array_equal(engine.compile_program(program)([x])[0], op.impl(x))
    (found,), (expected,) = both(Argmax(1), x)
    np.testing.assert_array_equal(found, expected)


# ---- running reductions ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "dtype",
    [np.float64, np.int64, *[pytest.param(d, marks=pytest.mark.exhaustive) for d in (np.float32, np.int8, np.uint16, np.complex128)]],
)
@pytest.mark.parametrize(("shape", "axis"), [((1,), 0), ((33,), 0), ((5, 17), 1), ((17, 5), 0), ((2, 9, 3), 1), ((9, 1), 0)])
@pytest.mark.parametrize("back", [False, True])
def test_running_reductions_are_numpys_to_the_last_bit(dtype, shape, axis, back):
    kind = np.dtype(dtype).kind
    x = (rng.normal(size=shape) * (3 if kind in "fc" else 20)).astype(dtype if kind != "u" else np.int64).astype(dtype)
    for op in (Cumsum, Cumprod, *([] if kind == "c" else [Cummax, Cummin])):
        (found,), (expected,) = both(op(axis, back), x)
        if kind == "c" and op is Cumprod:
            np.testing.assert_allclose(found, expected, rtol=1e-13)
        else:
            np.testing.assert_array_equal(found, expected)
    if kind == "f":
        close(Cumlogsumexp(axis, back), x, ulps=8)
    if kind in "fc":
        close(Recurrence(axis, back), x / 4, x, ulps=8)


def test_running_reductions_of_hard_numbers():
    hard = np.array([-np.inf, -np.inf, 1.0, 800.0, -np.inf, 3.0, np.inf, np.inf, 2.0])
    for x in (hard, hard[::-1].copy(), np.array([1.0, np.nan, 5.0, 2.0])):
        for op in (Cummax(0), Cummin(0), Cumlogsumexp(0), Cumlogsumexp(0, True), Cumsum(0)):
            (found,), (expected,) = both(op, x)
            np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_a_recurrence_with_infinite_factors_begins_with_its_first_term():
    (found,), (expected,) = both(Recurrence(0), np.array([np.inf, 2.0, 0.5]), np.array([1.0, 1.0, 1.0]))
    np.testing.assert_array_equal(found, expected)


def test_a_long_running_sum_is_numpys():
    x = rng.normal(size=200_001)
    (found,), (expected,) = both(Cumsum(0), x)
    np.testing.assert_array_equal(found, expected)


# ---- whole programs --------------------------------------------------------------------------------------------------------------
FUNCTIONS = {
    "solve": lambda a, b: cnp.sum(cnp.linalg.solve(a, b) ** 2),
    "inv": lambda a, b: cnp.sum(cnp.linalg.inv(a) * a),
    "det": lambda a, b: cnp.linalg.det(a) + cnp.linalg.slogdet(a)[1],
    "cholesky": lambda a, b: cnp.sum(cnp.linalg.cholesky(a @ a.T + cnp.eye(len(a))) @ b),
    "qr": lambda a, b: cnp.sum(cnp.linalg.qr(a)[0] @ b) + cnp.sum(cnp.linalg.qr(a)[1] ** 3),
    "eigh": lambda a, b: cnp.sum(cnp.linalg.eigh(a + a.T)[0] ** 3) + cnp.sum(cnp.linalg.eigh(a + a.T)[1][0] ** 4),
    "svd": lambda a, b: cnp.sum(cnp.linalg.svd(a)[1] ** 3) + cnp.sum(cnp.linalg.svd(a)[0][0] ** 4),
    "sort": lambda a, b: cnp.sum(cnp.sort(a, 0) * a) + cnp.sum(cnp.median(a, 1) * b),
    "cumulative": lambda a, b: cnp.sum(cnp.cumsum(a, 0) * cnp.cumprod(a, 1)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("n", [pytest.param(3, marks=pytest.mark.exhaustive), 6, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_gradients_inside_and_outside_of_compiled_code_agree(name, n):
    f = FUNCTIONS[name]
    a, b = rng.normal(size=(n, n)) + np.diag(np.arange(1.0, n + 1)), rng.normal(size=n)
    eager = cotan.grad(f, argnums=(0, 1))(a, b)
    inside = cotan.jit(cotan.grad(f, argnums=(0, 1)), engine="native")(a, b)
    outside = cotan.grad(cotan.jit(f, engine="native"), argnums=(0, 1))(a, b)
    for x, y, z in zip(eager, inside, outside, strict=True):
        scale = np.abs(np.asarray(x)).max() + 1e-300
        np.testing.assert_allclose(np.asarray(y) / scale, np.asarray(x) / scale, atol=1e-8)
        np.testing.assert_allclose(np.asarray(z) / scale, np.asarray(x) / scale, atol=1e-8)


def test_threads_share_no_memory_and_leave_the_threads_of_blas_as_they_were():
    library, pattern = next(blas.candidates())
    threads_of = getattr(library.library, pattern.format("get"), None)
    before = threads_of() if threads_of else 0
    f = cotan.jit(lambda a: cnp.sum(cnp.linalg.solve(a, a @ a)), engine="native")
    matrices = [rng.normal(size=(30, 30)) + 9 * np.eye(30) for _ in range(4)]
    f(matrices[0])
    wrong = []

    def work(a):
        wrong.extend(a for _ in range(100) if not np.isclose(f(a), a.sum()))

    threads = [threading.Thread(target=work, args=(a,)) for a in matrices]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert not threads_of or threads_of() == before


def test_integers_are_as_wide_as_the_signature_says():
    assert blas.integer_of("void (char *, int *, __pyx_t_d *, int *)") == "i32"
    assert blas.integer_of("void (char *, int64_t *, __pyx_t_d *, int64_t *)") == "i64"
    assert registry.routine("lapack dgetrf").integer in ("i32", "i64")
    assert registry.routine("lapack no_such_routine") is None


def test_scipys_routines_do_where_numpys_are_not_found(monkeypatch, other_libraries):
    """Both give the same, and one library serves all: the widths of integers are not mixed."""
    x, b = rng.normal(size=(40, 40)) + 20 * np.eye(40), rng.normal(size=(40, 2))
    program = program_of(Solve(), [x, b])
    expected = engine.compile_program(program)([x, b])
    monkeypatch.setattr(blas, "of_numpy", lambda: None)
    registry.routine.cache_clear()  # what the first run has asked for
    widths = {registry.routine(name).integer for name in ("lapack dgetrf", "blas dgemm")}
    assert widths == {f"i{8 * blas.fortran_integer(Target.IN_PROCESS).itemsize}"}
    for y, z in zip(engine.compile_program(program)([x, b]), expected, strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-10)


def test_code_for_a_linker_has_fortrans_names():
    assert registry.routine("lapack dgetrf", Target.STANDALONE).symbol == "dgetrf_"
    assert blas.fortran_integer(Target.STANDALONE) == np.int32
    if blas.of_numpy() is not None:
        assert registry.routine("lapack dgetrf").symbol == "cotan_lapack_dgetrf_64"


def test_code_knows_which_routines_it_calls():
    program = program_of(Solve(), [np.eye(20), np.ones((20, 1))])
    assert list(lower_module(program).failures.routines) == ["lapack dgetrf", "lapack dgetrs"]
    assert not lower_module(program_of(Solve(), [np.eye(2), np.ones((2, 1))])).failures.routines


def test_a_failure_carries_its_number():
    failures = Failures()
    status = failures.status_of(ValueError, "at {}")
    assert failures.status_of(ValueError, "at {}") == status
    assert failures.status_of(KeyError, "other") == status + 1
    assert str(failures.raised(status | 1234 << 8)) == "at 1234"
    assert failures.raised(1) is None


def each(op, *operands):
    """The results of compiled code, then those of the impl."""
    found, expected = both(op, *operands)
    return [*found, *expected]


def values_of(a):
    """Eigenvalues and singular values as results of the ops with vectors, of a Hermitian matrix and any other."""
    return cnp.linalg.eigh(a + cnp.conj(a.mT))[0], cnp.linalg.svd(a, full_matrices=False)[1]


def values_alone(a):
    return cnp.linalg.eigvalsh(a + cnp.conj(a.mT)), cnp.linalg.svdvals(a)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_values_alone_have_the_derivatives_of_values_with_vectors(dtype):
    a, da = normal((2, 4, 4), dtype)
    weights = np.arange(1.0, 5.0)

    def loss(values):
        return lambda a: cnp.sum(cnp.sin(values(a)[0]) * weights) + cnp.sum(cnp.exp(values(a)[1]) * weights)

    for way in (lambda f: f, cotan.jit):
        first = [way(cotan.grad(loss(f)))(a) for f in (values_alone, values_of)]
        second = [way(lambda a, f=f: cotan.jvp(cotan.grad(loss(f)), (a,), (da,))[1])(a) for f in (values_alone, values_of)]
        for found, expected in (first, second):
            np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=0, atol=1e-10 * np.abs(expected).max())
    cotan.testing.check_grads(loss(values_alone), (a,), order=2)
    np.testing.assert_allclose(
        np.asarray(cotan.vmap(cotan.grad(loss(values_alone)))(np.stack([a, da]))),
        [np.asarray(cotan.grad(loss(values_alone))(x)) for x in (a, da)], rtol=1e-9, atol=1e-10,
    )  # fmt: skip


def test_sums_of_equal_values_have_gradients():
    """The sum of all eigenvalues is the trace, the sum of squares of all values the square of a norm, also where values are equal."""
    eye, ones = np.eye(3), np.ones((3, 3))
    for way in (lambda f: f, cotan.jit):
        for a in (eye, ones, 0 * eye, np.diag([2.0, 2.0, -1.0])):
            trace = way(cotan.grad(lambda a: cnp.sum(cnp.linalg.eigvalsh(a))))(a)
            np.testing.assert_allclose(np.asarray(trace), eye, atol=1e-14)
            for f in (cnp.linalg.eigvalsh, cnp.linalg.svdvals):
                squares = way(cotan.grad(lambda a, f=f: cnp.sum(f((a + a.T) / 2) ** 2)))(a)
                np.testing.assert_allclose(np.asarray(squares), 2 * a, atol=1e-14)
    with pytest.raises(cotan.errors.SingularPointError):
        cotan.grad(lambda a: cnp.linalg.svdvals(a)[0], strict=True)(eye)


def singular_matrices(lead, n, dtype):
    """Matrices of full rank and of less, by name: a column that is a sum of others, two of them, a column of zeros, nothing but zeros."""
    a = normal((*lead, n, n), dtype)
    whole, once, twice, zero = np.round(2 * a), a.copy(), a.copy(), a.copy()
    once[..., 2] = a[..., 0] + a[..., 1]
    twice[..., 2:4] = a[..., :2]
    whole[..., n - 1] = whole[..., 0]
    zero[..., 1] = 0
    return {"regular": a, "rank n-1": once, "rank n-2": twice, "whole numbers": whole, "a column": zero, "zeros": 0 * a}


def cofactors_by_singular_values(a):
    """sign V^T diag(products of the other singular values) U^T, and what an error of the size of the rounding of A makes of it."""
    n, wide = a.shape[-1], np.complex128 if a.dtype.kind == "c" else np.float64
    u, s, vh = np.linalg.svd(a.astype(wide))
    others = np.stack([np.delete(s, k, -1).prod(-1) for k in range(n)], -1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    found = sign[..., None, None] * (np.conj(u) * others[..., None, :]) @ np.conj(vh)
    return found, s[..., 0] * s[..., : n - 2].prod(-1) * np.finfo(a.dtype).eps


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("lead", "n"), [((), 5), ((), 6), ((3,), 7), ((70,), 6), ((70,), 8), ((2, 40), 7), ((), 9), ((3,), 12), ((), 20)])
def test_cofactors_are_right_at_every_rank(lead, n, dtype):
    for name, a in singular_matrices(lead, n, dtype).items():
        expected, rounding = cofactors_by_singular_values(a)
        for found in each(Cofactors(), a):
            assert found.dtype == dtype
            assert np.all(np.abs(found - expected).max((-2, -1)) <= 20 * n * rounding), name


def test_cofactors_of_numbers_at_the_end_of_the_range():
    least = float(np.finfo(float).smallest_subnormal)
    for n, lead in ((6, (70,)), (9, ())):
        a = np.broadcast_to(np.diag([least, *[1.0] * (n - 1)]), (*lead, n, n)).copy()
        a[..., 1, 0] = -least
        expected = np.zeros((n, n))
        expected[0, 0], expected[0, 1] = 1, least
        for found in each(Cofactors(), a):
            np.testing.assert_allclose(found, np.broadcast_to(expected, a.shape), atol=4 * least)
        nan = a.copy()
        nan[..., 0, 0] = np.nan
        for found in each(Cofactors(), nan):
            assert np.isnan(found).any()


@pytest.mark.parametrize("n", [6, 8])
def test_gradients_of_many_determinants_agree_with_those_of_each(n):
    a = np.eye(n) + 0.3 * normal((70, n, n), np.float64)
    a[3, :, 1] = a[3, :, 0]
    for f in (lambda a: cnp.linalg.det(a) ** 2, lambda a: cnp.sin(cnp.linalg.det(a))):
        expected = [np.asarray(cotan.grad(f)(m)) for m in a]
        found = cotan.jit(cotan.vmap(cotan.grad(f)))(a)
        np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-11 * np.abs(expected).max())
        pushed = cotan.vmap(lambda m, t: cotan.jvp(cotan.grad(f), (m,), (t,))[1])  # noqa: B023 - used at once
        step, gradients = 1e-6, cotan.vmap(cotan.grad(f))
        differences = (np.asarray(gradients(a[:5] + step * a[5:10])) - np.asarray(gradients(a[:5] - step * a[5:10]))) / (2 * step)
        np.testing.assert_allclose(
            np.asarray(cotan.jit(pushed)(a[:5], a[5:10])), differences, rtol=0, atol=1e-6 * np.abs(differences).max()
        )


@pytest.mark.sampled(2)
@pytest.mark.parametrize("order", range(5))
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 3), (2, 4, 4), (5, 5), (20, 5, 5), (6, 6), (2, 7, 7), (0, 3, 3), (2, 0, 0)], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.float32])
def test_cofactors_of_every_order_are_compiled(shape, order, dtype):
    cofactors = REGISTRY["cofactors"]()
    operands = [normal(shape, dtype) for _ in range(order + 1)]
    if shape[-1] > 2:
        operands[0][..., 0, :] = operands[0][..., 1, :]  # singular: nothing is divided by
    expected = cofactors.impl(*operands)
    report = cotan.compile_report(lambda *xs: cofactors(*xs))(*operands)
    assert report.outside == ()
    found = cotan.jit(lambda *xs: cofactors(*xs), engine="native")(*operands)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    size = np.max(np.abs(expected), initial=0.0) + np.prod([np.max(np.abs(x), initial=0.0) for x in operands[1:]])
    np.testing.assert_allclose(found, expected, rtol=0, atol=2000 * np.finfo(dtype).eps * size)


def test_third_derivatives_of_determinants_are_compiled():
    a = normal((3, 3), np.float64)
    third = cotan.jacfwd(cotan.hessian(cnp.linalg.det))
    assert cotan.compile_report(third)(a).outside == ()
    np.testing.assert_allclose(cotan.jit(third)(a), third(a), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("kind", ["add", "mul", "set"])
@pytest.mark.parametrize("count", [5, 3_000])
def test_complex_numbers_are_scattered(kind, count, dtype):
    x, u = normal((40,), dtype), normal((count,), dtype)
    u /= np.abs(u)
    at = rng.integers(0, 40, count) if kind != "set" else rng.permutation(40)[: min(count, 40)]
    u = u[: len(at)]
    scatter = REGISTRY["scatter"](kind, "clip")
    for found, expected in zip(*both(scatter, x, u, at), strict=True):
        np.testing.assert_allclose(
            found, expected, rtol=1e-3 if dtype is np.complex64 else 1e-11, atol=1e-4 if dtype is np.complex64 else 1e-11
        )
