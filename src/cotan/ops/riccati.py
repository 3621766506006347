"""Algebraic Riccati equations, for stacks of matrices: the stabilizing solution of the continuous and of the discrete one.

References: Laub (1979), "A Schur method for solving algebraic Riccati equations"; Chu, Fan, Lin & Wang (2004), "Structure-preserving
algorithms for periodic discrete-time algebraic Riccati equations", for doubling; Kao & Hennequin (2020), "Automatic differentiation of
Sylvester, Lyapunov, and algebraic Riccati equations".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..core.emitting import Reader, Routines, StridedView
from ..core.errors import ShapeError, teach
from ..core.op import Op, op
from ..core.tracing import type_of
from ..core.types import ArrayType
from .arithmetic import constant_of, neg, sub
from .contraction import matmul
from .failing import failed, guarded, scaled_by, where_regular
from .families import BroadcastInDim, add, default_rng, scale, spread, sum_tangents
from .lapack import by_columns, every_matrix, factorized, is_finite, magnitude, named
from .linalg import MatrixOp, adjoint, hermitian, mask, symmetric_examples
from .linalg import solve as solve_op
from .logic import equal, not_equal, select
from .routines import lapack_function
from .schur import square_norm, workspace
from .sylvester import WORK, Lyapunov, schur_form

__all__ = ["ContinuousRiccati", "DiscreteRiccati"]

MOST_DOUBLINGS = 60
NOT_FOUND = "Failed to find a finite solution."


class Riccati(MatrixOp):
    """An equation for Hermitian X by A, G and Q, of which the last two are read as their Hermitian parts."""

    library: ClassVar[str]

    def type_rule(self, a: ArrayType, g: ArrayType, q: ArrayType) -> ArrayType:
        self.check_matrices(a, g, q)
        if not a.shape == g.shape == q.shape:
            shapes = f"{a.shape}, {g.shape} and {q.shape}"
            raise teach(ShapeError, f"{self.name}: matrices of shapes {shapes}.", do="give square matrices of one shape.")
        return a.with_shape(a.shape)

    def impl(self, a: Any, g: Any, q: Any) -> Any:
        x = np.empty_like(a, order="C")
        for k in np.ndindex(*a.shape[:-2]):
            if a.shape[-1]:
                with np.errstate(all="ignore"):
                    found = self.solution(a[k], *((y[k] + y[k].conj().T) / 2 for y in (g, q)))
                x[k] = failed(NOT_FOUND) if found is None or not np.isfinite(found).all() else (found + found.conj().T) / 2
        return x

    def solution(self, a: Any, g: Any, q: Any) -> Any:
        """The solution for one concrete matrix; None if there is none."""
        raise NotImplementedError

    def routine(self, w: Routines, operands: Sequence[Reader], results: Sequence[StridedView]) -> None:
        a, g, q = (w.strided(x) for x in operands)
        (x,) = results
        *lead, n, _ = a.shape
        if n:
            every_matrix(w, lead, lambda k: self.write(w, a.part(*k), g.part(*k), q.part(*k), x.part(*k)), 8 * WORK * n**3, [x])

    def write(self, w: Routines, a: StridedView, g: StridedView, q: StridedView, target: StridedView) -> StridedView:
        """The solution for one matrix, into memory; the status."""
        raise NotImplementedError

    def batch(self, size: int, batched: Sequence[bool], *operands: Any) -> tuple[Any, bool]:
        return self(*[x if flag else spread(x, size) for x, flag in zip(operands, batched, strict=True)]), True

    @classmethod
    def examples(cls) -> Iterable[tuple[Op, tuple[Any, ...]]]:
        rng = default_rng()
        for n, lead, turn in ((3, (), 0), (2, (2,), 0), (3, (), 1j), (0, (), 0)):
            a = 0.5 * rng.normal(size=(*lead, n, n))
            skew = turn * (np.triu(a, 1) - np.swapaxes(np.triu(a, 1), -1, -2))
            yield cls(), (a + turn * a, symmetric_examples(n, lead) / 2 + skew, symmetric_examples(n, lead, 1) / 2 + skew)


@op
class ContinuousRiccati(Riccati):
    """The Hermitian X with A^H X + X A - X G X + Q = 0 for which the eigenvalues of A - G X have negative real parts.

    The columns of (1, X) span the invariant subspace of the Hamiltonian matrix [[A, -G], [-Q, -A^H]] for its eigenvalues on the left, which
    comes from an ordered Schur form (Laub). G and Q are scaled to equal norms before. The tangent solves the Lyapunov equation

        (A - G X)^H dX + dX (A - G X) = -(dQ + dA^H X + X dA - X dG X)
    """

    library: ClassVar[str] = "continuous_riccati"

    def solution(self, a: Any, g: Any, q: Any) -> Any:
        n = a.shape[-1]
        sizes = np.linalg.norm(q), np.linalg.norm(g)
        ratio = np.sqrt(sizes[0] / sizes[1]).astype(np.finfo(a.dtype).dtype) if min(sizes) > 0 else a.real.dtype.type(1)
        whole = np.block([[a, -ratio * g], [-q / ratio, -a.conj().T]])
        if not np.isfinite(whole).all():
            return None
        select = (lambda z: z.real < 0) if a.dtype.kind == "c" else lambda re, im: re < 0
        found = lapack_function("gees", a.dtype)(select, whole, sort_t=1, lwork=workspace(2 * n, a.dtype))
        count, vectors, status = found[1], found[-3], found[-1]
        if status or count != n:
            return None
        factor, pivots, _ = lapack_function("getrf", a.dtype)(vectors[:n, :n].T)
        if np.abs(np.diag(factor)).min() <= np.finfo(a.dtype).eps:
            return None
        return ratio * lapack_function("getrs", a.dtype)(factor, pivots, vectors[n:, :n].T)[0].T

    def write(self, w: Routines, a: StridedView, g: StridedView, q: StridedView, target: StridedView) -> StridedView:
        n, e, dtype = a.shape[-1], w.emitter, a.dtype
        part, both = np.finfo(dtype).dtype, 2 * n
        none, one = e.constant(0, part), e.constant(1, part)
        inner, outer = hermitian_part(w, g), hermitian_part(w, q)
        above, below = (e.math("sqrt", square_norm(w, x, lambda _: True)[()]) for x in (outer, inner))
        zero = e.math("or", e.math("eq", above, none), e.math("eq", below, none))
        ratio = w.variable(e.math("select", zero, e.math("sqrt", e.math("div", above, e.math("select", zero, below, one))), one))
        whole = by_columns(w, both, both, dtype)

        def set_column(i: tuple[Any, ...]) -> None:
            column, row = i
            factor = e.cast(ratio[()], dtype)
            whole[row, column] = a[row, column]
            whole[row, column + n] = e.math("neg", e.math("mul", factor, inner[row, column]))
            whole[row + n, column] = e.math("neg", e.math("div", outer[row, column], factor))
            whole[row + n, column + n] = e.math("neg", conjugate(e, a[column, row]))

        w.outlined(lambda: w.every((n, n), set_column))
        form, vectors, info = schur_form(w, whole, workspace(both, dtype))
        select, count, status = w.scratch((both,), w.integer), w.scratch((), w.integer), w.scratch((), w.integer)
        yes, no = e.constant(1, w.integer), e.constant(0, w.integer)

        def selected(i: tuple[Any, ...]) -> Any:
            value = form[i[0], i[0]]
            return e.math("select", e.math("lt", e.math("real", value) if dtype.kind == "c" else value, none), no, yes)

        w.fill(select, selected)
        size = 2 * both
        values = [w.scratch((both,), dtype) for _ in range(1 if dtype.kind == "c" else 2)]
        work, unused = w.scratch((size,), dtype), [w.scratch((), part), w.scratch((), part)]
        integers = [] if dtype.kind == "c" else [w.scratch((both,), w.integer), both]

        def ordered() -> None:
            last = (count, *unused, work, size, *integers, status)
            w.call(named(dtype, "trsen"), "N", "V", select, both, form, both, vectors, both, *values, *last, work=WORK * n**3)
            info[()] = e.math("select", e.math("eq", count[()], e.constant(n, w.integer)), yes, status[()])

        def quotient() -> None:
            corner, factor, y = (by_columns(w, n, n, dtype) for _ in range(3))
            pivots = w.scratch((n,), w.integer)
            w.fill(corner, lambda i: vectors[i[1], i[0]])
            w.fill(y, lambda i: vectors[i[1] + n, i[0]])
            factorized(w, corner, factor, pivots, info)
            w.call(named(dtype, "getrs"), "N", n, n, factor, n, pivots, y, n, status, work=n**3)
            scaled = e.cast(e.math("mul", ratio[()], e.constant(0.5, part)), dtype)
            w.fill(target, lambda i: e.math("mul", scaled, e.math("add", y[i[1], i[0]], conjugate(e, y[i]))))
            lost = w.variable(none)
            least = e.constant(np.finfo(part).eps, part)
            w.every(
                (n,), lambda i: lost.__setitem__((), e.math("select", e.math("le", magnitude(e, factor[i[0], i[0]]), least), lost[()], one))
            )
            w.when(e.math("ne", lost[()], none), lambda: info.__setitem__((), yes))
            w.when(e.math("not", is_finite(w, target)), lambda: info.__setitem__((), yes))

        w.when(e.math("eq", info[()], no), ordered)
        w.when(e.math("eq", info[()], no), quotient)
        return info

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a, g, _), (da, dg, dq) = primals, tangents
        result = self(*primals)
        x, unknown = guarded(result)
        closed = sub(a, matmul(of_hermitian(g), x))
        moved = [] if da is None else [hermitian(matmul(x, da))]
        moved += [] if dg is None else [neg(matmul(matmul(x, of_hermitian(dg)), x))]
        moved += [] if dq is None else [of_hermitian(dq)]
        dx = of_hermitian(Lyapunov(of_adjoint=True, strong_zero=True)(adjoint(closed), neg(sum_tangents(moved))))
        return result, scaled_by(unknown, dx)


@op
class DiscreteRiccati(Riccati):
    """The Hermitian X with X = Q + A^H X (1 + G X)^-1 A for which the eigenvalues of C = (1 + G X)^-1 A are within the unit circle.

    By doubling (Chu et al.): with W = 1 + G H, H converges to X quadratically in the steps

        A <- A W^-1 A        G <- G + A W^-1 G A^H        H <- H + A^H H W^-1 A

    that begin with H = Q. The tangent solves dX - C^H dX C = dQ + dA^H X C + C^H X dA - C^H X dG X C.
    """

    library: ClassVar[str] = "discrete_riccati"

    def solution(self, a: Any, g: Any, q: Any) -> Any:
        n, h, eps = a.shape[-1], q, np.finfo(a.dtype).eps
        for _ in range(MOST_DOUBLINGS):
            within = where_regular(np.linalg.solve, np.eye(n, dtype=a.dtype) + g @ h, np.concatenate([a, g], -1))
            step = a.conj().T @ h @ within[:, :n]
            h = h + step
            if np.linalg.norm(step) <= eps * np.linalg.norm(h) < np.inf:
                return h
            g = g + a @ within[:, n:] @ a.conj().T
            a = a @ within[:, :n]
        return None

    def write(self, w: Routines, a: StridedView, g: StridedView, q: StridedView, target: StridedView) -> StridedView:
        n, e, dtype = a.shape[-1], w.emitter, a.dtype
        part, turn = np.finfo(dtype).dtype, "C" if dtype.kind == "c" else "T"
        one, nothing = dtype.type(1), dtype.type(0)
        inner, h = hermitian_part(w, g), hermitian_part(w, q)
        step_of, factor, left, moved = (by_columns(w, n, n, dtype) for _ in range(4))
        both = w.scratch((2, n, n), dtype)
        first, second = both.part(0).mT, both.part(1).mT
        pivots, info, status, done = w.scratch((n,), w.integer), *(w.scratch((), w.integer) for _ in range(3))
        yes, no = e.constant(1, w.integer), e.constant(0, w.integer)
        w.copy(a, step_of)
        done[()] = no

        def product(first: str, x: StridedView, second: str, y: StridedView, z: StridedView, before: Any = nothing) -> None:
            w.call(named(dtype, "gemm", library="blas"), first, second, n, n, n, one, x, n, y, n, before, z, n, work=n**3)

        def double() -> None:
            w.fill(left.mT, lambda i: e.choose((i[0] <= i[1]) & (i[1] <= i[0]), lambda: e.constant(1, dtype), lambda: e.constant(0, dtype)))
            product("N", inner, "N", h, left, one)
            w.copy(step_of, first)
            w.copy(inner, second)
            factorized(w, left, factor, pivots, status)
            w.call(named(dtype, "getrs"), "N", n, 2 * n, factor, n, pivots, both, n, status, work=2 * n**3)
            product(turn, step_of, "N", h, left)
            product("N", left, "N", first, moved)
            w.fill(h.mT, lambda i: e.math("add", h[i[1], i[0]], moved[i[1], i[0]]))
            change, size = (e.math("sqrt", square_norm(w, x, lambda _: True)[()]) for x in (moved, h))
            near = e.math("le", change, e.math("mul", e.constant(np.finfo(part).eps, part), size))
            done[()] = e.math("select", e.math("and", near, e.math("lt", size, e.constant(np.inf, part))), no, yes)
            product("N", step_of, "N", first, left)
            product("N", step_of, "N", second, moved)
            product("N", moved, turn, step_of, inner, one)
            w.copy(left, step_of)

        w.every((MOST_DOUBLINGS,), lambda _: w.when(e.math("eq", done[()], no), double))
        info[()] = e.math("select", e.math("eq", done[()], yes), yes, no)
        half = e.constant(0.5, dtype)
        w.fill(target, lambda i: e.math("mul", half, e.math("add", h[i], conjugate(e, h[i[1], i[0]]))))
        w.when(e.math("not", is_finite(w, target)), lambda: info.__setitem__((), yes))
        return info

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any | None]) -> tuple[Any, Any]:
        (a, g, _), (da, dg, dq) = primals, tangents
        result = self(*primals)
        x, unknown = guarded(result)
        closed = solve_op(add(identity_like(a), matmul(of_hermitian(g), x)), a)
        if unknown is not None:  # any matrix will do for which 1 + C is regular
            closed = select(not_equal(unknown, unknown), constant_of(0, type_of(a).dtype), closed)
        behind = matmul(x, closed)
        moved = [] if da is None else [hermitian(matmul(adjoint(behind), da))]
        moved += [] if dg is None else [neg(matmul(matmul(adjoint(behind), of_hermitian(dg)), behind))]
        moved += [] if dq is None else [of_hermitian(dq)]
        return result, scaled_by(unknown, of_hermitian(stein(adjoint(closed), sum_tangents(moved))))


# ---- pieces --------------------------------------------------------------------------------------------------------------------------
def of_hermitian(x: Any) -> Any:
    """The Hermitian part."""
    return scale(constant_of(0.5, type_of(x).dtype), hermitian(x))


def identity_like(a: Any) -> Any:
    """The identity of the shape of square matrices."""
    t = type_of(a)
    return mask(BroadcastInDim(t.shape, ())(constant_of(1, t.dtype)), equal)


def stein(f: Any, s: Any) -> Any:
    """X with X - F X F^H = S, for an F without the eigenvalue -1: by B^H X + X B = -2 (F + 1)^-1 S (F + 1)^-H for
    B = (F^H - 1) (F^H + 1)^-1.
    """
    one, fh = identity_like(f), adjoint(f)
    inverse = solve_op(add(f, one), one)
    b = matmul(sub(fh, one), adjoint(inverse))
    c = matmul(matmul(inverse, s), adjoint(inverse))
    return Lyapunov(of_adjoint=True, strong_zero=True)(adjoint(b), scale(constant_of(-2, type_of(s).dtype), c))


def conjugate(e: Any, x: Any) -> Any:
    """The conjugate of a scalar."""
    return e.math("conj", x) if x.dtype.kind == "c" else x


def hermitian_part(w: Routines, x: StridedView) -> StridedView:
    """The Hermitian part of a matrix, in memory of its own."""
    n, e = x.shape[-1], w.emitter
    y, half = by_columns(w, n, n, x.dtype), e.constant(0.5, x.dtype)
    w.fill(y.mT, lambda i: e.math("mul", half, e.math("add", x[i[1], i[0]], conjugate(e, x[i]))))
    return y
