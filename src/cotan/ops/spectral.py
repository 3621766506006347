"""Functions of the singular values of (stacks of) matrices, with derivatives of every order that are right at equal singular values too.

Singular values up to a limit are *dropped*, the others *kept*. The pseudo-inverse A^+ = V_k S_k^-1 U_k^H and the polar factor U_k V_k^H are
spectral functions, 1/x and the sign, of the kept ones. So their derivatives exist wherever kept and dropped values are apart, even if kept
values are equal or dropped values zero: the only divisors are kept singular values, their sums and their distances from dropped ones. Each
op is the function and all its derivatives in one,

    PseudoInverse(A, U, s, V^H, kept, E1, ..., Ek) = D^k A^+[E1, ..., Ek]        at A = U diag(s) V^H,

a function of A alone: the factorization belongs to the point, and is computed once. It is linear in each E (over the reals), and its
derivative in A is the same op with one more operand. Re tr(D^k A^+[E1, ..., Ek] X) is the (k+1)-th derivative of the sum of the logarithms
of the kept singular values, and Re tr(D^k polar(A)[E1, ..., Ek]^H X) is the (k+1)-th derivative of their sum. So both are symmetric in all
E's and X, and the adjoint in E_j is the op itself with the cotangent in the position of E_j.

With M = U^H E V, the first derivatives V X U^H of A^+ and U Y V^H of the polar factor have

    X_ij = -M_ij / (s_i s_j)                              Y_ij = (M_ij - conj(M_ji)) / (s_i + s_j)             both kept
    X_ij = (conj(M_ji) + M_ij d / c) / (c^2 - d^2)        Y_ij = (M_ij c + conj(M_ji) d) / (c^2 - d^2)         one kept (c), one dropped (d)

and zero for both dropped; the part of E outside of the ranges of U and V belongs to dropped values of zero. For d = 0 and P = A^+ this is
dP = -P dA P + P P^H dA^H (1 - A P) + (1 - P A) dA^H P^H P (Golub & Pereyra 1973, "The differentiation of pseudo-inverses and nonlinear
least squares problems whose variables separate").

Higher derivatives are derivatives of parts of the Hermitian H = [[0, A], [A^H, 0]], which has eigenvalues +-s and zeros: of the inverse of
the kept part, and of the projectors on the kept positive and negative parts. Let Q be the projector on chosen eigenvectors, and S the
inverse on their span. The coefficients Q_J, S_J of the product of the directions in a set J follow from

    H Q = Q H,   Q Q = Q,   H S = S H = Q,   Q S = S

where H is diagonal (eigenvalues l): with sums over j in J and over the ways to split J into two nonempty sets B, C,

    (Q_J)_ij = sum (Q_{J-j} E_j - E_j Q_{J-j})_ij / (l_i - l_j)       one of i, j chosen;   -+ sum (Q_B Q_C)_ij   both chosen, neither
    (S_J)_ij = (Q_J - sum E_j S_{J-j})_ij / l_i   i chosen;    (Q_J - sum S_{J-j} E_j)_ij / l_j   j chosen;    sum (Q_B S_C)_ij   neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from ..core.errors import DtypeError, ShapeError, teach
from ..core.op import Op, op
from ..core.program import Var
from ..core.tracing import EVAL, running, type_of
from ..core.types import ArrayType, array_type
from .arithmetic import constant_of, div, mul, neg, sub
from .casting import conj, convert, real
from .contraction import matmul
from .factorization import off_range
from .families import add, default_rng, reduce_sum, scale, spread, sum_tangents, zeros
from .linalg import MatrixOp, adjoint, columns, mask, transposed
from .logic import bitwise_and, bitwise_or, equal, not_equal, select
from .movement import concatenate, slice_
from .ordering import abs_, maximum, minimum
from .qr import Qr

__all__ = ["NuclearNorm", "PolarFactor", "PseudoInverse", "nuclear_norm", "polar_factor", "pseudo_inverse"]

FACTORS = 5
"""The number of leading operands: the matrix, its factorization, and the flags of the kept singular values."""


class OfSingularValues(MatrixOp):
    """A function of a matrix with a given factorization, by its kept singular values; with further operands, its derivative along them.
    ``turned`` says that the result has the shape of the transposed matrix.
    """

    total = True
    turned: ClassVar[bool] = False
    point: ClassVar[type[Point]]

    def linear_sets(self, count: int) -> tuple[int, ...]:
        return tuple(1 << k for k in range(FACTORS, count))

    def type_rule(self, *types: ArrayType) -> ArrayType:
        a, u, s, vh, kept, *directions = types
        self.check_matrices(a, u, vh, *directions, square=False)
        *lead, m, n = a.shape
        p = min(m, n)
        shapes = [t.shape for t in (u, s, vh, kept, *directions)]
        if shapes != [(*lead, m, p), (*lead, p), (*lead, p, n), (*lead, p), *[a.shape] * len(directions)]:
            given = ", ".join(map(str, shapes))
            raise teach(ShapeError, f"{self.name}: a matrix of shape {a.shape} with {given}.", do="give its reduced factorization.")
        if s.dtype != a.dtype or kept.dtype.kind != "b":
            dtypes = f"s of {s.dtype}, kept of {kept.dtype}"
            raise teach(DtypeError, f"{self.name}: {dtypes}.", do="give s in the dtype of the matrix, and bools.")
        return a.with_shape((*lead, n, m) if self.turned else a.shape)

    def impl(self, *operands: Any) -> Any:
        with running(EVAL), np.errstate(all="ignore"):
            return self.written_out(*operands)[0]

    def written_out(self, *operands: Any) -> Sequence[Any]:  # type: ignore[override]
        a, u, s, vh, kept, *directions = operands
        t = type_of(a)
        if t.size == 0:
            return [zeros(self.type_rule(*map(type_of, operands)))]
        point = self.point(u, real(s) if t.dtype.kind == "c" else s, vh, kept)
        return [point.value() if not directions else point.first(*directions) if len(directions) == 1 else point.higher(directions)]

    def singular(self, *primals: Any) -> Any:
        """Where values are dropped, the derivative is the one for a constant number of kept values."""
        dropped = np.any(~primals[4], axis=-1)
        return (dropped, *[np.zeros_like(dropped)] * (len(primals) - 1))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        terms = [] if tangents[0] is None else [self(*primals, tangents[0])]
        terms += [self(*primals[:k], de, *primals[k + 1 :]) for k, de in enumerate(tangents) if k >= FACTORS and de is not None]
        return self(*primals), sum_tangents(terms)

    def dual(self, x: Any) -> Any:
        """A cotangent of the result as a direction, and a result as a cotangent of the direction."""
        return transposed(x) if self.turned else conj(x) if type_of(x).dtype.kind == "c" else x

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        given = [self.dual(y_bar) if type(x) is Var else x for x in operands]
        return [self.dual(self(*given)) if type(x) is Var else None for x in operands]

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if b else spread(x, size) for x, b in zip(operands, batched, strict=True)]), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()

        def example(a: Any, rank: int, order: int) -> tuple[Op, tuple[Any, ...]]:
            return cls(), (*factorized(a, rank), *[rng.normal(size=a.shape).astype(a.dtype) for _ in range(order)])

        yield example(rng.normal(size=(3, 3)), 3, 0)
        yield example(np.eye(3), 3, 1)
        yield example(rng.normal(size=(4, 2)), 2, 1)
        yield example(rng.normal(size=(2, 2, 4)) + 1j * rng.normal(size=(2, 2, 4)), 2, 1)
        yield example(rng.normal(size=(4, 3)), 2, 2)
        yield example(rng.normal(size=(3, 2)) + 1j * rng.normal(size=(3, 2)), 1, 2)
        yield example(rng.normal(size=(3, 2)).astype(np.float32), 2, 1)
        yield example(np.outer([1.0, 2.0, 0.5], [1.0, -1.0, 3.0, 1.0]), 1, 2)


def factorized(a: Any, rank: int) -> tuple[Any, ...]:
    """Concrete operands: a matrix and its factorization, with ``rank`` kept singular values."""
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return a, u, s.astype(a.dtype), vh, np.broadcast_to(np.arange(s.shape[-1]) < rank, s.shape)


class Point:
    """A matrix by its factorization, a function of it, and the derivatives of the function."""

    def __init__(self, u: Any, s: Any, vh: Any, kept: Any):
        self.u, self.uh, self.vh, self.v = u, adjoint(u), vh, adjoint(vh)
        self.s, self.kept, self.inverse = s, kept, inverse(s, kept)
        self.dtype, (self.m, self.p), self.n = type_of(u).dtype, type_of(u).shape[-2:], type_of(vh).shape[-1]

    def value(self) -> Any:
        """The function."""
        raise NotImplementedError

    def first(self, e: Any) -> Any:
        """The first derivative."""
        raise NotImplementedError

    def in_eigenvectors(self, plus: Chosen, minus: Chosen, directions: Sequence[Any]) -> Any:
        """A derivative of the function of H, by the kept positive and negative eigenvalues."""
        raise NotImplementedError

    def corner(self, upper: Any, found: Any, lower: Any) -> Any:
        """The block of a function of H that is the function of A."""
        raise NotImplementedError

    def times_columns(self, d: Any, x: Any) -> Any:
        """x diag(d)."""
        return mul(convert(columns(d, type_of(x).shape[-2]), self.dtype), x)

    def by_rows_and_columns(self) -> tuple[Any, Any, Any]:
        """s, whether it is kept, and its inverse, each as a pair (for the row, for the column)."""
        pairs = [(transposed(x), x) for x in (columns(x, self.p) for x in (self.s, self.kept, self.inverse))]
        return pairs[0], pairs[1], pairs[2]

    def higher(self, directions: Sequence[Any]) -> Any:
        """A derivative of any order."""
        if self.n > self.p:  # the function of A^H is the adjoint of the function of A
            return adjoint(type(self)(self.v, self.s, self.uh, self.kept).higher([adjoint(e) for e in directions]))
        beyond = [matmul(e, self.v) for e in directions]
        basis, rows = self.complement([off_range(self.u, self.uh, x) for x in beyond])
        turned = [self.within(matmul(self.uh, x), row) for x, row in zip(beyond, rows, strict=True)]
        values, none = self.along(self.s, neg(self.s), basis), zeros(type_of(self.kept))
        plus, minus = (Chosen(values, self.along(*pair, basis), self.dtype) for pair in ((self.kept, none), (none, self.kept)))
        found = self.in_eigenvectors(plus, minus, turned)
        half = constant_of(0.5**0.5, self.dtype)
        u, v, axis = mul(half, self.u), mul(half, self.v), type_of(self.u).ndim - 1
        upper = concatenate([u, u, *([] if basis is None else [basis])], axis)
        lower = concatenate([v, neg(v), *([] if basis is None else [zeros_of(basis, self.n, type_of(basis).shape[-1])])], axis)
        return self.corner(upper, found, lower)

    def complement(self, parts: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
        """An orthonormal basis of the directions' part outside of the range of U, and their coordinates in it; None if U is square."""
        if self.m == self.p:
            return None, [None] * len(parts)
        axis = type_of(parts[0]).ndim - 1
        basis, coordinates = Qr()(concatenate(parts, axis))
        *lead, size, _ = type_of(coordinates).shape
        starts = [(*[0] * axis, k * self.n) for k in range(len(parts))]
        return basis, [slice_(coordinates, at, (*lead, size, at[-1] + self.n)) for at in starts]

    def within(self, inner: Any, rows: Any) -> Any:
        """A direction in the eigenvectors of H, (u, v) / sqrt 2, (u, -v) / sqrt 2, and (z, 0) for z in the complement."""
        half, axis = constant_of(0.5, self.dtype), type_of(inner).ndim - 1
        even, odd = mul(half, add(inner, adjoint(inner))), mul(half, sub(inner, adjoint(inner)))
        blocks = [[even, neg(odd)], [odd, neg(even)]]
        if rows is not None:
            below, rank = mul(constant_of(0.5**0.5, self.dtype), rows), type_of(rows).shape[-2]
            for row, block in zip(blocks, (below, neg(below)), strict=True):
                row.append(adjoint(block))
            blocks.append([below, neg(below), zeros_of(rows, rank, rank)])
        return concatenate([concatenate(row, axis) for row in blocks], axis - 1)

    def along(self, plus: Any, minus: Any, basis: Any) -> Any:
        """A number for each eigenvector: from ``plus``, from ``minus``, and zero for the complement."""
        t = type_of(plus)
        rest = [] if basis is None else [zeros(array_type((*t.shape[:-1], type_of(basis).shape[-1]), t.dtype))]
        return concatenate([plus, minus, *rest], t.ndim - 1)


