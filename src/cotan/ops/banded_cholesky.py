"""Cholesky's factorization of banded Hermitian matrices, and its derivatives, in n u^2 operations for u bands below the diagonal.

All matrices here are lower bands, A[j + k, j] = a[k, j] for 0 <= k <= u; corners are not read, and zero in results. The factor L of A has
as many bands as A. With the bands M(X, Y) of X Y^H + Y X^H, the derivative X of L is the solution of

    M(L, X) = dA          with a real diagonal,

which is computed column by column, as L is (the derivative of the algorithm; Murray 2016, "Differentiation of the Cholesky decomposition",
section 4): L^-1 dA L^-H of the formula for full matrices is a full matrix. `FactorTangent` solves this equation, F(L, dA), and
`FactorCotangent` the adjoint one. M is symmetric and linear in each operand; its adjoint in either of them is N(S, .), `BandedGramAdjoint`.

    X = F(L, D):     M(L, X) = D,         so dX = F(L, dD - M(dL, X))
    S = F^T(L, B):   N(S, L) = B,         so dS = F^T(L, dB - N(S, dL))

The factor of upper bands, A = U^H U, has U = L^H for the factor L of A^H. A system needs no derivative of the factor: see
`HermitianBandedSolve`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Emitter, Reader, Routines, StridedView
from ..core.errors import ShapeError, teach
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType
from .arithmetic import neg, sub
from .banded import (
    BandedProduct,
    BandedSystem,
    BandedTriangularSolve,
    ProductOfBands,
    TransposedBands,
    check_bands,
    hermitian_bands,
    row_range,
)
from .casting import complex_, conj, real
from .failing import failed, guarded, scaled_by, zero_where_zero
from .families import default_rng, spread, zeros
from .lapack import by_columns, every_matrix, fill_nan, named, not_zero
from .linalg import ADJOINT, NONE, MatrixOp, finish_solution
from .movement import concatenate
from .routines import lapack_function

__all__ = [
    "BandedCholesky",
    "BandedGram",
    "BandedGramAdjoint",
    "FactorCotangent",
    "FactorTangent",
    "HermitianBandedSolve",
    "banded_cholesky",
]

INT64 = np.dtype(np.int64)
NOT_POSITIVE = "a leading minor is not positive definite"


def check_lower_bands(op: MatrixOp, *types: ArrayType) -> ArrayType:
    """Refuse operands that are not lower bands of one shape.

    Raises:
        ShapeError: they are not.
    """
    op.check_matrices(*types, square=False)
    first = types[0]
    if not first.shape[-2] or any(t.shape != first.shape for t in types):
        given = " and ".join(str(t.shape) for t in types)
        raise teach(ShapeError, f"{op.name}: operands of shapes {given}.", do="give lower bands of one shape, at least the diagonal.")
    return first.with_shape(first.shape)


def without_corner(x: Any) -> Any:
    """Lower bands with zeros in their corner, in new memory."""
    u, n = x.shape[-2:]
    return np.where(np.arange(u)[:, None] + np.arange(n) < n, x, x.dtype.type(0))


def conjugated(e: Emitter, x: Any, dtype: np.dtype[Any]) -> Any:
    """The conjugate of a number of this dtype."""
    return e.math("conj", x) if dtype.kind == "c" else x


def real_of(e: Emitter, x: Any, dtype: np.dtype[Any]) -> Any:
    """The real part of a number of this dtype, in this dtype."""
    return e.cast(e.math("real", x), dtype) if dtype.kind == "c" else x


# ---- the bilinear form ---------------------------------------------------------------------------------------------------------------
@op
class BandedGram(ProductOfBands):
    """The lower bands of X Y^H + Y X^H: d[k, j] = sum_s x[k + s, j - s] conj(y[s, j - s]) + y[k + s, j - s] conj(x[s, j - s])."""

    def type_rule(self, x: ArrayType, y: ArrayType) -> ArrayType:
        return check_lower_bands(self, x, y)

    def impl(self, x: Any, y: Any) -> Any:
        u, n = x.shape[-2:]
        d = np.zeros_like(x, order="C")
        for k in range(u):
            for s in range(u - k):
                first = max(n - k - s, 0)  # the columns j - s of which the row k + s is in the matrix
                a, b = (z[..., k + s, :first] * v[..., s, :first].conj() for z, v in ((x, y), (y, x)))
                d[..., k, s : s + first] += a + b
        return d

    def element(self, e: Emitter, i: Sequence[Any], x: Reader, y: Reader) -> Any:
        *lead, k, j = i
        u, n = x.shape[-2:]
        zero = e.constant(0, x.dtype)

        def at(r: Sequence[Any]) -> Any:
            (s,) = r

            def both() -> Any:
                parts = [e.math("mul", z((*lead, k + s, j - s)), conjugated(e, v((*lead, s, j - s)), x.dtype)) for z, v in ((x, y), (y, x))]
                return e.math("add", *parts)

            return e.choose((k + s < u) & (j >= s) & (j + k < n), both, lambda: zero)

        return e.reduce("add", [u], at, x.dtype)

    def transpose(self, d_bar: Any, x: Any, y: Any) -> Sequence[Any | None]:
        return [banded_gram_adjoint(d_bar, y), None] if type(x) is Var else [None, banded_gram_adjoint(d_bar, x)]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for shape in ((2, 4), (3, 5), (2, 2, 3), (1, 3), (4, 2), (2, 0)):
            yield cls(), (rng.normal(size=shape), rng.normal(size=shape))


@op
class BandedGramAdjoint(ProductOfBands):
    """The adjoint of `BandedGram` in either operand, with S in place of the result and Y as the other operand:
    x[p, q] = sum_s S[p - s, q + s] conj(y[s, q]) + conj(S[s, q + p] y[p + s, q]).
    """

    def type_rule(self, s: ArrayType, y: ArrayType) -> ArrayType:
        return check_lower_bands(self, s, y)

    def impl(self, s: Any, y: Any) -> Any:
        u, n = y.shape[-2:]
        s, x = without_corner(s), np.zeros_like(y, order="C")
        for p in range(u):
            for k in range(p + 1):
                x[..., p, : max(n - k, 0)] += s[..., p - k, k:] * y[..., k, : max(n - k, 0)].conj()
            for k in range(u - p):
                last = max(n - p - k, 0)
                x[..., p, :last] += (s[..., k, p : p + last] * y[..., p + k, :last]).conj()
        return without_corner(x)

    def element(self, e: Emitter, i: Sequence[Any], s: Reader, y: Reader) -> Any:
        *lead, p, q = i
        u, n = y.shape[-2:]
        zero = e.constant(0, y.dtype)

        def at(r: Sequence[Any]) -> Any:
            (k,) = r

            def below() -> Any:
                return e.math("mul", s((*lead, p - k, q + k)), conjugated(e, y((*lead, k, q)), y.dtype))

            def beside() -> Any:
                return conjugated(e, e.math("mul", s((*lead, k, q + p)), y((*lead, p + k, q))), y.dtype)

            first = e.choose((p >= k) & (q + p < n), below, lambda: zero)
            return e.math("add", first, e.choose((p + k < u) & (q + p + k < n), beside, lambda: zero))

        return e.reduce("add", [u], at, y.dtype)

    # <N(S, Y), X> = <S, M(X, Y)>, and M is symmetric.
    def transpose(self, x_bar: Any, s: Any, y: Any) -> Sequence[Any | None]:
        return [banded_gram(x_bar, y), None] if type(s) is Var else [None, self(s, x_bar)]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        for _, operands in BandedGram.examples():
            yield cls(), operands


banded_gram, banded_gram_adjoint = BandedGram(), BandedGramAdjoint()


# ---- the derivative of the factor ----------------------------------------------------------------------------------------------------
class OfFactor(MatrixOp):
    """An op on the factor and lower bands, linear in these: a batch axis is a further leading axis."""

    linear = ((1,),)
    total = True

    def type_rule(self, factor: ArrayType, d: ArrayType) -> ArrayType:
        return check_lower_bands(self, factor, d)

    def impl(self, factor: Any, d: Any) -> Any:
        x = without_corner(d)
        with np.errstate(all="ignore"):
            for k in np.ndindex(*d.shape[:-2]):
                self.by_columns(factor[k], x[k])
        return x

    def by_columns(self, factor: Any, x: Any) -> None:
        """One concrete matrix: writes the result over the bands."""
        raise NotImplementedError

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        factor, given, (x,) = w.strided(operands[0]), w.strided(operands[1]), results
        *lead, u, n = operands[0].shape
        if not n:
            return
        zero = w.emitter.constant(0, operands[1].dtype)

        def one(k: tuple[Any, ...]) -> None:
            # Columns lie together, and the last ones go on in zeros: no row is outside of the matrix.
            bands, work = (w.scratch((n + u, u), given.dtype) for _ in range(2))
            for source, target in ((factor.part(*k), bands), (given.part(*k), work)):
                w.fill(target, lambda _: zero)
                w.outlined(lambda source=source, target=target: inside(source, target))
            w.outlined(lambda: w.every((n,), lambda j: self.column(w, bands, work, j[0])))
            w.copy(work.mT, x.part(*k))

        def inside(source: StridedView, target: StridedView) -> None:
            for r in range(min(u, n)):
                w.every((n - r,), lambda j, r=r: target.__setitem__((j[0], r), source[r, j[0]]))

        every_matrix(w, lead, one, 2 * n * u * u)

    def column(self, w: Routines, factor: StridedView, x: StridedView, j: Any) -> None:
        """The step of one column, the j-th in the order of the algorithm."""
        raise NotImplementedError

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if flag else spread(x, size) for x, flag in zip(operands, batched, strict=True)]), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for shape in ((2, 4), (3, 5), (2, 2, 3), (1, 3), (4, 2), (2, 0)):
            factor = rng.normal(size=shape)
            factor[..., 0, :] = rng.uniform(2.0, 3.0, factor[..., 0, :].shape)
            yield cls(), (factor, rng.normal(size=shape))


@op
class FactorTangent(OfFactor):
    """X with X L^H + L X^H = D in the bands, for the lower bands of L and D, and a real diagonal of X.

    Of the diagonals of L and D the real parts are read. By columns: x_jj = d_jj / (2 l_jj), x_ij = (d_ij - l_ij x_jj) / l_jj; then
    x_ij conj(l_kj) + l_ij conj(x_kj) is subtracted from d_ik for all rows i >= k > j of the column.
    """

    library: ClassVar[str] = "factor_tangent"

    def by_columns(self, factor: Any, x: Any) -> None:
        u, n = x.shape
        for j in range(n):
            rows = min(u, n - j)
            pivot, low = factor[0, j].real, factor[1:rows, j]
            x[0, j] = x[0, j].real / (2 * pivot)
            x[1:rows, j] = (x[1:rows, j] - low * x[0, j]) / pivot
            for k in range(1, rows):  # column j + k, whose row r is the row k + r of column j
                found = x[k:rows, j]
                x[: rows - k, j + k] -= found * factor[k, j].conj() + factor[k:rows, j] * x[k, j].conj()

    def column(self, w: Routines, factor: StridedView, x: StridedView, j: Any) -> None:
        e, u = w.emitter, x.shape[-1]
        one, two = e.constant(1, x.dtype), e.constant(2, x.dtype)
        inverse = w.variable(e.math("div", one, real_of(e, factor[j, 0], x.dtype)))
        x[j, 0] = e.math("div", e.math("mul", real_of(e, x[j, 0], x.dtype), inverse[()]), two)
        middle = w.variable(x[j, 0])

        def below(r: tuple[Any, ...]) -> None:
            i = r[0] + 1
            rest = e.math("sub", x[j, i], e.math("mul", factor[j, i], middle[()]))
            x[j, i] = e.math("mul", rest, inverse[()])

        w.every((u - 1,), below)

        def update(c: tuple[Any, ...]) -> None:
            k = c[0] + 1
            low, high = w.variable(conjugated(e, factor[j, k], x.dtype)), w.variable(conjugated(e, x[j, k], x.dtype))

            def row(r: Any) -> None:
                both = e.math("add", e.math("mul", x[j, k + r], low[()]), e.math("mul", factor[j, k + r], high[()]))
                x[j + k, r] = e.math("sub", x[j + k, r], both)

            w.up_to(e.as_scalar(u - k, INT64), u, row)

        w.every((u - 1,), update)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (factor, d), (dfactor, dd) = primals, tangents
        x = self(factor, d)
        return x, self(factor, minus(dd, dfactor, lambda: banded_gram(real_diagonal(dfactor), x)))

    def transpose(self, x_bar: Any, factor: Any, d: Var) -> Sequence[Any | None]:
        return [None, FactorCotangent()(factor, x_bar)]


@op
class FactorCotangent(OfFactor):
    """The adjoint of `FactorTangent` in D: its steps from the last column to the first.

    With x' the cotangents of x, and s those of d: from s_ik, x'_ij takes -sum_k s_ik conj(l_kj), and x'_kj takes -sum_i conj(s_ik l_ij),
    for i >= k > j; then s_ij = x'_ij / l_jj, x'_jj takes -sum_i Re(s_ij l_ij), and s_jj = Re x'_jj / (2 l_jj).
    """

    library: ClassVar[str] = "factor_cotangent"

    def by_columns(self, factor: Any, x: Any) -> None:
        u, n = x.shape
        for j in reversed(range(n)):
            rows = min(u, n - j)
            for k in range(1, rows):
                known, low = x[: rows - k, j + k], factor[k:rows, j]
                x[k:rows, j] -= known * factor[k, j].conj()
                x[k, j] -= np.sum(known * low).conj()
            x[1:rows, j] /= factor[0, j].real
            x[0, j] = (x[0, j] - np.sum(x[1:rows, j] * factor[1:rows, j])).real / (2 * factor[0, j].real)

    def column(self, w: Routines, factor: StridedView, x: StridedView, j: Any) -> None:
        e, (rows, u) = w.emitter, x.shape
        n = rows - u
        j = n - 1 - j
        zero, one, two = (e.constant(c, x.dtype) for c in (0, 1, 2))
        inverse = w.variable(e.math("div", one, real_of(e, factor[j, 0], x.dtype)))
        total = w.variable(zero)

        def gather(c: tuple[Any, ...]) -> None:
            k = c[0] + 1
            low = w.variable(conjugated(e, factor[j, k], x.dtype))
            total[()] = zero

            def row(r: Any) -> None:
                known = x[j + k, r]
                x[j, k + r] = e.math("sub", x[j, k + r], e.math("mul", known, low[()]))
                total[()] = e.math("add", total[()], e.math("mul", known, factor[j, k + r]))

            w.up_to(e.as_scalar(u - k, INT64), u, row)
            x[j, k] = e.math("sub", x[j, k], conjugated(e, total[()], x.dtype))

        w.every((u - 1,), gather)
        total[()] = x[j, 0]

        def below(r: tuple[Any, ...]) -> None:
            i = r[0] + 1
            x[j, i] = e.math("mul", x[j, i], inverse[()])
            total[()] = e.math("sub", total[()], e.math("mul", x[j, i], factor[j, i]))

        w.every((u - 1,), below)
        x[j, 0] = e.math("div", e.math("mul", real_of(e, total[()], x.dtype), inverse[()]), two)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        (factor, b), (dfactor, db) = primals, tangents
        s = self(factor, b)
        return s, self(factor, minus(db, dfactor, lambda: banded_gram_adjoint(s, real_diagonal(dfactor))))

    def transpose(self, s_bar: Any, factor: Any, b: Var) -> Sequence[Any | None]:
        return [None, FactorTangent()(factor, s_bar)]


def real_diagonal(x: Any) -> Any:
    """Lower bands with the real part of their diagonal."""
    t = type_of(x)
    if t.dtype.kind != "c":
        return x
    re, rest = real(row_range(x, 0, 1)), row_range(x, 1, t.shape[-2])
    return concatenate([complex_(re, zeros(type_of(re))), rest], t.ndim - 2)


def minus(direct: Any | None, tangent: Any | None, moved: Callable[[], Any]) -> Any:
    """``direct - moved()``, where both tangents may be absent."""
    if tangent is None:
        return direct
    return neg(moved()) if direct is None else sub(direct, moved())


# ---- the factor ----------------------------------------------------------------------------------------------------------------------
@op
class BandedCholesky(MatrixOp):
    """The lower bands of L with L L^H = A, for positive definite A with these lower bands; of the diagonal the real part is read."""

    library: ClassVar[str] = "banded_cholesky"

    def type_rule(self, a: ArrayType) -> ArrayType:
        return check_lower_bands(self, a)

    def impl(self, a: Any) -> Any:
        factor = np.empty_like(a, order="C")
        if a.size == 0:
            return factor
        decompose = lapack_function("pbtrf", a.dtype)
        for k in np.ndindex(*a.shape[:-2]):
            factor[k], info = decompose(a[k], lower=True)
            if info:
                factor[k] = failed(NOT_POSITIVE)
        return without_corner(factor)

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        a, (factor,) = w.strided(operands[0]), results
        *lead, u, n = operands[0].shape
        if not n:
            return
        zero = w.emitter.constant(0, a.dtype)

        def one(k: tuple[Any, ...]) -> None:
            bands, info, target = by_columns(w, u, n, a.dtype), w.scratch((), w.integer), factor.part(*k)
            w.copy(a.part(*k), bands)
            w.call(named(a.dtype, "pbtrf"), "L", n, u - 1, bands, u, info, work=n * u * u)
            w.copy(bands, target)
            w.when(not_zero(w, info), lambda: fill_nan(w, target))
            for r in range(1, u):
                w.every((min(r, n),), lambda j, r=r: target.__setitem__((r, n - 1 - j[0]), zero))

        every_matrix(w, lead, one, n * u * u)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        result = self(*primals)
        factor, unknown = guarded(result)
        return result, scaled_by(unknown, FactorTangent()(factor, tangents[0]))

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[Any, bool]:
        return self(a), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for shape in ((2, 4), (3, 5), (2, 2, 3), (1, 3), (4, 2), (2, 0)):
            a = rng.normal(size=shape)
            a[..., 0, :] = 4 + 2 * shape[-2]
            yield cls(), (a,)
            if shape == (3, 5):
                yield cls(), (a + 1j * rng.normal(size=shape),)


banded_cholesky = BandedCholesky()


# ---- systems -------------------------------------------------------------------------------------------------------------------------
@op
class HermitianBandedSolve(BandedSystem):
    """x with A x = b for Hermitian positive definite A with these lower (or upper) bands, by Cholesky's factorization; b is n x m.

    The bands are those of one triangle; of the diagonal the real part is read. dx = A^-1 (db - dA x) for the Hermitian dA with the bands of
    the tangent. A^T is the conjugate of A.
    """

    lower: bool
    strong_zero: bool = False
    library: ClassVar[str] = "hermitian_banded_solve"

    def type_rule(self, ab: ArrayType, b: ArrayType) -> ArrayType:
        self.check_matrices(ab, b, square=False)
        check_bands(self, max(ab.shape[-2] - 1, 0), 0, ab, b)
        return b.with_shape(b.shape)

    def impl(self, ab: Any, b: Any) -> Any:
        x, tridiagonal = np.empty_like(b, order="C"), ab.shape[-2] == 2
        if b.size == 0:
            return x
        solve = lapack_function("ptsv" if tridiagonal else "pbsv", b.dtype)
        for k in np.ndindex(*b.shape[:-2]):
            if tridiagonal:
                diagonal, beside = (ab[k][0], ab[k][1, :-1]) if self.lower else (ab[k][1], ab[k][0, 1:].conj())
                *_, x[k], info = solve(diagonal.real, beside, b[k])
            else:
                *_, x[k], info = solve(ab[k], b[k], lower=self.lower)
            if info:
                x[k] = failed(NOT_POSITIVE)
        return zero_where_zero(x, b) if self.strong_zero else x

    def written_out(self, ab: Any, b: Any) -> Sequence[Any]:  # type: ignore[override]
        """By the factor, which the systems of a matrix and of its transpose share."""
        u = type_of(ab).shape[-2] - 1
        if u == 1:
            raise NotImplementedError
        if not self.lower:
            ab = TransposedBands(0, u)(ab)
            ab = conj(ab) if type_of(ab).dtype.kind == "c" else ab
        factor = banded_cholesky(ab)
        first, second = (BandedTriangularSolve(transpose_a=turn, strong_zero=self.strong_zero) for turn in (NONE, ADJOINT))
        return [second(factor, first(factor, b))]

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> Any:
        if operands[0].shape[-2] != 2:
            return NotImplemented
        bands, sides, (x,) = w.strided(operands[0]), w.strided(operands[1]), results
        (*lead, n, m), e = operands[1].shape, w.emitter
        if n == 0 or m == 0:
            return None
        dtype = operands[1].dtype

        def one(k: tuple[Any, ...]) -> None:
            ab, info = bands.part(*k), w.scratch((), w.integer)
            y = x.part(*k) if m == 1 else by_columns(w, n, m, dtype)
            diagonal, beside = w.scratch((n,), np.finfo(dtype).dtype), w.scratch((n - 1,), dtype)
            w.copy(sides.part(*k), y)

            def below(i: Any) -> Any:
                return ab[1, i] if self.lower else conjugated(e, ab[0, i + 1], dtype)

            middle = 0 if self.lower else 1
            w.fill(diagonal, lambda i: e.math("real", ab[middle, i[0]]) if dtype.kind == "c" else ab[middle, i[0]])
            if n > 1:
                w.fill(beside, lambda i: below(i[0]))
            w.call(named(dtype, "ptsv"), n, m, diagonal, beside, y, n, info, work=6 * n * (1 + m))
            finish_solution(w, self.strong_zero, sides.part(*k), y, x.part(*k), info)

        every_matrix(w, lead, one, 6 * n * (1 + m))
        return None

    def moved(self, da: Any, x: Any) -> Any:
        u = type_of(da).shape[-2] - 1
        return BandedProduct(u, u)(hermitian_bands(da, self.lower), x)

    # The conjugate of A x = b is A^T conj(x) = conj(b): a solution for A^T has the factor of A.
    def transpose(self, y_bar: Any, ab: Any, b: Var) -> Sequence[Any | None]:
        solve_for = self.of_tangents()
        return [None, conj(solve_for(ab, conj(y_bar))) if type_of(ab).dtype.kind == "c" else solve_for(ab, y_bar)]

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for lower in (True, False):
            for u, lead, n, m in (
                (1, (), 4, 1),
                (2, (), 5, 2),
                (1, (2,), 3, 2),
                (0, (), 3, 1),
                (2, (2,), 2, 1),
                (1, (), 0, 2),
                (1, (), 2, 0),
            ):
                ab, b = rng.normal(size=(*lead, u + 1, n)), rng.normal(size=(*lead, n, m))
                ab[..., 0 if lower else u, :] = 4 + 2 * u + 0.1 * np.arange(n)
                yield cls(lower), (ab, b)
                if n in (4, 5):
                    yield cls(lower), (ab + 1j * rng.normal(size=ab.shape), b + 1j)
