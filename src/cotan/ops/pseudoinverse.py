"""The Moore-Penrose inverse of (stacks of) matrices, with derivatives that are right at equal singular values, to every order.

Singular values up to a limit are *dropped*, the others *kept*: A^+ = V_k S_k^-1 U_k^H. This is the spectral function 1/x of the kept ones,
so its derivatives exist wherever kept and dropped ones are apart, be the kept ones equal or the dropped ones zero: nothing is divided
by but kept singular values and their distances from dropped ones. `PseudoInverse` is A^+ and all its derivatives in one op,

    PseudoInverse(A, U, s, V^H, kept, E1, ..., Ek) = D^k A^+[E1, ..., Ek]        at A = U diag(s) V^H,

a function of A alone: the factorization belongs to the point, and is made once. It is linear in each E (over the reals), and its
derivative in A is the same op with one more operand. Since Re tr(D^k A^+[E1, ..., Ek] X) is the (k+1)-th derivative of the sum of the
logarithms of the kept singular values, it is symmetric in all E's and X, and the adjoint in E_j is the op itself with the cotangent in
the place of E_j.

With P = A^+ and M = U^H E V, the first derivative V X U^H has

    X_ij = -M_ij / (s_i s_j)                                     both kept
    X_ij = (conj(M_ji) + M_ij d / c) / (c^2 - d^2)               one kept (c), one dropped (d)

and zero for both dropped; what E has outside of the ranges of U and V belongs to dropped values of zero. For d = 0 this is
dP = -P dA P + P P^H dA^H (1 - A P) + (1 - P A) dA^H P^H P (Golub & Pereyra 1973, "The differentiation of pseudo-inverses and nonlinear
least squares problems whose variables separate").

Higher ones are those of the kept part of the Hermitian H = [[0, A], [A^H, 0]], which has eigenvalues +-s and zeros. Of the projector Q
on the kept eigenvectors and the inverse S there, the coefficients Q_J, S_J of the product of the directions in a set J follow from

    H Q = Q H,   Q Q = Q,   H S = S H = Q,   Q S = S

where H is diagonal (eigenvalues l): with sums over j in J and over the ways to split J into two sets B, C that are not empty,

    (Q_J)_ij = sum (Q_{J-j} E_j - E_j Q_{J-j})_ij / (l_i - l_j)       one of i, j kept;   -+ sum (Q_B Q_C)_ij   both kept, dropped
    (S_J)_ij = (Q_J - sum E_j S_{J-j})_ij / l_i    i kept;    (Q_J - sum S_{J-j} E_j)_ij / l_j    j kept;    sum (Q_B S_C)_ij    else.
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
from .casting import convert, real
from .contraction import matmul
from .factorization import Qr, off_range
from .families import add, default_rng, spread, sum_tangents, zeros
from .linalg import MatrixOp, adjoint, columns, mask, transposed
from .logic import equal, not_equal, select
from .movement import concatenate, slice_
from .ordering import abs_

__all__ = ["PseudoInverse", "pseudo_inverse"]

FACTORS = 5
"""The matrix, its factorization, and which singular values are kept."""


@op
class PseudoInverse(MatrixOp):
    """The pseudo-inverse of a matrix whose factorization is given, by the singular values that are kept; with further operands, its
    derivative along those.
    """

    total = True
    library: ClassVar[str] = "pseudo_inverse"

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
            raise teach(ShapeError, f"pseudo_inverse: a matrix of shape {a.shape} with {given}.", do="give its reduced factorization.")
        if s.dtype != a.dtype or kept.dtype.kind != "b":
            raise teach(
                DtypeError, f"pseudo_inverse: s of {s.dtype}, kept of {kept.dtype}.", do="give s in the dtype of the matrix, and bools."
            )
        return a.with_shape((*lead, n, m))

    def impl(self, *operands: Any) -> Any:
        with running(EVAL), np.errstate(all="ignore"):
            return self.written_out(*operands)[0]

    def written_out(self, *operands: Any) -> Sequence[Any]:  # type: ignore[override]
        a, u, s, vh, kept, *directions = operands
        t = type_of(a)
        if t.size == 0:
            *lead, m, n = t.shape
            return [zeros(t.with_shape((*lead, n, m)))]
        point = Point(u, real(s) if t.dtype.kind == "c" else s, vh, kept)
        return [point.value() if not directions else point.first(*directions) if len(directions) == 1 else point.higher(directions)]

    def singular(self, *primals: Any) -> Any:
        """Where values are dropped, the derivative is that at constant rank."""
        dropped = np.any(~primals[4], axis=-1)
        return (dropped, *[np.zeros_like(dropped)] * (len(primals) - 1))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any | None]:
        terms = [] if tangents[0] is None else [self(*primals, tangents[0])]
        terms += [self(*primals[:k], de, *primals[k + 1 :]) for k, de in enumerate(tangents) if k >= FACTORS and de is not None]
        return self(*primals), sum_tangents(terms)

    def transpose(self, y_bar: Any, *operands: Any) -> Sequence[Any | None]:
        given = [transposed(y_bar) if type(x) is Var else x for x in operands]
        return [transposed(self(*given)) if type(x) is Var else None for x in operands]

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if b else spread(x, size) for x, b in zip(operands, batched, strict=True)]), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()

        def example(a: Any, rank: int, order: int) -> tuple[Op, tuple[Any, ...]]:
            u, s, vh = np.linalg.svd(a, full_matrices=False)
            kept = np.broadcast_to(np.arange(s.shape[-1]) < rank, s.shape)
            return cls(), (a, u, s.astype(a.dtype), vh, kept, *[rng.normal(size=a.shape).astype(a.dtype) for _ in range(order)])

        yield example(rng.normal(size=(3, 3)), 3, 0)
        yield example(np.eye(3), 3, 1)
        yield example(rng.normal(size=(4, 2)), 2, 1)
        yield example(rng.normal(size=(2, 2, 4)) + 1j * rng.normal(size=(2, 2, 4)), 2, 1)
        yield example(rng.normal(size=(4, 3)), 2, 2)
        yield example(rng.normal(size=(3, 2)) + 1j * rng.normal(size=(3, 2)), 1, 2)
        yield example(rng.normal(size=(3, 2)).astype(np.float32), 2, 1)
        yield example(np.outer([1.0, 2.0, 0.5], [1.0, -1.0, 3.0, 1.0]), 1, 2)


class Point:
    """A matrix by its factorization: A^+ there and its derivatives."""

    def __init__(self, u: Any, s: Any, vh: Any, kept: Any):
        self.u, self.uh, self.vh, self.v = u, adjoint(u), vh, adjoint(vh)
        self.s, self.kept, self.inverse = s, kept, inverse(s, kept)
        self.dtype, (self.m, self.p), self.n = type_of(u).dtype, type_of(u).shape[-2:], type_of(vh).shape[-1]

    def times_columns(self, d: Any, x: Any) -> Any:
        """x diag(d)."""
        return mul(convert(columns(d, type_of(x).shape[-2]), self.dtype), x)

    def value(self) -> Any:
        return matmul(self.times_columns(self.inverse, self.v), self.uh)

    def first(self, e: Any) -> Any:
        beyond = matmul(e, self.v)
        inner = matmul(self.uh, beyond)
        sj, kj, inverse_j = (columns(x, self.p) for x in (self.s, self.kept, self.inverse))
        si, ki, inverse_i = (transposed(x) for x in (sj, kj, inverse_j))
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

    def higher(self, directions: Sequence[Any]) -> Any:
        if self.n > self.p:  # A^H+ = A^+H
            return adjoint(Point(self.v, self.s, self.uh, self.kept).higher([adjoint(e) for e in directions]))
        beyond = [matmul(e, self.v) for e in directions]
        basis, rows = self.complement([off_range(self.u, self.uh, x) for x in beyond])
        turned = [self.within(matmul(self.uh, x), row) for x, row in zip(beyond, rows, strict=True)]
        found = KeptPart(self.along(self.s, neg(self.s), basis), self.along(self.kept, self.kept, basis), self.dtype).derivative(turned)
        half = constant_of(0.5**0.5, self.dtype)
        u, v = mul(half, self.u), mul(half, self.v)
        left = concatenate(
            [v, neg(v), *([] if basis is None else [zeros_of(basis, self.n, type_of(basis).shape[-1])])], type_of(v).ndim - 1
        )
        right = concatenate([u, u, *([] if basis is None else [basis])], type_of(u).ndim - 1)
        return matmul(matmul(left, found), adjoint(right))

    def complement(self, parts: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
        """An orthonormal basis of what the directions have outside of the range of U, and their coordinates in it; None if U is square."""
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
        """A number for each eigenvector; none, for those of the complement."""
        t = type_of(plus)
        rest = [] if basis is None else [zeros(array_type((*t.shape[:-1], type_of(basis).shape[-1]), t.dtype))]
        return concatenate([plus, minus, *rest], t.ndim - 1)


class KeptPart:
    """The inverse of the kept part of a diagonal matrix of real numbers, and its derivatives along Hermitian directions."""

    def __init__(self, values: Any, kept: Any, dtype: np.dtype[Any]):
        size = type_of(values).shape[-1]
        real_dtype = type_of(values).dtype
        lj, kj, dj = columns(values, size), columns(kept, size), columns(inverse(values, kept), size)
        li, ki, di = (transposed(x) for x in (lj, kj, dj))
        one, none = constant_of(1, real_dtype), constant_of(0, real_dtype)
        mixed = not_equal(ki, kj)
        self.gap = convert(inverse(sub(li, lj), mixed), dtype)
        self.sign = convert(select(mixed, none, select(ki, neg(one), one)), dtype)
        self.rows, self.columns = convert(di, dtype), convert(select(ki, none, dj), dtype)
        self.both_dropped = convert(select(mixed, none, select(ki, none, one)), dtype)
        self.projector, self.inverse = (mask(x, equal) for x in (convert(select(ki, one, none), dtype), self.rows))

    def derivative(self, directions: Sequence[Any]) -> Any:
        everything = tuple(range(len(directions)))
        q: dict[tuple[int, ...], Any] = {(): self.projector}
        s: dict[tuple[int, ...], Any] = {(): self.inverse}
        for chosen in (c for count in everything for c in combinations(everything, count + 1)):
            others = [(directions[j], tuple(k for k in chosen if k != j)) for j in chosen]
            turned = [sub(matmul(q[rest], e), matmul(e, q[rest])) for e, rest in others]
            q[chosen] = mul(self.gap, reduce(add, turned))
            splits = [(b, tuple(k for k in chosen if k not in b)) for count in range(1, len(chosen)) for b in combinations(chosen, count)]
            if splits:
                q[chosen] = add(q[chosen], mul(self.sign, reduce(add, [matmul(q[b], q[c]) for b, c in splits])))
            left = sub(q[chosen], reduce(add, [matmul(e, s[rest]) for e, rest in others]))
            right = sub(q[chosen], reduce(add, [matmul(s[rest], e) for e, rest in others]))
            s[chosen] = add(mul(self.rows, left), mul(self.columns, right))
            if splits:
                s[chosen] = add(s[chosen], mul(self.both_dropped, reduce(add, [matmul(q[b], s[c]) for b, c in splits])))
        return s[everything]


def inverse(x: Any, chosen: Any) -> Any:
    """1 / x where it is chosen, elsewhere 0."""
    one = constant_of(1, type_of(x).dtype)
    return select(chosen, div(one, select(chosen, x, one)), constant_of(0, type_of(x).dtype))


def zeros_of(like: Any, rows: int, columns: int) -> Any:
    """Zeros of a shape, as many as there are matrices in the stack ``like``."""
    t = type_of(like)
    return zeros(t.with_shape((*t.shape[:-2], rows, columns)))


pseudo_inverse = PseudoInverse()