class Chosen:
    """Chosen eigenvalues of a diagonal matrix of real numbers: the projector on their eigenvectors, the inverse on their span, and the
    derivatives of both along Hermitian directions.
    """

    def __init__(self, values: Any, chosen: Any, dtype: np.dtype[Any]):
        self.values, self.chosen, self.dtype = values, chosen, dtype
        size, real_dtype = type_of(values).shape[-1], type_of(values).dtype
        lj, kj, dj = columns(values, size), columns(chosen, size), columns(inverse(values, chosen), size)
        li, ki, di = (transposed(x) for x in (lj, kj, dj))
        one, none = constant_of(1, real_dtype), constant_of(0, real_dtype)
        mixed = not_equal(ki, kj)
        self.gap = convert(inverse(sub(li, lj), mixed), dtype)
        self.sign = convert(select(mixed, none, select(ki, neg(one), one)), dtype)
        self.rows, self.columns = convert(di, dtype), convert(select(ki, none, dj), dtype)
        self.neither = convert(select(mixed, none, select(ki, none, one)), dtype)
        self.projector, self.inverse = (mask(x, equal) for x in (convert(select(ki, one, none), dtype), self.rows))

    def derivatives(self, directions: Sequence[Any], inverse_too: bool) -> tuple[Any, Any]:
        """The derivatives of the projector and, if ``inverse_too``, of the inverse."""
        everything = tuple(range(len(directions)))
        q: dict[tuple[int, ...], Any] = {(): self.projector}
        s: dict[tuple[int, ...], Any] = {(): self.inverse}
        for part in (c for count in everything for c in combinations(everything, count + 1)):
            others = [(directions[j], tuple(k for k in part if k != j)) for j in part]
            splits = [(b, tuple(k for k in part if k not in b)) for count in range(1, len(part)) for b in combinations(part, count)]
            turned = [sub(matmul(q[rest], e), matmul(e, q[rest])) for e, rest in others]
            q[part] = mul(self.gap, reduce(add, turned))
            if splits:
                q[part] = add(q[part], mul(self.sign, reduce(add, [matmul(q[b], q[c]) for b, c in splits])))
            if not inverse_too:
                continue
            left = sub(q[part], reduce(add, [matmul(e, s[rest]) for e, rest in others]))
            right = sub(q[part], reduce(add, [matmul(s[rest], e) for e, rest in others]))
            s[part] = add(mul(self.rows, left), mul(self.columns, right))
            if splits:
                s[part] = add(s[part], mul(self.neither, reduce(add, [matmul(q[b], s[c]) for b, c in splits])))
        return q[everything], s.get(everything)


