"""Determinants of (stacks of) square matrices, with derivatives of every order that are right at singular matrices too.

The gradient of det A is the matrix of cofactors C(A), a polynomial in A. The formula det(A) A^-T divides by zero where A is singular, and
there C(A) is not zero in general. `Cofactors` is that matrix and all its derivatives in one op:

    Cofactors(A, E1, ..., Ek) = D^k C(A)[E1, ..., Ek]          D^{k+1} det(A)[E1, ..., Ek, F] = sum(Cofactors(A, E1, ..., Ek) * F)

It is linear in each E. Its derivative in A is the same op with one more operand. The form is symmetric in its E's and F, so its adjoint in
E_j is the op itself with the cotangent in the position of E_j. So one op is closed under every transformation.

For small matrices it is evaluated as a polynomial (`exterior`). Cofactors of larger ones come from the factors P A = L U: the adjugate is
multiplicative, so C(A)^T = adj(U) L^-1 P det(P), and adj(U) needs no division (`cofactors_by_factors`). For their derivatives, factors
with complete pivoting, P A Q = L D U, make A the diagonal D, and E_j E_j' = L^-1 P E_j Q U^-1 (`complete_pivoting`). For a diagonal D,

    D^k C(D)[E'...] = sum over sets I of k+1 indices of  prod_{l not in I} d_l  *  D^k C(0)[E' restricted to I],

without a division by D, so A may have any rank, and rows and columns of unlike scales. On k+1 indices C is homogeneous of degree k, so its
derivative there is a product of the directions alone. C(A) is det(P Q) P^T L^-T C(D) U^-T Q^T.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.errors import ShapeError, teach
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import type_of
from ..core.types import ArrayType, array_type
from . import exterior, small
from .arithmetic import constant_of, mul, neg
from .casting import complex_, convert, imag, real
from .complete_pivoting import complete_lu
from .families import Weighted, add, broadcast_in_dim, default_rng, reduce_sum, scale, scaled_sum, spread, sum_tangents, zeros
from .indexing import gather, scatter
from .lapack import by_columns, every_matrix, factorized, named, not_zero
from .linalg import TRANSPOSED, Inverse, MatrixOp, TriangularSolve, columns, diagonal, mask, transposed
from .logic import equal, not_equal, select
from .lu import permuted_rows
from .movement import permute
from .reduction import reduce_prod
from .routines import lapack_function
from .running import normal_range

__all__ = ["Cofactors", "Det", "Slogdet", "det", "slogdet"]

INT64 = np.dtype(np.int64)
POLYNOMIAL = 5
"""Up to this number of rows the polynomial is unrolled term by term."""
FACTORED = {"f": POLYNOMIAL + 1, "c": POLYNOMIAL}
"""From this number of rows on, real and complex cofactors are computed from factors in compiled code (polynomials take longer)."""


@op
class Det(MatrixOp):
    """The determinant. Its tangent is sum(C(A) * dA), with the cofactors C(A)."""

    library: ClassVar[str] = "det"
    jvp, tangent = Weighted.jvp, Weighted.tangent

    total = True

    def type_rule(self, a: ArrayType) -> ArrayType:
        self.check_matrices(a)
        return a.with_shape(a.shape[:-2])

    def impl(self, a: Any) -> Any:
        return np.linalg.det(a)

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        determinants(w, operands[0], results, lambda e, sign, logarithm: [scaled_by_exp(e, sign, logarithm)])

    def weighted(self, x: Any) -> tuple[Any, Any, None]:
        return self(x), Cofactors()(x), None

    def summed(self, x: Any) -> tuple[int, ...]:
        n = type_of(x).ndim
        return n - 2, n - 1

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[Any, bool]:
        return self(a), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        return square_examples(cls)


@op
class Cofactors(MatrixOp):
    """The matrix of cofactors of A, the gradient of its determinant; with further operands, its derivative along them."""

    library: ClassVar[str] = "cofactors"

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return tuple(1 << k for k in range(1, count))

    total = True

    def type_rule(self, *types: ArrayType) -> ArrayType:
        self.check_matrices(*types)
        if any(t.shape != types[0].shape for t in types):
            shapes = " and ".join(str(t.shape) for t in types)
            raise teach(ShapeError, f"cofactors: operands of shapes {shapes}.", do="give directions of the shape of the matrix.")
        return types[0].with_shape(types[0].shape)

    def impl(self, a: Any, *directions: Any) -> Any:
        n, k = a.shape[-1], len(directions)
        if k >= n or a.size == 0:
            return np.zeros_like(a)
        if k == 0 and n >= POLYNOMIAL:
            return self.by_inverses(a)
        return self.at_any_rank(a, *directions)

    def by_inverses(self, a: Any) -> Any:
        """The cofactors det(A) A^-T of matrices far from singular ones, and of others by `at_any_rank`."""
        if a.ndim == 2:
            return self.by_inverse(a)
        with np.errstate(all="ignore"):
            det, inverse = np.linalg.det(a), np.zeros_like(a)
            size, (least, most) = np.abs(det), normal_range(a.dtype)
            fine = (size > least) & (size < most)  # no product here is rounded to a subnormal number
            if fine.all():
                inverse = np.linalg.inv(a)
            else:
                inverse[fine] = np.linalg.inv(a[fine])
            found = det[..., None, None] * np.swapaxes(inverse, -1, -2)
            condition = np.abs(a).sum(-2).max(-1) * np.abs(inverse).sum(-2).max(-1)
        others = ~(fine & (condition <= np.finfo(a.dtype).eps ** -0.25))
        if others.any():
            finite = np.isfinite(a).all((-2, -1))
            found[others & finite] = self.at_any_rank(a[others & finite])
            found[~finite] = np.nan
        return found

    def by_inverse(self, a: Any) -> Any:
        """`by_inverses` of one matrix, from the factors of its transpose: LAPACK has the columns where NumPy has the rows."""
        factors, pivots, _ = lapack_function("getrf", a.dtype, len(a))(a.T)
        with np.errstate(all="ignore"):
            diagonal, (least, most) = factors.diagonal(), normal_range(a.dtype)
            sizes = np.abs(diagonal)
            size = np.exp(np.add.reduce(np.log(sizes)))
            if least < size < most:
                odd = np.count_nonzero(pivots != np.arange(len(a))) % 2
                det = np.multiply.reduce(diagonal / sizes) * (-size if odd else size)
                space = int(lapack_function("getri_lwork", a.dtype)(len(a))[0].real)
                inverse, _ = lapack_function("getri", a.dtype, len(a))(factors, pivots, space, overwrite_lu=True)
                condition = np.maximum.reduce(np.add.reduce(np.abs(a))) * np.maximum.reduce(np.add.reduce(np.abs(inverse), 1))
                if condition <= np.finfo(a.dtype).eps ** -0.25:
                    return det * inverse
        return self.at_any_rank(a) if np.isfinite(a).all() else np.full_like(a, np.nan)

    def at_any_rank(self, a: Any, *directions: Any) -> Any:
        """The polynomial, or by factors with complete pivoting."""
        n, k = a.shape[-1], len(directions)
        if n <= POLYNOMIAL:
            return exterior.cofactors(a, directions)
        packed, sign, rows, columns, row_places, column_places = complete_lu.impl(a)
        s = np.diagonal(packed, axis1=-2, axis2=-1)
        turned = [RIGHT.impl(packed, LEFT.impl(packed, exchanged(e, rows, columns))) for e in directions]
        chosen = np.array(list(combinations(range(n), k + 1)))
        left = np.ones((len(chosen), n), bool)
        np.put_along_axis(left, chosen, False, 1)
        others = np.prod(np.where(left, s[..., None, :], s.dtype.type(1)), axis=-1)[..., None, None]
        where: Any = (..., chosen[:, :, None], chosen[:, None, :])
        inner = np.zeros_like(a, order="C")
        parts = [e[where] for e in turned]
        np.add.at(inner, where, others * (exterior.cofactors(parts[0], parts) if parts else a.dtype.type(1)))
        found = RIGHT_TRANSPOSED.impl(packed, LEFT_TRANSPOSED.impl(packed, inner))
        return (sign[..., None, None] * exchanged(found, row_places, column_places)).astype(a.dtype)

    def written_out(self, a: Any, *directions: Any) -> Sequence[Any]:  # type: ignore[override]
        """Inlined, as in ``impl``, with a shorter formula for one direction. Let D be diagonal and w_ij the product of its entries without
        d_i and d_j. The derivative along E has -w_ij E_ji off the diagonal, and the sums over j != i of w_ij E_jj on it.
        """
        t = type_of(a)
        n, order = t.shape[-1], len(directions)
        if n <= POLYNOMIAL or order == 0:
            raise NotImplementedError  # the op has a routine
        if order >= n or t.size == 0:
            return [zeros(t)]
        packed, sign, rows, columns_, row_places, column_places = complete_lu(a)
        s = diagonal(packed)
        turned = [RIGHT(packed, LEFT(packed, in_order(e, rows, columns_))) for e in directions]
        if order > 1:
            inner = sum_over_sets(s, turned)
        else:
            (e,), others = turned, convert(products_of_others(s), t.dtype)
            straight = reduce_sum(mask(scale(others, columns(diagonal(e), n)), not_equal), (t.ndim - 1,))
            inner = add(mask(neg(scale(others, transposed(e))), not_equal), mask(columns(straight, n), equal))
        found = RIGHT_TRANSPOSED(packed, LEFT_TRANSPOSED(packed, inner))
        signs = broadcast_in_dim(sign, t.shape, tuple(range(t.ndim - 2)))
        return [mul(signs, in_order(found, row_places, column_places))]

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> Any:
        (a, *directions), (result,) = operands, results
        *lead, n, _ = a.shape
        if not directions and n >= FACTORED[a.dtype.kind]:
            if small.is_small(lead, a.dtype, n, n, "fc", n * n):
                return small.cofactors(w, a, result)
            return cofactors_by_factors(w, a, result)
        if n > POLYNOMIAL:
            return NotImplemented
        return w.batched(lead, operands, results, lambda *xs: exterior.written_cofactors(w.emitter, xs[:-1], xs[-1]))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        terms = [] if tangents[0] is None else [self(*primals, tangents[0])]
        terms += [self(*primals[:k], de, *primals[k + 1 :]) for k, de in enumerate(tangents) if k and de is not None]
        return self(*primals), sum_tangents(terms)

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        return [self(*[y_bar if type(y) is Var else y for y in operands]) if type(x) is Var else None for x in operands]

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if b else spread(x, size) for x, b in zip(operands, batched, strict=True)]), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng(1)
        yield from square_examples(cls)
        yield cls(), (rng.normal(size=(3, 3)), rng.normal(size=(3, 3)))
        yield cls(), (rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3, 3)))
        yield cls(), (rng.normal(size=(4, 4)), *[rng.normal(size=(4, 4)) for _ in range(2)])
        yield cls(), (rng.normal(size=(2, 2)), *[rng.normal(size=(2, 2)) for _ in range(2)])


def products_of_others(s: Any) -> Any:
    """At each pair of indices, the product of the other entries along the last axis."""
    t = type_of(s)
    n, lead = t.shape[-1], t.ndim - 1
    one = np.eye(n, dtype=bool)
    left_out = one[:, None, :] | one
    shape = (*t.shape[:-1], *left_out.shape)
    which = broadcast_in_dim(left_out, shape, tuple(range(lead, len(shape))))
    numbers = broadcast_in_dim(s, shape, (*range(lead), len(shape) - 1))
    return reduce_prod(select(which, constant_of(1, t.dtype), numbers), (len(shape) - 1,))


def sum_over_sets(s: Any, directions: Sequence[Any]) -> Any:
    """The sum over sets of k+1 indices of the module docstring, for k directions (stacks of matrices), on traced values."""
    t, k = type_of(directions[0]), len(directions)
    n, lead = t.shape[-1], t.ndim - 2
    chosen = np.array(list(combinations(range(n), k + 1)))
    at = [np.ascontiguousarray(x) for x in np.broadcast_arrays(chosen[:, :, None], chosen[:, None, :])]
    before, after = tuple(range(lead)), tuple(range(3, 3 + lead))
    parts = [permute(gather(permute(e, (lead, lead + 1, *before)), at, "promise_in_bounds"), (*after, 0, 1, 2)) for e in directions]
    taken = np.zeros((len(chosen), n), bool)
    np.put_along_axis(taken, chosen, True, 1)
    shape = (*t.shape[:-2], *taken.shape)
    numbers = broadcast_in_dim(s, shape, (*before, lead + 1))
    others = reduce_prod(select(broadcast_in_dim(taken, shape, (lead, lead + 1)), constant_of(1, type_of(s).dtype), numbers), (lead + 1,))
    total = exterior.traced_cofactors(parts)
    weighted = mul(broadcast_in_dim(convert(others, t.dtype), type_of(total).shape, (*before, lead)), total)
    start = zeros(array_type((n, n, *t.shape[:-2]), t.dtype))
    inner = scatter("add", start, permute(weighted, (lead, lead + 1, lead + 2, *before)), at, "promise_in_bounds")
    return permute(inner, (*range(2, 2 + lead), 0, 1))


def square_examples(cls: Any) -> Iterable[tuple[Op, tuple[Any, ...]]]:
    """Examples: regular and singular square matrices."""
    rng = default_rng()
    yield cls(), (rng.normal(size=(3, 3)),)
    yield cls(), (rng.normal(size=(2, 2, 2)),)
    yield cls(), (np.outer([1.0, 2.0, 0.5], [1.0, -1.0, 3.0]),)
    yield cls(), (rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2)),)
    yield cls(), (rng.normal(size=(1, 1)),)
    yield cls(), (np.zeros((2, 2)),)
    yield cls(), (np.zeros((0, 3, 3)),)


LEFT, RIGHT = TriangularSolve(unit_diagonal=True), TriangularSolve(left_side=False, lower=False, unit_diagonal=True)
"""L^-1 X and X U^-1 for the factors in one array."""
LEFT_TRANSPOSED = TriangularSolve(transpose_a=TRANSPOSED, unit_diagonal=True)
RIGHT_TRANSPOSED = TriangularSolve(left_side=False, lower=False, transpose_a=TRANSPOSED, unit_diagonal=True)
"""L^-T X and X U^-T."""


def exchanged(x: Any, rows: Any, columns: Any) -> Any:
    """Concrete matrices with their rows and columns in these orders."""
    return np.take_along_axis(np.take_along_axis(x, rows[..., :, None], -2), columns[..., None, :], -1)


def in_order(x: Any, rows: Any, columns: Any) -> Any:
    """`exchanged` for traced matrices."""
    return transposed(permuted_rows(transposed(permuted_rows(x, rows)), columns))


@op
class Slogdet(MatrixOp):
    """The sign (of absolute value one, or 0) of the determinant, and the logarithm of its absolute value.

    With t = tr(A^-1 dA): d log|det A| = Re t, d sign = sign i Im t, which is zero for real A. At a singular A there is no derivative.
    """

    multiple = True
    total = True
    library: ClassVar[str] = "slogdet"

    def type_rule(self, a: ArrayType) -> tuple[ArrayType, ArrayType]:
        self.check_matrices(a)
        return a.with_shape(a.shape[:-2]), array_type(a.shape[:-2], np.finfo(a.dtype).dtype)

    def impl(self, a: Any) -> tuple[Any, Any]:
        sign, logarithm = np.linalg.slogdet(a)
        return sign, logarithm

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        determinants(w, operands[0], results, lambda e, sign, logarithm: [sign, logarithm])

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a,), (da,) = primals, tangents
        sign, logarithm = self(a)
        t = type_of(a)
        trace = scaled_sum(transposed(Inverse()(a)), da, (t.ndim - 2, t.ndim - 1))
        if t.dtype.kind != "c":
            return (sign, logarithm), (None, trace)
        turn = imag(trace)
        zero = type_of(turn).dtype.type(0)
        return (sign, logarithm), (scale(sign, complex_(scale(zero, turn), turn)), real(trace))

    def batch(self, size: int, batched: Sequence[bool], a: Any) -> tuple[tuple[Any, Any], tuple[bool, bool]]:
        return self(a), (True, True)

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(), (rng.normal(size=(3, 3)),)
        yield cls(), (rng.normal(size=(2, 2, 2)),)
        yield cls(), (rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2)),)
        yield cls(), (np.zeros((0, 3, 3)),)


# ---- routines --------------------------------------------------------------------------------------------------------------
def scaled_by_exp(e: Any, sign: Any, logarithm: Any) -> Any:
    """sign exp(logarithm), computed as in NumPy's determinant, without overflow of intermediate results."""
    size = e.math("exp", logarithm)
    return e.math("mul", sign, e.cast(size, sign.dtype))


