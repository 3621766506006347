"""Eigenvalues and eigenvectors of tridiagonal and banded Hermitian matrices. Only the vectors are full matrices.

The derivatives are those of full Hermitian matrices (`factorization.Eigh`), with dA V as a product of bands. Reference: Anderson et al.
(1999), "LAPACK Users' Guide", section 2.3.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.errors import DtypeError, ShapeError, teach
from ..core.op import Op, op
from ..core.tracing import type_of
from ..core.types import ArrayType, array_type
from .arithmetic import constant_of
from .banded import BandedProduct, TransposedBands, check_bands, hermitian_bands
from .casting import conj, convert, real
from .clusters import Splitting, Turn, split_eigenvalues
from .contraction import matmul
from .factorization import NO_EIGENVALUES, VECTORS
from .failing import failed
from .families import default_rng, scaled_sum, spread, zeros
from .gaps import inverse_gaps, plain_product
from .lapack import by_columns, every_matrix, named
from .linalg import MatrixOp, adjoint, diagonal, transposed
from .movement import concatenate, pad, reshape
from .routines import lapack_function

__all__ = ["EighBanded", "EighTridiagonal", "EigvalsBanded", "EigvalshTridiagonal", "eigh_tridiagonal", "eigvalsh_tridiagonal"]


def tridiagonal(d: Any, e: Any) -> Any:
    """The bands of the symmetric matrices with the diagonals d and e beside them."""
    t = type_of(d)
    lead, zero = [(0, 0, 0)] * (t.ndim - 1), constant_of(0, t.dtype)
    rows = pad(e, zero, [*lead, (1, 0, 0)]), d, pad(e, zero, [*lead, (0, 1, 0)])
    return concatenate([reshape(row, (*t.shape[:-1], 1, t.shape[-1])) for row in rows], t.ndim - 1)


class OfTridiagonal(MatrixOp):
    """An op on the diagonals d (n) and e (n - 1) of symmetric tridiagonal matrices, with their eigenvalues as the first result."""

    takes: ClassVar[str] = "f"

    def loop_axes(self, *types: ArrayType) -> Sequence[int]:
        return range(types[0].ndim - 1)

    def values_type(self, d: ArrayType, e: ArrayType) -> ArrayType:
        if not d.ndim or e.shape != (*d.shape[:-1], max(d.shape[-1] - 1, 0)):
            what = f"{self.name}: diagonals of shapes {d.shape} and {e.shape}."
            raise teach(ShapeError, what, do="give n numbers of the diagonal and n - 1 beside it, with equal leading axes.")
        if d.dtype != e.dtype or d.dtype.kind != "f" or d.dtype.itemsize < 4:
            what = f"{self.name}: diagonals of dtypes {d.dtype} and {e.dtype}."
            raise teach(DtypeError, what, do="convert them to float32 or float64.")
        return d.with_shape(d.shape)

    def decomposed(self, d: Any, e: Any, vectors: bool) -> tuple[Any, Any]:
        """The eigenvalues of concrete matrices, and the vectors if they are asked for."""
        n = d.shape[-1]
        w, v = np.empty_like(d, order="C"), np.empty((*d.shape, n if vectors else 0), d.dtype)
        if not d.size:
            return w, v
        if n == 1:
            v[...] = 1
            return d.copy(), v
        decompose = lapack_function("stevd", d.dtype)
        for k in np.ndindex(*d.shape[:-1]):
            w[k], z, info = decompose(d[k], e[k], compute_v=vectors)
            if info:
                w[k] = z = failed(NO_EIGENVALUES)
            if vectors:
                v[k] = z
        return w, v

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        diagonals, beside, values, vectors = w.strided(operands[0]), w.strided(operands[1]), results[0], None
        *lead, n = operands[0].shape
        if len(results) > 1:
            vectors = results[1]
        if n == 0:
            return
        letter, dtype, size, integers = ("N", values.dtype, 1, 1) if vectors is None else ("V", values.dtype, 1 + 4 * n + n * n, 3 + 5 * n)

        def one(k: tuple[Any, ...]) -> StridedView:
            off, info, found = w.scratch((max(n - 1, 1),), dtype), w.scratch((), w.integer), values.part(*k)
            matrix = None if vectors is None else by_columns(w, n, n, dtype)
            work, places = w.scratch((size,), dtype), w.scratch((integers,), w.integer)
            w.fill(found, lambda i: diagonals.part(*k)[i[0]])
            if n > 1:
                w.every((n - 1,), lambda i: off.__setitem__(i[0], beside.part(*k)[i[0]]))
            w.call(named(dtype, "stevd"), letter, n, found, off, matrix, n, work, size, places, integers, info, work=size * 8)
            if vectors is not None and matrix is not None:
                w.copy(matrix, vectors.part(*k))
            return info

        every_matrix(w, lead, one, 8 * n * n if vectors is None else VECTORS * n**3 // 4, results)

    def splitting(self, results: Sequence[Any], relative: float, turned: bool, pair: Turn = None) -> Splitting | None:  # type: ignore[override]
        return split_eigenvalues(results[0], results[1] if len(results) > 1 else None, relative, turned, pair)

    def singular(self, d: Any, e: Any) -> Any:
        """Whether two eigenvalues are equal."""
        return np.any(np.diff(self.decomposed(d, e, vectors=False)[0], axis=-1) == 0, axis=-1)

    def moved(self, primals: Sequence[Any], tangents: Sequence[Any | None], v: Any) -> Any:
        """dT V."""
        dd, de = (zeros(type_of(x)) if dx is None else dx for x, dx in zip(primals, tangents, strict=True))
        return BandedProduct(1, 1)(tridiagonal(dd, de), v)


@op
class EighTridiagonal(OfTridiagonal):
    """Eigenvalues, ascending, and orthonormal eigenvectors (columns) of symmetric tridiagonal matrices, T = V diag(w) V^T.

    With P = V^T dT V:  dw = diag P,  dV = V X,  X_ij = P_ij / (w_j - w_i), zero on the diagonal (as of full matrices: Giles 2008, 3.1).
    """

    multiple = True
    library: ClassVar[str] = "eigh_tridiagonal"

    def type_rule(self, d: ArrayType, e: ArrayType) -> tuple[ArrayType, ArrayType]:
        w = self.values_type(d, e)
        return w, array_type((*d.shape, d.shape[-1]), d.dtype)

    def result_alone(self, k: int) -> Op | None:  # type: ignore[override]
        return EigvalshTridiagonal() if k == 0 else None

    def impl(self, d: Any, e: Any) -> tuple[Any, Any]:
        return self.decomposed(d, e, vectors=True)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        w, v = self(*primals)
        if not type_of(w).size:
            return (w, v), (None, None)
        p = matmul(transposed(v), self.moved(primals, tangents, v))
        return (w, v), (diagonal(p), matmul(v, plain_product(inverse_gaps(w), p)))

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, tuple[bool, bool]]:
        return self(*[x if flag else spread(x, size) for x, flag in zip(operands, batched, strict=True)]), (True, True)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for n, lead in ((4, ()), (3, (2,)), (2, ()), (1, ()), (0, ())):
            yield cls(), (rng.normal(size=(*lead, n)), rng.uniform(0.5, 1.5, size=(*lead, max(n - 1, 0))))


@op
class EigvalshTridiagonal(OfTridiagonal):
    """The eigenvalues alone of symmetric tridiagonal matrices, ascending. With the vectors of `EighTridiagonal`, dw = diag(V^T dT V)."""

    library: ClassVar[str] = "eigvalsh_tridiagonal"

    def type_rule(self, d: ArrayType, e: ArrayType) -> ArrayType:
        return self.values_type(d, e)

    def impl(self, d: Any, e: Any) -> Any:
        return self.decomposed(d, e, vectors=False)[0]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        w, v = eigh_tridiagonal(*primals)
        if not type_of(w).size:
            return w, None
        return w, scaled_sum(v, self.moved(primals, tangents, v), (type_of(v).ndim - 2,))

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if flag else spread(x, size) for x, flag in zip(operands, batched, strict=True)]), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        for _, operands in EighTridiagonal.examples():
            yield cls(), operands


eigh_tridiagonal, eigvalsh_tridiagonal = EighTridiagonal(), EigvalshTridiagonal()


# ---- more bands ----------------------------------------------------------------------------------------------------------------------
class OfHermitianBands(MatrixOp):
    """An op on lower (or upper) bands of Hermitian matrices, with their eigenvalues as the first result."""

    lower: bool

    def values_type(self, a: ArrayType) -> ArrayType:
        self.check_matrices(a, square=False)
        check_bands(self, max(a.shape[-2] - 1, 0), 0, a)
        return array_type((*a.shape[:-2], a.shape[-1]), np.finfo(a.dtype).dtype)

    def decomposed(self, a: Any, vectors: bool) -> tuple[Any, Any]:
        """The eigenvalues of concrete matrices, and the vectors if they are asked for."""
        *lead, _, n = a.shape
        w, v = np.empty((*lead, n), np.finfo(a.dtype).dtype), np.empty((*lead, n, n if vectors else 0), a.dtype)
        if not w.size:
            return w, v
        decompose = lapack_function("hbevd" if a.dtype.kind == "c" else "sbevd", a.dtype)
        u = a.shape[-2] - 1
        away, back = (0, u)[:: 1 if self.lower else -1], (u, 0)[:: 1 if self.lower else -1]
        inside = TransposedBands(*away).impl(TransposedBands(*back).impl(a))  # zeros in the corners
        for k in np.ndindex(*lead):
            w[k], z, info = decompose(a[k], compute_v=vectors, lower=self.lower)
            if info or not np.isfinite(inside[k]).all():
                w[k] = z = failed(NO_EIGENVALUES)
            if vectors:
                v[k] = z
        return w, v

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        a, values, vectors = w.strided(operands[0]), results[0], results[1] if len(results) > 1 else None
        *lead, rows, n = operands[0].shape
        if n == 0:
            return
        dtype, part, square = a.dtype, values.dtype, 2 * n * n
        letter, integers = ("N", 1) if vectors is None else ("V", 3 + 5 * n)
        if dtype.kind == "c":
            size, real_size = (n, n) if vectors is None else (square, 1 + 5 * n + square)
        else:
            size, real_size = 2 * n if vectors is None else 1 + 5 * n + square, 0

        def one(k: tuple[Any, ...]) -> StridedView:
            bands, info = by_columns(w, rows, n, dtype), w.scratch((), w.integer)
            work, places = w.scratch((size,), dtype), w.scratch((integers,), w.integer)
            more = [w.scratch((real_size,), part), real_size] if real_size else []
            matrix = None if vectors is None else by_columns(w, n, n, dtype)
            w.copy(a.part(*k), bands)
            name, last = named(dtype, "sbevd", "hbevd"), (work, size, *more, places, integers, info)
            triangle, count = "L" if self.lower else "U", n * n * rows if vectors is None else n**3
            e, total = w.emitter, w.variable(w.emitter.constant(0, dtype))
            none, u = e.constant(0, dtype), rows - 1

            def add_up(i: tuple[Any, ...]) -> None:
                inside = i[0] + i[1] < n if self.lower else i[0] + i[1] >= u
                element = e.choose(inside, lambda: e.math("mul", bands[i], none), lambda: none)
                total[()] = e.math("add", total[()], element)

            w.every((rows, n), add_up)  # zero, if all elements of the matrix are finite
            w.call(name, letter, triangle, n, rows - 1, bands, rows, values.part(*k), matrix, n, *last, work=count)
            w.when(e.math("ne", total[()], none), lambda: info.__setitem__((), e.constant(1, w.integer)))
            if vectors is not None and matrix is not None:
                w.copy(matrix, vectors.part(*k))
            return info

        every_matrix(w, lead, one, n * n * rows if vectors is None else VECTORS * n**3, results)

    def splitting(self, results: Sequence[Any], relative: float, turned: bool, pair: Turn = None) -> Splitting | None:  # type: ignore[override]
        return split_eigenvalues(results[0], results[1] if len(results) > 1 else None, relative, turned, pair)

    def singular(self, a: Any) -> Any:
        """Whether two eigenvalues are equal."""
        return np.any(np.diff(self.decomposed(a, vectors=False)[0], axis=-1) == 0, axis=-1)

    def moved(self, da: Any, v: Any) -> Any:
        """dA V."""
        u = type_of(da).shape[-2] - 1
        return BandedProduct(u, u)(hermitian_bands(da, self.lower), v)


@op
class EighBanded(OfHermitianBands):
    """Eigenvalues, ascending, and orthonormal eigenvectors (columns) of Hermitian matrices with these lower (or upper) bands.

    With P = V^H dA V:  dw = Re diag P,  dV = V X,  X_ij = P_ij / (w_j - w_i), zero on the diagonal (as of full matrices: Giles 2008, 3.1).
    """

    lower: bool
    multiple = True
    library: ClassVar[str] = "eigh_banded"

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ArrayType]:
        return self.values_type(a), array_type((*a.shape[:-2], a.shape[-1], a.shape[-1]), a.dtype)

    def result_alone(self, k: int) -> Op | None:  # type: ignore[override]
        return EigvalsBanded(self.lower) if k == 0 else None

    def impl(self, a: Any) -> tuple[Any, Any]:
        return self.decomposed(a, vectors=True)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        w, v = self(a)
        p, dtype = matmul(adjoint(v), self.moved(da, v)), type_of(v).dtype
        dw = diagonal(p)
        dv = matmul(v, plain_product(convert(inverse_gaps(w), dtype), p))
        return (w, v), (real(dw) if dtype.kind == "c" else dw, dv)

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[Any, tuple[bool, bool]]:
        return self(a), (True, True)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for lower in (True, False):
            for u, n, lead in ((1, 4, ()), (2, 3, (2,)), (0, 2, ()), (2, 2, ()), (1, 0, ())):
                a = rng.normal(size=(*lead, u + 1, n))
                a[..., 0 if lower else u, :] = 3 * np.arange(n)
                yield cls(lower), (a,)
                if n == 4:
                    yield cls(lower), (a + 1j * rng.normal(size=a.shape),)


@op
class EigvalsBanded(OfHermitianBands):
    """The eigenvalues alone of Hermitian matrices with these bands, ascending. With the vectors of `EighBanded`, dw = Re diag(V^H dA V)."""

    lower: bool
    library: ClassVar[str] = "eigvals_banded"

    def type_rule(self, a: ArrayType) -> ArrayType:
        return self.values_type(a)

    def impl(self, a: Any) -> Any:
        return self.decomposed(a, vectors=False)[0]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        w, v = EighBanded(self.lower)(a)
        dw = scaled_sum(conj(v) if type_of(v).dtype.kind == "c" else v, self.moved(da, v), (type_of(v).ndim - 2,))
        return w, real(dw) if type_of(v).dtype.kind == "c" else dw

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[Any, bool]:
        return self(a), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        for given, operands in EighBanded.examples():
            yield cls(**given.parameters()), operands