# ---- the pseudo-inverse ----------------------------------------------------------------------------------------------------------
class InversePoint(Point):
    """The pseudo-inverse at a matrix."""

    def value(self) -> Any:
        return matmul(self.times_columns(self.inverse, self.v), self.uh)

    def first(self, e: Any) -> Any:
        beyond = matmul(e, self.v)
        inner = matmul(self.uh, beyond)
        (si, sj), (ki, kj), (inverse_i, inverse_j) = self.by_rows_and_columns()
        apart = inverse(abs_(mul(sub(si, sj), add(si, sj))), not_equal(ki, kj))
        ratio = add(mul(si, inverse_j), mul(sj, inverse_i))
        straight = sub(mul(apart, ratio), mul(inverse_i, inverse_j))
        x = add(mul(convert(apart, self.dtype), adjoint(inner)), mul(convert(straight, self.dtype), inner))
        square = mul(self.inverse, self.inverse)
        parts = [matmul(matmul(self.v, x), self.uh)]
        if self.m > self.p:
            parts.append(matmul(self.times_columns(square, self.v), adjoint(sub(beyond, matmul(self.u, inner)))))
        if self.n > self.p:
            outside = adjoint(sub(matmul(self.uh, e), matmul(inner, self.vh)))
            parts.append(matmul(self.times_columns(square, outside), self.uh))
        return reduce(add, parts)

    def in_eigenvectors(self, plus: Chosen, minus: Chosen, directions: Sequence[Any]) -> Any:
        both = Chosen(plus.values, bitwise_or(plus.chosen, minus.chosen), self.dtype)
        return both.derivatives(directions, inverse_too=True)[1]

    def corner(self, upper: Any, found: Any, lower: Any) -> Any:
        return matmul(matmul(lower, found), adjoint(upper))


