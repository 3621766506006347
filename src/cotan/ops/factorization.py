"""Factorizations of (stacks of) matrices: singular values, eigenvalues of Hermitian matrices. QR is in `qr`.

Only quantities that a factorization determines have a derivative. Columns of eigenvectors and singular vectors are determined up to a phase
(a sign), and the rules choose one. Vectors of equal values are determined up to a rotation and have no derivative, so their tangents are
infinite, not wrong. References: Giles (2008), "Collected matrix derivative results for forward and reverse mode AD"; Townsend (2016),
"Differentiating the singular value decomposition".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.op import Op, op
from ..core.tracing import type_of
from ..core.types import ArrayType, array_type
from . import small_batch, small_singular_values, small_spectra
from .arithmetic import constant_of, neg, sub
from .casting import conj, convert, real
from .clusters import Splitting, Turn, random_unitary, split_eigenvalues, split_singular_values
from .contraction import matmul
from .creation import full as full_op
from .failing import where_regular
from .families import add, default_rng, scale, scaled_sum
from .gaps import InverseGap, inverse_gaps, plain_product, undetermined
from .lapack import by_columns, every_matrix, named
from .linalg import MatrixOp, adjoint, columns, diagonal, hermitian, mask, read_lower, symmetric_examples, transposed
from .logic import not_equal
from .movement import concatenate, slice_

__all__ = ["Eigh", "Eigvalsh", "Svd", "Svdvals", "eigh", "eigh_of_upper", "full_svd", "svd"]

BLOCK = 64
"""The block size for which the workspace of a LAPACK routine is allocated."""
VECTORS = 8
"""How many times n^3 operations the vectors of a decomposition take."""
NO_SVD, NO_EIGENVALUES = "SVD did not converge", "Eigenvalues did not converge"


@op
class Svd(MatrixOp):
    """The singular value decomposition A = U diag(s) V^H: (U, s, V^H), s descending and real; reduced, or ``full``: U and V are square.

    With P = U^H dA V (Townsend 2016; Giles 2008, 3.2):  ds = Re diag P, and

        dU = U X + (1 - U U^H) dA V S^-1        dV = V Y + (1 - V V^H) dA^H U S^-1

    for the skew X = F * (P S + S P^H) and Y = F * (S P + P^H S), F_ij = 1 / (s_j^2 - s_i^2). Splitting P = H + K in its Hermitian and
    skew parts, these are

        X_ij = H_ij / (s_j - s_i) + K_ij / (s_j + s_i)        Y_ij = H_ij / (s_j - s_i) - K_ij / (s_j + s_i)

    and the second terms alone on the diagonal, where they choose the phases of complex columns.

    Where singular values are equal, single vectors have no derivative, and the quotient is infinite. Functions of s alone still get their
    derivative, and functions of the vectors get no finite number that would be wrong.

    The further columns U' of a square U are a basis of the complement. As U stays unitary, U^H dU' = -(dU)^H U'. Their rotation within the
    complement is not determined: for one column it is zero, between several it is infinite.
    """

    full: bool = False

    multiple = True
    library: ClassVar[str] = "svd"

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ArrayType, ArrayType]:
        self.check_matrices(a, square=False)
        *lead, m, n = a.shape
        k = min(m, n)
        real_dtype = np.finfo(a.dtype).dtype
        rows, columns = (m, n) if self.full else (k, k)
        return array_type((*lead, m, rows), a.dtype), array_type((*lead, k), real_dtype), array_type((*lead, columns, n), a.dtype)

    def result_alone(self, k: int) -> Op | None:  # type: ignore[override]
        return Svdvals() if k == 1 else None

    def impl(self, a: Any) -> tuple[Any, Any, Any]:
        u, s, vh = where_regular(lambda x: tuple(np.linalg.svd(x, full_matrices=self.full)), a)
        return u, s, vh

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (a,), (u, s, vh) = operands, results
        *lead, m, n = a.shape
        k = min(m, n)
        rows, columns = (m, n) if self.full else (k, k)
        if k == 0:  # the complement of no columns is the whole space
            for unitary in (u, vh):
                w.every(lead, lambda i, unitary=unitary: identity(w, unitary.part(*i)))
            return
        given, letter = w.strided(a), "A" if self.full else "S"

        def one(i: tuple[Any, ...]) -> StridedView:
            matrix, left, right = (by_columns(w, *shape, a.dtype) for shape in ((m, n), (m, rows), (columns, n)))
            w.copy(given.part(*i), matrix)
            info = singular_values(w, matrix, letter, s.part(*i), left, m, right, columns)
            w.copy(left, u.part(*i))
            w.copy(right, vh.part(*i))
            return info

        every_matrix(w, lead, one, VECTORS * m * n * k, results)

    def splitting(self, results: Sequence[Any], relative: float, turned: bool, pair: Turn = None) -> Splitting | None:  # type: ignore[override]
        u, s, vh = results
        found = split_singular_values(s, (u, vh), relative, turned, pair)
        k, spare = s.shape[-1], max(u.shape[-1], vh.shape[-1]) - s.shape[-1]
        if spare < 2 or not k:
            return found
        found = found or Splitting((u, s, vh), 1, np.zeros_like(s), np.zeros_like(s), equal=True)
        if turned and pair is None:
            u, s, vh = found.results
            turn = random_unitary(np.random.default_rng(spare), spare, u.dtype)
            u = np.concatenate([u[..., :k], u[..., k:] @ turn[: u.shape[-1] - k, : u.shape[-1] - k]], -1)
            vh = np.concatenate([vh[..., :k, :], turn[: vh.shape[-2] - k, : vh.shape[-2] - k] @ vh[..., k:, :]], -2)
            found = found._replace(results=(u, s, vh))
        return found

    def singular(self, a: Any) -> Any:
        return equal_singular_values(a)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        left, s, right = self(a)
        t = type_of(a)
        m, n = t.shape[-2:]
        k = min(m, n)
        u, v = (column_range(x, 0, k) if self.full else x for x in (left, adjoint(right)))
        uh, vh = adjoint(u), adjoint(v)
        p = matmul(matmul(uh, da), v)
        ds = real(diagonal(p)) if t.dtype.kind == "c" else diagonal(p)

        sj, half = columns(s, k), constant_of(0.5, t.dtype)
        even = plain_product(convert(inverse_gaps(s), t.dtype), scale(half, hermitian(p)))
        odd = plain_product(convert(InverseGap()(add(sj, transposed(sj)), s), t.dtype), scale(half, sub(p, adjoint(p))))
        inverse = convert(InverseGap()(s, s), t.dtype)
        du, dv = matmul(u, add(even, odd)), matmul(v, sub(even, odd))
        if m > k:
            du = add(du, plain_product(columns(inverse, m), off_range(u, uh, matmul(da, v))))
        if n > k:
            dv = add(dv, plain_product(columns(inverse, n), off_range(v, vh, matmul(adjoint(da), u))))
        if self.full:
            du, dv = with_complement(left, u, du), with_complement(adjoint(right), v, dv)
        return (left, s, right), (du, ds, adjoint(dv))

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[tuple[Any, Any, Any], tuple[bool, bool, bool]]:
        return self(a), (True, True, True)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(), (rng.normal(size=(3, 2)),)
        yield cls(), (rng.normal(size=(2, 2, 3)),)
        yield cls(), (rng.normal(size=(3, 3)),)
        yield cls(), (rng.normal(size=(3, 2)) + 1j * rng.normal(size=(3, 2)),)
        yield cls(), (np.zeros((2, 0)),)
        yield cls(full=True), (rng.normal(size=(3, 2)),)
        yield cls(full=True), (rng.normal(size=(2, 2, 3)),)
        yield cls(full=True), (np.zeros((2, 0)),)


@op
class Svdvals(MatrixOp):
    """The singular values alone, descending. With the vectors of `Svd`, ds = Re diag(U^H dA V)."""

    library: ClassVar[str] = "svdvals"

    def type_rule(self, a: ArrayType) -> ArrayType:
        return svd.type_rule(a)[1]

    def impl(self, a: Any) -> Any:
        return where_regular(lambda x: np.linalg.svd(x, compute_uv=False), a)

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        (a,), (s,) = operands, results
        *lead, m, n = a.shape
        if min(m, n) == 0:
            return
        given = w.strided(a)

        def one(i: tuple[Any, ...]) -> StridedView:
            matrix = by_columns(w, m, n, a.dtype)
            w.copy(given.part(*i), matrix)
            return singular_values(w, matrix, "N", s.part(*i), None, m, None, n)

        if small_batch.pays(lead, m, n):
            small_singular_values.singular_values(w, a, s, one)
        else:
            every_matrix(w, lead, one, m * n * min(m, n), results)

    def splitting(self, results: Sequence[Any], relative: float, turned: bool, pair: Turn = None) -> Splitting | None:  # type: ignore[override]
        return split_singular_values(results[0], None, relative, turned, pair)

    def singular(self, a: Any) -> Any:
        return equal_singular_values(a)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        u, s, vh = svd(a)
        return s, of_columns(u, da, adjoint(vh))

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[Any, bool]:
        return self(a), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        for given, (a,) in Svd.examples():
            if given == svd:
                yield cls(), (a,)


def of_columns(u: Any, a: Any, v: Any) -> Any:
    """Re diag(U^H A V)."""
    t = type_of(u)
    d = scaled_sum(conj(u) if t.dtype.kind == "c" else u, matmul(a, v), (t.ndim - 2,))
    return real(d) if t.dtype.kind == "c" else d


def equal_singular_values(a: Any) -> Any:
    """Whether two singular values of a matrix are equal, or one is zero."""
    return np.any(np.diff(np.linalg.svd(a, compute_uv=False), axis=-1, append=0) == 0, axis=-1)


def singular_values(
    w: Routines,
    matrix: StridedView,
    letter: str,
    s: StridedView,
    left: StridedView | None,
    rows: int,
    right: StridedView | None,
    columns: int,
) -> StridedView:
    """Decompose ``matrix``, which is overwritten; the status. The letter says which vectors there are (N: none)."""
    m, n = matrix.shape
    k, most, dtype = min(m, n), max(m, n), matrix.dtype
    size = 4 * k * k + 7 * k + most + BLOCK * (m + n) if letter != "N" else 10 * k + most + BLOCK * (m + n)
    reals = max(5 * k * k + 5 * k, 2 * most * k + 2 * k * k + k) if letter != "N" else 7 * k
    work, integers, info = w.scratch((size,), dtype), w.scratch((8 * k,), w.integer), w.scratch((), w.integer)
    more = [w.scratch((max(reals, 1),), np.finfo(dtype).dtype)] if dtype.kind == "c" else []
    name, last = named(dtype, "gesdd"), (work, size, *more, integers, info)
    w.call(name, letter, m, n, matrix, m, s, left, rows, right, columns, *last, work=m * n * k)
    return info


def identity(w: Routines, target: StridedView) -> None:
    """Make a matrix in memory the identity."""
    e, one, zero = w.emitter, w.emitter.constant(1, target.dtype), w.emitter.constant(0, target.dtype)
    w.fill(target, lambda j: e.choose(j[0] <= j[1], lambda: e.choose(j[1] <= j[0], lambda: one, lambda: zero), lambda: zero))


def with_complement(whole: Any, u: Any, du: Any) -> Any:
    """The tangent of a unitary matrix whose first columns u have the tangent du."""
    k, m = type_of(u).shape[-1], type_of(u).shape[-2]
    if k == m:
        return du
    rest = column_range(whole, k, m)
    turn = matmul(adjoint(du), rest)
    within = neg(matmul(u, turn))
    if m - k > 1 and k:
        t = type_of(turn)
        ones = full_op((*t.shape[:-2], m - k, k), t.dtype.type(1))
        spread = matmul(ones, turn)
        within = add(within, matmul(rest, undetermined(mask(sub(spread, adjoint(spread)), not_equal))))
    return concatenate([du, within], type_of(u).ndim - 1)


@op
class Eigh(MatrixOp):
    """Eigenvalues, ascending, and orthonormal eigenvectors (columns) of a Hermitian A = V diag(w) V^H; one triangle of A is read.

    With P = V^H dA V:  dw = Re diag P,  dV = V X,  X_ij = P_ij / (w_j - w_i), zero on the diagonal (Giles 2008, 3.1).
    """

    lower: bool = True

    multiple = True
    library: ClassVar[str] = "eigh"

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ArrayType]:
        self.check_matrices(a)
        return array_type(a.shape[:-1], np.finfo(a.dtype).dtype), array_type(a.shape, a.dtype)

    def result_alone(self, k: int) -> Op | None:  # type: ignore[override]
        return Eigvalsh(self.lower) if k == 0 else None

    def impl(self, a: Any) -> tuple[Any, Any]:
        w, v = where_regular(lambda x: tuple(np.linalg.eigh(x, "L" if self.lower else "U")), a)
        return w, v

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        decompose_hermitian(w, operands[0], self.lower, *results)

    def splitting(self, results: Sequence[Any], relative: float, turned: bool, pair: Turn = None) -> Splitting | None:  # type: ignore[override]
        w, v = results
        return split_eigenvalues(w, v, relative, turned, pair)

    def singular(self, a: Any) -> Any:
        return equal_eigenvalues(a, self.lower)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        w, v = self(a)
        t = type_of(a)
        p = matmul(matmul(adjoint(v), read_lower(da if self.lower else adjoint(da))), v)
        dw = real(diagonal(p)) if t.dtype.kind == "c" else diagonal(p)
        return (w, v), (dw, matmul(v, plain_product(convert(inverse_gaps(w), t.dtype), p)))

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[tuple[Any, Any], tuple[bool, bool]]:
        return self(a), (True, True)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        yield cls(), (symmetric_examples(3),)
        yield cls(), (symmetric_examples(2, (2,)) - 3 * np.eye(2),)
        yield cls(), (np.zeros((0, 0)),)
        yield cls(), (symmetric_examples(3) + np.array([[0, -1j, 0.5j], [1j, 0, 0], [-0.5j, 0, 0]]),)
        yield cls(lower=False), (symmetric_examples(2, (2,)) + np.array([[0.5, 0], [0, -0.5]]),)
        yield cls(lower=False), (symmetric_examples(3) + np.array([[0, -1j, 0.5j], [1j, 0, 0], [-0.5j, 0, 0]]),)


@op
class Eigvalsh(MatrixOp):
    """The eigenvalues alone of a Hermitian matrix, ascending; one triangle is read. With the vectors of `Eigh`, dw = Re diag(V^H dA V)."""

    lower: bool = True
    library: ClassVar[str] = "eigvalsh"

    def type_rule(self, a: ArrayType) -> ArrayType:
        return eigh.type_rule(a)[0]

    def impl(self, a: Any) -> Any:
        return where_regular(lambda x: np.linalg.eigvalsh(x, "L" if self.lower else "U"), a)

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        decompose_hermitian(w, operands[0], self.lower, *results)

    def splitting(self, results: Sequence[Any], relative: float, turned: bool, pair: Turn = None) -> Splitting | None:  # type: ignore[override]
        return split_eigenvalues(results[0], None, relative, turned, pair)

    def singular(self, a: Any) -> Any:
        return equal_eigenvalues(a, self.lower)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        w, v = (eigh if self.lower else eigh_of_upper)(a)
        return w, of_columns(v, read_lower(da if self.lower else adjoint(da)), v)

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[Any, bool]:
        return self(a), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        for given, (a,) in Eigh.examples():
            yield cls(given.lower), (a,)  # type: ignore[attr-defined]


def equal_eigenvalues(a: Any, lower: bool) -> Any:
    """Whether two eigenvalues of a matrix are equal."""
    return np.any(np.diff(np.linalg.eigvalsh(a, "L" if lower else "U"), axis=-1) == 0, axis=-1)


def decompose_hermitian(w: Routines, a: Reader, lower: bool, values: StridedView, vectors: StridedView | None = None) -> None:
    """The eigenvalues of a stack of Hermitian matrices, and the vectors if they are asked for."""
    *lead, n, _ = a.shape
    if n == 0:
        return
    given, letter = w.strided(a), "N" if vectors is None else "V"

    def one(i: tuple[Any, ...]) -> StridedView:
        matrix = by_columns(w, n, n, a.dtype)
        w.copy(given.part(*i), matrix)
        info = eigenvalues(w, matrix, letter, lower, values.part(*i))
        if vectors is not None:
            w.copy(matrix, vectors.part(*i))
        return info

    if small_batch.pays(lead, n, n):
        small_spectra.hermitian(w, a, lower, values, vectors, one)
    else:
        every_matrix(w, lead, one, n**3 if vectors is None else VECTORS * n**3, [values] if vectors is None else [values, vectors])


def eigenvalues(w: Routines, matrix: StridedView, letter: str, lower: bool, values: StridedView) -> StridedView:
    """Decompose ``matrix``, which is overwritten, for letter V with the vectors; the status."""
    n, dtype = matrix.shape[0], matrix.dtype
    real_dtype, vectors = np.finfo(dtype).dtype, letter == "V"
    if dtype.kind == "c":
        size, real_size = 2 * n + (n * n if vectors else 0) + BLOCK * n, 1 + 5 * n + 2 * n * n if vectors else n
        more = [w.scratch((real_size,), real_dtype), real_size]
    else:
        size, more = 1 + 6 * n + (2 * n * n if vectors else 0) + BLOCK * n, []
    integers = 3 + 5 * n if vectors else 1
    work, places, info = w.scratch((size,), dtype), w.scratch((integers,), w.integer), w.scratch((), w.integer)
    name, triangle = named(dtype, "syevd", "heevd"), "L" if lower else "U"
    w.call(name, letter, triangle, n, matrix, n, values, work, size, *more, places, integers, info, work=n**3)
    return info


def off_range(u: Any, uh: Any, x: Any) -> Any:
    """(1 - U U^H) x."""
    return sub(x, matmul(u, matmul(uh, x)))


def column_range(x: Any, start: int, stop: int) -> Any:
    """The columns from ``start`` to ``stop``."""
    shape = type_of(x).shape
    return slice_(x, (*[0] * (len(shape) - 1), start), (*shape[:-1], stop))


svd, full_svd, eigh, eigh_of_upper = Svd(), Svd(full=True), Eigh(), Eigh(lower=False)