def determinants(w: Routines, a: Reader, results: Sequence[StridedView], finish: Any) -> None:
    """The sign and the logarithm of the magnitude, from the diagonal of the factor U, row by row; ``finish`` computes the results from
    them.
    """
    *lead, n, _ = a.shape
    e, part = w.emitter, np.finfo(a.dtype).dtype
    if small.is_small(lead, a.dtype, n, kinds="fc", results=2):
        small.sign_and_logarithm(w, a, results, finish)
        return
    given = w.strided(a)

    def one(k: tuple[Any, ...]) -> None:
        lu, pivots, info = by_columns(w, n, n, a.dtype), w.scratch((n,), w.integer), w.scratch((), w.integer)
        factorized(w, given.part(*k), lu, pivots, info)
        sign, total = w.variable(e.constant(1, a.dtype)), w.variable(e.constant(0, part))

        def row(i: tuple[Any, ...]) -> None:
            d = lu[i[0], i[0]]
            turned, size = direction(e, d)
            exchanged = e.math("ne", pivots[i], e.as_scalar(i[0] + 1, w.integer))
            turned = e.math("select", exchanged, turned, e.math("neg", turned))
            sign[()] = e.math("mul", sign[()], turned)
            total[()] = e.math("add", total[()], e.math("log", size))

        def nothing() -> None:
            sign[()], total[()] = e.constant(0, a.dtype), e.constant(-np.inf, part)

        w.every((n,), row)
        w.when(not_zero(w, info), nothing)
        for y, value in zip(results, finish(e, sign[()], total[()]), strict=True):
            y[k] = value

    every_matrix(w, lead, one, n**3)