@op
class PseudoInverse(OfSingularValues):
    """The Moore-Penrose inverse of a matrix and its derivatives: 1 / s of the kept singular values."""

    library: ClassVar[str] = "pseudo_inverse"
    turned: ClassVar[bool] = True
    point: ClassVar[type[Point]] = InversePoint


# ---- the polar factor and the sum of singular values -------------------------------------------------------------------------------
class PolarPoint(Point):
    """The polar factor at a matrix."""

    def value(self) -> Any:
        return matmul(self.times_columns(convert(self.kept, type_of(self.s).dtype), self.u), self.vh)

    def first(self, e: Any) -> Any:
        beyond = matmul(e, self.v)
        inner = matmul(self.uh, beyond)
        (si, sj), (ki, kj), _ = self.by_rows_and_columns()
        none, mixed = constant_of(0, type_of(si).dtype), not_equal(ki, kj)
        apart = inverse(abs_(mul(sub(si, sj), add(si, sj))), mixed)
        both = inverse(add(si, sj), bitwise_and(ki, kj))
        straight = add(both, mul(apart, select(mixed, maximum(si, sj), none)))
        crossed = sub(mul(apart, select(mixed, minimum(si, sj), none)), both)
        y = add(mul(convert(straight, self.dtype), inner), mul(convert(crossed, self.dtype), adjoint(inner)))
        parts = [matmul(matmul(self.u, y), self.vh)]
        if self.m > self.p:
            parts.append(matmul(self.times_columns(self.inverse, sub(beyond, matmul(self.u, inner))), self.vh))
        if self.n > self.p:
            outside = sub(matmul(self.uh, e), matmul(inner, self.vh))
            parts.append(matmul(self.times_columns(self.inverse, self.u), outside))
        return reduce(add, parts)

    def in_eigenvectors(self, plus: Chosen, minus: Chosen, directions: Sequence[Any]) -> Any:
        return sub(*[group.derivatives(directions, inverse_too=False)[0] for group in (plus, minus)])

    def corner(self, upper: Any, found: Any, lower: Any) -> Any:
        return matmul(matmul(upper, found), adjoint(lower))


