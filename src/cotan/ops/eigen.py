"""Eigenvalues and eigenvectors of general square matrices, stacks of them.

References: Giles (2008), "Collected matrix derivative results for forward and reverse mode AD", section 3.1; Boeddeker, Hanebrink, Drude,
Heymann & Haeb-Umbach (2017), "On the computation of complex-valued gradients with application to statistically optimum beamforming",
section 4.2, for eigenvectors of a given norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.op import Op, op
from ..core.tracing import type_of
from ..core.types import ArrayType, array_type
from .arithmetic import constant_of, div, mul, sub
from .casting import complex_, convert, imag, real, stop_gradient
from .clusters import Splitting, Turn, split_eigenvalues
from .contraction import matmul
from .creation import iota
from .failing import where_regular
from .families import add, default_rng, reduce_sum, scale
from .gaps import InverseGap, plain_product
from .lapack import by_columns, every_matrix, is_finite, named
from .linalg import Inverse, MatrixOp, columns, diagonal, transposed
from .logic import equal, less, select
from .movement import reshape
from .reduction import reduce_max
from .routines import lapack_function
from .searching import Argmax
from .transcendental import hypot

__all__ = ["Eig", "Eigvals", "eig", "eigvals"]

WORK = 25
"""How many times n^3 operations the decomposition of a matrix takes (Golub & Van Loan 2013, section 7.5.6)."""
INT64 = np.dtype(np.int64)
DIGITS = 0.125
"""An eigenvalue whose condition number times the rounding error is larger has no digit that is right."""
NO_EIGENVALUES = "Eigenvalues did not converge"


class OfGeneral(MatrixOp):
    """An op on square matrices whose first result is their eigenvalues, and the second, if there is one, the eigenvectors."""

    def fails_on(self, *types: ArrayType) -> Sequence[int]:
        return (0,)

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        decompose(w, operands[0], *results)

    def singular(self, a: Any) -> Any:
        """Whether two eigenvalues of a matrix are equal."""
        return np.any(np.diff(np.sort_complex(np.linalg.eigvals(a)), axis=-1) == 0, axis=-1)


@op
class Eig(OfGeneral):
    """Eigenvalues w and eigenvectors (columns of V) of square matrices, A V = V diag(w); complex always, in LAPACK's order.

    Each vector has the norm 1 and a real largest element. Those of a real matrix for real eigenvalues are real.

    With P = V^-1 dA V:  dw = diag P  and  dV = V X - V diag(c),  X_ij = P_ij / (w_j - w_i), zero on the diagonal. With c, which keeps the
    convention, the tangent of each vector is orthogonal to it but for its phase, and real at its largest element. Single vectors of equal
    eigenvalues have no derivative, so the quotient is infinite there; sums of eigenvalues, and their functions, have one. The eigenvalues
    of a defective matrix have none: dw is infinite.
    """

    multiple = True
    library: ClassVar[str] = "eig"

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ArrayType]:
        self.check_matrices(a)
        dtype = np.result_type(a.dtype, np.complex64)
        return array_type(a.shape[:-1], dtype), array_type(a.shape, dtype)

    def impl(self, a: Any) -> tuple[Any, Any]:
        w, v = where_regular(lambda x: tuple(np.linalg.eig(x)), a)
        dtype = np.result_type(a.dtype, np.complex64)
        return w.astype(dtype, copy=False), v.astype(dtype, copy=False)

    def splitting(self, results: Sequence[Any], relative: float, turned: bool, pair: Turn = None) -> Splitting | None:  # type: ignore[override]
        w, v = results
        return split_eigenvalues(w, v, relative, turned, pair)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        w, v = self(a)
        t, n = type_of(v), type_of(v).shape[-1]
        inverse = Inverse()(v)
        p = matmul(inverse, matmul(convert(da, t.dtype), v))
        part, wj = np.finfo(t.dtype).dtype, columns(w, n)
        size = largest(stop_gradient(w))
        dv = matmul(v, plain_product(InverseGap(pairs=True)(sub(wj, transposed(wj)), size), p))
        one, none = constant_of(1, part), constant_of(0, part)
        re = real(v)
        length = add(mul(re, real(dv)), mul(imag(v), imag(dv)))
        at = largest_real(v)
        turn = scale(select(at, div(one, select(at, re, one)), none), imag(dv))
        c = complex_(*[reduce_sum(x, (t.ndim - 2,)) for x in (length, turn)])
        return (w, v), (plain_product(undefined(inverse), diagonal(p)), sub(dv, mul(v, columns(c, n))))

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[tuple[Any, Any], tuple[bool, bool]]:
        return self(a), (True, True)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(), (rng.normal(size=(3, 3)),)
        yield cls(), (rng.normal(size=(2, 2, 2)),)
        yield cls(), (rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3)),)
        yield cls(), (np.array([[0.1, 2.0, 0.3], [-1.0, 0.5, 0.2], [0.3, 1.0, 3.0]]),)
        yield cls(), (np.zeros((0, 0)),)


@op
class Eigvals(OfGeneral):
    """The eigenvalues alone of square matrices, complex. With the vectors of `Eig`, dw = diag(V^-1 dA V)."""

    library: ClassVar[str] = "eigvals"

    def type_rule(self, a: ArrayType) -> ArrayType:
        return eig.type_rule(a)[0]

    def impl(self, a: Any) -> Any:
        return where_regular(np.linalg.eigvals, a).astype(np.result_type(a.dtype, np.complex64), copy=False)

    def splitting(self, results: Sequence[Any], relative: float, turned: bool, pair: Turn = None) -> Splitting | None:  # type: ignore[override]
        return split_eigenvalues(results[0], None, relative, turned, pair)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        w, v = eig(a)
        inverse = Inverse()(v)
        return w, plain_product(undefined(inverse), diagonal(matmul(inverse, matmul(convert(da, type_of(v).dtype), v))))

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[Any, bool]:
        return self(a), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        for _, (a,) in Eig.examples():
            yield cls(), (a,)


def undefined(inverse: Any) -> Any:
    """1 for each eigenvalue, and infinity for one of a defective matrix, to rounding: it has no derivative. The condition number of an
    eigenvalue is the norm of its row of the inverse of the eigenvectors (Golub & Van Loan 2013, section 7.2.2).
    """
    t = type_of(inverse)
    part = np.finfo(t.dtype).dtype
    re, im = real(inverse), imag(inverse)
    size = reduce_sum(add(mul(re, re), mul(im, im)), (t.ndim - 1,))
    limit = constant_of((DIGITS / np.finfo(part).eps) ** 2, part)
    return convert(select(less(size, limit), constant_of(1, part), constant_of(np.inf, part)), t.dtype)


def largest(w: Any) -> Any:
    """The largest absolute value of each row, as an axis of length one."""
    shape = type_of(w).shape
    return reshape(reduce_max(hypot(real(w), imag(w)), (len(shape) - 1,)), (*shape[:-1], 1)) if shape[-1] else real(w)


def largest_real(v: Any) -> Any:
    """The place in each column of the element that LAPACK made real: of those that are, the largest."""
    t = type_of(v)
    zero = constant_of(0, np.finfo(t.dtype).dtype)
    re, im = real(v), imag(v)
    rows = iota(t.shape, t.ndim - 2)
    if not t.shape[-1]:
        return equal(rows, rows)
    return equal(rows, columns(Argmax(t.ndim - 2)(select(equal(im, zero), mul(re, re), zero)), t.shape[-1]))


def decompose(w: Routines, a: Reader, values: StridedView, vectors: StridedView | None = None) -> None:
    """The eigenvalues of a stack of matrices, and the vectors if they are asked for."""
    *lead, n, _ = a.shape
    if n == 0:
        return
    given, results = w.strided(a), [values] if vectors is None else [values, vectors]
    every_matrix(w, lead, lambda i: one_of(w, given.part(*i), values.part(*i), vectors and vectors.part(*i)), WORK * n**3, results)


def one_of(w: Routines, a: StridedView, values: StridedView, vectors: StridedView | None) -> StridedView:
    """Decompose one matrix, in double precision as NumPy; the status. LAPACK may not end on what is not finite: it is not called then."""
    n, e, dtype = a.shape[-1], w.emitter, np.result_type(a.dtype, np.float64)
    matrix, right = by_columns(w, n, n, dtype), by_columns(w, n, n, dtype) if vectors is not None else None
    size, info = workspace(n, dtype, vectors is not None), w.scratch((), w.integer)
    work, none = w.scratch((size,), dtype), e.constant(0, dtype)
    w.fill(matrix, lambda i: e.cast(a[i], dtype))
    finite = is_finite(w, matrix)
    info[()] = e.constant(1, w.integer)
    letter = "N" if right is None else "V"

    def complex_matrix() -> None:
        found, reals = w.scratch((n,), dtype), w.scratch((2 * n,), np.dtype(np.float64))
        w.call(named(dtype, "geev"), "N", letter, n, matrix, n, found, None, 1, right, n, work, size, reals, info, work=WORK * n**3)
        w.fill(values, lambda j: e.cast(found[j], values.dtype))
        if vectors is not None and right is not None:
            stored(vectors, right)

    def stored(target: StridedView, source: StridedView) -> None:
        w.fill(target, lambda i: e.cast(source[i], target.dtype))

    def real_matrix() -> None:
        re, im = w.scratch((n,), dtype), w.scratch((n,), dtype)
        w.call(named(dtype, "geev"), "N", letter, n, matrix, n, re, im, None, 1, right, n, work, size, info, work=WORK * n**3)
        w.fill(values, lambda j: e.cast(e.math("complex", re[j], im[j]), values.dtype))
        if vectors is not None and right is not None:
            unpacked(vectors, right, im)

    def unpacked(target: StridedView, source: StridedView, im: StridedView) -> None:
        """LAPACK writes a pair of conjugate vectors as their real and their imaginary part."""

        def element(i: tuple[Any, ...]) -> Any:
            row, j = i
            here, first, second = e.as_scalar(j, INT64), e.math("gt", im[j], none), e.math("lt", im[j], none)
            one = e.constant(1, INT64)
            left = e.as_index(e.math("select", second, here, e.math("sub", here, one)))
            beside = e.as_index(e.math("select", first, here, e.math("add", here, one)))
            turned = e.math("select", second, source[row, beside], e.math("neg", source[row, beside]))
            found = e.math("complex", source[row, left], e.math("select", e.math("eq", im[j], none), turned, none))
            return e.cast(found, target.dtype)

        w.fill(target, element)

    w.when(finite, complex_matrix if dtype.kind == "c" else real_matrix)
    return info


def workspace(n: int, dtype: np.dtype[Any], vectors: bool) -> int:
    """The best size of the workspace. The order of the eigenvalues may depend on it, so it is NumPy's."""
    size, _ = lapack_function("geev_lwork", dtype)(n, compute_vl=False, compute_vr=vectors)
    return int(size.real)


eig, eigvals = Eig(), Eigvals()