def cofactors_by_factors(w: Routines, a: Reader, result: StridedView) -> None:
    """C(A)^T = adj(U) L^-1 P det(P) from P A = L U, for matrices of any rank, since adj(U) is computed by products alone.

    Let M be the adjugate of the first k rows and columns of U, d their determinant, and v, s the next column. Then that of one row more is
    [[s M, -M v], [0, d]]. So column k of adj(U) is -M v and d, times the diagonal elements that follow. Where a column of A is no more than
    rounding, so are the elements of U from its diagonal on, and by these products those of the result.
    """
    *lead, n, _ = a.shape
    given = w.strided(a)
    every_matrix(w, lead, lambda k: write_cofactors(w, given.part(*k), result.part(*k)), 2 * n**3)


def write_cofactors(w: Routines, a: StridedView, target: StridedView) -> None:
    """Those of one matrix. As ``target`` is row-major, the columns of adj(U) are its rows."""
    n, e, zero = a.shape[-1], w.emitter, w.emitter.constant(0, a.dtype)
    lu, pivots, info = by_columns(w, n, n, a.dtype), w.scratch((n,), w.integer), w.scratch((), w.integer)
    following = w.scratch((n,), a.dtype)

    def adjugate() -> None:
        determinant = w.variable(e.constant(1, a.dtype))

        def sign(i: tuple[Any, ...]) -> None:
            exchanged, old = e.math("ne", pivots[i], e.as_scalar(i[0] + 1, w.integer)), determinant[()]
            determinant[()] = e.math("select", exchanged, old, e.math("neg", old))

        def column(at: tuple[Any, ...]) -> None:
            k, d = at[0], lu[at[0], at[0]]

            def add(j: Any) -> None:
                v = e.math("mul", following[j], lu[j, k])
                below(j + 1, lambda i: target.__setitem__((k, i), e.math("sub", target[k, i], e.math("mul", target[j, i], v))))

            below(k, add)
            below(k, lambda j: following.__setitem__(j, e.math("mul", following[j], d)))
            following[k] = e.constant(1, a.dtype)
            target[k, k] = determinant[()]
            determinant[()] = e.math("mul", determinant[()], d)

        def below(end: Any, body: Any) -> None:
            w.up_to(e.as_scalar(end, INT64), n, body)

        w.every((n,), sign)
        w.every((n,), column)
        w.every((n, n), lambda i: target.__setitem__(i, e.math("mul", target[i], following[i[0]])))

    def exchange(k: Any) -> None:
        """Exchange row k with the row with which that of A was exchanged."""
        other = e.as_index(e.math("sub", pivots[k], e.constant(1, w.integer)))

        def swap(i: tuple[Any, ...]) -> None:
            x, y = target[k, i[0]], target[other, i[0]]
            target[k, i[0]], target[other, i[0]] = y, x

        w.every((n,), swap)

    factorized(w, a, lu, pivots, info)
    w.fill(target, lambda _: zero)
    w.outlined(adjugate)
    w.call(named(a.dtype, "trsm", library="blas"), "R", "L", "N", "U", n, n, a.dtype.type(1), lu, n, target, n, work=n**3)
    w.outlined(lambda: w.every((n,), lambda i: exchange(n - 1 - i[0])))


def direction(e: Any, d: Any) -> tuple[Any, Any]:
    """A number as d / |d| and |d|."""
    if d.dtype.kind != "c":
        one, negative = e.constant(1, d.dtype), e.math("lt", d, e.constant(0, d.dtype))
        return e.math("select", negative, one, e.math("neg", one)), e.math("abs", d)
    re, im = e.math("real", d), e.math("imag", d)
    size = e.math("hypot", re, im)
    return e.math("complex", e.math("div", re, size), e.math("div", im, size)), size


det, slogdet = Det(), Slogdet()