@op
class PolarFactor(OfSingularValues):
    """U V^H of the kept singular vectors, and its derivatives: the gradient of the sum of the singular values."""

    library: ClassVar[str] = "polar_factor"
    point: ClassVar[type[Point]] = PolarPoint


@op
class NuclearNorm(MatrixOp):
    """The sum of the singular values of a matrix with a given factorization; its tangent is Re sum(conj(polar factor) dA)."""

    total = True
    library: ClassVar[str] = "nuclear_norm"

    def type_rule(self, *types: ArrayType) -> ArrayType:
        a = PolarFactor().type_rule(*types)
        return array_type(a.shape[:-2], np.finfo(a.dtype).dtype)

    def impl(self, a: Any, u: Any, s: Any, vh: Any, kept: Any) -> Any:
        return np.sum(s.real, axis=-1)

    def written_out(self, *operands: Any) -> Sequence[Any]:  # type: ignore[override]
        s = operands[2]
        return [reduce_sum(real(s) if type_of(s).dtype.kind == "c" else s, (type_of(s).ndim - 1,))]

    def singular(self, *primals: Any) -> Any:
        return PolarFactor().singular(*primals)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        da, t = tangents[0], type_of(primals[0])
        if da is None:
            return self(*primals), None
        polar = PolarFactor()(*primals)
        product = scale(conj(polar), da) if t.dtype.kind == "c" else scale(polar, da)
        return self(*primals), reduce_sum(real(product) if t.dtype.kind == "c" else product, (t.ndim - 2, t.ndim - 1))

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if b else spread(x, size) for x, b in zip(operands, batched, strict=True)]), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        yield cls(), factorized(rng.normal(size=(3, 2)), 2)
        yield cls(), factorized(np.eye(3), 3)
        yield cls(), factorized(rng.normal(size=(2, 2, 3)) + 1j * rng.normal(size=(2, 2, 3)), 2)


def inverse(x: Any, chosen: Any) -> Any:
    """1 / x where ``chosen``, 0 elsewhere."""
    one = constant_of(1, type_of(x).dtype)
    return select(chosen, div(one, select(chosen, x, one)), constant_of(0, type_of(x).dtype))


def zeros_of(like: Any, rows: int, columns: int) -> Any:
    """Zeros of a shape, one matrix for each matrix of the stack ``like``."""
    t = type_of(like)
    return zeros(t.with_shape((*t.shape[:-2], rows, columns)))


pseudo_inverse, polar_factor, nuclear_norm = PseudoInverse(), PolarFactor(), NuclearNorm()
